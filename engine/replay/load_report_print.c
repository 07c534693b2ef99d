/* The report of load_report.h as text and as JSON. */
#include <jansson.h>

#include "engine/replay/load_report.h"

#define LAYER_COLUMNS_MAX 8u

/* ---- for people ---- */

static void print_head(const struct load_report *report, FILE *out)
{
    fprintf(out,
            "load prediction: phase %s, %u ticks, %u layers x %u experts, window %u, asked every "
            "%u ticks\n",
            report->phase, report->ticks, report->layers, report->experts, report->window,
            report->stride);
    if (report->top_k)
        fprintf(out, "floors: %u experts a token\n", report->top_k);
    else
        fprintf(out, "floors: independent draws\n");
    if (report->lstm_trained)
        fprintf(out,
                "lstm: %u units, trained on %s%u ticks, %u epochs (best %u), held-out loss %.4f "
                "untrained, %.4f averages alone, %.4f in the end\n",
                report->lstm_units, report->lstm_other_log ? "another log of " : "the first ",
                report->lstm_ticks, report->lstm.epochs, report->lstm.best_epoch,
                report->lstm.start_loss, report->lstm.skip_loss, report->lstm.best_loss);
    else
        fprintf(out, "lstm: not trained, %u ticks are too few or the model too wide\n",
                report->lstm_ticks);
}

static void print_states(const struct load_report *report, FILE *out)
{
    fprintf(out, "\n%-8s%14s%10s%10s%16s\n", "layer", "stable at tick", "changes", "at end",
            "tokens a tick");
    for (uint32_t layer = 0; layer < report->layers; layer++) {
        const struct load_report_layer *of = &report->layer[layer];
        char tick[24] = "never";
        if (of->ever_stable)
            snprintf(tick, sizeof tick, "%llu", (unsigned long long)of->stable_tick);
        fprintf(out, "%-8u%14s%10u%10s%16.0f\n", layer, tick, of->changes,
                of->stable_at_end ? "stable" : "transient", of->tokens);
    }
}

static void print_cell(double error, double floor, bool scored, FILE *out)
{
    if (scored)
        fprintf(out, " %6.2f/%-5.2f", 100 * error, 100 * floor);
    else
        fprintf(out, " %6s%6s", "-", "");
}

/* The layers of one predictor and horizon: each, or the best and the worst; then the mean. */
static void print_row(const struct load_report *report, enum load_report_part part, uint32_t h,
                      enum load_report_predictor p, FILE *out)
{
    const struct load_report_cell none = {0}, *best = &none, *worst = &none;
    struct load_report_cell sum = {0};
    uint32_t layers = 0;
    fprintf(out, "%8u  %-8s", report->horizons[h], load_report_predictor_name(p));
    for (uint32_t layer = 0; layer < report->layers; layer++) {
        const struct load_report_cell *cell = load_report_at(report, part, h, p, layer);
        if (report->layers <= LAYER_COLUMNS_MAX)
            print_cell(cell->error, cell->floor, cell->scored, out);
        if (!cell->scored)
            continue;
        best = layers == 0 || cell->error < best->error ? cell : best;
        worst = layers == 0 || cell->error > worst->error ? cell : worst;
        sum.error += cell->error;
        sum.floor += cell->floor;
        sum.scored += cell->scored;
        sum.skipped += cell->skipped;
        layers++;
    }
    if (report->layers > LAYER_COLUMNS_MAX) {
        print_cell(best->error, best->floor, layers, out);
        print_cell(worst->error, worst->floor, layers, out);
    }
    print_cell(sum.error / (layers ? layers : 1), sum.floor / (layers ? layers : 1), layers, out);
    fprintf(out, "%9llu%9llu\n", (unsigned long long)sum.scored, (unsigned long long)sum.skipped);
}

static void print_part(const struct load_report *report, enum load_report_part part, FILE *out)
{
    fprintf(out, "\n%s: mean error ratio / sampling floor, %%",
            part == LOAD_REPORT_STABLE ? "while stable" : "held out");
    if (part == LOAD_REPORT_HELD_OUT)
        fprintf(out, ", forecasts made from tick index %u on", report->held_out_from);
    fprintf(out, "\n%8s  %-8s", "ahead", "");
    for (uint32_t layer = 0; layer < report->layers && report->layers <= LAYER_COLUMNS_MAX; layer++)
        fprintf(out, " %5s %-6u", "layer", layer);
    if (report->layers > LAYER_COLUMNS_MAX)
        fprintf(out, " %-12s %-12s", "  best layer", " worst layer");
    fprintf(out, " %12s%9s%9s\n", "all layers", "scored", "skipped");
    for (uint32_t h = 0; h < report->horizon_count; h++)
        for (int p = 0; p < LOAD_REPORT_PREDICTORS; p++)
            print_row(report, part, h, (enum load_report_predictor)p, out);
}

/* ---- for programs ---- */

static json_t *layers_json(const struct load_report *report)
{
    json_t *list = json_array();
    for (uint32_t layer = 0; layer < report->layers; layer++) {
        const struct load_report_layer *of = &report->layer[layer];
        json_t *tick = of->ever_stable ? json_integer((json_int_t)of->stable_tick) : json_null();
        json_array_append_new(list, json_pack("{s:i, s:o, s:b, s:i, s:f}", "layer", (int)layer,
                                              "stable_tick", tick, "stable_at_end",
                                              (int)of->stable_at_end, "changes", (int)of->changes,
                                              "tokens", of->tokens));
    }
    return list;
}

static json_t *cells_json(const struct load_report *report)
{
    json_t *list = json_array();
    for (int part = 0; part < LOAD_REPORT_PARTS; part++)
        for (uint32_t h = 0; h < report->horizon_count; h++)
            for (int p = 0; p < LOAD_REPORT_PREDICTORS; p++)
                for (uint32_t layer = 0; layer < report->layers; layer++) {
                    const struct load_report_cell *cell =
                        load_report_at(report, (enum load_report_part)part, h,
                                         (enum load_report_predictor)p, layer);
                    if (!cell->scored)
                        continue;
                    json_array_append_new(
                        list,
                        json_pack("{s:s, s:I, s:s, s:i, s:f, s:f, s:I, s:I}", "part",
                                  load_report_part_name((enum load_report_part)part), "horizon",
                                  (json_int_t)report->horizons[h], "predictor",
                                  load_report_predictor_name((enum load_report_predictor)p),
                                  "layer", (int)layer, "error", cell->error, "floor", cell->floor,
                                  "scored", (json_int_t)cell->scored, "skipped",
                                  (json_int_t)cell->skipped));
                }
    return list;
}

static json_t *lstm_json(const struct load_report *report)
{
    if (!report->lstm_trained)
        return json_null();
    const struct lstm_train_result *lstm = &report->lstm;
    return json_pack("{s:I, s:b, s:I, s:I, s:I, s:f, s:f, s:f}", "units",
                     (json_int_t)report->lstm_units, "other_log", (int)report->lstm_other_log,
                     "ticks", (json_int_t)report->lstm_ticks, "epochs", (json_int_t)lstm->epochs,
                     "best_epoch", (json_int_t)lstm->best_epoch, "loss_untrained",
                     lstm->start_loss, "loss_averages", lstm->skip_loss, "loss", lstm->best_loss);
}

static enum status print_json(const struct load_report *report, FILE *out, struct error *error)
{
    json_t *root = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "phase", report->phase,
        "ticks", (json_int_t)report->ticks, "layers", (json_int_t)report->layers, "experts",
        (json_int_t)report->experts, "window", (json_int_t)report->window, "stride",
        (json_int_t)report->stride, "top_k", (json_int_t)report->top_k, "held_out_from",
        (json_int_t)report->held_out_from, "lstm", lstm_json(report), "states",
        layers_json(report), "cells", cells_json(report));
    if (!root)
        return error_set(error, STATUS_NO_MEMORY, "no memory to print the report");
    int failed = json_dumpf(root, out, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(root);
    if (failed || fputc('\n', out) == EOF)
        return error_set(error, STATUS_IO, "the report cannot be written");
    return STATUS_OK;
}

enum status load_report_print(const struct load_report *report, bool json, FILE *out,
                              struct error *error)
{
    if (json)
        return print_json(report, out, error);
    print_head(report, out);
    print_states(report, out);
    for (int part = 0; part < LOAD_REPORT_PARTS; part++)
        print_part(report, (enum load_report_part)part, out);
    if (ferror(out))
        return error_set(error, STATUS_IO, "the report cannot be written");
    return STATUS_OK;
}
