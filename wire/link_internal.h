/* A link from the inside. For wire/link*.c, and for tests that cannot wait 90 seconds.
 *
 *     START ─▶ RESOLVING ─▶ CONNECTING ─▶ TLS ─▶ WAIT_CHALLENGE ─▶ WAIT_WELCOME ─▶ READY      client
 *                   ▲──────────REDIRECT───────────────┘
 *                                         TLS ─▶ WAIT_HELLO ─▶ WAIT_AUTH ─▶ READY           server
 *     any ─▶ FLUSHING ─▶ DRAINING ─▶ OVER
 *
 * FLUSHING: what is queued leaves. DRAINING: we have said that we send no more, and read away what the peer
 * still sends until it has closed too: a socket closed with unread bytes is reset, and the reset can overtake
 * our last ERROR. Both together take at most times.linger_ms. OVER: `closed` is told, the memory goes.
 *
 * Nothing is told or freed under the feet of the owner: functions that the owner calls only note what is to
 * happen; it happens on the link's own turn (link_enter … link_leave around every entry from the event loop).
 */
#ifndef RILL_WIRE_LINK_INTERNAL_H
#define RILL_WIRE_LINK_INTERNAL_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>

#include "wire/link.h"
#include "wire/resolve.h"
#include "wire/tls.h"

#define HANDSHAKE_FRAME_BYTES_MAX 4096 /* of a client that is not authenticated yet */
#define FRAMES_PER_TURN           64   /* then other links have theirs */
#define REASON_SIZE               512
#define PROTOCOL_VERSION          1

enum link_stage {
    LINK_START,
    LINK_RESOLVING,
    LINK_CONNECTING,
    LINK_TLS,
    LINK_WAIT_HELLO,
    LINK_WAIT_AUTH,
    LINK_WAIT_CHALLENGE,
    LINK_WAIT_WELCOME,
    LINK_READY,
    LINK_FLUSHING,
    LINK_DRAINING,
    LINK_OVER
};

struct link_times {
    unsigned handshake_ms;  /* from the connection (a client: from link_connect) to ready */
    unsigned ping_after_ms; /* nothing heard for so long: PING */
    unsigned drop_after_ms; /* nothing heard, or nothing taken of what waits for the peer: gone */
    unsigned linger_ms;     /* for the last bytes when closing */
};

/* What a client's link has beside: where to and as whom. */
struct link_client {
    char host[HOST_BYTES_MAX + 1];
    uint16_t port;
    struct secret_key key;
    struct address address;
    struct domain domain;
    struct address server;
    char agent[AGENT_BYTES_MAX + 1];
    struct hash nonce;
    struct hash certificate_hash;
    unsigned redirects;
    bool redirected; /* connect to host and port anew once the frame is done with */
    struct resolve *resolve;
    struct resolved resolved;
    uint32_t next_address;
    int socket; /* connecting; -1: none */
    struct event *connected;
    struct decoder *decoder;
    struct buffer scratch;
};

struct link {
    struct event_base *base;
    struct link_callbacks callbacks;
    void *context;
    void *user;
    struct link_server *server; /* NULL: a client's end */
    struct link_client *client; /* NULL: a server's end */
    struct link *prev, *next;   /* the server's list */
    struct link_times times;
    enum link_stage stage;
    bool tower;
    bool paused;      /* by the owner */
    bool choked;      /* by its own output: not read from until half has drained */
    bool reading;     /* the bufferevent's reading is on */
    bool ended;       /* the peer sends no more; frames that arrived are still worked off */
    bool handshaking; /* server: counted among those that are not authenticated yet */

    struct bufferevent *bev; /* NULL until connected */
    struct event *timer;
    struct event *wakeup; /* the link's own turn, soon */
    unsigned busy;        /* entries from the event loop that are on the stack */

    uint64_t deadline_us;   /* of the handshake, or of closing */
    uint64_t heard_us;      /* the last whole frame */
    uint64_t pinged_us;     /* the last PING */
    uint64_t queued_bytes;  /* since the beginning */
    uint64_t drained_bytes; /* as the timer last saw it, while choked */
    uint64_t drained_us;    /* when that had last grown */

    struct address peer;   /* server: who says HELLO, proven by AUTH */
    struct hash challenge; /* server: what AUTH must sign */

    bool tell; /* call closed in the end */
    enum link_closed why;
    char *reason;
};

struct link_server {
    struct event_base *base;
    struct link_callbacks callbacks;
    void *context;
    struct evconnlistener *listener; /* NULL once stopped */
    struct event *listen_again;
    uint16_t port;
    SSL_CTX *tls;
    struct hash certificate_hash;
    struct secret_key key;
    struct address address;
    struct domain domain;
    uint32_t connections_max, handshakes_max;
    size_t connections, handshakes;
    bool tower;
    bool (*elsewhere)(void *context, const struct address *client, char host[HOST_BYTES_MAX + 1],
                      uint16_t *port);
    struct link_times times;
    struct link *links;
    struct decoder *decoder;
    struct buffer scratch;
};

/* ---- for tests ---- */

struct link_times link_times_default(void);
void link_server_set_times(struct link_server *server,
                           const struct link_times *times); /* of links accepted later */
void link_set_times(struct link *link, const struct link_times *times);

/* ---- link.c: the life of a link ---- */

struct link *link_new(struct event_base *base, const struct link_callbacks *callbacks, void *context);
/* Frees all of it, in any stage; tells nobody. */
void link_destroy(struct link *link);
void link_enter(struct link *link);
void link_leave(struct link *link); /* the link may be gone after this */
/* Takes over a connected socket: TLS begins. */
void link_attach(struct link *link, int socket, SSL_CTX *context, enum bufferevent_ssl_state state);
/* The handshake is done. */
void link_become_ready(struct link *link, const struct message *welcome);
/* Starts or stops reading, as stage, pause and output ask for. */
void link_update_reading(struct link *link);
/* The link's own turn comes soon. */
void link_wake(struct link *link);
/* Ends the link: `closed` is told on its own turn, what is queued is thrown away. The first reason stays. */
void link_fail(struct link *link, enum link_closed why, const char *format, ...) PRINTF_LIKE(3, 4);
/* The same, after a fatal ERROR has been sent to the peer. */
void link_refuse(struct link *link, enum link_closed why, enum code code, const char *format, ...)
    PRINTF_LIKE(4, 5);
/* What is queued leaves, then the link ends and `closed` is told this. The first reason stays. */
void link_finish(struct link *link, enum link_closed why, const char *reason);
/* Encodes and queues in any stage that has a connection. */
void link_queue(struct link *link, const struct message *message);
bool link_is_closing(const struct link *link);

/* ---- link_input.c: what arrives ---- */

void link_process_input(struct link *link);
void link_on_readable(struct bufferevent *bev, void *argument);
void link_on_event(struct bufferevent *bev, short what, void *argument);

/* ---- link_client.c, link_server.c: each end's side of the handshake ---- */

void link_client_start(struct link *link);
void link_client_free(struct link_client *client);
void link_client_secured(struct link *link);
void link_client_handshake(struct link *link, const struct message *message);
void link_client_redirect(struct link *link);
void link_server_secured(struct link *link);
void link_server_handshake(struct link *link, const struct message *message);
/* The link is not one of those in the handshake any more; or not one of the server's at all. */
void link_server_count_out(struct link *link);
void link_server_forget(struct link *link);

#endif
