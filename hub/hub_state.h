/* The shell's inside. Threads:
 *
 *     the hub's    hub.c (life, ledger), conduct.c (what shards ask of it), tower_link.c, http.c
 *     one a shard  shard.c (turns, journal, mail), links.c (clients)
 *
 * They share nothing but mail (hub/mailbox.h), the figures below a lock, and what is set before they start.
 *
 *     hub     start: threads ─all OPENED─▶ ask the ledger ─▶ BEGIN ─all RECOVERED─▶ FOLLOW, follow the ledger
 *             ─caught up─▶ SERVE ─all SERVING─▶ port file, tower ─SIGTERM─▶ STOP ─all STOPPED─▶ end
 */
#ifndef RILL_HUB_HUB_STATE_H
#define RILL_HUB_HUB_STATE_H

#include <event2/event.h>
#include <event2/http.h>
#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>

#include "base/endpoint.h"
#include "base/log.h"
#include "hub/hub.h"
#include "hub/mailbox.h"
#include "store/store.h"
#include "wire/link.h"
#include "wire/outbox.h"

struct peer {
    uint64_t handle;
    struct link *link;
    UT_hash_handle hh;
};

struct shard_figures {
    struct engine_figures engine;
    struct store_figures store;
    uint64_t outbox_bytes, connections;
};

struct shard {
    struct hub *hub;
    uint32_t index;
    pthread_t thread;
    struct event_base *base;
    struct mailbox *mailbox;
    _Atomic uint16_t port; /* where it listens, for the others to send clients to; 0: not known yet */

    pthread_mutex_t figures_mutex;
    struct shard_figures figures; /* as of the last tick, or question */

    /* its thread's own */
    struct event *wake, *turn, *tick, *acks, *end, *count;
    struct journal *journal;
    struct engine *engine;
    struct outbox *outbox;
    struct link_server *server;
    struct peer *peers;
    uint64_t next_handle;
    struct mail *waiting_first, *waiting_last; /* until their sequence is durable */
    uint64_t appended;
    bool turn_pending, stopping, is_broken;
    bool turn_given_back;         /* to settle: told once the pools are */
    uint64_t count_sequence;      /* of the batch that has all that is counted */
    struct engine_count *counted; /* the hub's thread takes it when MAIL_COUNTED has come */
};

/* A pool, and whether it will last. */
struct pool_foreseen {
    struct address asset;
    uint64_t units;
    struct outlook_verdict verdict;
};

/* The one link to a watchtower, which all shards use. */
struct hub_tower_link {
    struct hub *hub;
    size_t index;
    struct link *link; /* NULL: not connected, nor on the way */
    struct event *retry;
};

struct hub {
    const struct hub_settings *settings;
    struct engine_settings engine_settings;
    uint32_t shard_count;
    char public_host[HOST_BYTES_MAX + 1]; /* where clients are sent on to */
    struct shard *shards;
    struct event_base *base;
    struct mailbox *mailbox;
    struct event *term, *interrupt, *retry;
    struct ledger *ledger;
    struct tls_identity *identity;
    struct evhttp *http;
    struct http_job *http_job; /* under way; NULL: none */
    uint32_t receipts_asked;   /* http_settlements.c */
    struct publisher *publisher;
    struct hub_tower_link towers[ENGINE_TOWERS_MAX];
    size_t towers_asked; /* of which the contract has said whether it knows them */
    uint32_t opened, recovered, serving_shards, stopped; /* how many shards have said so */
    uint64_t cursor;
    struct hash cursor_before;
    atomic_size_t events_waiting; /* for shards to read them, in all mailboxes */
    bool events_held;             /* no more are asked for until few wait */
    bool asked_to_serve, serving, stopping, threads_run;
    /* conduct.c */
    uint32_t turns[SHARDS_MAX], turn_count; /* shards that want to settle, in order; the first one does */
    struct engine_pool *pools;              /* shard_count times ASSETS_MAX */
    size_t *pool_counts;
    struct {
        struct address asset;
        uint8_t level;
    } pools_said[ASSETS_MAX]; /* foresee.c: what the log was last told */
    size_t pools_said_count;
    uint16_t http_port;
    uint64_t started_us;
    int exit_code;
};

/* hub.c */
void hub_fail(struct hub *hub, const char *format, ...) PRINTF_LIKE(2, 3);
void hub_post_all(struct hub *hub, enum mail_type type, bool flag);
/* Shards that are slower than the ledger's node: above the first figure nothing more is asked of it, below the second
 * it goes on. An event is some hundred bytes; what one answer of the node holds comes on top. */
#define EVENTS_WAITING_MAX 32768
#define EVENTS_WAITING_FEW 8192
void hub_events_read(struct hub *hub);
/* A shard's mail to the hub that is about its life. */
void hub_opened(struct hub *hub);
void hub_recovered(struct hub *hub, uint64_t cursor, const struct hash *before);
void hub_serving(struct hub *hub);
void hub_stopped(struct hub *hub);

/* conduct.c */
void conduct_mail(void *hub, struct mail *mail);

/* foresee.c */
/* Returns how many assets. */
size_t foresee(const struct hub *hub, struct pool_foreseen out[ASSETS_MAX]);
/* The shards have told what their channels will need: the log hears of it if it has changed. */
void foresee_say(struct hub *hub);

/* shard.c */
void shard_init(struct shard *shard, struct hub *hub, uint32_t index);
void shard_start(struct shard *shard);
/* Once its thread has ended. */
void shard_free(struct shard *shard);
/* After every input: the turn ends soon, together with whatever else has come. */
void shard_turn_soon(struct shard *shard);
void shard_fail(struct shard *shard, const char *format, ...) PRINTF_LIKE(2, 3);
struct shard_figures shard_figures_now(struct shard *shard);
void shard_figures_add(struct shard_figures *sum, const struct shard_figures *one);
/* Runs `answer` (may be NULL) on the shard's thread, brings its figures up to date, and waits for both; not at all
 * before the journals are read, or at the end. From the hub's thread only. */
void shard_ask(struct shard *shard, void (*answer)(const struct engine *engine, void *context),
               void *context);
/* The same for what changes something: returns when that is durable. */
void shard_act(struct shard *shard, void (*act)(struct engine *engine, void *context), void *context);

/* links.c: on the shard's thread */
bool links_listen(struct shard *shard);
void links_deliver(void *shard, uint64_t peer, const uint8_t *frame, size_t length);
void links_disconnect(struct shard *shard, uint64_t peer, enum code code);
void links_stop(struct shard *shard);
void links_free(struct shard *shard);

/* tower_link.c */
void tower_connect_all(struct hub *hub);
void tower_send(struct hub *hub, uint64_t tower, const uint8_t *frame, size_t length);
void tower_close_all(struct hub *hub);

/* http.c */
bool http_listen(struct hub *hub);
void http_free(struct hub *hub);
/* Sends it, and frees the body. */
void http_reply(struct evhttp_request *request, int code, const char *type, struct evbuffer *body);

/* http_close.c */
void http_on_close(struct evhttp_request *request, void *context);

/* http_history.c */
void http_on_history(struct evhttp_request *request, void *context);

/* http_liabilities.c */
void http_on_liabilities(struct evhttp_request *request, void *context);
void http_on_liability_proof(struct evhttp_request *request, void *context);

/* http_settlements.c */
void http_on_settlements(struct evhttp_request *request, void *context);

/* http_towers.c */
void http_on_tower_evidence(struct evhttp_request *request, void *context);

/* http_prove.c */
void http_on_prove(struct evhttp_request *request, void *context);

#endif
