#include "engine/predict/expert_mixture.h"

#include <stdlib.h>
#include <string.h>

#include "engine/predict/logistic.h"

#define LOSS_STEP 0.01f
#define BETTER_BY 0.97f /* of the believed one's loss */
enum { ASK_EVERY = 7, SCORED_LEAST = 8, TOTAL_LEAST = 32 };

/* A period that comes round to every layer: were it a divisor of their number, those not believed
 * would be scored on the same few layers for ever, and some layers are easier than others. */
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
    m->at = calloc((size_t)count * layers, sizeof *m->at);
    m->believed_at = malloc(layers * sizeof *m->believed_at);
    m->asked = calloc((size_t)count * layers, sizeof *m->asked);
    m->told = malloc((size_t)count * layers * experts * sizeof *m->told);
    if (m->at && m->believed_at && m->asked && m->told) {
        for (uint32_t l = 0; l < layers; l++)
            m->believed_at[l] = EXPERT_MIXTURE_NONE;
        return STATUS_OK;
    }
    expert_mixture_close(m);
    return error_set(error, STATUS_NO_MEMORY, "no memory to score predictors of %u x %u experts",
                     layers, experts);
}

void expert_mixture_close(struct expert_mixture *m)
{
    free(m->at);
    free(m->believed_at);
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

static struct expert_mixture_loss *at(const struct expert_mixture *m, uint32_t member,
                                       uint32_t layer)
{
    return &m->at[(size_t)member * m->layers + layer];
}

static void add_loss(struct expert_mixture_loss *score, float loss)
{
    float step = 1.0f / (float)(score->runs + 1);
    score->runs++;
    score->loss += (step > LOSS_STEP ? step : LOSS_STEP) * (loss - score->loss);
}

/* The choice for one layer; then the one believed for most layers, which is what is told of. */
static void choose(struct expert_mixture *m, uint32_t layer)
{
    uint32_t best = EXPERT_MIXTURE_NONE, *believed = &m->believed_at[layer];
    uint32_t votes[EXPERT_MIXTURE_MAX] = {0};
    for (uint32_t i = 0; i < m->count; i++)
        if (at(m, i, layer)->runs >= SCORED_LEAST &&
            (best == EXPERT_MIXTURE_NONE || at(m, i, layer)->loss < at(m, best, layer)->loss))
            best = i;
    if (best == EXPERT_MIXTURE_NONE || best == *believed ||
        (*believed != EXPERT_MIXTURE_NONE &&
         at(m, best, layer)->loss >= BETTER_BY * at(m, *believed, layer)->loss))
        return;
    *believed = best;
    for (uint32_t l = 0; l < m->layers; l++)
        if (m->believed_at[l] != EXPERT_MIXTURE_NONE)
            votes[m->believed_at[l]]++;
    for (uint32_t i = 0; i < m->count; i++)
        if (m->believed == EXPERT_MIXTURE_NONE || votes[i] > votes[m->believed])
            m->believed = i;
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
        add_loss(&m->total[i], loss);
        add_loss(at(m, i, run->layer), loss);
    }
    choose(m, run->layer);
}

/* Does member a come before b when both can say something of this layer? The believed one, then by
 * loss; who has not been measured comes last, cheap ones first. */
static bool before(const struct expert_mixture *m, uint32_t layer, uint32_t a, uint32_t b)
{
    const struct expert_mixture_loss *of_a = at(m, a, layer), *of_b = at(m, b, layer);
    bool known_a = of_a->runs >= SCORED_LEAST, known_b = of_b->runs >= SCORED_LEAST;
    uint32_t believed = m->believed_at[layer];
    if (a == believed || b == believed)
        return a == believed;
    if (!known_a && !known_b) { /* new here, perhaps not elsewhere */
        of_a = &m->total[a];
        of_b = &m->total[b];
        known_a = of_a->runs >= TOTAL_LEAST;
        known_b = of_b->runs >= TOTAL_LEAST;
    }
    if (known_a != known_b)
        return known_a;
    return known_a && of_a->loss != of_b->loss ? of_a->loss < of_b->loss : a < b;
}

static void order_of(const struct expert_mixture *m, uint32_t layer, uint32_t *order)
{
    for (uint32_t i = 0; i < m->count; i++) {
        uint32_t place = i;
        for (; place > 0 && before(m, layer, i, order[place - 1]); place--)
            order[place] = order[place - 1];
        order[place] = i;
    }
}

bool expert_mixture_experts(struct expert_mixture *m, uint32_t distance, float *probability)
{
    uint32_t layer = (m->present + distance) % m->layers;
    uint32_t order[EXPERT_MIXTURE_MAX];
    bool ask_all = distance == 1 && m->count > 1 && m->runs % m->ask_every == 0;
    bool found = false;
    order_of(m, layer, order);
    for (uint32_t n = 0; n < m->count && (!found || ask_all); n++) {
        uint32_t i = order[n];
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
