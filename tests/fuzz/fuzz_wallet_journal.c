/* A wallet's journal, as fuzz_hub_journal.c is for the hub's.
 *
 *     input: a batch of records
 *
 * Refused, or it makes sense: the wallet then runs, is linked and unlinked, and what it writes is read by the next one,
 * which has the same channels and payments. */
#include "tests/fuzz/input.h"

#include <stdlib.h>
#include <string.h>

#include "wallet/core.h"

struct world {
    struct buffer batches;
    uint64_t sequence;
};

static uint64_t effect_append(void *context, const uint8_t *batch, size_t length)
{
    struct world *world = context;
    buffer_append(&world->batches, batch, length);
    return ++world->sequence;
}

static void effect_send(void *context, uint64_t sequence, uint64_t peer, const struct message *message)
{
    struct world *world = context;
    struct buffer frame = {0};
    (void)peer;
    ensure(sequence <= world->sequence);
    message_encode(&frame, message);
    buffer_free(&frame);
}

static void effect_submit(void *context, uint64_t sequence, uint64_t submission,
                          const struct contract_call *call)
{
    struct world *world = context;
    struct buffer data = {0};
    (void)submission;
    ensure(sequence <= world->sequence);
    contract_encode_call(&data, call);
    buffer_free(&data);
}

static void effect_ask(void *context, uint64_t question, const struct contract_call *view)
{
    (void)context;
    (void)question;
    ensure(view->function < CONTRACT_FUNCTION_COUNT);
}

static void effect_tell(void *context, uint64_t sequence, const struct wallet_news *news)
{
    const struct world *world = context;
    ensure(sequence <= world->sequence && news->type <= WALLET_NEWS_TROUBLE);
}

static void effect_pause(void *context, bool pause)
{
    (void)context;
    (void)pause;
}

static void effect_disconnect(void *context, const char *why)
{
    (void)context;
    ensure(why[0] != '\0');
}

static const struct wallet_effects effects = {effect_append, effect_send,  effect_submit,    effect_ask,
                                              effect_tell,   effect_pause, effect_disconnect};

static struct wallet_core *start(struct world *world)
{
    /* As tests/wallet/wallet_world.h has them, where the corpus comes from. */
    struct address contract;
    struct secret_key hub;
    memset(contract.bytes, 0xcc, sizeof(contract.bytes));
    memset(hub.bytes, 2, sizeof(hub.bytes));
    struct wallet_core_options options = {.domain = domain_make(31337, &contract),
                                          .hub = secret_key_address(&hub),
                                          .challenge_period_s = 3600,
                                          .history_max = 1000,
                                          .endpoint = "127.0.0.1:9735"};
    memset(options.key.bytes, 1, sizeof(options.key.bytes));
    return wallet_new(&options, &effects, world);
}

static bool recover(struct wallet_core *core, const struct buffer *batches)
{
    char message[256] = "";
    struct reader reader = reader_of(batches->data, batches->length);
    struct record record;
    while (record_next(&reader, &record))
        if (!record_is_archive(&record) && !wallet_read(core, &record))
            return false;
    if (!reader.ok)
        return false;
    bool recovered = wallet_recovered(core, message, sizeof(message));
    ensure(recovered || message[0] != '\0');
    return recovered;
}

static bool add_one(void *context, const struct payment_view *payment)
{
    ensure(payment->memo != NULL);
    ++*(size_t *)context;
    return true;
}

static size_t payments(const struct wallet_core *core)
{
    size_t count = 0;
    wallet_history(core, add_one, &count);
    return count;
}

static void live_a_little(struct wallet_core *core)
{
    const struct terms terms = {.confirmations = 1,
                                .reveal_margin_s = 60,
                                .min_expiry_s = 600,
                                .max_expiry_s = 86400,
                                .settle_window_s = 3600,
                                .asset_count = 1,
                                .assets = {{.base_fee = {1},
                                            .fee_ppm = 1000,
                                            .direct_limit = {10000},
                                            .reserve_bps = 100,
                                            .min_lock = {100},
                                            .max_lock = {1000000},
                                            .max_locks_per_payer = 100}}};
    struct ledger_head head = {100, 1800000600, 99, 1800000599};
    wallet_run(core, 1000, 1800000600);
    wallet_head(core, &head);
    wallet_run(core, 2000, 1800000601);
    wallet_linked(core, &terms, 0);
    wallet_run(core, 3000, 1800000602);
    wallet_unlinked(core);
    head = (struct ledger_head){200, 1800100000, 199, 1800099999};
    wallet_head(core, &head);
    wallet_run(core, 4000, 1800100000);
}

static void must_agree(const struct wallet_core *a, const struct wallet_core *b)
{
    struct wallet_channel_view of_a, of_b;
    size_t i = 0;
    for (; wallet_channel_at(a, i, &of_a); i++) {
        ensure(wallet_channel_find(b, &of_a.id, &of_b));
        ensure(of_a.total.units == of_b.total.units && of_a.balance.units == of_b.balance.units);
        ensure(of_a.locked.units == of_b.locked.units && of_a.incoming.units == of_b.incoming.units);
        ensure(of_a.frozen.units == of_b.frozen.units && of_a.stage == of_b.stage);
    }
    ensure(!wallet_channel_at(b, i, &of_b));
    ensure(payments(a) == payments(b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world world = {0}, ignored = {0};
    buffer_append(&world.batches, data, size);
    struct wallet_core *core = start(&world);
    if (recover(core, &world.batches)) {
        live_a_little(core);
        struct wallet_core *next = start(&ignored);
        ensure(recover(next, &world.batches));
        must_agree(core, next);
        wallet_free(next);
    }
    wallet_free(core);
    buffer_free(&world.batches);
    buffer_free(&ignored.batches);
    return 0;
}
