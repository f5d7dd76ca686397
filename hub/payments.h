/* The hub's table of payments under way: what each payer's operation became on the payee's side.
 *
 * Found by its id on the payee's leg, which is derived from the payer's channel and id and so stands for both, and, if
 * locked, by its condition. A payment that is over leaves for the journal's archive
 * (hub/history.h), where a repeated id finds it.
 *
 *     added ──▶ under way ──over──▶ leaving: its end is in a batch ──that is durable──▶ removed
 *                    ▲                  │
 *                    └─ a payee's refund ┘ (or, once removed, from the archive)
 */
#ifndef RILL_HUB_PAYMENTS_H
#define RILL_HUB_PAYMENTS_H

#include "base/index.h"
#include "base/payment.h"
#include "base/record.h"
#include "base/slab.h"

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

/* Payments whose memory is asked for before their turn, where many are gone through. */
#define PAYMENTS_AHEAD 8

struct leg {
    struct hash channel;
    struct payment_id id;
};

/* What one step touches lies together: a table of payments under way is larger than any cache, and each of these lines
 * of 64 bytes is waited for. */
struct payment {
    /* found by; what to do with it */
    struct leg payee; /* its id is derived from the payer's leg */
    uint8_t state, due, kind;
    uint8_t role;         /* enum payment_role */
    uint16_t other_shard; /* where the other half is */
    uint16_t memo_length;
    bool is_locked : 1;
    bool dirty : 1;      /* in the list of what the next batch writes */
    bool queued : 1;     /* in a channel's due list */
    bool stored : 1;     /* the journal has a record of it that is not gone */
    bool past : 1;       /* it was over once: the archive has both sides' records of it */
    bool retired : 1;    /* kept long enough: over, whatever its state */
    bool unrevealed : 1; /* in its payee's channel's count of those without a secret */
    uint8_t code;        /* enum code */
    uint32_t booked;     /* block time in seconds, when the payer's operation was taken */

    struct leg payer;
    struct amount amount, fee;

    struct hash condition;
    uint64_t expiry;
    struct witness *witness; /* known when REVEALED; NULL: not, or only registered on the ledger */
    char *memo;              /* until it is forwarded */
    uint64_t leaving;        /* the batch that has its end; 0: under way */

    struct payment *next_due, *previous_due;
    /* When it must be looked at next: in the list of all of that time. NULL: it is in none. */
    struct payment_moment *moment;
    struct payment *next_of_moment, *previous_of_moment;
    struct payment *next_alike, *previous_alike; /* locked on the same condition */
    struct payment *next_cancelling;

    uint64_t payer_lock, payee_lock; /* ids; the payer's is 0 once it has unlocked an offered one */
    uint64_t cancel_nonce;
    uint32_t register_round; /* the engine's, when its witness was last given to the ledger */
    /* The link (its low bits) on which the payer was told ahead (hub/ahead.c); 0: not. In memory only. */
    uint32_t told_link;
};

/* The locked payments on one condition: one witness meets them all. */
struct payment_condition {
    struct condition_key {
        uint8_t kind;
        struct hash condition;
    } key;
    struct payment *first;
};

/* The payments that must be looked at at one time. */
struct payment_moment {
    uint64_t time; /* block time */
    struct payment *first, *last;
};

struct payment_leaving {
    struct payment *payment;
    uint64_t sequence;
};

/* All zero: empty; seed: a number that peers do not know (base/index.h). */
struct payments {
    uint64_t seed;
    struct index by_id; /* the payee's */
    struct slab slab, witnesses;
    struct index by_condition;
    struct slab conditions;
    struct index moments;         /* by time */
    struct payment_moment **heap; /* the same, the earliest first */
    size_t heap_count, heap_capacity;
    struct payment **dirty;
    size_t dirty_count, dirty_capacity;
    struct payment_leaving *leaving; /* a ring, oldest first */
    size_t leaving_first, leaving_count, leaving_capacity;
    size_t leaving_now; /* without those under way again */
};

void payments_free(struct payments *payments);
/* Its id on the payee's leg is hashed for this: payments_find_payee is cheaper. */
struct payment *payments_find(const struct payments *payments, const struct hash *payer_channel,
                              const struct payment_id *id);
/* The same where that id is at hand. */
struct payment *payments_find_derived(const struct payments *payments, const struct hash *payer_channel,
                                      const struct payment_id *id, const struct payment_id *payee_id);
struct payment *payments_find_payee(const struct payments *payments, const struct hash *payee_channel,
                                    const struct payment_id *id);
/* Before many looks by the payee's id, so that memory is waited for but once: payments_expect some looks before, and
 * payments_approach between it and the look. */
void payments_expect(const struct payments *payments, const struct payment_id *id);
void payments_approach(const struct payments *payments, const struct payment_id *id);
/* All of it is about to be used. */
void payment_prefetch(const struct payment *payment);
/* The first of the locked payments on a condition, the others by next_alike; NULL if there is none. */
struct payment *payments_on_condition(const struct payments *payments, uint8_t kind,
                                      const struct hash *condition);
/* A new one with its legs; everything else zero. NULL if one of the payee's id is in the table already. */
struct payment *payments_add(struct payments *payments, const struct leg *payer, const struct leg *payee);
/* Makes it a locked one on this condition. Once. */
void payments_lock(struct payments *payments, struct payment *payment, uint8_t kind,
                   const struct hash *condition);
void payments_remove(struct payments *payments, struct payment *payment);
/* Its end is in batch `sequence`: it stays until payments_left says that this is durable, unless payments_return
 * says before that it is under way again. */
void payments_leave(struct payments *payments, struct payment *payment, uint64_t sequence);
void payments_left(struct payments *payments, uint64_t durable);
void payments_return(struct payments *payments, struct payment *payment);
size_t payments_under_way(const struct payments *payments);
/* How many are under way or leaving, and all of them, in no order (*at is 0 at first; NULL at the end). */
size_t payments_count(const struct payments *payments);
struct payment *payments_each(const struct payments *payments, size_t *at);
void payment_set_witness(struct payments *payments, struct payment *payment, const struct witness *witness);
void payment_set_memo(struct payment *payment, struct text memo);
/* The next batch writes it, or its end. One that is leaving is under way again: peers can still touch what has ended
 * until its end is durable. */
void payments_touch(struct payments *payments, struct payment *payment);

/* Looks at it at `time` (block time) and not before. */
void payments_schedule(struct payments *payments, struct payment *payment, uint64_t time);
void payments_unschedule(struct payments *payments, struct payment *payment);
/* Takes one whose time is <= now; NULL: none is. */
struct payment *payments_due(struct payments *payments, uint64_t now);

/* A record of the hub's journal; key: the payee's id. */
void payment_write(const struct payment *payment, uint8_t record_type, struct buffer *batch);
void payment_write_gone(const struct payment *payment, uint8_t record_type, struct buffer *batch);
/* Applies such a record: makes, changes or removes. */
bool payment_read(struct payments *payments, const struct record *record) MUST_USE;

#endif
