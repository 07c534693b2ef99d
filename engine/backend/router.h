/* From router logits to experts and weights: the routing functions of the architectures we serve.
 *
 * Pure arithmetic on one token. Names of the functions are those of the golden vectors (A, B, C in
 * tests/engine/backend/router_test.cc). Choices come in descending logit, ties to the lowest index,
 * and that order is the order in which combine sums them. */
#ifndef MOERING_ENGINE_BACKEND_ROUTER_H
#define MOERING_ENGINE_BACKEND_ROUTER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum router_kind {
    ROUTER_SOFTMAX,      /* A: softmax over all experts, top-k, weights as they are (OLMoE) */
    ROUTER_SOFTMAX_NORM, /* B: softmax over all, top-k, divided by their sum (Qwen3-MoE) */
    ROUTER_TOPK_SOFTMAX, /* C: top-k of the logits, softmax over these (Mixtral) */
};

struct router {
    enum router_kind kind;
    uint32_t experts;
    uint32_t top_k; /* <= experts */
    float weight_scale; /* what the weights are multiplied with; 0: they stay as they are */
};

/* Chooses for one token: logits[experts] -> chosen[top_k], weights[top_k]. A NaN among the logits
 * counts as -inf; with no finite logit at all the weights are NaN. */
void router_choose(const struct router *router, const float *logits, uint32_t *chosen,
                   float *weights);

#ifdef __cplusplus
}
#endif
#endif
