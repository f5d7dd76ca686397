/* The wallet's world for a wallet that loses its disk. */
#ifndef RILL_TESTS_WALLET_LOST_WORLD_H
#define RILL_TESTS_WALLET_LOST_WORLD_H

#include "wallet_world.h"

static MAYBE_UNUSED struct invoice make_invoice(struct world *world, uint64_t amount)
{
    struct invoice invoice;
    struct amount units = {amount};
    assert_int_equal(
        wallet_invoice(world->core, &world->key.asset, units, 3600, NULL, world->unix_s, &invoice), CODE_OK);
    world_run(world);
    return invoice;
}

static MAYBE_UNUSED struct operation payment_of(struct world *world, const struct hash *condition,
                                                uint64_t amount, bool locked)
{
    return (struct operation){.type = locked ? OPERATION_LOCK : OPERATION_PAY,
                              .id = world_new_id(world),
                              .amount = {amount},
                              .expiry = world->head.confirmed_time + 5000,
                              .condition = *condition};
}

/* The wallet's disk is gone; the hub is as it was. */
static MAYBE_UNUSED void lose_disk(struct world *world, bool recover)
{
    world->options.recover = recover;
    world_unlinked(world);
    world_crash(world, 0);
    /* The ledger's story is read again from its beginning. */
    world_event(world, (struct contract_event){
                           .type = EVENT_OPENED, .address = world->client, .other = world->key.asset});
    world_event(world, (struct contract_event){
                           .type = EVENT_FUNDED, .client_amount = {100000}, .hub_amount = {100000}});
    world_head(world, 5);
    world->news_count = 0;
    world->reveal_count = world->fail_count = 0;
}

/* The wallet disputes; returns what it shows of the hub's stream. */
static MAYBE_UNUSED struct balance_proof disputed_with(struct world *world)
{
    assert_int_equal(wallet_dispute(world->core, &world->id), CODE_OK);
    world_run(world);
    struct buffer data = {0};
    contract_encode_channel(
        &data, &(struct channel_state){.total = {200000}, .base = 100000, .status = CHANNEL_OPEN});
    wallet_answer(world->core, world->asks[world->ask_count - 1].id, true, data.data, data.length);
    buffer_free(&data);
    world_run(world);
    const struct contract_call *call = &world->transactions[world->transaction_count - 1].call;
    assert_int_equal(call->function, CONTRACT_START_CLOSE);
    return call->proof;
}

#endif
