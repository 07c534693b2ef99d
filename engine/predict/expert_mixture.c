#include "engine/predict/expert_mixture.h"

#include <stdlib.h>
#include <string.h>

#include "engine/predict/logistic.h"

#define LOSS_STEP 0.01f
#define BETTER_BY 0.97f /* of the believed one's loss */
enum { ASK_EVERY = 7, SCORED_LEAST = 32 };

/* A period that comes round to every layer: were it a divisor of their number, those not believed would
 * be scored on the same few layers for ever, and some layers are easier than others. */
static uint32_t ask_every(uint32_t layers)
{
    static const uint32_t primes[] = {ASK_EVERY, 11, 13, 17};
    for (size_t i = 0; i < sizeof primes / sizeof primes[0]; i++)
        if (layers % primes[i] != 0)
            return primes[i];
    return 19;
}

enum status expert_mixture_open(struct expert_mixture *m, struct predictor *const *members,
                                uint32_t count, uint32_t layers, uint32_t experts,
                                struct error *error)
{
    *m = (struct expert_mixture){.layers = layers, .experts = experts, .count = count,
                                 .believed = EXPERT_MIXTURE_NONE,
                                 .ask_every = ask_every(layers)};
    memcpy(m->member, members, count * sizeof *members);
    m->asked = calloc((size_t)count * layers, sizeof *m->asked);
    m->told = malloc((size_t)count * layers * experts * sizeof *m->told);
    if (m->asked && m->told)
        return STATUS_OK;
    expert_mixture_close(m);
    return error_set(error, STATUS_NO_MEMORY, "no memory to score predictors of %u x %u experts",
                     layers, experts);
}

void expert_mixture_close(struct expert_mixture *m)
{
    free(m->asked);
    free(m->told);
    memset(m, 0, sizeof *m);
}

static float log_loss(const float *told, const float *used, uint32_t experts)
{
    float sum = 0.0f;
    for (uint32_t e = 0; e < experts; e++) {
        float p = logistic_clamp(told[e]);
        sum -= logistic_log(used[e] > 0.0f ? p : 1.0f - p);
    }
    return sum / (float)experts;
}

static void choose(struct expert_mixture *m)
{
    uint32_t best = EXPERT_MIXTURE_NONE;
    for (uint32_t i = 0; i < m->count; i++)
        if (m->scored[i] >= SCORED_LEAST &&
            (best == EXPERT_MIXTURE_NONE || m->loss[i] < m->loss[best]))
            best = i;
    bool first = m->believed == EXPERT_MIXTURE_NONE;
    if (best != EXPERT_MIXTURE_NONE &&
        (first || m->loss[best] < BETTER_BY * m->loss[m->believed]))
        m->believed = best;
}

void expert_mixture_score(struct expert_mixture *m, const struct layer_run *run, const float *used)
{
    m->present = run->layer;
    m->runs++;
    for (uint32_t i = 0; i < m->count; i++) {
        bool *asked = &m->asked[(size_t)i * m->layers + run->layer];
        if (!*asked)
            continue;
        *asked = false;
        if (run->prefill)
            continue;
        float loss = log_loss(m->told + ((size_t)i * m->layers + run->layer) * m->experts, used,
                              m->experts);
        float step = 1.0f / (float)(m->scored[i] + 1);
        m->scored[i]++;
        m->loss[i] += (step > LOSS_STEP ? step : LOSS_STEP) * (loss - m->loss[i]);
    }
    choose(m);
}

bool expert_mixture_experts(struct expert_mixture *m, uint32_t distance, float *probability)
{
    uint32_t layer = (m->present + distance) % m->layers;
    uint32_t first = m->believed == EXPERT_MIXTURE_NONE ? 0 : m->believed;
    bool ask_all = distance == 1 && m->count > 1 && m->runs % m->ask_every == 0;
    bool found = false;
    for (uint32_t n = 0; n < m->count && (!found || ask_all); n++) {
        uint32_t i = (first + n) % m->count;
        float *told = m->told + ((size_t)i * m->layers + layer) * m->experts;
        if (distance > 1) {
            found = m->member[i]->ops->experts(m->member[i], distance, probability);
            continue;
        }
        bool said = m->member[i]->ops->experts(m->member[i], distance, told);
        m->asked[(size_t)i * m->layers + layer] = said;
        if (said && !found)
            memcpy(probability, told, m->experts * sizeof *told);
        found |= said;
    }
    return found;
}
