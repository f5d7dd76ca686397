/* EIP-1559 transactions (type 2): the only kind that Rill sends and that the embedded ledger takes. */
#ifndef RILL_LEDGER_TRANSACTION_H
#define RILL_LEDGER_TRANSACTION_H

#include "base/amount.h"
#include "base/buffer.h"
#include "crypto/key.h"

/* Raw bytes above this are not looked at (as in other nodes' pools). */
#define TRANSACTION_BYTES_MAX (1024 * 1024)

struct transaction {
    uint64_t chain_id;
    uint64_t nonce;
    unsigned_wide max_priority_fee_per_gas; /* wei */
    unsigned_wide max_fee_per_gas;          /* wei */
    uint64_t gas_limit;
    bool creates; /* no recipient: creates a contract; `to` is zero */
    struct address to;
    unsigned_wide value; /* wei */
    const uint8_t *data; /* of the caller, or inside the raw bytes that were decoded */
    size_t data_length;
    /* The access list's items as RLP, inside the raw bytes; empty (NULL, 0) in what is made here. */
    const uint8_t *access_list;
    size_t access_list_length;
    size_t access_addresses, access_keys; /* how many it names: gas */
};

enum transaction_error {
    TRANSACTION_OK = 0,
    TRANSACTION_TYPE,      /* not of type 2 */
    TRANSACTION_TOO_LARGE, /* above TRANSACTION_BYTES_MAX */
    TRANSACTION_MALFORMED, /* not the canonical encoding of a transaction, or a number out of range */
    TRANSACTION_FEES,      /* max_priority_fee_per_gas above max_fee_per_gas */
    TRANSACTION_SIGNATURE  /* recovers no sender (high s included) */
};
/* One sentence for a person. */
const char *transaction_error_text(enum transaction_error error);

/* What the sender signs. */
struct hash transaction_signing_hash(const struct transaction *transaction);
/* Appends the raw signed bytes. Returns their hash, the transaction's name. */
struct hash transaction_sign(const struct transaction *transaction, const struct secret_key *key,
                             struct buffer *raw);
/* Reads raw signed bytes; out->data and out->access_list point into them. On an error nothing is written. */
enum transaction_error transaction_decode(const uint8_t *raw, size_t length, struct transaction *out,
                                          struct address *sender, struct hash *hash) MUST_USE;

#endif
