/* The journal in memory: durable only when told, and what a crash leaves. */
#include "tests/store/journal_fixture.h"

#include <poll.h>

#include "store/memory_journal.h"

#define SEED 21

static void durable_only_when_told(void **state)
{
    (void)state;
    struct journal *journal = memory_journal_create();
    struct fixture_replay replay;
    struct fixture_state history = {0};
    assert_true(fixture_recover(journal, SEED, &replay));
    struct pollfd poll_on = {.fd = journal_wake_descriptor(journal), .events = POLLIN};
    for (uint64_t i = 1; i <= 20; i++)
        assert_int_equal(fixture_append(journal, SEED, &history), i);
    assert_int_equal(memory_journal_appended(journal), 20);
    assert_int_equal(journal_durable(journal), 0);
    assert_int_equal(poll(&poll_on, 1, 0), 0);
    memory_journal_sync(journal, 12);
    assert_int_equal(journal_durable(journal), 12);
    assert_int_equal(poll(&poll_on, 1, 0), 1);
    memory_journal_sync(journal, 5);
    assert_int_equal(journal_durable(journal), 12);
    journal_wait(journal, 20);
    assert_int_equal(journal_durable(journal), 20);
    journal_close(journal);
}

static void a_crash_keeps_what_it_says(void **state)
{
    (void)state;
    struct journal *journal = memory_journal_create();
    struct fixture_random random = {SEED};
    struct fixture_replay replay;
    struct fixture_state history = {0};
    uint64_t survived = 0;
    for (int round = 0; round < 200; round++) {
        assert_true(fixture_recover(journal, SEED, &replay));
        assert_int_equal(replay.seen.last, survived);
        assert_int_equal(journal_durable(journal), survived);
        fixture_check_archive(journal, survived);
        history = replay.seen;
        for (uint64_t left = fixture_random_below(&random, 10); left > 0; left--)
            fixture_append(journal, SEED, &history);
        memory_journal_sync(journal, survived + fixture_random_below(&random, history.last - survived + 1));
        uint64_t durable = journal_durable(journal);
        survived = round % 10 == 9 ? fixture_random_below(&random, durable + 1) /* a disk that lost data */
                                   : durable + fixture_random_below(&random, history.last - durable + 1);
        memory_journal_crash(journal, survived);
    }
    journal_close(journal);
}

static bool refuse_all(void *context, const struct record *record)
{
    (void)context;
    (void)record;
    return false;
}

static void a_visitor_may_refuse(void **state)
{
    (void)state;
    struct journal *journal = memory_journal_create();
    struct fixture_replay replay;
    struct fixture_state history = {0};
    assert_true(fixture_recover(journal, SEED, &replay));
    fixture_append(journal, SEED, &history);
    memory_journal_crash(journal, 1);
    assert_false(journal_recover(journal, refuse_all, NULL));
    journal_close(journal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durable_only_when_told),
        cmocka_unit_test(a_crash_keeps_what_it_says),
        cmocka_unit_test(a_visitor_may_refuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
