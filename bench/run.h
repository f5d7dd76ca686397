/* A run of a workload: what was asked for, what it needs, what came of it.
 */
#ifndef RILL_BENCH_RUN_H
#define RILL_BENCH_RUN_H

#include "bench/crew.h"
#include "bench/floor.h"
#include "bench/measure.h"

struct flags {
    uint64_t seconds, warm_up_s, clients, window, amount, seed, rate, channels, payments, load_processes,
        shards, rounds, blocks;
    const char *json, *html, *folder; /* json "-": standard output */
    bool locked, keep;
};

struct run;

struct workload {
    const char *name;
    const char *about; /* one line */
    bool (*run)(struct run *run);
    uint32_t payers, payees; /* payers: what --clients changes. payees 0: as many as payers */
    uint32_t window;         /* what --window changes */
};
extern const struct workload workloads[];
extern const size_t workload_count;
/* NULL: there is none of that name. */
const struct workload *workload_find(const char *name);

struct run {
    struct flags flags;
    const struct workload *workload;
    struct world world;
    struct crew crew;
    struct floor floor;
    struct figures *figures; /* of the measured window; NULL: nobody paid */
    json_t *extra;           /* the workload's own figures */
    double hub_rss_mib;
};

/* ---- workloads_tower.c ---- */

bool run_tower(struct run *run);

/* ---- tower_busy.c ---- */

/* The plan's payments without a pause, beside a tower that is well, is stopped or hangs, in turns. */
bool run_tower_busy(struct run *run, const struct crew_layout *layout, const struct load_plan *plan);

/* ---- report.c ---- */

/* All figures and conditions, to be decref'd. */
json_t *report_json(const struct run *run);
void report_text(FILE *out, const json_t *json);
bool report_write_json(struct run *run, const json_t *json);

/* ---- report_html.c ---- */

bool report_write_html(struct run *run, const json_t *json);

#endif
