/* A wallet that lost its disk, or has an old copy of it, and a hub that does not say what it knows: what the towers keep
 * stands. */
#include "lost_world.h"

/* What the tower keeps of the hub's stream. */
struct kept {
    struct stream stream;
    struct shown_lock locks[4];
    size_t lock_count;
    struct shown_revocation revocation;
};

/* As the hub's stream is now. */
static struct kept keep(const struct world *world)
{
    struct kept kept = {.stream = world->machine->streams[SIDE_HUB]};
    const struct lock_set *set = kept.stream.locks;
    for (const struct pending_lock *lock = lock_set_next(set, 0); lock != NULL;
         lock = lock_set_next(set, lock->lock.id))
        kept.locks[kept.lock_count++] = (struct shown_lock){.lock = lock->lock};
    return kept;
}

static void give_kept(struct world *world, const struct kept *kept)
{
    wallet_tower_message(world->core, 0,
                         &(struct message){.type = MESSAGE_KEPT,
                                           .appoint = {.key = world->key,
                                                       .proof = {kept->stream.proof.nonce > 0,
                                                                 kept->stream.proof, kept->stream.signature},
                                                       .locks = kept->locks,
                                                       .lock_count = kept->lock_count,
                                                       .revocation = kept->revocation}});
    world_run(world);
}

static void keeps_nothing(struct world *world)
{
    wallet_tower_message(world->core, 0,
                         &(struct message){.type = MESSAGE_ERROR,
                                           .error = {.code = CODE_CHANNEL,
                                                     .reference = {.present = true,
                                                                   .type = MESSAGE_FETCH,
                                                                   .has_channel = true,
                                                                   .channel = world->id}}});
    world_run(world);
}

/* A hub that begins the channel anew, as if nothing had ever been signed in it. */
static void forget_all(struct world *world)
{
    struct channel_funds funds = world->machine->funds;
    channel_free(world->machine);
    world->machine = channel_new(&world->key, SIDE_HUB, 100);
    (void)channel_set_funds(world->machine, &funds);
}

static void receive(struct world *world, uint64_t amount, bool locked)
{
    struct invoice invoice = make_invoice(world, amount);
    struct operation operation = payment_of(world, &invoice.secret_hash, amount, locked);
    world_send(world, &operation);
}

/* Connects again after the loss, with a tower that is there; nothing may be signed before it has answered. */
static void linked_with_tower(struct world *world)
{
    wallet_tower_linked(world->core, 0);
    world_linked(world);
    assert_int_equal(world->counts[MESSAGE_FETCH], 1);
    assert_int_equal(world->counts[MESSAGE_RESUME], 0);
    assert_null(world_news(world, WALLET_NEWS_RECOVERED));
}

static void expect_blocked(struct world *world, uint64_t nonce)
{
    assert_non_null(world_channel(world).blocked);
    assert_int_equal(world_channel(world).nonce_hub, nonce);
    assert_int_equal(world->counts[MESSAGE_RESUME], 0);
    assert_int_equal(world_pay(world, 1000, 5, PAYMENT_DIRECT, NULL), CODE_CHANNEL);
    assert_int_equal(world->counts[MESSAGE_UPDATE], 0);
}

/* The hub shows both streams as if nothing had ever been signed. What the tower keeps stands all the same, over a
 * restart too, and the lock in it can be claimed. */
static void test_a_hub_that_admits_nothing(void **state)
{
    (void)state;
    struct world *world = world_ready(1);
    assert_int_equal(world_pay(world, 1000, 1, PAYMENT_DIRECT, NULL), CODE_OK);
    receive(world, 700, false);
    receive(world, 900, false);
    receive(world, 300, true);
    struct hash condition = lock_set_next(world->machine->streams[SIDE_HUB].locks, 0)->lock.condition;
    struct kept kept = keep(world);
    forget_all(world);
    lose_disk(world, true);
    linked_with_tower(world);
    give_kept(world, &kept);
    assert_non_null(world_news(world, WALLET_NEWS_RECOVERED));
    expect_blocked(world, 3);
    assert_int_equal(world_channel(world).balance.units, 101600);
    world->options.recover = false;
    world_unlinked(world);
    world_crash(world, memory_journal_appended(world->journal));
    world_linked(world);
    expect_blocked(world, 3);
    struct balance_proof shown = disputed_with(world);
    assert_int_equal(shown.nonce, 3);
    assert_int_equal(shown.transferred.units, 1600);
    world_event(world, (struct contract_event){.type = EVENT_CLOSE_STARTED});
    world_head(world, 5);
    bool registered = false;
    for (size_t i = 0; i < world->transaction_count; i++) {
        const struct contract_call *call = &world->transactions[i].call;
        struct hash hash = condition_of_secret(call->hash.bytes);
        registered |= call->function == CONTRACT_REGISTER_SECRET && hash_equal(&hash, &condition);
    }
    assert_true(registered);
    world_free(world);
}

/* It does not show the channel at all. */
static void test_a_channel_that_is_not_shown(void **state)
{
    (void)state;
    for (uint64_t is_kept = 0; is_kept < 2; is_kept++) {
        struct world *world = world_ready(1);
        receive(world, 700, false);
        struct kept kept = keep(world);
        lose_disk(world, true);
        wallet_tower_linked(world->core, 0);
        wallet_linked(world->core, &world->terms, 0);
        memset(world->counts, 0, sizeof(world->counts));
        world_run(world);
        assert_int_equal(world->counts[MESSAGE_FETCH], 1);
        assert_false(wallet_is_ready(world->core));
        if (is_kept)
            give_kept(world, &kept);
        else
            keeps_nothing(world);
        assert_non_null(world_news(world, WALLET_NEWS_RECOVERED));
        expect_blocked(world, is_kept);
        if (is_kept)
            assert_int_equal(disputed_with(world).transferred.units, 700);
        world_free(world);
    }
}

/* A channel shown after all is taken over as if it had been there at once. */
static void test_a_channel_that_is_shown_later(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    lose_disk(world, true);
    wallet_linked(world->core, &world->terms, 0);
    world_run(world);
    assert_non_null(world_channel(world).blocked);
    world_show_channel(world);
    world_run(world);
    assert_null(world_channel(world).blocked);
    assert_int_equal(world_pay(world, 1000, 5, PAYMENT_DIRECT, NULL), CODE_OK);
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
    world_free(world);
}

/* Nobody is there but the tower. */
static void test_a_hub_that_is_gone(void **state)
{
    (void)state;
    struct world *world = world_ready(1);
    receive(world, 700, false);
    struct kept kept = keep(world);
    lose_disk(world, true);
    wallet_tower_linked(world->core, 0);
    memset(world->counts, 0, sizeof(world->counts));
    world_run(world);
    assert_int_equal(world->counts[MESSAGE_FETCH], 1);
    give_kept(world, &kept);
    assert_int_equal(world_channel(world).nonce_hub, 0); /* it may still come */
    world->now_ms += 21000;
    world_run(world);
    assert_non_null(world_news(world, WALLET_NEWS_TROUBLE));
    expect_blocked(world, 1);
    /* It comes back, and was honest: all is well. */
    world_linked(world);
    assert_null(world_channel(world).blocked);
    assert_non_null(world_news(world, WALLET_NEWS_RECOVERED));
    receive(world, 900, false);
    assert_int_equal(world_channel(world).balance.units, 101600);
    world_free(world);
}

/* Junk in a stream of the hub's is no way around what the tower keeps. */
static void test_junk_does_not_hide_what_is_kept(void **state)
{
    (void)state;
    for (int side = 0; side < 2; side++) {
        struct world *world = world_ready(1);
        assert_int_equal(world_pay(world, 1000, 1, PAYMENT_DIRECT, NULL), CODE_OK);
        receive(world, 700, false);
        receive(world, 900, false);
        struct kept kept = keep(world);
        forget_all(world);
        world->machine->streams[side].proof = (struct balance_proof){.nonce = 40, .transferred = {5000}};
        lose_disk(world, true);
        linked_with_tower(world);
        give_kept(world, &kept);
        expect_blocked(world, 2);
        assert_int_equal(disputed_with(world).transferred.units, 1600);
        world_free(world);
    }
}

/* Another proof with the number of the one that is kept, or with a higher one and less in it: signed, and a lie. */
static void test_a_second_proof_is_not_taken(void **state)
{
    (void)state;
    for (uint64_t above = 0; above < 2; above++) {
        struct world *world = world_ready(1);
        receive(world, 700, false);
        receive(world, 900, false);
        struct kept kept = keep(world);
        forget_all(world);
        struct stream *shown = &world->machine->streams[SIDE_HUB];
        shown->proof = (struct balance_proof){.nonce = 2 + above, .transferred = {5}};
        struct hash digest = digest_balance_proof(&world->domain, &world->id, &shown->proof);
        shown->signature = key_sign(&world->hub_key, &digest);
        lose_disk(world, true);
        linked_with_tower(world);
        give_kept(world, &kept);
        expect_blocked(world, 2);
        assert_int_equal(disputed_with(world).transferred.units, 1600);
        world_free(world);
    }
}

/* To an old copy of the folder the hub shows exactly what is in it. */
static void test_an_old_copy_that_the_hub_flatters(void **state)
{
    (void)state;
    struct world *world = world_ready(1);
    receive(world, 700, false);
    uint64_t backup = memory_journal_appended(world->journal);
    struct stream old = world->machine->streams[SIDE_HUB];
    receive(world, 900, false);
    struct kept kept = keep(world);
    world->machine->streams[SIDE_HUB].proof = old.proof;
    world->machine->streams[SIDE_HUB].signature = old.signature;
    world->options.recover = true;
    world_unlinked(world);
    world_crash(world, backup);
    assert_int_equal(world_channel(world).nonce_hub, 1);
    linked_with_tower(world);
    give_kept(world, &kept);
    expect_blocked(world, 2);
    world_free(world);
}

/* What the hub has answered to, it has had: its own word on it is with the tower. */
static void test_an_update_that_the_hub_denies(void **state)
{
    (void)state;
    struct world *world = world_ready(1);
    assert_int_equal(world_pay(world, 1000, 1, PAYMENT_DIRECT, NULL), CODE_OK);
    struct kept kept = {.revocation = {.present = true, .min_nonce = 1}};
    struct hash digest = digest_revocation(&world->domain, &world->id, 1);
    forget_all(world);
    for (int is_signed = 0; is_signed < 2; is_signed++) {
        kept.revocation.signature = key_sign(is_signed ? &world->hub_key : &world->payee_key, &digest);
        lose_disk(world, true);
        linked_with_tower(world);
        give_kept(world, &kept);
        assert_int_equal(world_channel(world).blocked != NULL, is_signed);
        assert_int_equal(world->counts[MESSAGE_RESUME], !is_signed);
    }
    world_free(world);
}

/* A tower's proof that the hub never signed blocks nothing. */
static void test_a_tower_cannot_make_it_up(void **state)
{
    (void)state;
    struct world *world = world_ready(1);
    receive(world, 700, false);
    struct kept kept = keep(world);
    kept.stream.proof.nonce = 9;
    struct hash digest = digest_balance_proof(&world->domain, &world->id, &kept.stream.proof);
    kept.stream.signature = key_sign(&world->tower_key, &digest);
    lose_disk(world, true);
    linked_with_tower(world);
    give_kept(world, &kept);
    assert_null(world_channel(world).blocked);
    assert_int_equal(world_channel(world).balance.units, 100700);
    world_free(world);
}

/* Locks that are not those of the proof cannot be taken, but the proof says that there was more. */
static void test_a_proof_without_its_locks(void **state)
{
    (void)state;
    struct world *world = world_ready(1);
    receive(world, 700, false);
    receive(world, 300, true);
    struct kept kept = keep(world);
    kept.lock_count = 0;
    forget_all(world);
    lose_disk(world, true);
    linked_with_tower(world);
    give_kept(world, &kept);
    expect_blocked(world, 0);
    world_free(world);
}

/* A revocation above the proof, or drops that cannot be: nothing of it is taken, and nothing breaks. */
static void test_a_stream_that_cannot_be(void **state)
{
    (void)state;
    struct drop drops[] = {{1, {5}}, {1, {5}}};
    for (int i = 0; i < 4; i++) {
        enum side side = i % 2 == 0 ? SIDE_CLIENT : SIDE_HUB;
        struct world *world = world_ready(1);
        const struct secret_key *signers[] = {&world->client_key, &world->hub_key};
        struct stream *shown = &world->machine->streams[side];
        shown->proof.nonce = 1;
        struct hash digest = digest_balance_proof(&world->domain, &world->id, &shown->proof);
        shown->signature = key_sign(signers[side], &digest);
        digest = digest_revocation(&world->domain, &world->id, 2);
        struct dropped impossible = {.revoked_nonce = 2,
                                     .revocation = key_sign(signers[side_other(side)], &digest)};
        if (i >= 2)
            impossible = (struct dropped){.drops = drops, .drop_count = ARRAY_LENGTH(drops)};
        shown->dropped = &impossible;
        lose_disk(world, true);
        linked_with_tower(world);
        keeps_nothing(world);
        expect_blocked(world, 0);
        assert_int_equal(world_channel(world).nonce_client, 0);
        shown->dropped = NULL;
        world_free(world);
    }
}

/* A wallet that begins anew in an empty folder, with a hub that plays along: the tower has signed for more, and can show
 * it. One that only says so stops nothing. */
static void test_a_receipt_for_more_than_is_known(void **state)
{
    (void)state;
    struct world *world = world_ready(1);
    receive(world, 700, false);
    receive(world, 900, false);
    struct kept kept = keep(world);
    struct hash kept_digest = digest_balance_proof(&world->domain, &world->id, &kept.stream.proof);
    forget_all(world);
    for (int shows = 0; shows < 2; shows++) {
        if (shows)
            forget_all(world);
        lose_disk(world, false);
        wallet_tower_linked(world->core, 0);
        world_linked(world);
        receive(world, 10, false);
        struct kept first = keep(world);
        assert_int_equal(world->counts[MESSAGE_APPOINT], 1);
        struct hash digest = digest_receipt(&world->domain, &world->id, 2, &kept_digest);
        for (int again = 0; again < 2; again++) {
            wallet_tower_message(world->core, 0,
                                 &(struct message){.type = MESSAGE_RECEIPT,
                                                   .receipt = {world->id, 2, kept_digest,
                                                               key_sign(&world->tower_key, &digest)}});
            world_run(world);
            assert_int_equal(world->counts[MESSAGE_FETCH], 1);
        }
        give_kept(world, shows ? &kept : &first);
        if (shows) {
            world->counts[MESSAGE_RESUME] = 0; /* before it was known */
            expect_blocked(world, 2);
            assert_int_equal(world_channel(world).balance.units, 101600);
        } else {
            assert_null(world_channel(world).blocked);
            assert_int_equal(world_pay(world, 1000, 5, PAYMENT_DIRECT, NULL), CODE_OK);
            assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
        }
    }
    /* On disk, too. */
    world_unlinked(world);
    world_crash(world, memory_journal_appended(world->journal));
    world_linked(world);
    expect_blocked(world, 2);
    assert_int_equal(disputed_with(world).transferred.units, 1600);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_hub_that_admits_nothing),
        cmocka_unit_test(test_a_channel_that_is_not_shown),
        cmocka_unit_test(test_a_channel_that_is_shown_later),
        cmocka_unit_test(test_a_hub_that_is_gone),
        cmocka_unit_test(test_junk_does_not_hide_what_is_kept),
        cmocka_unit_test(test_a_second_proof_is_not_taken),
        cmocka_unit_test(test_an_old_copy_that_the_hub_flatters),
        cmocka_unit_test(test_an_update_that_the_hub_denies),
        cmocka_unit_test(test_a_tower_cannot_make_it_up),
        cmocka_unit_test(test_a_proof_without_its_locks),
        cmocka_unit_test(test_a_stream_that_cannot_be),
        cmocka_unit_test(test_a_receipt_for_more_than_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
