#include "engine/predict/arima.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/predict/arima_model.h"
#include "engine/predict/load_history.h"
#include "engine/predict/window.h"
#include "memory/base/check.h"

enum {
    TICKS_LIMIT = 1024,
    REACH_MAX = ARIMA_ORDER_MAX + ARIMA_DIFFERENCES_MAX + 1, /* ticks that a residual looks at */
    /* Filtering and forecasting work on so many series at a time: their coefficients lie side by
     * side, and loops of a fixed length over them become vector instructions. */
    LANES = 16,
    STEPS = 32 /* of a forecast, before its newest values are moved to the end of their buffer */
};

typedef float lanes[LANES];

enum fit { FIT_WAITING, FIT_DONE, FIT_FAILED };

struct arima {
    struct predictor base;
    struct arena arena;
    struct load_history history;
    struct arima_orders orders;
    uint32_t window, refits;
    uint32_t blocks; /* of LANES experts, the last one may be part empty */
    uint32_t rows;   /* of one block in `series` */
    lanes *series;   /* [layers][blocks][phi p, theta q, residuals q newest first, mean] */
    uint8_t *fit;    /* [layers][experts] enum fit */
    uint32_t *turn;  /* [layers] the expert to be fitted next */
    double *points, *scratch; /* [ticks] of the series being fitted */
    double *visits, *weights; /* [window] of the fallback */
};

static lanes *block_of(const struct arima *a, uint32_t layer, uint32_t block)
{
    return a->series + ((size_t)layer * a->blocks + block) * a->rows;
}

/* The newest n shares of a block's experts as their d-th differences, newest first: value[n - d].
 * level[i] is the newest i-th difference, i < d. Lanes without an expert are 0. */
static void block_differences(const struct arima *a, uint32_t layer, uint32_t block, uint32_t n,
                              lanes *value, lanes *level)
{
    uint32_t first = block * LANES, left = a->history.experts - first;
    uint32_t used = left < LANES ? left : LANES;
    for (uint32_t age = 0; age < n; age++) {
        const uint16_t *row = load_history_row(&a->history, layer, age) + first;
        for (uint32_t l = 0; l < LANES; l++)
            value[age][l] = l < used ? (float)row[l] * (1.0f / LOAD_SHARE_ONE) : 0.0f;
    }
    for (uint32_t i = 0; i < a->orders.d; i++, n--) {
        memcpy(level[i], value[0], sizeof *level);
        for (uint32_t age = 0; age + 1 < n; age++)
            for (int l = 0; l < LANES; l++)
                value[age][l] -= value[age + 1][l];
    }
}

/* sum += factor x value, lane by lane. */
static void add_product(float *sum, const float *factor, const float *value)
{
    for (int l = 0; l < LANES; l++)
        sum[l] += factor[l] * value[l];
}

/* The series have one point more: what was not expected of it becomes their newest residual. A
 * series without a fit has harmless coefficients: it is computed along and never looked at. */
static void block_advance(struct arima *a, uint32_t layer, uint32_t block)
{
    uint32_t p = a->orders.p, q = a->orders.q;
    lanes y[REACH_MAX], level[ARIMA_DIFFERENCES_MAX], expected = {0};
    block_differences(a, layer, block, p + a->orders.d + 1, y, level);
    lanes *phi = block_of(a, layer, block), *theta = phi + p, *e = theta + q;
    const float *mean = e[q];
    for (uint32_t i = 0; i <= p; i++)
        for (int l = 0; l < LANES; l++)
            y[i][l] -= mean[l];
    for (uint32_t i = 0; i < p; i++)
        add_product(expected, phi[i], y[i + 1]);
    for (uint32_t j = 0; j < q; j++)
        add_product(expected, theta[j], e[j]);
    if (q == 0)
        return;
    memmove(e[1], e[0], (q - 1) * sizeof *e);
    for (int l = 0; l < LANES; l++)
        e[0][l] = y[0][l] - expected[l];
}

/* Have all differences died out? What follows a small one is smaller. */
static bool died_out(const lanes *y, uint32_t p)
{
    lanes sum = {0};
    float most = 0.0f;
    for (uint32_t i = 0; i < p; i++)
        for (int l = 0; l < LANES; l++)
            sum[l] += fabsf(y[i][l]);
    for (int l = 0; l < LANES; l++)
        most = sum[l] > most ? sum[l] : most;
    return most < 1e-8f;
}

/* arima_model_forecast for a block of series; level[0] becomes the forecast. y[STEPS + p] has the
 * newest values at STEPS. */
static void block_steps(const struct arima *a, const lanes *phi, uint32_t horizon, lanes *y,
                        lanes *level)
{
    uint32_t p = a->orders.p, q = a->orders.q, d = a->orders.d, at = STEPS;
    const lanes *theta = phi + p, *e = theta + q, *mean = e + q;
    for (uint32_t step = 0; step < horizon; step++) {
        lanes next = {0};
        for (uint32_t i = 0; i < p; i++)
            add_product(next, phi[i], y[at + i]);
        for (uint32_t j = step; j < q; j++) /* residuals to come are 0 */
            add_product(next, theta[j], e[j - step]);
        if (at == 0) {
            memmove(y[STEPS], y[0], p * sizeof *y);
            at = STEPS;
        }
        for (int l = 0; l < LANES; l++) /* quick series must not wait in denormals for slow ones */
            next[l] = fabsf(next[l]) > 1e-12f ? next[l] : 0.0f;
        memcpy(y[--at], next, sizeof next);
        for (int l = 0; l < LANES; l++) {
            level[1][l] += next[l];
            if (d == 0)
                level[0][l] = mean[0][l] + next[l];
            else
                level[0][l] += d == 1 ? next[l] : level[1][l];
        }
        if (step >= q && step % 8 == 7 && d < 2 && died_out(y + at, p))
            break;
    }
}

static void series_fit(struct arima *a, uint32_t layer, uint32_t expert)
{
    uint32_t n = load_history_count(&a->history, layer);
    for (uint32_t t = 0; t < n; t++)
        a->points[t] = load_history_row(&a->history, layer, n - 1 - t)[expert] *
                       (1.0 / LOAD_SHARE_ONE);
    struct arima_model model = {.p = a->orders.p, .d = a->orders.d, .q = a->orders.q};
    struct arima_tail tail;
    n = arima_model_difference(a->points, n, model.d);
    uint8_t *fit = a->fit + (size_t)layer * a->history.experts + expert;
    *fit = arima_model_fit(&model, a->points, n, a->scratch, &tail) ? FIT_DONE : FIT_FAILED;
    if (*fit == FIT_FAILED)
        return;
    lanes *out = block_of(a, layer, expert / LANES);
    uint32_t lane = expert % LANES;
    for (uint32_t i = 0; i < model.p; i++)
        (*out++)[lane] = (float)model.phi[i];
    for (uint32_t j = 0; j < model.q; j++)
        (*out++)[lane] = (float)model.theta[j];
    for (uint32_t j = 0; j < model.q; j++)
        (*out++)[lane] = (float)tail.e[j];
    (*out)[lane] = (float)model.mean;
}

static void arima_tick(struct predictor *predictor, uint32_t layer, const float *share)
{
    struct arima *a = (struct arima *)predictor;
    uint32_t experts = a->history.experts;
    CHECK(layer < a->history.layers);
    load_history_push(&a->history, layer, share);
    if (load_history_count(&a->history, layer) < ARIMA_TICKS_MIN)
        return;
    for (uint32_t block = 0; block < a->blocks; block++)
        block_advance(a, layer, block);
    uint32_t fits = a->refits < experts ? a->refits : experts;
    for (uint32_t i = 0; i < fits; i++) {
        series_fit(a, layer, a->turn[layer]);
        a->turn[layer] = (a->turn[layer] + 1) % experts;
    }
}

/* Writes the forecasts of those experts of a block that have a fit. */
static void block_forecast(const struct arima *a, uint32_t layer, uint32_t block, uint32_t horizon,
                           float *share)
{
    lanes y[STEPS + REACH_MAX], level[ARIMA_DIFFERENCES_MAX] = {{0}};
    uint32_t p = a->orders.p, first = block * LANES;
    const lanes *phi = block_of(a, layer, block), *mean = phi + p + 2 * a->orders.q;
    block_differences(a, layer, block, p + a->orders.d, y + STEPS, level);
    for (uint32_t i = 0; i < p; i++)
        for (int l = 0; l < LANES; l++)
            y[STEPS + i][l] -= mean[0][l];
    block_steps(a, phi, horizon, y, level);
    const uint8_t *fit = a->fit + (size_t)layer * a->history.experts;
    for (uint32_t l = 0; l < LANES && first + l < a->history.experts; l++)
        if (fit[first + l] == FIT_DONE)
            share[first + l] = level[0][l];
}

static bool arima_loads(struct predictor *predictor, uint32_t layer, uint32_t horizon,
                        float *share)
{
    struct arima *a = (struct arima *)predictor;
    uint32_t experts = a->history.experts;
    CHECK(layer < a->history.layers && horizon >= 1);
    uint32_t count = load_history_count(&a->history, layer);
    if (count < ARIMA_TICKS_MIN)
        return false;
    struct arima_series series;
    arima_count(predictor, layer, &series);
    if (series.fitted < experts) {
        uint32_t window = count < a->window ? count : a->window;
        window_weights(window, horizon, a->visits, a->weights);
        load_history_average(&a->history, layer, window, a->weights, share);
    }
    for (uint32_t block = 0; block < a->blocks; block++)
        block_forecast(a, layer, block, horizon, share);
    load_share_normalise(share, experts);
    return true;
}

void arima_count(const struct predictor *predictor, uint32_t layer, struct arima_series *out)
{
    const struct arima *a = (const struct arima *)predictor;
    uint32_t experts = a->history.experts;
    *out = (struct arima_series){0, 0, 0};
    const uint8_t *fit = a->fit + (size_t)layer * experts;
    for (uint32_t expert = 0; expert < experts; expert++) {
        out->fitted += fit[expert] == FIT_DONE;
        out->failed += fit[expert] == FIT_FAILED;
    }
    out->waiting = experts - out->fitted - out->failed;
}

static void arima_close(struct predictor *predictor)
{
    struct arima *a = (struct arima *)predictor;
    arena_close(&a->arena);
    free(a);
}

static const struct predictor_ops arima_ops = {
    .name = "arima",
    .tick = arima_tick,
    .loads = arima_loads,
    .close = arima_close,
};

size_t arima_bytes(const struct predictor *predictor)
{
    CHECK(predictor->ops == &arima_ops);
    return sizeof(struct arima) + ((const struct arima *)predictor)->arena.used;
}

/* Fills what was left 0 and says what cannot be. */
static enum status config_complete(struct arima_config *c, struct error *error)
{
    enum status status = load_shape_check("arima", c->layers, c->experts, error);
    if (status != STATUS_OK)
        return status;
    struct arima_orders *o = &c->orders;
    if (o->p + o->d + o->q == 0)
        *o = (struct arima_orders){.p = 5, .d = 1, .q = 5};
    if (o->p > ARIMA_ORDER_MAX || o->q > ARIMA_ORDER_MAX || o->d > ARIMA_DIFFERENCES_MAX ||
        o->p + o->q == 0)
        return error_set(error, STATUS_INVALID,
                         "arima: orders = (%u,%u,%u), p and q may be 0 to %d but not both 0, "
                         "d 0 to %d", o->p, o->d, o->q, ARIMA_ORDER_MAX, ARIMA_DIFFERENCES_MAX);
    c->ticks = c->ticks ? c->ticks : ARIMA_TICKS;
    if (c->ticks < ARIMA_TICKS_MIN || c->ticks > TICKS_LIMIT)
        return error_set(error, STATUS_INVALID, "arima: ticks = %u, must be %d to %d", c->ticks,
                         ARIMA_TICKS_MIN, TICKS_LIMIT);
    if (!c->window)
        c->window = c->ticks < WINDOW_TICKS ? c->ticks : WINDOW_TICKS;
    if (c->window > c->ticks)
        return error_set(error, STATUS_INVALID, "arima: window = %u, at most ticks = %u",
                         c->window, c->ticks);
    c->refits = c->refits ? c->refits : ARIMA_REFITS;
    return STATUS_OK;
}

static bool arrays_open(struct arima *a, const struct arima_config *c)
{
    struct arena *arena = &a->arena;
    size_t all = (size_t)c->layers * c->experts;
    if (!load_history_init(&a->history, arena, c->layers, c->experts, c->ticks))
        return false;
    a->rows = c->orders.p + 2 * c->orders.q + 1;
    a->blocks = (c->experts + LANES - 1) / LANES;
    a->series = arena_alloc_items(arena, (size_t)c->layers * a->blocks, a->rows * sizeof *a->series,
                                  64);
    a->fit = arena_alloc_items(arena, all, sizeof *a->fit, 8);
    a->turn = arena_alloc_items(arena, c->layers, sizeof *a->turn, 8);
    a->points = arena_alloc_items(arena, c->ticks, sizeof *a->points, 8);
    a->scratch = arena_alloc_items(arena, c->ticks, sizeof *a->scratch, 8);
    a->visits = arena_alloc_items(arena, c->window, sizeof *a->visits, 8);
    a->weights = arena_alloc_items(arena, c->window, sizeof *a->weights, 8);
    return a->series && a->fit && a->turn && a->points && a->scratch && a->visits &&
           a->weights;
}

enum status arima_open(struct predictor **out, const struct arima_config *config,
                       struct error *error)
{
    struct arima_config c = *config;
    enum status status = config_complete(&c, error);
    if (status != STATUS_OK)
        return status;
    struct arima *a = calloc(1, sizeof *a);
    if (!a)
        goto fail;
    a->base.ops = &arima_ops;
    a->orders = c.orders;
    a->window = c.window;
    a->refits = c.refits;
    arena_init(&a->arena, 0, 0);
    if (!arrays_open(a, &c))
        goto fail;
    *out = &a->base;
    return STATUS_OK;
fail:
    if (a)
        arima_close(&a->base);
    return error_set(error, STATUS_NO_MEMORY, "arima: no memory for %u ticks of %u x %u experts",
                     c.ticks, c.layers, c.experts);
}
