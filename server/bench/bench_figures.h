/* What the samples of a benchmark say, and what bounds them. Pure.
 *
 * The bound of a test is the time that the slowest of three things would take alone, if the others
 * hid behind it:
 *     memory      bytes of weights that its steps read (dense weights once a step, each chosen
 *                 expert once a step, as counted by the engine) and of KV cache that generated
 *                 tokens read, at the measured rate of reading memory
 *     arithmetic  2 operations for each weight and token at the peak of int8 (weights in block
 *                 formats times 8-bit activations) or of f32; attention at the peak of f32
 *     storage     bytes read for misses at the measured rate of direct reads
 * So no engine that reads each active weight once a step can be faster, as long as the weights
 * come from memory: a model that lies in the processor's caches may beat the first. */
#ifndef MOERING_SERVER_BENCH_BENCH_FIGURES_H
#define MOERING_SERVER_BENCH_BENCH_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

struct bench_speed {
    double avg_ns, stddev_ns, median_ns;
    double avg_ts, stddev_ts, median_ts, min_ts, max_ts; /* tokens per second */
};

/* Of `count` >= 1 samples, each the time that `tokens` tokens took. stddev is that of a sample
 * (n - 1); 0 of one. Sorts a copy, kept in spare[count]. */
void bench_speed_of(const uint64_t *samples_ns, uint32_t count, double tokens, double *spare,
                    struct bench_speed *out);

/* Counted over all repetitions of a test. */
struct bench_totals {
    uint64_t steps, rows, sampled;
    uint64_t attended;        /* positions that rows looked at, together */
    uint64_t attended_alone;  /* of them, by generated rows: read from memory for one row */
    struct expert_usage usage;
    uint64_t storage_bytes;
    struct regret_figures regret; /* windows 0: none was finished */
};

struct bench_rates {
    double memory, int8, f32, storage; /* bytes or operations per second; 0: not measured */
    const char *int8_instructions, *f32_instructions;
};

struct bench_work {
    double bytes, weight_ops, attention_ops, storage_bytes;
    bool int8;                /* the weights are multiplied as bytes */
};

struct bench_bound {
    double ns;                /* 0: not known */
    const char *by;           /* "memory", "arithmetic", "storage" */
};

/* `exact`: activations are not quantised. */
void bench_work_of(const struct engine_info *info, const struct bench_totals *totals, bool exact,
                   struct bench_work *out);
/* A rate that was not measured bounds nothing. */
struct bench_bound bench_bound_of(const struct bench_work *work, const struct bench_rates *rates);

#ifdef __cplusplus
}
#endif
#endif
