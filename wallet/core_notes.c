/* Notes: what an application wants to find again exactly if a payment beside it is found again (rill_note_keep).
 *
 * A note lies in the batch of the run that follows, as do the payments that were asked for with it. Forgetting is not worth
 * a write of its own: it goes with the next batch, and a note that comes back after a crash is one its owner knows.
 */
#include "wallet/core_state.h"

#include <stdlib.h>
#include <string.h>

static struct wallet_note *find(const struct wallet_core *core, const struct note_key *key)
{
    struct wallet_note *note;
    HASH_FIND(hh, core->notes, key, sizeof(*key), note);
    return note;
}

static void put(struct wallet_core *core, const struct note_key *key, const void *bytes, size_t length)
{
    struct wallet_note *note = find(core, key);
    if (note == NULL) {
        note = xcalloc(1, sizeof(*note));
        note->key = *key;
        HASH_ADD(hh, core->notes, key, sizeof(note->key), note);
    }
    buffer_clear(&note->bytes);
    buffer_append(&note->bytes, bytes, length);
}

static void drop(struct wallet_core *core, struct wallet_note *note)
{
    HASH_DEL(core->notes, note);
    buffer_free(&note->bytes);
    free(note);
}

static void key_bytes(const struct note_key *key, uint8_t out[WALLET_NOTE_OWNER_BYTES + 8])
{
    memcpy(out, key->owner, WALLET_NOTE_OWNER_BYTES);
    store_be64(out + WALLET_NOTE_OWNER_BYTES, key->number);
}

void wallet_note_keep(struct wallet_core *core, const struct note_key *key, const void *bytes, size_t length)
{
    uint8_t text[WALLET_NOTE_OWNER_BYTES + 8];
    ensure(length > 0 && length <= WALLET_NOTE_BYTES_MAX);
    key_bytes(key, text);
    put(core, key, bytes, length);
    record_put(&core->batch, RECORD_NOTE, text, sizeof(text), bytes, length);
}

void wallet_notes_forget(struct wallet_core *core, const struct note_key *until)
{
    struct wallet_note *note, *next;
    HASH_ITER(hh, core->notes, note, next)
    {
        uint8_t text[WALLET_NOTE_OWNER_BYTES + 8];
        if (memcmp(note->key.owner, until->owner, sizeof(until->owner)) != 0 ||
            note->key.number > until->number)
            continue;
        key_bytes(&note->key, text);
        record_gone(&core->forgotten, RECORD_NOTE, text, sizeof(text));
        drop(core, note);
    }
}

void wallet_notes_write(struct wallet_core *core)
{
    if (core->batch.length == 0 || core->forgotten.length == 0)
        return;
    buffer_append(&core->batch, core->forgotten.data, core->forgotten.length);
    buffer_clear(&core->forgotten);
}

static int by_number(const struct wallet_note *a, const struct wallet_note *b)
{
    return (a->key.number > b->key.number) - (a->key.number < b->key.number);
}

void wallet_notes(struct wallet_core *core, const uint8_t owner[WALLET_NOTE_OWNER_BYTES],
                  bool (*visit)(void *context, uint64_t number, const void *bytes, size_t length),
                  void *context)
{
    HASH_SRT(hh, core->notes, by_number);
    for (const struct wallet_note *note = core->notes; note != NULL; note = note->hh.next)
        if (memcmp(note->key.owner, owner, WALLET_NOTE_OWNER_BYTES) == 0 &&
            !visit(context, note->key.number, note->bytes.data, note->bytes.length))
            return;
}

bool wallet_note_read(struct wallet_core *core, const struct record *record)
{
    struct note_key key;
    if (record->key_length != WALLET_NOTE_OWNER_BYTES + 8)
        return false;
    memcpy(key.owner, record->key, WALLET_NOTE_OWNER_BYTES);
    key.number = load_be64(record->key + WALLET_NOTE_OWNER_BYTES);
    struct wallet_note *note = find(core, &key);
    if (!record->gone)
        put(core, &key, record->value, record->value_length);
    else if (note != NULL)
        drop(core, note);
    return record->gone || (record->value_length > 0 && record->value_length <= WALLET_NOTE_BYTES_MAX);
}

void wallet_notes_free(struct wallet_core *core)
{
    while (core->notes != NULL)
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): each that is freed has been taken off the table */
        drop(core, core->notes);
    buffer_free(&core->forgotten);
}
