/* The block on the console, label by label as other tools print and parse it, then what is ours. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clients/bench/result.h"

enum { BLOCK_COLUMNS = 50, ERRORS_SHOWN = 10 };

static void rule(FILE *out, char mark, const char *title)
{
    int title_bytes = (int)strlen(title), left = (BLOCK_COLUMNS - title_bytes) / 2;
    for (int i = 0; i < left; i++)
        fputc(mark, out);
    fputs(title, out);
    for (int i = left + title_bytes; i < BLOCK_COLUMNS; i++)
        fputc(mark, out);
    fputc('\n', out);
}

static void row(FILE *out, const char *label, double value)
{
    fprintf(out, "%-40s %-10.2f\n", label, value);
}

static void count_row(FILE *out, const char *label, uint64_t value)
{
    fprintf(out, "%-40s %-10llu\n", label, (unsigned long long)value);
}

static void print_latency(const struct result *r, const char *name, const char *title,
                          const struct figures *f, FILE *out)
{
    char label[64];
    rule(out, '-', title);
    snprintf(label, sizeof label, "Mean %s (ms):", name);
    row(out, label, f->mean);
    snprintf(label, sizeof label, "Median %s (ms):", name);
    row(out, label, f->median);
    for (uint32_t i = 0; i < r->options->percentiles.count; i++) {
        snprintf(label, sizeof label, "P%g %s (ms):", r->options->percentiles.rank[i], name);
        row(out, label, f->percentile[i]);
    }
}

static void print_experts(const struct result_experts *x, FILE *out)
{
    if (!x->known && !x->has_oracle)
        return;
    rule(out, '-', x->by_metrics ? "Experts (of all clients)" : "Experts");
    if (x->known)
        row(out, "Expert hit rate (%):", 100 * x->hit_rate);
    if (x->has_oracle)
        row(out, "Oracle hit rate (%):", 100 * x->oracle_hit_rate);
    if (x->known) {
        fprintf(out, "%-40s %-10.0f\n", "Expert bytes per token:", x->bytes_per_token);
        row(out, "Expert stall per token (ms):", x->stall_ms_per_token);
    }
}

/* Equal sentences once, with their number; the rest of many kinds is counted. */
static void print_errors(const struct result *r, FILE *out)
{
    const char *shown[ERRORS_SHOWN];
    uint32_t times[ERRORS_SHOWN], kinds = 0, other = 0;
    for (uint32_t i = 0; i < r->count; i++) {
        const struct record *record = &r->records[i];
        if (record->state == RECORD_COMPLETED)
            continue;
        const char *error = record->error ? record->error : "not sent";
        uint32_t k = 0;
        while (k < kinds && strcmp(shown[k], error) != 0)
            k++;
        if (k == ERRORS_SHOWN) {
            other++;
            continue;
        }
        if (k == kinds) {
            shown[kinds] = error;
            times[kinds++] = 0;
        }
        times[k]++;
    }
    if (kinds)
        rule(out, '-', "Failed requests");
    for (uint32_t k = 0; k < kinds; k++)
        fprintf(out, "%u x %s\n", times[k], shown[k]);
    if (other)
        fprintf(out, "%u x other errors\n", other);
}

void result_print(const struct result *r, FILE *out)
{
    static const char *const names[LATENCIES] = {"TTFT", "TPOT", "ITL", "E2EL"};
    static const char *const titles[LATENCIES] = {
        "Time to First Token", "Time per Output Token (excl. 1st token)", "Inter-token Latency",
        "End-to-end Latency",
    };
    rule(out, '=', " Serving Benchmark Result ");
    count_row(out, "Successful requests:", r->completed);
    count_row(out, "Failed requests:", r->failed);
    if (r->max_concurrency)
        count_row(out, "Maximum request concurrency:", r->max_concurrency);
    if (isfinite(r->request_rate))
        row(out, "Request rate configured (RPS):", r->request_rate);
    row(out, "Benchmark duration (s):", r->duration_s);
    count_row(out, "Total input tokens:", r->input_tokens);
    count_row(out, "Total generated tokens:", r->output_tokens);
    row(out, "Request throughput (req/s):", r->request_throughput);
    if (r->options->has_goodput)
        row(out, "Request goodput (req/s):", r->goodput);
    row(out, "Output token throughput (tok/s):", r->output_throughput);
    row(out, "Peak output token throughput (tok/s):", r->max_output_tokens_per_s);
    count_row(out, "Peak concurrent requests:", r->max_concurrent);
    row(out, "Total token throughput (tok/s):", r->total_throughput);
    for (int i = 0; i < LATENCIES; i++)
        if (r->options->shown[i])
            print_latency(r, names[i], titles[i], &r->latency[i], out);
    if (r->max_concurrency)
        print_latency(r, "client queue", "Waiting for a Place (max concurrency)", &r->queue, out);
    print_experts(&r->experts, out);
    print_errors(r, out);
    rule(out, '=', "");
    if (r->uncounted)
        fprintf(out, "%u answers came without usage: their tokens are counted as chunks.\n",
                r->uncounted);
    if (r->interrupted)
        fputs("The run was interrupted.\n", out);
}

void result_print_table(const struct result *results, uint32_t count, FILE *out)
{
    bool rates = results[0].options->sweep == SWEEP_RATE;
    const struct percentiles *ranks = &results[0].options->percentiles;
    uint32_t k = ranks->count - 1;
    char last[24];
    snprintf(last, sizeof last, "P%g", ranks->rank[k]);
    fprintf(out, "\n%11s %8s %6s %9s %10s %10s %10s %10s %10s %10s %10s\n",
            rates ? "req/s asked" : "concurrency", "done", "failed", "req/s", "out tok/s",
            "TTFT med", last, "TPOT med", last, "E2EL med", last);
    for (uint32_t i = 0; i < count; i++) {
        const struct result *r = &results[i];
        fprintf(out, "%11g %8u %6u %9.2f %10.2f", rates ? r->request_rate : r->max_concurrency,
                r->completed, r->failed, r->request_throughput, r->output_throughput);
        static const enum latency columns[] = {LATENCY_TTFT, LATENCY_TPOT, LATENCY_E2EL};
        for (int c = 0; c < 3; c++)
            fprintf(out, " %10.2f %10.2f", r->latency[columns[c]].median,
                    r->latency[columns[c]].percentile[k]);
        fputc('\n', out);
    }
    fputs("Latencies in ms.\n", out);
}

char *result_filename(const struct result *r)
{
    const struct options *o = r->options;
    const char *label = o->label ? o->label : options_backend_name(o->backend);
    const char *slash = strrchr(r->model, '/'), *model = slash ? slash + 1 : r->model;
    char rate[64], limit[32] = "";
    char *out = NULL;
    if (o->arrivals.ramp != ARRIVALS_STEADY)
        snprintf(rate, sizeof rate, "ramp-up-%s-%gqps-%gqps",
                 o->arrivals.ramp == ARRIVALS_LINEAR ? "linear" : "exponential",
                 o->arrivals.start_rate, o->arrivals.end_rate);
    else
        snprintf(rate, sizeof rate, "%gqps", r->request_rate);
    if (r->max_concurrency)
        snprintf(limit, sizeof limit, "-concurrency%u", r->max_concurrency);
    if (asprintf(&out, "%s-%s%s-%s-%s.json", label, rate, limit, model, r->date) < 0)
        return NULL;
    for (char *p = out; *p; p++)
        if (*p == '/')
            *p = '_';
    return out;
}
