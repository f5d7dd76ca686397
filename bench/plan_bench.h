/* rill-bench plan: how long the hub thinks before a batch. No process is started and no socket opened. */
#ifndef RILL_BENCH_PLAN_BENCH_H
#define RILL_BENCH_PLAN_BENCH_H

#include "bench/run.h"

/* Returns the exit code. */
int plan_bench(const struct flags *flags);

#endif
