/* Payouts that a wallet asks for by itself: at a threshold, at a time of day, over restarts and refusals. */
#include "wallet_world.h"

#define DAY_S 86400u

/* ---- the policy alone ---- */

static void test_what_makes_sense(void **state)
{
    (void)state;
    assert_null(payout_policy_trouble(&(struct payout_policy){.mode = PAYOUT_MANUAL}));
    assert_null(payout_policy_trouble(&(struct payout_policy){.mode = PAYOUT_DAILY, .minute = 1439}));
    assert_non_null(payout_policy_trouble(&(struct payout_policy){.mode = PAYOUT_DAILY, .minute = 1440}));
    assert_non_null(payout_policy_trouble(&(struct payout_policy){.mode = PAYOUT_THRESHOLD}));
    assert_non_null(payout_policy_trouble(&(struct payout_policy){.mode = (enum payout_mode)3}));
    assert_non_null(
        payout_policy_trouble(&(struct payout_policy){.mode = PAYOUT_DAILY, .keep = {AMOUNT_LIMIT}}));
}

static void test_moments(void **state)
{
    (void)state;
    struct payout_policy policy = {.mode = PAYOUT_DAILY, .minute = 90};
    uint64_t day = 20000u * (uint64_t)DAY_S;
    assert_int_equal(payout_policy_moment(&policy, day + 5400), day + 5400);
    assert_int_equal(payout_policy_moment(&policy, day + 5399), day - DAY_S + 5400);
    assert_int_equal(payout_policy_moment(&policy, 0), 0);
    policy.done_s = day + 5400;
    assert_false(payout_policy_is_due(&policy, day + 5400));
    assert_false(payout_policy_is_due(&policy, day + DAY_S + 5399));
    assert_true(payout_policy_is_due(&policy, day + DAY_S + 5400));
    assert_true(payout_policy_is_due(&policy, day + 9 * DAY_S)); /* it was away: once, not nine times */
    policy.done_s = day + 400u * (uint64_t)DAY_S;                /* a clock that was wrong for a while */
    assert_true(payout_policy_is_due(&policy, day));
    assert_false(payout_policy_is_due(&(struct payout_policy){.mode = PAYOUT_MANUAL}, day));
}

static void test_amounts(void **state)
{
    (void)state;
    struct payout_policy policy = {.mode = PAYOUT_THRESHOLD, .threshold = {100}, .keep = {30}};
    assert_int_equal(payout_policy_amount(&policy, amount_of(129)).units, 0);
    assert_int_equal(payout_policy_amount(&policy, amount_of(130)).units, 100);
    assert_int_equal(payout_policy_amount(&policy, amount_of(500)).units, 470);
    policy.threshold = amount_of(0);
    assert_int_equal(payout_policy_amount(&policy, amount_of(30)).units, 0);
    assert_int_equal(payout_policy_amount(&policy, amount_of(31)).units, 1);
}

/* ---- the wallet ---- */

static void set(struct world *world, struct payout_policy policy)
{
    assert_int_equal(wallet_set_payout_policy(world->core, &world->key.asset, &policy, world->unix_s),
                     CODE_OK);
    world_run(world);
}

/* The hub proposes what was asked for, the wallet signs, the ledger settles it. */
static void pay_out(struct world *world)
{
    struct amount wanted = world->last_settle.settle_request.amount;
    unsigned signs = world->counts[MESSAGE_SETTLE_SIGN];
    uint64_t deadline = world->head.confirmed_time + 600;
    assert_int_equal(channel_propose(world->machine, wanted, amount_of(0), deadline, false), CODE_OK);
    wallet_message(world->core, &(struct message){.type = MESSAGE_SETTLE_PROPOSE,
                                                  .settle_propose = {.channel = world->id,
                                                                     .seq = world->machine->funds.seq + 1,
                                                                     .client_out = wanted,
                                                                     .deadline = deadline}});
    world_run(world);
    assert_int_equal(world->counts[MESSAGE_SETTLE_SIGN], signs + 1);
    struct channel_funds funds = world->machine->funds;
    world_event(world,
                (struct contract_event){.type = EVENT_SETTLED, .seq = funds.seq + 1, .client_out = wanted});
    funds.seq++;
    funds.total.units -= wanted.units;
    funds.base -= (int64_t)wanted.units;
    (void)channel_set_funds(world->machine, &funds);
    wallet_message(world->core, &(struct message){.type = MESSAGE_SETTLED,
                                                  .settled = {.channel = world->id, .seq = funds.seq}});
    world_head(world, 5);
}

static void refuse(struct world *world)
{
    wallet_message(world->core, &(struct message){.type = MESSAGE_ERROR,
                                                  .error = {.code = CODE_AVAILABLE,
                                                            .text = {"no", 2},
                                                            .reference = {.present = true,
                                                                          .type = MESSAGE_SETTLE_REQUEST,
                                                                          .has_channel = true,
                                                                          .channel = world->id}}});
    world_run(world);
}

static void wait(struct world *world, uint64_t seconds)
{
    world->now_ms += seconds * 1000;
    world->unix_s += seconds;
    world_run(world);
}

static void test_at_a_threshold(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    uint64_t available = world_channel(world).available.units; /* the reserve is not among it */
    set(world, (struct payout_policy){.mode = PAYOUT_THRESHOLD, .threshold = {available + 1}});
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 0);
    set(world, (struct payout_policy){.mode = PAYOUT_THRESHOLD, .threshold = {available - 7}, .keep = {7}});
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 1);
    assert_int_equal(world->last_settle.settle_request.amount.units, available - 7);
    assert_int_equal(wallet_withdraw(world->core, &world->id, amount_of(1)), CODE_SETTLE);
    pay_out(world);
    const struct wallet_news *news = world_news(world, WALLET_NEWS_SETTLEMENT);
    assert_int_equal(news->outcome, 0);
    assert_int_equal(news->amount.units, available - 7);
    wait(world, DAY_S);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 1); /* below it again */
    world_free(world);
}

/* The owner's close does not wait for what the policy asked for. */
static void test_a_close_goes_before_a_payout(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    uint64_t available = world_channel(world).available.units;
    set(world, (struct payout_policy){.mode = PAYOUT_THRESHOLD, .threshold = {available}});
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 1);
    assert_int_equal(wallet_close(world->core, &world->id), CODE_OK);
    wait(world, 1);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 2);
    assert_true(world->last_settle.settle_request.close);
    world_free(world);
}

static void test_once_a_day(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    uint16_t minute = (uint16_t)((world->unix_s % DAY_S) / 60 + 60);
    set(world, (struct payout_policy){.mode = PAYOUT_DAILY, .minute = minute, .keep = {50000}});
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 0); /* not before its time */
    /* The wallet wakes by itself at that minute. */
    uint64_t due_ms = wallet_next_ms(world->core) - world->now_ms;
    assert_true(due_ms > 3500u * 1000 && due_ms <= 3600u * 1000);
    wait(world, due_ms / 1000 - 1);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 0);
    wait(world, 1);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 1);
    pay_out(world);
    wait(world, DAY_S / 2);
    /* Said again by a program that starts: the day's payout is neither repeated nor lost. */
    set(world, (struct payout_policy){.mode = PAYOUT_DAILY, .minute = minute, .keep = {40000}});
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 1);
    wait(world, DAY_S / 2);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 2);
    assert_int_equal(world->last_settle.settle_request.amount.units,
                     world_channel(world).available.units - 40000);
    world_free(world);
}

/* Whoever was away at the minute asks as soon as it is there again, after a restart too. */
static void test_a_missed_minute_is_made_up_for(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    uint16_t minute = (uint16_t)((world->unix_s % DAY_S) / 60 + 1);
    set(world, (struct payout_policy){.mode = PAYOUT_DAILY, .minute = minute});
    world_unlinked(world);
    world_crash(world, memory_journal_appended(world->journal));
    struct payout_policy kept;
    assert_true(wallet_payout_policy(world->core, &world->key.asset, &kept));
    assert_int_equal(kept.mode, PAYOUT_DAILY);
    assert_int_equal(kept.minute, minute);
    wait(world, 7200);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 0);
    world_linked(world);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 1);
    uint64_t wanted = world->last_settle.settle_request.amount.units;
    /* Asked for, and the process dies: it is asked for again, once. */
    world_unlinked(world);
    world_crash(world, memory_journal_appended(world->journal));
    world_linked(world);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 1);
    assert_int_equal(world->last_settle.settle_request.amount.units, wanted);
    pay_out(world);
    wait(world, 3600);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 1);
    world_free(world);
}

static void test_what_came_to_nothing_is_asked_again(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    uint16_t minute = (uint16_t)((world->unix_s % DAY_S) / 60 + 1);
    set(world, (struct payout_policy){.mode = PAYOUT_DAILY, .minute = minute});
    wait(world, 60);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 1);
    refuse(world);
    assert_int_equal(world_news(world, WALLET_NEWS_SETTLEMENT)->outcome, WALLET_SETTLEMENT_REFUSED);
    wait(world, 30);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 1); /* not in a hurry */
    wait(world, 31);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 2);
    /* A payout by hand that is refused is the user's to repeat. */
    set(world, (struct payout_policy){.mode = PAYOUT_MANUAL});
    refuse(world);
    assert_int_equal(wallet_withdraw(world->core, &world->id, amount_of(5)), CODE_OK);
    world_run(world);
    refuse(world);
    wait(world, 3600);
    assert_int_equal(world->counts[MESSAGE_SETTLE_REQUEST], 3);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_makes_sense),
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_amounts),
        cmocka_unit_test(test_at_a_threshold),
        cmocka_unit_test(test_a_close_goes_before_a_payout),
        cmocka_unit_test(test_once_a_day),
        cmocka_unit_test(test_a_missed_minute_is_made_up_for),
        cmocka_unit_test(test_what_came_to_nothing_is_asked_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
