/* A hub's journal: records as they may stand on a disk that went wrong, or that another program wrote.
 *
 *     input: a batch of records
 *
 * Either a record is refused (engine_read), or the whole is (engine_recovered), or what was read makes sense: then the
 * engine works on it, and what it writes is read by the next engine, which makes the same of it. */
#include "tests/fuzz/input.h"

#include <stdlib.h>
#include <string.h>

#include "hub/engine_state.h"

struct written {
    struct buffer batches;
    uint64_t sequence;
};

static uint64_t effect_journal(void *context, const uint8_t *batch, size_t length)
{
    struct written *written = context;
    buffer_append(&written->batches, batch, length);
    return ++written->sequence;
}

static void effect_send(void *context, uint64_t sequence, uint64_t peer, const uint8_t *frame, size_t length)
{
    struct written *written = context;
    (void)peer;
    ensure(sequence <= written->sequence && length > 4 && load_be32(frame) == length - 4);
}

static void effect_call(void *context, uint64_t sequence, enum engine_call call, uint64_t reference,
                        const uint8_t *data, size_t length)
{
    struct written *written = context;
    struct contract_call decoded;
    (void)call;
    (void)reference;
    ensure(sequence <= written->sequence && contract_decode_call(data, length, &decoded));
    contract_call_free(&decoded);
}

static void effect_disconnect(void *context, uint64_t peer, enum code code)
{
    (void)context;
    (void)peer;
    (void)code;
}

static struct engine *start(struct written *written)
{
    const struct engine_effects effects = {.journal = effect_journal,
                                           .send = effect_send,
                                           .call = effect_call,
                                           .disconnect = effect_disconnect,
                                           .context = written};
    /* As tests/hub/engine_world.c has them, where the corpus comes from. */
    const struct engine_settings settings = {
        .key = {{1, [31] = 99}},
        .domain = domain_make(31337, &(struct address){{7}}),
        .terms = {.confirmations = 1,
                  .reveal_margin_s = 60,
                  .min_expiry_s = 600,
                  .max_expiry_s = 86400,
                  .settle_window_s = 3600},
        .asset_terms = {.base_fee = {2},
                        .fee_ppm = 1000,
                        .direct_limit = {100000},
                        .reserve_bps = 100,
                        .min_lock = {100},
                        .max_lock = {1000000},
                        .max_locks_per_payer = 8},
        .waiting_max = 4,
        .inbound_max = {5000},
        .tower_silence_s = 600,
        .settle_collect_ms = 1000,
        .idle_bps = 10000,
        .tower_count = 1,
        .towers = {{.address = secret_key_address(&(struct secret_key){{1, [31] = 77}})}},
    };
    return engine_new(&settings, &effects);
}

/* Every record, then the whole; false if either is refused. */
static bool recover(struct engine *engine, const struct buffer *batches)
{
    char message[256] = "";
    struct reader reader = reader_of(batches->data, batches->length);
    struct record record;
    while (record_next(&reader, &record)) {
        if (record_is_archive(&record))
            continue; /* recovery does not show these */
        if (!engine_read(engine, &record)) {
            ensure(engine_read_trouble(engine)[0] != '\0');
            return false;
        }
    }
    if (!reader.ok)
        return false;
    bool recovered = engine_recovered(engine, message, sizeof(message));
    ensure(recovered || message[0] != '\0');
    return recovered;
}

static void live_a_little(struct engine *engine)
{
    struct address client = secret_key_address(&(struct secret_key){{1, [31] = 1}});
    struct ledger_head head = {100, 1800000600, 100, 1800000600};
    engine_time(engine, 1000);
    engine_head(engine, &head);
    engine_connected(engine, 5, &client);
    engine_flush(engine);
    engine_settle(engine);
    engine_time(engine, 5000);
    head = (struct ledger_head){200, 1800100000, 200, 1800100000};
    engine_head(engine, &head);
    engine_flush(engine);
    engine_check(engine);
}

static void must_agree(const struct engine *a, const struct engine *b)
{
    struct engine_balance of_a[ASSETS_MAX], of_b[ASSETS_MAX];
    size_t count = engine_balances(a, of_a);
    ensure(engine_balances(b, of_b) == count && engine_cursor(a) == engine_cursor(b));
    for (size_t i = 0; i < count; i++) {
        ensure(address_equal(&of_a[i].asset, &of_b[i].asset) && of_a[i].channels == of_b[i].channels);
        ensure(of_a[i].pool == of_b[i].pool && of_a[i].clients == of_b[i].clients &&
               of_a[i].hub == of_b[i].hub);
    }
    ensure(engine_figures(a).channels == engine_figures(b).channels);
    for (const struct hub_channel *channel = a->channels; channel != NULL; channel = channel->next) {
        struct evidence left[ENGINE_TOWERS_MAX], right[ENGINE_TOWERS_MAX];
        size_t promises = engine_tower_evidence(a, &channel->channel->id, left);
        ensure(engine_tower_evidence(b, &channel->channel->id, right) == promises);
        ensure(promises == 0 || left[0].proof.nonce == right[0].proof.nonce);
    }
    ensure(engine_figures(a).payments_kept == engine_figures(b).payments_kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct written written = {0};
    buffer_append(&written.batches, data, size);
    struct engine *engine = start(&written);
    if (recover(engine, &written.batches)) {
        live_a_little(engine);
        struct written ignored = {0};
        struct engine *next = start(&ignored);
        ensure(recover(next, &written.batches));
        must_agree(engine, next);
        engine_free(next);
        buffer_free(&ignored.batches);
    }
    engine_free(engine);
    buffer_free(&written.batches);
    return 0;
}
