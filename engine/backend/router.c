/* Routing functions. Selection keeps a sorted list of k and inserts: k is small (2 to 16), so this
 * beats a heap, and ties fall to the lower index by construction because only a strictly larger
 * logit moves ahead. */
#include "engine/backend/router.h"

#include <math.h>

/* A NaN counts as -inf: it is chosen last and its weight is 0. */
static float number(float logit)
{
    return isnan(logit) ? -INFINITY : logit;
}

static void choose_top(const float *logits, uint32_t experts, uint32_t top_k, uint32_t *chosen)
{
    uint32_t count = 0;
    for (uint32_t e = 0; e < experts; e++) {
        float logit = number(logits[e]);
        uint32_t at = count;
        while (at > 0 && logit > number(logits[chosen[at - 1]]))
            at--;
        if (at == top_k)
            continue;
        uint32_t last = count < top_k ? count++ : top_k - 1;
        for (uint32_t i = last; i > at; i--)
            chosen[i] = chosen[i - 1];
        chosen[at] = e;
    }
}

/* sum of exp(logit - max) over all experts; the softmax denominator */
static float exp_sum(const float *logits, uint32_t experts, float max)
{
    float sum = 0;
    for (uint32_t e = 0; e < experts; e++)
        sum += expf(number(logits[e]) - max);
    return sum;
}

void router_choose(const struct router *router, const float *logits, uint32_t *chosen,
                   float *weights)
{
    uint32_t k = router->top_k;
    choose_top(logits, router->experts, k, chosen);

    float max = number(logits[chosen[0]]), sum = 0;
    for (uint32_t i = 0; i < k; i++) {
        weights[i] = expf(number(logits[chosen[i]]) - max);
        sum += weights[i];
    }
    /* B is C in other words: the denominator over all experts cancels. */
    if (router->kind == ROUTER_SOFTMAX)
        sum = exp_sum(logits, router->experts, max);
    for (uint32_t i = 0; i < k; i++)
        weights[i] /= sum;
    if (router->weight_scale != 0)
        for (uint32_t i = 0; i < k; i++)
            weights[i] *= router->weight_scale;
}
