/* Towers and lost disks: receipts before REVOKE, and what a wallet takes back when all its records are gone.
 */
#include "lost_world.h"

/* ---- towers ---- */

static void give_receipt(struct world *world, const struct secret_key *key)
{
    struct balance_proof proof = world->machine->streams[SIDE_HUB].proof;
    proof.nonce = world->last_appoint.appoint.proof.proof.nonce;
    struct hash proof_digest =
        digest_balance_proof(&world->domain, &world->id, &world->last_appoint.appoint.proof.proof);
    struct hash digest = digest_receipt(&world->domain, &world->id, proof.nonce, &proof_digest);
    wallet_tower_message(
        world->core, 0,
        &(struct message){.type = MESSAGE_RECEIPT,
                          .receipt = {world->id, proof.nonce, proof_digest, key_sign(key, &digest)}});
    world->now_ms += 200;
    world_run(world);
}

static void test_revoke_waits_for_the_tower(void **state)
{
    (void)state;
    struct world *world = world_ready(1);
    wallet_tower_linked(world->core, 0);
    struct hash nobody = {{1}};
    struct operation lock = payment_of(world, &nobody, 500, true);
    world_send(world, &lock);
    assert_int_equal(world->counts[MESSAGE_APPOINT], 1);
    const struct message *appoint = &world->last_appoint;
    assert_true(appoint->appoint.proof.present);
    struct hash digest = digest_balance_proof(&world->domain, &world->id, &appoint->appoint.proof.proof);
    struct hash choice = digest_choice(&world->domain, &digest, &world->tower);
    assert_true(signature_is_by(&appoint->appoint.choice, &choice, &world->client));
    assert_int_equal(appoint->appoint.lock_count, 1);
    world_send(world, &(struct operation){.type = OPERATION_CANCEL, .lock_id = 1});
    assert_int_equal(world->counts[MESSAGE_REVOKE], 0);
    assert_int_equal(world->counts[MESSAGE_APPOINT], 1); /* one at a time */
    give_receipt(world, &world->payee_key);              /* not the tower's */
    assert_int_equal(wallet_tower_receipt(world->core, 0, &world->id), 0);
    give_receipt(world, &world->tower_key);
    assert_int_equal(wallet_tower_receipt(world->core, 0, &world->id), 1);
    assert_int_equal(world->counts[MESSAGE_REVOKE], 0);
    assert_int_equal(world->counts[MESSAGE_APPOINT], 2);
    give_receipt(world, &world->tower_key);
    assert_int_equal(world->counts[MESSAGE_REVOKE], 1);
    assert_int_equal(stream_dropped(&world->machine->streams[SIDE_HUB])->frozen.units, 0);
    /* Receipts are kept. */
    world_crash(world, memory_journal_appended(world->journal));
    assert_int_equal(wallet_tower_receipt(world->core, 0, &world->id), 2);
    world_free(world);
}

static void test_silent_tower_is_dismissed(void **state)
{
    (void)state;
    struct world *world = world_ready(1);
    struct hash nobody = {{1}};
    struct operation lock = payment_of(world, &nobody, 500, true);
    world_send(world, &lock);
    world_send(world, &(struct operation){.type = OPERATION_CANCEL, .lock_id = 1});
    assert_int_equal(world->counts[MESSAGE_REVOKE], 0);
    world->unix_s += 300;
    world_run(world);
    assert_int_equal(world->counts[MESSAGE_REVOKE], 0);
    /* Time goes on over a restart. */
    world_crash(world, memory_journal_appended(world->journal));
    world_linked(world);
    world->unix_s += 301;
    world_run(world);
    assert_int_equal(world->counts[MESSAGE_REVOKE], 1);
    assert_non_null(world_news(world, WALLET_NEWS_TROUBLE));
    world_free(world);
}

static void test_known_secrets_go_along(void **state)
{
    (void)state;
    struct world *world = world_ready(1);
    wallet_tower_linked(world->core, 0);
    struct invoice invoice = make_invoice(world, 500);
    struct operation lock = payment_of(world, &invoice.secret_hash, 500, true);
    world_send(world, &lock);
    assert_int_equal(world->last_appoint.appoint.witness_count, 1);
    world_free(world);
}

/* ---- lost disks ---- */

static void make_history(struct world *world, struct payment_id *locked)
{
    struct invoice first = make_invoice(world, 700), second = make_invoice(world, 900);
    assert_int_equal(world_pay(world, 1000, 1, PAYMENT_DIRECT, NULL), CODE_OK);
    assert_int_equal(world_pay(world, 2000, 2, PAYMENT_LOCKED, locked), CODE_OK);
    struct operation pay = payment_of(world, &first.secret_hash, 700, false),
                     lock = payment_of(world, &second.secret_hash, 900, true);
    world_send(world, &pay);
    world_send(world, &lock);
}

static void test_without_recover_nothing_is_signed(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id locked;
    make_history(world, &locked);
    lose_disk(world, false);
    world_linked(world);
    assert_non_null(world_channel(world).blocked);
    assert_int_equal(world->counts[MESSAGE_RESUME], 0);
    assert_int_equal(world_pay(world, 1000, 5, PAYMENT_DIRECT, NULL), CODE_CHANNEL);
    assert_int_equal(world->counts[MESSAGE_UPDATE], 0);
    world_free(world);
}

static void test_recovers_from_the_hub(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id locked;
    make_history(world, &locked);
    uint64_t balance = world_channel(world).balance.units;
    lose_disk(world, true);
    world_linked(world);
    assert_non_null(world_news(world, WALLET_NEWS_RECOVERED));
    assert_null(world_channel(world).blocked);
    assert_int_equal(world_channel(world).balance.units, balance);
    assert_int_equal(world_channel(world).incoming.units, 900);
    /* The lock's secret is derived again, and shown. */
    assert_int_equal(world->reveal_count, 1);
    world_send(world, &(struct operation){
                          .type = OPERATION_UNLOCK, .lock_id = 1, .witness = world->reveals[0].witness});
    assert_non_null(world_news(world, WALLET_NEWS_RECEIVED));
    /* The own lock is followed to its end. */
    world_reveal(world, &locked, 2);
    assert_int_equal(world->operations[0].type, OPERATION_UNLOCK);
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
    /* And payments go on, with the next nonce. */
    assert_int_equal(world_pay(world, 1000, 5, PAYMENT_DIRECT, NULL), CODE_OK);
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
    world_free(world);
}

/* A merchant that only ever received: the hub shows no proof of its, but does not send again what it once acknowledged. */
static void test_notices_lost_receipts(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct invoice invoice = make_invoice(world, 700);
    struct operation pay = payment_of(world, &invoice.secret_hash, 700, false);
    world_send(world, &pay);
    lose_disk(world, false);
    world_linked(world);
    assert_false(wallet_is_ready(world->core));
    world->now_ms += 6000;
    world_run(world);
    assert_true(wallet_is_ready(world->core));
    assert_non_null(world_channel(world).blocked);
    lose_disk(world, true);
    world_linked(world);
    assert_null(world_channel(world).blocked);
    assert_int_equal(world_channel(world).balance.units, 100700);
    world_free(world);
}

/* A hub that has forgotten what it signed or took is not trusted with another update; the ledger is what is left. */
static void test_forgetful_hub(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    assert_int_equal(world_pay(world, 1000, 1, PAYMENT_DIRECT, NULL), CODE_OK);
    struct stream own = world->machine->streams[SIDE_CLIENT];
    world->machine->streams[SIDE_CLIENT].proof = (struct balance_proof){.nonce = 0};
    world_unlinked(world);
    world_linked(world);
    assert_non_null(world_channel(world).blocked);
    assert_int_equal(world->counts[MESSAGE_RESUME], 0);
    assert_int_equal(world_pay(world, 1000, 2, PAYMENT_DIRECT, NULL), CODE_CHANNEL);
    world->machine->streams[SIDE_CLIENT] = own;
    world_unlinked(world);
    world_linked(world);
    assert_null(world_channel(world).blocked);
    world_free(world);
}

/* An old copy of the folder is as good as none: the hub has seen newer proofs. */
static void test_old_backup(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    assert_int_equal(world_pay(world, 1000, 1, PAYMENT_DIRECT, NULL), CODE_OK);
    uint64_t backup = memory_journal_appended(world->journal);
    assert_int_equal(world_pay(world, 1000, 2, PAYMENT_DIRECT, NULL), CODE_OK);
    world_unlinked(world);
    world_crash(world, backup);
    world_linked(world);
    assert_non_null(world_channel(world).blocked);
    world->options.recover = true;
    world_unlinked(world);
    world_crash(world, memory_journal_appended(world->journal));
    world_linked(world);
    assert_null(world_channel(world).blocked);
    assert_int_equal(world_pay(world, 1000, 3, PAYMENT_DIRECT, NULL), CODE_OK);
    assert_int_equal(world->judgement.verdict, VERDICT_ACCEPTED);
    world_free(world);
}

static void test_forged_proofs_are_not_taken(void **state)
{
    (void)state;
    struct world *world = world_ready(0);
    struct payment_id locked;
    make_history(world, &locked);
    struct signature good = world->machine->streams[SIDE_CLIENT].signature;
    lose_disk(world, true);
    world->machine->streams[SIDE_CLIENT].signature.bytes[40] ^= 1;
    world_linked(world);
    assert_non_null(world_channel(world).blocked);
    assert_int_equal(world->counts[MESSAGE_RESUME], 0);
    world->machine->streams[SIDE_CLIENT].signature = good;
    world_free(world);
}

/* The tower holds a newer proof of the hub than the hub shows: the hub is not trusted with this channel any
 * more. */
static void test_tower_knows_better(void **state)
{
    (void)state;
    struct world *world = world_ready(1);
    wallet_tower_linked(world->core, 0);
    struct invoice first = make_invoice(world, 700), second = make_invoice(world, 900);
    struct operation pay = payment_of(world, &first.secret_hash, 700, false);
    world_send(world, &pay);
    struct stream old = world->machine->streams[SIDE_HUB];
    pay = payment_of(world, &second.secret_hash, 900, false);
    world_send(world, &pay);
    struct stream newest = world->machine->streams[SIDE_HUB];
    lose_disk(world, true);
    wallet_tower_linked(world->core, 0);
    world->machine->streams[SIDE_HUB].proof = old.proof;
    world->machine->streams[SIDE_HUB].signature = old.signature;
    memset(world->counts, 0, sizeof(world->counts));
    wallet_linked(world->core, &world->terms, 1);
    world_show_channel(world);
    world_run(world);
    assert_int_equal(world->counts[MESSAGE_FETCH], 1);
    assert_int_equal(world->counts[MESSAGE_RESUME], 0);
    wallet_tower_message(
        world->core, 0,
        &(struct message){.type = MESSAGE_KEPT,
                          .appoint = {.key = world->key, .proof = {true, newest.proof, newest.signature}}});
    world_run(world);
    assert_non_null(world_channel(world).blocked);
    assert_int_equal(world_channel(world).balance.units, 101600);
    /* `dispute` shows what the tower kept. */
    assert_int_equal(disputed_with(world).nonce, 2);
    world->machine->streams[SIDE_HUB].proof = newest.proof;
    world_free(world);
}

/* A tower that keeps nothing, or says nothing, does not keep the wallet waiting for ever. */
static void test_silent_tower_does_not_stop_recovery(void **state)
{
    (void)state;
    struct world *world = world_ready(1);
    struct payment_id locked;
    make_history(world, &locked);
    lose_disk(world, true);
    world_linked(world);
    assert_false(wallet_is_ready(world->core));
    world->now_ms += 11000;
    world_run(world);
    assert_true(wallet_is_ready(world->core));
    assert_non_null(world_news(world, WALLET_NEWS_RECOVERED));
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_revoke_waits_for_the_tower),
        cmocka_unit_test(test_silent_tower_is_dismissed),
        cmocka_unit_test(test_known_secrets_go_along),
        cmocka_unit_test(test_without_recover_nothing_is_signed),
        cmocka_unit_test(test_recovers_from_the_hub),
        cmocka_unit_test(test_notices_lost_receipts),
        cmocka_unit_test(test_forgetful_hub),
        cmocka_unit_test(test_old_backup),
        cmocka_unit_test(test_forged_proofs_are_not_taken),
        cmocka_unit_test(test_tower_knows_better),
        cmocka_unit_test(test_silent_tower_does_not_stop_recovery),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
