/* Sending transactions: what send.c (queues), send_prepare.c (up to the first broadcast), send_words.c (what nodes say),
 * send_track.c (from there to finality) and send_gap.c (a nonce in front of ours that is not ours) share.
 *
 *     WAITING    in the key's queue
 *     PREPARING  one per key at a time: gas estimated, fees and nonce asked for, signed, broadcast
 *     BLOCKED    its estimate failed while earlier ones of the key were not mined: estimated again
 *                when one is
 *     PENDING    broadcast, not mined: replaced with higher fees until it is
 *     MINED      has a receipt, not yet `confirmations` deep: PENDING again if a reorganisation takes
 *                the receipt
 *
 * Whatever the node answered to a broadcast, what it knows decides: a transaction counts as never sent only if
 * the node refused it, has no receipt of it, and does not know it.
 */
#ifndef RILL_LEDGER_SEND_PARTS_H
#define RILL_LEDGER_SEND_PARTS_H

#include <uthash.h>

#include "ledger/client_parts.h"
#include "ledger/urgency.h"

#define SENDS_PER_KEY_MAX 256 /* queued; more are refused */
#define UNMINED_MAX       16  /* of a key, as nodes keep about as many */
#define VARIANTS_MAX      48  /* replacements of one transaction; 9/8 each time is a factor of 250 */
#define SHOW_AGAIN_LOOKS                                                                                     \
    10 /* pulses after which the node is shown a transaction again: it may have lost it */
/* Pulses with the nonce used up and no receipt, before the transaction that used it is looked for: in so many
 * blocks, and so far below the head at the time of the first broadcast. */
#define CONFLICT_LOOKS        6
#define CONFLICT_BLOCKS       512
#define CONFLICT_BLOCKS_BELOW 64
/* So often an estimate that reverts is asked for again where the newest block known speaks against it. */
#define ESTIMATE_DOUBTS_MAX 6

enum send_state { SEND_WAITING, SEND_PREPARING, SEND_BLOCKED, SEND_PENDING, SEND_MINED };

struct account;

struct send {
    struct send *prev, *next;
    struct account *account;
    enum send_state state;
    bool fills;   /* a nonce that is not ours, empty: send_gap.c */
    bool creates; /* a contract; `to` is zero */
    struct address to;
    unsigned_wide value;
    uint8_t *data;
    size_t data_length;
    struct ledger_terms terms;         /* budget_wei: what is left, with what was taken over */
    unsigned_wide lent_wei, taken_wei; /* budget given to sends before it; had from sends behind it */
    ledger_sent *sent;
    void *context;

    json_t *message;             /* the call that eth_estimateGas is asked about */
    unsigned doubts;             /* of an estimate that reverted */
    bool is_doubted;             /* to be estimated again at the next pulse */
    enum contract_error doubted; /* why it reverted */
    bool had_unmined;            /* when its gas was last estimated, earlier ones of the key were not mined */
    uint64_t gas_limit;
    struct block block;       /* the newest, when the fees were chosen */
    unsigned_wide market_tip; /* what the node called usual at first */
    unsigned_wide priority_fee, max_fee;
    bool has_nonce;
    uint64_t nonce;
    struct hash variants[VARIANTS_MAX]; /* newest last */
    size_t variant_count;
    struct buffer raw;                       /* of the newest variant */
    uint64_t broadcast_head, broadcast_time; /* newest block then */
    unsigned looks;                          /* since then */
    bool is_underpriced;                     /* the node said so: raise the fee at the next look */

    /* the node's refusal of the first broadcast, until the receipt question is answered */
    enum ledger_error refusal;
    enum contract_error refusal_reverted;

    bool is_asking; /* a question about this transaction is under way */
    size_t asked_variant;
    bool asked_newest_why;  /* why it reverted: asked at its block in vain */
    uint64_t asked_head;    /* newest block when it was asked */
    struct hash asked_hash; /* of the newest block then: a reorganisation may leave the number as it was */
    unsigned conflict_looks;
    uint64_t conflict_head;
    uint64_t search_block; /* the search for who used the nonce is there, and goes down */
    unsigned searched;
    struct ledger_receipt receipt;
};

/* One key's queue, oldest first. */
struct account {
    UT_hash_handle hh;
    struct address address;
    struct secret_key key;
    struct senders *senders;
    struct send *sends;
    size_t count;
    uint64_t next_nonce; /* meaningful while any send has a nonce */
    bool is_counting;    /* eth_getTransactionCount is under way */
    uint64_t counting_head;

    bool has_gap, gap_said; /* the chain waits for a nonce before ours, which none of ours has */
    uint64_t gap_nonce, gap_head, gap_time; /* which, and the newest block when that was seen first */
};

struct senders {
    struct ledger *ledger;
    struct account *accounts;
    char trouble[256];
};

/* send.c */
/* Ends a send and tells its owner. Afterwards neither it nor its account may exist, and the client may be
 * stopped. */
void send_finish(struct send *send, enum ledger_error error, const struct ledger_receipt *receipt);
/* Prepares the next send of the queue that can be. */
void account_advance(struct account *account);
/* Sends that were broadcast and have no receipt. */
size_t account_unmined(const struct account *account);
/* Frees an account nothing is left of. Returns true if it did. */
bool account_release(struct account *account);
void senders_trouble_set(struct senders *senders, const char *text);

/* send_prepare.c */
/* The transaction as the one argument of eth_estimateGas and eth_call. */
json_t *send_call_json(const struct send *send);
void send_prepare(struct send *send);
/* The most that a unit of its gas may cost. */
unsigned_wide send_fee_most(const struct send *send);
/* The tip that the deadline of these terms calls for while the newest block is this one; most: what a unit of gas may
 * cost. */
unsigned_wide send_tip_due(const struct send *send, const struct ledger_terms *terms, unsigned_wide most,
                           const struct block *latest);
/* Signs with the send's fees and broadcasts; also what replaces. `first`: its refusal may end the send. */
void send_broadcast(struct send *send, bool first);

/* True while the node's refusal of the first broadcast waits for the receipt question. */
static inline bool send_is_in_doubt(const struct send *send)
{
    return send->state == SEND_PREPARING && send->refusal != LEDGER_OK;
}

/* The node has it, or may have: it is followed from now on. */
void send_left(struct send *send);
/* Ends a send that never left, with the node's or our reason. */
void send_give_up(struct send *send, enum ledger_error error, enum contract_error reverted);

/* send_words.c: what an error object of a node means */
bool says_no_funds(const json_t *error_object) MUST_USE;
bool says_known(const json_t *error_object) MUST_USE;
bool says_underpriced(const json_t *error_object) MUST_USE;
bool says_nonce_used(const json_t *error_object) MUST_USE;
/* The node has lost those before it, which are shown to it again. */
bool says_nonce_gap(const json_t *error_object) MUST_USE;

/* send_doubt.c */
/* An estimate reverted. Returns true if that is doubted: send_prepare is called again, or it is given up. */
bool send_doubt(struct send *send, enum contract_error reverted) MUST_USE;
/* The nonce is used up, and none of the variants has a receipt: looks for the transaction that used it. If it is
 * another's, the send goes through the queue once more; until that is known, it does not. */
void send_search_conflict(struct send *send);

/* send_press.c */
/* What a send is to offer at a block. */
struct press {
    unsigned_wide most; /* per gas */
    unsigned_wide tip;  /* that is due */
    struct urgency_pace pace;
    struct send *payer; /* whose budget covers what is beyond the send's own; NULL: nobody's */
};
/* By the send's own terms; if the chain waits for its nonce, by the most pressing terms of all that wait behind it. One that
 * fills a gap has none of its own: all that it may cost is theirs. */
struct press send_press(struct send *send, bool is_first, const struct block *latest);
/* The fees have risen: moves budget from the payer (may be NULL) so that the send's own covers them. */
void send_cover(struct send *send, struct send *payer);

/* send_track.c */
/* Looks at all that the account has under way, knowing the newest block. */
void account_look(struct account *account, const struct block *latest);
/* Asks for receipts, newest variant first. */
void send_ask_receipt(struct send *send, uint64_t head);

/* send_gap.c */
/* Looks whether the chain waits for a nonce (count) that none of ours has, says so and fills it. Afterwards the account may
 * not exist. */
void account_gap_look(struct account *account, uint64_t count);

#endif
