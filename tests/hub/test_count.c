/* Counting what is whose while payments go on: the sums are those of the moment at which the counting began. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "hub/publication.h"

#include "engine_batches.h"

struct moment {
    struct hash channel[3];
    uint64_t balance[3], nonce_client[3], nonce_hub[3];
    uint64_t clients, totals;
};

static struct moment moment_of(struct world *world)
{
    struct moment out = {.clients = 0};
    for (unsigned i = 0; i < 3; i++) {
        const struct channel *channel = hub_side(world, i)->channel;
        out.channel[i] = channel->id;
        out.balance[i] = (uint64_t)channel_balance(channel, SIDE_CLIENT);
        out.nonce_client[i] = channel->streams[SIDE_CLIENT].proof.nonce;
        out.nonce_hub[i] = channel->streams[SIDE_HUB].proof.nonce;
        out.clients += out.balance[i];
        out.totals += channel->funds.total.units;
    }
    return out;
}

static void assert_counted(const struct engine_count *count, const struct moment *moment)
{
    uint64_t clients = 0;
    assert_int_equal(count->length, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct engine_counted *entry = &count->entries[i];
        unsigned k = 0;
        while (k < 3 && !hash_equal(&moment->channel[k], &entry->channel))
            k++;
        assert_true(k < 3);
        assert_int_equal(entry->balance.units, moment->balance[k]);
        assert_int_equal(entry->nonce_client, moment->nonce_client[k]);
        assert_int_equal(entry->nonce_hub, moment->nonce_hub[k]);
        clients += entry->balance.units;
    }
    assert_int_equal(clients, moment->clients);
    assert_int_equal(clients + count->assets[0].hub.units, moment->totals);
}

static void test_payments_go_on_meanwhile(void **state)
{
    struct world *world = *state;
    for (uint8_t round = 0; round < 20; round++) {
        world_pay(world, 0, 1, 7, (uint8_t)(4 * round + 1), false);
        world_settle_down(world);
        struct moment moment = moment_of(world);
        assert_true(engine_count_begin(world->engine));
        assert_false(engine_count_begin(world->engine)); /* one at a time */
        for (uint8_t slice = 0;; slice++) {
            bool done = engine_count_more(world->engine, 1);
            if (slice == round % 4) { /* before, between and after */
                world_pay(world, 0, 1, 5, (uint8_t)(4 * round + 2), false);
                world_pay(world, 2, 1, 3, (uint8_t)(4 * round + 3), round % 2 == 1);
                world_settle_down(world);
                world_fund(world, 2, 100, 0); /* a deposit */
            }
            if (done)
                break;
        }
        struct engine_count *count = engine_count_take(world->engine);
        assert_counted(count, &moment);
        engine_count_free(count);
    }
}

/* A payee that is away: its money is in nobody's balance, and said to be on its way. */
static void test_what_waits_is_in_transit(void **state)
{
    struct world *world = *state;
    world_disconnect(world, 1);
    /* Its window is full of what it has not acknowledged, so that more waits. */
    for (uint8_t id = 1; id <= 70; id++) {
        world_pay(world, 0, 1, 10, id, false);
        world_settle_down(world);
    }
    uint64_t waiting = 0;
    size_t at = 0;
    for (const struct payment *payment; (payment = payments_each(&world->engine->payments, &at)) != NULL;)
        if (payment->state == PAYMENT_WAITING)
            waiting += payment->amount.units + payment->fee.units;
    assert_true(waiting > 0);
    struct moment moment = moment_of(world);
    assert_true(engine_count_begin(world->engine));
    assert_true(engine_count_more(world->engine, 100));
    struct engine_count *count = engine_count_take(world->engine);
    assert_counted(count, &moment);
    assert_int_equal(count->assets[0].in_transit.units, waiting);
    engine_count_free(count);
}

static void test_a_count_that_is_not_taken_is_freed(void **state)
{
    struct world *world = *state;
    assert_true(engine_count_begin(world->engine));
    assert_false(engine_count_more(world->engine, 1));
}

/* ---- what is made of it ---- */

static struct engine_count *counted(struct world *world)
{
    assert_true(engine_count_begin(world->engine));
    while (!engine_count_more(world->engine, 1))
        continue;
    return engine_count_take(world->engine);
}

static void test_a_publication_has_everybody(void **state)
{
    struct world *world = *state;
    struct engine_count *count = counted(world), *const counts[] = {count};
    struct moment moment = moment_of(world);
    struct publication *publication =
        publication_build(counts, 1, 5, &HASH_ZERO, &world->domain, &world->hub_key);
    assert_non_null(publication);
    const struct liability *sums = &publication->statement.assets[0];
    assert_int_equal(sums->channels, 3);
    assert_int_equal(sums->clients.units, moment.clients);
    assert_int_equal(sums->clients.units + sums->hub.units, moment.totals);
    struct hash digest = liabilities_digest(&world->domain, &publication->statement);
    assert_true(signature_is_by(&publication->signature, &digest, &world->hub));
    for (unsigned i = 0; i < 3; i++) {
        struct publication_proof proof;
        assert_true(publication_find(publication, &world->clients[i].channel->key, &proof));
        struct sum_node leaf = liabilities_leaf(&proof.leaf), root = {sums->root, sums->clients.units};
        assert_int_equal(proof.leaf.balance.units, moment.balance[i]);
        assert_true(sum_verify(&leaf, proof.index, proof.count, proof.path, proof.length, &root));
    }
    struct channel_key nobody = world->clients[0].channel->key;
    struct publication_proof proof;
    nobody.salt++;
    assert_false(publication_find(publication, &nobody, &proof));
    /* Kept and read back. */
    struct buffer kept = {0};
    struct liabilities back;
    struct signature signature;
    publication_write(publication, &kept);
    assert_true(publication_read(&kept, &back, &signature));
    struct hash event = liabilities_event(&back);
    assert_true(hash_equal(&event, &publication->event));
    engine_keep_statement(world->engine, kept.data, kept.length);
    engine_flush(world->engine);
    world_settle_down(world);
    world_crash(world);
    const struct buffer *again = engine_statement(world->engine);
    assert_int_equal(again->length, kept.length);
    assert_memory_equal(again->data, kept.data, kept.length);
    buffer_free(&kept);
    publication_free(publication);
    engine_count_free(count);
}

static void test_counts_of_other_blocks_or_too_much_give_none(void **state)
{
    struct world *world = *state;
    struct engine_count *count = counted(world), *other = counted(world);
    struct engine_count *const counts[] = {count, other};
    other->block++;
    assert_null(publication_build(counts, 2, 1, &HASH_ZERO, &world->domain, &world->hub_key));
    other->block--;
    for (size_t i = 0; i < other->length; i++)
        other->entries[i].balance = amount_of(AMOUNT_LIMIT - 1);
    assert_null(publication_build(counts, 2, 1, &HASH_ZERO, &world->domain, &world->hub_key));
    engine_count_free(count);
    engine_count_free(other);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, open_world, close_world)
    const struct CMUnitTest tests[] = {
        TEST(test_payments_go_on_meanwhile),
        TEST(test_what_waits_is_in_transit),
        TEST(test_a_count_that_is_not_taken_is_freed),
        TEST(test_a_publication_has_everybody),
        TEST(test_counts_of_other_blocks_or_too_much_give_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
