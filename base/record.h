/* Records: what journals are made of.
 *
 * A record says "this key now has this value" or "this key is gone"; the newest for a key wins, so replaying
 * records in their order any number of times gives one state. A batch is records one after another:
 *
 *     type u8 | key length u8 | value length u32 (0xffffffff: gone) | key | value        integers big-endian
 *
 * The length's top bit says that the record is the first of its key, or the first since that was gone: if it is gone
 * again soon, nobody needs to look for an older one.
 *
 * Types and keys belong to whoever writes the journal (hub, wallet, tower, embedded ledger); each has a table
 * of them, and a number, once used on disk, is never given another meaning. Types from RECORD_ARCHIVE_FIRST up
 * are the archive's: what is over and only to be looked up. They are never gone; their keys begin with whose it is
 * and when: owner (RECORD_OWNER_BYTES) | time u64, seconds | the rest. With RECORD_FINDABLE added to its type a
 * record can also be found by the rest alone, which then must be its own: the type is the same without.
 */
#ifndef RILL_BASE_RECORD_H
#define RILL_BASE_RECORD_H

#include "base/buffer.h"

#define RECORD_KEY_MAX         255
#define RECORD_HEADER_BYTES    6
#define RECORD_GONE            0xffffffffu /* in place of a value's length */
#define RECORD_FIRST           0x80000000u
#define RECORD_ARCHIVE_FIRST   240
#define RECORD_FINDABLE        8
#define RECORD_OWNER_BYTES     20 /* an address */
#define RECORD_ARCHIVE_KEY_MIN (RECORD_OWNER_BYTES + 8)

struct record {
    uint8_t type;
    uint8_t key_length;
    bool gone, first;
    const uint8_t *key; /* inside the batch that was read */
    const uint8_t *value;
    uint32_t value_length;
};

/* Appends a record. The value is written by the caller between begin and end, straight into the batch:
 *     size_t mark = record_begin(batch, type, key, key_length); buffer_u64(batch, …); record_end(batch,
 * mark); */
size_t record_begin(struct buffer *batch, uint8_t type, const void *key, size_t key_length);
void record_end(struct buffer *batch, size_t mark);
/* Of one whose key has no record yet in all that was appended, but gone ones. */
void record_end_first(struct buffer *batch, size_t mark);
void record_put(struct buffer *batch, uint8_t type, const void *key, size_t key_length, const void *value,
                size_t value_length);
void record_gone(struct buffer *batch, uint8_t type, const void *key, size_t key_length);

static inline bool record_is_archive(const struct record *record)
{
    return record->type >= RECORD_ARCHIVE_FIRST;
}

static inline void record_set_length(struct record *record, uint32_t length)
{
    record->gone = length == RECORD_GONE;
    record->first = !record->gone && (length & RECORD_FIRST) != 0;
    record->value_length = record->gone ? 0 : length & ~RECORD_FIRST;
}
/* The record that lies here, whole. */
static inline struct record record_at(const uint8_t *bytes)
{
    struct record record = {.type = bytes[0], .key_length = bytes[1], .key = bytes + RECORD_HEADER_BYTES};
    record_set_length(&record, load_be32(bytes + 2));
    record.value = record.key + record.key_length;
    return record;
}
/* Reads the next record. Returns false at the end or, with reader->ok false, at a malformed record. */
static inline bool MUST_USE record_next(struct reader *batch, struct record *out)
{
    if (batch->left == 0)
        return false;
    out->type = reader_u8(batch);
    out->key_length = reader_u8(batch);
    record_set_length(out, reader_u32(batch));
    out->key = reader_take(batch, out->key_length);
    out->value = reader_take(batch, out->value_length);
    return batch->ok;
}

#endif
