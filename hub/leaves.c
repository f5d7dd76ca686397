#include "hub/leaves.h"

#include <string.h>

#include "base/ensure.h"
#include "base/log.h"
#include "crypto/lock.h"

#define LEAVES_RECORD_VERSION 1
#define JOINED_DEPTH_MAX      64 /* trees under trees: changes of the number of shards without a batch between */

/* ---- records ---- */

static void write_key(const struct lineage *lineage, uint64_t time, uint64_t number,
                      uint8_t key[LEAVES_KEY_BYTES])
{
    memset(key, 0, RECORD_OWNER_BYTES);
    store_be64(key + RECORD_OWNER_BYTES, time);
    store_be32(key + RECORD_ARCHIVE_KEY_MIN, lineage->generation);
    store_be32(key + RECORD_ARCHIVE_KEY_MIN + 4, lineage->shard);
    store_be64(key + RECORD_ARCHIVE_KEY_MIN + 8, number);
}

static bool read_key(const struct record *record, struct lineage *lineage, uint64_t *time, uint64_t *number)
{
    if (record->key_length != LEAVES_KEY_BYTES)
        return false;
    *time = load_be64(record->key + RECORD_OWNER_BYTES);
    lineage->generation = load_be32(record->key + RECORD_ARCHIVE_KEY_MIN);
    lineage->shard = load_be32(record->key + RECORD_ARCHIVE_KEY_MIN + 4);
    *number = load_be64(record->key + RECORD_ARCHIVE_KEY_MIN + 8);
    return true;
}

static bool lineage_equal(const struct lineage *a, const struct lineage *b)
{
    return a->generation == b->generation && a->shard == b->shard;
}

void leaves_write(const struct lineage *lineage, uint64_t time, uint64_t first, const uint8_t *digests,
                  size_t length, struct buffer *batch)
{
    uint8_t key[LEAVES_KEY_BYTES];
    ensure(length % sizeof(struct hash) == 0);
    write_key(lineage, time, first, key);
    size_t mark = record_begin(batch, RECORD_LEAVES, key, sizeof(key));
    buffer_u8(batch, LEAVES_RECORD_VERSION);
    buffer_append(batch, digests, length);
    record_end(batch, mark);
}

void rooted_write(const struct rooted *rooted, struct buffer *batch)
{
    uint8_t key[LEAVES_KEY_BYTES];
    write_key(&rooted->lineage, rooted->time, rooted->from, key);
    size_t mark = record_begin(batch, RECORD_ROOTED, key, sizeof(key));
    buffer_u8(batch, LEAVES_RECORD_VERSION);
    buffer_u8(batch, rooted->joined);
    buffer_u64(batch, rooted->to);
    buffer_u64(batch, rooted->from_time);
    buffer_append(batch, rooted->root.bytes, sizeof(rooted->root.bytes));
    if (rooted->joined) {
        buffer_u32(batch, rooted->into.generation);
        buffer_u32(batch, rooted->into.shard);
        buffer_u64(batch, rooted->into_number);
    } else {
        buffer_u64(batch, rooted->batch);
        buffer_u64(batch, rooted->block);
        buffer_append(batch, rooted->transaction.bytes, sizeof(rooted->transaction.bytes));
    }
    record_end(batch, mark);
}

static bool rooted_read(const struct record *record, struct rooted *out)
{
    struct reader value = reader_of(record->value, record->value_length);
    *out = (struct rooted){.from = 0};
    if (record->type != RECORD_ROOTED || record->gone ||
        !read_key(record, &out->lineage, &out->time, &out->from))
        return false;
    bool known = reader_u8(&value) == LEAVES_RECORD_VERSION;
    out->joined = reader_u8(&value) != 0;
    out->to = reader_u64(&value);
    out->from_time = reader_u64(&value);
    reader_copy(&value, out->root.bytes, sizeof(out->root.bytes));
    if (out->joined) {
        out->into.generation = reader_u32(&value);
        out->into.shard = reader_u32(&value);
        out->into_number = reader_u64(&value);
    } else {
        out->batch = reader_u64(&value);
        out->block = reader_u64(&value);
        reader_copy(&value, out->transaction.bytes, sizeof(out->transaction.bytes));
    }
    return known && reader_done(&value);
}

/* ---- looking a leaf up ---- */

struct place {
    struct lineage lineage;
    uint64_t number, time; /* of its record */
};

struct search {
    const _Atomic bool *stop;
    const struct hash *digest;
    struct place place;
    bool found, damaged;
};

/* The digests of a record of leaves. NULL: it cannot be read. */
static const uint8_t *digests_of(const struct record *record, struct place *first, size_t *count)
{
    if (!read_key(record, &first->lineage, &first->time, &first->number) || record->value_length < 1 ||
        record->value[0] != LEAVES_RECORD_VERSION || (record->value_length - 1) % sizeof(struct hash) != 0)
        return NULL;
    *count = (record->value_length - 1) / sizeof(struct hash);
    return record->value + 1;
}

static bool visit_search(void *context, const struct record *record)
{
    struct search *search = context;
    struct place first;
    size_t count;
    const uint8_t *digests = digests_of(record, &first, &count);
    search->damaged = digests == NULL;
    if (search->damaged || atomic_load(search->stop))
        return false;
    for (size_t i = 0; i < count && !search->found; i++) {
        search->found = memcmp(digests + i * sizeof(struct hash), search->digest, sizeof(struct hash)) == 0;
        search->place = (struct place){first.lineage, first.number + i, first.time};
    }
    return !search->found;
}

static bool search_between(struct journal *const *journals, size_t count, uint64_t since, uint64_t until,
                           struct search *search)
{
    const struct archive_query query = {.type = RECORD_LEAVES, .since = since, .until = until};
    for (size_t i = 0; i < count && !search->found; i++)
        if (!journal_archive_read(journals[i], &query, visit_search, search) || search->damaged)
            return false;
    return true;
}

/* Around the time first: a hub and a wallet that look at the same ledger differ by a block or two. */
static enum leaf_state find_leaf(struct journal *const *journals, size_t count, uint64_t time,
                                 struct search *search)
{
    static const uint64_t around_s[] = {120, 3600, 86400};
    for (size_t i = 0; i < ARRAY_LENGTH(around_s) && time != 0 && !search->found; i++) {
        uint64_t since = time > around_s[i] ? time - around_s[i] : 0;
        if (!search_between(journals, count, since, time + around_s[i], search))
            return LEAF_DAMAGED;
    }
    if (!search->found && !search_between(journals, count, 0, UINT64_MAX, search))
        return LEAF_DAMAGED;
    return search->found ? LEAF_SETTLED : atomic_load(search->stop) ? LEAF_STOPPED : LEAF_UNKNOWN;
}

/* ---- what its root became ---- */

struct range_search {
    const struct place *place;
    struct rooted rooted;
    bool found, damaged;
};

static bool visit_rooted(void *context, const struct record *record)
{
    struct range_search *search = context;
    struct rooted *rooted = &search->rooted;
    search->damaged = !rooted_read(record, rooted);
    if (search->damaged)
        return false;
    search->found = lineage_equal(&rooted->lineage, &search->place->lineage) &&
                    rooted->from <= search->place->number && search->place->number < rooted->to;
    return !search->found;
}

static enum leaf_state find_range(struct journal *const *journals, size_t count, const struct place *place,
                                  struct rooted *out)
{
    const struct archive_query query = {.type = RECORD_ROOTED, .since = place->time, .until = UINT64_MAX};
    struct range_search search = {.place = place};
    for (size_t i = 0; i < count && !search.found; i++)
        if (!journal_archive_read(journals[i], &query, visit_rooted, &search) || search.damaged)
            return LEAF_DAMAGED;
    *out = search.rooted;
    return search.found ? LEAF_SETTLED : LEAF_WAITING;
}

/* ---- the path ---- */

struct climb {
    const _Atomic bool *stop;
    const struct rooted *rooted;
    struct journal_path path;
    uint64_t next; /* the number that must come */
    bool damaged;
};

static bool visit_climb(void *context, const struct record *record)
{
    struct climb *climb = context;
    struct place first;
    size_t count;
    const uint8_t *digests = digests_of(record, &first, &count);
    climb->damaged = digests == NULL;
    if (climb->damaged || atomic_load(climb->stop))
        return false;
    if (!lineage_equal(&first.lineage, &climb->rooted->lineage))
        return true;
    for (size_t i = 0; i < count && climb->next < climb->rooted->to; i++) {
        struct hash digest;
        if (first.number + i != climb->next)
            continue; /* of the batch before; or a gap, and the end is never reached */
        memcpy(digest.bytes, digests + i * sizeof(digest), sizeof(digest));
        journal_path_add(&climb->path, &digest);
        climb->next++;
    }
    return climb->next < climb->rooted->to;
}

static enum leaf_state climb_range(struct journal *const *journals, size_t count, const struct rooted *rooted,
                                   struct climb *climb, struct leaf_proof *out)
{
    const struct archive_query query = {
        .type = RECORD_LEAVES, .since = rooted->from_time, .until = UINT64_MAX};
    struct hash root;
    for (size_t i = 0; i < count && climb->next < rooted->to; i++)
        if (!journal_archive_read(journals[i], &query, visit_climb, climb) || climb->damaged)
            return LEAF_DAMAGED;
    if (atomic_load(climb->stop))
        return LEAF_STOPPED;
    if (climb->next < rooted->to)
        return LEAF_PRUNED;
    if (!journal_path_end(&climb->path, &root) || !hash_equal(&root, &rooted->root) ||
        out->length + climb->path.length > LEAF_PATH_MAX) {
        log_error("the leaves in the journal's archive do not give the root of batch %llu: the disk lost or "
                  "changed data",
                  (unsigned long long)rooted->batch);
        return LEAF_DAMAGED;
    }
    memcpy(out->path + out->length, climb->path.nodes, climb->path.length * sizeof(struct hash));
    out->length += climb->path.length;
    return LEAF_SETTLED;
}

enum leaf_state leaf_prove(struct journal *const *journals, size_t count, const struct hash *digest,
                           uint64_t time, const _Atomic bool *stop, struct leaf_proof *out)
{
    struct search search = {.stop = stop, .digest = digest};
    struct rooted rooted;
    *out = (struct leaf_proof){.length = 0};
    enum leaf_state state = find_leaf(journals, count, time, &search);
    struct place place = search.place;
    for (unsigned depth = 0; state == LEAF_SETTLED && depth < JOINED_DEPTH_MAX; depth++) {
        state = find_range(journals, count, &place, &rooted);
        if (state != LEAF_SETTLED)
            return state;
        struct climb climb = {.stop = stop, .rooted = &rooted, .next = rooted.from};
        journal_path_begin(&climb.path, place.number - rooted.from);
        state = climb_range(journals, count, &rooted, &climb, out);
        if (depth == 0) {
            out->position = place.number - rooted.from;
            out->leaves = rooted.to - rooted.from;
        }
        if (state != LEAF_SETTLED || !rooted.joined) {
            out->batch = rooted.batch;
            out->block = rooted.block;
            out->transaction = rooted.transaction;
            out->root = rooted.root;
            return state;
        }
        place = (struct place){rooted.into, rooted.into_number, rooted.time};
    }
    return state == LEAF_SETTLED ? LEAF_DAMAGED : state;
}
