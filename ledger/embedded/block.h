/* Blocks: a header, the transactions and what became of them. */
#ifndef RILL_LEDGER_EMBEDDED_BLOCK_H
#define RILL_LEDGER_EMBEDDED_BLOCK_H

#include "ledger/embedded/logs.h"
#include "ledger/transaction.h"

#define BLOCK_GAS_LIMIT 30000000ull

/* A transaction in a block, with its receipt. */
struct mined {
    struct hash hash;
    struct address from, to;
    struct buffer raw; /* as it was sent; transaction_decode reads the rest */
    bool success;
    uint64_t gas_used;
    unsigned_wide effective_gas_price;
    struct logs logs;
    uint64_t cumulative_gas; /* in the block, this one included */
    uint32_t first_log;      /* index in the block of its first log */
};

struct block {
    uint64_t number;
    uint64_t time;
    unsigned_wide base_fee;
    struct hash parent;
    struct hash state_root; /* keccak256(parent's state_root || the state records of this block): a chain of
                               changes */
    struct mined *transactions;
    size_t count;
    /* worked out by block_seal */
    uint64_t gas_used;
    struct hash transactions_root; /* keccak256 of the hashes, one after another; zero if none */
    struct hash receipts_root;     /* keccak256 of the encoded receipts; zero if none */
    struct hash hash;              /* keccak256 of the RLP of the header */
};

struct block *block_new(uint64_t number, uint64_t time, unsigned_wide base_fee, const struct hash *parent);
void block_free(struct block *block); /* NULL is allowed */
/* Adds a transaction, with empty raw and logs for the caller to fill; valid until the next is added. */
struct mined *block_add(struct block *block);
/* Works out what follows from the rest. After this the block does not change. */
void block_seal(struct block *block);
/* The header whose keccak256 is the hash. */
void block_header(const struct block *block, struct buffer *out);

/* For the journal: the value of a RECORD_BLOCK. */
void block_encode(const struct block *block, struct buffer *out);
/* A new, sealed block; NULL if the bytes are not one. */
struct block *block_decode(uint64_t number, const uint8_t *data, size_t length);

/* Ethereum's 2048-bit filter of addresses and topics. */
struct bloom {
    uint8_t bytes[256];
};
void bloom_add_logs(struct bloom *bloom, const struct logs *logs);

#endif
