/* Exponentially weighted mean: s = a x + (1 - a) s with a = 1 - 2^(-1/half-life); the same answer
 * for every horizon. It forgets in a few ticks where the window needs a hundred: better while loads
 * drift, worse by its sampling noise while they do not.
 *
 * Bytes per layer and expert: 4. Pure, nothing allocated after open. */
#ifndef MOERING_ENGINE_PREDICT_EWMA_H
#define MOERING_ENGINE_PREDICT_EWMA_H

#include <stddef.h>

#include "engine/predict/predictor.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { EWMA_HALF_LIFE_TICKS = 10 };

struct ewma_config {
    uint32_t layers, experts;
    float half_life_ticks; /* 0: EWMA_HALF_LIFE_TICKS */
};

/* Closed by predictor_close. s starts at the first tick; before it, it cannot say.
 * INVALID, NO_MEMORY. */
enum status ewma_open(struct predictor **out, const struct ewma_config *config,
                      struct error *error);
/* What it allocated, when ewma_open made it. */
size_t ewma_bytes(const struct predictor *predictor);

#ifdef __cplusplus
}
#endif
#endif
