/* Long random runs of both sides of a channel against the slow model of reference.h: drafts, updates that
 * cross on the way, lost messages and resending, updates held for a node that lags, forged updates, failures,
 * expiries, revocations, deposits, settlements that are settled, refused, dead or a close, restarts from the
 * journal, a lost disk. After each step both machines must equal their models, and nothing is made or lost.
 *
 * RILL_SEED: the first run's seed; RILL_RUNS and RILL_STEPS: how many, how long.
 */
#include "tests/channel/run_settlements.h"

static struct pending_lock touched[OPERATIONS_MAX];

static enum side any_side(void)
{
    return run_chance(run, 50) ? SIDE_CLIENT : SIDE_HUB;
}

/* ---- operations ---- */

static struct operation random_lock(void)
{
    uint32_t number = run->number_count++;
    ensure(number < REF_NUMBERS_MAX);
    run->conditions[number] = condition_number(number);
    return op_lock(0, run_random(run, 90), run_random(run, 3), run->ledger.now - 20 + run_random(run, 200),
                   number);
}

static enum operation_type random_removal_type(bool expired)
{
    unsigned kind = (unsigned)run_random(run, 5);
    if (kind < 2)
        return expired ? OPERATION_EXPIRE : OPERATION_UNLOCK;
    return kind == 2 ? OPERATION_EXPIRE : kind == 3 ? OPERATION_CANCEL : OPERATION_UNLOCK;
}

static struct operation random_removal(const struct ref_state *state, uint64_t now)
{
    struct operation operation = op_drop(OPERATION_UNLOCK, run_random(run, 20));
    uint32_t number = 0;
    bool expired = false;
    if (state->lock_count > 0 && run_chance(run, 92)) {
        size_t at = run_random(run, state->lock_count);
        operation.lock_id = state->locks[at].id;
        number = state->numbers[at];
        expired = state->locks[at].expiry < now;
    }
    operation.type = random_removal_type(expired);
    if (operation.type == OPERATION_UNLOCK && run_chance(run, 70))
        operation.witness = secret_number(run_chance(run, 85) ? number : number + 1);
    return operation;
}

/* Small amounts, and now and then all that there is, or one more. */
static uint64_t random_amount(const struct ref_side *ref)
{
    if (!run_chance(run, 15))
        return run_random(run, 70);
    wide available = ref_available(ref, ref->self);
    return available < 0 ? 1 : (uint64_t)available + run_chance(run, 30);
}

static struct operation random_operation(const struct ref_state *state, const struct ref_side *ref)
{
    unsigned kind = (unsigned)run_random(run, 10);
    if (kind < 3)
        return op_pay(random_amount(ref), run_chance(run, 30));
    if (kind == 3)
        return op_refund(random_amount(ref));
    if (kind < 6 && run->number_count < REF_NUMBERS_MAX && state->lock_count < 40)
        return random_lock();
    return random_removal(state, ref->now);
}

/* ---- sending ---- */

static void act_add(enum side side)
{
    static struct ref_state state;
    struct ref_side *ref = &run->refs[side];
    struct channel *machine = run->machines[side];
    if (ref->draft_count == REF_OPERATIONS_MAX)
        return;
    ref_replay(&ref->streams[side], ref->draft, ref->draft_count, &state);
    struct operation operation = random_operation(&state, ref);
    uint64_t lock_id = operation.lock_id;
    enum code expected =
        ref->funds.stage == STAGE_OPEN ? ref_add(&run->ledger, ref, &operation, &lock_id) : CODE_STATUS;
    struct channel_view view = run_view(run, side);
    expect_code(run, channel_add(machine, &view, &operation, &touched[0]), expected);
    if (expected != CODE_OK)
        return;
    if (operation.type != OPERATION_PAY && operation.type != OPERATION_REFUND)
        expect(run, touched[0].lock.id == lock_id);
    operation.lock_id = lock_id;
    ref->draft[ref->draft_count++] = operation;
}

static void act_seal(enum side side)
{
    static struct ref_state state;
    struct ref_side *ref = &run->refs[side];
    struct ref_stream *own = &ref->streams[side];
    struct channel *machine = run->machines[side];
    bool can = ref->draft_count > 0 && ref->funds.stage == STAGE_OPEN &&
               own->count - ref->acknowledged < UNACKNOWLEDGED_MAX;
    expect(run, channel_can_seal(machine) == can);
    if (!can || own->count == REF_UPDATES_MAX)
        return;
    struct ref_update *update = &own->updates[own->count];
    memset(update, 0, sizeof(*update));
    memcpy(update->operations, ref->draft, ref->draft_count * sizeof(ref->draft[0]));
    update->count = ref->draft_count;
    store_be64(update->body, own->count + 1);
    update->body[8] = (uint8_t)side;
    const struct kept_update *kept =
        channel_seal(machine, &run->domain, &run->keys[side], update->body, sizeof(update->body));
    update->proof = kept->proof;
    update->signature = kept->signature;
    own->count++;
    ref->draft_count = 0;
    ref_replay(own, NULL, 0, &state);
    struct hash root = ref_root(&state), body = keccak256(update->body, sizeof(update->body));
    expect(run,
           kept->proof.transferred.units == state.transferred && kept->proof.locked.units == state.locked);
    expect(run, hash_equal(&kept->proof.locks_root, &root) && hash_equal(&kept->proof.body_hash, &body));
    run_send(run, side_other(side), RUN_UPDATE)->update = *update;
}

/* ---- receiving ---- */

static struct judgement receive(enum side to, const struct ref_update *update)
{
    struct channel_view view = run_view(run, to);
    struct update wire = {run->machines[to]->id, update->proof, update->signature, update->body,
                          sizeof(update->body)};
    return channel_receive(run->machines[to], &view, &wire, update->operations, update->count, true, touched);
}

static void accepted(enum side to, const struct ref_update *update)
{
    struct ref_stream *stream = &run->refs[to].streams[side_other(to)];
    for (size_t i = 0; i < update->count; i++)
        if (update->operations[i].type != OPERATION_PAY && update->operations[i].type != OPERATION_REFUND)
            expect(run, touched[i].lock.id == update->operations[i].lock_id);
    stream->updates[stream->count++] = *update;
    run->accepted++;
}

/* An honest sender's update: accepted, known already, or held for a node that lags. False: held. */
static bool take_update(enum side to, const struct ref_update *update)
{
    struct ref_side *ref = &run->refs[to];
    const struct ref_stream *stream = &ref->streams[side_other(to)];
    bool again = ref->funds.stage == STAGE_OPEN && update->proof.nonce == stream->count;
    struct judgement expected =
        again ? (struct judgement){.verdict = VERDICT_AGAIN}
              : ref_judge(&run->ledger, ref, &update->proof, update->operations, update->count);
    struct judgement judgement = receive(to, update);
    expect(run, judgement.verdict == expected.verdict);
    if (judgement.verdict == VERDICT_HELD) {
        run->holds++;
        return false;
    }
    if (judgement.verdict == VERDICT_REFUSED) {
        expect_code(run, judgement.code, expected.code);
        expect(run, judgement.code == CODE_STATUS); /* no other rule is broken by an honest peer */
        return true;
    }
    if (judgement.verdict == VERDICT_ACCEPTED)
        accepted(to, update);
    else
        run->again++;
    run_send(run, side_other(to), RUN_ACK)->nonce = stream->count;
    return true;
}

static void retry_held(enum side to)
{
    while (run->held[to].count > 0 && take_update(to, &run->held[to].updates[0])) {
        run->held[to].count--;
        memmove(&run->held[to].updates[0], &run->held[to].updates[1],
                run->held[to].count * sizeof(run->held[to].updates[0]));
    }
}

/* A forged update, signed by the right key: whatever the model refuses is refused with the same code. */
static void forge_operations(enum side to, struct ref_update *update)
{
    static struct ref_state state;
    const struct ref_side *ref = &run->refs[to];
    const struct ref_stream *stream = &ref->streams[side_other(to)];
    ref_replay(stream, NULL, 0, &state);
    update->proof.nonce = stream->count + 1;
    update->count = 1 + run_random(run, 4);
    bool broken = false, held = false;
    for (size_t i = 0; i < update->count; i++) {
        update->operations[i] = random_operation(&state, &run->refs[side_other(to)]);
        if (update->operations[i].type == OPERATION_LOCK)
            update->operations[i].lock_id = state.last_id + run_random(run, 3);
        enum code code =
            ref_rule(&run->ledger, ref, &state, stream->failed, &update->operations[i], true, &held);
        broken = broken || code == CODE_NO_LOCK || code == CODE_LOCK_ID;
        if (!broken)
            ref_apply(&state, &update->operations[i], update->proof.nonce);
    }
    update->proof.transferred = amount_of(state.transferred);
    update->proof.locked = amount_of(state.locked);
    update->proof.locks_root = ref_root(&state);
    store_be64(update->body, run_random(run, UINT64_MAX));
    update->proof.body_hash = keccak256(update->body, sizeof(update->body));
}

static void act_forge(enum side to)
{
    struct ref_update update = {0};
    forge_operations(to, &update);
    switch (run_random(run, 8)) {
    case 0:
        update.proof.nonce += run_random(run, 3) - 1;
        break;
    case 1:
        update.proof.transferred.units += run_random(run, 3) - 1;
        break;
    case 2:
        update.proof.locked.units += run_random(run, 3) - 1;
        break;
    case 3:
        update.proof.locks_root.bytes[run_random(run, 32)] ^= 1;
        break;
    default:
        break;
    }
    struct hash digest = digest_balance_proof(&run->domain, &run->machines[to]->id, &update.proof);
    bool wrong_key = run_chance(run, 10);
    update.signature = key_sign(&run->keys[wrong_key ? to : side_other(to)], &digest);
    struct judgement expected =
        ref_judge(&run->ledger, &run->refs[to], &update.proof, update.operations, update.count);
    if (wrong_key && expected.code != CODE_STATUS && expected.code != CODE_NONCE)
        expected = (struct judgement){.verdict = VERDICT_REFUSED, .code = CODE_SIGNATURE};
    if (expected.verdict == VERDICT_ACCEPTED)
        return; /* a good one, but its sender does not know of it */
    struct buffer before = pair_snapshot(run->machines[to]);
    struct judgement judgement = receive(to, &update);
    expect(run, judgement.verdict == expected.verdict);
    if (expected.verdict == VERDICT_REFUSED) {
        expect_code(run, judgement.code, expected.code);
        expect(run, judgement.operation == expected.operation);
        run->refused++;
    }
    struct buffer after = pair_snapshot(run->machines[to]);
    assert_same_bytes(&before, &after);
}

/* ---- FAIL and REVOKE ---- */

static void act_fail(enum side side)
{
    static struct ref_state state;
    struct ref_stream *stream = &run->refs[side].streams[side_other(side)];
    ref_replay(stream, NULL, 0, &state);
    if (state.lock_count == 0)
        return;
    uint32_t number = state.numbers[run_random(run, state.lock_count)];
    struct payment_id payment = payment_number(number);
    expect(run, channel_mark_failed(run->machines[side], &payment));
    stream->failed[number] = true;
    run_send(run, side_other(side), RUN_FAIL)->number = number;
}

/* Both in what is signed and, with the draft, still there. */
static bool is_pending(const struct ref_side *ref, uint32_t number)
{
    static struct ref_state state;
    for (int drafted = 0; drafted < 2; drafted++) {
        bool there = false;
        ref_replay(&ref->streams[ref->self], ref->draft, drafted ? ref->draft_count : 0, &state);
        for (size_t i = 0; i < state.lock_count; i++)
            there = there || state.numbers[i] == number;
        if (!there)
            return false;
    }
    return true;
}

static void take_fail(enum side to, uint32_t number)
{
    struct payment_id payment = payment_number(number);
    bool pending = is_pending(&run->refs[to], number);
    expect(run, (channel_fail_received(run->machines[to], &payment) != NULL) == pending);
    if (pending)
        run->refs[to].streams[to].failed[number] = true;
}

static void act_revoke(enum side side)
{
    static struct ref_state state;
    struct ref_stream *stream = &run->refs[side].streams[side_other(side)];
    ref_replay(stream, NULL, 0, &state);
    uint64_t due = 0;
    for (uint64_t nonce = stream->revoked + 1; nonce <= stream->count; nonce++)
        due = state.drops[nonce] ? nonce : due;
    expect(run, channel_revocation_due(run->machines[side]) == due);
    if (due == 0)
        return;
    uint64_t min_nonce =
        run_chance(run, 60) ? due : stream->revoked + 1 + run_random(run, stream->count - stream->revoked);
    struct run_message *message = run_send(run, side_other(side), RUN_REVOKE);
    message->nonce = min_nonce;
    message->signature = channel_revoke(run->machines[side], &run->domain, &run->keys[side], min_nonce);
    stream->revoked = min_nonce;
}

static void take_revoke(enum side to, const struct run_message *message)
{
    static struct ref_state state;
    struct ref_stream *own = &run->refs[to].streams[to];
    ref_replay(own, NULL, 0, &state);
    struct channel_view view = run_view(run, to);
    struct amount freed;
    expect_code(
        run,
        channel_revocation_received(run->machines[to], &view, message->nonce, &message->signature, &freed),
        CODE_OK);
    uint64_t revoked = message->nonce > own->revoked ? message->nonce : own->revoked;
    expect(run, freed.units == ref_frozen(&state, own->revoked) - ref_frozen(&state, revoked));
    own->revoked = revoked;
}

/* ---- the connection ---- */

static void deliver(enum side to)
{
    if (run->queues[to].head == run->queues[to].tail) {
        run->queues[to].head = run->queues[to].tail = 0;
        return;
    }
    const struct run_message *message = &run->queues[to].messages[run->queues[to].head++];
    switch (message->type) {
    case RUN_UPDATE:
        if (run->held[to].count > 0 || !take_update(to, &message->update)) {
            expect(run, run->held[to].count < HELD_MAX);
            run->held[to].updates[run->held[to].count++] = message->update;
        }
        break;
    case RUN_ACK:
        expect_code(run, channel_acknowledged(run->machines[to], message->nonce), CODE_OK);
        if (message->nonce > run->refs[to].acknowledged)
            run->refs[to].acknowledged = message->nonce;
        break;
    case RUN_FAIL:
        take_fail(to, message->number);
        break;
    case RUN_REVOKE:
        take_revoke(to, message);
        break;
    case RUN_FUNDED:
        follow_told(message->funds);
        break;
    case RUN_PROPOSE:
        take_proposal(&message->settlement);
        break;
    case RUN_SIGN:
        take_signature(message);
        break;
    case RUN_REFUSE:
        take_refusal(message);
        break;
    case RUN_SETTLED:
        take_settled(message);
        break;
    case RUN_SHOWN_NONE:
        say_dead();
        expire_settlement(SIDE_CLIENT);
        break;
    case RUN_SHOWN_PROPOSED:
        take_shown_proposal(&message->settlement);
        break;
    case RUN_SHOWN_SIGNED:
        adopt(&message->settlement);
        break;
    }
}

static void resend(enum side from)
{
    static struct ref_state state;
    struct ref_side *ref = &run->refs[from];
    enum side to = side_other(from);
    uint64_t received = run->refs[to].streams[from].count;
    /* RESUME says what was received; now and then the newest of it is sent once more all the same. */
    if (channel_kept(run->machines[from], received) != NULL && run_chance(run, 50))
        run_send(run, to, RUN_UPDATE)->update = ref->streams[from].updates[received - 1];
    expect_code(run, channel_acknowledged(run->machines[from], received), CODE_OK);
    ref->acknowledged = received > ref->acknowledged ? received : ref->acknowledged;
    for (uint64_t nonce = received + 1; nonce <= ref->streams[from].count; nonce++)
        run_send(run, to, RUN_UPDATE)->update = ref->streams[from].updates[nonce - 1];
    const struct dropped *peer = stream_dropped(channel_peer(run->machines[from]));
    if (peer->revoked_nonce > 0) {
        struct run_message *message = run_send(run, to, RUN_REVOKE);
        message->nonce = peer->revoked_nonce;
        message->signature = peer->revocation;
    }
    ref_replay(&ref->streams[to], NULL, 0, &state);
    for (size_t i = 0; i < state.lock_count; i++)
        if (ref->streams[to].failed[state.numbers[i]])
            run_send(run, to, RUN_FAIL)->number = state.numbers[i];
}

static void reconnect(void)
{
    for (int side = 0; side < 2; side++)
        run->queues[side].head = run->queues[side].tail = run->held[side].count = 0;
    const struct ref_side *hub = &run->refs[SIDE_HUB];
    run_send(run, SIDE_CLIENT, RUN_FUNDED)->funds = hub->funds;
    static const enum run_message_type shown[] = {RUN_SHOWN_NONE, RUN_SHOWN_PROPOSED, RUN_SHOWN_SIGNED};
    run_send(run, SIDE_CLIENT, shown[hub->settlement.phase])->settlement = hub->settlement;
    resend(SIDE_CLIENT);
    resend(SIDE_HUB);
}

/* The process dies; all that it goes on from is its journal. A hub's may lag in what the client has acknowledged:
 * RESUME will say it again. */
static void act_reload(enum side side)
{
    channel_write(run->machines[side], &run->journals[side]);
    if (run->journals[side].length == 0)
        return; /* nothing has happened yet */
    struct channel *again = pair_read_back(run->journals[side].data, run->journals[side].length);
    struct channel *told = pair_read_back(run->journals[side].data, run->journals[side].length);
    expect(run, again != NULL && told != NULL);
    expect(run, side == SIDE_HUB || again->acknowledged == run->machines[side]->acknowledged);
    expect(run, channel_acknowledged(told, run->machines[side]->acknowledged) == CODE_OK);
    struct buffer here = pair_snapshot(run->machines[side]), there = pair_snapshot(told);
    assert_same_bytes(&here, &there);
    channel_free(told);
    channel_free(run->machines[side]);
    run->machines[side] = again;
    run->refs[side].acknowledged = again->acknowledged;
    run->refs[side].draft_count = 0;
    run->reloads++;
    reconnect();
}

/* The client's disk is gone; the hub has all it ever sent. What it can no longer reveal it fails. */
static void act_lose_disk(void)
{
    static struct pending_lock locks[LOCKS_PER_STREAM_MAX];
    static struct ref_state state;
    struct ref_side *client = &run->refs[SIDE_CLIENT], *hub = &run->refs[SIDE_HUB];
    struct channel *from = run->machines[SIDE_HUB];
    if (client->streams[SIDE_CLIENT].count != hub->streams[SIDE_CLIENT].count || hub->draft_count > 0 ||
        run->held[SIDE_HUB].count > 0)
        return;
    struct channel *machine = channel_new(&from->key, SIDE_CLIENT, PAIR_RESERVE_BPS);
    (void)channel_set_funds(machine, &client->funds);
    channel_set_told(machine, &hub->funds);
    struct channel_view view = run_view(run, SIDE_CLIENT);
    for (int side = 0; side < 2; side++) {
        const struct stream *shown = &from->streams[side];
        size_t count = 0;
        for (const struct pending_lock *at = NULL;
             (at = lock_set_next(shown->locks, at == NULL ? 0 : at->lock.id)) != NULL;) {
            locks[count] = *at;
            locks[count++].failed = false;
        }
        if (shown->proof.nonce > 0)
            expect_code(run,
                        channel_restore_stream(machine, &view, (enum side)side, &run->addresses[side], shown,
                                               locks, count),
                        CODE_OK);
        client->streams[side] = hub->streams[side];
        memset(client->streams[side].failed, 0, sizeof(client->streams[side].failed));
    }
    client->told = hub->funds;
    client->acknowledged = client->streams[SIDE_CLIENT].count;
    client->draft_count = 0;
    settlement_clear(client);
    ref_replay(&client->streams[SIDE_HUB], NULL, 0, &state);
    for (size_t i = 0; i < state.lock_count; i++) {
        struct payment_id payment = payment_number(state.numbers[i]);
        expect(run, channel_mark_failed(machine, &payment));
        client->streams[SIDE_HUB].failed[state.numbers[i]] = true;
    }
    channel_free(run->machines[SIDE_CLIENT]);
    run->machines[SIDE_CLIENT] = machine;
    buffer_clear(&run->journals[SIDE_CLIENT]);
    channel_write(machine, &run->journals[SIDE_CLIENT]);
    run->losses++;
    reconnect();
    if (hub->settlement.phase == SETTLEMENT_SIGNED)
        adopt(&hub->settlement); /* CHANNEL shows it before anything is sent */
}

/* A side whose node is ahead of the other's uses at once what it has come to see: new money, expired locks.
 */
static void act_hurry(enum side side)
{
    node_follows(side, run->ledger.now);
    while (run->queues[side_other(side)].head < run->queues[side_other(side)].tail)
        deliver(side_other(side));
    for (int i = 0; i < 6; i++)
        act_add(side);
    act_seal(side);
    while (run->queues[side_other(side)].head < run->queues[side_other(side)].tail)
        deliver(side_other(side));
}

static void act_checkpoint(enum side side)
{
    buffer_clear(&run->journals[side]);
    channel_write_all(run->machines[side]);
    channel_write(run->machines[side], &run->journals[side]);
}

static void act_drop_draft(enum side side)
{
    channel_drop_draft(run->machines[side]);
    run->refs[side].draft_count = 0;
}

/* ---- a run ---- */

#define ACT(percent, call)                                                                                   \
    if (dice < (percent)) {                                                                                  \
        run->action = #call;                                                                                 \
        call;                                                                                                \
        return;                                                                                              \
    }                                                                                                        \
    dice -= (percent)

static void step(void)
{
    uint64_t dice = run_random(run, 1000);
    ACT(300, act_add(any_side()));
    ACT(130, act_seal(any_side()));
    ACT(240, deliver(any_side()));
    ACT(60, act_forge(any_side()));
    ACT(30, act_fail(any_side()));
    ACT(50, act_revoke(any_side()));
    ACT(70, act_time());
    ACT(10, act_deposit());
    ACT(10, act_register());
    ACT(30, act_hurry(any_side()));
    ACT(20, act_propose());
    ACT(20, act_settle());
    ACT(8, reconnect());
    ACT(8, act_reload(any_side()));
    ACT(3, act_lose_disk());
    ACT(4, act_checkpoint(any_side()));
    ACT(4, act_drop_draft(any_side()));
}

/* Everything on the way arrives, both nodes see all, and no settlement is left: then both sides must say the
 * same. */
static void come_to_rest(void)
{
    run->action = "come to rest";
    run->ledger.now += 1000;
    for (int round = 0; round < 8; round++) {
        for (int side = 0; side < 2; side++)
            node_follows((enum side)side, run->ledger.now);
        for (int side = 0; side < 2; side++) {
            act_seal((enum side)side);
            act_revoke((enum side)side);
        }
        for (int side = 0; side < 2; side++)
            while (run->queues[side].head < run->queues[side].tail)
                deliver((enum side)side);
        run_check(run);
        if (round == 3)
            reconnect();
    }
    if (run_ledger_funds(run)->stage != STAGE_OPEN)
        return;
    const struct channel *client = run->machines[SIDE_CLIENT], *hub = run->machines[SIDE_HUB];
    for (int side = 0; side < 2; side++) {
        expect(run, run->held[side].count == 0 && run->refs[side].draft_count == 0);
        expect(run, run->refs[side].settlement.phase == SETTLEMENT_NONE);
        expect(run, client->streams[side].proof.nonce == hub->streams[side].proof.nonce);
        expect(run, signature_equal(&client->streams[side].signature, &hub->streams[side].signature));
        expect(run, channel_balance(client, (enum side)side) == channel_balance(hub, (enum side)side));
    }
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static void test_random_runs_equal_the_model(void **state)
{
    (void)state;
    uint64_t seed = from_environment("RILL_SEED", 1), runs = from_environment("RILL_RUNS", 24);
    uint64_t steps = from_environment("RILL_STEPS", 400);
    size_t accepted_sum = 0, again = 0, holds = 0, refused = 0, settled = 0, dead = 0, reloads = 0,
           losses = 0;
    run = xcalloc(1, sizeof(*run));
    for (uint64_t i = 0; i < runs; i++) {
        run_open(run, seed + i);
        for (run->step = 0; run->step < steps; run->step++) {
            step();
            run_check(run);
        }
        come_to_rest();
        accepted_sum += run->accepted, again += run->again, holds += run->holds, refused += run->refused;
        settled += run->settled, dead += run->dead, reloads += run->reloads, losses += run->losses;
        run_close(run);
    }
    free(run);
    print_message("%zu accepted, %zu again, %zu held, %zu refused, %zu settled, %zu dead, %zu reloads, %zu "
                  "lost disks\n",
                  accepted_sum, again, holds, refused, settled, dead, reloads, losses);
    if (runs >= 24 && steps >= 400)
        assert_true(accepted_sum > 500 && again > 0 && holds > 0 && refused > 100 && settled > 0 &&
                    dead > 0 && reloads > 0 && losses > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_runs_equal_the_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
