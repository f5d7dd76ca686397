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
 *
 * One turn of the event loop: links whose sockets can be read receive, and work on up to FRAMES_PER_TURN frames;
 * the owner's own events have their turn; in the end every link with output makes records of it and sends
 * them. A link with more frames, or with anything else to do, is woken: its next turn comes once the event
 * loop has looked at all the others.
 */
#ifndef RILL_WIRE_LINK_INTERNAL_H
#define RILL_WIRE_LINK_INTERNAL_H

#include <event2/event.h>
#include <event2/event_struct.h>

#include "wire/link.h"
#include "wire/resolve.h"
#include "wire/stream.h"
#include "wire/throttle.h"

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
};

/* What the links of one event base share (link_loop.c). */
struct link_loop {
    struct event_base *base;
    unsigned users; /* links and servers; gone with the last one */
    bool running;   /* one of its turns is on the stack */
    struct event flush_turn, wake_turn;
    struct link *dirty; /* with output to be sent at the end of this turn */
    struct link *woken; /* whose own turn comes next */
    size_t woken_count;
    struct buffer spare; /* lent to the link that receives */
    struct decoder *decoder;
    struct link_loop *next;
};

struct link {
    struct link_loop *loop;
    struct link_callbacks callbacks;
    void *context;
    void *user;
    struct link_server *server;                       /* NULL: a client's end */
    struct link_client *client;                       /* NULL: a server's end */
    struct link *prev, *next;                         /* the server's list */
    struct link *handshaking_prev, *handshaking_next; /* the server's list, the oldest first */
    struct link *dirty_prev, *dirty_next;             /* the loop's lists */
    struct link *woken_prev, *woken_next;
    struct link_times times;
    enum link_stage stage;
    bool tower;
    bool paused;       /* by the owner */
    bool resting;      /* by what it was charged for */
    bool choked;       /* by its own output: not read from until half has drained */
    bool reading;      /* the event loop watches for input */
    bool backlog;      /* whole frames wait for the link's next turn: nothing is received before that */
    bool unread;       /* OpenSSL may hold input that the socket does not show */
    bool ended;        /* the peer sends no more; frames that arrived are still worked off */
    bool handshaking;  /* server: counted among those that are not authenticated yet */
    bool dirty, woken; /* in the loop's lists */

    struct stream stream; /* closed until connected */
    struct event readable, writable;
    struct event timer;
    unsigned busy; /* entries from the event loop that are on the stack */

    uint64_t deadline_us;    /* of the handshake, or of closing */
    uint64_t heard_us;       /* the last whole frame */
    uint64_t pinged_us;      /* the last PING */
    struct throttle charges; /* what it made this side say in vain */
    uint64_t queued_bytes;   /* since the beginning */
    uint64_t drained_bytes;  /* as the timer last saw it, while choked */
    uint64_t drained_us;     /* when that had last grown */

    struct address peer;   /* server: who says HELLO, proven by AUTH */
    struct hash challenge; /* server: what AUTH must sign */

    bool tell; /* call closed in the end */
    enum link_closed why;
    char *reason;
};

struct link_server {
    struct link_loop *loop;
    struct link_callbacks callbacks;
    void *context;
    struct evconnlistener *listener; /* NULL once stopped */
    struct event *listen_again;
    struct throttle newcomers; /* connections that have not come to anything */
    unsigned accepted;         /* since it last let the links have their turn */
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
    struct link *handshaking; /* those that are not authenticated yet, the oldest first */
};

/* ---- for tests ---- */

struct link_times link_times_default(void);
void link_server_set_times(struct link_server *server,
                           const struct link_times *times); /* of links accepted later */
void link_set_times(struct link *link, const struct link_times *times);
/* How many that come to nothing are accepted. */
void link_server_set_newcomers(struct link_server *server, uint32_t per_second, uint32_t burst);
/* Bytes that have come and are not worked off. */
size_t link_input_bytes(const struct link *link);

/* ---- link.c: the life of a link ---- */

struct link *link_new(struct event_base *base, const struct link_callbacks *callbacks, void *context);
/* Frees all of it, in any stage; tells nobody. */
void link_destroy(struct link *link);
void link_enter(struct link *link);
void link_leave(struct link *link); /* the link may be gone after this */
/* The handshake is done. */
void link_become_ready(struct link *link, const struct message *welcome);
/* The link's own turn. */
void link_turn(struct link *link);
/* The output has left, all of it or some, or cannot. */
void link_output_left(struct link *link);
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

/* ---- link_loop.c: the turns of an event loop ---- */

struct link_loop *link_loop_join(struct event_base *base);
void link_loop_leave(struct link_loop *loop); /* it may be gone after this */
void link_loop_forget(struct link *link);
/* The link's own turn comes soon. */
void link_wake(struct link *link);
/* Its output leaves at the end of this turn. */
void link_flush_soon(struct link *link);

/* ---- link_io.c: the connection below ---- */

/* Takes over a connected socket: TLS begins. */
void link_attach(struct link *link, int socket, SSL_CTX *context);
/* Lets it go. */
void link_detach(struct link *link);
bool link_is_attached(const struct link *link);
/* By its stage, pause and output. */
bool link_wants_input(const struct link *link);
/* Has the event loop watch for input if it is wanted. */
void link_watch_input(struct link *link);
/* What has come goes to the input. */
void link_receive(struct link *link);
void link_flush(struct link *link);
/* The stream has failed: the link ends. */
void link_connection_failed(struct link *link);

/* ---- link_input.c: what arrives ---- */

void link_process_input(struct link *link);

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
