/* Section 7's last paragraph, rule by rule: when a tower challenges, when it voids. */
#include "tests/watchtower/world.h"

#define NOW  (START + 100u)
#define LONG (START + PERIOD)

/* The client closed and stands at (nonce, transferred, locked, root byte). */
static struct closing closed_by_client(uint64_t nonce, uint64_t transferred, uint64_t locked, uint8_t root)
{
    struct closing closing = {.deadline = LONG};
    closing.of_client = (struct claim){nonce, amount_of(transferred), amount_of(locked), {{root}}};
    closing.own = closing.of_client;
    return closing;
}

static struct balance_proof held_proof(uint64_t nonce, uint64_t transferred, uint64_t locked, uint8_t root)
{
    return (struct balance_proof){nonce, amount_of(transferred), amount_of(locked), {{root}}, HASH_ZERO};
}

static enum duty judge_at(const struct closing *closing, const struct balance_proof *held, uint64_t claimable,
                          uint64_t now)
{
    return judge_challenge(closing, SIDE_HUB, held, amount_of(claimable), PERIOD, now);
}

static void test_old_claim_is_challenged(void **state)
{
    (void)state;
    struct closing closing = closed_by_client(3, 50, 0, 0);
    struct balance_proof held = held_proof(7, 90, 0, 0);
    assert_int_equal(judge_at(&closing, &held, 0, NOW), DUTY_DUE);
}

static void test_old_claim_with_the_same_money_is_challenged(void **state)
{
    (void)state;
    struct closing closing = closed_by_client(3, 90, 0, 0);
    struct balance_proof held = held_proof(7, 90, 0, 0);
    assert_int_equal(judge_at(&closing, &held, 0, NOW), DUTY_DUE);
}

static void test_true_claim_is_left_alone(void **state)
{
    (void)state;
    struct closing closing = closed_by_client(7, 90, 20, 1);
    struct balance_proof held = held_proof(7, 90, 20, 1);
    assert_int_equal(judge_at(&closing, &held, 20, NOW), DUTY_NONE);
}

static void test_same_nonce_any_difference_is_challenged(void **state)
{
    (void)state;
    struct balance_proof held = held_proof(7, 90, 20, 1);
    struct closing money = closed_by_client(7, 91, 20, 1);
    struct closing locked = closed_by_client(7, 90, 21, 1);
    struct closing root = closed_by_client(7, 90, 20, 2);
    assert_int_equal(judge_at(&money, &held, 0, NOW), DUTY_DUE);
    assert_int_equal(judge_at(&locked, &held, 0, NOW), DUTY_DUE);
    assert_int_equal(judge_at(&root, &held, 0, NOW), DUTY_DUE);
}

static void test_higher_claim_only_if_it_transfers_less(void **state)
{
    (void)state;
    struct balance_proof held = held_proof(7, 90, 20, 1);
    struct closing less = closed_by_client(9, 89, 0, 0);
    struct closing same = closed_by_client(9, 90, 0, 0);
    struct closing more = closed_by_client(9, 110, 0, 0);
    assert_int_equal(judge_at(&less, &held, 0, NOW), DUTY_DUE);
    assert_int_equal(judge_at(&same, &held, 0, NOW), DUTY_NONE);
    assert_int_equal(judge_at(&more, &held, 20, NOW), DUTY_NONE);
}

static void test_locks_hidden_behind_a_higher_nonce_are_restored(void **state)
{
    (void)state;
    struct balance_proof held = held_proof(7, 90, 20, 1);
    struct closing hidden = closed_by_client(9, 90, 0, 0);
    assert_true(challenge_needs_witnesses(&hidden, SIDE_HUB, &held));
    assert_int_equal(judge_at(&hidden, &held, 0, NOW), DUTY_NONE);
    assert_int_equal(judge_at(&hidden, &held, 20, NOW), DUTY_DUE);
    /* The very same money under a higher nonce: nothing to gain. */
    struct closing same = closed_by_client(9, 90, 20, 1);
    assert_int_equal(judge_at(&same, &held, 20, NOW), DUTY_NONE);
}

static void test_another_towers_challenge(void **state)
{
    (void)state;
    struct balance_proof held = held_proof(7, 90, 0, 0);
    struct closing lower = closed_by_client(6, 80, 0, 0);
    lower.challenged = true;
    /* A tower over a tower: a higher nonce, and until an eighth after the deadline. */
    assert_int_equal(judge_at(&lower, &held, 0, LONG + PERIOD / 8 - 1), DUTY_DUE);
    assert_int_equal(judge_at(&lower, &held, 0, LONG + PERIOD / 8), DUTY_TOO_LATE);
    struct closing equal = closed_by_client(7, 80, 0, 0);
    equal.challenged = true;
    assert_int_equal(judge_at(&equal, &held, 0, NOW), DUTY_NONE);
    struct closing higher = closed_by_client(8, 80, 0, 0);
    higher.challenged = true;
    assert_int_equal(judge_at(&higher, &held, 0, NOW), DUTY_NONE);
    /* The user itself has spoken. */
    lower.by_partner = true;
    assert_int_equal(judge_at(&lower, &held, 0, NOW), DUTY_NONE);
}

static void test_first_challenge_before_the_deadline(void **state)
{
    (void)state;
    struct closing closing = closed_by_client(3, 50, 0, 0);
    struct balance_proof held = held_proof(7, 90, 0, 0);
    assert_int_equal(judge_at(&closing, &held, 0, LONG - 1), DUTY_DUE);
    assert_int_equal(judge_at(&closing, &held, 0, LONG), DUTY_TOO_LATE);
}

static void test_nothing_to_challenge(void **state)
{
    (void)state;
    struct closing closing = closed_by_client(3, 50, 0, 0);
    struct balance_proof none = {0}, held = held_proof(7, 90, 0, 0);
    assert_int_equal(judge_at(&closing, &none, 0, NOW), DUTY_NONE);
    /* The user closed itself. */
    assert_int_equal(judge_challenge(&closing, SIDE_CLIENT, &held, amount_of(0), PERIOD, NOW), DUTY_NONE);
}

static void test_void_old_locks_shown(void **state)
{
    (void)state;
    /* The hub closed and shows the client's proof 4 with locks; the hub had revoked below 6. */
    struct closing closing = {.by_hub = true, .deadline = LONG};
    closing.of_client = (struct claim){4, amount_of(10), amount_of(30), {{1}}};
    assert_int_equal(judge_void(&closing, SIDE_CLIENT, 6, PERIOD, NOW), DUTY_DUE);
    assert_int_equal(judge_void(&closing, SIDE_CLIENT, 6, PERIOD, LONG + 3 * PERIOD / 8 - 1), DUTY_DUE);
    assert_int_equal(judge_void(&closing, SIDE_CLIENT, 6, PERIOD, LONG + 3 * PERIOD / 8), DUTY_TOO_LATE);
    assert_int_equal(judge_void(&closing, SIDE_CLIENT, 4, PERIOD, NOW), DUTY_NONE);
    /* Void already, or no locks in it. */
    closing.min_nonce_of_client = 5;
    assert_int_equal(judge_void(&closing, SIDE_CLIENT, 6, PERIOD, NOW), DUTY_NONE);
    closing.min_nonce_of_client = 3;
    assert_int_equal(judge_void(&closing, SIDE_CLIENT, 6, PERIOD, NOW), DUTY_DUE);
    closing.of_client.locked = amount_of(0);
    assert_int_equal(judge_void(&closing, SIDE_CLIENT, 6, PERIOD, NOW), DUTY_NONE);
}

static void test_void_of_the_closers_own_stream_needs_a_challenge(void **state)
{
    (void)state;
    /* The client closed; the hub answers with an old proof of the client's. */
    struct closing closing = closed_by_client(4, 10, 30, 1);
    assert_int_equal(judge_void(&closing, SIDE_CLIENT, 6, PERIOD, NOW), DUTY_NONE);
    closing.challenged = true;
    assert_int_equal(judge_void(&closing, SIDE_CLIENT, 6, PERIOD, NOW), DUTY_DUE);
}

static void test_which_locks_may_pay(void **state)
{
    (void)state;
    uint64_t late_from = late_locks_from(NOW + 10 + PERIOD / 8, PERIOD);
    struct lock lock = lock_of(1, 5, NOW);
    assert_int_equal(late_from, NOW + 10);
    assert_true(lock_may_pay(&lock, true, 0, late_from, NOW));
    assert_false(lock_may_pay(&lock, true, 0, late_from, NOW + 1));
    assert_false(lock_may_pay(&lock, false, 0, late_from, NOW));
    assert_true(lock_may_pay(&lock, false, NOW, late_from, NOW + 50));
    assert_false(lock_may_pay(&lock, true, NOW + 1, late_from, NOW + 50));
    /* It could be met when it is too late to answer: nobody knows its witness yet, and somebody may show it then. */
    lock.expiry = late_from - 1;
    assert_false(lock_may_pay(&lock, false, 0, late_from, NOW));
    lock.expiry = late_from;
    assert_true(lock_may_pay(&lock, false, 0, late_from, NOW));
    assert_false(lock_may_pay(&lock, false, 0, late_from, late_from + 1));
}

/* A genuine newer proof that keeps the locks and pays more is better than ours, however the locks end. */
static void test_locks_that_stand_are_no_reason(void **state)
{
    (void)state;
    struct balance_proof held = held_proof(7, 90, 20, 1);
    struct closing more = closed_by_client(9, 95, 20, 1), hollow = closed_by_client(9, 95, 0, 1);
    assert_int_equal(judge_at(&more, &held, 20, NOW), DUTY_NONE);
    assert_int_equal(judge_at(&hollow, &held, 20, NOW),
                     DUTY_DUE); /* the root stands, and nothing is held for it */
}

static void test_windows_round_down(void **state)
{
    (void)state;
    struct closing closing = {.deadline = 1000};
    assert_int_equal(finish_time(&closing, 100), 1037); /* 300 / 8 */
    closing.challenged = true;
    assert_int_equal(challenge_deadline(&closing, 100), 1012);
    closing.deadline = UINT64_MAX - 1;
    assert_true(finish_time(&closing, 100) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_old_claim_is_challenged),
        cmocka_unit_test(test_old_claim_with_the_same_money_is_challenged),
        cmocka_unit_test(test_true_claim_is_left_alone),
        cmocka_unit_test(test_same_nonce_any_difference_is_challenged),
        cmocka_unit_test(test_higher_claim_only_if_it_transfers_less),
        cmocka_unit_test(test_locks_hidden_behind_a_higher_nonce_are_restored),
        cmocka_unit_test(test_another_towers_challenge),
        cmocka_unit_test(test_first_challenge_before_the_deadline),
        cmocka_unit_test(test_nothing_to_challenge),
        cmocka_unit_test(test_void_old_locks_shown),
        cmocka_unit_test(test_void_of_the_closers_own_stream_needs_a_challenge),
        cmocka_unit_test(test_which_locks_may_pay),
        cmocka_unit_test(test_locks_that_stand_are_no_reason),
        cmocka_unit_test(test_windows_round_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
