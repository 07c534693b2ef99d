#include "engine/predict/load_mixture.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/predict/load_history.h"
#include "memory/base/check.h"

/* Forecasts `ticks` ahead are made every `period` ticks; ticks / period of them wait at a time, in
 * rows from `first` on. The row written at a tick is the one whose truth that tick is. */
static const struct {
    uint32_t ticks, period, first;
} horizons[LOAD_MIXTURE_HORIZONS] = {{1, 1, 0}, {10, 2, 1}, {100, 10, 6}};

enum {
    WAITING_ROWS = 16,
    SCORE_MEMORY = 32, /* scores that the rolling mean looks back */
    CHALLENGE_TICKS = 3
};
static const float CHALLENGE_RATIO = 1.1f; /* "10 % better" */

struct score {
    float error;
    uint64_t scored;
};

struct choice {
    uint32_t used, challenger, streak, changes;
};

struct load_mixture {
    struct predictor base;
    struct arena arena;
    uint32_t layers, experts, count, fallback;
    struct predictor *predictors[LOAD_MIXTURE_PREDICTORS_MAX];
    uint16_t *waiting;     /* [layers][WAITING_ROWS][count][experts] forecasts */
    bool *said;            /* [layers][WAITING_ROWS][count] is there one */
    struct score *score;   /* [layers][HORIZONS][count] */
    struct choice *choice; /* [layers][HORIZONS] */
    uint64_t *ticks, *skipped; /* [layers] */
    float *share;              /* [experts] scratch */
};

float load_error_ratio(const float *predicted, const float *actual, uint32_t experts,
                       uint32_t *skipped)
{
    double sum = 0.0;
    uint32_t counted = 0;
    for (uint32_t e = 0; e < experts; e++) {
        if (!(actual[e] > 0.0f))
            continue;
        sum += fabsf(predicted[e] - actual[e]) / actual[e];
        counted++;
    }
    *skipped = experts - counted;
    return counted ? (float)(sum / counted) : 0.0f;
}

static struct score *scores_of(const struct load_mixture *m, uint32_t layer, uint32_t h)
{
    return m->score + ((size_t)layer * LOAD_MIXTURE_HORIZONS + h) * m->count;
}

static struct choice *choice_of(const struct load_mixture *m, uint32_t layer, uint32_t h)
{
    return m->choice + (size_t)layer * LOAD_MIXTURE_HORIZONS + h;
}

/* Where forecast `which` of the row in turn at this tick of the layer stands. */
static size_t waiting_index(const struct load_mixture *m, uint32_t layer, uint32_t h,
                            uint32_t which)
{
    uint32_t rows = horizons[h].ticks / horizons[h].period;
    uint64_t row = horizons[h].first + m->ticks[layer] / horizons[h].period % rows;
    return ((size_t)layer * WAITING_ROWS + row) * m->count + which;
}

/* Asks one predictor; false if it cannot say or what it says is no vector of shares. */
static bool ask(const struct load_mixture *m, uint32_t which, uint32_t layer, uint32_t horizon,
                float *share)
{
    struct predictor *p = m->predictors[which];
    if (!p->ops->loads || !p->ops->loads(p, layer, horizon, share))
        return false;
    float sum = 0.0f;
    for (uint32_t e = 0; e < m->experts; e++)
        sum += share[e];
    if (!(sum > 0.0f && sum < INFINITY))
        return false;
    load_share_normalise(share, m->experts);
    return true;
}

/* The truth of the forecasts made horizons[h].ticks ago has come. True: at least one was scored. */
static bool score_due(struct load_mixture *m, uint32_t layer, uint32_t h, const float *actual)
{
    bool any = false;
    struct score *score = scores_of(m, layer, h);
    for (uint32_t which = 0; which < m->count; which++) {
        size_t index = waiting_index(m, layer, h, which);
        if (!m->said[index])
            continue;
        const uint16_t *forecast = m->waiting + index * m->experts;
        for (uint32_t e = 0; e < m->experts; e++)
            m->share[e] = forecast[e] * (1.0f / LOAD_SHARE_ONE);
        uint32_t skipped;
        float error = load_error_ratio(m->share, actual, m->experts, &skipped);
        struct score *s = &score[which];
        s->scored++;
        s->error += (error - s->error) / (s->scored < SCORE_MEMORY ? s->scored : SCORE_MEMORY);
        m->skipped[layer] += any ? 0 : skipped;
        any = true;
    }
    return any;
}

/* The one of least error, the cheaper one of equals; count if none has scores enough. */
static uint32_t least_error(const struct load_mixture *m, const struct score *score)
{
    uint32_t best = m->count;
    for (uint32_t which = 0; which < m->count; which++)
        if (score[which].scored >= LOAD_MIXTURE_SCORES_MIN &&
            (best == m->count || score[which].error < score[best].error))
            best = which;
    return best;
}

static void choose(struct load_mixture *m, uint32_t layer, uint32_t h)
{
    struct choice *choice = choice_of(m, layer, h);
    const struct score *score = scores_of(m, layer, h), *used = &score[choice->used];
    uint32_t best = least_error(m, score);
    /* One that never speaks has no error to beat: whoever has been scored may follow it. */
    bool silent = used->scored == 0;
    if (best == m->count || best == choice->used ||
        (!silent && (used->scored < LOAD_MIXTURE_SCORES_MIN ||
                     used->error <= CHALLENGE_RATIO * score[best].error))) {
        choice->streak = 0;
        return;
    }
    choice->streak = best == choice->challenger ? choice->streak + 1 : 1;
    choice->challenger = best;
    if (choice->streak < CHALLENGE_TICKS)
        return;
    choice->used = best;
    choice->streak = 0;
    choice->changes++;
}

static void forecast_ahead(struct load_mixture *m, uint32_t layer, uint32_t h)
{
    for (uint32_t which = 0; which < m->count; which++) {
        size_t index = waiting_index(m, layer, h, which);
        m->said[index] = ask(m, which, layer, horizons[h].ticks, m->share);
        if (!m->said[index])
            continue;
        uint16_t *forecast = m->waiting + index * m->experts;
        for (uint32_t e = 0; e < m->experts; e++)
            forecast[e] = (uint16_t)(m->share[e] * LOAD_SHARE_ONE + 0.5f);
    }
}

static void load_mixture_tick(struct predictor *predictor, uint32_t layer, const float *share)
{
    struct load_mixture *m = (struct load_mixture *)predictor;
    CHECK(layer < m->layers);
    m->ticks[layer]++;
    for (uint32_t h = 0; h < LOAD_MIXTURE_HORIZONS; h++)
        if (m->ticks[layer] % horizons[h].period == 0 && score_due(m, layer, h, share))
            choose(m, layer, h);
    for (uint32_t which = 0; which < m->count; which++)
        if (m->predictors[which]->ops->tick)
            m->predictors[which]->ops->tick(m->predictors[which], layer, share);
    for (uint32_t h = 0; h < LOAD_MIXTURE_HORIZONS; h++)
        if (m->ticks[layer] % horizons[h].period == 0)
            forecast_ahead(m, layer, h);
}

static bool load_mixture_loads(struct predictor *predictor, uint32_t layer, uint32_t horizon,
                               float *share)
{
    struct load_mixture *m = (struct load_mixture *)predictor;
    CHECK(layer < m->layers && horizon >= 1);
    uint32_t h = horizon <= 3 ? 0 : horizon <= 31 ? 1 : 2; /* split at the square roots */
    uint32_t used = choice_of(m, layer, h)->used;
    if (ask(m, used, layer, horizon, share) || ask(m, m->fallback, layer, horizon, share))
        return true;
    for (uint32_t which = 0; which < m->count; which++)
        if (which != used && which != m->fallback && ask(m, which, layer, horizon, share))
            return true;
    return false;
}

static void load_mixture_close(struct predictor *predictor)
{
    struct load_mixture *m = (struct load_mixture *)predictor;
    arena_close(&m->arena);
    free(m);
}

static const struct predictor_ops load_mixture_ops = {
    .name = "mixture",
    .tick = load_mixture_tick,
    .loads = load_mixture_loads,
    .close = load_mixture_close,
};

static bool arrays_open(struct load_mixture *m)
{
    struct arena *arena = &m->arena;
    size_t rows = (size_t)m->layers * WAITING_ROWS * m->count;
    size_t choices = (size_t)m->layers * LOAD_MIXTURE_HORIZONS;
    m->waiting = arena_alloc_items(arena, rows, m->experts * sizeof *m->waiting, 64);
    m->said = arena_alloc_items(arena, rows, sizeof *m->said, 8);
    m->score = arena_alloc_items(arena, choices * m->count, sizeof *m->score, 8);
    m->choice = arena_alloc_items(arena, choices, sizeof *m->choice, 8);
    m->ticks = arena_alloc_items(arena, m->layers, sizeof *m->ticks, 8);
    m->skipped = arena_alloc_items(arena, m->layers, sizeof *m->skipped, 8);
    m->share = arena_alloc_items(arena, m->experts, sizeof *m->share, 64);
    if (!m->waiting || !m->said || !m->score || !m->choice || !m->ticks || !m->skipped ||
        !m->share)
        return false;
    for (size_t i = 0; i < choices; i++)
        m->choice[i].used = m->fallback;
    return true;
}

enum status load_mixture_open(struct predictor **out, const struct load_mixture_config *config,
                              struct error *error)
{
    enum status status = load_shape_check("mixture", config->layers, config->experts, error);
    if (status != STATUS_OK)
        return status;
    CHECK(config->count >= 1 && config->count <= LOAD_MIXTURE_PREDICTORS_MAX);
    CHECK(config->fallback < config->count);
    struct load_mixture *m = calloc(1, sizeof *m);
    if (!m)
        goto fail;
    m->base.ops = &load_mixture_ops;
    m->layers = config->layers;
    m->experts = config->experts;
    m->count = config->count;
    m->fallback = config->fallback;
    memcpy(m->predictors, config->predictors, m->count * sizeof *m->predictors);
    arena_init(&m->arena, 0, 0);
    if (!arrays_open(m))
        goto fail;
    *out = &m->base;
    return STATUS_OK;
fail:
    if (m)
        load_mixture_close(&m->base);
    return error_set(error, STATUS_NO_MEMORY,
                     "mixture: no memory for the forecasts of %u predictors for %u x %u experts",
                     config->count, config->layers, config->experts);
}

static const struct load_mixture *opened(const struct predictor *predictor)
{
    CHECK(predictor->ops == &load_mixture_ops);
    return (const struct load_mixture *)predictor;
}

size_t load_mixture_bytes(const struct predictor *predictor)
{
    return sizeof(struct load_mixture) + opened(predictor)->arena.used;
}

uint32_t load_mixture_count(const struct predictor *predictor)
{
    return opened(predictor)->count;
}

uint32_t load_mixture_horizon(uint32_t horizon_index)
{
    CHECK(horizon_index < LOAD_MIXTURE_HORIZONS);
    return horizons[horizon_index].ticks;
}

void load_mixture_score(const struct predictor *predictor, uint32_t layer, uint32_t horizon_index,
                        uint32_t which, struct load_mixture_figures *out)
{
    const struct load_mixture *m = opened(predictor);
    CHECK(layer < m->layers && horizon_index < LOAD_MIXTURE_HORIZONS && which < m->count);
    const struct score *score = scores_of(m, layer, horizon_index) + which;
    *out = (struct load_mixture_figures){.name = m->predictors[which]->ops->name,
                                       .error = score->error,
                                       .scored = score->scored};
}

uint32_t load_mixture_choice(const struct predictor *predictor, uint32_t layer,
                             uint32_t horizon_index, uint32_t *changes)
{
    const struct load_mixture *m = opened(predictor);
    CHECK(layer < m->layers && horizon_index < LOAD_MIXTURE_HORIZONS);
    const struct choice *choice = choice_of(m, layer, horizon_index);
    if (changes)
        *changes = choice->changes;
    return choice->used;
}

uint64_t load_mixture_skipped(const struct predictor *predictor, uint32_t layer)
{
    const struct load_mixture *m = opened(predictor);
    CHECK(layer < m->layers);
    return m->skipped[layer];
}
