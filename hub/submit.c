/* The settleBatch calls of a round, and their fate (protocol.md, section 8).
 *
 * A round is on its way from settle_submit until every call has its outcome and the own confirmed view has the
 * newest block of them, and the journal says so. A call that fails takes nobody with it: what it held is signed still, and
 * joins the next round. If the hub restarts meanwhile it does not know which of the calls ever left, or will land
 * yet (engine->settle_hidden). Transactions of one account land in the order of their nonces, and a node that has lost
 * the old ones gives their nonces again: as many new calls as there were old ones, mined, have either come after them or
 * taken their places. An empty transaction that the ledger client puts in an old one's place (ledger/send_gap.c) changes
 * nothing in that: it is before the new ones, too.
 */
#include "base/ensure.h"
#include "base/log.h"
#include "hub/batch.h"

#define RETRY_MS          1000
#define RETRY_DOUBLES_MAX 6 /* 64 s */

/* The first call has the root of all proofs since the last batch; none has come between it and the others. */
static void send_calls(struct engine *engine, const struct batch_round *round)
{
    size_t items = 0, funds = 0, count = round->count, hidden = engine->settle_hidden;
    if (count < hidden) /* with empty ones */
        count = hidden < SETTLE_CALLS_MAX ? hidden : SETTLE_CALLS_MAX;
    engine->root_taken = true;
    engine->root_value = journal_root_value(&engine->root);
    engine->root_since = (struct journal_root){0};
    engine->settle_in_flight = (uint8_t)(count + hidden < UINT8_MAX ? count + hidden : UINT8_MAX);
    engine->root_dirty = true;
    for (size_t i = 0; i < count; i++) {
        struct contract_call call = {.function = CONTRACT_SETTLE_BATCH};
        if (i < round->count) {
            call.items = round->calls[i].items;
            call.item_count = round->calls[i].item_count;
            call.funds = round->calls[i].funds;
            call.fund_count = round->calls[i].fund_count;
        }
        if (i == 0)
            call.hash = engine->root_value;
        engine_emit_call(engine, ENGINE_CALL_SETTLE, i, &call);
        items += call.item_count;
        funds += call.fund_count;
    }
    engine->settle_calls = engine->settle_calls_open = count;
    engine->settle_error = LEDGER_OK;
    engine->settle_block = 0;
    log_info("settling: %zu items, %zu funds in %zu call%s", items, funds, count, count > 1 ? "s" : "");
}

/* Shards take turns from here on, until the batch is in the own view: two that spend one pool at a time would see
 * their funds skipped. */
static bool has_turn(struct engine *engine)
{
    if (engine->settings.shards == 1 || engine->settle_turn)
        return true;
    if (!engine->settle_turn_asked)
        engine->effects.settle_turn(engine->effects.context, true);
    engine->settle_turn_asked = true;
    return false;
}

static void turn_over(struct engine *engine)
{
    if (!engine->settle_turn)
        return;
    engine->settle_turn = false;
    engine->effects.settle_turn(engine->effects.context, false);
}

static void idle(struct engine *engine)
{
    engine->settle_phase = SETTLE_IDLE;
    turn_over(engine);
    if (engine->settle_again)
        settle_soon(engine, 0);
}

void engine_settle_turn(struct engine *engine)
{
    ensure(engine->settings.shards > 1 && !engine->settle_turn && engine->settle_phase == SETTLE_QUEUED);
    engine->settle_turn = true;
    engine->settle_turn_asked = false;
    settle_submit(engine);
}

void settle_submit(struct engine *engine)
{
    engine->settle_phase = SETTLE_QUEUED;
    if (!has_turn(engine))
        return;
    struct batch_round round;
    batch_gather(engine, &round);
    engine->settle_again = engine->settle_again || round.is_full;
    engine->settle_round++; /* whoever signs from now on is late */
    if (round.count > 0 || engine->settle_hidden > 0) {
        engine->settle_phase = SETTLE_SUBMITTED;
        send_calls(engine, &round);
    } else {
        idle(engine);
    }
    batch_free(&round);
}

/* ---- its fate ---- */

/* The own view has all of it that will ever be. */
static void over(struct engine *engine)
{
    engine->settle_took_ms =
        engine->now_ms > engine->settle_begun_ms ? engine->now_ms - engine->settle_begun_ms : 0;
    engine->settle_in_flight = engine->settle_hidden;
    engine->root_dirty = true;
    idle(engine);
}

static void call_settled(struct engine *engine, const struct ledger_receipt *receipt)
{
    engine_receipt(engine, receipt);
    if (receipt->block > engine->settle_block)
        engine->settle_block = receipt->block;
    if (engine->settle_hidden > 0) {
        engine->settle_again = true; /* what had to wait until now */
        engine->settle_hidden--;
    }
}

static void call_failed(struct engine *engine, size_t index, enum ledger_error error)
{
    engine->settle_error = error;
    engine->settle_too_large =
        engine->settle_too_large || error == LEDGER_REFUSED || error == LEDGER_REVERTED;
    if (index == 0 && engine->settle_hidden == 0) {
        engine->root_taken = false;
        engine->root_dirty = true;
    }
}

static void say_failure(struct engine *engine)
{
    unsigned doubles =
        engine->settle_failures < RETRY_DOUBLES_MAX ? engine->settle_failures : RETRY_DOUBLES_MAX;
    uint64_t pause = (uint64_t)RETRY_MS << doubles;
    engine->settle_failures++;
    log_warn("the batch was not settled: %s; trying again in %llu s", ledger_error_text(engine->settle_error),
             (unsigned long long)pause / 1000);
    settle_soon(engine, pause);
}

/* A node that takes no call of this size, or whose estimate runs out of gas, may take a smaller one. One such call of a
 * round is enough: what it held comes again as it was. */
static void resize(struct engine *engine)
{
    if (!engine->settle_too_large)
        engine->settle_halvings -= engine->settle_halvings > 0;
    else if (engine->settle_halvings < BATCH_HALVINGS_MAX)
        engine->settle_halvings++;
    engine->settle_too_large = false;
}

/* Every call of the round has its outcome. */
static void round_done(struct engine *engine)
{
    bool any_mined = engine->settle_block > 0;
    resize(engine);
    if (engine->settle_error == LEDGER_OK)
        engine->settle_failures = 0;
    else
        say_failure(engine);
    if (any_mined && engine->settle_block > engine->head.confirmed_number) {
        /* The next plan must not be made on a view that does not know of this one. */
        engine->settle_phase = SETTLE_FOLLOWING;
    } else if (any_mined) {
        over(engine);
    } else {
        engine->settle_in_flight = engine->settle_hidden; /* what a crash hid is as unknown as before */
        engine->root_dirty = true;
        engine->settle_phase = SETTLE_IDLE;
        turn_over(engine);
    }
}

static void settle_call_done(struct engine *engine, uint64_t reference, enum ledger_error error,
                             const struct ledger_receipt *receipt)
{
    if (engine->settle_phase != SETTLE_SUBMITTED || reference >= engine->settle_calls)
        return;
    ensure(engine->settle_calls_open > 0);
    if (error == LEDGER_OK && receipt != NULL)
        call_settled(engine, receipt);
    else
        call_failed(engine, (size_t)reference, error);
    if (--engine->settle_calls_open == 0)
        round_done(engine);
}

void engine_call_done(struct engine *engine, enum engine_call call, uint64_t reference,
                      enum ledger_error error, const struct ledger_receipt *receipt)
{
    if (call == ENGINE_CALL_SETTLE) {
        settle_call_done(engine, reference, error, receipt);
        return;
    }
    if (call == ENGINE_CALL_UNLOCK) {
        remains_call_done(engine, reference, error, receipt);
        return;
    }
    if (error == LEDGER_OK && (receipt == NULL || receipt->success))
        return;
    /* A challenge that another was faster with, or that a reorganisation brought before the close that it answers:
     * the ledger's state counts. */
    log_info("transaction not needed or refused: %s",
             ledger_error_text(error == LEDGER_OK ? LEDGER_REVERTED : error));
    if (call == ENGINE_CALL_REGISTER)
        outcome_register_failed(engine);
    else if (call == ENGINE_CALL_SET_TOWER)
        appoint_set_tower_failed(engine, reference);
    else
        dispute_call_failed(engine, call, reference);
}

/* Settlements whose deadline has passed on the ledger without them: dead, and said so. */
static void expire(struct engine *engine)
{
    if (engine->head.confirmed_time < engine->settle_expire_time)
        return;
    engine->settle_expire_time = engine->head.confirmed_time + 1;
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next) {
        uint32_t seq = channel_settlement(channel->channel)->seq;
        if (channel_settlement(channel->channel)->phase == SETTLEMENT_NONE ||
            !channel_settle_expire(channel->channel, engine->head.confirmed_time))
            continue;
        settle_say(engine, channel, seq, SETTLED_DEAD, NULL);
        engine_touch(engine, channel);
    }
}

void settle_head(struct engine *engine)
{
    if (engine->settle_phase == SETTLE_FOLLOWING && engine->head.confirmed_number >= engine->settle_block)
        over(engine);
    else if (engine->settle_phase == SETTLE_IDLE && engine->settle_again && engine->head_known)
        settle_soon(engine, 0);
    expire(engine);
}

/* What a crash interrupted goes on with the first batch. */
void settle_recovered(struct engine *engine)
{
    engine->settle_hidden = engine->settle_in_flight;
    engine->settle_again = engine->settle_hidden > 0;
    for (struct hub_channel *channel = engine->channels; channel != NULL; channel = channel->next) {
        if (channel_settlement(channel->channel)->phase == SETTLEMENT_SIGNED ||
            !amount_is_zero(channel->inbound_wanted))
            engine->settle_again = true;
    }
}
