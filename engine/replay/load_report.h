/* How well loads can be forecast, measured over a load log in the terms of arXiv 2404.16914.
 *
 * The log is played tick by tick into the state detector and into five predictors: the last value,
 * the window average, EWMA, ARIMA(5,1,5) and the LSTM. At every `stride`-th tick each is asked for
 * every horizon, and the answer is scored against the tick that came so much later:
 *
 *     mean error ratio = mean over the experts of a layer of |forecast - actual| / actual
 *
 * Experts whose actual share is 0 have no ratio; they are left out and counted.
 *
 * Beside each error stands the sampling floor. The actual share is itself a draw: of R routed
 * tokens an expert of share p gets one that deviates by sqrt((1 - p) / (p R)) relatively when draws
 * are independent, by sqrt((1 - k p) / (p R)) when a token picks k different experts. The mean
 * absolute value of a normal deviate is sqrt(2 / pi) = 0.8 of its deviation, and a forecast that is
 * the mean of w ticks brings its own noise, so that no error is below
 *
 *     floor = mean over experts of 0.8 sqrt((1 - p) / (p R)) sqrt(1 + 1 / w)
 *
 * with w = 1 for the last value, the window for its average, (2 - a) / a for EWMA, and infinite for
 * ARIMA and the LSTM, which might know the share exactly. Tokens of one text are not independent,
 * so the true floor lies higher.
 *
 * Two parts. *Stable*: forecasts made while the detector called the layer stable; the LSTM is not
 * scored there on ticks that it was trained on. *Held out*: forecasts made after the ticks that the
 * LSTM was trained on, whatever the state; there all five answer the same questions. */
#ifndef MOERING_ENGINE_REPLAY_LOAD_REPORT_H
#define MOERING_ENGINE_REPLAY_LOAD_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "engine/predict/lstm_train.h"
#include "engine/replay/load_log.h"

#ifdef __cplusplus
extern "C" {
#endif

enum load_report_predictor {
    LOAD_REPORT_LAST,
    LOAD_REPORT_WINDOW,
    LOAD_REPORT_EWMA,
    LOAD_REPORT_ARIMA,
    LOAD_REPORT_LSTM,
    LOAD_REPORT_PREDICTORS,
};

enum load_report_part {
    LOAD_REPORT_STABLE,
    LOAD_REPORT_HELD_OUT,
    LOAD_REPORT_PARTS,
};

#define LOAD_REPORT_HORIZONS_MAX LSTM_HORIZONS_MAX

struct load_report_config {
    const char *phase; /* NULL: the one with most ticks */
    uint32_t horizon_count;
    uint32_t horizons[LOAD_REPORT_HORIZONS_MAX]; /* ascending; count 0: 1 10 100 1,000 2,000 */
    uint32_t window;          /* ticks, of the window average and the detector; 0: 100 */
    float half_life_ticks;    /* of EWMA; 0: its own default */
    uint32_t top_k;           /* experts a token picks, for the floors; 0: independent draws */
    uint32_t stride;          /* ask at every stride-th tick; 0: 5 */
    uint32_t lstm_units;      /* 0: 64 */
    float train_share;        /* of the ticks, from the front, for the LSTM; in (0, 1); 0: 0.6 */
    const struct load_log *train_log; /* train on all of this one instead (the same phase) */
    struct lstm_train_config train;   /* mul_adds_max 0: 2e11, about a minute */
};

struct load_report_cell {
    double error, floor; /* mean error ratio and its floor; 0 when nothing was scored */
    uint64_t scored;     /* forecasts of the layer */
    uint64_t skipped;    /* experts left out of them: actual share 0 */
};

struct load_report_layer {
    bool ever_stable, stable_at_end;
    uint64_t stable_tick; /* number of the tick at which it was first called stable */
    uint32_t changes;     /* of its state */
    double tokens;        /* routed per tick, mean */
};

struct load_report {
    char phase[LOAD_LOG_PHASE_BYTES];
    uint32_t layers, experts, ticks;
    uint32_t window, stride, top_k;
    uint32_t horizon_count;
    uint32_t horizons[LOAD_REPORT_HORIZONS_MAX];
    struct load_report_layer *layer; /* [layers] */
    struct load_report_cell *cells;  /* [parts][horizons][predictors][layers] */
    uint32_t held_out_from;          /* index of the first tick of that part */
    bool lstm_trained;               /* false: the log is too short or too wide; no LSTM cells */
    bool lstm_other_log;
    uint32_t lstm_ticks;             /* it was trained on */
    uint32_t lstm_units;
    struct lstm_train_result lstm;
    struct lstm_net *lstm_net; /* what was trained, for lstm_file_write; NULL: nothing */
};

/* INVALID: the log has no such phase, or fewer than two ticks of it; the training log is of another
 * shape; horizons not ascending; a window that the predictors refuse. NO_MEMORY. That there are at
 * most LOAD_REPORT_HORIZONS_MAX horizons and that train_share < 1 is the caller's to check.
 * Time: of 2,800 ticks of 6 x 32 experts about 9 s, half of it for the LSTM; one thread. */
enum status load_report_run(const struct load_log *log, const struct load_report_config *config,
                            struct load_report **out, struct error *error);
void load_report_close(struct load_report *report); /* accepts NULL */

const struct load_report_cell *load_report_at(const struct load_report *report,
                                              enum load_report_part part, uint32_t horizon,
                                              enum load_report_predictor predictor, uint32_t layer);
/* "last", "window", ... and "stable", "held-out". */
const char *load_report_predictor_name(enum load_report_predictor predictor);
const char *load_report_part_name(enum load_report_part part);

/* Tables for people (of more than eight layers: the mean, the best and the worst), or one JSON
 * object with every layer and a newline. IO: the stream refused. */
enum status load_report_print(const struct load_report *report, bool json, FILE *out,
                              struct error *error);

#ifdef __cplusplus
}
#endif
#endif
