#include "engine/predict/window.h"

#include <stdlib.h>

#include "engine/predict/load_history.h"
#include "memory/base/check.h"

struct window {
    struct predictor base;
    struct arena arena;
    struct load_history history;
    uint32_t *sum;            /* [layers][experts] over the rows of the history, in units */
    double *visits, *weights; /* [window] */
};

void window_weights(uint32_t count, uint32_t horizon, double *visits, double *weights)
{
    CHECK(count >= 1 && horizon >= 1);
    if (horizon >= (uint64_t)8 * count + 16) { /* 16: short windows settle more slowly */
        for (uint32_t age = 0; age < count; age++)
            weights[age] = 2.0 * (count - age) / ((double)count * (count + 1.0));
        return;
    }
    double last = 0.0; /* the sum of the last `count` visits */
    for (uint32_t n = 0; n < horizon; n++) {
        double visit = n == 0 ? 1.0 : last / count;
        last += visit - (n >= count ? visits[n % count] : 0.0);
        visits[n % count] = visit;
    }
    double landed = 0.0;
    for (uint32_t p = 1; p <= count; p++) {
        if (p <= horizon)
            landed += visits[(horizon - p) % count];
        weights[count - p] = landed / count;
    }
}

static void window_tick(struct predictor *predictor, uint32_t layer, const float *share)
{
    struct window *w = (struct window *)predictor;
    struct load_history *history = &w->history;
    CHECK(layer < history->layers);
    uint32_t *sum = w->sum + (size_t)layer * history->experts;
    uint32_t count = load_history_count(history, layer);
    if (count == history->ticks_max) {
        const uint16_t *oldest = load_history_row(history, layer, count - 1);
        for (uint32_t e = 0; e < history->experts; e++)
            sum[e] -= oldest[e];
    }
    const uint16_t *newest = load_history_push(history, layer, share);
    for (uint32_t e = 0; e < history->experts; e++)
        sum[e] += newest[e];
}

static bool window_loads(struct predictor *predictor, uint32_t layer, uint32_t horizon,
                         float *share)
{
    struct window *w = (struct window *)predictor;
    struct load_history *history = &w->history;
    CHECK(layer < history->layers && horizon >= 1);
    uint32_t count = load_history_count(history, layer);
    if (count == 0)
        return false;
    if (horizon == 1) { /* even weights: the sum is at hand */
        const uint32_t *sum = w->sum + (size_t)layer * history->experts;
        float unit = 1.0f / ((float)count * LOAD_SHARE_ONE);
        for (uint32_t e = 0; e < history->experts; e++)
            share[e] = (float)sum[e] * unit;
    } else {
        window_weights(count, horizon, w->visits, w->weights);
        load_history_average(history, layer, count, w->weights, share);
    }
    load_share_normalise(share, history->experts);
    return true;
}

static void window_close(struct predictor *predictor)
{
    struct window *w = (struct window *)predictor;
    arena_close(&w->arena);
    free(w);
}

static const struct predictor_ops window_ops = {
    .name = "window",
    .tick = window_tick,
    .loads = window_loads,
    .close = window_close,
};

enum status window_open(struct predictor **out, const struct window_config *config,
                        struct error *error)
{
    enum status status = load_shape_check("window", config->layers, config->experts, error);
    if (status != STATUS_OK)
        return status;
    uint32_t ticks = config->window ? config->window : WINDOW_TICKS;
    if (ticks > LOAD_HISTORY_TICKS_MAX)
        return error_set(error, STATUS_INVALID, "window: window = %u ticks, at most %d", ticks,
                         LOAD_HISTORY_TICKS_MAX);
    struct window *w = calloc(1, sizeof *w);
    if (!w)
        goto fail;
    w->base.ops = &window_ops;
    arena_init(&w->arena, 0, 0);
    if (!load_history_init(&w->history, &w->arena, config->layers, config->experts, ticks))
        goto fail;
    w->sum = arena_alloc_items(&w->arena, (size_t)config->layers * config->experts,
                               sizeof *w->sum, 64);
    w->visits = arena_alloc_items(&w->arena, ticks, sizeof *w->visits, 64);
    w->weights = arena_alloc_items(&w->arena, ticks, sizeof *w->weights, 64);
    if (!w->sum || !w->visits || !w->weights)
        goto fail;
    *out = &w->base;
    return STATUS_OK;
fail:
    if (w)
        window_close(&w->base);
    return error_set(error, STATUS_NO_MEMORY, "window: no memory for %u ticks of %u x %u experts",
                     ticks, config->layers, config->experts);
}

size_t window_bytes(const struct predictor *predictor)
{
    CHECK(predictor->ops == &window_ops);
    return sizeof(struct window) + ((const struct window *)predictor)->arena.used;
}
