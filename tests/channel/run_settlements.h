/* The settlements and the ledger of a run; only test_property.c includes this. */
#ifndef RILL_TESTS_CHANNEL_RUN_SETTLEMENTS_H
#define RILL_TESTS_CHANNEL_RUN_SETTLEMENTS_H

#include "tests/channel/run.h"

static struct run *run;
static void retry_held(enum side to); /* a view has moved: what waited for it is judged again */

/* ---- settlements ---- */

static void settlement_clear(struct ref_side *ref)
{
    memset(&ref->settlement, 0, sizeof(ref->settlement));
}

static bool is_at_rest(const struct ref_side *ref)
{
    static struct ref_state state;
    for (int side = 0; side < 2; side++) {
        ref_replay(&ref->streams[side], NULL, 0, &state);
        for (uint64_t nonce = ref->streams[side].revoked + 1; nonce <= ref->streams[side].count; nonce++)
            if (state.drops[nonce])
                return false;
        if (state.lock_count > 0)
            return false;
    }
    return ref->draft_count == 0 && ref->acknowledged == ref->streams[ref->self].count;
}

static wide plain_balance(const struct ref_side *ref, enum side side)
{
    static struct ref_state client, hub;
    ref_replay(&ref->streams[SIDE_CLIENT], NULL, 0, &client);
    ref_replay(&ref->streams[SIDE_HUB], NULL, 0, &hub);
    return ref_balance(&ref->funds, side, client.transferred, hub.transferred);
}

static bool has(const struct ref_side *ref, enum side side, struct amount out)
{
    return out.units == 0 || ref_available(ref, side) >= out.units;
}

static enum code expected_proposal(const struct ref_side *hub, const struct settlement *proposal)
{
    if (hub->funds.stage != STAGE_OPEN)
        return CODE_STATUS;
    if (hub->settlement.phase != SETTLEMENT_NONE || (proposal->close && !is_at_rest(hub)))
        return CODE_SETTLE;
    if (proposal->close)
        return plain_balance(hub, SIDE_CLIENT) == proposal->client_out.units &&
                       plain_balance(hub, SIDE_HUB) == proposal->hub_out.units
                   ? CODE_OK
                   : CODE_AVAILABLE;
    return has(hub, SIDE_CLIENT, proposal->client_out) && has(hub, SIDE_HUB, proposal->hub_out)
               ? CODE_OK
               : CODE_AVAILABLE;
}

/* A proposal or its answer is on its way: a refusal names only its seq, so the hub makes no other meanwhile. */
static bool is_unanswered(void)
{
    for (int side = 0; side < 2; side++)
        for (size_t at = run->queues[side].head; at < run->queues[side].tail; at++) {
            enum run_message_type type = run->queues[side].messages[at].type;
            if (type == RUN_PROPOSE || type == RUN_SHOWN_PROPOSED || type == RUN_SIGN || type == RUN_REFUSE)
                return true;
        }
    return false;
}

/* The ledger has a Fund that the hub has not seen yet. */
static bool is_fund_under_way(void)
{
    const struct channel_funds *ledger = run_ledger_funds(run), *seen = &run->refs[SIDE_HUB].funds;
    return (wide)ledger->total.units - ledger->base != (wide)seen->total.units - seen->base;
}

static void act_propose(void)
{
    if (is_unanswered())
        return;
    struct ref_side *hub = &run->refs[SIDE_HUB];
    struct settlement proposal = {.phase = SETTLEMENT_PROPOSED,
                                  .close = run_chance(run, 12) && !is_fund_under_way(),
                                  .seq = hub->funds.seq + 1,
                                  .client_out = amount_of(run_random(run, 300)),
                                  .hub_out = amount_of(run_random(run, 300)),
                                  .deadline = hub->now + 1 + run_random(run, 150)};
    if (proposal.close && plain_balance(hub, SIDE_CLIENT) >= 0 && plain_balance(hub, SIDE_HUB) >= 0) {
        proposal.client_out = amount_of((uint64_t)plain_balance(hub, SIDE_CLIENT) + run_chance(run, 10));
        proposal.hub_out = amount_of((uint64_t)plain_balance(hub, SIDE_HUB));
    }
    enum code expected = expected_proposal(hub, &proposal);
    expect_code(run,
                channel_propose(run->machines[SIDE_HUB], proposal.client_out, proposal.hub_out,
                                proposal.deadline, proposal.close),
                expected);
    if (expected != CODE_OK)
        return;
    hub->settlement = proposal;
    run_send(run, SIDE_CLIENT, RUN_PROPOSE)->settlement = proposal;
}

static bool is_signable(const struct ref_side *client, const struct settlement *proposal,
                        struct amount wanted, bool wants_close)
{
    if (client->funds.stage != STAGE_OPEN || client->settlement.phase != SETTLEMENT_NONE ||
        proposal->seq != client->funds.seq + 1 || proposal->deadline <= client->now ||
        proposal->deadline > client->now + PAIR_WINDOW_S)
        return false;
    if (!proposal->close)
        return proposal->client_out.units == wanted.units && has(client, SIDE_CLIENT, proposal->client_out) &&
               has(client, SIDE_HUB, proposal->hub_out);
    return wants_close && is_at_rest(client) &&
           plain_balance(client, SIDE_CLIENT) == proposal->client_out.units &&
           plain_balance(client, SIDE_HUB) >= proposal->hub_out.units;
}

static void take_proposal(const struct settlement *proposal)
{
    struct ref_side *client = &run->refs[SIDE_CLIENT];
    struct amount wanted = run_chance(run, 90) ? proposal->client_out : amount_of(1);
    bool wants_close = run_chance(run, 90);
    struct settlement same = *proposal;
    same.phase = SETTLEMENT_SIGNED;
    same.said_dead = client->settlement.said_dead;
    bool again = run_same_settlement(&client->settlement, &same);
    bool good = again || is_signable(client, proposal, wanted, wants_close);
    struct channel_view view = run_view(run, SIDE_CLIENT);
    struct signature signature;
    expect_code(run,
                channel_settle_sign(run->machines[SIDE_CLIENT], &view, proposal, wanted, wants_close,
                                    PAIR_WINDOW_S, &run->keys[SIDE_CLIENT], &signature),
                good ? CODE_OK : CODE_SETTLE);
    struct run_message *answer = run_send(run, SIDE_HUB, good ? RUN_SIGN : RUN_REFUSE);
    answer->settlement = *proposal;
    if (!good)
        return;
    answer->signature = signature;
    if (!again) {
        client->settlement = same;
        client->settlement.signature = signature;
        client->settlement.said_dead = false;
    }
}

static void take_signature(const struct run_message *message)
{
    struct ref_side *hub = &run->refs[SIDE_HUB];
    struct settlement asked = message->settlement, *settlement = &hub->settlement;
    asked.phase = settlement->phase; /* the signature is good for the fields that were proposed */
    bool good = settlement->phase != SETTLEMENT_NONE && run_same_settlement(settlement, &asked);
    if (good && settlement->phase == SETTLEMENT_PROPOSED)
        good = settlement->close
                   ? is_at_rest(hub) && plain_balance(hub, SIDE_HUB) == settlement->hub_out.units &&
                         plain_balance(hub, SIDE_CLIENT) >= settlement->client_out.units
                   : has(hub, SIDE_CLIENT, settlement->client_out);
    struct channel_view view = run_view(run, SIDE_HUB);
    expect_code(
        run,
        channel_settle_signed(run->machines[SIDE_HUB], &view, message->settlement.seq, &message->signature),
        good ? CODE_OK : CODE_SETTLE);
    if (good) {
        settlement->phase = SETTLEMENT_SIGNED;
        settlement->signature = message->signature;
    }
}

static void take_refusal(const struct run_message *message)
{
    struct ref_side *hub = &run->refs[SIDE_HUB];
    if (hub->settlement.phase == SETTLEMENT_NONE || hub->settlement.seq != message->settlement.seq)
        return;
    channel_settle_refused(run->machines[SIDE_HUB]);
    if (hub->settlement.phase == SETTLEMENT_PROPOSED)
        settlement_clear(hub);
}

static void follow_told(struct channel_funds told)
{
    struct ref_side *client = &run->refs[SIDE_CLIENT];
    channel_set_told(run->machines[SIDE_CLIENT], &told);
    client->told = told;
    if (client->settlement.phase != SETTLEMENT_NONE && client->funds.seq >= client->settlement.seq &&
        told.seq >= client->settlement.seq)
        settlement_clear(client);
    retry_held(SIDE_CLIENT);
}

static void say_dead(void)
{
    struct ref_side *client = &run->refs[SIDE_CLIENT];
    if (client->settlement.phase != SETTLEMENT_SIGNED)
        return;
    expect(run, channel_settle_said_dead(run->machines[SIDE_CLIENT]) == !client->settlement.said_dead);
    client->settlement.said_dead = true;
    retry_held(SIDE_CLIENT);
}

static void expire_settlement(enum side side)
{
    struct ref_side *ref = &run->refs[side];
    const struct settlement *settlement = &ref->settlement;
    bool over = settlement->phase != SETTLEMENT_NONE && ref->now > settlement->deadline &&
                ref->funds.seq < settlement->seq && (side == SIDE_HUB || settlement->said_dead);
    expect(run, channel_settle_expire(run->machines[side], ref->now) == over);
    if (!over)
        return;
    run->dead++;
    if (side == SIDE_HUB)
        *run_send(run, SIDE_CLIENT, RUN_SETTLED) =
            (struct run_message){.type = RUN_SETTLED, .nonce = 6, .settlement = *settlement};
    settlement_clear(ref);
}

/* CHANNEL shows an unsigned one: another than the one signed here means that that one is dead. */
static void take_shown_proposal(const struct settlement *proposal)
{
    struct settlement same = run->refs[SIDE_CLIENT].settlement;
    same.phase = proposal->phase;
    if (!run_same_settlement(&same, proposal)) {
        say_dead();
        expire_settlement(SIDE_CLIENT);
    }
    take_proposal(proposal);
}

static void take_settled(const struct run_message *message)
{
    if (message->nonce == 6) {
        if (run->refs[SIDE_CLIENT].settlement.seq == message->settlement.seq)
            say_dead();
        expire_settlement(SIDE_CLIENT);
    } else {
        follow_told(message->funds);
    }
}

/* CHANNEL shows a signature of ours that we have lost: it binds all the same. */
static void adopt(const struct settlement *shown)
{
    struct ref_side *client = &run->refs[SIDE_CLIENT];
    if (client->settlement.phase != SETTLEMENT_NONE || client->funds.stage == STAGE_CLOSED ||
        shown->seq != client->told.seq + 1)
        return;
    client->settlement = *shown;
    channel_settle_adopt(run->machines[SIDE_CLIENT], shown);
}

/* ---- the ledger ---- */

static void act_deposit(void)
{
    struct channel_funds funds = *run_ledger_funds(run);
    if (funds.stage != STAGE_OPEN || run->ledger.version_count + 8 > REF_VERSIONS_MAX)
        return;
    uint64_t amount = 1 + run_random(run, 400);
    bool by_hub = run_chance(run, 50);
    if (by_hub && run->refs[SIDE_HUB].settlement.close)
        return; /* no Fund while a close is under way */
    funds.total.units += amount;
    funds.base += by_hub ? 0 : (int64_t)amount;
    run_ledger_append(run, funds);
}

/* The batch gets through, if its item is still good. */
static void act_settle(void)
{
    const struct settlement *settlement = &run->refs[SIDE_HUB].settlement;
    struct channel_funds funds = *run_ledger_funds(run);
    if (settlement->phase != SETTLEMENT_SIGNED || settlement->seq != funds.seq + 1 ||
        run->ledger.now > settlement->deadline || run->ledger.version_count + 8 > REF_VERSIONS_MAX)
        return;
    uint64_t outs = settlement->client_out.units + settlement->hub_out.units;
    expect(run, outs <= funds.total.units);
    funds.seq++;
    funds.total.units -= outs;
    funds.base -= (int64_t)settlement->client_out.units;
    if (settlement->close)
        funds = (struct channel_funds){.seq = funds.seq, .stage = STAGE_CLOSED};
    run_ledger_append(run, funds);
    run->settled++;
}

static void act_register(void)
{
    if (run->number_count == 0)
        return;
    uint32_t number = (uint32_t)run_random(run, run->number_count);
    if (run->ledger.registered[number] == 0)
        run->ledger.registered[number] = run->ledger.now;
}

/* A node comes to show the ledger as it was at a later time. */
static void node_follows(enum side side, uint64_t now)
{
    struct ref_side *ref = &run->refs[side];
    ref->now = now;
    for (size_t i = 0; i < run->ledger.version_count; i++) {
        if (run->ledger.versions[i].time > now || run->ledger.versions[i].funds.seq < ref->funds.seq)
            continue;
        struct channel_funds funds = run->ledger.versions[i].funds;
        bool settled = ref->settlement.phase == SETTLEMENT_SIGNED && ref->funds.seq < ref->settlement.seq &&
                       funds.seq >= ref->settlement.seq;
        expect(run, channel_set_funds(run->machines[side], &funds) == settled);
        ref->funds = funds;
        if (side == SIDE_HUB)
            ref->told = funds;
        if (ref->settlement.phase != SETTLEMENT_NONE &&
            (funds.stage == STAGE_CLOSED ||
             (funds.seq >= ref->settlement.seq && ref->told.seq >= ref->settlement.seq)))
            settlement_clear(ref);
    }
    if (side == SIDE_HUB)
        run_send(run, SIDE_CLIENT, RUN_FUNDED)->funds = ref->funds;
    expire_settlement(side);
    retry_held(side);
}

/* Nodes lag by less than the margin. */
static void act_time(void)
{
    run->ledger.now += run_random(run, 25);
    for (int side = 0; side < 2; side++) {
        uint64_t lag = run_random(run, PAIR_MARGIN_S);
        uint64_t now = run->ledger.now - lag;
        if (now > run->refs[side].now)
            node_follows((enum side)side, now);
    }
}

#endif
