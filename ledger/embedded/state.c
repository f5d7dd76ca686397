#include "ledger/embedded/state.h"

#include <stdlib.h>
#include <string.h>

#define uthash_malloc(size) xmalloc(size)
#include "base/ensure.h"
#include <uthash.h>

struct entry {
    UT_hash_handle hh;
    uint8_t *value; /* NULL: the key does not exist, in a past that was rewound to */
    uint32_t value_length;
    bool written; /* during a commit: its record is in the batch */
    uint8_t key_length;
    uint8_t key[]; /* the type, then the key */
};

/* How to undo one put: the value before it. */
struct change {
    struct entry *entry;
    uint8_t *value;
    uint32_t value_length;
    bool created; /* the entry goes when this is undone */
};

/* A key and its value before a commit. */
struct past_value {
    uint8_t *value; /* NULL: it did not exist */
    uint32_t value_length;
    uint8_t key_length;
    uint8_t key[1 + STATE_KEY_MAX];
};
struct state_past {
    size_t count;
    struct past_value values[];
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

/* The type, then the key. Returns the length of both. */
static size_t full_key(uint8_t out[1 + STATE_KEY_MAX], uint8_t type, const void *key, size_t key_length)
{
    ensure(key_length <= STATE_KEY_MAX);
    out[0] = type;
    if (key_length > 0)
        memcpy(out + 1, key, key_length);
    return key_length + 1;
}

static struct entry *entry_find(const struct state *state, const uint8_t *full, size_t length)
{
    struct entry *entry;
    HASH_FIND(hh, state->entries, full, length, entry);
    return entry;
}

static struct entry *entry_add(struct state *state, const uint8_t *full, size_t length)
{
    struct entry *entry = xcalloc(1, sizeof(*entry) + length);
    entry->key_length = (uint8_t)length;
    memcpy(entry->key, full, length);
    HASH_ADD_KEYPTR(hh, state->entries, entry->key, entry->key_length, entry);
    return entry;
}

static uint8_t *copy_of(const void *value, size_t length)
{
    uint8_t *copy = xmalloc(length);
    memcpy(copy, value, length);
    return copy;
}

/* Takes over value. */
static void entry_change(struct state *state, const uint8_t *full, size_t length, uint8_t *value,
                         size_t value_length)
{
    struct entry *entry = entry_find(state, full, length);
    bool created = entry == NULL;
    if (created)
        entry = entry_add(state, full, length);
    if (state->change_count == state->change_capacity) {
        state->change_capacity = state->change_capacity == 0 ? 64 : 2 * state->change_capacity;
        state->changes = xrealloc(state->changes, state->change_capacity * sizeof(*state->changes));
    }
    state->changes[state->change_count++] =
        (struct change){entry, entry->value, entry->value_length, created};
    entry->value = value;
    entry->value_length = (uint32_t)value_length;
}

const uint8_t *state_get(const struct state *state, uint8_t type, const void *key, size_t key_length,
                         size_t *length)
{
    uint8_t full[1 + STATE_KEY_MAX];
    const struct entry *entry = entry_find(state, full, full_key(full, type, key, key_length));
    if (entry == NULL)
        return NULL;
    *length = entry->value_length;
    return entry->value;
}

void state_put(struct state *state, uint8_t type, const void *key, size_t key_length, const void *value,
               size_t length)
{
    uint8_t full[1 + STATE_KEY_MAX];
    size_t full_length = full_key(full, type, key, key_length);
    ensure(length > 0 && length <= STATE_VALUE_MAX);
    entry_change(state, full, full_length, copy_of(value, length), length);
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
        if (change->created) {
            HASH_DEL(state->entries, entry);
            free(entry);
        }
    }
}

struct state_past *state_commit(struct state *state, struct buffer *batch)
{
    struct state_past *past = xcalloc(1, sizeof(*past) + state->change_count * sizeof(past->values[0]));
    for (size_t i = 0; i < state->change_count; i++) {
        const struct change *change = &state->changes[i];
        struct entry *entry = change->entry;
        if (entry->written) {
            free(change->value);
            continue;
        }
        entry->written = true;
        ensure(entry->value != NULL);
        record_put(batch, entry->key[0], entry->key + 1, entry->key_length - 1u, entry->value,
                   entry->value_length);
        struct past_value *value = &past->values[past->count++];
        *value = (struct past_value){
            .value = change->value, .value_length = change->value_length, .key_length = entry->key_length};
        memcpy(value->key, entry->key, entry->key_length);
    }
    for (size_t i = 0; i < state->change_count; i++)
        state->changes[i].entry->written = false;
    state->change_count = 0;
    return past;
}

void state_rewind(struct state *state, const struct state_past *past)
{
    for (size_t i = 0; i < past->count; i++) {
        const struct past_value *value = &past->values[i];
        entry_change(state, value->key, value->key_length,
                     value->value == NULL ? NULL : copy_of(value->value, value->value_length),
                     value->value_length);
    }
}

void state_past_free(struct state_past *past)
{
    if (past == NULL)
        return;
    for (size_t i = 0; i < past->count; i++)
        free(past->values[i].value);
    free(past);
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
        if (entry->value != NULL)
            visit(context, entry->key[0], entry->key + 1, entry->key_length - 1u, entry->value,
                  entry->value_length);
}
