#include "engine/predict/ewma.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/predict/load_history.h"
#include "memory/base/check.h"

struct ewma {
    struct predictor base;
    struct arena arena;
    uint32_t layers, experts;
    float gain;  /* a */
    float *mean; /* [layers][experts] */
    bool *seen;  /* [layers] */
};

static void ewma_tick(struct predictor *predictor, uint32_t layer, const float *share)
{
    struct ewma *w = (struct ewma *)predictor;
    CHECK(layer < w->layers);
    float *mean = w->mean + (size_t)layer * w->experts;
    float gain = w->seen[layer] ? w->gain : 1.0f;
    for (uint32_t e = 0; e < w->experts; e++) {
        float x = share[e] > 0.0f ? share[e] : 0.0f; /* one NaN would stay forever */
        float next = mean[e] + gain * ((x < 1.0f ? x : 1.0f) - mean[e]);
        mean[e] = next > 1e-20f ? next : 0.0f; /* an unused expert must not end in denormals */
    }
    w->seen[layer] = true;
}

static bool ewma_loads(struct predictor *predictor, uint32_t layer, uint32_t horizon, float *share)
{
    struct ewma *w = (struct ewma *)predictor;
    CHECK(layer < w->layers && horizon >= 1);
    if (!w->seen[layer])
        return false;
    memcpy(share, w->mean + (size_t)layer * w->experts, w->experts * sizeof *share);
    load_share_normalise(share, w->experts);
    return true;
}

static void ewma_close(struct predictor *predictor)
{
    struct ewma *w = (struct ewma *)predictor;
    arena_close(&w->arena);
    free(w);
}

static const struct predictor_ops ewma_ops = {
    .name = "ewma",
    .tick = ewma_tick,
    .loads = ewma_loads,
    .close = ewma_close,
};

enum status ewma_open(struct predictor **out, const struct ewma_config *config,
                      struct error *error)
{
    enum status status = load_shape_check("ewma", config->layers, config->experts, error);
    if (status != STATUS_OK)
        return status;
    float half_life = config->half_life_ticks;
    if (half_life == 0.0f)
        half_life = EWMA_HALF_LIFE_TICKS;
    if (!(half_life > 0.0f && half_life <= 1e6f))
        return error_set(error, STATUS_INVALID,
                         "ewma: half_life_ticks = %g, must be above 0 and at most 1e6",
                         (double)half_life);
    struct ewma *w = calloc(1, sizeof *w);
    if (!w)
        goto fail;
    w->base.ops = &ewma_ops;
    w->layers = config->layers;
    w->experts = config->experts;
    w->gain = 1.0f - exp2f(-1.0f / half_life);
    arena_init(&w->arena, 0, 0);
    w->mean = arena_alloc_items(&w->arena, (size_t)w->layers * w->experts, sizeof *w->mean, 64);
    w->seen = arena_alloc_items(&w->arena, w->layers, sizeof *w->seen, 8);
    if (!w->mean || !w->seen)
        goto fail;
    *out = &w->base;
    return STATUS_OK;
fail:
    if (w)
        ewma_close(&w->base);
    return error_set(error, STATUS_NO_MEMORY, "ewma: no memory for %u x %u experts",
                     config->layers, config->experts);
}

size_t ewma_bytes(const struct predictor *predictor)
{
    CHECK(predictor->ops == &ewma_ops);
    return sizeof(struct ewma) + ((const struct ewma *)predictor)->arena.used;
}
