/* The shell's insides, shared by shell.c (the process), post.c (one contract), peers.c (its connections), crew.c
 * (workers), webhook.c (alarms) and metrics.c. */
#ifndef RILL_WATCHTOWER_SHELL_STATE_H
#define RILL_WATCHTOWER_SHELL_STATE_H

#include <event2/event.h>
#include <uthash.h>

#include "store/store.h"
#include "watchtower/crew.h"
#include "watchtower/shell.h"
#include "watchtower/webhook.h"
#include "wire/link.h"
#include "wire/outbox.h"

/* One connection of a user; its number is what the core calls a peer. */
struct connection {
    uint64_t number;
    struct post *post;
    struct address user;
    struct link *link;
    bool paused;
    UT_hash_handle hh, by_user;
};

struct post {
    struct shell *shell;
    const struct post_settings *settings;
    struct event *wake, *retry;
    struct journal *journal;
    struct ledger *ledger;
    struct post *sender; /* whose ledger client sends for this one: a chain has one, for the key's nonces */
    struct tower *tower; /* NULL until the ledger has been asked */
    struct outbox *outbox;
    struct link_server *server;
    struct connection *connections, *users;
    size_t paused; /* connections */
    uint64_t next_connection;
    uint64_t last_appended;
    size_t judging;        /* messages that are with the workers */
    uint64_t refused_peer; /* the last one that was answered with ERROR, and by what */
    uint64_t refused_code;
    /* what the ledger said at the start */
    struct address hub;
    uint64_t challenge_period_s;
    const char *waiting_for; /* for /healthz, while it does not serve */
    bool serves;
    uint64_t blind_since_ms; /* the node has given no good answer; 0: it does */
    bool blind_told;
};

struct shell {
    const struct shell_settings *settings;
    struct address self;
    struct event_base *base;
    struct event *tick, *on_term, *on_interrupt, *drain;
    struct post posts[POSTS_MAX];
    struct crew *crew;
    struct webhook *webhook; /* NULL: none */
    struct tls_identity *identity;
    struct evhttp *http;
    uint16_t http_port;
    bool stopping;
    unsigned drain_turns;
    int exit_code;
};

/* ---- shell.c ---- */

/* Logs, and ends the loop with exit code 1. */
void shell_fail(struct shell *shell, const char *format, ...) PRINTF_LIKE(2, 3);
/* A post serves from now on. */
void shell_serves(struct shell *shell, struct post *post);

/* ---- post.c ---- */

/* False, and one line in the log, if its folder cannot be had. Asks the ledger; goes on by itself from there. */
bool post_open(struct post *post) MUST_USE;
void post_close(struct post *post);
/* Releases what is durable, and lets paused peers go on if there is room. After every input. */
void post_flush(struct post *post);
/* About once a second. */
void post_tick(struct post *post, uint64_t now_ms);
/* Makes all that was promised durable, and tells the users. */
void post_stop(struct post *post);

/* ---- peers.c ---- */

/* False, with one line in message, if the port cannot be had. */
bool peers_listen(struct post *post, const struct domain *domain, char *message,
                  size_t message_size) MUST_USE;
/* outbox_deliver. */
void peers_deliver(void *context, uint64_t peer, const uint8_t *frame, size_t length);
/* crew_done: a message of a user has been judged. */
void peers_judged(void *context, struct crew_job *job);
/* Makes a peer wait if it was refused something since tower_refused was `before`. */
void peers_charge(struct post *post, uint64_t before);
void peers_resume(struct post *post);
/* Tells everybody that the tower stops; their links close. */
void peers_dismiss(struct post *post);
void peers_free(struct post *post);

/* ---- metrics.c ---- */

/* /metrics and /healthz. False, with one line in message, if the port cannot be had. */
bool metrics_listen(struct shell *shell, char *message, size_t message_size) MUST_USE;
void metrics_free(struct shell *shell);

#endif
