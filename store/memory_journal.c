#include "store/memory_journal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/index.h"

struct batch {
    size_t length;
    uint8_t *bytes;
};

struct memory_journal {
    struct journal journal;
    struct batch *batches; /* sequence n is at n - 1 */
    size_t capacity;
    uint64_t appended;
    uint64_t durable;
    bool recovered;
    struct index index; /* of findable records → sequence, up to: */
    uint64_t indexed;
    int wake_descriptor; /* made when first asked for: a simulator has thousands of journals */
};

static struct memory_journal *memory_of(const struct journal *journal);

static bool batch_visit(const struct batch *batch, journal_visit *visit, void *context)
{
    struct reader reader = reader_of(batch->bytes, batch->length);
    for (struct record record; record_next(&reader, &record) && !record_is_archive(&record);)
        if (!visit(context, &record))
            return false;
    ensure(reader.ok); /* checked when it was appended */
    return true;
}

static bool memory_recover(struct journal *journal, journal_visit *visit, void *context)
{
    struct memory_journal *memory = memory_of(journal);
    ensure(!memory->recovered);
    for (uint64_t i = 0; i < memory->appended; i++)
        if (!batch_visit(&memory->batches[i], visit, context))
            return false;
    memory->recovered = true;
    return true;
}

/* As the local journal wants it: the archive's records last, and not alone. */
static bool batch_is_well_formed(const uint8_t *bytes, size_t length)
{
    struct reader reader = reader_of(bytes, length);
    bool archive = false;
    size_t others = 0;
    for (struct record record; record_next(&reader, &record); others += !archive) {
        if (record_is_archive(&record) ? record.gone || record.key_length < RECORD_ARCHIVE_KEY_MIN : archive)
            return false;
        archive = record_is_archive(&record);
    }
    return reader.ok && others > 0;
}

static uint64_t memory_append(struct journal *journal, const uint8_t *bytes, size_t length)
{
    struct memory_journal *memory = memory_of(journal);
    ensure(memory->recovered);
    if (memory->appended == memory->capacity) {
        memory->capacity = memory->capacity == 0 ? 16 : memory->capacity * 2;
        memory->batches = xrealloc(memory->batches, memory->capacity * sizeof *memory->batches);
    }
    ensure(batch_is_well_formed(bytes, length));
    struct buffer copy = {0};
    buffer_append(&copy, bytes, length);
    memory->batches[memory->appended++] = (struct batch){length, copy.data};
    return memory->appended;
}

static uint64_t memory_durable(const struct journal *journal)
{
    return memory_of(journal)->durable;
}

static void wake(const struct memory_journal *memory)
{
    if (memory->wake_descriptor >= 0)
        (void)!eventfd_write(memory->wake_descriptor, 1); /* full: readable already */
}

static int memory_wake_descriptor(const struct journal *journal)
{
    struct memory_journal *memory = memory_of(journal);
    if (memory->wake_descriptor < 0) {
        memory->wake_descriptor = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        ensure(memory->wake_descriptor >= 0);
    }
    return memory->wake_descriptor;
}

static void memory_wait(struct journal *journal, uint64_t sequence)
{
    memory_journal_sync(journal, sequence);
}

static int key_compare(const struct record *a, const uint8_t *key, size_t length)
{
    int order = memcmp(a->key, key, a->key_length < length ? a->key_length : length);
    return order != 0 ? order : a->key_length < length ? -1 : a->key_length > length;
}

static bool is_wanted(const struct archive_query *query, const struct record *record)
{
    if (!record_is_archive(record) || (record->type & ~RECORD_FINDABLE) != query->type ||
        memcmp(record->key, query->owner, RECORD_OWNER_BYTES) != 0)
        return false;
    uint64_t time = load_be64(record->key + RECORD_OWNER_BYTES);
    return time >= query->since && time < query->until &&
           (query->after == NULL || key_compare(record, query->after, query->after_length) > 0);
}

/* The first one asked for: it looks through everything, as there is little. */
static bool archive_first(const struct memory_journal *memory, const struct archive_query *query,
                          struct record *out)
{
    bool found = false;
    for (uint64_t i = 0; i < memory->appended; i++) {
        struct reader reader = reader_of(memory->batches[i].bytes, memory->batches[i].length);
        for (struct record record; record_next(&reader, &record);) {
            if (!is_wanted(query, &record) || (found && key_compare(&record, out->key, out->key_length) > 0))
                continue;
            *out = record;
            out->type = query->type;
            found = true;
        }
    }
    return found;
}

static bool memory_archive_read(struct journal *journal, const struct archive_query *query,
                                journal_visit *visit, void *context)
{
    struct archive_query rest = *query;
    for (struct record record; archive_first(memory_of(journal), &rest, &record);) {
        if (!visit(context, &record))
            return true;
        rest.after = record.key;
        rest.after_length = record.key_length;
    }
    return true;
}

static uint64_t rest_hash(uint8_t type, const uint8_t *rest, size_t length)
{
    return index_hash(type | RECORD_FINDABLE, rest, length);
}

/* Up to the newest batch. */
static void index_batches(struct memory_journal *memory)
{
    for (; memory->indexed < memory->appended; memory->indexed++) {
        const struct batch *batch = &memory->batches[memory->indexed];
        struct reader reader = reader_of(batch->bytes, batch->length);
        for (struct record record; record_next(&reader, &record);)
            if (record_is_archive(&record) && (record.type & RECORD_FINDABLE) != 0)
                index_add(&memory->index,
                          rest_hash(record.type, record.key + RECORD_ARCHIVE_KEY_MIN,
                                    (size_t)record.key_length - RECORD_ARCHIVE_KEY_MIN),
                          (void *)(uintptr_t)(memory->indexed + 1));
    }
}

static bool has_rest(const struct record *record, uint8_t type, const uint8_t *rest, size_t length)
{
    return record_is_archive(record) && record->type == (type | RECORD_FINDABLE) &&
           record->key_length == RECORD_ARCHIVE_KEY_MIN + length &&
           memcmp(record->key + RECORD_ARCHIVE_KEY_MIN, rest, length) == 0;
}

/* The newest one. */
static bool memory_find(struct journal *journal, uint8_t type, const uint8_t *rest, size_t rest_length,
                        journal_visit *visit, void *context)
{
    struct memory_journal *memory = memory_of(journal);
    uint64_t hash = rest_hash(type, rest, rest_length), newest = 0;
    struct record found = {0};
    const void *item;
    index_batches(memory);
    for (struct index_walk walk = index_walk(&memory->index, hash);
         (item = index_next(&memory->index, &walk)) != NULL;) {
        uint64_t sequence = (uint64_t)(uintptr_t)item;
        const struct batch *batch = &memory->batches[sequence - 1];
        struct reader reader = reader_of(batch->bytes, batch->length);
        for (struct record record; sequence >= newest && record_next(&reader, &record);) {
            if (!has_rest(&record, type, rest, rest_length))
                continue;
            found = record;
            newest = sequence;
        }
    }
    if (newest == 0)
        return false;
    found.type = type;
    (void)visit(context, &found);
    return true;
}

static bool visit_nothing(void *context, const struct record *record)
{
    (void)context, (void)record;
    return true;
}

static void memory_have(struct journal *journal, uint8_t type, const uint8_t *rests, size_t rest_length,
                        size_t count, bool *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = memory_find(journal, type, rests + i * rest_length, rest_length, visit_nothing, NULL);
}

static void batches_drop(struct memory_journal *memory, uint64_t keep)
{
    while (memory->appended > keep)
        free(memory->batches[--memory->appended].bytes);
    if (memory->indexed > keep) { /* built anew by the next look */
        index_free(&memory->index);
        memory->indexed = 0;
    }
}

static void memory_close(struct journal *journal)
{
    struct memory_journal *memory = memory_of(journal);
    batches_drop(memory, 0);
    if (memory->wake_descriptor >= 0)
        close(memory->wake_descriptor);
    free(memory->batches);
    free(memory);
}

static const struct journal_operations memory_operations = {
    .recover = memory_recover,
    .append = memory_append,
    .durable = memory_durable,
    .wake_descriptor = memory_wake_descriptor,
    .wait = memory_wait,
    .archive_read = memory_archive_read,
    .find = memory_find,
    .have = memory_have,
    .close = memory_close,
};

static struct memory_journal *memory_of(const struct journal *journal)
{
    ensure(journal->operations == &memory_operations);
    return (struct memory_journal *)journal;
}

struct journal *memory_journal_create(void)
{
    struct memory_journal *memory = xcalloc(1, sizeof *memory);
    memory->journal.operations = &memory_operations;
    memory->wake_descriptor = -1;
    return &memory->journal;
}

void memory_journal_sync(struct journal *journal, uint64_t sequence)
{
    struct memory_journal *memory = memory_of(journal);
    ensure(sequence <= memory->appended);
    if (sequence <= memory->durable)
        return;
    memory->durable = sequence;
    wake(memory);
}

uint64_t memory_journal_appended(const struct journal *journal)
{
    return memory_of(journal)->appended;
}

void memory_journal_crash(struct journal *journal, uint64_t survives)
{
    struct memory_journal *memory = memory_of(journal);
    ensure(survives <= memory->appended);
    batches_drop(memory, survives);
    memory->durable = survives;
    memory->recovered = false;
}
