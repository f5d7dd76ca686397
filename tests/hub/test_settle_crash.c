/* A round of settlement, and a hub that dies at every single point of it: before and after each batch of the journal is
 * durable, before and after what it lets out has left, and around every block that the ledger makes of it. Whatever the
 * disk kept, and whether or not what had left is mined: nobody is paid twice, nobody is forgotten, and the hub's books say
 * what the ledger says.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "hub/engine_state.h"

#include "engine_world.c"

#define POOL      3000
#define PAID      4000 /* by client 0 to client 1 before: the hub's money moves into the payer's channel */
#define PAYOUT_0  700
#define PAYOUT_2  300
#define ROOM_3    2000
#define BLOCK_GAS 400000 /* so little that the round is cut into calls */
#define TURNS_MAX 400

/* How a hub dies: at which point, what its disk kept of what was not durable, and whether the node lost what had left. */
struct death {
    unsigned at; /* UINT_MAX: never */
    bool keeps, loses;
};

struct ledger_channel {
    uint64_t total;
    int64_t base;
    uint32_t seq;
    uint64_t paid_out;
};

struct stage {
    struct world world;
    struct ledger_channel channels[WORLD_CLIENTS_MAX];
    uint64_t pool;
    size_t calls_taken;                /* of world.log: they have left */
    size_t pool_first, pool_count;     /* of world.log: left, not mined yet */
    bool is_ours[WORLD_CALLS_MAX];     /* of the hub that runs now */
    struct contract_event events[256]; /* all that were ever made */
    size_t event_count, events_given;
    unsigned points, deaths;
    struct death death;
};

/* ---- the ledger ---- */

static struct contract_event *ledger_event(struct stage *stage, enum contract_event_type type)
{
    ensure(stage->event_count < 256);
    struct contract_event *event = &stage->events[stage->event_count++];
    *event = (struct contract_event){.type = type, .confirmed = true, .block = stage->world.block + 1};
    return event;
}

static unsigned client_of(const struct stage *stage, const struct channel_key *key)
{
    unsigned i = 0;
    while (!address_equal(&stage->world.clients[i].address, &key->client))
        ensure(++i < WORLD_CLIENTS_MAX);
    return i;
}

static void ledger_item(struct stage *stage, const struct settle_item *item)
{
    struct ledger_channel *at = &stage->channels[client_of(stage, &item->key)];
    struct hash id = channel_id(&item->key);
    struct hash digest = digest_settlement(&stage->world.domain, &id, at->seq + 1, item->client_out,
                                           item->hub_out, item->deadline, item->close);
    uint64_t out = item->client_out.units + item->hub_out.units;
    uint8_t reason = !signature_is_by(&item->signature, &digest, &item->key.client) ? 2
                     : stage->world.now > item->deadline                            ? 3
                     : out > at->total                                              ? 4
                                                                                    : 0;
    struct contract_event *event = ledger_event(stage, reason == 0 ? EVENT_SETTLED : EVENT_SETTLE_SKIPPED);
    event->channel = id;
    event->reason = reason;
    if (reason != 0)
        return;
    event->seq = ++at->seq;
    event->client_out = item->client_out;
    event->hub_out = item->hub_out;
    at->total -= out;
    at->base -= (int64_t)item->client_out.units;
    at->paid_out += item->client_out.units;
    stage->pool += item->hub_out.units;
}

static void ledger_fund(struct stage *stage, const struct fund *fund)
{
    struct ledger_channel *at = &stage->channels[client_of(stage, &fund->key)];
    bool is_new = at->total == 0 && at->seq == 0, is_skipped = fund->amount.units > stage->pool;
    struct hash id = channel_id(&fund->key);
    if (is_new && !is_skipped) {
        struct contract_event *opened = ledger_event(stage, EVENT_OPENED);
        opened->channel = id;
        opened->address = fund->key.client;
    }
    struct contract_event *event = ledger_event(stage, is_skipped ? EVENT_SETTLE_SKIPPED : EVENT_FUNDED);
    event->channel = id;
    event->is_fund = is_skipped;
    event->reason = 5;
    if (is_skipped)
        return;
    event->hub_amount = fund->amount;
    at->total += fund->amount.units;
    stage->pool -= fund->amount.units;
}

static void ledger_batch(struct stage *stage, const struct world_call *log)
{
    struct contract_call call;
    ensure(contract_decode_call(log->data.data, log->data.length, &call));
    for (size_t i = 0; i < call.item_count; i++)
        ledger_item(stage, &call.items[i]);
    for (size_t i = 0; i < call.fund_count; i++)
        ledger_fund(stage, &call.funds[i]);
    struct contract_event *event = ledger_event(stage, EVENT_BATCH_SETTLED);
    event->batch = ++stage->world.batches;
    event->root = call.hash;
    contract_call_free(&call);
}

static void give_events(struct stage *stage)
{
    while (stage->events_given < stage->event_count)
        engine_event(stage->world.engine, &stage->events[stage->events_given++]);
    world_head(&stage->world, 1);
}

/* ---- deaths ---- */

static void dies(struct stage *stage)
{
    struct world *world = &stage->world;
    char message[256];
    uint64_t appended = memory_journal_appended(world->journal);
    engine_free(world->engine);
    memory_journal_crash(world->journal, stage->death.keeps ? appended : journal_durable(world->journal));
    buffer_clear(&world->waiting);
    for (unsigned i = 0; i < WORLD_CLIENTS_MAX; i++)
        world->clients[i].peer = 0;
    for (size_t i = 0; i < world->calls; i++)
        stage->is_ours[i] = false;
    stage->calls_taken = world->calls; /* what had not left never will */
    if (stage->death.loses)
        stage->pool_count = 0;
    start_engine(world);
    ensure(journal_recover(world->journal, visit, world->engine));
    if (!engine_recovered(world->engine, message, sizeof(message)))
        fail_msg("%s", message);
    engine_block_gas(world->engine, BLOCK_GAS);
    for (stage->events_given = 0; stage->events_given < stage->event_count; stage->events_given++)
        if (stage->events[stage->events_given].block >= engine_cursor(world->engine))
            break;
    give_events(stage);
    stage->deaths++;
}

/* A point at which the hub may die. Returns true if it did. */
static bool point(struct stage *stage)
{
    if (stage->points++ != stage->death.at)
        return false;
    dies(stage);
    return true;
}

/* ---- life ---- */

static void leave(struct stage *stage)
{
    struct world *world = &stage->world;
    for (; stage->calls_taken < world->calls; stage->calls_taken++) {
        ensure(world->log[stage->calls_taken].call == ENGINE_CALL_SETTLE);
        if (stage->pool_count == 0)
            stage->pool_first = stage->calls_taken;
        stage->pool_count++;
        stage->is_ours[stage->calls_taken] = true;
    }
    deliver(world);
}

static bool mine(struct stage *stage)
{
    struct world *world = &stage->world;
    size_t at = stage->pool_first++;
    stage->pool_count--;
    ledger_batch(stage, &world->log[at]);
    if (point(stage))
        return true;
    struct ledger_receipt receipt = {.success = true, .gas_used = 100000, .block = world->block + 1};
    receipt.transaction = keccak256(world->log[at].data.data, world->log[at].data.length);
    give_events(stage);
    if (point(stage))
        return true;
    if (stage->is_ours[at])
        engine_call_done(world->engine, ENGINE_CALL_SETTLE, world->log[at].reference, LEDGER_OK, &receipt);
    return point(stage);
}

static void clients_come(struct stage *stage)
{
    struct world *world = &stage->world;
    for (unsigned i = 0; i < WORLD_CLIENTS_MAX; i++)
        if (world->clients[i].peer == 0) {
            world->clients[i].peer = world->next_peer++;
            engine_connected(world->engine, world->clients[i].peer, &world->clients[i].address);
            struct message request = {.type = MESSAGE_OPEN_REQUEST};
            request.open_request.inbound = amount_of(ROOM_3);
            if (i == 3 && world->clients[i].channel == NULL)
                world_message(world, i, &request);
        }
}

static void turn(struct stage *stage)
{
    struct world *world = &stage->world;
    uint64_t sequence = engine_flush(world->engine);
    if (point(stage))
        return;
    memory_journal_sync(world->journal, sequence);
    engine_durable(world->engine, sequence);
    if (point(stage))
        return;
    leave(stage);
    engine_check(world->engine);
    if (stage->pool_count > 0)
        (void)mine(stage);
}

static bool is_quiet(const struct stage *stage)
{
    const struct engine *engine = stage->world.engine;
    if (engine->settle_phase != SETTLE_IDLE || engine->settle_in_flight || stage->pool_count > 0 ||
        engine->wish_count > 0 || engine->settle_again)
        return false;
    for (struct hub_channel *at = engine->channels; at != NULL; at = at->next)
        if (!amount_is_zero(at->payout_wanted) || channel_settlement(at->channel)->phase != SETTLEMENT_NONE)
            return false;
    return stage->world.clients[3].channel != NULL;
}

static void ask_payout(struct world *world, unsigned client, uint64_t amount)
{
    struct message request = {.type = MESSAGE_SETTLE_REQUEST};
    request.settle_request.channel = world->clients[client].channel->id;
    request.settle_request.amount = amount_of(amount);
    world_message(world, client, &request);
}

/* Four clients before the round: one has paid another, two will ask for money, one has no channel yet. */
static void begin(struct stage *stage, const struct death *death)
{
    struct world *world = &stage->world;
    memset(stage, 0, sizeof(*stage));
    world_open(world);
    engine_block_gas(world->engine, BLOCK_GAS);
    world_fund(world, 0, 10000, 0);
    world_fund(world, 1, 0, 5000);
    world_fund(world, 2, 1000, 1000);
    for (unsigned i = 0; i < 3; i++)
        world_connect(world, i);
    world_pay(world, 0, 1, PAID, 1, false);
    world_settle_down(world);
    world_reveal(world, 1, 1, &world->clients[1].received[0]);
    world_settle_down(world);
    struct contract_event withdrawn = {
        .type = EVENT_POOL_WITHDRAWN, .confirmed = true, .amount = {100000 - 6000 - POOL}};
    engine_event(world->engine, &withdrawn);
    world_head(world, 1);
    engine_time(world->engine, 1000);
    world_settle_down(world);
    stage->pool = POOL;
    stage->channels[0] = (struct ledger_channel){10000, 10000, 0, 0};
    stage->channels[1] = (struct ledger_channel){5000, 0, 0, 0};
    stage->channels[2] = (struct ledger_channel){2000, 1000, 0, 0};
    stage->death = *death;
    ask_payout(world, 0, PAYOUT_0);
    ask_payout(world, 2, PAYOUT_2);
    world_settle_down(world); /* what the hub has not got, it need not remember */
}

/* The operator's interval, links that come again, blocks, until all has been done. */
static void live(struct stage *stage)
{
    struct world *world = &stage->world;
    for (unsigned i = 0; i < TURNS_MAX; i++) {
        clients_come(stage);
        engine_time(world->engine, (world->engine->now_ms == 0 ? 1000 : world->engine->now_ms) + 200);
        if (i % 10 == 0)
            engine_settle(world->engine);
        turn(stage);
        if (i > 20 && is_quiet(stage))
            return;
    }
    fail_msg("the round never ends (death at point %u)", stage->death.at);
}

static void check_end(const struct stage *stage)
{
    const struct world *world = &stage->world;
    uint64_t all = stage->pool;
    assert_int_equal(stage->channels[0].paid_out, PAYOUT_0);
    assert_int_equal(stage->channels[1].paid_out, 0);
    assert_int_equal(stage->channels[2].paid_out, PAYOUT_2);
    assert_int_equal(stage->channels[3].paid_out, 0);
    assert_int_equal(stage->channels[3].total, ROOM_3); /* once */
    for (unsigned i = 0; i < WORLD_CLIENTS_MAX; i++) {
        const struct hub_channel *own = engine_channel(world->engine, &world->clients[i].channel->id);
        all += stage->channels[i].total + stage->channels[i].paid_out;
        assert_int_equal(own->channel->funds.total.units, stage->channels[i].total);
        assert_true(own->channel->funds.base == stage->channels[i].base);
        assert_int_equal(own->channel->funds.seq, stage->channels[i].seq);
    }
    assert_int_equal(all, 10000 + 5000 + 2000 + POOL);
    assert_int_equal(settle_pool_units(&world->engine->pools[0]).units, stage->pool);
    /* Room again for who had been paid: at least half of what it was once given. */
    const struct hub_channel *payee = engine_channel(world->engine, &world->clients[1].channel->id);
    assert_true(channel_available(payee->channel, SIDE_HUB) >= 2500);
}

static unsigned run(const struct death *death, unsigned *calls)
{
    static struct stage stage;
    begin(&stage, death);
    live(&stage);
    check_end(&stage);
    assert_int_equal(stage.deaths, death->at == UINT_MAX ? 0 : 1);
    if (calls != NULL)
        *calls = (unsigned)stage.world.calls;
    world_close(&stage.world);
    return stage.points;
}

static void test_a_death_at_every_point(void **state)
{
    (void)state;
    unsigned calls;
    unsigned points = run(&(struct death){.at = UINT_MAX}, &calls);
    assert_true(calls >= 2); /* one round, several calls */
    assert_true(points > 20);
    for (unsigned at = 0; at < points; at++)
        for (unsigned way = 0; way < 4; way++)
            run(&(struct death){.at = at, .keeps = (way & 1) != 0, .loses = (way & 2) != 0}, NULL);
}

int main(void)
{
    log_setup("test", LOG_ERROR, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_death_at_every_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
