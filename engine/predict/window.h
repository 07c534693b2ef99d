/* SW_Avg(w): the next tick is the mean of the last w ticks; for k ticks ahead the mean is appended,
 * the window slides, and so on (arXiv 2404.16914). The plainest predictor and the one trusted while
 * nothing has been scored.
 *
 * The repeats need not be carried out expert by expert. Every one is an average of averages, so the
 * forecast k ticks ahead is a weighted mean of the window whose weights depend on w and k alone.
 * Read backwards, a tick to come is a tick drawn evenly from the w before it, which may be one to
 * come again: the weight of a known tick is the probability that this walk first lands there. With
 * u[n] = the probability that the walk from tick k visits tick k - n,
 *
 *     u[0] = 1,  u[n] = (u[n-1] + ... + u[n-w]) / w,
 *     weight[age] = (sum of u[k-p] for p = 1 .. min(k, w - age)) / w.
 *
 * They do not stay even: they converge to (w - age) / (1 + 2 + ... + w), newest heaviest. The
 * distance shrinks by e^-2.09 every w ticks (the slowest root of e^s = 1 + s), so that after
 * 8 w + 16 ticks the limit is right to 1e-6 of the spread and is taken: a forecast for 2,000 ticks
 * costs what one for 100 does, w multiplications per expert.
 *
 * Bytes per layer and expert: 2 w + 4. Pure, nothing allocated after open. */
#ifndef MOERING_ENGINE_PREDICT_WINDOW_H
#define MOERING_ENGINE_PREDICT_WINDOW_H

#include <stddef.h>

#include "engine/predict/predictor.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { WINDOW_TICKS = 100 };

struct window_config {
    uint32_t layers, experts;
    uint32_t window; /* ticks; 0: WINDOW_TICKS; at most LOAD_HISTORY_TICKS_MAX */
};

/* Closed by predictor_close. While fewer ticks than the window were seen, those are the window;
 * before the first it cannot say. INVALID, NO_MEMORY. */
enum status window_open(struct predictor **out, const struct window_config *config,
                        struct error *error);
/* What it allocated, when window_open made it. */
size_t window_bytes(const struct predictor *predictor);

/* weights[count], newest tick first, >= 0 and summing to 1, of the forecast `horizon` >= 1 ticks
 * after the newest, from a window of `count` >= 1 ticks. visits[count] is scratch. */
void window_weights(uint32_t count, uint32_t horizon, double *visits, double *weights);

#ifdef __cplusplus
}
#endif
#endif
