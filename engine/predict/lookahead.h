/* Foretells the next layers' experts by their own routers, applied to the present hidden state
 * (computed by engine/moe, or read back from a recorded trace). A transformer layer changes the
 * hidden state little, so the ranking is good; the scores are not probabilities of being chosen.
 * What is learned here is how often the expert of each rank is really used, per distance. */
#ifndef MOERING_ENGINE_PREDICT_LOOKAHEAD_H
#define MOERING_ENGINE_PREDICT_LOOKAHEAD_H

#include "engine/predict/predictor.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LOOKAHEAD_MAX 4

enum status lookahead_open(struct predictor **out, uint32_t layers, uint32_t experts,
                           struct error *error);
/* What the router of layer (present + distance) says: score[experts], higher is likelier; only the
 * order counts. After observe of the present layer's run. */
void lookahead_tell(struct predictor *predictor, uint32_t distance, const float *score);

#ifdef __cplusplus
}
#endif
#endif
