/* The fee schedule of a transaction with a deadline: a pure function of the time that is left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/limits.h"
#include "ledger/urgency.h"

#define START 1000u
#define MOST  801000u
#define WHOLE 8000u

static void the_tip_grows_with_the_cube_of_what_is_gone(void **state)
{
    (void)state;
    assert_true(urgency_tip(START, MOST, WHOLE, WHOLE) == START);
    assert_true(urgency_tip(START, MOST, WHOLE + 1, WHOLE) == START);
    assert_true(urgency_tip(START, MOST, WHOLE / 2, WHOLE) == START + (MOST - START) / 8);
    assert_true(urgency_tip(START, MOST, WHOLE / 4, WHOLE) == START + (MOST - START) / 64 * 27);
    assert_true(urgency_tip(START, MOST, 0, WHOLE) == MOST);
}

static void the_tip_never_falls_while_time_passes(void **state)
{
    (void)state;
    unsigned_wide before = 0;
    for (uint64_t left = WHOLE + 10; left-- > 0;) {
        unsigned_wide tip = urgency_tip(START, MOST, left, WHOLE);
        assert_true(tip >= before && tip >= START && tip <= MOST);
        before = tip;
    }
    assert_true(before == MOST);
}

static void without_a_deadline_or_room_it_stands(void **state)
{
    (void)state;
    assert_true(urgency_tip(START, MOST, 0, 0) == START);
    assert_true(urgency_tip(START, START, 0, WHOLE) == START);
    assert_true(urgency_tip(START, 0, 0, WHOLE) == START);
    /* The largest figures there can be. */
    assert_true(urgency_tip(0, UINT64_MAX, 0, UINT64_MAX) == UINT64_MAX);
}

static void the_steps_come_faster_near_the_end(void **state)
{
    (void)state;
    static const struct {
        uint64_t left;
        uint32_t blocks, seconds;
    } rows[] = {{WHOLE, URGENCY_CALM_BLOCKS, URGENCY_CALM_S},
                {WHOLE / 2 + 1, URGENCY_CALM_BLOCKS, URGENCY_CALM_S},
                {WHOLE / 2, 2, URGENCY_CALM_S / 2},
                {WHOLE / 4 + 1, 2, URGENCY_CALM_S / 2},
                {WHOLE / 4, 1, 1},
                {0, 1, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct urgency_pace pace = urgency_pace(rows[i].left, WHOLE);
        assert_int_equal(pace.blocks, rows[i].blocks);
        assert_int_equal(pace.seconds, rows[i].seconds);
    }
    assert_int_equal(urgency_pace(0, 0).blocks, URGENCY_CALM_BLOCKS);
}

static void a_budget_is_shared_by_all_the_gas(void **state)
{
    (void)state;
    assert_true(urgency_fee_most(500, 0, 100000) == 500);
    assert_true(urgency_fee_most(500, 10000000, 100000) == 100);
    assert_true(urgency_fee_most(500, 99999, 100000) == 0);
    assert_true(urgency_fee_most(500, (unsigned_wide)UINT64_MAX * 1000, 100000) == 500);
    assert_true(urgency_fee_most(500, 10000000, 0) == 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tip_grows_with_the_cube_of_what_is_gone),
        cmocka_unit_test(the_tip_never_falls_while_time_passes),
        cmocka_unit_test(without_a_deadline_or_room_it_stands),
        cmocka_unit_test(the_steps_come_faster_near_the_end),
        cmocka_unit_test(a_budget_is_shared_by_all_the_gas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
