#include "engine/replay/load_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/predict/arima.h"
#include "engine/predict/ewma.h"
#include "engine/predict/lstm.h"
#include "engine/predict/state.h"
#include "engine/predict/window.h"
#include "memory/base/check.h"

/* A horizon is trained when the log the LSTM learns from holds this part of it as origins. */
#define TRAIN_HORIZON_SHARE 0.6
#define MUL_ADDS_MAX 200000000000u

struct run {
    const struct load_log *log;
    const struct load_log_phase *phase;
    struct load_report *report;
    struct predictor *predictors[LOAD_REPORT_PREDICTORS]; /* NULL: the LSTM when not trained */
    double noise[LOAD_REPORT_PREDICTORS];                 /* 1 / w of each */
    struct state *state;
    float *share;    /* [ticks][layers][experts] */
    float *forecast; /* [experts] */
};

static const float *share_at(const struct run *run, uint32_t tick, uint32_t layer)
{
    const struct load_report *report = run->report;
    return run->share + ((size_t)tick * report->layers + layer) * report->experts;
}

/* ---- the LSTM ---- */

/* The horizons of the report that `ticks` ticks can teach and judge. */
static struct lstm_sizes lstm_sizes_for(const struct load_report *report, uint32_t units,
                                        uint32_t ticks)
{
    struct lstm_sizes sizes = {report->layers, report->experts, units, 0, {0}};
    for (uint32_t i = 0; i < report->horizon_count; i++)
        if (report->horizons[i] <= TRAIN_HORIZON_SHARE * ticks)
            sizes.horizons[sizes.horizon_count++] = report->horizons[i];
    return sizes;
}

static enum status train(struct run *run, const struct lstm_series *series,
                         const struct load_report_config *config, struct error *error)
{
    struct load_report *report = run->report;
    struct lstm_train_config how = config->train;
    struct lstm_sizes sizes = lstm_sizes_for(report, report->lstm_units, series->ticks);
    if (lstm_sizes_check(&sizes, NULL) != STATUS_OK || series->ticks < 10)
        return STATUS_OK; /* report->lstm_trained stays false */
    if (!how.mul_adds_max)
        how.mul_adds_max = MUL_ADDS_MAX;
    enum status status = lstm_net_open(&report->lstm_net, &sizes, 1, error);
    if (status == STATUS_OK)
        status = lstm_train(report->lstm_net, series, &how, &report->lstm, error);
    report->lstm_trained = status == STATUS_OK;
    return status;
}

static enum status train_on_other(struct run *run, const struct load_report_config *config,
                                  struct error *error)
{
    const struct load_log *log = config->train_log;
    const struct load_log_phase *phase = load_log_find(log, run->phase->name);
    if (!phase)
        return error_set(error, STATUS_INVALID, "the log to train on has no phase %s",
                         run->phase->name);
    if (log->layers != run->log->layers || log->experts != run->log->experts)
        return error_set(error, STATUS_INVALID,
                         "the log to train on is of %u x %u experts, the one to forecast of %u x "
                         "%u", log->layers, log->experts, run->log->layers, run->log->experts);
    float *share = calloc((size_t)phase->ticks * log->layers * log->experts, sizeof *share);
    if (!share)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the log to train on");
    load_log_shares(log, phase, share);
    struct lstm_series series = {share, phase->ticks};
    run->report->lstm_other_log = true;
    run->report->lstm_ticks = phase->ticks;
    run->report->held_out_from = 0;
    enum status status = train(run, &series, config, error);
    free(share);
    return status;
}

/* ---- playing the log ---- */

static enum status open_predictors(struct run *run, const struct load_report_config *config,
                                   struct error *error)
{
    const uint32_t layers = run->report->layers, experts = run->report->experts;
    const struct window_config last = {layers, experts, 1};
    const struct window_config window = {layers, experts, run->report->window};
    const struct ewma_config ewma = {layers, experts, config->half_life_ticks};
    const struct arima_config arima = {.layers = layers, .experts = experts};
    const struct lstm_config lstm = {layers, experts, NULL, run->report->lstm_net};
    const struct state_config state = {layers, experts, config->top_k, run->report->window};
    const float half_life = config->half_life_ticks > 0 ? config->half_life_ticks
                                                        : (float)EWMA_HALF_LIFE_TICKS;
    const double a = 1 - exp2(-1 / half_life);
    enum status status = window_open(&run->predictors[LOAD_REPORT_LAST], &last, error);
    if (status == STATUS_OK)
        status = window_open(&run->predictors[LOAD_REPORT_WINDOW], &window, error);
    if (status == STATUS_OK)
        status = ewma_open(&run->predictors[LOAD_REPORT_EWMA], &ewma, error);
    if (status == STATUS_OK)
        status = arima_open(&run->predictors[LOAD_REPORT_ARIMA], &arima, error);
    if (status == STATUS_OK && run->report->lstm_trained)
        status = lstm_open(&run->predictors[LOAD_REPORT_LSTM], &lstm, error);
    if (status == STATUS_OK)
        status = state_open(&run->state, &state, error);
    run->noise[LOAD_REPORT_LAST] = 1;
    run->noise[LOAD_REPORT_WINDOW] = 1.0 / run->report->window;
    run->noise[LOAD_REPORT_EWMA] = a / (2 - a);
    return status;
}

static void observe(struct run *run, uint32_t tick)
{
    struct load_report *report = run->report;
    for (uint32_t layer = 0; layer < report->layers; layer++) {
        const float *share = share_at(run, tick, layer);
        uint32_t tokens = run->phase->tokens[(size_t)tick * report->layers + layer];
        struct load_report_layer *of = &report->layer[layer];
        bool stable = state_tick(run->state, layer, share, tokens);
        if (stable && !of->ever_stable)
            of->stable_tick = run->phase->tick[tick];
        of->ever_stable |= stable;
        of->stable_at_end = stable;
        of->tokens += (double)tokens / report->ticks;
        for (uint32_t p = 0; p < LOAD_REPORT_PREDICTORS; p++)
            if (run->predictors[p])
                run->predictors[p]->ops->tick(run->predictors[p], layer, share);
    }
}

/* Cells hold sums until finish. The floor takes the actual share for p, whose own noise raises it a
 * little where an expert gets few tokens: by a factor 1 + 3 / 8n for n of them. */
static void score(struct load_report_cell *cell, const float *forecast, const float *actual,
                  uint32_t experts, double tokens, uint32_t top_k, double noise)
{
    double error = 0, floor = 0;
    uint32_t counted = 0;
    const double k = top_k ? top_k : 1;
    for (uint32_t e = 0; e < experts; e++) {
        double p = actual[e];
        if (p <= 0)
            continue;
        counted++;
        error += fabs(forecast[e] - p) / p;
        floor += k * p < 1 ? sqrt((1 - k * p) / (p * tokens)) : 0;
    }
    if (counted == 0)
        return;
    cell->error += error / counted;
    cell->floor += M_2_SQRTPI * M_SQRT1_2 * floor / counted * sqrt(1 + noise);
    cell->scored++;
    cell->skipped += experts - counted;
}

static struct load_report_cell *cell_of(const struct load_report *report, uint32_t part,
                                        uint32_t horizon, uint32_t predictor, uint32_t layer)
{
    size_t at = (size_t)part * report->horizon_count + horizon;
    at = at * LOAD_REPORT_PREDICTORS + predictor;
    return &report->cells[at * report->layers + layer];
}

static void ask(struct run *run, uint32_t tick, uint32_t layer, uint32_t horizon, uint32_t p)
{
    const struct load_report *report = run->report;
    const uint64_t target = (uint64_t)tick + report->horizons[horizon];
    const bool held_out = tick >= report->held_out_from;
    struct predictor *predictor = run->predictors[p];
    struct state_figures figures;
    state_get(run->state, layer, &figures);
    const bool stable = figures.stable && (p != LOAD_REPORT_LSTM || held_out);
    if (!predictor || target >= report->ticks || !(held_out || stable) ||
        !predictor->ops->loads(predictor, layer, report->horizons[horizon], run->forecast))
        return;
    const uint32_t to = (uint32_t)target;
    const double tokens = run->phase->tokens[(size_t)to * report->layers + layer];
    if (stable)
        score(cell_of(report, LOAD_REPORT_STABLE, horizon, p, layer), run->forecast,
              share_at(run, to, layer), report->experts, tokens, report->top_k, run->noise[p]);
    if (held_out)
        score(cell_of(report, LOAD_REPORT_HELD_OUT, horizon, p, layer), run->forecast,
              share_at(run, to, layer), report->experts, tokens, report->top_k, run->noise[p]);
}

static void finish(struct run *run)
{
    struct load_report *report = run->report;
    const size_t cells = (size_t)LOAD_REPORT_PARTS * report->horizon_count *
                         LOAD_REPORT_PREDICTORS * report->layers;
    for (size_t i = 0; i < cells; i++) {
        struct load_report_cell *cell = &report->cells[i];
        if (cell->scored) {
            cell->error /= (double)cell->scored;
            cell->floor /= (double)cell->scored;
        }
    }
    for (uint32_t layer = 0; layer < report->layers; layer++) {
        struct state_figures figures;
        state_get(run->state, layer, &figures);
        report->layer[layer].changes = figures.changes;
    }
}

static void play(struct run *run)
{
    const struct load_report *report = run->report;
    for (uint32_t tick = 0; tick < report->ticks; tick++) {
        observe(run, tick);
        /* Asked from a full window on, or a short log would be judged by half-filled averages. */
        if (tick + 1 < report->window || tick % report->stride != 0)
            continue;
        for (uint32_t layer = 0; layer < report->layers; layer++)
            for (uint32_t h = 0; h < report->horizon_count; h++)
                for (uint32_t p = 0; p < LOAD_REPORT_PREDICTORS; p++)
                    ask(run, tick, layer, h, p);
    }
    finish(run);
}

/* ---- opening ---- */

static enum status take_config(struct run *run, const struct load_report_config *config,
                               struct error *error)
{
    static const uint32_t usual[] = {1, 10, 100, 1000, 2000};
    const uint32_t usual_count = sizeof usual / sizeof usual[0];
    struct load_report *report = run->report;
    const bool given = config->horizon_count > 0;
    report->horizon_count = given ? config->horizon_count : usual_count;
    CHECK(report->horizon_count <= LOAD_REPORT_HORIZONS_MAX);
    memcpy(report->horizons, given ? config->horizons : usual,
           report->horizon_count * sizeof *usual);
    for (uint32_t i = 0; i < report->horizon_count; i++)
        if (report->horizons[i] <= (i ? report->horizons[i - 1] : 0))
            return error_set(error, STATUS_INVALID,
                             "horizon %u is %u; horizons must ascend from 1", i,
                             report->horizons[i]);
    memcpy(report->phase, run->phase->name, sizeof report->phase);
    report->layers = run->log->layers;
    report->experts = run->log->experts;
    report->ticks = run->phase->ticks;
    report->window = config->window ? config->window : WINDOW_TICKS;
    report->stride = config->stride ? config->stride : 5;
    report->top_k = config->top_k;
    report->lstm_units = config->lstm_units ? config->lstm_units : 64;
    const double share = config->train_share > 0 ? config->train_share : 0.6;
    CHECK(share < 1);
    report->lstm_ticks = report->held_out_from = (uint32_t)(share * report->ticks);
    return STATUS_OK;
}

static enum status take_room(struct run *run, struct error *error)
{
    struct load_report *report = run->report;
    const size_t cells = (size_t)LOAD_REPORT_PARTS * report->horizon_count *
                         LOAD_REPORT_PREDICTORS * report->layers;
    report->layer = calloc(report->layers, sizeof *report->layer);
    report->cells = calloc(cells, sizeof *report->cells);
    run->share = calloc((size_t)report->ticks * report->layers * report->experts,
                        sizeof *run->share);
    run->forecast = calloc(report->experts, sizeof *run->forecast);
    if (!report->layer || !report->cells || !run->share || !run->forecast)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the loads of %u ticks",
                         report->ticks);
    load_log_shares(run->log, run->phase, run->share);
    return STATUS_OK;
}

static enum status run_all(struct run *run, const struct load_report_config *config,
                           struct error *error)
{
    enum status status = take_config(run, config, error);
    if (status == STATUS_OK)
        status = take_room(run, error);
    if (status == STATUS_OK && config->train_log) {
        status = train_on_other(run, config, error);
    } else if (status == STATUS_OK) {
        struct lstm_series series = {run->share, run->report->lstm_ticks};
        status = train(run, &series, config, error);
    }
    if (status == STATUS_OK)
        status = open_predictors(run, config, error);
    if (status == STATUS_OK)
        play(run);
    return status;
}

enum status load_report_run(const struct load_log *log, const struct load_report_config *config,
                            struct load_report **out, struct error *error)
{
    struct run run = {.log = log, .phase = load_log_find(log, config->phase)};
    *out = NULL;
    if (!run.phase)
        return error_set(error, STATUS_INVALID, "the log has no phase %s", config->phase);
    if (run.phase->ticks < 2)
        return error_set(error, STATUS_INVALID,
                         "phase %s has one tick; there is nothing to forecast", run.phase->name);
    run.report = calloc(1, sizeof *run.report);
    if (!run.report)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the report");
    enum status status = run_all(&run, config, error);
    for (uint32_t p = 0; p < LOAD_REPORT_PREDICTORS; p++)
        predictor_close(run.predictors[p]);
    state_close(run.state);
    free(run.share);
    free(run.forecast);
    if (status != STATUS_OK) {
        load_report_close(run.report);
        return status;
    }
    *out = run.report;
    return STATUS_OK;
}

void load_report_close(struct load_report *report)
{
    if (!report)
        return;
    lstm_net_close(report->lstm_net);
    free(report->layer);
    free(report->cells);
    free(report);
}

const struct load_report_cell *load_report_at(const struct load_report *report,
                                              enum load_report_part part, uint32_t horizon,
                                              enum load_report_predictor predictor, uint32_t layer)
{
    CHECK(part < LOAD_REPORT_PARTS && horizon < report->horizon_count &&
          predictor < LOAD_REPORT_PREDICTORS && layer < report->layers);
    return cell_of(report, part, horizon, predictor, layer);
}

const char *load_report_predictor_name(enum load_report_predictor predictor)
{
    static const char *const names[] = {"last", "window", "ewma", "arima", "lstm"};
    CHECK(predictor < LOAD_REPORT_PREDICTORS);
    return names[predictor];
}

const char *load_report_part_name(enum load_report_part part)
{
    CHECK(part < LOAD_REPORT_PARTS);
    return part == LOAD_REPORT_STABLE ? "stable" : "held-out";
}
