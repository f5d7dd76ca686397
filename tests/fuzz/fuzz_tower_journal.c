/* A tower's journal, as fuzz_hub_journal.c is for the hub's.
 *
 *     input: a batch of records
 *
 * Refused, or it makes sense: the tower then looks at the ledger (whose answers are zeros or nothing), and what it writes is
 * read by the next one, which holds as much. */
#include "tests/fuzz/input.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/hash.h"
#include "watchtower/tower.h"

#define ASKS_MAX 1024

struct world {
    struct buffer batches;
    uint64_t sequence, asks[ASKS_MAX];
    size_t ask_count;
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

static void effect_ask(void *context, uint64_t question, const struct contract_call *view)
{
    struct world *world = context;
    ensure(view->function < CONTRACT_FUNCTION_COUNT);
    if (world->ask_count < ASKS_MAX)
        world->asks[world->ask_count++] = question;
}

static void effect_submit(void *context, uint64_t submission, const struct contract_call *call,
                          const struct ledger_terms *terms)
{
    (void)terms;
    struct buffer data = {0};
    (void)context;
    (void)submission;
    contract_encode_call(&data, call);
    buffer_free(&data);
}

static void effect_say(void *context, enum log_level level, const char *line)
{
    (void)context;
    (void)level;
    ensure(line[0] != '\0');
}

static void effect_alarm(void *context, const struct tower_alarm *alarm)
{
    (void)context;
    ensure(alarm->line[0] != '\0');
}

static const struct tower_effects effects = {effect_append, effect_send, effect_ask,
                                             effect_submit, effect_say,  effect_alarm};

static struct secret_key key_named(const char *name)
{
    struct secret_key key;
    struct hash hash = sha256(name, strlen(name));
    memcpy(key.bytes, hash.bytes, sizeof(key.bytes));
    return key;
}

static struct tower *start(struct world *world)
{
    /* As tests/watchtower/world.h has them, where the corpus comes from. */
    struct secret_key hub = key_named("hub");
    const struct tower_options options = {.chain_id = 1337,
                                          .contract = {{1, 2, 3}},
                                          .hub = secret_key_address(&hub),
                                          .challenge_period_s = 8000,
                                          .confirmations = 3,
                                          .register_margin_s = 600,
                                          .key = key_named("tower"),
                                          .quotas = {10, 4, 1 << 20, 1 << 24}};
    return tower_new(&options, &effects, world);
}

static bool recover(struct tower *tower, const struct buffer *batches)
{
    char message[256] = "";
    struct reader reader = reader_of(batches->data, batches->length);
    struct record record;
    while (record_next(&reader, &record))
        if (!record_is_archive(&record) && !tower_read(tower, &record))
            return false;
    if (!reader.ok)
        return false;
    bool recovered = tower_recovered(tower, message, sizeof(message));
    ensure(recovered || message[0] != '\0');
    return recovered;
}

/* A block, and an answer to everything that is asked about it. */
static void look(struct tower *tower, struct world *world, uint64_t block, bool ok)
{
    static const uint8_t zeros[2048];
    struct ledger_head head = {block, 1900000000 + block * 1000, block - 1, 1900000000 + (block - 1) * 1000};
    tower_head(tower, &head, &HASH_ZERO);
    for (size_t i = 0; i < world->ask_count; i++)
        tower_answer(tower, world->asks[i], ok, zeros, ok ? sizeof(zeros) : 0);
    world->ask_count = 0;
    tower_tick(tower, block * 1000);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct world world, ignored;
    memset(&world, 0, sizeof(world));
    memset(&ignored, 0, sizeof(ignored));
    buffer_append(&world.batches, data, size);
    struct tower *tower = start(&world);
    uint64_t block;
    if (recover(tower, &world.batches)) {
        if (!tower_cursor(tower, &block, NULL))
            tower_begin(tower, 1);
        look(tower, &world, 10, false);
        look(tower, &world, 11, true);
        look(tower, &world, 12, true);
        struct tower *next = start(&ignored);
        ensure(recover(next, &world.batches));
        ensure(tower_figures(next).appointments == tower_figures(tower).appointments);
        ensure(tower_figures(next).bytes == tower_figures(tower).bytes);
        tower_free(next);
    }
    tower_free(tower);
    buffer_free(&world.batches);
    buffer_free(&ignored.batches);
    return 0;
}
