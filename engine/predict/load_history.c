#include "engine/predict/load_history.h"

#include <string.h>

#include "memory/base/check.h"

enum status load_shape_check(const char *who, uint32_t layers, uint32_t experts,
                             struct error *error)
{
    if (layers < 1 || layers > LOAD_LAYERS_MAX)
        return error_set(error, STATUS_INVALID, "%s: layers = %u, must be 1 to %d", who, layers,
                         LOAD_LAYERS_MAX);
    if (experts < 1 || experts > LOAD_EXPERTS_MAX)
        return error_set(error, STATUS_INVALID, "%s: experts = %u, must be 1 to %d", who, experts,
                         LOAD_EXPERTS_MAX);
    return STATUS_OK;
}

bool load_history_init(struct load_history *history, struct arena *arena, uint32_t layers,
                       uint32_t experts, uint32_t ticks_max)
{
    CHECK(ticks_max >= 1 && ticks_max <= LOAD_HISTORY_TICKS_MAX);
    *history = (struct load_history){.layers = layers, .experts = experts, .ticks_max = ticks_max};
    history->share = arena_alloc_items(arena, (size_t)layers * ticks_max,
                                       experts * sizeof *history->share, 64);
    history->ticks = arena_alloc_items(arena, layers, sizeof *history->ticks, 8);
    return history->share && history->ticks;
}

static uint16_t *slot(const struct load_history *history, uint32_t layer, uint64_t tick)
{
    size_t row = (size_t)layer * history->ticks_max + tick % history->ticks_max;
    return history->share + row * history->experts;
}

uint32_t load_history_count(const struct load_history *history, uint32_t layer)
{
    uint64_t ticks = history->ticks[layer];
    return ticks < history->ticks_max ? (uint32_t)ticks : history->ticks_max;
}

const uint16_t *load_history_row(const struct load_history *history, uint32_t layer, uint32_t age)
{
    DCHECK(age < load_history_count(history, layer));
    return slot(history, layer, history->ticks[layer] - 1 - age);
}

const uint16_t *load_history_push(struct load_history *history, uint32_t layer, const float *share)
{
    uint16_t *row = slot(history, layer, history->ticks[layer]++);
    for (uint32_t e = 0; e < history->experts; e++) {
        float x = share[e];
        x = x > 0.0f ? x : 0.0f; /* NaN fails the comparison */
        x = x < 1.0f ? x : 1.0f;
        row[e] = (uint16_t)(x * LOAD_SHARE_ONE + 0.5f);
    }
    return row;
}

/* Sixteen experts at a time, so that their sums stay in vector registers over all ages. */
enum { LANES = 16 };

static void average_lanes(const struct load_history *history, uint32_t layer, uint32_t count,
                          const double *weights, uint32_t first, float *share)
{
    float sum[LANES] = {0};
    const uint16_t *lowest = slot(history, layer, 0) + first;
    const uint16_t *highest = slot(history, layer, history->ticks_max - 1) + first;
    const uint16_t *row = load_history_row(history, layer, 0) + first;
    for (uint32_t age = 0; age < count; age++) {
        float weight = (float)(weights[age] * (1.0 / LOAD_SHARE_ONE));
        for (int i = 0; i < LANES; i++)
            sum[i] += weight * (float)row[i];
        row = row == lowest ? highest : row - history->experts;
    }
    memcpy(share + first, sum, sizeof sum);
}

void load_history_average(const struct load_history *history, uint32_t layer, uint32_t count,
                          const double *weights, float *share)
{
    uint32_t e = 0;
    for (; e + LANES <= history->experts; e += LANES)
        average_lanes(history, layer, count, weights, e, share);
    for (; e < history->experts; e++) {
        float sum = 0.0f;
        for (uint32_t age = 0; age < count; age++)
            sum += (float)(weights[age] * (1.0 / LOAD_SHARE_ONE)) *
                   (float)load_history_row(history, layer, age)[e];
        share[e] = sum;
    }
}

void load_share_normalise(float *share, uint32_t experts)
{
    double sum = 0.0;
    for (uint32_t e = 0; e < experts; e++) {
        float x = share[e] > 0.0f ? share[e] : 0.0f;
        share[e] = x < 1.0f ? x : 1.0f;
        sum += share[e];
    }
    float scale = (float)(1.0 / sum);
    for (uint32_t e = 0; e < experts; e++)
        share[e] = sum > 0.0 ? share[e] * scale : 1.0f / (float)experts;
}
