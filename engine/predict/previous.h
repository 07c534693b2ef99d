/* Foretells a layer's experts from its own past: what it used in its last run (consecutive tokens
 * use like experts) on top of each expert's hazard (history.h). Logistic regression, learned
 * online: one weight from each expert used last to each expert of the same layer. */
#ifndef MOERING_ENGINE_PREDICT_PREVIOUS_H
#define MOERING_ENGINE_PREDICT_PREVIOUS_H

#include "engine/predict/history.h"

#ifdef __cplusplus
extern "C" {
#endif

/* `history` is borrowed and told of each run before this predictor. `weight_bytes` bounds the
 * weights. */
enum status previous_open(struct predictor **out, const struct history *history,
                          uint64_t weight_bytes, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
