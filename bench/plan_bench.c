/* An engine with --channels channels is made in memory, as after an hour of trade: a tenth of them are shops that sell
 * steadily, by widely different rates, the others belong to people whose channels hold what they have spent, two thirds
 * of them online. One in fifty asks for a payout, and the pool has half of what the shops need. Then a batch is planned.
 */
#include "bench/plan_bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "hub/engine_state.h"

#define ROUNDS 5
#define ROOM   100000u /* of a shop, once given; units */

struct plan_figures {
    uint64_t choice_us[ROUNDS], choice_cpu_us[ROUNDS], whole_us[ROUNDS], whole_cpu_us[ROUNDS],
        write_us[ROUNDS];
    size_t online, short_ones, payouts, proposals;
    struct plan_result result;
};

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* ---- an engine whose surroundings are nothing ---- */

static uint64_t on_journal(void *context, const uint8_t *batch, size_t length)
{
    (void)batch;
    (void)length;
    return ++*(uint64_t *)context;
}

static void on_send(void *context, uint64_t sequence, uint64_t peer, const uint8_t *frame, size_t length)
{
    (void)context;
    (void)sequence;
    (void)peer;
    (void)frame;
    (void)length;
}

static void on_call(void *context, uint64_t sequence, enum engine_call call, uint64_t reference,
                    const uint8_t *data, size_t length)
{
    (void)call;
    (void)reference;
    on_send(context, sequence, 0, data, length);
}

static void on_disconnect(void *context, uint64_t peer, enum code code)
{
    (void)context;
    (void)peer;
    (void)code;
    ensure(false); /* nobody broke a limit */
}

static struct engine *engine_make(uint64_t *sequence)
{
    const struct engine_effects effects = {.journal = on_journal,
                                           .send = on_send,
                                           .call = on_call,
                                           .disconnect = on_disconnect,
                                           .context = sequence};
    const struct engine_settings settings = {
        .key = {{[31] = 1}},
        .domain = domain_make(31337, &(struct address){{7}}),
        .terms = {.confirmations = 1,
                  .reveal_margin_s = 60,
                  .min_expiry_s = 600,
                  .max_expiry_s = 86400,
                  .settle_window_s = 3600},
        .asset_terms = {.direct_limit = {1000000}, .max_lock = {1000000}, .max_locks_per_payer = 8},
        .waiting_max = 16,
        .settle_interval_s = 60,
        .settle_collect_ms = 2000,
        .idle_bps = 12000,
        .room_percent = 200,
    };
    return engine_new(&settings, &effects);
}

static void give_head(struct engine *engine, uint64_t block)
{
    engine_head(engine, &(struct ledger_head){block, 1800000000 + block, block, 1800000000 + block});
}

static struct address client_address(uint64_t number)
{
    struct address address = {{1}};
    store_be64(address.bytes + 12, number + 1);
    return address;
}

static void open_channel(struct engine *engine, uint64_t number, uint64_t by_hub)
{
    struct channel_key key = {.client = client_address(number)};
    struct contract_event event = {
        .type = EVENT_OPENED, .confirmed = true, .channel = channel_id(&key), .address = key.client};
    engine_event(engine, &event);
    event.type = EVENT_FUNDED;
    event.client_amount = amount_of(50000);
    event.hub_amount = amount_of(by_hub);
    engine_event(engine, &event);
}

static void connect_client(struct engine *engine, struct hub_channel *channel, uint64_t peer)
{
    engine_connected(engine, peer, &channel->client->address);
    struct message resume = {.type = MESSAGE_RESUME};
    resume.resume.channel = channel->channel->id;
    engine_message(engine, peer, &resume);
}

static void make_world(struct engine *engine, const struct flags *flags, struct plan_figures *figures)
{
    uint64_t random = flags->seed, number = 0, needed = 0;
    struct contract_event listed = {.type = EVENT_ASSET_LISTED, .confirmed = true};
    struct contract_event pool = {
        .type = EVENT_POOL_DEPOSITED, .confirmed = true, .amount = {flags->channels * ROOM}};
    engine_event(engine, &listed);
    engine_event(engine, &pool);
    engine_time(engine, 1);
    give_head(engine, 1);
    for (uint64_t i = 0; i < flags->channels; i++)
        open_channel(engine, i, i % 10 == 0 ? ROOM : 1 + next_random(&random) % 40000);
    give_head(engine, 2);
    for (struct hub_channel *at = engine->channels; at != NULL; at = at->next, number++) {
        bool is_shop = number % 10 == 0;
        at->room_floor = amount_of(is_shop ? ROOM : 0);
        if (is_shop)
            at->passed_on = amount_of((uint64_t)1 << (next_random(&random) % 20)); /* in the last minute */
        needed += 2 * at->passed_on.units;
        if (next_random(&random) % 3 != 0) {
            connect_client(engine, at, ENGINE_PEER_TOWER_LAST + 1 + number);
            figures->online++;
        }
        if (number % 50 == 7 && at->resumed) {
            at->payout_wanted = amount_of(1 + next_random(&random) % 20000);
            figures->payouts++;
        }
    }
    struct contract_event left = {.type = EVENT_POOL_WITHDRAWN, .confirmed = true};
    uint64_t has = settle_pool_units(&engine->pools[0]).units;
    left.amount = amount_of(has > needed / 2 ? has - needed / 2 : 0);
    engine_event(engine, &left);
    give_head(engine, 3);
    engine_flush(engine);
}

/* ---- measuring ---- */

static uint64_t elapsed_us(uint64_t since)
{
    return clock_monotonic_us() - since;
}

/* Of this thread: what a busy machine does not change much. */
static uint64_t cpu_us(void)
{
    struct timespec now;
    ensure(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* The choice alone, on channels as the engine describes them. */
static void measure_choice(const struct flags *flags, struct plan_figures *figures)
{
    size_t count = (size_t)flags->channels;
    struct plan_channel *channels = xcalloc(count, sizeof(*channels));
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t random = flags->seed + round, needed = 0;
        for (size_t i = 0; i < count; i++) {
            bool is_shop = i % 10 == 0;
            uint64_t room = next_random(&random) % ROOM,
                     need = is_shop ? next_random(&random) % (2 * ROOM) : 0;
            channels[i] = (struct plan_channel){.online = next_random(&random) % 3 != 0,
                                                .fundable = true,
                                                .available_hub = amount_of(room),
                                                .available_client = amount_of(50000),
                                                .payout = amount_of(i % 50 == 7 ? 1000 : 0),
                                                .need = amount_of(need),
                                                .target = amount_of(2 * need),
                                                .floor = amount_of(5 * need / 2)};
            needed += need > room ? need - room : 0;
            figures->short_ones += round == 0 && need > room;
        }
        const struct plan_policy policy = {.pool = amount_of(needed / 2)};
        uint64_t since = clock_monotonic_us(), cpu = cpu_us();
        struct plan_result result = plan_asset(channels, count, &policy);
        figures->choice_us[round] = elapsed_us(since);
        figures->choice_cpu_us[round] = cpu_us() - cpu;
        if (round == 0)
            figures->result = result;
    }
    free(channels);
}

static void measure_whole(const struct flags *flags, struct plan_figures *figures, unsigned round)
{
    uint64_t sequence = 0;
    struct plan_figures ignored = {.online = 0};
    struct engine *engine = engine_make(&sequence);
    char message[256];
    ensure(engine_recovered(engine, message, sizeof(message)));
    make_world(engine, flags, round == 0 ? figures : &ignored);
    uint64_t since = clock_monotonic_us(), cpu = cpu_us();
    engine_time(engine, 60001); /* the interval has passed */
    figures->whole_us[round] = elapsed_us(since);
    figures->whole_cpu_us[round] = cpu_us() - cpu;
    figures->proposals = engine->settle_unsigned;
    since = clock_monotonic_us();
    engine_flush(engine);
    figures->write_us[round] = elapsed_us(since);
    engine_free(engine);
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static double median_ms(uint64_t values[ROUNDS])
{
    qsort(values, ROUNDS, sizeof(values[0]), compare);
    return (double)values[ROUNDS / 2] / 1000;
}

static json_t *figures_json(const struct flags *flags, struct plan_figures *figures)
{
    double choice = median_ms(figures->choice_us), whole = median_ms(figures->whole_us),
           write = median_ms(figures->write_us), choice_cpu = median_ms(figures->choice_cpu_us),
           whole_cpu = median_ms(figures->whole_cpu_us);
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f}",
                     "workload", "plan", "channels", (json_int_t)flags->channels, "rounds",
                     (json_int_t)ROUNDS, "online", (json_int_t)figures->online, "payouts_asked",
                     (json_int_t)figures->payouts, "proposals", (json_int_t)figures->proposals,
                     "choice_short", (json_int_t)figures->short_ones, "choice_donors",
                     (json_int_t)figures->result.donors, "choice_funds", (json_int_t)figures->result.funds,
                     "choice_ms", choice, "choice_ms_max", (double)figures->choice_us[ROUNDS - 1] / 1000,
                     "plan_ms", whole, "plan_ms_max", (double)figures->whole_us[ROUNDS - 1] / 1000,
                     "journal_ms", write, "choice_cpu_ms", choice_cpu, "plan_cpu_ms", whole_cpu);
}

static double real_at(const json_t *json, const char *name)
{
    return json_real_value(json_object_get(json, name));
}

static long long integer_at(const json_t *json, const char *name)
{
    return json_integer_value(json_object_get(json, name));
}

static void print(const json_t *json)
{
    printf("plan: %lld channels, %lld online, %lld ask for a payout; medians of %d\n",
           integer_at(json, "channels"), integer_at(json, "online"), integer_at(json, "payouts_asked"),
           ROUNDS);
    printf("  the choice alone       %7.1f ms (slowest %.1f), %.1f ms of CPU\n", real_at(json, "choice_ms"),
           real_at(json, "choice_ms_max"), real_at(json, "choice_cpu_ms"));
    printf("  the hub's whole plan   %7.1f ms (slowest %.1f), %.1f ms of CPU, proposals included\n",
           real_at(json, "plan_ms"), real_at(json, "plan_ms_max"), real_at(json, "plan_cpu_ms"));
    printf("  its journal batch      %7.1f ms\n", real_at(json, "journal_ms"));
    printf("  of the choice: %lld short of room, %lld funds, %lld donors; of the plan: %lld proposals\n",
           integer_at(json, "choice_short"), integer_at(json, "choice_funds"),
           integer_at(json, "choice_donors"), integer_at(json, "proposals"));
}

int plan_bench(const struct flags *flags)
{
    struct plan_figures figures = {.online = 0};
    measure_choice(flags, &figures);
    for (unsigned round = 0; round < ROUNDS; round++)
        measure_whole(flags, &figures, round);
    json_t *json = figures_json(flags, &figures);
    ensure(json != NULL);
    bool to_output = flags->json != NULL && strcmp(flags->json, "-") == 0, good;
    if (to_output) {
        good = json_dumpf(json, stdout, JSON_INDENT(1)) == 0 && putchar('\n') != EOF;
    } else {
        print(json);
        good = flags->json == NULL || json_dump_file(json, flags->json, JSON_INDENT(1)) == 0;
    }
    if (!good)
        fprintf(stderr, "rill-bench: the figures cannot be written to %s\n", flags->json);
    json_decref(json);
    return good ? 0 : 1;
}
