/* The hub's table of payments: what each payer's operation became on the payee's side.
 *
 * Found by the payer's leg (payer's channel, id), by the payee's (payee's channel, derived id) and, if locked,
 * by its condition. Kept until expiry + 24 h, so that a repeated id gets the first outcome again.
 */
#ifndef RILL_HUB_PAYMENTS_H
#define RILL_HUB_PAYMENTS_H

#include <uthash.h>

#include "base/payment.h"
#include "base/record.h"

/* See engine.h for what moves a payment from state to state. On disk: do not renumber. */
enum payment_state {
    PAYMENT_WAITING = 1,    /* direct: the payer's money is here, the payee's update is not signed */
    PAYMENT_SIGNED = 2,     /* direct: it is the payee's */
    PAYMENT_OFFERED = 3,    /* locked: the payer's lock is here, the payee's is not signed */
    PAYMENT_FORWARDED = 4,  /* locked: both locks stand */
    PAYMENT_CANCELLING = 5, /* locked: the payee failed it; its lock is cancelled, its REVOKE is awaited */
    PAYMENT_REVEALED = 6,   /* the witness is known */
    PAYMENT_FAILED = 7,     /* locked: the payer was told FAIL */
    PAYMENT_REFUNDED = 8,   /* direct: the payer's money went back, or is about to */
    PAYMENT_LAPSED = 9      /* locked: expired unclaimed */
};

/* What must still be put into an update, and towards whom. On disk: do not renumber. */
enum payment_due {
    DUE_NOTHING = 0,
    DUE_PAY = 1,    /* pay or lock, to the payee */
    DUE_UNLOCK = 2, /* to the payee */
    DUE_CANCEL = 3, /* to the payee */
    DUE_EXPIRE = 4, /* to the payee */
    DUE_REFUND = 5  /* to the payer */
};

/* Whole, or the half that this shard has of a payment between two (hub/transfer.h). On disk: do not renumber. */
enum payment_role { PAYMENT_WHOLE = 0, HALF_OF_PAYER = 1, HALF_OF_PAYEE = 2 };

struct leg {
    struct hash channel;
    struct payment_id id;
};

struct payment {
    struct leg payer, payee;
    UT_hash_handle hh, hh_payee;
    uint8_t state, due, kind;
    uint8_t role;         /* enum payment_role */
    uint16_t other_shard; /* where the other half is */
    bool is_locked;
    bool dirty;     /* in the list of what the next batch writes */
    bool queued;    /* in a channel's due list */
    bool scheduled; /* in the heap: exactly once, until payments_due takes it */
    struct amount amount, fee;
    uint64_t expiry, cancel_nonce, code;
    uint64_t payer_lock, payee_lock; /* ids; the payer's is 0 once it has unlocked an offered one */
    struct hash condition;
    struct witness *witness; /* known when REVEALED; NULL: not, or only registered on the ledger */
    uint16_t memo_length;
    uint32_t booked;         /* block time in seconds, when the payer's operation was taken */
    char *memo;              /* until it is forwarded */
    bool retired;            /* kept long enough: the next batch removes it */
    uint32_t register_round; /* the engine's, when its witness was last given to the ledger */
    struct payment *next_due, *previous_due, *next_cancelling;
    struct payment *next_alike, *previous_alike; /* locked on the same condition */
};

/* The locked payments on one condition: one witness meets them all. */
struct payment_condition {
    struct condition_key {
        uint8_t kind;
        struct hash condition;
    } key;
    struct payment *first;
    UT_hash_handle hh;
};

struct payments {
    struct payment *by_payer, *by_payee;
    struct payment_condition *by_condition;
    struct payment **heap; /* by heap_time: when the payment must be looked at next */
    uint64_t *heap_time;
    size_t heap_count, heap_capacity;
    struct payment **dirty;
    size_t dirty_count, dirty_capacity;
};

void payments_free(struct payments *payments);
struct payment *payments_find(const struct payments *payments, const struct hash *payer_channel,
                              const struct payment_id *id);
struct payment *payments_find_payee(const struct payments *payments, const struct hash *payee_channel,
                                    const struct payment_id *id);
/* The first of the locked payments on a condition, the others by next_alike; NULL if there is none. */
struct payment *payments_on_condition(const struct payments *payments, uint8_t kind,
                                      const struct hash *condition);
/* A new one with its legs; everything else zero. NULL if either leg is in the table already. */
struct payment *payments_add(struct payments *payments, const struct leg *payer, const struct leg *payee);
/* Makes it a locked one on this condition. Once. */
void payments_lock(struct payments *payments, struct payment *payment, uint8_t kind,
                   const struct hash *condition);
/* The next batch says that it is gone; then payments_remove. It must not be scheduled. */
void payments_retire(struct payments *payments, struct payment *payment);
void payments_remove(struct payments *payments, struct payment *payment);
void payment_set_witness(struct payment *payment, const struct witness *witness);
void payment_set_memo(struct payment *payment, struct text memo);
/* The next batch writes it. */
void payments_touch(struct payments *payments, struct payment *payment);

/* Looks at it again at `time` (block time). */
void payments_schedule(struct payments *payments, struct payment *payment, uint64_t time);
/* Takes one whose time is <= now; NULL: none is. */
struct payment *payments_due(struct payments *payments, uint64_t now);

/* Record type of the hub's journal, key: payer's channel, id. */
void payment_write(const struct payment *payment, uint8_t record_type, struct buffer *batch);
/* Applies such a record: makes, changes or removes. */
bool payment_read(struct payments *payments, const struct record *record) MUST_USE;

#endif
