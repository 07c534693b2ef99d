#include "clients/bench/result.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void result_close(struct result *r)
{
    for (uint32_t i = 0; r->records && i < r->count; i++)
        record_close(&r->records[i]);
    free(r->records);
    free(r->model);
    prometheus_close(&r->metrics);
    memset(r, 0, sizeof *r);
}

/* ---- samples ---- */

static size_t samples_of(const struct record *record, enum latency latency, double *out)
{
    if (record->state != RECORD_COMPLETED)
        return 0;
    switch (latency) {
    case LATENCY_TTFT: *out = record_ttft_s(record) * 1e3; return 1;
    case LATENCY_E2EL: *out = record_e2el_s(record) * 1e3; return 1;
    case LATENCY_TPOT: *out = record_tpot_s(record) * 1e3; return record->output_tokens > 1;
    default: break;
    }
    for (uint32_t i = 1; i < record->content_count; i++)
        *out++ = (double)(record->content_ns[i] - record->content_ns[i - 1]) * 1e-6;
    return record->content_count ? record->content_count - 1 : 0;
}

double *result_samples(const struct result *r, enum latency latency, size_t *count)
{
    size_t room = r->count + 1;
    for (uint32_t i = 0; latency == LATENCY_ITL && i < r->count; i++)
        room += r->records[i].content_count;
    double *out = malloc(room * sizeof *out);
    *count = 0;
    for (uint32_t i = 0; out && i < r->count; i++)
        *count += samples_of(&r->records[i], latency, out + *count);
    return out;
}

static bool compute_latencies(struct result *r)
{
    const struct percentiles *ranks = &r->options->percentiles;
    for (int kind = 0; kind < LATENCIES; kind++) {
        size_t count;
        double *samples = result_samples(r, (enum latency)kind, &count);
        if (!samples)
            return false;
        figures_of(samples, count, ranks, &r->latency[kind]);
        free(samples);
    }
    double *waits = malloc((r->count + 1) * sizeof *waits);
    size_t sent = 0;
    for (uint32_t i = 0; waits && i < r->count; i++)
        if (r->records[i].state == RECORD_COMPLETED)
            waits[sent++] = record_queue_s(&r->records[i]) * 1e3;
    if (waits)
        figures_of(waits, sent, ranks, &r->queue);
    free(waits);
    return waits != NULL;
}

/* ---- counts ---- */

static bool is_good(const struct result *r, const struct record *record)
{
    const struct options *o = r->options;
    const double ms[LATENCIES] = {
        [LATENCY_TTFT] = record_ttft_s(record) * 1e3,
        [LATENCY_TPOT] = record_tpot_s(record) * 1e3,
        [LATENCY_E2EL] = record_e2el_s(record) * 1e3,
    };
    for (int i = 0; i < LATENCIES; i++)
        if (o->has_goal[i] && ms[i] > o->goal_ms[i])
            return false;
    return true;
}

static void compute_counts(struct result *r)
{
    uint32_t good = 0;
    for (uint32_t i = 0; i < r->count; i++) {
        const struct record *record = &r->records[i];
        if (record->state != RECORD_COMPLETED) {
            r->failed++;
            continue;
        }
        r->completed++;
        r->uncounted += !record->counted;
        r->input_tokens += record->input_tokens;
        r->output_tokens += record->output_tokens;
        good += is_good(r, record);
    }
    double per_s = r->duration_s > 0 ? 1 / r->duration_s : 0;
    r->request_throughput = r->completed * per_s;
    r->goodput = good * per_s;
    r->output_throughput = (double)r->output_tokens * per_s;
    r->total_throughput = (double)(r->input_tokens + r->output_tokens) * per_s;
}

/* ---- over time ---- */

/* When the first completed request was sent, and the last ended. */
static void span_of(const struct result *r, uint64_t *first_ns, uint64_t *last_ns)
{
    *first_ns = UINT64_MAX;
    *last_ns = 0;
    for (uint32_t i = 0; i < r->count; i++) {
        const struct record *record = &r->records[i];
        if (record->state != RECORD_COMPLETED)
            continue;
        if (record->sent_ns < *first_ns)
            *first_ns = record->sent_ns;
        if (record->last_ns > *last_ns)
            *last_ns = record->last_ns;
    }
    if (*first_ns > *last_ns)
        *first_ns = *last_ns;
}

double *result_tokens_over_time(const struct result *r, double width_s, size_t *bins)
{
    uint64_t first_ns, last_ns;
    span_of(r, &first_ns, &last_ns);
    *bins = (size_t)((double)(last_ns - first_ns) * 1e-9 / width_s) + 1;
    double *out = calloc(*bins, sizeof *out);
    for (uint32_t i = 0; out && i < r->count; i++) {
        const struct record *record = &r->records[i];
        if (record->state != RECORD_COMPLETED || record->content_count == 0)
            continue;
        double share = (double)record->output_tokens / record->content_count;
        for (uint32_t k = 0; k < record->content_count; k++) {
            size_t bin = (size_t)((double)(record->content_ns[k] - first_ns) * 1e-9 / width_s);
            out[bin < *bins ? bin : *bins - 1] += share;
        }
    }
    return out;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Most requests under way at one moment: both lists sorted and walked together. One that ends as
 * another begins makes room for it. */
static bool compute_concurrency(struct result *r)
{
    uint64_t *begins = malloc((2 * (size_t)r->count + 1) * sizeof *begins);
    size_t count = 0, ended = 0;
    if (!begins)
        return false;
    uint64_t *ends = begins + r->count;
    for (uint32_t i = 0; i < r->count; i++) {
        if (r->records[i].state == RECORD_COMPLETED) {
            begins[count] = r->records[i].sent_ns;
            ends[count++] = r->records[i].last_ns;
        }
    }
    qsort(begins, count, sizeof *begins, ascending);
    qsort(ends, count, sizeof *ends, ascending);
    for (size_t i = 0; i < count; i++) {
        while (ends[ended] <= begins[i] && ended < i)
            ended++;
        if (i + 1 - ended > r->max_concurrent)
            r->max_concurrent = (uint32_t)(i + 1 - ended);
    }
    free(begins);
    return true;
}

static bool compute_peak(struct result *r)
{
    size_t bins;
    double *tokens = result_tokens_over_time(r, 1, &bins);
    for (size_t i = 0; tokens && i < bins; i++)
        r->max_output_tokens_per_s = fmax(r->max_output_tokens_per_s, tokens[i]);
    free(tokens);
    return tokens != NULL;
}

/* ---- experts ---- */

static double metric(const struct result *r, const char *name)
{
    const struct prometheus_series *series = prometheus_find(&r->metrics, name);
    return series ? series->value : 0;
}

static void set_experts(struct result *r, double hits, double misses, double bytes, double stall_ms)
{
    double tokens = r->output_tokens ? (double)r->output_tokens : 1;
    r->experts.known = true;
    r->experts.hit_rate = hits + misses > 0 ? hits / (hits + misses) : 0;
    r->experts.bytes_per_token = bytes / tokens;
    r->experts.stall_ms_per_token = stall_ms / tokens;
}

/* The requests' own figures are better: those of the server have other clients in them. */
static void compute_experts(struct result *r)
{
    struct record_experts sum = {0};
    for (uint32_t i = 0; i < r->count; i++) {
        const struct record_experts *x = &r->records[i].experts;
        if (r->records[i].state != RECORD_COMPLETED || !x->known)
            continue;
        sum.known = true;
        sum.hits += x->hits;
        sum.misses += x->misses;
        sum.bytes += x->bytes;
        sum.stall_ms += x->stall_ms;
    }
    const char *hits = "moering_expert_cache_hits_total{tier=\"device\"}";
    if (sum.known) {
        set_experts(r, sum.hits, sum.misses, sum.bytes, sum.stall_ms);
    } else if (r->has_metrics && prometheus_find(&r->metrics, hits)) {
        double bytes = 0;
        for (uint32_t i = 0; i < r->metrics.count; i++) {
            const struct prometheus_series *series = &r->metrics.series[i];
            if (strncmp(series->name, "moering_expert_bytes_read_total{", 32) == 0 &&
                strstr(series->name, "src=\"storage\""))
                bytes += series->value;
        }
        set_experts(r, metric(r, hits),
                    metric(r, "moering_expert_cache_misses_total{tier=\"device\"}"), bytes,
                    metric(r, "moering_expert_miss_stall_seconds_sum") * 1e3);
        r->experts.by_metrics = true;
    }
    const struct prometheus_series *oracle =
        r->has_metrics ? prometheus_find(&r->metrics, "moering_expert_oracle_hit_ratio") : NULL;
    r->experts.has_oracle = oracle != NULL;
    r->experts.oracle_hit_rate = oracle ? oracle->value : 0;
}

bool result_compute(struct result *r)
{
    compute_counts(r);
    compute_experts(r);
    return compute_latencies(r) && compute_concurrency(r) && compute_peak(r);
}
