/* JSON-RPC over HTTP to one node that may be down, slow, wrong or on another chain.
 *
 *     PROBING  the chain id is being asked for: at the start, and after every failure. Calls wait.
 *              right chain → GOOD; wrong chain → WRONG; no good answer → again, with backoff
 *     GOOD     calls go out, at most RPC_IN_FLIGHT_MAX at once, in the order they came
 *              a call fails (no connection, no answer in time, HTTP error, not JSON-RPC) → PROBING;
 *              the call is tried again
 *     WRONG    as PROBING, but calls with limited tries are answered LEDGER_WRONG_CHAIN
 *
 * A failed probe counts as a try of every call that waits, so a call with limited tries is answered in
 * bounded time. An error object is an answer, never a failure. All answers are given from the event loop,
 * never from inside rpc_call, and nothing of libevent's HTTP code is on the stack then.
 */
#ifndef RILL_LEDGER_RPC_H
#define RILL_LEDGER_RPC_H

#include <jansson.h>

#include "base/buffer.h"
#include "ledger/client.h"

#define RPC_IN_FLIGHT_MAX  4
#define RPC_WAITING_MAX    1024               /* of calls with limited tries */
#define RPC_ANSWER_MAX     (16 * 1024 * 1024) /* bytes of one answer */
#define RPC_BACKOFF_MIN_MS 50
#define RPC_BACKOFF_MAX_MS 5000
#define RPC_TRIES_ENDLESS  0

struct rpc;
struct event_base;

struct rpc_answer {
    enum ledger_error error;    /* OK, UNREACHABLE, WRONG_CHAIN, MALFORMED, REFUSED or STOPPED */
    const json_t *result;       /* OK: valid during the call */
    const json_t *error_object; /* REFUSED: {code, message, data} */
    bool too_much;              /* the node did not manage this very call: too slow, too large, HTTP error */
    const char *text;           /* not OK: one line for a person */
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

#endif
