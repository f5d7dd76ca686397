/* What strangers and a lying node can do to a wallet's channels: anybody may open them for its address, and a node may say
 * what cannot be. */
#include "wallet_world.h"

/* ---- strangers ---- */

static struct channel_key stranger_key(const struct world *world, uint64_t salt)
{
    return (struct channel_key){world->client, address_filled(0xbb), salt};
}

/* A stranger opens a channel for this wallet's address, with a unit in it. */
static void open_by_stranger(struct world *world, uint64_t salt)
{
    struct channel_key key = stranger_key(world, salt);
    struct hash id = channel_id(&key);
    world_event(
        world,
        (struct contract_event){
            .type = EVENT_OPENED, .channel = id, .address = key.client, .other = key.asset, .salt = salt});
    world_event(world, (struct contract_event){.type = EVENT_FUNDED, .channel = id, .client_amount = {1}});
}

static struct message channel_message(const struct channel_key *key, uint64_t client, uint64_t hub)
{
    return (struct message){
        .type = MESSAGE_CHANNEL,
        .channel = {.key = *key, .total = {client + hub}, .base = (int64_t)client, .status = STAGE_OPEN}};
}

static bool knows(const struct world *world, const struct channel_key *key)
{
    struct hash id = channel_id(key);
    return wallet_channel_by_id(world->core, &id) != NULL;
}

/* The hub shows all of them, and the wallet's own last: it is served as if they were not there. */
static void test_strangers_do_not_cut_it_off(void **state)
{
    (void)state;
    struct world *world = world_new_with(0);
    world_fund(world, 100000, 100000);
    wallet_linked(world->core, &world->terms, 2 * WALLET_CHANNELS_MAX + 1);
    for (uint64_t salt = 0; salt < 2 * WALLET_CHANNELS_MAX; salt++) {
        struct channel_key key = stranger_key(world, salt);
        struct message message = channel_message(&key, 1, 0);
        wallet_message(world->core, &message);
    }
    world_show_channel(world);
    world_run(world);
    assert_int_equal(world->disconnects, 0);
    assert_true(wallet_is_ready(world->core));
    assert_int_equal(world_pay(world, 1000, 7, PAYMENT_DIRECT, NULL), CODE_OK);
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
    assert_true(world->core->channel_count <= WALLET_CHANNELS_MAX);
    size_t told = 0;
    for (size_t i = 0; i < world->news_count; i++)
        told += world->news[i].type == WALLET_NEWS_TROUBLE;
    assert_int_equal(told, 1);
    world_free(world);
}

/* They were there first: the wallet's own channel takes the place of one that nobody uses. */
static void test_own_channel_goes_first(void **state)
{
    (void)state;
    struct world *world = world_new_with(0);
    for (uint64_t salt = 0; salt < WALLET_CHANNELS_MAX; salt++)
        open_by_stranger(world, salt);
    world_head(world, 5);
    world_fund(world, 100000, 100000);
    world_linked(world);
    assert_true(wallet_is_ready(world->core));
    assert_int_equal(world_pay(world, 1000, 7, PAYMENT_DIRECT, NULL), CODE_OK);
    struct channel_key first = stranger_key(world, 0), last = stranger_key(world, WALLET_CHANNELS_MAX - 1);
    assert_true(knows(world, &first)); /* a deposit of this asset would go there */
    assert_false(knows(world, &last));
    /* The journal has let it go, too. */
    world_unlinked(world);
    world_crash(world, memory_journal_appended(world->journal));
    assert_int_equal(world->core->channel_count, WALLET_CHANNELS_MAX);
    assert_false(knows(world, &last));
    world_linked(world);
    assert_int_equal(world_pay(world, 1000, 8, PAYMENT_DIRECT, NULL), CODE_OK);
    world_free(world);
}

/* What is used is not given up for what the hub shows, and what the hub has put money into is taken in. */
static void test_used_channels_stay(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    assert_int_equal(world_pay(world, 1000, 7, PAYMENT_DIRECT, NULL), CODE_OK);
    for (uint64_t salt = 0; salt < WALLET_CHANNELS_MAX - 1; salt++)
        open_by_stranger(world, salt);
    world_head(world, 5);
    world_unlinked(world);
    wallet_linked(world->core, &world->terms, WALLET_CHANNELS_MAX + 1);
    for (uint64_t salt = 5000; salt < 5000 + WALLET_CHANNELS_MAX; salt++) {
        struct channel_key key = stranger_key(world, salt);
        struct message message = channel_message(&key, 0, 10);
        wallet_message(world->core, &message);
    }
    world_show_channel(world);
    world_run(world);
    struct channel_key first = stranger_key(world, 0), second = stranger_key(world, 1),
                       hubs = stranger_key(world, 5000);
    assert_true(knows(world, &world->key) && knows(world, &first) && knows(world, &hubs));
    assert_false(knows(world, &second));
    assert_true(wallet_is_ready(world->core));
    assert_int_equal(world_pay(world, 1000, 8, PAYMENT_DIRECT, NULL), CODE_OK);
    world_free(world);
}

/* Where there is no place left even for what is used, its LOCKS are read past. */
static void test_locks_of_a_surplus_channel(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    world_unlinked(world);
    wallet_linked(world->core, &world->terms, WALLET_CHANNELS_MAX + 2);
    for (uint64_t salt = 0; salt <= WALLET_CHANNELS_MAX; salt++) {
        struct channel_key key = stranger_key(world, salt);
        struct message message = channel_message(&key, 0, 10);
        bool surplus = salt == WALLET_CHANNELS_MAX;
        struct shown_stream *stream = &message.channel.streams[SIDE_HUB];
        stream->newest.present = surplus;
        stream->newest.proof.nonce = 1;
        stream->newest.proof.locks_root.bytes[0] = 1;
        wallet_message(world->core, &message);
        if (!surplus)
            continue;
        struct shown_lock lock = {.lock = {.id = 1, .amount = {5}}};
        struct message locks = {.type = MESSAGE_LOCKS,
                                .locks = {channel_id(&key), SIDE_HUB, &lock, 1, false}};
        wallet_message(world->core, &locks);
        world_run(world);
        assert_false(wallet_is_ready(world->core));
        locks.locks.last = true;
        wallet_message(world->core, &locks);
    }
    world_show_channel(world);
    world_run(world);
    assert_int_equal(world->disconnects, 0);
    assert_true(wallet_is_ready(world->core));
    assert_int_equal(world_pay(world, 1000, 8, PAYMENT_DIRECT, NULL), CODE_OK);
    world_free(world);
}

/* ---- a node that says what cannot be ---- */

static void assert_ignored(struct world *world, struct contract_event event)
{
    world->news_count = 0;
    world_event(world, event);
    world_head(world, 5);
    assert_non_null(world_news(world, WALLET_NEWS_TROUBLE));
    assert_null(world_news(world, WALLET_NEWS_FUNDS));
    assert_int_equal(world_channel(world).total.units, 200000);
    assert_int_equal(world_channel(world).balance.units, 100000);
}

static void test_impossible_events_are_ignored(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    uint64_t most = AMOUNT_LIMIT - 1;
    assert_ignored(world, (struct contract_event){.type = EVENT_FUNDED, .client_amount = {most}});
    assert_ignored(
        world, (struct contract_event){.type = EVENT_FUNDED, .client_amount = {most}, .hub_amount = {most}});
    assert_ignored(world, (struct contract_event){.type = EVENT_FUNDED, .hub_amount = {UINT64_MAX}});
    assert_ignored(world, (struct contract_event){.type = EVENT_SETTLED, .seq = 1, .client_out = {200001}});
    assert_ignored(world, (struct contract_event){
                              .type = EVENT_SETTLED, .seq = 1, .client_out = {1}, .hub_out = {UINT64_MAX}});
    world_unlinked(world);
    world_crash(world, memory_journal_appended(world->journal));
    world_linked(world);
    assert_int_equal(world_pay(world, 1000, 7, PAYMENT_DIRECT, NULL), CODE_OK);
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
    world_free(world);
}

static void test_impossible_states_are_ignored(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    const struct channel_funds lies[] = {
        {.total = {AMOUNT_LIMIT}, .base = 5, .stage = STAGE_OPEN},
        {.total = {5}, .base = 5, .stage = STAGE_CLOSED + 1},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(lies); i++) {
        world->news_count = 0;
        wallet_channel_state(world->core, &world->key, &lies[i], world->head.number + 1);
        world_run(world);
        assert_non_null(world_news(world, WALLET_NEWS_TROUBLE));
        assert_int_equal(world_channel(world).total.units, 200000);
    }
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strangers_do_not_cut_it_off),
        cmocka_unit_test(test_own_channel_goes_first),
        cmocka_unit_test(test_used_channels_stay),
        cmocka_unit_test(test_locks_of_a_surplus_channel),
        cmocka_unit_test(test_impossible_events_are_ignored),
        cmocka_unit_test(test_impossible_states_are_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
