/* Runs one test of a plan on an engine and times it. Engine thread. */
#ifndef MOERING_SERVER_BENCH_BENCH_RUN_H
#define MOERING_SERVER_BENCH_BENCH_RUN_H

#include "server/bench/bench_figures.h"
#include "server/bench/bench_plan.h"
#include "server/bench/bench_route.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bench_run {
    struct engine *engine;
    struct bench_route *route; /* NULL: the router chooses */
    uint64_t runs;             /* so far; each draws tokens of its own */
};

/* One repetition: adds to `totals` what the measured steps cost. Every sequence has tokens of its
 * own, drawn anew in each run: sequences fed the same token would choose the same experts. FULL:
 * the KV cache is too small; INVALID, NO_MEMORY, IO: as engine_step. */
enum status bench_run_once(struct bench_run *run, const struct bench_test *test, uint64_t *ns,
                           struct bench_totals *totals, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
