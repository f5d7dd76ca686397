/* The slow and obvious model of a channel that test_property.c holds the machine to: plain arrays of
 * everything that was ever signed, and every figure computed anew from the beginning by the sentences of
 * protocol.md, sections 3 and 8. */
#ifndef RILL_TESTS_CHANNEL_REFERENCE_H
#define RILL_TESTS_CHANNEL_REFERENCE_H

#include "tests/channel/two_sides.h"

#define REF_OPERATIONS_MAX 8
#define REF_UPDATES_MAX    1024
#define REF_NUMBERS_MAX    4096 /* locks of a run, each with a secret and a payment id of its own number */
#define REF_VERSIONS_MAX   256

/* An update that was signed; the update with nonce n is updates[n - 1]. */
struct ref_update {
    struct operation operations[REF_OPERATIONS_MAX];
    size_t count;
    struct balance_proof proof;
    struct signature signature;
    uint8_t body[16];
};

struct ref_stream {
    struct ref_update updates[REF_UPDATES_MAX];
    size_t count;
    uint64_t revoked;
    bool failed[REF_NUMBERS_MAX]; /* the receiver has said FAIL, as far as this side knows */
};

/* What one side knows. */
struct ref_side {
    enum side self;
    struct ref_stream streams[2];
    struct operation draft[REF_OPERATIONS_MAX];
    size_t draft_count;
    uint64_t acknowledged;
    struct channel_funds funds, told;
    struct settlement settlement;
    uint64_t now;
};

/* The ledger itself: what is true at a time, whoever has seen it. */
struct ref_ledger {
    struct {
        uint64_t time;
        struct channel_funds funds;
    } versions[REF_VERSIONS_MAX];
    size_t version_count;
    uint64_t now;
    uint64_t registered[REF_NUMBERS_MAX]; /* time of first registration, 0 if none */
};

/* What a stream's history amounts to. */
struct ref_state {
    struct lock locks[2 * REF_OPERATIONS_MAX * REF_UPDATES_MAX / 8];
    uint32_t numbers[2 * REF_OPERATIONS_MAX * REF_UPDATES_MAX / 8];
    size_t lock_count;
    uint64_t transferred, locked, last_id;
    uint64_t dropped[REF_UPDATES_MAX + 2]; /* by nonce */
    bool drops[REF_UPDATES_MAX + 2];
};

static inline uint32_t ref_number(const struct operation *operation)
{
    return load_be32(operation->id.bytes + 4);
}

static inline size_t ref_find(const struct ref_state *state, uint64_t lock_id)
{
    for (size_t i = 0; i < state->lock_count; i++)
        if (state->locks[i].id == lock_id)
            return i;
    return SIZE_MAX;
}

static inline void ref_apply(struct ref_state *state, const struct operation *operation, uint64_t nonce)
{
    uint64_t whole = operation->amount.units + operation->fee.units;
    if (operation->type == OPERATION_PAY || operation->type == OPERATION_REFUND) {
        state->transferred += whole;
        return;
    }
    if (operation->type == OPERATION_LOCK) {
        state->numbers[state->lock_count] = ref_number(operation);
        state->locks[state->lock_count++] = (struct lock){
            operation->lock_id, amount_of(whole), operation->expiry, operation->kind, operation->condition};
        state->locked += whole;
        state->last_id = operation->lock_id;
        return;
    }
    size_t at = ref_find(state, operation->lock_id);
    uint64_t amount = state->locks[at].amount.units;
    state->locked -= amount;
    if (operation->type == OPERATION_UNLOCK) {
        state->transferred += amount;
    } else {
        state->dropped[nonce] += amount;
        state->drops[nonce] = true;
    }
    state->lock_count--;
    for (size_t i = at; i < state->lock_count; i++) {
        state->locks[i] = state->locks[i + 1];
        state->numbers[i] = state->numbers[i + 1];
    }
}

/* From the first update to the newest, and then the draft. */
static inline void ref_replay(const struct ref_stream *stream, const struct operation *draft,
                              size_t draft_count, struct ref_state *state)
{
    memset(state, 0, sizeof(*state));
    for (size_t i = 0; i < stream->count; i++)
        for (size_t j = 0; j < stream->updates[i].count; j++)
            ref_apply(state, &stream->updates[i].operations[j], i + 1);
    for (size_t j = 0; j < draft_count; j++)
        ref_apply(state, &draft[j], stream->count + 1);
}

/* Locks dropped by updates that no REVOKE covers yet. */
static inline uint64_t ref_frozen(const struct ref_state *state, uint64_t revoked)
{
    uint64_t sum = 0;
    for (uint64_t nonce = revoked + 1; nonce < ARRAY_LENGTH(state->dropped); nonce++)
        sum += state->dropped[nonce];
    return sum;
}

/* All 1,024 leaves and all the nodes above them. */
static inline struct hash ref_root(const struct ref_state *state)
{
    static struct hash level[LOCKS_PER_STREAM_MAX];
    if (state->lock_count == 0)
        return HASH_ZERO;
    memset(level, 0, sizeof(level));
    for (size_t i = 0; i < state->lock_count; i++)
        level[state->locks[i].id % LOCKS_PER_STREAM_MAX] = lock_leaf(&state->locks[i]);
    for (size_t width = LOCKS_PER_STREAM_MAX; width > 1; width /= 2)
        for (size_t i = 0; i < width / 2; i++)
            level[i] = merkle_node(&level[2 * i], &level[2 * i + 1]);
    return level[0];
}

/* balanceC = base − transferredC + transferredH, balanceH = total − balanceC. */
static inline wide ref_balance(const struct channel_funds *funds, enum side side, uint64_t client_transferred,
                               uint64_t hub_transferred)
{
    wide client = (wide)funds->base - client_transferred + hub_transferred;
    return side == SIDE_CLIENT ? client : (wide)funds->total.units - client;
}

/* What is under way of a side by one view of the ledger. */
static inline uint64_t ref_out(const struct ref_side *ref, enum side side, const struct channel_funds *funds,
                               bool by_told)
{
    const struct settlement *settlement = &ref->settlement;
    if (settlement->phase == SETTLEMENT_NONE || funds->seq >= settlement->seq ||
        (by_told && settlement->said_dead))
        return 0;
    if (side == SIDE_HUB)
        return settlement->hub_out.units;
    if (settlement->phase != SETTLEMENT_SIGNED)
        return 0;
    uint64_t rest = funds->total.units - settlement->hub_out.units;
    return settlement->close && rest > settlement->client_out.units ? rest : settlement->client_out.units;
}

/* available = balance − locked − frozen − out − reserve, by one view; `extra` is an update that is being
 * judged. */
static inline wide ref_available_by(const struct ref_side *ref, enum side side, bool by_told, bool drafted,
                                    const struct operation *extra, size_t extra_count)
{
    static struct ref_state own, peer;
    const struct channel_funds *funds = by_told ? &ref->told : &ref->funds;
    enum side other = side_other(ref->self);
    ref_replay(&ref->streams[ref->self], ref->draft, drafted ? ref->draft_count : 0, &own);
    ref_replay(&ref->streams[other], extra, extra_count, &peer);
    const struct ref_state *client = ref->self == SIDE_CLIENT ? &own : &peer;
    const struct ref_state *hub = ref->self == SIDE_CLIENT ? &peer : &own;
    const struct ref_state *state = side == SIDE_CLIENT ? client : hub;
    wide available = ref_balance(funds, side, client->transferred, hub->transferred);
    available -= state->locked;
    available -= ref_frozen(state, ref->streams[side].revoked);
    available -= ref_out(ref, side, funds, by_told);
    if (side == SIDE_CLIENT && funds->base > 0)
        available -= (wide)funds->base * PAIR_RESERVE_BPS / 10000;
    return available;
}

static inline wide ref_available(const struct ref_side *ref, enum side side)
{
    bool own = side == ref->self;
    wide by_funds = ref_available_by(ref, side, false, own, NULL, 0);
    if (!own || side == SIDE_HUB)
        return by_funds;
    wide by_told = ref_available_by(ref, side, true, own, NULL, 0);
    return by_told < by_funds ? by_told : by_funds;
}

/* ---- the rules of operations ---- */

static inline bool ref_registered_in_time(const struct ref_ledger *ledger, const struct ref_side *ref,
                                          uint32_t number, uint64_t expiry)
{
    uint64_t time = ledger->registered[number];
    return time != 0 && time <= ref->now && time <= expiry;
}

static inline bool ref_any_registration(const struct ref_ledger *ledger, const struct ref_side *ref,
                                        uint32_t number)
{
    return ledger->registered[number] != 0 && ledger->registered[number] <= ref->now;
}

/* One operation against the state it meets. held: a receiver whose view lags cannot tell yet. */
static inline enum code ref_rule(const struct ref_ledger *ledger, const struct ref_side *ref,
                                 const struct ref_state *state, const bool *failed,
                                 const struct operation *operation, bool receiving, bool *held)
{
    if (operation->type == OPERATION_PAY || operation->type == OPERATION_REFUND)
        return CODE_OK;
    if (operation->type == OPERATION_LOCK) {
        if (operation->lock_id <= state->last_id)
            return CODE_LOCK_ID;
        for (size_t i = 0; i < state->lock_count; i++)
            if (state->locks[i].id % LOCKS_PER_STREAM_MAX == operation->lock_id % LOCKS_PER_STREAM_MAX)
                return CODE_LOCK_ID;
        return CODE_OK;
    }
    size_t at = ref_find(state, operation->lock_id);
    if (at == SIZE_MAX)
        return CODE_NO_LOCK;
    uint64_t expiry = state->locks[at].expiry;
    uint32_t number = state->numbers[at];
    bool in_time = ref_registered_in_time(ledger, ref, number, expiry);
    if (operation->type == OPERATION_CANCEL)
        return failed[number] ? CODE_OK : CODE_NOT_FAILED;
    if (operation->type == OPERATION_EXPIRE) {
        if (in_time)
            return CODE_NOT_EXPIRED;
        if (ref->now > expiry)
            return CODE_OK;
        if (!receiving || expiry >= ref->now + PAIR_MARGIN_S)
            return CODE_NOT_EXPIRED;
        *held = true;
        return CODE_OK;
    }
    if (operation->witness.length > 0) {
        struct witness good = secret_number(number);
        bool met =
            operation->witness.length == good.length && memcmp(operation->witness.bytes, good.bytes, 32) == 0;
        return met ? CODE_OK : CODE_WITNESS;
    }
    if (in_time)
        return CODE_OK;
    if (!receiving || ref->now > expiry || ref_any_registration(ledger, ref, number))
        return CODE_WITNESS;
    *held = true;
    return CODE_OK;
}

/* The verdict on the peer's update, its signature apart. */
static inline struct judgement ref_judge(const struct ref_ledger *ledger, const struct ref_side *ref,
                                         const struct balance_proof *proof,
                                         const struct operation *operations, size_t count)
{
    static struct ref_state state;
    enum side sender = side_other(ref->self);
    const struct ref_stream *stream = &ref->streams[sender];
    struct judgement verdict = {.verdict = VERDICT_REFUSED};
    bool held = false;
    if (ref->funds.stage != STAGE_OPEN)
        return verdict.code = CODE_STATUS, verdict;
    if (proof->nonce != stream->count + 1)
        return verdict.code = CODE_NONCE, verdict;
    ref_replay(stream, NULL, 0, &state);
    for (size_t i = 0; i < count; i++) {
        verdict.code = ref_rule(ledger, ref, &state, stream->failed, &operations[i], true, &held);
        verdict.operation = i;
        if (verdict.code != CODE_OK)
            return verdict;
        ref_apply(&state, &operations[i], proof->nonce);
    }
    verdict.operation = 0;
    struct hash root = ref_root(&state);
    if (proof->transferred.units != state.transferred)
        return verdict.code = CODE_TRANSFERRED, verdict;
    if (proof->locked.units != state.locked)
        return verdict.code = CODE_LOCKED, verdict;
    if (!hash_equal(&proof->locks_root, &root))
        return verdict.code = CODE_ROOT, verdict;
    bool covered[2];
    for (int told = 0; told < 2; told++) {
        wide before = ref_available_by(ref, sender, told == 1, false, NULL, 0);
        wide after = ref_available_by(ref, sender, told == 1, false, operations, count);
        covered[told] = after >= 0 || after >= before;
    }
    if (!covered[0] && !(ref->self == SIDE_CLIENT && covered[1]))
        return verdict.code = CODE_AVAILABLE, verdict;
    verdict.verdict = !covered[0] || held ? VERDICT_HELD : VERDICT_ACCEPTED;
    return verdict;
}

/* What channel_add must say; for a lock, *lock_id is the id that must be chosen. */
static inline enum code ref_add(const struct ref_ledger *ledger, struct ref_side *ref,
                                const struct operation *operation, uint64_t *lock_id)
{
    static struct ref_state state;
    bool held = false;
    ref_replay(&ref->streams[ref->self], ref->draft, ref->draft_count, &state);
    struct operation numbered = *operation;
    if (operation->type == OPERATION_LOCK)
        for (numbered.lock_id = state.last_id + 1;
             ref_rule(ledger, ref, &state, ref->streams[ref->self].failed, &numbered, false, &held) !=
             CODE_OK;)
            numbered.lock_id++;
    *lock_id = numbered.lock_id;
    enum code code = ref_rule(ledger, ref, &state, ref->streams[ref->self].failed, &numbered, false, &held);
    if (code != CODE_OK)
        return code;
    wide before = ref_available(ref, ref->self);
    ref->draft[ref->draft_count++] = numbered;
    wide after = ref_available(ref, ref->self);
    ref->draft_count--;
    return after >= 0 || after >= before ? CODE_OK : CODE_AVAILABLE;
}

#endif
