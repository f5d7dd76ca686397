#include "ledger/embedded/state.h"

#include <stdlib.h>
#include <string.h>

#define uthash_malloc(size) xmalloc(size)
#include "base/ensure.h"
#include <uthash.h>

struct entry {
    UT_hash_handle hh;
    uint8_t *value;
    uint32_t value_length;
    bool written; /* during a commit: its record is in the batch */
    uint8_t key_length;
    uint8_t key[]; /* the type, then the key */
};

/* How to undo one put: the value before it. `value` NULL: the key did not exist, its entry goes. */
struct change {
    struct entry *entry;
    uint8_t *value;
    uint32_t value_length;
};

struct state {
    struct entry *entries;
    struct change *changes;
    size_t change_count, change_capacity;
};

struct state *state_new(void)
{
    return xcalloc(1, sizeof(struct state));
}

void state_free(struct state *state)
{
    if (state == NULL)
        return;
    state_revert(state, 0);
    struct entry *entry, *next;
    HASH_ITER(hh, state->entries, entry, next)
    {
        HASH_DEL(state->entries, entry);
        free(entry->value);
        free(entry);
    }
    free(state->changes);
    free(state);
}

static struct entry *entry_find(const struct state *state, uint8_t type, const void *key, size_t key_length)
{
    uint8_t full[1 + STATE_KEY_MAX];
    ensure(key_length <= STATE_KEY_MAX);
    full[0] = type;
    if (key_length > 0)
        memcpy(full + 1, key, key_length);
    struct entry *entry;
    HASH_FIND(hh, state->entries, full, key_length + 1, entry);
    return entry;
}

static struct entry *entry_add(struct state *state, uint8_t type, const void *key, size_t key_length)
{
    struct entry *entry = xcalloc(1, sizeof(*entry) + 1 + key_length);
    entry->key_length = (uint8_t)(key_length + 1);
    entry->key[0] = type;
    if (key_length > 0)
        memcpy(entry->key + 1, key, key_length);
    HASH_ADD_KEYPTR(hh, state->entries, entry->key, entry->key_length, entry);
    return entry;
}

const uint8_t *state_get(const struct state *state, uint8_t type, const void *key, size_t key_length,
                         size_t *length)
{
    const struct entry *entry = entry_find(state, type, key, key_length);
    if (entry == NULL)
        return NULL;
    *length = entry->value_length;
    return entry->value;
}

void state_put(struct state *state, uint8_t type, const void *key, size_t key_length, const void *value,
               size_t length)
{
    ensure(length > 0 && length <= STATE_VALUE_MAX);
    struct entry *entry = entry_find(state, type, key, key_length);
    if (entry == NULL)
        entry = entry_add(state, type, key, key_length);
    if (state->change_count == state->change_capacity) {
        state->change_capacity = state->change_capacity == 0 ? 64 : 2 * state->change_capacity;
        state->changes = xrealloc(state->changes, state->change_capacity * sizeof(*state->changes));
    }
    state->changes[state->change_count++] = (struct change){entry, entry->value, entry->value_length};
    entry->value = xmalloc(length);
    memcpy(entry->value, value, length);
    entry->value_length = (uint32_t)length;
}

size_t state_mark(const struct state *state)
{
    return state->change_count;
}

void state_revert(struct state *state, size_t mark)
{
    ensure(mark <= state->change_count);
    while (state->change_count > mark) {
        struct change *change = &state->changes[--state->change_count];
        struct entry *entry = change->entry;
        free(entry->value);
        entry->value = change->value;
        entry->value_length = change->value_length;
        if (change->value == NULL) {
            HASH_DEL(state->entries, entry);
            free(entry);
        }
    }
}

void state_commit(struct state *state, struct buffer *batch)
{
    for (size_t i = 0; i < state->change_count; i++) {
        struct entry *entry = state->changes[i].entry;
        free(state->changes[i].value);
        if (entry->written)
            continue;
        entry->written = true;
        record_put(batch, entry->key[0], entry->key + 1, entry->key_length - 1u, entry->value,
                   entry->value_length);
    }
    for (size_t i = 0; i < state->change_count; i++)
        state->changes[i].entry->written = false;
    state->change_count = 0;
}

void state_restore(struct state *state, const struct record *record)
{
    ensure(state->change_count == 0 && !record->gone);
    state_put(state, record->type, record->key, record->key_length, record->value, record->value_length);
    free(state->changes[0].value);
    state->change_count = 0;
}

void state_each(const struct state *state, state_visit *visit, void *context)
{
    for (const struct entry *entry = state->entries; entry != NULL; entry = entry->hh.next)
        visit(context, entry->key[0], entry->key + 1, entry->key_length - 1u, entry->value,
              entry->value_length);
}
