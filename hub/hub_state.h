/* The shell's inside, shared by hub.c (life, ledger), links.c (clients, tower) and http.c. */
#ifndef RILL_HUB_HUB_STATE_H
#define RILL_HUB_HUB_STATE_H

#include <event2/event.h>
#include <event2/http.h>
#include <uthash.h>

#include "base/endpoint.h"
#include "base/log.h"
#include "hub/hub.h"
#include "store/store.h"
#include "wire/link.h"
#include "wire/outbox.h"

struct peer {
    uint64_t handle;
    struct link *link;
    UT_hash_handle hh;
};

/* A transaction that waits for its sequence to be durable, or for its outcome. */
struct errand {
    struct hub *hub;
    enum engine_call call;
    uint64_t reference, sequence;
    struct buffer data;
    struct errand *next;
};

struct hub {
    const struct hub_settings *settings;
    struct engine_settings engine_settings;
    struct event_base *base;
    struct event *wake, *turn, *tick, *term, *interrupt, *retry, *tower_retry;
    struct journal *journal;
    struct ledger *ledger;
    struct engine *engine;
    struct outbox *outbox;
    struct tls_identity *identity;
    struct link_server *server;
    struct evhttp *http;
    struct history_job *history_job; /* being read; NULL: none */
    struct peer *peers;
    struct link *tower_link;
    uint64_t next_handle;
    struct errand *errands_first, *errands_last;
    uint64_t appended;
    bool turn_pending, serving, stopping;
    uint16_t http_port;
    uint64_t started_us;
    int exit_code;
};

/* hub.c */
void hub_fail(struct hub *hub, const char *format, ...) PRINTF_LIKE(2, 3);
/* After every input: the turn ends soon, together with whatever else has come. */
void hub_turn_soon(struct hub *hub);

/* links.c */
bool links_listen(struct hub *hub);
void links_deliver(void *context, uint64_t peer, const uint8_t *frame, size_t length);
void links_disconnect(struct hub *hub, uint64_t peer, enum code code);
void links_stop(struct hub *hub);
void links_free(struct hub *hub);
void tower_connect(struct hub *hub);

/* http.c */
bool http_listen(struct hub *hub);
void http_free(struct hub *hub);
/* Sends it, and frees the body. */
void http_reply(struct evhttp_request *request, int code, const char *type, struct evbuffer *body);

/* http_history.c */
void http_on_history(struct evhttp_request *request, void *context);
/* Waits for a job that is under way, and drops its answer. */
void http_history_end(struct hub *hub);

#endif
