/* A wallet that lost its disk, wholly or back to an old copy, takes what the hub shows and checks all of it.
 */
#include "tests/channel/two_sides.h"

#define LATER (PAIR_START + 900)

static struct pair pair;
static struct sent sent;
static struct channel *lost; /* a client with nothing but the ledger's word */

static int open_pair(void **state)
{
    (void)state;
    pair_open(&pair);
    for (uint32_t i = 1; i <= 3; i++) {
        pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 10 * i, i, LATER, i));
        pair_exchange(&pair, SIDE_HUB, op_lock(0, 5 * i, 0, LATER, 10 + i));
    }
    pair_exchange(&pair, SIDE_CLIENT, op_pay(70, 0));
    pair.now = LATER + 1;
    pair_exchange(&pair, SIDE_CLIENT, op_drop(OPERATION_EXPIRE, 2));
    pair_exchange(&pair, SIDE_HUB, op_drop(OPERATION_EXPIRE, 1));
    struct signature revocation = channel_revoke(pair.sides[SIDE_HUB], &pair.domain, &pair.keys[SIDE_HUB], 5);
    struct channel_view view = pair_view(&pair, SIDE_CLIENT);
    assert_int_equal(channel_revocation_received(pair.sides[SIDE_CLIENT], &view, 5, &revocation, NULL),
                     CODE_OK);
    pair_exchange(&pair, SIDE_CLIENT, op_drop(OPERATION_EXPIRE, 1)); /* not revoked yet */
    lost = channel_new(&pair.sides[SIDE_CLIENT]->key, SIDE_CLIENT, PAIR_RESERVE_BPS);
    struct channel_funds funds = pair_funds(PAIR_TOTAL, PAIR_BASE, 0);
    (void)channel_set_funds(lost, &funds);
    channel_set_told(lost, &funds);
    return 0;
}

static int close_pair(void **state)
{
    (void)state;
    channel_free(lost);
    pair_close(&pair);
    return 0;
}

static size_t locks_of(const struct stream *stream, struct pending_lock *out)
{
    size_t count = 0;
    for (const struct pending_lock *at = NULL;
         (at = lock_set_next(stream->locks, at == NULL ? 0 : at->lock.id)) != NULL;)
        out[count++] = *at;
    return count;
}

static enum code restore(enum side side, const struct stream *shown, const struct pending_lock *locks,
                         size_t count)
{
    struct channel_view view = pair_view(&pair, SIDE_CLIENT);
    return channel_restore_stream(lost, &view, side, &pair.addresses[side], shown, locks, count);
}

static void assert_not_restored(enum side side, const struct stream *shown, const struct pending_lock *locks,
                                size_t count, enum code code)
{
    struct buffer before = pair_snapshot(lost);
    assert_int_equal(restore(side, shown, locks, count), code);
    struct buffer after = pair_snapshot(lost);
    assert_same_bytes(&before, &after);
}

static void test_both_streams_come_back(void **state)
{
    (void)state;
    struct pending_lock locks[8];
    struct channel *hub = pair.sides[SIDE_HUB], *client = pair.sides[SIDE_CLIENT];
    for (int side = 0; side < 2; side++) {
        size_t count = locks_of(&hub->streams[side], locks);
        assert_int_equal(restore((enum side)side, &hub->streams[side], locks, count), CODE_OK);
        assert_not_restored((enum side)side, &hub->streams[side], locks, count, CODE_NONCE); /* not newer */
    }
    assert_int_equal(available_of(lost, SIDE_CLIENT), available_of(client, SIDE_CLIENT));
    assert_int_equal(available_of(lost, SIDE_HUB), available_of(client, SIDE_HUB));
    assert_int_equal(lost->acknowledged, channel_own(lost)->proof.nonce);
    assert_int_equal(channel_revocation_due(lost), 4);
    struct buffer here = pair_snapshot(client), there = pair_snapshot(lost);
    assert_same_bytes(&here, &there);
    /* And it goes on. */
    channel_free(pair.sides[SIDE_CLIENT]);
    pair.sides[SIDE_CLIENT] = lost;
    lost = NULL;
    pair_exchange(&pair, SIDE_CLIENT, op_unlock(3, 3));
    pair_exchange(&pair, SIDE_HUB, op_unlock(2, 12));
    pair_exchange(&pair, SIDE_CLIENT, op_pay(1, 0));
}

static void test_every_signature_is_checked(void **state)
{
    (void)state;
    struct pending_lock locks[8];
    for (int side = 0; side < 2; side++) {
        struct stream shown = pair.sides[SIDE_HUB]->streams[side];
        size_t count = locks_of(&shown, locks);
        shown.signature.bytes[3] ^= 1;
        assert_not_restored((enum side)side, &shown, locks, count, CODE_SIGNATURE);
        shown = pair.sides[SIDE_HUB]->streams[side];
        shown.proof.transferred.units++;
        assert_not_restored((enum side)side, &shown, locks, count, CODE_SIGNATURE);
    }
    struct stream shown = pair.sides[SIDE_HUB]->streams[SIDE_CLIENT];
    size_t count = locks_of(&shown, locks);
    struct dropped dropped = *shown.dropped;
    shown.dropped = &dropped;
    dropped.revocation.bytes[3] ^= 1;
    assert_not_restored(SIDE_CLIENT, &shown, locks, count, CODE_SIGNATURE);
    dropped = *pair.sides[SIDE_HUB]->streams[SIDE_CLIENT].dropped;
    dropped.revoked_nonce = 6;
    assert_not_restored(SIDE_CLIENT, &shown, locks, count, CODE_SIGNATURE);
    dropped.revoked_nonce = 7; /* above the newest proof */
    assert_not_restored(SIDE_CLIENT, &shown, locks, count, CODE_MALFORMED);
}

static void test_the_locks_are_those_of_the_proof(void **state)
{
    (void)state;
    struct pending_lock locks[8];
    const struct stream *shown = &pair.sides[SIDE_HUB]->streams[SIDE_HUB];
    size_t count = locks_of(shown, locks);
    assert_int_equal(count, 2);
    assert_not_restored(SIDE_HUB, shown, locks, 1, CODE_LOCKED);
    locks[0].lock.expiry++;
    assert_not_restored(SIDE_HUB, shown, locks, 2, CODE_ROOT);
    locks[0].lock.expiry--;
    locks[0].lock.amount.units++;
    assert_not_restored(SIDE_HUB, shown, locks, 2, CODE_LOCKED);
    locks[0].lock.amount.units--;
    struct pending_lock first = locks[0];
    locks[0] = locks[1];
    assert_not_restored(SIDE_HUB, shown, locks, 2, CODE_ROOT);
    locks[0] = first;
    locks[1].lock.amount = amount_of(AMOUNT_LIMIT - 1);
    assert_not_restored(SIDE_HUB, shown, locks, 2, CODE_LOCKED);
    locks_of(shown, locks);
    assert_int_equal(restore(SIDE_HUB, shown, locks, 2), CODE_OK);
}

static void test_drops_are_in_order(void **state)
{
    (void)state;
    struct pending_lock locks[8];
    struct stream shown = pair.sides[SIDE_HUB]->streams[SIDE_CLIENT];
    size_t count = locks_of(&shown, locks);
    struct drop drops[3] = {{5, {22}}, {6, {11}}, {6, {1}}};
    struct dropped dropped = *shown.dropped;
    dropped.drops = drops;
    dropped.drop_count = 3;
    shown.dropped = &dropped;
    assert_not_restored(SIDE_CLIENT, &shown, locks, count, CODE_MALFORMED);
    drops[2].nonce = 7; /* newer than the proof */
    assert_not_restored(SIDE_CLIENT, &shown, locks, count, CODE_MALFORMED);
    dropped.drop_count = 2;
    drops[1].amount = amount_of(AMOUNT_LIMIT);
    assert_not_restored(SIDE_CLIENT, &shown, locks, count, CODE_LOCKED);
    drops[1].amount = amount_of(11);
    assert_int_equal(restore(SIDE_CLIENT, &shown, locks, count), CODE_OK);
    assert_int_equal(stream_dropped(&lost->streams[SIDE_CLIENT])->frozen.units,
                     11); /* the first one was revoked */
}

/* What a stream has transferred never falls: whoever signs a higher nonce with less is not believed. */
static void test_nothing_is_taken_back(void **state)
{
    (void)state;
    struct channel *hub = pair.sides[SIDE_HUB];
    struct pending_lock locks[8];
    pair_exchange(&pair, SIDE_HUB, op_pay(3, 0));
    struct stream shown = hub->streams[SIDE_HUB];
    size_t count = locks_of(&shown, locks);
    assert_int_equal(restore(SIDE_HUB, &shown, locks, count), CODE_OK);
    shown.proof.nonce++;
    shown.proof.transferred.units--;
    struct hash digest = digest_balance_proof(&pair.domain, &hub->id, &shown.proof);
    shown.signature = key_sign(&pair.keys[SIDE_HUB], &digest);
    assert_not_restored(SIDE_HUB, &shown, locks, count, CODE_TRANSFERRED);
    shown.proof.transferred.units++;
    digest = digest_balance_proof(&pair.domain, &hub->id, &shown.proof);
    shown.signature = key_sign(&pair.keys[SIDE_HUB], &digest);
    assert_int_equal(restore(SIDE_HUB, &shown, locks, count), CODE_OK);
}

/* From an old copy of the disk: kept updates, drafts and old locks give way; what we had said FAIL for stays
 * failed. */
static void test_an_old_copy_is_brought_up_to_date(void **state)
{
    (void)state;
    struct channel *client = pair.sides[SIDE_CLIENT], *hub = pair.sides[SIDE_HUB];
    struct payment_id twelve = payment_number(12);
    assert_true(channel_mark_failed(client, &twelve));
    assert_int_equal(pair_add(&pair, SIDE_CLIENT, op_pay(1, 0)), CODE_OK);
    pair_seal(&pair, SIDE_CLIENT, &sent); /* sent before the copy was made */
    struct buffer copy = pair_snapshot(client);
    channel_free(lost);
    lost = pair_read_back(copy.data, copy.length);
    buffer_free(&copy);

    assert_accepted(&pair, SIDE_HUB, &sent);
    assert_int_equal(channel_acknowledged(client, 7), CODE_OK);
    pair_exchange(&pair, SIDE_CLIENT, op_unlock(3, 3));
    pair_exchange(&pair, SIDE_CLIENT, op_lock(0, 4, 0, LATER + 900, 20));
    pair_exchange(&pair, SIDE_HUB, op_pay(2, 0));
    struct channel_view view = pair_view(&pair, SIDE_CLIENT);
    struct operation draft = op_pay(3, 0);
    assert_int_equal(channel_add(lost, &view, &draft, NULL), CODE_OK);

    struct buffer journal = {0};
    channel_write_all(lost);
    channel_write(lost, &journal);
    struct pending_lock locks[8];
    for (int side = 0; side < 2; side++) {
        size_t count = locks_of(&hub->streams[side], locks);
        assert_int_equal(restore((enum side)side, &hub->streams[side], locks, count), CODE_OK);
    }
    assert_false(channel_has_draft(lost));
    assert_null(channel_kept(lost, 7));
    assert_true(channel_find_payment(lost, SIDE_HUB, &twelve)->failed);
    struct buffer here = pair_snapshot(client);
    channel_write(lost, &journal); /* the journal that goes on from the old copy gives the same */
    struct channel *again = pair_read_back(journal.data, journal.length);
    assert_non_null(again);
    struct buffer there = pair_snapshot(again);
    assert_same_bytes(&here, &there);
    channel_free(again);
    buffer_free(&journal);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_pair, close_pair)
    const struct CMUnitTest tests[] = {
        TEST(test_both_streams_come_back),
        TEST(test_every_signature_is_checked),
        TEST(test_the_locks_are_those_of_the_proof),
        TEST(test_drops_are_in_order),
        TEST(test_nothing_is_taken_back),
        TEST(test_an_old_copy_is_brought_up_to_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
