/* One random run of test_property.c: a ledger, two machines with their reference models, the messages between
 * them, and a journal each. What a step does to a machine it does to the model, and compares the answers. */
#ifndef RILL_TESTS_CHANNEL_RUN_H
#define RILL_TESTS_CHANNEL_RUN_H

#include <stdio.h>

#include "channel/machine.h"
#include "tests/channel/reference.h"

#define QUEUE_MAX 1024
#define HELD_MAX  UNACKNOWLEDGED_MAX

enum run_message_type {
    RUN_UPDATE,
    RUN_ACK,
    RUN_FAIL,
    RUN_REVOKE,
    RUN_FUNDED,
    RUN_PROPOSE,
    RUN_SIGN,
    RUN_REFUSE,
    RUN_SETTLED,    /* nonce: 0 final, 6 dead */
    RUN_SHOWN_NONE, /* CHANNEL says that no settlement is under way */
    RUN_SHOWN_PROPOSED,
    RUN_SHOWN_SIGNED
};

struct run_message {
    enum run_message_type type;
    uint64_t nonce;
    uint32_t number; /* FAIL: the payment */
    struct ref_update update;
    struct signature signature;
    struct channel_funds funds;
    struct settlement settlement;
    bool wanted;
};

struct run;
struct run_node {
    struct run *run;
    enum side side;
};

struct run {
    uint64_t seed, random, step;
    const char *action;
    struct domain domain;
    struct secret_key keys[2];
    struct address addresses[2];
    struct hash conditions[REF_NUMBERS_MAX];
    uint32_t number_count;
    struct ref_ledger ledger;
    struct ref_side refs[2];
    struct channel *machines[2];
    struct run_node nodes[2];
    struct buffer journals[2];
    struct {
        struct run_message messages[QUEUE_MAX]; /* to this side */
        size_t head, tail;
    } queues[2];
    struct {
        struct ref_update updates[HELD_MAX];
        size_t count;
    } held[2];
    /* what has happened, to show that the run is worth something */
    size_t accepted, again, holds, refused, settled, dead, reloads, losses;
};

#define expect(run, condition)                                                                               \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            print_error("RILL_SEED=%llu RILL_RUNS=1, step %llu (%s): %s\n", (unsigned long long)(run)->seed, \
                        (unsigned long long)(run)->step, (run)->action, #condition);                         \
            fail();                                                                                          \
        }                                                                                                    \
    } while (0)

#define expect_code(run, got, wanted)                                                                        \
    do {                                                                                                     \
        enum code got_ = (got), wanted_ = (wanted);                                                          \
        if (got_ != wanted_)                                                                                 \
            print_error("machine says %s, model %s\n", code_name(got_), code_name(wanted_));                 \
        expect(run, got_ == wanted_);                                                                        \
    } while (0)

static inline uint64_t run_random(struct run *run, uint64_t limit)
{
    uint64_t z = run->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % limit;
}

static inline bool run_chance(struct run *run, unsigned percent)
{
    return run_random(run, 100) < percent;
}

static inline uint64_t run_registered_at(void *context, uint8_t kind, const struct hash *condition)
{
    const struct run_node *node = context;
    const struct run *run = node->run;
    for (uint32_t i = 0; kind == LOCK_SECRET && i < run->number_count; i++)
        if (hash_equal(&run->conditions[i], condition))
            return run->ledger.registered[i] <= run->refs[node->side].now ? run->ledger.registered[i] : 0;
    return 0;
}

static inline struct channel_view run_view(struct run *run, enum side side)
{
    return (struct channel_view){.domain = &run->domain,
                                 .now = run->refs[side].now,
                                 .reveal_margin_s = PAIR_MARGIN_S,
                                 .peer = run->addresses[side_other(side)],
                                 .registered_at = run_registered_at,
                                 .context = &run->nodes[side]};
}

static inline struct run_message *run_send(struct run *run, enum side to, enum run_message_type type)
{
    ensure(run->queues[to].tail < QUEUE_MAX);
    struct run_message *message = &run->queues[to].messages[run->queues[to].tail++];
    memset(message, 0, sizeof(*message));
    message->type = type;
    return message;
}

static inline const struct channel_funds *run_ledger_funds(const struct run *run)
{
    return &run->ledger.versions[run->ledger.version_count - 1].funds;
}

static inline void run_ledger_append(struct run *run, struct channel_funds funds)
{
    ensure(run->ledger.version_count < REF_VERSIONS_MAX);
    run->ledger.versions[run->ledger.version_count].time = run->ledger.now;
    run->ledger.versions[run->ledger.version_count++].funds = funds;
}

static inline void run_open(struct run *run, uint64_t seed)
{
    memset(run, 0, sizeof(*run));
    run->seed = run->random = seed;
    run->action = "open";
    struct address contract = {{0xc0}};
    run->domain = domain_make(31337, &contract);
    run->ledger.now = PAIR_START;
    run_ledger_append(run, pair_funds(PAIR_TOTAL, PAIR_BASE, 0));
    for (int side = 0; side < 2; side++) {
        memset(run->keys[side].bytes, 0x31 + side, sizeof(run->keys[side].bytes));
        run->addresses[side] = secret_key_address(&run->keys[side]);
        run->nodes[side] = (struct run_node){run, (enum side)side};
    }
    struct channel_key key = {.client = run->addresses[SIDE_CLIENT], .salt = seed};
    for (int side = 0; side < 2; side++) {
        run->machines[side] = channel_new(&key, (enum side)side, PAIR_RESERVE_BPS);
        (void)channel_set_funds(run->machines[side], run_ledger_funds(run));
        run->refs[side].self = (enum side)side;
        run->refs[side].funds = run->refs[side].told = *run_ledger_funds(run);
        run->refs[side].now = run->ledger.now;
    }
    channel_set_told(run->machines[SIDE_CLIENT], run_ledger_funds(run));
}

static inline void run_close(struct run *run)
{
    for (int side = 0; side < 2; side++) {
        channel_free(run->machines[side]);
        buffer_free(&run->journals[side]);
    }
}

/* ---- the comparison ---- */

static inline void run_check_stream(struct run *run, enum side self, enum side side)
{
    static struct ref_state state, drafted;
    const struct ref_side *ref = &run->refs[self];
    const struct ref_stream *expected = &ref->streams[side];
    const struct stream *stream = &run->machines[self]->streams[side];
    size_t draft = side == self ? ref->draft_count : 0;
    ref_replay(expected, NULL, 0, &state);
    ref_replay(expected, ref->draft, draft, &drafted);
    expect(run, stream->proof.nonce == expected->count);
    expect(run, stream->proof.transferred.units == state.transferred);
    expect(run, stream->proof.locked.units == state.locked);
    struct hash root = ref_root(&state);
    expect(run, hash_equal(&stream->proof.locks_root, &root));
    if (draft > 0)
        root = ref_root(&drafted);
    struct hash machine_root = lock_set_root(stream->locks);
    expect(run, hash_equal(&machine_root, &root));
    expect(run, stream->locked.units == drafted.locked);
    expect(run, stream->last_lock_id == drafted.last_id);
    expect(run, lock_set_count(stream->locks) == drafted.lock_count);
    for (size_t i = 0; i < drafted.lock_count; i++) {
        const struct pending_lock *pending = lock_set_find(stream->locks, drafted.locks[i].id);
        struct payment_id payment = payment_number(drafted.numbers[i]);
        expect(run, pending != NULL && payment_id_equal(&pending->payment, &payment));
        expect(run, pending->failed == expected->failed[drafted.numbers[i]]);
    }
    const struct dropped *dropped = stream_dropped(stream);
    expect(run, dropped->revoked_nonce == expected->revoked);
    expect(run, dropped->frozen.units == ref_frozen(&state, expected->revoked));
    size_t drops = 0;
    for (uint64_t nonce = expected->revoked + 1; nonce <= expected->count; nonce++) {
        if (!state.drops[nonce])
            continue;
        expect(run, drops < dropped->drop_count && dropped->drops[drops].nonce == nonce);
        expect(run, dropped->drops[drops++].amount.units == state.dropped[nonce]);
    }
    expect(run, drops == dropped->drop_count);
}

static inline bool run_same_settlement(const struct settlement *a, const struct settlement *b)
{
    return a->phase == b->phase &&
           (a->phase == SETTLEMENT_NONE ||
            (a->seq == b->seq && a->close == b->close && a->client_out.units == b->client_out.units &&
             a->hub_out.units == b->hub_out.units && a->deadline == b->deadline &&
             a->said_dead == b->said_dead));
}

static inline void run_check_kept(struct run *run, enum side self)
{
    const struct ref_side *ref = &run->refs[self];
    const struct ref_stream *own = &ref->streams[self];
    expect(run, run->machines[self]->acknowledged == ref->acknowledged);
    expect(run, channel_kept(run->machines[self], ref->acknowledged) == NULL);
    expect(run, channel_kept(run->machines[self], own->count + 1) == NULL);
    for (uint64_t nonce = ref->acknowledged + 1; nonce <= own->count; nonce++) {
        const struct kept_update *kept = channel_kept(run->machines[self], nonce);
        const struct ref_update *update = &own->updates[nonce - 1];
        expect(run, kept->proof.nonce == nonce && signature_equal(&kept->signature, &update->signature));
        expect(run, kept->body_length == sizeof(update->body) &&
                        memcmp(kept->body, update->body, sizeof(update->body)) == 0);
    }
}

/* Nobody has promised more than there is. A signed close takes the reserve too; and a client that has lost its disk took
 * over what its node may not show to be covered yet. */
static inline void run_check_promises(struct run *run, enum side self, enum side side)
{
    const struct ref_side *ref = &run->refs[self];
    wide available = channel_available(run->machines[self], side);
    if (side == SIDE_CLIENT && ref->settlement.close)
        available += channel_reserve(run->machines[self]).units;
    bool lags =
        self == SIDE_CLIENT && side == SIDE_HUB && run->losses > 0 && !funds_equal(&ref->funds, &ref->told);
    if (ref->funds.stage == STAGE_OPEN && !lags)
        expect(run, available >= 0);
}

static inline void run_check_side(struct run *run, enum side self)
{
    const struct ref_side *ref = &run->refs[self];
    struct channel *machine = run->machines[self];
    run_check_stream(run, self, SIDE_CLIENT);
    run_check_stream(run, self, SIDE_HUB);
    run_check_kept(run, self);
    expect(run, run_same_settlement(channel_settlement(machine), &ref->settlement));
    size_t drafted;
    (void)channel_draft(machine, &drafted);
    expect(run, drafted == ref->draft_count);
    wide sum = 0;
    for (int side = 0; side < 2; side++) {
        uint64_t transferred[2] = {machine->streams[0].proof.transferred.units,
                                   machine->streams[1].proof.transferred.units};
        wide balance = channel_balance(machine, (enum side)side);
        expect(run, balance == ref_balance(&ref->funds, (enum side)side, transferred[0], transferred[1]));
        expect(run, channel_available(machine, (enum side)side) == ref_available(ref, (enum side)side));
        run_check_promises(run, self, (enum side)side);
        sum += balance;
    }
    expect(run, sum == (wide)ref->funds.total.units);
}

/* Both machines against their models; and what has changed goes to the journals. */
static inline void run_check(struct run *run)
{
    for (int side = 0; side < 2; side++) {
        run_check_side(run, (enum side)side);
        channel_write(run->machines[side], &run->journals[side]);
    }
}

#endif
