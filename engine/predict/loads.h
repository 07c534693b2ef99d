/* The slow clock: what share of its routed tokens each expert of each layer gets, and will get.
 *
 * Layer runs are summed per (phase, layer) until a tick's worth of tokens has been routed; then the
 * shares of that tick go to the state detector and to the mixture of predictors. A tick is counted
 * in tokens and not in time, because the sampling noise of a share depends on tokens alone. Prefill
 * and decode are kept apart: they route differently, and decode's ticks are few and dear.
 *
 * A tick is the dear part, and all layers route alike: left to themselves they would close their
 * ticks in one step, which then took as long as all of them together. So the first tick of layer l
 * is longer by l / layers of a tick, and those that follow are spread over the period. A run of
 * more tokens than lie between two layers makes these close in one step, and they stay together.
 *
 * One run makes one tick at most, however long: a prefill chunk of four ticks' tokens is one tick
 * with less noise. The detector is told how many tokens each tick had.
 *
 * Cost of a run that closes no tick: one addition per distinct expert. Of one that does: README.md.
 * Bytes per phase, layer and expert at the defaults: window 204, ewma 4, arima 385, state 216,
 * forecasts waiting for their truth 32 per predictor, counts 4, scratch apart; with the LSTM that
 * is 941 and 55.2 MiB for 2 phases x 60 layers x 512 experts (of the LSTM itself: lstm.h).
 *
 * Pure, nothing allocated after open. Engine thread. */
#ifndef MOERING_ENGINE_PREDICT_LOADS_H
#define MOERING_ENGINE_PREDICT_LOADS_H

#include <stddef.h>

#include "engine/predict/load_mixture.h"
#include "engine/predict/predictor.h"
#include "engine/predict/state.h"

#ifdef __cplusplus
extern "C" {
#endif

enum load_phase { LOAD_PREFILL, LOAD_DECODE, LOAD_PHASES };

enum {
    LOADS_PREFILL_TICK_TOKENS = 4096,
    LOADS_DECODE_TICK_TOKENS = 1024,
    LOADS_TICK_TOKENS_PER_EXPERT = 8, /* fewer tell little: a share is then known to 35 % */
    LOADS_PREDICTORS_MAX = 4,
    LOADS_LSTM_PAGE_BYTES = 32, /* per phase: what loads_open takes for an LSTM, beside its own */
};

struct loads;

struct loads_config {
    uint32_t layers, experts;
    uint32_t top_k;                    /* 0: unknown */
    uint32_t tick_tokens[LOAD_PHASES]; /* routed, that is rows x k, the first tick of a layer apart;
                                        * 0: the default of the phase, or
                                        * LOADS_TICK_TOKENS_PER_EXPERT x experts if that is more */
    uint32_t window;                   /* ticks of window and detector, 4 to 4,096; 0: 100 */
    /* From lstm_open, one per phase since each has a state of its own; NULL: none. Borrowed: they
     * must outlive the loads and be ticked by nobody else. */
    struct predictor *lstm[LOAD_PHASES];
};

/* INVALID names the field, NO_MEMORY. */
enum status loads_open(struct loads **out, const struct loads_config *config, struct error *error);
void loads_close(struct loads *loads); /* accepts NULL */
/* What it allocated, for the budget. */
size_t loads_bytes(const struct loads *loads);

/* A layer ran. True: that closed a tick of its phase and layer. */
bool loads_observe(struct loads *loads, const struct layer_run *run);
/* share[experts] in [0, 1], summing to 1, `horizon` >= 1 ticks after the newest one. False: no tick
 * of this phase and layer has closed yet. */
bool loads_forecast(struct loads *loads, enum load_phase phase, uint32_t layer, uint32_t horizon,
                    float *share);
/* Is the layer stable, and why. Transient and zeros before two ticks. */
void loads_state(const struct loads *loads, enum load_phase phase, uint32_t layer,
                 struct state_figures *out);

/* For statistics: errors, choice, horizons and names per layer, through load_mixture_figures and
 * its neighbours. Read only. */
const struct predictor *loads_mixture(const struct loads *loads, enum load_phase phase);
/* Ticks closed, all layers of a phase together. */
uint64_t loads_ticks(const struct loads *loads, enum load_phase phase);

#ifdef __cplusplus
}
#endif
#endif
