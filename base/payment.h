/* Locks, balance proofs and the operations of an update (protocol.md, sections 3-5), as values. */
#ifndef RILL_BASE_PAYMENT_H
#define RILL_BASE_PAYMENT_H

#include "base/amount.h"
#include "base/bytes.h"
#include "base/limits.h"

/* Whose stream, whose side. On the wire, in the ABI (`ofClient`) and on disk: do not renumber. */
enum side { SIDE_CLIENT = 0, SIDE_HUB = 1 };

static inline enum side side_other(enum side side)
{
    return side == SIDE_CLIENT ? SIDE_HUB : SIDE_CLIENT;
}

/* On the wire, on the ledger and on disk: do not renumber. */
enum lock_kind { LOCK_SECRET = 0, LOCK_ATTESTATION = 1 };

struct lock {
    uint64_t id;
    struct amount amount; /* what it holds: a payer's lock holds amount + fee */
    uint64_t expiry;      /* Unix seconds */
    uint8_t kind;         /* enum lock_kind */
    struct hash condition;
};

/* A channel's key: its id is the hash of these (section 2). */
struct channel_key {
    struct address client;
    struct address asset; /* zero: the native coin */
    uint64_t salt;
};

/* A signed state of a stream, without the channel id. Nonce 0: none yet, and all else zero. */
struct balance_proof {
    uint64_t nonce;
    struct amount transferred;
    struct amount locked;
    struct hash locks_root;
    struct hash body_hash;
};

/* Secret: 32 bytes. Attestation: attester 20, event id 32, signature 64. Length 0: "registered on the
 * ledger". */
struct witness {
    uint8_t length;
    uint8_t bytes[WITNESS_BYTES_MAX];
};
#define WITNESS_SECRET_BYTES      32
#define WITNESS_ATTESTATION_BYTES 116

/* On the wire: do not renumber. */
enum operation_type {
    OPERATION_PAY = 1,
    OPERATION_LOCK = 2,
    OPERATION_UNLOCK = 3,
    OPERATION_EXPIRE = 4,
    OPERATION_CANCEL = 5,
    OPERATION_REFUND = 6
};

/* Text inside someone else's memory, not NUL-terminated. */
struct text {
    const char *data;
    size_t length;
};

/* One operation of an update. Fields not named for a type are zero. */
struct operation {
    enum operation_type type;
    struct payment_id id;   /* pay, lock, refund */
    struct address peer;    /* pay, lock: the payee on a payer's leg, zero on a payee's */
    struct amount amount;   /* pay, lock, refund; without the fee */
    struct amount fee;      /* pay, lock */
    uint64_t expiry;        /* pay, lock */
    struct hash condition;  /* pay: the secret hash; lock: the condition */
    uint8_t kind;           /* lock */
    uint64_t lock_id;       /* lock, unlock, expire, cancel */
    struct witness witness; /* unlock */
    uint64_t code;          /* refund: why, enum code */
    struct text memo;       /* pay, lock; lives as long as the body it was read from */
};

/* An UPDATE message: a proof, the body it commits to, its signature. */
struct update {
    struct hash channel;
    struct balance_proof proof; /* body_hash = keccak256(body), set by whoever made or decoded it */
    struct signature signature;
    const uint8_t *body; /* bytes of the MessagePack array of operations */
    size_t body_length;
};

#endif
