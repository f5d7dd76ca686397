/* The base ledger as a client sees it: Ethereum JSON-RPC over HTTP, on libevent, never blocking the loop.
 *
 * Assume the node lies, lags, stops and reorganises. A node that is down, slow, wrong or on another chain is
 * said so (once, then at each change) and retried with backoff; calls wait meanwhile, within limits. A block
 * whose number goes back, or whose hash changes, makes the follower go back; what was given as confirmed is
 * never taken back silently: a reorganisation deeper than `confirmations` is an error the owner is told of.
 */
#ifndef RILL_LEDGER_CLIENT_H
#define RILL_LEDGER_CLIENT_H

#include "crypto/key.h"
#include "crypto/typed.h"
#include "ledger/contract.h"

struct event_base;
struct ledger;

struct ledger_options {
    const char *url;   /* http://127.0.0.1:8545 */
    uint64_t chain_id; /* expected; 0: whatever the node says */
    struct address contract;
    uint32_t confirmations; /* an event in block n counts once the head is >= n + confirmations; 0: at once */
    uint32_t poll_ms;       /* how often the head is asked for; 0: 500 */
    uint32_t timeout_ms;    /* of one call; 0: 10 s */
    uint32_t logs_range_max;  /* blocks per eth_getLogs, halved when the node refuses; 0: 2000 */
    uint64_t max_fee_per_gas; /* wei: cap of what is ever offered; 0: 500 gwei */
    uint32_t tries; /* of a call that fails, with backoff; 0: 8, about 3 s against a closed port. Preparing
                     * a transaction has two more; once it has left, there is no giving up. A node that
                     * limits the rate of requests is waited for 15 s per try, all in all */
    bool
        fills_gaps; /* what a former run left unmined before ours is replaced by an empty transaction: for owners that
                      * have the key to themselves and decide anew from the ledger's state after each start */
};

enum ledger_error {
    LEDGER_OK = 0,
    LEDGER_UNREACHABLE, /* no answer within the tries allowed */
    LEDGER_WRONG_CHAIN,
    LEDGER_MALFORMED, /* the node's answer is not JSON-RPC, or not what was asked */
    LEDGER_REFUSED,   /* the node answered with an error object (text has it) */
    LEDGER_REVERTED,  /* the contract refused: error names why */
    LEDGER_NO_FUNDS,  /* the sender cannot pay for gas and value */
    LEDGER_STOPPED    /* the client was freed meanwhile */
};
const char *ledger_error_text(enum ledger_error error);

/* Starts without touching the network. `base` outlives the client. If the process has no handler for SIGPIPE,
 * it is ignored from here on. */
struct ledger *ledger_new(struct event_base *base, const struct ledger_options *options);
/* Open calls are answered LEDGER_STOPPED. */
void ledger_free(struct ledger *ledger);
uint64_t ledger_chain_id(const struct ledger *ledger); /* 0 until known */
/* One line for a person and /healthz: "" while all is well. */
const char *ledger_trouble(const struct ledger *ledger);

/* ---- following ---- */

struct ledger_head {
    uint64_t number, time;                     /* the node's newest block */
    uint64_t confirmed_number, confirmed_time; /* `confirmations` below it: what counts */
};
struct ledger_follow {
    /* An event of the contract, in order. First, perhaps, unconfirmed (event->confirmed false; may repeat,
     * may vanish), then exactly once since `from` confirmed. */
    void (*event)(void *context, const struct contract_event *event);
    /* All events of blocks <= head->confirmed_number have been given as confirmed: the owner persists
     * confirmed_number + 1 as its cursor. Called at each new head, and once first even when the chain stands
     * still. */
    void (*head)(void *context, const struct ledger_head *head);
    /* Reorganised below what was given as confirmed: an operator must look. */
    void (*too_deep)(void *context, uint64_t block);
};
/* Follows the contract's events from a block on (the persisted cursor; 0: the beginning). One follower per
 * client. */
void ledger_follow(struct ledger *ledger, uint64_t from, const struct ledger_follow *callbacks,
                   void *context);
/* The same where the block before `from` is known from before: too_deep is called first if the chain has another
 * there now. before zero: not known. */
void ledger_follow_on(struct ledger *ledger, uint64_t from, const struct hash *before,
                      const struct ledger_follow *callbacks, void *context);
/* While held, no further range of blocks is asked for; events that were asked for before still come. For an owner who
 * hands events on to somebody slower. Only once following has begun. */
void ledger_follow_hold(struct ledger *ledger, bool is_held);
struct ledger_head ledger_head(const struct ledger *ledger);
/* The gas that the newest block had room for; 0: not known. */
uint64_t ledger_block_gas(const struct ledger *ledger);
/* The hash of block head.confirmed_number; zero before the first head. */
struct hash ledger_confirmed_hash(const struct ledger *ledger);

/* ---- calls ---- */

/* result: ABI data, valid during the call. error_name: for LEDGER_REVERTED. */
typedef void ledger_answer(void *context, enum ledger_error error, enum contract_error reverted,
                           const uint8_t *data, size_t length);
/* eth_call of the contract (to NULL) or of `to`, against the newest block. */
void ledger_call(struct ledger *ledger, const struct address *to, const uint8_t *data, size_t length,
                 ledger_answer *answer, void *context);
/* Any method; params is a JSON array text. The result is the JSON text of `result`. */
typedef void ledger_json_answer(void *context, enum ledger_error error, const char *text);
void ledger_request(struct ledger *ledger, const char *method, const char *params, ledger_json_answer *answer,
                    void *context);

/* ---- transactions ---- */

struct ledger_receipt {
    struct hash transaction;
    uint64_t block;
    bool success;
    enum contract_error reverted; /* when !success, if the node could tell */
    uint64_t gas_used;
    uint64_t effective_gas_price;
    unsigned_wide
        cost_wei; /* gas_used at that price, less what sends behind it gave for it (all of that, used or
                             * not), and with what it gave for sends before it: never above its own budget */
    struct address
        created; /* ledger_create: the contract; else the token, if a token factory's TokenCreated is
                             * among its logs; else zero */
};
/* Called when the outcome is final (mined and `confirmations` deep), or when it can never be. receipt: also of a
 * transaction that was never mined (gas_used 0), if the contract refused it or it gave for others; else NULL. */
typedef void ledger_sent(void *context, enum ledger_error error, const struct ledger_receipt *receipt);
/* Signs and sends an EIP-1559 transaction. One queue per key: nonces are given in order, estimated first (a
 * revert in the estimate is answered LEDGER_REVERTED at once, nothing is sent), fees raised and the
 * transaction replaced until mined, re-sent after a reorganisation. to NULL: the contract. value: wei. The
 * key is copied and wiped on free. */
void ledger_send(struct ledger *ledger, const struct secret_key *key, const struct address *to,
                 unsigned_wide value, const uint8_t *data, size_t length, ledger_sent *sent, void *context);
/* What a transaction may cost, and how pressing it is (ledger/urgency.h). All zero: no hurry, no limit but
 * max_fee_per_gas. */
struct ledger_terms {
    unsigned_wide budget_wei; /* the most it may cost its owner, were all its gas used; 0: no such limit */
    uint64_t deadline;        /* block time by which it must be mined; 0: none */
    uint64_t whole_s;         /* from when the matter arose to the deadline: what urgency is measured by */
};
/* ledger_send, under terms. With a budget below what blocks cost it waits for cheaper ones, and ledger_trouble
 * says so.
 *
 * A key's transactions are mined in the order of their nonces. So the first that is not mined is pressed by the most
 * pressing deadline among it and all behind it; and where its own budget does not allow what that calls for, the one
 * behind it gives what it can spare of its own, if it has been broadcast: so much that it can still offer the same price
 * for itself, and what it has offered already. Budget moves: all together cost no more than all budgets. */
void ledger_send_under(struct ledger *ledger, const struct secret_key *key, const struct address *to,
                       const uint8_t *data, size_t length, const struct ledger_terms *terms,
                       ledger_sent *sent, void *context);
/* The same with a transaction that creates a contract. code: what creates it, then its constructor's arguments. */
void ledger_create(struct ledger *ledger, const struct secret_key *key, const uint8_t *code, size_t length,
                   ledger_sent *sent, void *context);

/* ---- for programs that do one thing: runs the loop until the answer is there ---- */
enum ledger_error ledger_call_wait(struct ledger *ledger, const struct address *to, const uint8_t *data,
                                   size_t length, struct buffer *result,
                                   enum contract_error *reverted) MUST_USE;
enum ledger_error ledger_send_wait(struct ledger *ledger, const struct secret_key *key,
                                   const struct address *to, unsigned_wide value, const uint8_t *data,
                                   size_t length, struct ledger_receipt *receipt) MUST_USE;
/* The node's last error text ("insufficient funds …"), for messages. */
const char *ledger_last_error(const struct ledger *ledger);

#endif
