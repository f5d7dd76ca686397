#include "ledger/rpc.h"

#include <event2/dns.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "base/ensure.h"
#include "base/log.h"
#include "ledger/http_post.h"
#include "ledger/quantity.h"
#include "ledger/rpc_answers.h"

#define LINE_MAX_BYTES 256

#define HTTP_STATUS_TOO_MANY      429
#define HTTP_STATUS_SERVER_FAILED 500
#define HTTP_STATUS_UNAVAILABLE   503

enum node_state { NODE_PROBING, NODE_GOOD, NODE_WRONG };

struct call {
    struct call *prev, *next;
    uint64_t id; /* of its first question; the others have the next ones */
    char *body;
    unsigned tries; /* left; RPC_TRIES_ENDLESS */
    bool endless, too_much;
    uint32_t patience_ms; /* left for pauses, unless endless */
    bool is_batch, takes_no_batches;
    size_t part_count;
    struct rpc_part parts[RPC_BATCH_MAX];
    rpc_done *done;
    void *context;
    /* the answer, once there is one */
    enum ledger_error error;
    json_t *answer; /* the whole object */
    char *text;
};

/* One connection and what it carries. */
struct slot {
    struct rpc *rpc;
    struct http_link *link;
    struct call *call; /* NULL while the link is idle or carries the probe */
};

struct rpc {
    struct event_base *base;
    struct evdns_base *names;
    struct http_target target;
    char url[LINE_MAX_BYTES];
    uint64_t expected_chain, chain;
    void (*idle)(void *context);
    void *idle_context;

    enum node_state state;
    struct slot slots[RPC_IN_FLIGHT_MAX];
    bool probing; /* slot 0 carries the probe */
    uint64_t probe_id;
    unsigned failures; /* since a call last succeeded: sets the backoff */
    bool is_paused;    /* because the node asked for it */
    unsigned pauses;   /* likewise */
    struct rpc_batches batches;
    struct event *backoff; /* pending: nothing leaves before it is over */
    struct event *deliver;

    struct call *waiting, *answered; /* lists in order */
    struct call *telling;            /* those of the answered whose owners are being told */
    size_t limited_waiting;
    uint64_t next_id;
    bool stopped, answering;
    char trouble[2 * LINE_MAX_BYTES];
    char last_error[2 * LINE_MAX_BYTES];
};

static void pump(struct rpc *rpc);

/* ---- calls and their answers ---- */

static void call_free(struct call *call)
{
    json_decref(call->answer);
    free(call->body);
    free(call->text);
    free(call);
}

/* Puts a call among the answered; the deliver event tells its owner. */
static void call_finish(struct rpc *rpc, struct call *call, enum ledger_error error, json_t *answer,
                        const char *text)
{
    call->error = error;
    call->answer = answer; /* its parts stand in it */
    call->text = text != NULL ? xstrdup(text) : NULL;
    DL_APPEND(rpc->answered, call);
    event_active(rpc->deliver, 0, 0);
}

static void waiting_remove(struct rpc *rpc, struct call *call)
{
    DL_DELETE(rpc->waiting, call);
    if (!call->endless)
        rpc->limited_waiting--;
}

/* What a whole answer, or a part of one, says. */
static void answer_fill(struct rpc_answer *out, const json_t *answer)
{
    out->error_object = out->error == LEDGER_REFUSED ? json_object_get(answer, "error") : NULL;
    out->result = out->error == LEDGER_OK ? json_object_get(answer, "result") : NULL;
}

static void call_tell(struct call *call)
{
    struct rpc_answer parts[RPC_BATCH_MAX] = {{.error = LEDGER_OK}};
    bool is_over = call->error == LEDGER_STOPPED; /* nothing else is to be asked */
    struct rpc_answer answer = {.error = call->error,
                                .too_much = !is_over && call->too_much,
                                .takes_no_batches = !is_over && call->takes_no_batches,
                                .text = call->text};
    answer_fill(&answer, call->answer);
    if (call->is_batch && call->error == LEDGER_OK)
        answer.parts = parts;
    for (size_t i = 0; answer.parts != NULL && i < call->part_count; i++) {
        const json_t *error = rpc_answer_error(call->answer, &call->parts[i]);
        parts[i].error = error != NULL ? LEDGER_REFUSED : LEDGER_OK;
        parts[i].text = error != NULL ? rpc_error_message(error) : NULL;
        answer_fill(&parts[i], call->parts[i].answer);
    }
    call->done(call->context, &answer);
    call_free(call);
}

static void on_deliver(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct rpc *rpc = context;
    ensure(!rpc->answering);
    rpc->answering = true;
    /* What is finished meanwhile waits for the next turn of the loop. */
    rpc->telling = rpc->answered;
    rpc->answered = NULL;
    struct call *call;
    while ((call = rpc->telling) != NULL) {
        DL_DELETE(rpc->telling, call);
        call_tell(call); /* may stop the rpc, which answers the rest */
    }
    rpc->answering = false;
    if (!rpc->stopped)
        pump(rpc);
    if (rpc->idle != NULL)
        rpc->idle(rpc->idle_context); /* may free the rpc */
}

/* ---- the node's state ---- */

static void trouble_clear(struct rpc *rpc)
{
    if (rpc->trouble[0] != '\0')
        log_info("ledger: %s answers again", rpc->url);
    rpc->trouble[0] = '\0';
}

static void trouble_set(struct rpc *rpc, const char *text)
{
    char line[sizeof(rpc->trouble)];
    snprintf(line, sizeof(line), "ledger node %s: %s", rpc->url, text);
    if (strcmp(line, rpc->trouble) != 0)
        log_warn("%s", line);
    memcpy(rpc->trouble, line, sizeof(line));
}

static void last_error_set(struct rpc *rpc, const char *text)
{
    snprintf(rpc->last_error, sizeof(rpc->last_error), "%s", text);
}

/* The time to the next probe doubles with each failure. The first failure of a call is probed at once: mostly
 * it was an idle connection that the node had closed. */
static void probe_later(struct rpc *rpc)
{
    if (rpc->is_paused)
        return; /* a pause that the node asked for is not cut short */
    uint32_t wait_ms = 0;
    if (rpc->failures > 1) {
        unsigned doublings = rpc->failures - 2 < 16 ? rpc->failures - 2 : 16;
        uint32_t longest = RPC_BACKOFF_MAX_MS, wanted = (uint32_t)RPC_BACKOFF_MIN_MS << doublings;
        wait_ms = wanted < longest ? wanted : longest;
    }
    struct timeval wait = {wait_ms / 1000, (suseconds_t)(wait_ms % 1000) * 1000};
    evtimer_add(rpc->backoff, &wait);
}

/* Takes a try from a waiting call. Returns true if that was the last. */
static bool try_taken(struct call *call)
{
    return !call->endless && --call->tries == 0;
}

static void probe_failed(struct rpc *rpc, enum node_state state, enum ledger_error error, const char *text)
{
    rpc->state = state;
    rpc->failures++;
    trouble_set(rpc, text);
    last_error_set(rpc, text);
    struct call *call, *next;
    DL_FOREACH_SAFE(rpc->waiting, call, next)
    {
        if (state == NODE_WRONG ? !call->endless : try_taken(call)) {
            waiting_remove(rpc, call);
            call_finish(rpc, call, error, NULL, text);
        }
    }
    probe_later(rpc);
}

static void probe_answered(struct rpc *rpc, const json_t *answer)
{
    uint64_t chain;
    if (!quantity_u64(json_object_get(answer, "result"), &chain) || chain == 0) {
        probe_failed(rpc, NODE_PROBING, LEDGER_MALFORMED, "its answer to eth_chainId is not a chain id");
        return;
    }
    uint64_t expected = rpc->expected_chain != 0 ? rpc->expected_chain : rpc->chain;
    if (expected != 0 && chain != expected) {
        char text[LINE_MAX_BYTES];
        snprintf(text, sizeof(text), "wrong chain: expected chain id %llu, found chain id %llu",
                 (unsigned long long)expected, (unsigned long long)chain);
        probe_failed(rpc, NODE_WRONG, LEDGER_WRONG_CHAIN, text);
        return;
    }
    rpc->chain = chain;
    rpc->state = NODE_GOOD;
    if (rpc->failures <= 1 && rpc->pauses == 0)
        trouble_clear(rpc);
}

/* A call was answered: the node is well, unless that call left before one that was refused. */
static void node_is_well(struct rpc *rpc)
{
    if (rpc->is_paused)
        return;
    rpc->failures = 0;
    rpc->pauses = 0;
    trouble_clear(rpc);
}

/* Puts a call that left back to the place its age gives it. */
static void waiting_return(struct rpc *rpc, struct call *call)
{
    struct call *after = rpc->waiting;
    while (after != NULL && after->id < call->id)
        after = after->next;
    if (after != NULL)
        DL_PREPEND_ELEM(rpc->waiting, after, call);
    else
        DL_APPEND(rpc->waiting, call);
    if (!call->endless)
        rpc->limited_waiting++;
}

/* The node asks for patience: nothing leaves for a while. Calls whose patience that would exceed are answered now,
 * for nothing better can come for them. */
static void pause_begin(struct rpc *rpc, uint32_t asked_s, const char *text)
{
    if (rpc->is_paused)
        return; /* one of several that were under way */
    uint64_t asked_ms = (uint64_t)asked_s * 1000, wait_ms = RPC_PAUSE_MIN_MS;
    for (unsigned i = 0; i < rpc->pauses && wait_ms < RPC_PAUSE_MAX_MS; i++)
        wait_ms *= 2;
    wait_ms = wait_ms < RPC_PAUSE_MAX_MS ? wait_ms : RPC_PAUSE_MAX_MS;
    asked_ms = asked_ms < RPC_PAUSE_ASKED_MAX_MS ? asked_ms : RPC_PAUSE_ASKED_MAX_MS;
    wait_ms = asked_ms > wait_ms ? asked_ms : wait_ms;
    rpc->pauses++;
    rpc->is_paused = true;
    last_error_set(rpc, text);
    if (wait_ms >= RPC_PAUSE_SAID_MS)
        trouble_set(rpc, text);
    struct call *call, *next;
    DL_FOREACH_SAFE(rpc->waiting, call, next)
    {
        if (call->endless)
            continue;
        if (call->patience_ms >= wait_ms) {
            call->patience_ms -= (uint32_t)wait_ms;
            continue;
        }
        waiting_remove(rpc, call);
        call_finish(rpc, call, LEDGER_UNREACHABLE, NULL, text);
    }
    struct timeval wait = {(time_t)(wait_ms / 1000), (suseconds_t)(wait_ms % 1000) * 1000};
    evtimer_add(rpc->backoff, &wait);
}

static void call_failed(struct rpc *rpc, struct call *call, enum ledger_error error, bool too_much,
                        const char *text)
{
    last_error_set(rpc, text);
    if (rpc->state == NODE_GOOD) {
        rpc->state = NODE_PROBING;
        if (++rpc->failures > 1 || error != LEDGER_UNREACHABLE || too_much)
            trouble_set(rpc, text);
        probe_later(rpc);
    }
    call->too_much = too_much;
    if (try_taken(call))
        call_finish(rpc, call, error, NULL, text);
    else
        waiting_return(rpc, call);
}

/* ---- one exchange ---- */

/* Returns true if the answer was no answer, but asked for patience. */
static bool pause_asked(struct rpc *rpc, struct slot *slot, struct call *call, const json_t *answer)
{
    char text[LINE_MAX_BYTES];
    int status = http_link_status(slot->link);
    uint32_t header_s = http_link_retry_after_s(slot->link), asked_s = 0;
    struct rpc_part probe = {.answer = answer}, *parts = call != NULL ? call->parts : &probe;
    bool is_asked =
        rpc_asks_patience(answer, parts, call != NULL ? call->part_count : 1, text, sizeof(text), &asked_s);
    if (status == HTTP_STATUS_TOO_MANY || (status == HTTP_STATUS_UNAVAILABLE && header_s > 0)) {
        const json_t *error = rpc_answer_error(answer, parts);
        snprintf(text, sizeof(text),
                 "limits the rate of requests, so they are fewer now (HTTP status %d: %s)", status,
                 error != NULL ? rpc_error_message(error) : "it does not say more");
        is_asked = true;
    }
    if (!is_asked)
        return false;
    if (call != NULL)
        waiting_return(rpc, call);
    pause_begin(rpc, header_s > asked_s ? header_s : asked_s, text);
    return true;
}

/* A batch came back. */
static void batch_note(struct rpc *rpc, struct call *call, const json_t *answer)
{
    bool took_none = rpc_batches_are_over(&rpc->batches);
    rpc_batches_note(&rpc->batches, answer);
    call->takes_no_batches = !json_is_array(answer) && rpc_batches_are_over(&rpc->batches);
    if (call->takes_no_batches) {
        call->endless = false; /* the same again has no sense */
        call->tries = 1;
    }
    if (call->takes_no_batches && !took_none)
        log_warn(
            "ledger: %s takes no batches of calls, so they go one by one: let no node that may lag stand "
            "behind this address",
            rpc->url);
    else if (took_none && !call->takes_no_batches)
        log_info("ledger: %s takes batches of calls now", rpc->url);
}

static void on_exchange(void *context, enum http_outcome outcome, const uint8_t *data, size_t length,
                        const char *text)
{
    struct slot *slot = context;
    struct rpc *rpc = slot->rpc;
    struct call *call = slot->call;
    slot->call = NULL;
    bool is_readable = outcome == HTTP_ANSWERED || outcome == HTTP_STATUS;
    json_t *answer = NULL;
    if (is_readable && call != NULL)
        answer = rpc_answers_read(data, length, call->id, call->is_batch, call->parts, call->part_count);
    else if (is_readable)
        answer = rpc_answers_read(data, length, rpc->probe_id, false, NULL, 1);
    if (call == NULL)
        rpc->probing = false;
    if (pause_asked(rpc, slot, call, answer)) {
        json_decref(answer);
        event_active(rpc->deliver, 0, 0);
        return;
    }
    /* A server that has failed says nothing by its body. */
    if (answer != NULL && http_link_status(slot->link) >= HTTP_STATUS_SERVER_FAILED) {
        json_decref(answer);
        answer = NULL;
    }

    enum ledger_error error = outcome == HTTP_ANSWERED ? LEDGER_MALFORMED : LEDGER_UNREACHABLE;
    if (answer == NULL && text == NULL)
        text = "its answer is not JSON-RPC, or not to what was asked";
    if (call != NULL && call->is_batch)
        batch_note(rpc, call, answer);
    if (call == NULL) {
        if (answer != NULL)
            probe_answered(rpc, answer);
        else
            probe_failed(rpc, NODE_PROBING, error, text);
        json_decref(answer);
    } else if (answer == NULL) {
        call_failed(rpc, call, error, outcome != HTTP_NO_CONNECTION, text);
    } else if (call->takes_no_batches) {
        node_is_well(rpc);
        call_finish(rpc, call, LEDGER_REFUSED, answer, "the node takes no batches of calls");
    } else if (json_is_object(json_object_get(answer, "error"))) {
        node_is_well(rpc);
        last_error_set(rpc, rpc_error_message(json_object_get(answer, "error")));
        call_finish(rpc, call, LEDGER_REFUSED, answer, rpc->last_error);
    } else {
        node_is_well(rpc);
        call_finish(rpc, call, LEDGER_OK, answer, NULL);
    }
    event_active(rpc->deliver, 0, 0); /* pumps, outside libevent's HTTP code */
}

static void probe_start(struct rpc *rpc)
{
    char body[128];
    rpc->probe_id = rpc->next_id++;
    int length = snprintf(body, sizeof(body),
                          "{\"jsonrpc\":\"2.0\",\"id\":%llu,\"method\":\"eth_chainId\",\"params\":[]}",
                          (unsigned long long)rpc->probe_id);
    rpc->probing = http_link_post(rpc->slots[0].link, body, (size_t)length);
    if (!rpc->probing)
        probe_failed(rpc, NODE_PROBING, LEDGER_UNREACHABLE, "no connection can be made");
}

static void on_backoff(evutil_socket_t fd, short what, void *context)
{
    (void)fd;
    (void)what;
    struct rpc *rpc = context;
    rpc->is_paused = false;
    pump(rpc);
}

/* Starts what can be started. */
static void pump(struct rpc *rpc)
{
    if (evtimer_pending(rpc->backoff, NULL))
        return;
    if (rpc->state != NODE_GOOD) {
        if (!rpc->probing && rpc->waiting != NULL && !http_link_is_busy(rpc->slots[0].link))
            probe_start(rpc);
        return;
    }
    /* After a pause one call tries how it is; the others follow once it is answered. */
    bool is_cautious = rpc->pauses > 0;
    for (size_t i = 0; is_cautious && i < RPC_IN_FLIGHT_MAX; i++)
        if (http_link_is_busy(rpc->slots[i].link))
            return;
    size_t most = is_cautious ? 1 : RPC_IN_FLIGHT_MAX;
    for (size_t i = 0; i < most && rpc->waiting != NULL && rpc->state == NODE_GOOD; i++) {
        struct slot *slot = &rpc->slots[i];
        if (http_link_is_busy(slot->link))
            continue;
        struct call *call = rpc->waiting;
        waiting_remove(rpc, call);
        slot->call = call;
        bool has_lists = false;
        for (size_t part = 0; part < call->part_count; part++)
            has_lists = has_lists || call->parts[part].has_lists;
        http_link_answer_max(slot->link, has_lists ? RPC_LISTS_MAX : RPC_ANSWER_MAX);
        if (!http_link_post(slot->link, call->body, strlen(call->body))) {
            slot->call = NULL;
            call_failed(rpc, call, LEDGER_UNREACHABLE, false, "no connection can be made");
        }
    }
}

/* ---- what the owner calls ---- */

struct rpc *rpc_new(struct event_base *base, const char *url, uint64_t chain_id, uint32_t timeout_ms,
                    void (*idle)(void *context), void *context)
{
    struct rpc *rpc = xcalloc(1, sizeof(*rpc));
    rpc->base = base;
    rpc->expected_chain = chain_id;
    rpc->idle = idle;
    rpc->idle_context = context;
    rpc->next_id = 1;
    snprintf(rpc->url, sizeof(rpc->url), "%s", url);
    rpc->backoff = evtimer_new(base, on_backoff, rpc);
    rpc->deliver = event_new(base, -1, 0, on_deliver, rpc);
    ensure(rpc->backoff != NULL && rpc->deliver != NULL);
    const char *problem = http_target_parse(url, &rpc->target);
    if (problem != NULL) {
        trouble_set(rpc, problem);
        last_error_set(rpc, problem);
        return rpc; /* without links: every call is answered UNREACHABLE */
    }
    if (rpc->target.is_name)
        rpc->names =
            evdns_base_new(base, EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    for (size_t i = 0; i < RPC_IN_FLIGHT_MAX; i++) {
        rpc->slots[i].rpc = rpc;
        rpc->slots[i].link = http_link_new(base, rpc->names, &rpc->target, timeout_ms, RPC_ANSWER_MAX,
                                           on_exchange, &rpc->slots[i]);
    }
    return rpc;
}

/* Answers all of a list STOPPED, each removed before its owner hears of it. */
static void list_stop(struct call **list)
{
    struct call *call;
    while ((call = *list) != NULL) {
        DL_DELETE(*list, call);
        call->error = LEDGER_STOPPED;
        call_tell(call);
    }
}

void rpc_stop(struct rpc *rpc)
{
    ensure(!rpc->stopped);
    rpc->stopped = true;
    evtimer_del(rpc->backoff);
    for (size_t i = 0; i < RPC_IN_FLIGHT_MAX; i++) {
        struct slot *slot = &rpc->slots[i];
        if (slot->link != NULL)
            http_link_free(slot->link);
        slot->link = NULL;
        if (slot->call != NULL)
            DL_APPEND(rpc->waiting, slot->call);
        slot->call = NULL;
    }
    list_stop(&rpc->telling);
    list_stop(&rpc->answered);
    list_stop(&rpc->waiting);
}

void rpc_free(struct rpc *rpc)
{
    ensure(rpc->stopped && !rpc->answering);
    if (rpc->names != NULL)
        evdns_base_free(rpc->names, 0);
    event_free(rpc->backoff);
    event_free(rpc->deliver);
    free(rpc);
}

bool rpc_is_answering(const struct rpc *rpc)
{
    return rpc->answering;
}

static struct call *call_new(struct rpc *rpc, unsigned tries, rpc_done *done, void *context)
{
    struct call *call = xcalloc(1, sizeof(*call));
    call->id = rpc->next_id++;
    call->tries = tries;
    call->endless = tries == RPC_TRIES_ENDLESS;
    call->patience_ms =
        tries < UINT32_MAX / RPC_PATIENCE_PER_TRY_MS ? tries * RPC_PATIENCE_PER_TRY_MS : UINT32_MAX;
    call->done = done;
    call->context = context;
    return call;
}

void rpc_answer_later(struct rpc *rpc, enum ledger_error error, const char *text, rpc_done *done,
                      void *context)
{
    struct call *call = call_new(rpc, 1, done, context);
    if (rpc->stopped) {
        call->error = LEDGER_STOPPED;
        call_tell(call);
        return;
    }
    last_error_set(rpc, text);
    call_finish(rpc, call, error, NULL, text);
}

/* Why no call can be taken on; NULL: it can. */
static const char *why_refused(const struct rpc *rpc, unsigned tries)
{
    if (rpc->stopped || rpc->slots[0].link == NULL)
        return rpc->trouble;
    bool is_limited = tries != RPC_TRIES_ENDLESS;
    return is_limited && rpc->limited_waiting >= RPC_WAITING_MAX ? "too many calls wait for the ledger node"
                                                                 : NULL;
}

static void call_begin(struct rpc *rpc, const struct rpc_question *questions, size_t count, bool is_batch,
                       unsigned tries, rpc_done *done, void *context)
{
    const char *refused = why_refused(rpc, tries);
    for (size_t i = 0; i < count; i++)
        ensure(json_is_array(questions[i].params));
    if (refused != NULL) {
        for (size_t i = 0; i < count; i++)
            json_decref(questions[i].params);
        rpc_answer_later(rpc, LEDGER_UNREACHABLE, refused, done, context);
        return;
    }
    struct call *call = call_new(rpc, tries, done, context);
    rpc->next_id = call->id + count;
    call->is_batch = is_batch;
    call->part_count = count;
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        call->parts[i] = rpc_part_of(questions[i].method, questions[i].params);
        json_t *request =
            json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id", (json_int_t)call->id + (json_int_t)i,
                      "method", questions[i].method, "params", questions[i].params);
        ensure(request != NULL && json_array_append_new(list, request) == 0);
    }
    call->body = json_dumps(is_batch ? list : json_array_get(list, 0), JSON_COMPACT);
    ensure(call->body != NULL);
    json_decref(list);
    DL_APPEND(rpc->waiting, call);
    if (!call->endless)
        rpc->limited_waiting++;
    event_active(rpc->deliver, 0, 0);
}

void rpc_call(struct rpc *rpc, const char *method, json_t *params, unsigned tries, rpc_done *done,
              void *context)
{
    const struct rpc_question question = {method, params};
    call_begin(rpc, &question, 1, false, tries, done, context);
}

void rpc_batch(struct rpc *rpc, const struct rpc_question *questions, size_t count, unsigned tries,
               rpc_done *done, void *context)
{
    ensure(count > 0 && count <= RPC_BATCH_MAX);
    call_begin(rpc, questions, count, true, tries, done, context);
}

bool rpc_may_batch(struct rpc *rpc)
{
    return !rpc_batches_are_over(&rpc->batches) || ++rpc->batches.spared % RPC_BATCH_AGAIN == 0;
}

uint64_t rpc_chain_id(const struct rpc *rpc)
{
    return rpc->chain;
}

const char *rpc_trouble(const struct rpc *rpc)
{
    return rpc->trouble;
}

const char *rpc_last_error(const struct rpc *rpc)
{
    return rpc->last_error;
}
