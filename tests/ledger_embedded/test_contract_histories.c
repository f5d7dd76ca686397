/* Random histories of a channel, closed on the contract with every old proof, against a calculation of its
 * own of who gets what: an honest side that answers loses nothing; one that does not, and has no tower, loses
 * at most what it had ever received or locked.
 *
 * The calculation here is written from the words of protocol.md, not from the contract's code. RILL_SEED
 * chooses other histories, RILL_HISTORIES how many. */
#pragma GCC diagnostic ignored "-Wunused-function"
#include "tests/ledger_embedded/contract_world.h"

#include <stdio.h>

#define HISTORIES     24
#define STEPS_MAX     40
#define LOCKS_MAX     STEPS_MAX
#define TREE_PLACES   1024
#define EXPIRY_LATER  (WORLD_START + 100000)
#define EXPIRY_BEFORE (WORLD_START - 1)

struct sent_lock {
    uint64_t id, amount;
    bool pending;
    bool expired; /* dropped after its expiry, never registered */
};
struct sent_proof {
    uint64_t nonce, transferred;
    bool pending[LOCKS_MAX]; /* which of the stream's locks it has */
};
struct stream {
    uint64_t transferred;
    struct sent_lock locks[LOCKS_MAX];
    size_t lock_count;
    struct sent_proof proofs[STEPS_MAX + 1];
    size_t proof_count;
    uint64_t min_nonce; /* revoked by its receiver */
};
struct history {
    int64_t base, total;
    struct stream streams[2]; /* SIDE_CLIENT, SIDE_HUB */
};

static uint64_t random_state;

static uint64_t random_below(uint64_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return limit == 0 ? 0 : (random_state >> 11) % limit;
}

/* ---- the history ---- */

static int64_t own_base(const struct history *history, int side)
{
    return side == SIDE_CLIENT ? history->base : history->total - history->base;
}

static int64_t locked_of(const struct stream *stream, const bool pending[LOCKS_MAX])
{
    int64_t sum = 0;
    for (size_t i = 0; i < stream->lock_count; i++)
        if (pending == NULL ? stream->locks[i].pending : pending[i])
            sum += (int64_t)stream->locks[i].amount;
    return sum;
}

static int64_t balance_of(const struct history *history, int side)
{
    return own_base(history, side) - (int64_t)history->streams[side].transferred +
           (int64_t)history->streams[1 - side].transferred;
}

static void stream_sign(struct stream *stream)
{
    struct sent_proof *proof = &stream->proofs[stream->proof_count];
    proof->nonce = stream->proof_count++;
    proof->transferred = stream->transferred;
    for (size_t i = 0; i < stream->lock_count; i++)
        proof->pending[i] = stream->locks[i].pending;
}

/* A pending lock; NULL if there is none. */
static struct sent_lock *any_pending(struct stream *stream)
{
    for (int tries = 0; tries < 50 && stream->lock_count > 0; tries++) {
        struct sent_lock *lock = &stream->locks[random_below(stream->lock_count)];
        if (lock->pending)
            return lock;
    }
    return NULL;
}

static void settle_randomly(struct history *history)
{
    for (int side = 0; side < 2; side++) {
        int64_t most = balance_of(history, side) - locked_of(&history->streams[side], NULL);
        int64_t out = most > 0 ? (int64_t)random_below((uint64_t)most + 1) : 0;
        history->total -= out;
        history->base -= side == SIDE_CLIENT ? out : 0;
    }
    history->total += (int64_t)random_below(51);
}

static void step(struct history *history)
{
    int side = (int)random_below(2);
    struct stream *stream = &history->streams[side];
    uint64_t choice = random_below(100);
    int64_t available = balance_of(history, side) - locked_of(stream, NULL);
    struct sent_lock *lock = any_pending(stream);
    if (choice < 25 && available > 0) {
        stream->transferred += 1 + random_below((uint64_t)available);
    } else if (choice < 55 && available > 0) {
        stream->locks[stream->lock_count] =
            (struct sent_lock){stream->lock_count + 1, 1 + random_below((uint64_t)available), true, false};
        stream->lock_count++;
    } else if (choice < 80 && lock != NULL) {
        stream->transferred += lock->amount;
        lock->pending = false;
    } else if (choice < 95 && lock != NULL) {
        lock->pending = false;
        lock->expired = choice >= 90;
        stream->min_nonce = stream->proof_count; /* REVOKE, once the update below is durable */
    } else {
        settle_randomly(history);
        return;
    }
    stream_sign(stream);
}

static void history_make(struct history *history)
{
    memset(history, 0, sizeof(*history));
    history->base = (int64_t)random_below(201);
    history->total = history->base + (int64_t)random_below(301);
    stream_sign(&history->streams[0]); /* nonce 0: none yet */
    stream_sign(&history->streams[1]);
    for (uint64_t steps = 3 + random_below(STEPS_MAX - 3); steps > 0; steps--)
        step(history);
}

/* ---- its locks on the ledger ---- */

static struct hash secret_of(int side, uint64_t id)
{
    uint8_t seed[9] = {(uint8_t)side};
    store_be64(seed + 1, id);
    return keccak256(seed, sizeof(seed));
}

static struct lock lock_of(int side, const struct sent_lock *sent)
{
    struct hash secret = secret_of(side, sent->id);
    return (struct lock){sent->id,
                         {sent->amount},
                         sent->expired ? EXPIRY_BEFORE : EXPIRY_LATER,
                         LOCK_SECRET,
                         condition_of_secret(secret.bytes)};
}

/* The obvious tree: every level written out. */
struct tree {
    struct hash levels[LOCK_TREE_DEPTH + 1][TREE_PLACES];
};

static void tree_make(struct tree *tree, const struct stream *stream, int side, const bool pending[LOCKS_MAX])
{
    memset(tree, 0, sizeof(*tree));
    for (size_t i = 0; i < stream->lock_count; i++) {
        struct lock lock = lock_of(side, &stream->locks[i]);
        if (pending[i])
            tree->levels[0][lock.id % TREE_PLACES] = lock_leaf(&lock);
    }
    for (size_t level = 0; level < LOCK_TREE_DEPTH; level++)
        for (size_t i = 0; i < (size_t)TREE_PLACES >> (level + 1); i++)
            tree->levels[level + 1][i] =
                merkle_node(&tree->levels[level][2 * i], &tree->levels[level][2 * i + 1]);
}

static size_t tree_proof(const struct tree *tree, uint64_t id, struct hash proof[LOCK_TREE_DEPTH])
{
    size_t place = id % TREE_PLACES, count = 0;
    for (size_t level = 0; level < LOCK_TREE_DEPTH; level++, place >>= 1)
        if (!hash_is_zero(&tree->levels[level][place ^ 1]))
            proof[count++] = tree->levels[level][place ^ 1];
    return count;
}

static struct balance_proof proof_shown(const struct history *history, int side,
                                        const struct sent_proof *sent)
{
    const struct stream *stream = &history->streams[side];
    static struct tree tree;
    if (sent->nonce == 0)
        return (struct balance_proof){.nonce = 0};
    tree_make(&tree, stream, side, sent->pending);
    return proof_of(sent->nonce, sent->transferred, (uint64_t)locked_of(stream, sent->pending),
                    &tree.levels[LOCK_TREE_DEPTH][0]);
}

/* ---- what each side is due, from the words of section 7 ---- */

struct division {
    int64_t free[2], held[2];
};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static struct division divide(const struct history *history, const int64_t t[2], const int64_t l[2])
{
    int64_t most_client = history->base - t[0] - l[0] + t[1] + l[1];
    most_client = most_client < 0 ? 0 : smaller(most_client, history->total);
    int64_t most_hub = history->total - most_client;
    struct division division;
    division.held[SIDE_CLIENT] = smaller(most_hub, l[0]);
    division.held[SIDE_HUB] = smaller(most_client, l[1]);
    division.free[SIDE_CLIENT] = most_client - division.held[SIDE_HUB];
    division.free[SIDE_HUB] = most_hub - division.held[SIDE_CLIENT];
    return division;
}

/* ---- playing it on the contract ---- */

struct play {
    struct world *world;
    const struct history *history;
    struct channel_key key;
    int attacker, honest;
    bool known[LOCKS_MAX]; /* of the attacker's pending locks: whose secret the honest side has */
    int64_t free_before[2];
};

static enum person person_of(int side)
{
    return side == SIDE_CLIENT ? ALICE : HUB;
}

static int64_t money_of(const struct play *play, int side)
{
    return (int64_t)(side == SIDE_CLIENT ? world_units(play->world, &play->key.client, &COIN)
                                         : world_pool(play->world, &COIN));
}

static void register_in_time(const struct play *play, int side, const struct sent_lock *lock)
{
    struct contract_call call = {.function = CONTRACT_REGISTER_SECRET, .hash = secret_of(side, lock->id)};
    world_must(play->world, STRANGER, &call);
}

/* The attacker knows every secret of the honest side's stream, the honest side what it knows. */
static void register_all(const struct play *play)
{
    const struct stream *honest = &play->history->streams[play->honest];
    const struct stream *attacker = &play->history->streams[play->attacker];
    for (size_t i = 0; i < honest->lock_count; i++)
        register_in_time(play, play->honest, &honest->locks[i]);
    for (size_t i = 0; i < attacker->lock_count; i++)
        if (play->known[i])
            register_in_time(play, play->attacker, &attacker->locks[i]);
}

static bool goes_to_receiver(const struct play *play, int side, size_t index)
{
    const struct sent_lock *lock = &play->history->streams[side].locks[index];
    return !lock->expired && (side == play->honest || play->known[index]);
}

/* Unlocks what stands, first what is worst for the honest side. Returns what the honest side is due of
 * `held`. */
static int64_t unlock_all(const struct play *play, int side, const struct sent_proof *sent, int64_t held)
{
    const struct stream *stream = &play->history->streams[side];
    static struct tree tree;
    int64_t due = 0;
    tree_make(&tree, stream, side, sent->pending);
    for (int round = 0; round < 2; round++) {
        bool to_receiver = (side == play->honest) == (round == 0);
        for (size_t i = 0; i < stream->lock_count; i++) {
            if (!sent->pending[i] || goes_to_receiver(play, side, i) != to_receiver)
                continue;
            struct hash proof[LOCK_TREE_DEPTH];
            struct contract_call call = {.function = CONTRACT_UNLOCK,
                                         .key = play->key,
                                         .flag = side == SIDE_CLIENT,
                                         .lock = lock_of(side, &stream->locks[i])};
            call.merkle = proof;
            call.merkle_count = tree_proof(&tree, call.lock.id, proof);
            world_must(play->world, STRANGER, &call);
            assert_int_equal(world_event(play->world, 0).to_receiver, to_receiver);
            int64_t part = smaller((int64_t)stream->locks[i].amount, held);
            held -= part;
            if ((to_receiver ? 1 - side : side) == play->honest)
                due += part;
        }
    }
    return due + (side == play->honest ? held : 0);
}

static void finish(const struct play *play)
{
    struct contract_call call = finish_call(&play->key);
    play->world->time = WORLD_START + 2 * WORLD_PERIOD;
    world_must(play->world, STRANGER, &call);
    play->world->time = EXPIRY_LATER + 1;
}

static void void_if_revoked(const struct play *play, const struct sent_proof *shown)
{
    uint64_t min_nonce = play->history->streams[play->honest].min_nonce;
    if (shown->nonce >= min_nonce)
        return;
    struct contract_call call =
        void_call(play->world, &play->key, play->honest == SIDE_CLIENT, min_nonce, person_of(play->attacker));
    world_must(play->world, STRANGER, &call);
}

/* What the honest side's newest durable state entitles it to. */
static int64_t promised(const struct play *play)
{
    const struct stream *attacker = &play->history->streams[play->attacker];
    int64_t due =
        balance_of(play->history, play->honest) - locked_of(&play->history->streams[play->honest], NULL);
    for (size_t i = 0; i < attacker->lock_count; i++)
        if (attacker->locks[i].pending && play->known[i])
            due += (int64_t)attacker->locks[i].amount;
    return due;
}

static const struct sent_proof *newest(const struct stream *stream)
{
    return &stream->proofs[stream->proof_count - 1];
}

/* Finishes and unlocks. `shown`: the honest stream's proof that stands (its locks perhaps void); `attackers`:
 * the attacker's. Returns what the honest side got; *expected what it should have, without a penalty. */
static int64_t collect(const struct play *play, const struct sent_proof *shown, bool is_void,
                       const struct sent_proof *attackers, int64_t *expected)
{
    int64_t t[2], l[2], before = money_of(play, play->honest);
    t[play->honest] = (int64_t)shown->transferred;
    l[play->honest] = is_void ? 0 : locked_of(&play->history->streams[play->honest], shown->pending);
    t[play->attacker] = (int64_t)attackers->transferred;
    l[play->attacker] = locked_of(&play->history->streams[play->attacker], attackers->pending);
    struct division division = divide(play->history, t, l);
    finish(play);
    *expected = division.free[play->honest];
    if (!is_void)
        *expected += unlock_all(play, play->honest, shown, division.held[play->honest]);
    *expected += unlock_all(play, play->attacker, attackers, division.held[play->attacker]);
    return money_of(play, play->honest) - before;
}

/* A claim that the contract's only bound allows. */
static struct claim any_claim(int64_t limit)
{
    struct claim own = {.nonce = random_below(60), .locks_root = {{(uint8_t)(1 + random_below(200))}}};
    own.transferred.units = random_below((uint64_t)limit + 1);
    own.locked.units = random_below((uint64_t)limit - own.transferred.units + 1);
    return own;
}

static struct contract_call attacker_closes(const struct play *play, const struct sent_proof *shown,
                                            struct claim *own, int64_t *limit)
{
    struct balance_proof proof = proof_shown(play->history, play->honest, shown);
    *limit = own_base(play->history, play->attacker) + (int64_t)shown->transferred;
    *own = any_claim(*limit < 0 ? 0 : *limit);
    return start_close_call(play->world, person_of(play->attacker), &play->key,
                            shown->nonce == 0 ? NULL : &proof, own);
}

static void play_answered(const struct play *play, const struct sent_proof *shown)
{
    struct world *world = play->world;
    const struct sent_proof *attackers = newest(&play->history->streams[play->attacker]);
    struct claim own;
    int64_t limit, expected;
    struct contract_call start = attacker_closes(play, shown, &own, &limit);
    enum contract_error error = world_call(world, person_of(play->attacker), &start);
    assert_int_equal(error, limit < 0 ? CONTRACT_BAD_CLAIM : CONTRACT_OK);
    if (error != CONTRACT_OK || attackers->nonce == 0)
        return; /* with no proof of the attacker's there is nothing to answer with, nor to lose */
    struct balance_proof answer = proof_shown(play->history, play->attacker, attackers);
    struct contract_call challenge = challenge_call(world, person_of(play->attacker), &play->key, &answer);
    bool by_tower = random_below(2) == 0;
    if (by_tower)
        add_choice(world, &challenge, person_of(play->honest), &world->people[TOWER]);
    world_must(world, by_tower ? TOWER : person_of(play->honest), &challenge);
    bool fraud = world_event(world, 0).is_fraud;
    void_if_revoked(play, shown);
    register_all(play);
    bool is_void = shown->nonce < play->history->streams[play->honest].min_nonce;
    int64_t got = collect(play, shown, is_void, attackers, &expected);
    assert_true(got >= promised(play));
    if (fraud)
        assert_true(got >= expected);
    else
        assert_int_equal(got, expected);
}

/* The honest side closes; the attacker answers with an old proof (nonce 0: not at all). */
static void play_honest_closer(const struct play *play, const struct sent_proof *shown)
{
    struct world *world = play->world;
    const struct stream *streams = play->history->streams;
    const struct sent_proof *attackers = newest(&streams[play->attacker]);
    struct balance_proof partner = proof_shown(play->history, play->attacker, attackers);
    struct balance_proof mine = proof_shown(play->history, play->honest, newest(&streams[play->honest]));
    struct claim own = claim_like(&mine);
    struct contract_call start = start_close_call(world, person_of(play->honest), &play->key,
                                                  attackers->nonce == 0 ? NULL : &partner, &own);
    int64_t expected;
    world_must(world, person_of(play->honest), &start); /* an honest closer passes BadClaim */
    bool is_void = false;
    if (shown->nonce == 0) {
        shown = newest(&streams[play->honest]);
    } else {
        struct balance_proof old = proof_shown(play->history, play->honest, shown);
        struct contract_call challenge = challenge_call(world, person_of(play->honest), &play->key, &old);
        world_must(world, person_of(play->attacker), &challenge);
        assert_false(world_event(world, 0).is_fraud);
        void_if_revoked(play, shown);
        is_void = shown->nonce < streams[play->honest].min_nonce;
    }
    register_all(play);
    int64_t got = collect(play, shown, is_void, attackers, &expected);
    assert_int_equal(got, expected);
    assert_true(got >= promised(play));
}

/* Nobody answers: at most what was ever received or locked is lost. */
static void play_nobody_answers(const struct play *play, const struct sent_proof *shown)
{
    const struct stream *honest = &play->history->streams[play->honest];
    struct claim own;
    int64_t limit, most = 0;
    for (size_t i = 0; i < honest->proof_count; i++) {
        int64_t sum = (int64_t)honest->proofs[i].transferred + locked_of(honest, honest->proofs[i].pending);
        most = sum > most ? sum : most;
    }
    struct contract_call start = attacker_closes(play, shown, &own, &limit);
    if (world_call(play->world, person_of(play->attacker), &start) != CONTRACT_OK)
        return;
    register_all(play);
    int64_t t[2], l[2], before = money_of(play, play->honest);
    t[play->honest] = (int64_t)shown->transferred;
    l[play->honest] = locked_of(honest, shown->pending);
    t[play->attacker] = (int64_t)own.transferred.units;
    l[play->attacker] = (int64_t)own.locked.units;
    struct division division = divide(play->history, t, l);
    finish(play);
    int64_t expected =
        division.free[play->honest] + unlock_all(play, play->honest, shown, division.held[play->honest]);
    int64_t got = money_of(play, play->honest) - before;
    assert_int_equal(got, expected);
    assert_true(got >= own_base(play->history, play->honest) - most);
}

static void play_history(struct world *world, const struct history *history)
{
    if (history->total == 0)
        return; /* settled to nothing: nothing to close over */
    size_t start = state_mark(world->state);
    struct play play = {.world = world, .history = history};
    play.key = world_open(world, 0, (uint64_t)history->total);
    struct hash id = channel_id(&play.key);
    struct channel_state channel = channel_load(world->state, &id);
    channel.base = history->base;
    channel_save(world->state, &id, &play.key.asset, &channel);
    size_t mark = state_mark(world->state);
    for (play.attacker = 0; play.attacker < 2; play.attacker++) {
        play.honest = 1 - play.attacker;
        const struct stream *attacker = &history->streams[play.attacker];
        const struct stream *honest = &history->streams[play.honest];
        for (size_t i = 0; i < LOCKS_MAX; i++)
            play.known[i] = i < attacker->lock_count && attacker->locks[i].pending && random_below(2) == 0;
        for (size_t i = 0; i < honest->proof_count; i++) {
            void (*const plays[])(const struct play *, const struct sent_proof *) = {
                play_answered, play_honest_closer, play_nobody_answers};
            for (size_t p = 0; p < ARRAY_LENGTH(plays); p++) {
                plays[p](&play, &honest->proofs[i]);
                state_revert(world->state, mark);
                world->time = WORLD_START;
            }
        }
    }
    state_revert(world->state, start);
}

static void test_random_histories(void **state)
{
    const char *seed = getenv("RILL_SEED"), *count = getenv("RILL_HISTORIES");
    uint64_t first = seed == NULL ? 1 : strtoull(seed, NULL, 10);
    uint64_t histories = count == NULL ? HISTORIES : strtoull(count, NULL, 10);
    static struct history history;
    for (uint64_t i = 0; i < histories; i++) {
        random_state = (first + i) * 0x9e3779b97f4a7c15u;
        history_make(&history);
        play_history(*state, &history);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {world_test(test_random_histories)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
