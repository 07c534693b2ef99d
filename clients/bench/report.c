#include "clients/bench/report.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rounds to what a plot shows: the file is a third as long. */
static json_t *real(double x)
{
    char text[32];
    snprintf(text, sizeof text, "%.6g", x);
    return json_real(strtod(text, NULL));
}

/* [quantile 0, ..., quantile 1]; empty without samples. */
static json_t *quantiles(const double *sorted, size_t count)
{
    json_t *list = json_array();
    for (int i = 0; list && count && i <= REPORT_QUANTILES; i++)
        json_array_append_new(list, real(figures_percentile(sorted, count,
                                                            100.0 * i / REPORT_QUANTILES)));
    return list;
}

static json_t *latency_data(const struct result *r, enum latency kind)
{
    const struct figures *f = &r->latency[kind];
    struct figures spare;
    size_t count;
    double *samples = result_samples(r, kind, &count);
    if (!samples)
        return NULL;
    figures_of(samples, count, &r->options->percentiles, &spare); /* sorts them */
    json_t *ranks = json_array();
    for (uint32_t i = 0; ranks && i < r->options->percentiles.count; i++)
        json_array_append_new(ranks, real(f->percentile[i]));
    json_t *out = json_pack("{s:I, s:f, s:f, s:f, s:o, s:o}", "count", (json_int_t)f->count, "mean",
                            f->mean, "median", f->median, "std", f->std, "percentiles", ranks,
                            "quantiles", quantiles(samples, count));
    free(samples);
    return out;
}

/* [planned, sent, first content, last, output tokens, failed] of each, evenly chosen if they are
 * many. */
static json_t *timeline(const struct result *r)
{
    json_t *list = json_array();
    uint32_t shown = r->count < REPORT_REQUESTS_MAX ? r->count : REPORT_REQUESTS_MAX;
    for (uint32_t k = 0; list && k < shown; k++) {
        const struct record *x = &r->records[(uint64_t)k * r->count / shown];
        uint64_t first_ns = x->content_count ? x->content_ns[0] : x->last_ns;
        bool failed = x->state != RECORD_COMPLETED;
        json_t *row = json_pack("[o, o, o, o, i, i]", real((double)x->planned_ns * 1e-9),
                                real((double)x->sent_ns * 1e-9), real((double)first_ns * 1e-9),
                                real((double)x->last_ns * 1e-9),
                                failed ? 0 : (int)x->output_tokens, failed);
        json_array_append_new(list, row);
    }
    return list;
}

/* 0.01, 0.02, 0.05, 0.1, ... seconds: the least of which REPORT_BINS cover the run. */
static double bin_width_s(double duration_s)
{
    static const double steps[] = {1, 2, 5};
    for (double power = 0.01;; power *= 10)
        for (int i = 0; i < 3; i++)
            if (steps[i] * power * REPORT_BINS >= duration_s || power > 1e6)
                return steps[i] * power;
}

/* Tokens per second in bins of a round width. */
static json_t *tokens_data(const struct result *r)
{
    double width_s = bin_width_s(r->duration_s);
    size_t bins;
    double *tokens = result_tokens_over_time(r, width_s, &bins);
    json_t *list = tokens ? json_array() : NULL;
    for (size_t i = 0; list && i < bins; i++)
        json_array_append_new(list, real(tokens[i] / width_s));
    free(tokens);
    return json_pack("{s:f, s:o}", "width", width_s, "values", list);
}

/* Failed requests by sentence. */
static json_t *errors_data(const struct result *r)
{
    enum { KINDS_MAX = 50 };
    json_t *kinds = json_object();
    for (uint32_t i = 0; kinds && i < r->count; i++) {
        const struct record *x = &r->records[i];
        if (x->state == RECORD_COMPLETED)
            continue;
        const char *error = x->error && json_object_size(kinds) < KINDS_MAX ? x->error : "other";
        json_t *times = json_object_get(kinds, error);
        if (json_object_set_new(kinds, error, json_integer(json_integer_value(times) + 1)) != 0)
            json_object_set_new(kinds, "(not UTF-8)", json_integer(1));
    }
    return kinds;
}

static json_t *run_data(const struct result *r)
{
    json_t *figures = result_json(r, false);
    json_t *latencies = json_object();
    for (int i = 0; latencies && i < LATENCIES; i++)
        json_object_set_new(latencies, options_latency_name((enum latency)i),
                            latency_data(r, (enum latency)i));
    double x = r->options->sweep == SWEEP_RATE ? r->request_rate : r->max_concurrency;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "x",
                     isfinite(x) ? json_real(x) : json_null(), "figures", figures, "latencies",
                     latencies, "timeline", timeline(r), "tokens", tokens_data(r), "errors",
                     errors_data(r));
}

static json_t *report_data(const struct result *results, uint32_t count, const char *server)
{
    const struct options *o = results[0].options;
    static const char *const sweeps[] = {NULL, "concurrency", "requests per second"};
    json_t *runs = json_array(), *ranks = json_array();
    for (uint32_t i = 0; runs && i < count; i++)
        json_array_append_new(runs, run_data(&results[i]));
    for (uint32_t i = 0; ranks && i < o->percentiles.count; i++)
        json_array_append_new(ranks, json_real(o->percentiles.rank[i]));
    return json_pack("{s:s, s:s, s:s, s:s, s:s?, s:o, s:o}", "server", server, "date",
                     results[0].date, "model", results[0].model, "version", MOERING_VERSION,
                     "sweep", sweeps[o->sweep], "ranks", ranks, "runs", runs);
}

/* JSON that cannot end a script element or open a comment. */
static void write_escaped(const char *json, FILE *out)
{
    for (const char *p = json; *p;) {
        size_t plain = strcspn(p, "<>&");
        fwrite(p, 1, plain, out);
        p += plain;
        if (*p)
            fprintf(out, "\\u%04x", (unsigned)(unsigned char)*p++);
    }
}

bool report_write(const struct result *results, uint32_t count, const char *server, FILE *out,
                  struct fault *fault)
{
    json_t *data = report_data(results, count, server);
    char *json = data ? json_dumps(data, JSON_COMPACT) : NULL;
    json_decref(data);
    if (!json)
        return fault_set(fault, "out of memory for the report, or a name that is not UTF-8");
    fputs(report_page_head, out);
    write_escaped(json, out);
    fputs(report_page_tail, out);
    free(json);
    return !ferror(out) || fault_set(fault, "the report cannot be written");
}
