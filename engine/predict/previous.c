#include "engine/predict/previous.h"

#include <stdlib.h>
#include <string.h>

#include "engine/predict/logistic.h"
#include "engine/predict/weight_rows.h"

#define STEP 0.05f
enum { LAST_MAX = 32 };

struct last {
    uint32_t count;
    uint32_t expert[LAST_MAX];
    float weight[LAST_MAX];
};

struct previous {
    struct predictor base;
    const struct history *history;
    uint32_t layers, experts, present;
    bool any;                /* something has been observed */
    struct weight_rows rows;
    struct last *last;       /* [layers] */
    float *probability;      /* [layers][experts] of the next run of each layer */
    float *error;            /* [experts] */
};

/* Learns from how the foretelling of this layer turned out. */
static void learn(struct previous *p, uint32_t layer)
{
    const struct last *last = &p->last[layer];
    const float *told = p->probability + (size_t)layer * p->experts;
    if (last->count == 0)
        return;
    for (uint32_t e = 0; e < p->experts; e++)
        p->error[e] = p->history->used[e] - told[e];
    weight_rows_learn(&p->rows, layer, last->expert, last->weight, last->count, STEP, p->error);
}

static void foretell(struct previous *p, uint32_t layer)
{
    const struct last *last = &p->last[layer];
    const float *hazard = p->history->logit + (size_t)layer * p->experts;
    float *out = p->probability + (size_t)layer * p->experts;
    memcpy(out, hazard, p->experts * sizeof *out);
    weight_rows_add(&p->rows, layer, last->expert, last->weight, last->count, out);
    for (uint32_t e = 0; e < p->experts; e++)
        out[e] = logistic_sigmoid(out[e]);
}

static void observe(struct predictor *predictor, const struct layer_run *run)
{
    struct previous *p = (struct previous *)predictor;
    struct last *last = &p->last[run->layer];
    p->present = run->layer;
    p->any = true;
    if (!run->prefill)
        learn(p, run->layer);
    last->count = run->prefill || run->count > LAST_MAX ? 0 : run->count;
    float weight = run->count > 8 ? 8.0f / (float)run->count : 1.0f;
    for (uint32_t i = 0; i < last->count; i++) {
        last->expert[i] = run->experts[i];
        last->weight[i] = weight;
    }
    foretell(p, run->layer);
}

static bool experts(struct predictor *predictor, uint32_t distance, float *probability)
{
    struct previous *p = (struct previous *)predictor;
    uint32_t layer = (p->present + distance) % p->layers;
    if (!p->any)
        return false;
    memcpy(probability, p->probability + (size_t)layer * p->experts,
           p->experts * sizeof *probability);
    return true;
}

static void close_previous(struct predictor *predictor)
{
    struct previous *p = (struct previous *)predictor;
    weight_rows_close(&p->rows);
    free(p->last);
    free(p->probability);
    free(p->error);
    free(p);
}

enum status previous_open(struct predictor **out, const struct history *history,
                          uint64_t weight_bytes, struct error *error)
{
    static const struct predictor_ops ops = {
        .name = "previous", .observe = observe, .experts = experts, .close = close_previous};
    uint32_t layers = history->layers, count = history->experts;
    struct previous *p = calloc(1, sizeof *p);
    if (!p)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a predictor");
    *p = (struct previous){.base = {&ops}, .history = history, .layers = layers, .experts = count};
    enum status status = weight_rows_open(
        &p->rows, layers, count, weight_rows_fit(layers, count, count, weight_bytes), error);
    p->last = calloc(layers, sizeof *p->last);
    p->probability = malloc((size_t)layers * count * sizeof *p->probability);
    p->error = malloc(count * sizeof *p->error);
    if (status == STATUS_OK && p->last && p->probability && p->error) {
        for (uint32_t l = 0; l < layers; l++)
            foretell(p, l);
        *out = &p->base;
        return STATUS_OK;
    }
    close_previous(&p->base);
    return error_set(error, STATUS_NO_MEMORY, "no memory for a predictor of %u x %u experts",
                     layers, count);
}
