/* JSON-RPC over HTTP to one node that may be down, slow, wrong or on another chain.
 *
 *     PROBING  the chain id is being asked for: at the start, and after every failure. Calls wait.
 *              right chain → GOOD; wrong chain → WRONG; no good answer → again, with backoff
 *     GOOD     calls go out, at most RPC_IN_FLIGHT_MAX at once, in the order they came
 *              a call fails (no connection, no answer in time, HTTP error, not JSON-RPC) → PROBING;
 *              the call is tried again
 *     WRONG    as PROBING, but calls with limited tries are answered LEDGER_WRONG_CHAIN
 *
 * In each state the node may ask for patience: it limits the rate of requests (HTTP 429, 503 with Retry-After, the
 * error objects of providers), or an upstream of it lacks the newest block. Then nothing leaves for a while: as long
 * as the node asks, within RPC_PAUSE_ASKED_MAX_MS, or twice as long as the last time. Afterwards calls go one by one
 * until one is answered. No call loses a try by that, but the pauses use up its patience.
 *
 * A failed probe counts as a try of every call that waits, so a call with limited tries is answered in
 * bounded time. Any other error object is an answer, never a failure. All answers are given from the event loop,
 * never from inside rpc_call, and nothing of libevent's HTTP code is on the stack then.
 *
 * A batch is one call with several questions: tried again, paused for and answered as a whole. Behind one address there
 * may be several nodes; a batch is answered by one of them. Nodes that take no batches say so in many ways: one result in
 * place of the list, or one error object that calls the request none, ends the matter at once; anything else that is no
 * list, when it comes RPC_BATCH_FAILURES_MAX times in a row (so often that the largest range of logs has been halved to
 * one block meanwhile, and size is not what it was about). One in RPC_BATCH_AGAIN is tried all the same from then on:
 * it may have been an hour of trouble, or another node by now.
 */
#ifndef RILL_LEDGER_RPC_H
#define RILL_LEDGER_RPC_H

#include <jansson.h>

#include "base/buffer.h"
#include "ledger/client.h"

#define RPC_IN_FLIGHT_MAX  4
#define RPC_WAITING_MAX    1024               /* of calls with limited tries */
#define RPC_ANSWER_MAX     (2 * 1024 * 1024)  /* bytes of one answer */
#define RPC_LISTS_MAX      (16 * 1024 * 1024) /* of one that is a list of logs or transactions, or has one */
#define RPC_BACKOFF_MIN_MS 50
#define RPC_BACKOFF_MAX_MS 5000
#define RPC_TRIES_ENDLESS  0
/* So often a call for the newest state is asked again of a node that does not have it. */
#define RPC_ABSENCES_MAX 4
/* Pauses that the node asks for. */
#define RPC_PAUSE_MIN_MS        250
#define RPC_PAUSE_MAX_MS        10000 /* where it does not say for how long */
#define RPC_PAUSE_ASKED_MAX_MS  60000 /* where it does */
#define RPC_PAUSE_SAID_MS       1000  /* from here on it is told as trouble */
#define RPC_PATIENCE_PER_TRY_MS 15000 /* a call with this many tries waits so long in pauses, all in all */
#define RPC_BATCH_MAX           4     /* questions */
#define RPC_BATCH_FAILURES_MAX  12
#define RPC_BATCH_AGAIN         64

struct rpc;
struct event_base;

struct rpc_answer {
    enum ledger_error error;    /* OK, UNREACHABLE, WRONG_CHAIN, MALFORMED, REFUSED or STOPPED */
    const json_t *result;       /* OK: valid during the call */
    const json_t *error_object; /* REFUSED: {code, message, data} */
    bool too_much;              /* the node did not manage this very call: too slow, too large, HTTP error */
    const char *text;           /* not OK: one line for a person */
    /* Of a batch: no result, but when OK an answer to each question in their order, OK or REFUSED. */
    const struct rpc_answer *parts;
    bool takes_no_batches; /* not OK: the questions must be asked one by one */
};
typedef void rpc_done(void *context, const struct rpc_answer *answer);

/* `idle` is called as the last thing after answers were given: there the owner may free the rpc. */
struct rpc *rpc_new(struct event_base *base, const char *url, uint64_t chain_id, uint32_t timeout_ms,
                    void (*idle)(void *context), void *context);
/* Answers every open call LEDGER_STOPPED; later calls are answered so at once. No more events. */
void rpc_stop(struct rpc *rpc);
/* After rpc_stop, never while answers are being given (rpc_is_answering). */
void rpc_free(struct rpc *rpc);
bool rpc_is_answering(const struct rpc *rpc);

/* Takes over `params`, an array. */
void rpc_call(struct rpc *rpc, const char *method, json_t *params, unsigned tries, rpc_done *done,
              void *context);
struct rpc_question {
    const char *method;
    json_t *params;
};
/* Takes over the params of each of the 1 to RPC_BATCH_MAX questions. */
void rpc_batch(struct rpc *rpc, const struct rpc_question *questions, size_t count, unsigned tries,
               rpc_done *done, void *context);
/* Whether to ask in a batch now: false once the node has shown that it takes none, but for one in RPC_BATCH_AGAIN. */
bool rpc_may_batch(struct rpc *rpc);
/* Answers from the loop with an error of the caller's choice. */
void rpc_answer_later(struct rpc *rpc, enum ledger_error error, const char *text, rpc_done *done,
                      void *context);

uint64_t rpc_chain_id(const struct rpc *rpc); /* 0 until known */
const char *rpc_trouble(const struct rpc *rpc);
/* Text of the last error object, or of the last failure. */
const char *rpc_last_error(const struct rpc *rpc);

/* The bytes an error object carries as revert data, wherever the node puts them. Returns whether there are
 * any; an empty revert counts. */
bool rpc_revert_data(const json_t *error_object, struct buffer *out) MUST_USE;
/* True if the error object says that execution reverted, with data or without. */
bool rpc_is_revert(const json_t *error_object);
/* True if the error object says that there were too many requests. of_logs: it is the answer to eth_getLogs, where
 * "limit exceeded" speaks of the range. */
bool rpc_is_rate_limit(const json_t *error_object, bool of_logs);
/* Seconds that the error object asks to wait; 0: it does not say. */
uint32_t rpc_wait_asked_s(const json_t *error_object);
/* True if the error object says that the node does not know the method, or not with such parameters. */
bool rpc_is_unknown_way(const json_t *error_object);
/* True if the error object says that the node does not have a block, or its state: not yet, or no more. */
bool rpc_is_missing_block(const json_t *error_object);

#endif
