/* The workload `http` (bench/http_run.c). */
#ifndef RILL_BENCH_HTTP_RUN_H
#define RILL_BENCH_HTTP_RUN_H

#include "bench/run.h"

bool http_run(struct run *run);

#endif
