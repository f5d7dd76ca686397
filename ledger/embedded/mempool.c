#include "ledger/embedded/mempool.h"

#include <stdlib.h>

#include "base/ensure.h"

struct mempool {
    struct waiting *entries[MEMPOOL_MAX];
    size_t count;
    size_t bytes;
    uint64_t arrivals;
};

struct mempool *mempool_new(void)
{
    return xcalloc(1, sizeof(struct mempool));
}

static void waiting_free(struct waiting *waiting)
{
    buffer_free(&waiting->raw);
    free(waiting);
}

void mempool_free(struct mempool *mempool)
{
    if (mempool == NULL)
        return;
    for (size_t i = 0; i < mempool->count; i++)
        waiting_free(mempool->entries[i]);
    free(mempool);
}

size_t mempool_count(const struct mempool *mempool)
{
    return mempool->count;
}

const struct waiting *mempool_at(const struct mempool *mempool, size_t index)
{
    ensure(index < mempool->count);
    return mempool->entries[index];
}

const struct waiting *mempool_find(const struct mempool *mempool, const struct hash *hash)
{
    for (size_t i = 0; i < mempool->count; i++)
        if (hash_equal(&mempool->entries[i]->hash, hash))
            return mempool->entries[i];
    return NULL;
}

const struct waiting *mempool_find_nonce(const struct mempool *mempool, const struct address *sender,
                                         uint64_t nonce)
{
    for (size_t i = 0; i < mempool->count; i++)
        if (mempool->entries[i]->transaction.nonce == nonce &&
            address_equal(&mempool->entries[i]->sender, sender))
            return mempool->entries[i];
    return NULL;
}

void mempool_remove(struct mempool *mempool, const struct hash *hash)
{
    for (size_t i = 0; i < mempool->count; i++) {
        struct waiting *waiting = mempool->entries[i];
        if (!hash_equal(&waiting->hash, hash))
            continue;
        mempool->entries[i] = mempool->entries[--mempool->count];
        mempool->bytes -= waiting->raw.length;
        waiting_free(waiting);
        return;
    }
}

/* new >= old * 1.1, in exact numbers. */
static bool is_bumped(unsigned_wide old, unsigned_wide new)
{
    unsigned_wide rise = old / 100 * MEMPOOL_BUMP_PERCENT + (old % 100 * MEMPOOL_BUMP_PERCENT + 99) / 100;
    return new >= old &&new - old >= rise;
}

enum mempool_error mempool_add(struct mempool *mempool, const uint8_t *raw, size_t length)
{
    struct waiting *new = xcalloc(1, sizeof(*new));
    buffer_append(&new->raw, raw, length);
    ensure(transaction_decode(new->raw.data, length, &new->transaction, &new->sender, &new->hash) ==
           TRANSACTION_OK);
    const struct waiting *old = mempool_find_nonce(mempool, &new->sender, new->transaction.nonce);
    enum mempool_error error = MEMPOOL_OK;
    if (old != NULL && hash_equal(&old->hash, &new->hash))
        error = MEMPOOL_KNOWN;
    else if (old != NULL && (!is_bumped(old->transaction.max_fee_per_gas, new->transaction.max_fee_per_gas) ||
                             !is_bumped(old->transaction.max_priority_fee_per_gas,
                                        new->transaction.max_priority_fee_per_gas)))
        error = MEMPOOL_UNDERPRICED;
    else if ((old == NULL && mempool->count == MEMPOOL_MAX) ||
             mempool->bytes + length > MEMPOOL_BYTES_MAX + (old == NULL ? 0 : old->raw.length))
        error = MEMPOOL_FULL;
    if (error != MEMPOOL_OK) {
        waiting_free(new);
        return error;
    }
    if (old != NULL) {
        struct hash replaced = old->hash;
        mempool_remove(mempool, &replaced);
    }
    new->arrival = ++mempool->arrivals;
    mempool->entries[mempool->count++] = new;
    mempool->bytes += length;
    return MEMPOOL_OK;
}
