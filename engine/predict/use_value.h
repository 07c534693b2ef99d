/* How much a page will be used soon: the expected discounted use of every (layer, expert),
 *
 *     value(page) = E[ gamma^(N - 1) ],   N = runs of its layer until the one that uses it, N >= 1
 *
 * which is 1 for a page that its layer wants in its next run and falls towards 0 for one that it
 * wants much later. Belady evicts what is used furthest in the future; among things uncertain the
 * mean of that distance is ruled by rare long absences, whereas a discounted use asks the question
 * that matters: will it be wanted while it could still be here? gamma is therefore chosen from the
 * share of pages that fit (a small ring looks a few runs ahead, a large one further).
 *
 * Learned online from the trace itself by temporal differences (Sutton 1988): after each run of a
 * layer the value before it should have been 1 for pages used, and gamma x their present value for
 * the others. Two parts, joined in the logit:
 *
 *   a table over (runs since last use, fast rate, slow rate), shared by all pages, which learns
 *   how recency and frequency together tell of use (classical hazard), in some hundred runs;
 *   linear weights from the experts that the layer used in its last run, and from a moving average
 *   of them, to each expert: experts are used in company. These are rows hashed into a bounded
 *   table.
 *
 * The second part is believed, layer by layer, as far as it has lately lowered the squared error of
 * the first: where routing is noise there is nothing in it but noise.
 *
 * Cost per run of a layer: O(experts x (distinct experts + experts of the moving average)), of
 * which the latter are limited to the heaviest 16 to 96. */
#ifndef MOERING_ENGINE_PREDICT_USE_VALUE_H
#define MOERING_ENGINE_PREDICT_USE_VALUE_H

#include "engine/predict/predictor.h"

#ifdef __cplusplus
extern "C" {
#endif

struct history;
struct use_value;

struct use_value_config {
    uint32_t layers, experts;
    float gamma;           /* per run of the layer, 0 < gamma < 1 */
    uint64_t weight_bytes; /* limit for the weights; 0: 32 MiB */
};

enum status use_value_open(struct use_value **out, const struct use_value_config *config,
                           const struct history *history, struct error *error);
void use_value_close(struct use_value *value); /* accepts NULL */

/* gamma for a ring that holds `slots` of `pages`. */
float use_value_gamma(uint32_t slots, uint32_t pages);
/* Another horizon from now on. What was learned stays, and is drawn to the new one as it goes
 * on. */
void use_value_set_gamma(struct use_value *value, float gamma);

/* Around history_observe of the same run: it learns from the state before and looks at the state
 * after. */
void use_value_before(struct use_value *value, const struct layer_run *run);
void use_value_after(struct use_value *value, const struct layer_run *run);

/* value[experts] of one layer's pages, 0..1. */
const float *use_value_layer(const struct use_value *value, uint32_t layer);
float use_value_gamma_of(const struct use_value *value);
uint64_t use_value_bytes(const struct use_value_config *config);

#ifdef __cplusplus
}
#endif
#endif
