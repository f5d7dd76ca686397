/* What the tests of store/ share: a temporary folder, and a history whose state after each batch is known.
 *
 * Batch n of a history is made from (seed, n) alone: puts and deletions of a few keys, the same key sometimes
 * twice, then the record LAST, which says n, and one for the archive. So whoever replays a journal can tell, at every LAST,
 * which state must have been reached: the one after n whole batches, nothing more and nothing less.
 */
#ifndef RILL_TESTS_STORE_JOURNAL_FIXTURE_H
#define RILL_TESTS_STORE_JOURNAL_FIXTURE_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "store/store.h"

#define FIXTURE_TYPES     3
#define FIXTURE_KEYS      40
#define FIXTURE_LAST      9 /* the highest type: a checkpoint shows it last */
#define FIXTURE_VALUE_MAX 300
#define FIXTURE_ARCHIVE   RECORD_ARCHIVE_FIRST
#define FIXTURE_OWNER     0x77
#define FIXTURE_TIME(n)   (1000 * (uint64_t)86400 + (n)*7000)

struct fixture_random {
    uint64_t state;
};

static inline uint64_t fixture_random_next(struct fixture_random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline uint64_t fixture_random_below(struct fixture_random *random, uint64_t limit)
{
    return fixture_random_next(random) % limit;
}

/* Stamp 0: the key is gone. Else the stamp and the length are all there is to know of a value. */
struct fixture_value {
    uint64_t stamp;
    uint64_t length;
};

struct fixture_state {
    struct fixture_value values[FIXTURE_TYPES][FIXTURE_KEYS];
    uint64_t last;
};

static inline void fixture_value_write(struct buffer *batch, const struct fixture_value *value)
{
    buffer_u64(batch, value->stamp);
    struct fixture_random random = {value->stamp};
    for (uint64_t i = 0; i < value->length; i++)
        buffer_u8(batch, (uint8_t)fixture_random_next(&random));
}

/* Returns false if these are not the bytes of one value. */
static inline bool fixture_value_read(const uint8_t *bytes, size_t length, struct fixture_value *out)
{
    if (length < 8)
        return false;
    *out = (struct fixture_value){load_be64(bytes), length - 8};
    struct fixture_random random = {out->stamp};
    for (size_t i = 8; i < length; i++)
        if (bytes[i] != (uint8_t)fixture_random_next(&random))
            return false;
    return out->stamp != 0;
}

/* Batch n's record for the archive, some twelve to a day. */
static inline void fixture_archive_record(struct buffer *batch, uint64_t sequence)
{
    uint8_t key[RECORD_ARCHIVE_KEY_MIN + 8] = {FIXTURE_OWNER};
    store_be64(key + RECORD_OWNER_BYTES, FIXTURE_TIME(sequence));
    store_be64(key + RECORD_ARCHIVE_KEY_MIN, sequence * 0x9e3779b97f4a7c15u);
    size_t mark = record_begin(batch, FIXTURE_ARCHIVE | RECORD_FINDABLE, key, sizeof key);
    buffer_u64(batch, sequence);
    record_end(batch, mark);
}

/* Adds the records of batch n, and does to the state what they say. The batch may be NULL. */
static inline void fixture_batch(uint64_t seed, uint64_t sequence, struct buffer *batch,
                                 struct fixture_state *state)
{
    struct buffer unused = {0};
    struct buffer *out = batch == NULL ? &unused : batch;
    struct fixture_random random = {seed ^ (sequence * 0x100000001b3u)};
    ensure(sequence == state->last + 1);
    for (uint64_t left = 1 + fixture_random_below(&random, 6); left > 0; left--) {
        uint64_t type = fixture_random_below(&random, FIXTURE_TYPES);
        uint8_t key = (uint8_t)fixture_random_below(&random, FIXTURE_KEYS);
        struct fixture_value value = {0, 0};
        if (fixture_random_below(&random, 10) < 3) {
            record_gone(out, (uint8_t)(1 + type), &key, 1);
        } else {
            value.stamp = fixture_random_next(&random) | 1;
            value.length = fixture_random_below(&random, FIXTURE_VALUE_MAX);
            size_t mark = record_begin(out, (uint8_t)(1 + type), &key, 1);
            fixture_value_write(out, &value);
            if (state->values[type][key].stamp == 0)
                record_end_first(out, mark);
            else
                record_end(out, mark);
        }
        state->values[type][key] = value;
    }
    size_t mark = record_begin(out, FIXTURE_LAST, "", 0);
    buffer_u64(out, sequence);
    record_end(out, mark);
    fixture_archive_record(out, sequence);
    state->last = sequence;
    buffer_free(&unused);
}

/* A replay, held against the history batch by batch. */
struct fixture_replay {
    uint64_t seed;
    struct fixture_state seen;   /* what the records said */
    struct fixture_state wanted; /* the history up to the last LAST */
    uint64_t lasts;              /* how often LAST came */
};

static inline bool fixture_visit(void *context, const struct record *record)
{
    struct fixture_replay *replay = context;
    if (record->type == FIXTURE_LAST) {
        if (record->gone || record->key_length != 0 || record->value_length != 8)
            return false;
        replay->seen.last = load_be64(record->value);
        if (replay->seen.last <= replay->wanted.last)
            return false;
        while (replay->wanted.last < replay->seen.last)
            fixture_batch(replay->seed, replay->wanted.last + 1, NULL, &replay->wanted);
        replay->lasts++;
        return memcmp(&replay->seen, &replay->wanted, sizeof replay->seen) == 0;
    }
    if (record->type < 1 || record->type > FIXTURE_TYPES || record->key_length != 1 ||
        record->key[0] >= FIXTURE_KEYS)
        return false;
    struct fixture_value *value = &replay->seen.values[record->type - 1][record->key[0]];
    *value = (struct fixture_value){0, 0};
    return record->gone || fixture_value_read(record->value, record->value_length, value);
}

/* Replays into `state`, and checks that what comes is the history of `seed` and nothing else. */
static inline bool fixture_recover(struct journal *journal, uint64_t seed, struct fixture_replay *replay)
{
    memset(replay, 0, sizeof *replay);
    replay->seed = seed;
    return journal_recover(journal, fixture_visit, replay) &&
           memcmp(&replay->seen, &replay->wanted, sizeof replay->seen) == 0;
}

static inline uint64_t fixture_append(struct journal *journal, uint64_t seed, struct fixture_state *state)
{
    struct buffer batch = {0};
    fixture_batch(seed, state->last + 1, &batch, state);
    uint64_t sequence = journal_append(journal, batch.data, batch.length);
    buffer_free(&batch);
    return sequence;
}

/* A folder of the test's own; freed and removed, with all in it, by fixture_folder_remove. */
static inline char *fixture_folder_make(void)
{
    char *path = xstrdup("/tmp/rill-store-XXXXXX");
    ensure(mkdtemp(path) != NULL);
    return path;
}

static inline int fixture_remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static inline void fixture_folder_remove(char *path)
{
    ensure(nftw(path, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
    free(path);
}

static inline struct store_options fixture_options(const char *path)
{
    return (struct store_options){.path = path, .application = "hub", .version = 1, .archive_days = 100000};
}

static inline struct journal *fixture_open(const struct store_options *options)
{
    struct journal *journal = NULL;
    char message[512] = "";
    enum store_error error = store_open(options, &journal, message, sizeof message);
    if (error != STORE_OK)
        fail_msg("open gave %d: %s", (int)error, message);
    return journal;
}

static inline bool fixture_archive_visit(void *context, const struct record *record)
{
    uint64_t *last = context;
    bool next = record->type == FIXTURE_ARCHIVE && record->value_length == 8 &&
                load_be64(record->value) == *last + 1 &&
                load_be64(record->key + RECORD_OWNER_BYTES) == FIXTURE_TIME(*last + 1);
    *last = next ? *last + 1 : UINT64_MAX / 2;
    return next;
}

/* The record of batch n is found, if there is to be one. */
static inline void fixture_check_find(struct journal *journal, uint64_t sequence, bool there)
{
    uint8_t rest[8];
    uint64_t before = sequence - 1;
    store_be64(rest, sequence * 0x9e3779b97f4a7c15u);
    bool found = journal_find(journal, FIXTURE_ARCHIVE, rest, sizeof rest, fixture_archive_visit, &before);
    assert_int_equal(found, there);
    assert_int_equal(before, there ? sequence : sequence - 1);
}

/* The same of all up to `last`, and of one more, at once. */
static inline void fixture_check_have(struct journal *journal, uint64_t last)
{
    uint8_t *rests = xmalloc(8 * (last + 1));
    bool *out = xmalloc(last + 1);
    for (uint64_t i = 0; i <= last; i++)
        store_be64(rests + 8 * i, (i + 1) * 0x9e3779b97f4a7c15u);
    journal_have(journal, FIXTURE_ARCHIVE, rests, 8, last + 1, out);
    for (uint64_t i = 0; i <= last; i++)
        assert_int_equal(out[i], i < last);
    free(rests);
    free(out);
}

/* The archive has the record of each batch up to `last`, once, in order, and nothing else; some of them are looked
 * for. */
static inline void fixture_check_archive(struct journal *journal, uint64_t last)
{
    const struct archive_query query = {
        .type = FIXTURE_ARCHIVE, .owner = {FIXTURE_OWNER}, .until = UINT64_MAX};
    uint64_t seen = 0;
    assert_true(journal_archive_read(journal, &query, fixture_archive_visit, &seen));
    assert_int_equal(seen, last);
    for (uint64_t sequence = last; sequence > 0; sequence -= (sequence + 30) / 31)
        fixture_check_find(journal, sequence, true);
    fixture_check_find(journal, last + 1, false);
    fixture_check_have(journal, last);
}

/* Folding has no notice to wait for, as nobody but its figures needs to know. Fails after ten seconds. */
static inline void fixture_wait_checkpoints(const struct journal *journal, uint64_t wanted)
{
    uint64_t end = clock_monotonic_us() + 10000000;
    while (store_figures(journal).checkpoints < wanted) {
        assert_true(clock_monotonic_us() < end);
        usleep(1000); /* allowed: polls a figure, bounded by `end` */
    }
}

/* Until less than this is left to fold. */
static inline void fixture_wait_folded(const struct journal *journal, uint64_t bytes)
{
    uint64_t end = clock_monotonic_us() + 20000000;
    while (store_figures(journal).unfolded_bytes >= bytes) {
        assert_true(clock_monotonic_us() < end);
        usleep(1000); /* allowed: polls a figure, bounded by `end` */
    }
}

static inline bool fixture_accept_live(void *context, const struct record *record)
{
    (void)context;
    return !record_is_archive(record); /* recovery never shows one */
}

/* One that folds after a few batches, recovered. */
#define FIXTURE_SMALL_BYTES 20000
static inline struct journal *fixture_open_small(const char *path, uint32_t archive_days)
{
    struct store_options options = fixture_options(path);
    options.checkpoint_bytes = FIXTURE_SMALL_BYTES;
    options.archive_days = archive_days;
    struct journal *journal = fixture_open(&options);
    assert_true(journal_recover(journal, fixture_accept_live, NULL));
    return journal;
}

/* Everything appended before is folded when this returns. */
static inline void fixture_fold_small(struct journal *journal)
{
    static const uint8_t filler[2 * FIXTURE_SMALL_BYTES];
    struct buffer batch = {0};
    record_put(&batch, 1, "filler", 6, filler, sizeof filler);
    journal_wait(journal, journal_append(journal, batch.data, batch.length));
    buffer_free(&batch);
    fixture_wait_folded(journal, FIXTURE_SMALL_BYTES);
}

/* Expects that it does not open, for this reason, and that the line says each of the two texts. */
static inline void fixture_refused(const struct store_options *options, enum store_error wanted,
                                   const char *says, const char *also)
{
    struct journal *journal = NULL;
    char message[512] = "";
    enum store_error error = store_open(options, &journal, message, sizeof message);
    if (error != wanted || strstr(message, says) == NULL || strstr(message, also) == NULL ||
        journal != NULL || strchr(message, '\n') != NULL)
        fail_msg("wanted %d with \"%s\" and \"%s\", got %d: %s", (int)wanted, says, also, (int)error,
                 message);
}

#endif
