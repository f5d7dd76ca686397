/* The shell's insides, shared by shell.c (life and ledger), peers.c (connections) and metrics.c. */
#ifndef RILL_WATCHTOWER_SHELL_STATE_H
#define RILL_WATCHTOWER_SHELL_STATE_H

#include <event2/event.h>
#include <uthash.h>

#include "store/store.h"
#include "watchtower/shell.h"
#include "wire/link.h"
#include "wire/outbox.h"

/* One connection of a user; its number is what the core calls a peer. */
struct connection {
    uint64_t number;
    struct address user;
    struct link *link;
    bool paused;
    UT_hash_handle hh, by_user;
};

struct shell {
    const struct shell_settings *settings;
    struct address self;
    struct event_base *base;
    struct event *tick, *wake, *on_term, *on_interrupt, *retry, *drain;
    struct journal *journal;
    struct ledger *ledger;
    struct tower *tower; /* NULL until the ledger has been asked */
    struct outbox *outbox;
    struct tls_identity *identity;
    struct link_server *server;
    struct evhttp *http;
    uint16_t http_port;
    struct connection *connections, *users;
    uint64_t next_connection;
    uint64_t last_appended;
    /* what the ledger said at the start */
    struct address hub;
    uint64_t challenge_period_s;
    const char *waiting_for; /* for /healthz, while there is no tower */
    bool stopping;
    unsigned drain_turns;
    int exit_code;
};

/* ---- shell.c ---- */

/* Releases what is durable, and lets paused peers go on if there is room. After every input. */
void shell_flush(struct shell *shell);
/* Logs, and ends the loop with exit code 1. */
void shell_fail(struct shell *shell, const char *format, ...) PRINTF_LIKE(2, 3);

/* ---- peers.c ---- */

/* False, with one line in message, if the port cannot be had. */
bool peers_listen(struct shell *shell, const struct domain *domain, char *message,
                  size_t message_size) MUST_USE;
/* outbox_deliver. */
void peers_deliver(void *context, uint64_t peer, const uint8_t *frame, size_t length);
void peers_resume(struct shell *shell);
/* Tells everybody that the tower stops; their links close. */
void peers_dismiss(struct shell *shell);
void peers_free(struct shell *shell);

/* ---- metrics.c ---- */

/* /metrics and /healthz. False, with one line in message, if the port cannot be had. */
bool metrics_listen(struct shell *shell, char *message, size_t message_size) MUST_USE;
void metrics_free(struct shell *shell);

#endif
