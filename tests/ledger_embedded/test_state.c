/* The state map: put, go back, commit, rewind; against a plain array that remembers everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/ensure.h"
#include "ledger/embedded/state.h"

#define KEYS 16

static uint64_t random_state = 88172645463325252u;

static uint64_t random_below(uint64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state >> 11) % limit;
}

/* 0: no value. */
struct model {
    uint64_t values[KEYS];
};

static uint64_t read_value(const struct state *state, uint8_t key)
{
    size_t length;
    const uint8_t *value = state_get(state, 10, &key, 1, &length);
    if (value == NULL)
        return 0;
    assert_int_equal(length, 8);
    return load_be64(value);
}

static void put_value(struct state *state, uint8_t key, uint64_t number)
{
    uint8_t value[8];
    store_be64(value, number);
    state_put(state, 10, &key, 1, value, sizeof(value));
}

static void assert_like(const struct state *state, const struct model *model)
{
    for (uint8_t key = 0; key < KEYS; key++)
        assert_int_equal(read_value(state, key), model->values[key]);
}

static void count_one(void *context, uint8_t type, const uint8_t *key, size_t key_length,
                      const uint8_t *value, size_t length)
{
    (void)type;
    (void)key;
    (void)key_length;
    (void)value;
    (void)length;
    ++*(size_t *)context;
}

static void assert_count(const struct state *state, const struct model *model)
{
    size_t count = 0, expected = 0;
    state_each(state, count_one, &count);
    for (size_t key = 0; key < KEYS; key++)
        expected += model->values[key] != 0;
    assert_int_equal(count, expected);
}

static void test_put_and_get(void **unused)
{
    (void)unused;
    struct state *state = state_new();
    size_t length;
    assert_null(state_get(state, 1, NULL, 0, &length));
    state_put(state, 1, NULL, 0, "one", 3);
    state_put(state, 2, NULL, 0, "two!", 4);
    state_put(state, 1, "k", 1, "three", 5);
    assert_memory_equal(state_get(state, 1, NULL, 0, &length), "one", 3);
    assert_int_equal(length, 3);
    assert_memory_equal(state_get(state, 2, NULL, 0, &length), "two!", 4);
    assert_memory_equal(state_get(state, 1, "k", 1, &length), "three", 5);
    state_put(state, 1, NULL, 0, "1", 1);
    assert_memory_equal(state_get(state, 1, NULL, 0, &length), "1", 1);
    assert_int_equal(length, 1);
    state_free(state);
}

/* Marks inside marks, as calls inside a transaction inside a block. */
static void test_random_marks(void **unused)
{
    (void)unused;
    struct state *state = state_new();
    struct model model = {{0}}, at_mark[8];
    size_t marks[8], depth = 0;
    for (int i = 0; i < 20000; i++) {
        uint64_t choice = random_below(10);
        if (choice < 6) {
            uint8_t key = (uint8_t)random_below(KEYS);
            model.values[key] = 1 + random_below(1000);
            put_value(state, key, model.values[key]);
        } else if (choice < 8 && depth < ARRAY_LENGTH(marks)) {
            marks[depth] = state_mark(state);
            at_mark[depth++] = model;
        } else if (depth > 0) {
            depth -= 1 + random_below(depth);
            state_revert(state, marks[depth]);
            model = at_mark[depth];
            assert_count(state, &model);
        }
        assert_like(state, &model);
    }
    state_free(state);
}

/* Commits write each changed key once, with its newest value; replaying them gives the same state; rewinding
 * them gives every earlier one, and leaving brings the newest back. */
static void test_commit_restore_rewind(void **unused)
{
    (void)unused;
    enum { COMMITS = 40 };
    struct state *state = state_new(), *copy = state_new();
    struct model model = {{0}}, models[COMMITS + 1];
    struct state_past *past[COMMITS];
    struct buffer batch = {0};
    models[0] = model;
    for (size_t i = 0; i < COMMITS; i++) {
        for (uint64_t puts = random_below(12); puts > 0; puts--) {
            uint8_t key = (uint8_t)random_below(KEYS);
            model.values[key] = 1 + random_below(1000);
            put_value(state, key, model.values[key]);
        }
        models[i + 1] = model;
        past[i] = state_commit(state, &batch);
        bool seen[KEYS] = {false};
        struct reader reader = reader_of(batch.data, batch.length);
        struct record record;
        while (record_next(&reader, &record)) {
            assert_false(seen[record.key[0]]);
            seen[record.key[0]] = true;
            state_restore(copy, &record);
        }
        assert_true(reader_done(&reader));
        assert_like(copy, &model);
        buffer_clear(&batch);
    }
    for (size_t to = 0; to <= COMMITS; to++) {
        size_t mark = state_mark(state);
        for (size_t i = COMMITS; i > to; i--)
            state_rewind(state, past[i - 1]);
        assert_like(state, &models[to]);
        assert_count(state, &models[to]);
        /* A call in the past changes nothing either. */
        size_t inner = state_mark(state);
        for (uint8_t key = 0; key < KEYS; key++)
            put_value(state, key, 7);
        state_revert(state, inner);
        assert_like(state, &models[to]);
        state_revert(state, mark);
        assert_like(state, &models[COMMITS]);
    }
    for (size_t i = 0; i < COMMITS; i++)
        state_past_free(past[i]);
    buffer_free(&batch);
    state_free(copy);
    state_free(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put_and_get),
        cmocka_unit_test(test_random_marks),
        cmocka_unit_test(test_commit_restore_rewind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
