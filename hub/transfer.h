/* Between shards: what one shard's payments tell another's, exactly once in effect whatever crashes.
 *
 * A payment whose payee lives in another shard is two halves. The payer's half stays with the payer's channel
 * (payment->role HALF_OF_PAYER), the payee's half with the payee's (HALF_OF_PAYEE); each is an ordinary row of
 * its shard's table that lacks the other leg's channel. What the one must know of the other is a transfer:
 *
 *     payer's half                               payee's half
 *     WAITING/OFFERED ──────── PAYMENT ────────▶ WAITING/OFFERED, then as any payment
 *     REVEALED        ◀─────── REVEALED ──────── REVEALED
 *     FAILED          ◀─────── FAILED ────────── FAILED               (locked)
 *     REFUNDED        ◀─────── REFUNDED ──────── REFUNDED             (direct)
 *     LAPSED          ◀─────── LAPSED ────────── LAPSED               (locked: expired unclaimed)
 *     unlocked unasked ─────── UNLOCKED ───────▶ REVEALED             (the payer knew the witness)
 *
 * Only the payee's half decides how a payment ends, so the two never contradict each other.
 *
 * All transfers of a turn to one shard are one parcel, numbered from 1 per pair of shards. A parcel is a record
 * of the sender's journal in the batch that made it, and stays until the receiver has acknowledged it; the
 * receiver's journal has the last number it applied, in the batch of the effect:
 *
 *     sender:   turn ─batch durable─▶ parcel leaves ─────▶ receiver: applied once, batch durable ─▶ acknowledged
 *        └─ after a restart all that is not acknowledged leaves again ─▶ a number seen before is only acknowledged
 *
 * The engine does not know who carries: in one process a queue, between machines it can be a link.
 */
#ifndef RILL_HUB_TRANSFER_H
#define RILL_HUB_TRANSFER_H

#include "base/limits.h"
#include "hub/payments.h"

struct engine;
struct hub_channel;

/* On disk: do not renumber. */
enum transfer_type {
    TRANSFER_PAYMENT = 1,  /* payer's shard to payee's: a payment begins */
    TRANSFER_REVEALED = 2, /* payee's to payer's: with its witness, or met on the ledger */
    TRANSFER_FAILED = 3,   /* payee's to payer's */
    TRANSFER_REFUNDED = 4, /* payee's to payer's */
    TRANSFER_LAPSED = 5,   /* payee's to payer's */
    TRANSFER_UNLOCKED = 6  /* payer's to payee's: the payer unlocked before it was asked to */
};

/* Sent, not acknowledged yet. */
struct parcel {
    struct parcel *next;
    uint64_t number;
    size_t length;
    uint8_t bytes[];
};

/* What passes between this shard and another. */
struct shard_pair {
    struct buffer draft; /* this turn's transfers to it */
    uint64_t sent;       /* number of the last parcel to it */
    uint64_t received;   /* number of the last one from it that was applied */
    struct parcel *first, *last;
    size_t kept_bytes;     /* of parcels not acknowledged */
    struct parcel *unsent; /* the first of them that `post` has not been given since the start; NULL: none */
    uint64_t gone_from, gone_to; /* numbers acknowledged since the last batch: [from, to) */
    bool is_dirty;               /* sent or received has changed */
    bool owes_word;              /* an acknowledgement leaves with this turn */
};

/* Which shard a client belongs to: the first eight bytes of keccak256(address), big-endian, modulo shards. */
uint32_t shard_of_client(const struct address *client, uint32_t shards);

/* The payer's half: the payment begins elsewhere. */
void transfer_payment(struct engine *engine, struct payment *payment, const struct operation *operation);
/* The payee's half: how it ended. Nothing happens for a payment that is whole. */
void transfer_outcome(struct engine *engine, const struct payment *payment, enum transfer_type type);
/* The payer's half: the payer unlocked by itself. */
void transfer_unlocked(struct engine *engine, const struct payment *payment, const struct witness *witness);
/* So much is on its way to a shard that payers must wait. */
bool transfer_is_full(const struct engine *engine);

/* In the turn: the parcels' records, then (behind the journal) the parcels themselves. */
void transfer_write(struct engine *engine);
void transfer_post(struct engine *engine);
bool transfer_read_parcel(struct engine *engine, const struct record *record) MUST_USE;
bool transfer_read_pair(struct engine *engine, const struct record *record) MUST_USE;
/* False: the parcels of the journal are not whole. */
bool transfer_recovered(struct engine *engine) MUST_USE;
void transfer_free(struct engine *engine);

#endif
