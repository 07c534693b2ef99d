/* Believes, for every layer and horizon, the predictor of loads that has erred least.
 *
 * At a tick every predictor forecasts the ticks to come; when such a tick arrives, each forecast is
 * scored by its mean error ratio (arXiv 2404.16914): the mean over experts of
 * |predicted - actual| / actual. Experts with actual 0 have no ratio: they are left out and
 * counted. The score of a predictor is the mean of its forecasts, of about the last 32 once there
 * are more.
 *
 *   - The fallback (the window) is believed at first, and nobody is compared with fewer than
 *     LOAD_MIXTURE_SCORES_MIN scores.
 *   - Another takes over when the error in use exceeds its own by more than 10 % at three scored
 *     ticks in a row: a mixture that changes its mind at every tick moves pages for nothing.
 *   - Equal errors go to the cheaper one: predictors are given in order of cost.
 *   - What cannot speak, or speaks nonsense (NaN, all zero), is passed over.
 *
 * Horizons are 1, 10 and 100 ticks; questions for others are answered by the choice for the nearest
 * in ratio. Forecasts for 10 ticks are made at every second tick and those for 100 at every tenth,
 * so that only 1 + 5 + 10 wait for their truth: 16 x 2 bytes per predictor, layer and expert.
 *
 * A predictor itself: tick and loads go through the interface. The predictors in it are borrowed,
 * ticked by the mixture alone, and must outlive it. Pure, nothing allocated after open. */
#ifndef MOERING_ENGINE_PREDICT_LOAD_MIXTURE_H
#define MOERING_ENGINE_PREDICT_LOAD_MIXTURE_H

#include <stddef.h>

#include "engine/predict/predictor.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    LOAD_MIXTURE_HORIZONS = 3,
    LOAD_MIXTURE_PREDICTORS_MAX = 8,
    LOAD_MIXTURE_SCORES_MIN = 5
};

struct load_mixture_config {
    uint32_t layers, experts;
    struct predictor *const *predictors; /* [count] cheapest first */
    uint32_t count;                      /* 1 to LOAD_MIXTURE_PREDICTORS_MAX */
    uint32_t fallback;                   /* index of the one believed at first */
};

/* Of one predictor at one layer and horizon. */
struct load_mixture_figures {
    const char *name;
    float error;     /* rolling mean error ratio; 0 while nothing was scored */
    uint64_t scored; /* forecasts whose truth has come */
};

/* INVALID, NO_MEMORY. */
enum status load_mixture_open(struct predictor **out, const struct load_mixture_config *config,
                              struct error *error);

/* The rest: of a predictor that load_mixture_open made. */
size_t load_mixture_bytes(const struct predictor *predictor);
uint32_t load_mixture_count(const struct predictor *predictor);
/* 1, 10, 100 for horizon index 0, 1, 2. */
uint32_t load_mixture_horizon(uint32_t horizon_index);
void load_mixture_score(const struct predictor *predictor, uint32_t layer, uint32_t horizon_index,
                        uint32_t which, struct load_mixture_figures *out);
/* The index of the one believed, and how often that has changed (may be NULL). */
uint32_t load_mixture_choice(const struct predictor *predictor, uint32_t layer,
                             uint32_t horizon_index, uint32_t *changes);
/* Experts without load at scored ticks of `layer`, summed over horizons. */
uint64_t load_mixture_skipped(const struct predictor *predictor, uint32_t layer);

/* mean over experts with actual > 0 of |predicted - actual| / actual; *skipped = the others. 0 if
 * there are none. */
float load_error_ratio(const float *predicted, const float *actual, uint32_t experts,
                       uint32_t *skipped);

#ifdef __cplusplus
}
#endif
#endif
