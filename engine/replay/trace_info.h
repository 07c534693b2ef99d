/* What a trace tells about caching and prediction, before any policy is tried on it.
 *
 *     skew         share of a layer's uses that its busiest tenth of experts takes; entropy of the
 *                  uses over that of equal use; Gini coefficient (0: equal use)
 *     reuse        of the experts used d tokens ago (same request, same layer), the share used now;
 *                  beside it what chance would give: sum n^2 / (tokens sum n) with n the uses of an
 *                  expert in the trace
 *     working set  distinct (layer, expert) pages of one token, and of 100 tokens on end
 *     next layer   recall of a first-order transition table: the score of expert j of layer l + 1
 *                  is the sum of P(j | i) over the experts i that layer l chose. Trained on the
 *                  first half of the requests, tested on the others (a lone request: on halves of
 *                  it)
 *     popularity   the same with the training half's most used experts as the guess, for everybody
 *
 * All measures are of the whole trace, prompts included; requests are not interleaved. Where there
 * is nothing to measure (one layer, one token) a measure is NAN. Pure. */
#ifndef MOERING_ENGINE_REPLAY_TRACE_INFO_H
#define MOERING_ENGINE_REPLAY_TRACE_INFO_H

#include <stdint.h>
#include <stdio.h>

#include "engine/replay/trace.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TRACE_INFO_LAGS 9 /* 1, 2, 4, ... 256 tokens */
#define TRACE_INFO_WINDOW 100

struct layer_skew {
    double top_share; /* of the busiest tenth, rounded up */
    double entropy;   /* 0..1 */
    double gini;      /* 0..1 */
};

struct trace_info {
    uint32_t layers, experts;
    uint64_t tokens, prefill_tokens;
    uint64_t uses;            /* (token, layer, expert) */
    uint64_t steps;           /* 0: not recorded */
    uint64_t *counts;         /* [layers][experts] uses */
    struct layer_skew *skew;  /* [layers] */
    struct layer_skew mean;   /* over layers that were used */
    double reuse[TRACE_INFO_LAGS], reuse_by_chance;
    double pages_per_token, pages_per_window;
    double next_in_k, next_in_2k, popular_in_k, popular_in_2k;
    uint64_t tested_tokens;   /* that the four above were measured on, per layer */
};

/* NO_MEMORY. The caller closes *out. */
enum status trace_info_open(struct trace_info **out, const struct trace *trace,
                            struct error *error);
void trace_info_close(struct trace_info *info); /* accepts NULL */

/* For people; for programs (one JSON object, NAN as null). */
void trace_info_print(const struct trace_info *info, const struct trace *trace, FILE *out);
enum status trace_info_print_json(const struct trace_info *info, const struct trace *trace,
                                  FILE *out, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
