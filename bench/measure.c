#include "bench/measure.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/ensure.h"

#define DRAIN_TIMEOUT_MS 120000
#define SAMPLE_LEAST_US  250000
#define STALL_US         60000000

/* The hub's own counters. */
struct counters {
    uint64_t at_us, syncs, bytes, received, sent, completed;
};

/* What is read from outside, without the hub's doing. */
struct mark {
    uint64_t at_us, user_us, system_us;
    struct crew_counts counts;
};

struct window {
    struct crew *crew;
    const char *name;
    struct figures *figures;
    struct mark begin;
    uint64_t last_us, last_paid;
};

struct figures *figures_new(void)
{
    return xcalloc(1, sizeof(struct figures));
}

double figures_rate(const struct figures *figures)
{
    return figures->seconds > 0 ? (double)figures->payments / figures->seconds : 0;
}

double figures_cpu_us(const struct figures *figures)
{
    if (figures->payments == 0)
        return 0;
    return (double)(figures->hub_user_us + figures->hub_system_us) / (double)figures->payments;
}

static bool read_counters(struct world *world, struct counters *out)
{
    char *metrics = world_ask_hub(world, "/metrics");
    if (metrics == NULL)
        return false;
    out->at_us = clock_monotonic_us();
    bool good = metric_find(metrics, "journal_syncs_total", &out->syncs) &&
                metric_find(metrics, "journal_bytes_total", &out->bytes) &&
                metric_find(metrics, "updates_received_total", &out->received) &&
                metric_find(metrics, "updates_sent_total", &out->sent) &&
                metric_find(metrics, "payments_completed_total", &out->completed);
    free(metrics);
    return good || world_fail(world, "the hub's /metrics lack what the bench looks for");
}

static struct mark take_mark(const struct crew *crew)
{
    struct mark mark = {.counts = crew_count(crew)};
    child_cpu_split(&crew->world->hubd, &mark.user_us, &mark.system_us);
    mark.at_us = clock_monotonic_us();
    return mark;
}

static void take_sample(struct window *window)
{
    struct figures *figures = window->figures;
    struct mark now = take_mark(window->crew);
    double rate =
        (double)(now.counts.paid - window->last_paid) * 1e6 / (double)(now.at_us - window->last_us + 1);
    world_progress(window->crew->world, "%s: %5.1f s  %12llu payments  %8.0f per second", window->name,
                   (double)(now.at_us - window->begin.at_us) / 1e6,
                   (unsigned long long)(now.counts.paid - window->begin.counts.paid), rate);
    window->last_us = now.at_us;
    window->last_paid = now.counts.paid;
    if (figures->sample_count == SAMPLES_MAX)
        return;
    figures->samples[figures->sample_count++] = (struct sample){
        .at_s = (double)(now.at_us - window->begin.at_us) / 1e6,
        .paid = now.counts.paid - window->begin.counts.paid,
        .hub_cpu_us = now.user_us + now.system_us - window->begin.user_us - window->begin.system_us,
        .load_cpu_us = now.counts.cpu_us - window->begin.counts.cpu_us,
    };
}

/* A window in which nothing came through says nothing: it goes on until something has. */
static bool watch_window(struct window *window, uint64_t seconds)
{
    struct world *world = window->crew->world;
    uint64_t end = window->begin.at_us + seconds * 1000000, now;
    uint64_t every = window->figures->sample_every_us;
    while ((now = clock_monotonic_us()) < end || window->last_paid == window->begin.counts.paid) {
        uint64_t left = end > now ? end - now : every;
        if (now > end + STALL_US)
            return world_fail(world, "no payment came through in %d s", STALL_US / 1000000);
        if (!world_pause(world, left < every ? left : every) || !crew_is_well(window->crew))
            return false;
        take_sample(window);
    }
    return true;
}

/* At least until the first payment has come through. */
static bool warm_up(struct crew *crew, const char *name, uint64_t seconds)
{
    uint64_t begun_us = clock_monotonic_us(), paid = crew_count(crew).paid, now;
    while ((now = clock_monotonic_us()) < begun_us + seconds * 1000000 || crew_count(crew).paid == paid) {
        world_progress(crew->world, "%s: warming up", name);
        if (now > begun_us + seconds * 1000000 + STALL_US)
            return world_fail(crew->world, "no payment came through in %d s", STALL_US / 1000000);
        if (!world_pause(crew->world, 50000) || !crew_is_well(crew))
            return false;
    }
    return true;
}

static void subtract(struct figures *out, const struct mark *begin, const struct mark *end)
{
    out->seconds = (double)(end->at_us - begin->at_us) / 1e6;
    out->payments = end->counts.paid - begin->counts.paid;
    out->hub_user_us = end->user_us - begin->user_us;
    out->hub_system_us = end->system_us - begin->system_us;
    out->load_cpu_us = end->counts.cpu_us - begin->counts.cpu_us;
    out->signatures_checked = end->counts.signatures_checked - begin->counts.signatures_checked;
}

static void subtract_counters(struct figures *out, const struct counters *begin, const struct counters *end)
{
    out->journal_seconds = (double)(end->at_us - begin->at_us) / 1e6;
    out->syncs = end->syncs - begin->syncs;
    out->journal_bytes = end->bytes - begin->bytes;
    out->journal_payments = end->completed - begin->completed;
    out->journal_updates = end->received + end->sent - begin->received - begin->sent;
}

/* Everything of a round but what its window is. */
struct round {
    bool (*watch)(struct window *window, void *context);
    void *context;
    uint64_t warm_up_s, sample_every_us;
};

static bool run_round(struct crew *crew, const struct load_plan *plan, const char *name,
                      const struct round *round, struct figures *out)
{
    struct world *world = crew->world;
    struct window window = {.crew = crew, .name = name, .figures = out};
    struct counters before, after;
    struct histogram unused;
    memset(out, 0, sizeof(*out));
    out->sample_every_us =
        round->sample_every_us > SAMPLE_LEAST_US ? round->sample_every_us : SAMPLE_LEAST_US;
    uint64_t failed = crew_count(crew).failed;
    crew_begin(crew, plan);
    if (!warm_up(crew, name, round->warm_up_s))
        return false;
    crew_latency(crew, &unused);
    if (!read_counters(world, &before))
        return false;
    crew_phase(crew, LOAD_MEASURE);
    window.begin = take_mark(crew);
    window.last_us = window.begin.at_us;
    window.last_paid = window.begin.counts.paid;
    if (!round->watch(&window, round->context))
        return false;
    struct mark end = take_mark(crew);
    crew_phase(crew, LOAD_DRAIN);
    out->hub_rss_kib = child_rss_kib(&world->hubd);
    if (!read_counters(world, &after) || !crew_wait(crew, DRAIN_TIMEOUT_MS))
        return false;
    subtract(out, &window.begin, &end);
    subtract_counters(out, &before, &after);
    crew_latency(crew, &out->latency);
    out->failed = crew_count(crew).failed - failed;
    world_progress_end();
    return true;
}

static bool watch_seconds(struct window *window, void *context)
{
    return watch_window(window, *(const uint64_t *)context);
}

bool measure_round(struct crew *crew, const struct load_plan *plan, const char *name, uint64_t warm_up_s,
                   uint64_t seconds, struct figures *out)
{
    const struct round round = {watch_seconds, &seconds, warm_up_s, seconds * 1000000 / 400};
    return run_round(crew, plan, name, &round, out);
}

struct cut {
    const struct slicing *slicing;
    struct slice *slices;
};

static bool watch_slices(struct window *window, void *context)
{
    const struct cut *cut = context;
    const struct slicing *slicing = cut->slicing;
    struct crew *crew = window->crew;
    for (size_t i = 0; i < slicing->count; i++) {
        if (!slicing->begin(slicing->context, i) || !world_pause(crew->world, slicing->lead_us))
            return false;
        struct mark begin = take_mark(crew);
        if (!world_pause(crew->world, slicing->slice_us) || !crew_is_well(crew))
            return false;
        struct mark end = take_mark(crew);
        cut->slices[i] =
            (struct slice){.seconds = (double)(end.at_us - begin.at_us) / 1e6,
                           .payments = end.counts.paid - begin.counts.paid,
                           .hub_cpu_us = end.user_us + end.system_us - begin.user_us - begin.system_us};
        take_sample(window);
    }
    return true;
}

bool measure_slices(struct crew *crew, const struct load_plan *plan, const char *name, uint64_t warm_up_s,
                    const struct slicing *slicing, struct slice *slices, struct figures *out)
{
    struct cut cut = {slicing, slices};
    const struct round round = {watch_slices, &cut, warm_up_s, slicing->lead_us + slicing->slice_us};
    return run_round(crew, plan, name, &round, out);
}
