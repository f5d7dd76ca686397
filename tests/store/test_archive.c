/* The archive: found by owner and time, wherever the records are; pages; pruning; readers beside the load. The
 * crashes are in test_crash.c and test_fold.c, whose histories have archive records too. */
#include "tests/store/journal_fixture.h"

#include <pthread.h>

#define DAY    86400u
#define OWNERS 5
#define ITEMS  3000

static int make_folder(void **state)
{
    *state = fixture_folder_make();
    return 0;
}

static int remove_folder(void **state)
{
    fixture_folder_remove(*state);
    return 0;
}

struct item {
    uint8_t owner, type;
    uint64_t time, number;
};

static void item_append(struct journal *journal, const struct item *item)
{
    struct buffer batch = {0};
    uint8_t key[RECORD_ARCHIVE_KEY_MIN + 8] = {item->owner};
    record_put(&batch, 1, "state", 5, &item->number, sizeof item->number);
    store_be64(key + RECORD_OWNER_BYTES, item->time);
    store_be64(key + RECORD_ARCHIVE_KEY_MIN, item->number);
    record_put(&batch, item->type, key, sizeof key, &item->number, sizeof item->number);
    journal_append(journal, batch.data, batch.length);
    buffer_free(&batch);
}

struct page {
    const struct item *items;
    uint64_t count, limit;
    uint8_t last[RECORD_KEY_MAX];
    size_t last_length;
    uint64_t numbers[ITEMS];
};

static bool page_visit(void *context, const struct record *record)
{
    struct page *page = context;
    uint64_t number;
    assert_true(record->value_length == sizeof number && page->count < ITEMS);
    memcpy(&number, record->value, sizeof number);
    page->numbers[page->count++] = number;
    memcpy(page->last, record->key, record->key_length);
    page->last_length = record->key_length;
    return page->count % page->limit != 0;
}

static int by_time(const void *left, const void *right)
{
    const struct item *a = left, *b = right;
    return a->time != b->time ? (a->time < b->time ? -1 : 1)
                              : (a->number > b->number) - (a->number < b->number);
}

/* Reads page by page, and holds it against all items (sorted). */
static void check_query(struct journal *journal, const struct item *items, struct archive_query query,
                        uint64_t limit, uint64_t oldest_day)
{
    static struct page page;
    page = (struct page){.limit = limit};
    for (uint64_t before = UINT64_MAX; before != page.count;) {
        before = page.count;
        assert_true(journal_archive_read(journal, &query, page_visit, &page));
        query.after = page.last;
        query.after_length = page.last_length;
        if (page.count == 0)
            break;
    }
    uint64_t found = 0;
    for (size_t i = 0; i < ITEMS; i++) {
        if (items[i].owner != query.owner[0] || items[i].type != query.type || items[i].time < query.since ||
            items[i].time >= query.until || items[i].time / DAY < oldest_day)
            continue;
        assert_true(found < page.count);
        assert_int_equal(page.numbers[found++], items[i].number);
    }
    assert_int_equal(found, page.count);
}

static void make_items(struct item *items, struct fixture_random *random)
{
    for (size_t i = 0; i < ITEMS; i++)
        items[i] = (struct item){
            .owner = (uint8_t)(1 + fixture_random_below(random, OWNERS)),
            .type = (uint8_t)(RECORD_ARCHIVE_FIRST + fixture_random_below(random, 2)),
            .time = 20000 * (uint64_t)DAY + i * 400 + fixture_random_below(random, 3) * DAY,
            .number = i,
        };
}

static void what_is_asked_for_is_found(void **state)
{
    static struct item items[ITEMS];
    struct fixture_random random = {4};
    struct journal *journal = fixture_open_small(*state, 100000);
    make_items(items, &random);
    for (size_t i = 0; i < ITEMS; i++)
        item_append(journal, &items[i]);
    qsort(items, ITEMS, sizeof items[0], by_time);
    uint64_t appended = ITEMS;
    for (int opening = 0; opening < 3; opening++) {
        journal_wait(journal, appended);
        for (int i = 0; i < 60; i++) {
            struct archive_query query = {
                .type = (uint8_t)(RECORD_ARCHIVE_FIRST + fixture_random_below(&random, 2)),
                .owner = {(uint8_t)(1 + fixture_random_below(&random, OWNERS + 1))},
                .since = fixture_random_below(&random, 2) * (20000 + fixture_random_below(&random, 16)) * DAY,
                .until = fixture_random_below(&random, 3) == 0
                             ? UINT64_MAX
                             : (20000 + fixture_random_below(&random, 18)) * (uint64_t)DAY,
            };
            check_query(journal, items, query, 1 + fixture_random_below(&random, 300), 0);
        }
        journal_close(journal);
        journal = fixture_open_small(*state, 100000);
    }
    journal_close(journal);
}

/* Records of days long before the newest go, those of the days that are kept stay. */
static void old_days_are_dropped(void **state)
{
    static struct item items[ITEMS];
    struct fixture_random random = {5};
    struct journal *journal = fixture_open_small(*state, 4);
    make_items(items, &random);
    for (size_t i = 0; i < ITEMS; i++)
        item_append(journal, &items[i]);
    fixture_fold_small(journal);
    journal_close(journal);
    journal = fixture_open_small(*state, 4);
    qsort(items, ITEMS, sizeof items[0], by_time);
    uint64_t oldest = items[ITEMS - 1].time / DAY - 4;
    assert_true(items[0].time / DAY + 8 < oldest);
    for (uint8_t owner = 1; owner <= OWNERS; owner++) {
        struct archive_query query = {.type = RECORD_ARCHIVE_FIRST, .owner = {owner}, .until = UINT64_MAX};
        check_query(journal, items, query, 100, oldest);
    }
    assert_in_range(store_figures(journal).archive_bytes, 1, 200000);
    journal_close(journal);
}

static uint64_t records_between(struct journal *journal, uint64_t first_day, uint64_t end_day)
{
    static struct page page;
    uint64_t count = 0;
    for (uint8_t owner = 1; owner <= OWNERS; owner++) {
        page = (struct page){.limit = UINT64_MAX};
        struct archive_query query = {
            .type = RECORD_ARCHIVE_FIRST, .owner = {owner}, .since = first_day * DAY, .until = end_day * DAY};
        assert_true(journal_archive_read(journal, &query, page_visit, &page));
        count += page.count;
    }
    return count;
}

/* A ledger node says that a block is of the year 2106, and a payment is booked with that. */
static void an_absurd_time_makes_nothing_old(void **state)
{
    static struct item items[ITEMS];
    struct fixture_random random = {6};
    /* By the clock, what is younger than day 20006 is to be kept, the days around it not looked at. */
    uint32_t days = (uint32_t)(clock_unix_s() / DAY - 20005);
    struct journal *journal = fixture_open_small(*state, days);
    make_items(items, &random);
    for (size_t i = 0; i < ITEMS; i++)
        item_append(journal, &items[i]);
    journal_wait(journal, ITEMS);
    uint64_t young = records_between(journal, 20008, 21000);
    assert_true(young > 0 && records_between(journal, 0, 20004) > 0);
    const struct item absurd = {.owner = 1, .type = RECORD_ARCHIVE_FIRST, .time = UINT32_MAX, .number = 7};
    item_append(journal, &absurd);
    fixture_fold_small(journal);
    journal_close(journal);
    journal = fixture_open_small(*state, days);
    assert_int_equal(records_between(journal, 20008, 21000), young);
    assert_int_equal(records_between(journal, 0, 20004), 0); /* what is old by the clock still goes */
    assert_int_equal(records_between(journal, UINT32_MAX / DAY, UINT32_MAX / DAY + 1), 1);
    journal_close(journal);
}

static void without_days_nothing_is_kept(void **state)
{
    struct journal *journal = fixture_open_small(*state, 10);
    struct item item = {.owner = 1, .type = RECORD_ARCHIVE_FIRST, .time = 20000 * (uint64_t)DAY};
    for (item.number = 0; item.number < 1000; item.number++)
        item_append(journal, &item);
    fixture_fold_small(journal);
    journal_close(journal);
    journal = fixture_open_small(*state, 0);
    static struct page page;
    page = (struct page){.limit = ITEMS};
    struct archive_query query = {.type = RECORD_ARCHIVE_FIRST, .owner = {1}, .until = UINT64_MAX};
    assert_true(journal_archive_read(journal, &query, page_visit, &page));
    assert_int_equal(page.count, 1000);
    for (; item.number < 2000; item.number++)
        item_append(journal, &item);
    fixture_fold_small(journal);
    page.count = 0;
    assert_true(journal_archive_read(journal, &query, page_visit, &page));
    assert_int_equal(page.count, 0);
    journal_close(journal);
}

static bool take_number(void *context, const struct record *record)
{
    memcpy(context, record->value, sizeof(uint64_t));
    return true;
}

/* Written again under its key, a record is the new one, wherever the old one is. */
static void the_newest_of_a_key_is_shown(void **state)
{
    struct journal *journal = fixture_open_small(*state, 100000);
    uint8_t key[RECORD_ARCHIVE_KEY_MIN + 3] = {1};
    const struct archive_query query = {.type = RECORD_ARCHIVE_FIRST, .owner = {1}, .until = UINT64_MAX};
    memcpy(key + RECORD_ARCHIVE_KEY_MIN, "abc", 3);
    store_be64(key + RECORD_OWNER_BYTES, 20000 * (uint64_t)DAY);
    for (uint64_t number = 1; number <= 6; number++) {
        struct buffer batch = {0};
        record_put(&batch, 1, "state", 5, &number, sizeof number);
        for (uint64_t written = number + 10; written >= number; written -= 10) {
            record_put(&batch, RECORD_ARCHIVE_FIRST | RECORD_FINDABLE, key, sizeof key, &written,
                       sizeof written);
            if (written < 10)
                break;
        }
        journal_append(journal, batch.data, batch.length);
        buffer_free(&batch);
        uint64_t found = 0;
        assert_true(journal_find(journal, RECORD_ARCHIVE_FIRST, "abc", 3, take_number, &found));
        assert_int_equal(found, number); /* the last of its batch */
        static struct page page;
        page = (struct page){.limit = ITEMS};
        assert_true(journal_archive_read(journal, &query, page_visit, &page));
        assert_int_equal(page.count, 1);
        assert_int_equal(page.numbers[0], number);
        assert_false(journal_find(journal, RECORD_ARCHIVE_FIRST, "abd", 3, take_number, &found));
        assert_false(journal_find(journal, RECORD_ARCHIVE_FIRST, "ab", 2, take_number, &found));
        assert_false(journal_find(journal, RECORD_ARCHIVE_FIRST + 1, "abc", 3, take_number, &found));
        if (number % 2 == 0)
            fixture_fold_small(journal);
        if (number % 3 == 0) {
            journal_close(journal);
            journal = fixture_open_small(*state, 100000);
        }
    }
    journal_close(journal);
}

struct reader_thread {
    struct journal *journal;
    _Atomic bool ends;
    uint64_t reads;
};

/* Whatever is folded meanwhile: each record that was durable before the read, in order, once. */
static void *read_all_the_time(void *context)
{
    struct reader_thread *reader = context;
    const struct archive_query query = {
        .type = FIXTURE_ARCHIVE, .owner = {FIXTURE_OWNER}, .until = UINT64_MAX};
    while (!reader->ends) {
        uint64_t durable = journal_durable(reader->journal), seen = 0;
        ensure(journal_archive_read(reader->journal, &query, fixture_archive_visit, &seen));
        ensure(seen >= durable && seen < UINT64_MAX / 2);
        if (durable > 0)
            fixture_check_find(reader->journal, 1 + reader->reads % durable, true);
        reader->reads++;
    }
    return NULL;
}

static void readers_do_not_see_the_folding(void **state)
{
    struct fixture_state history = {0};
    struct journal *journal = fixture_open_small(*state, 100000);
    struct reader_thread reader = {.journal = journal};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_all_the_time, &reader), 0);
    while (history.last < 2000 || store_figures(journal).checkpoints < 20)
        journal_wait(journal, fixture_append(journal, 6, &history));
    reader.ends = true;
    pthread_join(thread, NULL);
    assert_true(reader.reads > 0);
    fixture_check_archive(journal, history.last);
    journal_close(journal);
}

#define WITH_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FOLDER(what_is_asked_for_is_found),     WITH_FOLDER(old_days_are_dropped),
        WITH_FOLDER(without_days_nothing_is_kept),   WITH_FOLDER(the_newest_of_a_key_is_shown),
        WITH_FOLDER(readers_do_not_see_the_folding), WITH_FOLDER(an_absurd_time_makes_nothing_old),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
