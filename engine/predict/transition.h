/* Foretells a layer's experts from those that the layers before it used for the same token.
 *
 * Transition tables count how often expert y of layer l + d follows expert x of layer l.
 * Multiplying such tables treats their tellings as independent, which they are not: a token is
 * routed alike by many layers. So the tables here hold the weights of a logistic regression,
 * learned online by gradient steps: for each distance d and layer, a row of weights to its experts
 * from
 *
 *   each expert that the present layer and the seven before it used,
 *   each expert that the layer itself used in its last run,
 *   each pair of experts of the present layer, and of the present layer with the one before it
 *   (pairs tell tokens apart; hashed),
 *
 * on top of the expert's hazard (history.h). Measured on gpt-oss-20b, next layer, recall within k:
 * counted tables 0.58, one layer of weights 0.73, eight layers and pairs 0.82.
 *
 * Cost per run and distance: O(experts x features), features bounded so that it stays at some ten
 * microseconds. Runs of more than a few rows are not foretold: they touch most experts anyway. */
#ifndef MOERING_ENGINE_PREDICT_TRANSITION_H
#define MOERING_ENGINE_PREDICT_TRANSITION_H

#include "engine/predict/history.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TRANSITION_AHEAD_MAX 4

/* Bytes that transition_open takes. */
uint64_t transition_bytes(uint32_t layers, uint32_t experts, uint32_t ahead, uint64_t weight_bytes);

/* `history` is borrowed and told of each run before this predictor. `ahead`: largest
 * distance, 1..4. `weight_bytes` bounds the weights of all distances together. */
enum status transition_open(struct predictor **out, const struct history *history, uint32_t ahead,
                            uint64_t weight_bytes, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
