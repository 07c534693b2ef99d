#include "engine/predict/loads.h"

#include <stdlib.h>
#include <string.h>

#include "engine/predict/arima.h"
#include "engine/predict/ewma.h"
#include "engine/predict/load_history.h"
#include "engine/predict/window.h"
#include "memory/base/check.h"

/* Everything of one phase. */
struct phase {
    uint32_t tick_tokens;
    struct predictor *ewma, *window, *arima;
    struct predictor *mixture; /* of these, and the LSTM if there is one */
    struct state *state;
    uint32_t *tokens; /* [layers][experts] routed since the last tick */
    uint64_t *routed; /* [layers] their sum */
    uint64_t *wanted; /* [layers] of which the tick closes */
    uint64_t ticks;
};

struct loads {
    struct arena arena;
    uint32_t layers, experts;
    struct phase phase[LOAD_PHASES];
    float *share; /* [experts] of the tick that closes */
};

static void tick_close(struct loads *loads, struct phase *phase, uint32_t layer)
{
    uint32_t *tokens = phase->tokens + (size_t)layer * loads->experts;
    uint64_t routed = phase->routed[layer];
    for (uint32_t e = 0; e < loads->experts; e++)
        loads->share[e] = (float)((double)tokens[e] / (double)routed);
    memset(tokens, 0, loads->experts * sizeof *tokens);
    phase->routed[layer] = 0;
    phase->wanted[layer] = phase->tick_tokens;
    phase->ticks++;
    state_tick(phase->state, layer, loads->share, routed);
    phase->mixture->ops->tick(phase->mixture, layer, loads->share);
}

bool loads_observe(struct loads *loads, const struct layer_run *run)
{
    CHECK(run->layer < loads->layers);
    struct phase *phase = &loads->phase[run->prefill ? LOAD_PREFILL : LOAD_DECODE];
    uint32_t *tokens = phase->tokens + (size_t)run->layer * loads->experts;
    uint64_t routed = 0;
    for (uint32_t i = 0; i < run->count; i++) {
        CHECK(run->experts[i] < loads->experts);
        tokens[run->experts[i]] += run->tokens[i];
        routed += run->tokens[i];
    }
    phase->routed[run->layer] += routed;
    if (phase->routed[run->layer] < phase->wanted[run->layer])
        return false;
    tick_close(loads, phase, run->layer);
    return true;
}

bool loads_forecast(struct loads *loads, enum load_phase phase, uint32_t layer, uint32_t horizon,
                    float *share)
{
    CHECK(phase < LOAD_PHASES);
    struct predictor *mixture = loads->phase[phase].mixture;
    return mixture->ops->loads(mixture, layer, horizon, share);
}

void loads_state(const struct loads *loads, enum load_phase phase, uint32_t layer,
                 struct state_figures *out)
{
    CHECK(phase < LOAD_PHASES);
    state_get(loads->phase[phase].state, layer, out);
}

const struct predictor *loads_mixture(const struct loads *loads, enum load_phase phase)
{
    CHECK(phase < LOAD_PHASES);
    return loads->phase[phase].mixture;
}

uint64_t loads_ticks(const struct loads *loads, enum load_phase phase)
{
    CHECK(phase < LOAD_PHASES);
    return loads->phase[phase].ticks;
}

size_t loads_bytes(const struct loads *loads)
{
    size_t bytes = sizeof *loads + loads->arena.used;
    for (int p = 0; p < LOAD_PHASES; p++) {
        const struct phase *phase = &loads->phase[p];
        bytes += ewma_bytes(phase->ewma) + window_bytes(phase->window) +
                 arima_bytes(phase->arima) + load_mixture_bytes(phase->mixture) +
                 state_bytes(phase->state);
    }
    return bytes;
}

static enum status predictors_open(struct phase *phase, const struct loads_config *config,
                                   struct predictor *lstm, struct error *error)
{
    uint32_t layers = config->layers, experts = config->experts;
    enum status status = ewma_open(
        &phase->ewma, &(struct ewma_config){.layers = layers, .experts = experts}, error);
    if (status != STATUS_OK)
        return status;
    status = window_open(&phase->window,
                         &(struct window_config){.layers = layers, .experts = experts,
                                                 .window = config->window},
                         error);
    if (status != STATUS_OK)
        return status;
    /* ARIMA's own window is the fallback of single series: as long as its ring allows. */
    uint32_t window = config->window < ARIMA_TICKS ? config->window : ARIMA_TICKS;
    status = arima_open(
        &phase->arima,
        &(struct arima_config){.layers = layers, .experts = experts, .window = window}, error);
    if (status != STATUS_OK)
        return status;
    struct predictor *all[LOADS_PREDICTORS_MAX] = {phase->ewma, phase->window, phase->arima, lstm};
    const struct load_mixture_config mixture = {
        .layers = layers, .experts = experts, .predictors = all, .count = lstm ? 4 : 3,
        .fallback = 1};
    return load_mixture_open(&phase->mixture, &mixture, error);
}

static uint32_t standard_tick_tokens(enum load_phase phase, uint32_t experts)
{
    uint32_t least = phase == LOAD_PREFILL ? LOADS_PREFILL_TICK_TOKENS : LOADS_DECODE_TICK_TOKENS;
    uint64_t wide = (uint64_t)LOADS_TICK_TOKENS_PER_EXPERT * experts;
    return wide > least && wide <= UINT32_MAX ? (uint32_t)wide : least;
}

static enum status phase_open(struct loads *loads, enum load_phase p,
                              const struct loads_config *config, struct error *error)
{
    struct phase *phase = &loads->phase[p];
    phase->tick_tokens = config->tick_tokens[p] ? config->tick_tokens[p]
                                                : standard_tick_tokens(p, config->experts);
    enum status status = predictors_open(phase, config, config->lstm[p], error);
    if (status != STATUS_OK)
        return status;
    const struct state_config state = {.layers = config->layers, .experts = config->experts,
                                       .top_k = config->top_k, .window = config->window};
    status = state_open(&phase->state, &state, error);
    if (status != STATUS_OK)
        return status;
    size_t all = (size_t)config->layers * config->experts;
    phase->tokens = arena_alloc_items(&loads->arena, all, sizeof *phase->tokens, 64);
    phase->routed = arena_alloc_items(&loads->arena, config->layers, sizeof *phase->routed, 8);
    phase->wanted = arena_alloc_items(&loads->arena, config->layers, sizeof *phase->wanted, 8);
    if (!phase->tokens || !phase->routed || !phase->wanted)
        return error_set(error, STATUS_NO_MEMORY,
                         "loads: no memory for the counts of %u x %u experts", config->layers,
                         config->experts);
    for (uint32_t l = 0; l < config->layers; l++) /* the first ticks stagger all that follow */
        phase->wanted[l] =
            phase->tick_tokens + (uint64_t)phase->tick_tokens * l / config->layers;
    return STATUS_OK;
}

void loads_close(struct loads *loads)
{
    if (!loads)
        return;
    for (int p = 0; p < LOAD_PHASES; p++) {
        struct phase *phase = &loads->phase[p];
        predictor_close(phase->mixture);
        predictor_close(phase->arima);
        predictor_close(phase->window);
        predictor_close(phase->ewma);
        state_close(phase->state);
    }
    arena_close(&loads->arena);
    free(loads);
}

enum status loads_open(struct loads **out, const struct loads_config *config, struct error *error)
{
    enum status status = STATUS_NO_MEMORY;
    struct loads *loads = calloc(1, sizeof *loads);
    if (!loads)
        goto fail;
    arena_init(&loads->arena, 0, 0);
    loads->layers = config->layers;
    loads->experts = config->experts;
    for (int p = 0; p < LOAD_PHASES; p++) {
        status = phase_open(loads, (enum load_phase)p, config, error);
        if (status != STATUS_OK)
            goto fail;
    }
    status = STATUS_NO_MEMORY;
    loads->share = arena_alloc_items(&loads->arena, config->experts, sizeof *loads->share, 64);
    if (!loads->share)
        goto fail;
    *out = loads;
    return STATUS_OK;
fail:
    loads_close(loads);
    return error_set(error, status, "loads: no memory for %u x %u experts", config->layers,
                     config->experts);
}
