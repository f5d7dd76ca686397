/* Connections: TLS 1.3 over TCP, frames, the handshake of section 5 that ties the server's ledger key to its
 * TLS certificate, idle pings, limits and back-pressure. The same code serves hubs and towers, wallets and
 * the bench.
 *
 *     client: connecting ─TLS─▶ HELLO ─CHALLENGE─▶ AUTH ─WELCOME─▶ ready     (REDIRECT, <= 3: connect there)
 *     server: accepted ──TLS─▶ (HELLO) CHALLENGE ─AUTH─▶ ready: the owner sends WELCOME
 *                              (HELLO) REDIRECT ─▶ closed, for a client that another server serves
 *
 * Everything runs on the owner's event loop. Outgoing frames are queued up to PEER_OUTPUT_BYTES_MAX; above it
 * the peer is not read from until half of it has drained; a peer that stays above twice that is dropped.
 */
#ifndef RILL_WIRE_LINK_H
#define RILL_WIRE_LINK_H

#include "crypto/key.h"
#include "crypto/typed.h"
#include "wire/message.h"

struct event_base;
struct link;
struct link_server;

enum link_closed {
    LINK_CLOSED_PEER,      /* the other side closed, or reset */
    LINK_CLOSED_CONNECT,   /* no connection: refused, unreachable, unknown host */
    LINK_CLOSED_TLS,       /* not TLS 1.3 */
    LINK_CLOSED_TIMEOUT,   /* handshake 10 s, silence 90 s */
    LINK_CLOSED_HANDSHAKE, /* wrong chain, contract, hub, signature, version, too many redirects */
    LINK_CLOSED_MALFORMED, /* the peer broke the wire's rules */
    LINK_CLOSED_LIMIT,     /* a limit of connections or output */
    LINK_CLOSED_ERROR,     /* the peer sent a fatal ERROR: its text is in the reason */
    LINK_CLOSED_SELF       /* link_close was called */
};

struct link_callbacks {
    /* The handshake is done; peer is the proven address. A server's owner sends WELCOME now. For a client,
     * `welcome` is the WELCOME message (valid during the call); NULL for a server. */
    void (*ready)(void *context, struct link *link, const struct address *peer,
                  const struct message *welcome);
    /* A message other than the handshake's, PING, PONG and fatal ERROR; `frame` is its payload as it came.
     * Valid during the call. Only messages that may go in this direction arrive (others: ERROR MALFORMED,
     * closed). */
    void (*message)(void *context, struct link *link, const struct message *message);
    /* The link is gone; it is freed after this returns. Called once for every link, also before ready;
     * `reason` is one line for a person. Not called from within link_close. */
    void (*closed)(void *context, struct link *link, enum link_closed why, const char *reason);
    /* May be NULL. Output has drained below half the limit after being above it. */
    void (*drained)(void *context, struct link *link);
};

/* ---- TLS identity ---- */

struct tls_identity;
/* Loads certificate and key (PEM) from a folder, making a self-signed P-256 pair (mode 600) if neither
 * exists. NULL, and one line in message, on failure. */
struct tls_identity *tls_identity_open(const char *folder, char *message, size_t message_size);
void tls_identity_free(struct tls_identity *identity);
/* keccak256 of the certificate's DER. */
struct hash tls_identity_hash(const struct tls_identity *identity);

/* ---- server ---- */

struct link_server_options {
    const char *host; /* numeric address to listen on */
    uint16_t port;    /* 0: the system chooses, see link_server_port */
    struct tls_identity *identity;
    struct secret_key key; /* the hub's or tower's ledger key; copied, wiped on free */
    struct domain domain;
    uint32_t connections_max; /* further ones are closed at once, without a callback; 0: 10000 */
    uint32_t handshakes_max;  /* not authenticated yet; 0: 256 */
    bool tower;               /* towers take APPOINT and FETCH, hubs the channel messages */
    /* May be NULL. Asked at HELLO, with the callbacks' context; the client has not proven its address yet.
     * True: another server serves this client, at this host (a name or numeric, printable ASCII) and port.
     * It is answered REDIRECT in place of CHALLENGE, and closed (LINK_CLOSED_SELF) once that has left. */
    bool (*elsewhere)(void *context, const struct address *client, char host[HOST_BYTES_MAX + 1],
                      uint16_t *port);
};
/* NULL, and one line in message ("port 9735 is in use: …"), on failure. */
struct link_server *link_server_new(struct event_base *base, const struct link_server_options *options,
                                    const struct link_callbacks *callbacks, void *context, char *message,
                                    size_t message_size);
uint16_t link_server_port(const struct link_server *server);
size_t link_server_connections(const struct link_server *server);
/* No new connections; the open ones stay. */
void link_server_stop(struct link_server *server);
/* Closes the open ones too (without `closed` calls). Not from within a callback of one of them. */
void link_server_free(struct link_server *server);

/* ---- client ---- */

struct link_client_options {
    const char *host; /* name or numeric */
    uint16_t port;
    struct secret_key key; /* the client's; copied, wiped on free */
    uint64_t chain_id;     /* what the server must serve */
    struct address contract;
    struct address server; /* the contract's hub(), or the tower's address */
    bool tower;
    const char *agent; /* "rill/0.1" */
};
/* Never NULL; what goes wrong is told by `closed`, later. */
struct link *link_connect(struct event_base *base, const struct link_client_options *options,
                          const struct link_callbacks *callbacks, void *context);

/* ---- both ---- */

/* Queues a frame made by message_encode. Does nothing on a link that is closing, or not ready yet. */
void link_send_frame(struct link *link, const uint8_t *frame, size_t length);
/* Encodes and queues. */
void link_send(struct link *link, const struct message *message);
/* Sends ERROR with this code (its text from base/code.h if text is NULL); fatal: closes after it has left. */
void link_send_error(struct link *link, enum code code, const char *text, bool fatal,
                     const struct error_reference *reference);
/* Closes after what is queued has left (bounded by a second), without a `closed` call; frees it. The loop
 * must turn for that: a program that ends after this lets event_base_dispatch return by itself before it
 * frees the base. Safe in every callback; no other callback comes after it. */
void link_close(struct link *link);
/* Stops, or goes on, reading from this peer: the owner's own back-pressure. */
void link_pause(struct link *link, bool pause);
/* The peer has made us work for nothing: what it sent was answered with ERROR. A few at once are free; then it is not
 * read from until it has waited for each. A link charges its peer for PINGs by itself. */
void link_charge(struct link *link);
/* The owner's pointer. */
void link_set_user(struct link *link, void *user);
void *link_user(const struct link *link);
size_t link_output_bytes(const struct link *link);

#endif
