/* The last ticks of every layer: a ring of share vectors, 16 bits a share.
 *
 * Shares are kept as whole numbers of 1/65,535. One routed token of a tick of 4,096 is 16 of those
 * units, so the rounding (0.3 units) is far below what sampling does to a share anyway; in return
 * sums over a window are exact integers that can be carried forever without drift, and a history
 * takes half of what floats would. What is computed from it is brought back to sum 1 at the end.
 *
 * Plain struct, owned by one predictor or detector and living in its arena. */
#ifndef MOERING_ENGINE_PREDICT_LOAD_HISTORY_H
#define MOERING_ENGINE_PREDICT_LOAD_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/base/arena.h"
#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    LOAD_SHARE_ONE = 65535,       /* a share of 1 in units */
    LOAD_LAYERS_MAX = 4096,       /* what a predictor of loads accepts, so that sizes never */
    LOAD_EXPERTS_MAX = 16384,     /* overflow; models have some 60 and 512 */
    LOAD_HISTORY_TICKS_MAX = 4096 /* a sum of so many shares fits 32 bits */
};

struct load_history {
    uint32_t layers, experts, ticks_max;
    uint16_t *share; /* [layers][ticks_max][experts] */
    uint64_t *ticks; /* [layers] pushed so far */
};

/* INVALID names what is out of its range as `who` has it. Every open of loads begins with it. */
enum status load_shape_check(const char *who, uint32_t layers, uint32_t experts,
                             struct error *error);

/* False: no memory. 1 <= ticks_max <= LOAD_HISTORY_TICKS_MAX. */
bool load_history_init(struct load_history *history, struct arena *arena, uint32_t layers,
                       uint32_t experts, uint32_t ticks_max);
/* Ticks of `layer` that can be read: at most ticks_max. */
uint32_t load_history_count(const struct load_history *history, uint32_t layer);
/* A share vector of `layer`, age 0 the newest; age < count. [experts] */
const uint16_t *load_history_row(const struct load_history *history, uint32_t layer, uint32_t age);
/* Takes a new tick in the place of the oldest. Shares outside [0, 1] and NaN are clipped.
 * Returns the new row. */
const uint16_t *load_history_push(struct load_history *history, uint32_t layer, const float *share);
/* share[experts] = sum over age < count of weights[age] * row(age), in shares, not normalised. */
void load_history_average(const struct load_history *history, uint32_t layer, uint32_t count,
                          const double *weights, float *share);

/* Makes any vector one of shares: what is not in [0, 1] (NaN too) is clipped, the rest divided by
 * its sum; all zero becomes uniform, since something must be said. */
void load_share_normalise(float *share, uint32_t experts);

#ifdef __cplusplus
}
#endif
#endif
