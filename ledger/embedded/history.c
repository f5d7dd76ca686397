#include "ledger/embedded/history.h"

#include <stdlib.h>
#include <string.h>

#define uthash_malloc(size) xmalloc(size)
#include "base/ensure.h"
#include <uthash.h>

/* Where a hash leads: to a block, or to a transaction in one. */
struct place {
    UT_hash_handle hh;
    struct hash hash;
    uint64_t number;
    uint32_t index;
};

/* Blocks oldest … oldest + count - 1 stand at blocks[start …]. */
struct history {
    struct block **blocks;
    size_t start, count, capacity;
    uint64_t oldest;
    struct place *by_hash;
    struct place *by_transaction;
};

struct history *history_new(void)
{
    return xcalloc(1, sizeof(struct history));
}

static struct place *place_find(struct place *places, const struct hash *hash)
{
    struct place *place;
    HASH_FIND(hh, places, hash, sizeof(*hash), place);
    return place;
}

static void place_add(struct place **places, const struct hash *hash, uint64_t number, size_t index)
{
    struct place *place = xcalloc(1, sizeof(*place));
    place->hash = *hash;
    place->number = number;
    place->index = (uint32_t)index;
    HASH_ADD(hh, *places, hash, sizeof(place->hash), place);
}

static void place_remove(struct place **places, const struct hash *hash)
{
    struct place *place = place_find(*places, hash);
    ensure(place != NULL);
    HASH_DEL(*places, place);
    free(place);
}

static void block_forget(struct history *history)
{
    struct block *block = history->blocks[history->start];
    for (size_t i = 0; i < block->count; i++)
        place_remove(&history->by_transaction, &block->transactions[i].hash);
    place_remove(&history->by_hash, &block->hash);
    block_free(block);
    history->start++;
    history->count--;
    history->oldest++;
}

void history_free(struct history *history)
{
    if (history == NULL)
        return;
    while (history->count > 0)
        block_forget(history);
    free(history->blocks);
    free(history);
}

void history_add(struct history *history, struct block *block)
{
    if (history->count == 0)
        history->oldest = block->number;
    ensure(block->number == history->oldest + history->count);
    if (history->start + history->count == history->capacity) {
        /* Slide to the front where half is free, else grow: either way constant work per block on average. */
        if (history->start > history->capacity / 2) {
            memmove(history->blocks, history->blocks + history->start,
                    history->count * sizeof(*history->blocks));
            history->start = 0;
        } else {
            history->capacity = history->capacity == 0 ? 64 : 2 * history->capacity;
            history->blocks = xrealloc(history->blocks, history->capacity * sizeof(*history->blocks));
        }
    }
    history->blocks[history->start + history->count++] = block;
    place_add(&history->by_hash, &block->hash, block->number, 0);
    for (size_t i = 0; i < block->count; i++)
        place_add(&history->by_transaction, &block->transactions[i].hash, block->number, i);
}

void history_drop_oldest(struct history *history)
{
    ensure(history->count >= 2);
    block_forget(history);
}

const struct block *history_head(const struct history *history)
{
    ensure(history->count > 0);
    return history->blocks[history->start + history->count - 1];
}

uint64_t history_oldest(const struct history *history)
{
    return history->oldest;
}

const struct block *history_block(const struct history *history, uint64_t number)
{
    if (number < history->oldest || number - history->oldest >= history->count)
        return NULL;
    return history->blocks[history->start + (size_t)(number - history->oldest)];
}

const struct block *history_block_by_hash(const struct history *history, const struct hash *hash)
{
    const struct place *place = place_find(history->by_hash, hash);
    return place == NULL ? NULL : history_block(history, place->number);
}

const struct block *history_transaction(const struct history *history, const struct hash *hash, size_t *index)
{
    const struct place *place = place_find(history->by_transaction, hash);
    if (place == NULL)
        return NULL;
    *index = place->index;
    return history_block(history, place->number);
}
