/* Which predictor of experts to believe: for each layer the one whose foretellings of its next run
 * turn out best.
 *
 * Each is scored by its log loss, averaged over experts, on runs that it foretold (those not
 * believed are asked now and then only, to save their cost). Layers are judged one by one, because
 * some are easier than others and not every predictor speaks of every layer: one judged on the easy
 * ones alone would look better than it is. The best is believed; another must be better by some
 * hundredths for the choice to change. */
#ifndef MOERING_ENGINE_PREDICT_EXPERT_MIXTURE_H
#define MOERING_ENGINE_PREDICT_EXPERT_MIXTURE_H

#include "engine/predict/predictor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define EXPERT_MIXTURE_MAX 4
#define EXPERT_MIXTURE_NONE UINT32_MAX

struct expert_mixture_loss {
    float loss;    /* moving average; nats per expert */
    uint32_t runs; /* that it was averaged over */
};

struct expert_mixture {
    uint32_t layers, experts, count, present;
    uint32_t believed;   /* for most layers; EXPERT_MIXTURE_NONE: for none yet */
    struct predictor *member[EXPERT_MIXTURE_MAX]; /* borrowed, in order of cost */
    struct expert_mixture_loss total[EXPERT_MIXTURE_MAX]; /* over all layers */
    struct expert_mixture_loss *at;   /* [members][layers] */
    uint32_t *believed_at;             /* [layers]; EXPERT_MIXTURE_NONE: none yet */
    uint64_t runs;
    uint32_t ask_every; /* runs; every so many all are asked */
    bool *asked;        /* [members][layers] an answer about the layer's next run is kept */
    float *told;        /* [members][layers][experts] */
};

enum status expert_mixture_open(struct expert_mixture *mixture, struct predictor *const *members,
                                uint32_t count, uint32_t layers, uint32_t experts,
                                struct error *error);
void expert_mixture_close(struct expert_mixture *mixture); /* accepts a zeroed one */
/* A layer ran, `used`[experts] 1 or 0: scores what was told about it. Before the members observe
 * it. */
void expert_mixture_score(struct expert_mixture *mixture, const struct layer_run *run,
                          const float *used);
/* After the members have observed it: what layer (present + distance) will use, by the believed
 * member, or the next best that can say. False: none can. */
bool expert_mixture_experts(struct expert_mixture *mixture, uint32_t distance, float *probability);

#ifdef __cplusplus
}
#endif
#endif
