/* The table and the JSON of `moering bench`. The keys of the JSON are those of llama-bench where
 * it has them, so that the same scripts read both. */
#ifndef MOERING_SERVER_BENCH_BENCH_OUTPUT_H
#define MOERING_SERVER_BENCH_BENCH_OUTPUT_H

#include <stdio.h>

#include "server/bench/bench_figures.h"
#include "server/bench/bench_plan.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bench_result {
    struct bench_test test;
    uint64_t *samples_ns; /* [count] owned by whoever made it */
    uint32_t count;
    uint64_t begun_s;     /* seconds since 1970 */
    struct bench_totals totals; /* of all repetitions */
    /* Filled by bench_result_finish. */
    struct bench_speed speed;
    struct bench_work work; /* of all repetitions */
    struct bench_bound bound; /* of one repetition */
};

struct bench_report {
    const struct engine_info *info;
    const char *route_trace; /* NULL: the router chose */
    uint32_t trace_layers, trace_experts, trace_top_k;
    struct bench_rates rates;
    struct bench_result *results;
    uint32_t count;
};

/* From samples and totals to speed, work and bound. NO_MEMORY. */
enum status bench_result_finish(struct bench_result *result, const struct engine_info *info,
                                const struct bench_rates *rates, bool exact, struct error *error);
void bench_print_table(const struct bench_report *report, FILE *out);
/* NO_MEMORY; IO. */
enum status bench_print_json(const struct bench_report *report, FILE *out, struct error *error);
/* The processor's name by /proc/cpuinfo, "" if it does not say. Returns `out`. */
const char *bench_cpu_name(char *out, size_t out_bytes);

#ifdef __cplusplus
}
#endif
#endif
