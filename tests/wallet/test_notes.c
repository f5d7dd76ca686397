/* Notes of an application: beside the payments they were kept with, or not at all. */
#include "wallet_world.h"

static const struct note_key first = {"fetcher", 1}, second = {"fetcher", 2}, other = {"another", 1};

struct seen {
    size_t count;
    uint64_t numbers[8];
    uint8_t bytes[8];
};

static bool see(void *context, uint64_t number, const void *bytes, size_t length)
{
    struct seen *seen = context;
    assert_int_equal(length, 1);
    seen->numbers[seen->count] = number;
    memcpy(&seen->bytes[seen->count++], bytes, 1);
    return true;
}

static struct seen notes_of(struct world *world, const struct note_key *key)
{
    struct seen seen = {0};
    wallet_notes(world->core, key->owner, see, &seen);
    return seen;
}

/* The crash loses both, or neither. */
static void test_with_its_payment(void **state)
{
    (void)state;
    for (int lost = 0; lost < 2; lost++) {
        struct world *world = world_ready(0);
        struct payment_id id;
        struct payment_view view;
        uint64_t before = memory_journal_appended(world->journal);
        world->unsynced = true;
        wallet_note_keep(world->core, &first, "a", 1);
        assert_int_equal(world_pay(world, 1000, 7, PAYMENT_AUTO, &id), CODE_OK);
        assert_int_equal(world->counts[MESSAGE_UPDATE], 0);
        world->unsynced = false;
        world_crash(world, before + !lost);
        assert_int_equal(wallet_payment_find(world->core, &id, &view), !lost);
        assert_int_equal(notes_of(world, &first).count, !lost);
        world_free(world);
    }
}

static void test_keeping_and_forgetting(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    wallet_note_keep(world->core, &second, "b", 1);
    wallet_note_keep(world->core, &other, "o", 1);
    wallet_note_keep(world->core, &first, "x", 1);
    wallet_note_keep(world->core, &first, "a", 1);
    world_run(world);
    world_crash(world, memory_journal_appended(world->journal));
    struct seen seen = notes_of(world, &first);
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.numbers[0], 1);
    assert_int_equal(seen.numbers[1], 2);
    assert_memory_equal(seen.bytes, "ab", 2);

    /* Forgetting costs no write, and goes with the next one. */
    uint64_t before = memory_journal_appended(world->journal);
    wallet_notes_forget(world->core, &first);
    world_run(world);
    assert_int_equal(memory_journal_appended(world->journal), before);
    assert_int_equal(notes_of(world, &first).count, 1);
    world_crash(world, before);
    assert_int_equal(notes_of(world, &first).count, 2);
    wallet_notes_forget(world->core, &first);
    wallet_note_keep(world->core, &other, "p", 1);
    world_run(world);
    world_crash(world, memory_journal_appended(world->journal));
    seen = notes_of(world, &first);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.numbers[0], 2);
    assert_memory_equal(notes_of(world, &other).bytes, "p", 1);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_with_its_payment),
        cmocka_unit_test(test_keeping_and_forgetting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
