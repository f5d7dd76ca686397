#include "tests/fuzz/seeds.h"
#include "tests/wallet/wallet_world.h"

static bool add_record(void *context, const struct record *record)
{
    if (record->gone)
        record_gone(context, record->type, record->key, record->key_length);
    else
        record_put(context, record->type, record->key, record->key_length, record->value,
                   record->value_length);
    return true;
}

static void save(struct world *world, const char *name)
{
    struct buffer batch = {0};
    memory_journal_crash(world->journal, journal_durable(world->journal));
    ensure(journal_recover(world->journal, add_record, &batch));
    seed_write("wallet_journal", name, -1, batch.data, batch.length);
    buffer_free(&batch);
}

void seeds_of_wallet(void)
{
    struct world *world = world_ready(0);
    struct payment_id id;
    struct invoice invoice;
    save(world, "ready");
    ensure(world_pay(world, 1000, 7, PAYMENT_AUTO, &id) == CODE_OK);
    save(world, "direct");
    world_reveal(world, &id, 7);
    ensure(world_pay(world, 20000, 8, PAYMENT_LOCKED, &id) == CODE_OK);
    save(world, "locked");
    ensure(wallet_invoice(world->core, &world->key.asset, amount_of(50), 3600, "tea", world->unix_s,
                          &invoice) == CODE_OK);
    world_run(world);
    save(world, "invoice");
    ensure(wallet_withdraw(world->core, &world->id, amount_of(500)) == CODE_OK);
    world_run(world);
    save(world, "withdrawing");
    world_free(world);
}
