/* What every predictor looks like: it is told what happened and asked what will.
 *
 * Two kinds of question, on two clocks. *Loads*: what share of a layer's routed tokens each expert
 * will get, some ticks from now (window, ewma, arima, lstm); a tick is some thousand routed tokens.
 * *Experts*: with which probability each expert is used when a layer runs next, asked layer by
 * layer while a step is under way (transition, previous, lookahead). A predictor answers the
 * questions it can; a member it lacks is NULL. Which answer is believed is not decided here: the
 * mixtures score every answer when the truth comes in and believe the one with the smallest
 * measured error.
 *
 * Pure: no IO, no threads, no clock. Nothing is allocated after open. Engine thread. */
#ifndef MOERING_ENGINE_PREDICT_PREDICTOR_H
#define MOERING_ENGINE_PREDICT_PREDICTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One run of one layer: what the router really chose. */
struct layer_run {
    uint32_t layer;
    uint32_t rows;           /* tokens in the batch */
    uint32_t count;          /* distinct experts */
    const uint32_t *experts; /* [count] */
    const uint32_t *tokens;  /* [count] rows routed to each, >= 1 */
    bool prefill;            /* most rows are prompt tokens */
};

struct predictor;

struct predictor_ops {
    const char *name; /* as --predictor and the statistics say it */

    /* ---- loads ---- */
    /* A tick of `layer` closed: share[experts] >= 0, summing to 1. */
    void (*tick)(struct predictor *predictor, uint32_t layer, const float *share);
    /* The shares `horizon` >= 1 ticks after the newest one: share[experts] in [0, 1], summing to 1.
     * False: it cannot say (too little seen, not trained); share is unspecified then. */
    bool (*loads)(struct predictor *predictor, uint32_t layer, uint32_t horizon, float *share);

    /* ---- experts ---- */
    /* A layer ran. */
    void (*observe)(struct predictor *predictor, const struct layer_run *run);
    /* probability[experts] of each being used when layer (present + distance) mod layers runs next,
     * where `present` is the layer observed last and 1 <= distance <= layers. False: cannot say. */
    bool (*experts)(struct predictor *predictor, uint32_t distance, float *probability);

    void (*close)(struct predictor *predictor);
};

/* First member of every predictor. */
struct predictor {
    const struct predictor_ops *ops;
};

static inline void predictor_close(struct predictor *predictor)
{
    if (predictor)
        predictor->ops->close(predictor);
}

#ifdef __cplusplus
}
#endif
#endif
