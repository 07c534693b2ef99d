/* The result file: the keys that tools for other serving benchmarks read, with ours beside them.
 * Where a figure is unknown its value is null, so every key is always there. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clients/bench/result.h"

/* JSON has no infinity; other tools write it so, too. */
static json_t *number(double x)
{
    if (isnan(x))
        return json_null();
    return isfinite(x) ? json_real(x) : json_string(x > 0 ? "inf" : "-inf");
}

static json_t *text_or_null(const char *text)
{
    return text ? json_string(text) : json_null();
}

/* Generated text that is not UTF-8 (cut characters) becomes what is: other bytes as U+FFFD. */
static json_t *any_text(const char *text, size_t bytes)
{
    json_t *out = json_stringn(text ? text : "", bytes);
    if (out)
        return out;
    char *clean = malloc(3 * bytes + 1);
    size_t n = 0;
    for (size_t i = 0; clean && i < bytes;) {
        size_t length = 1;
        json_t *one = NULL;
        for (; length <= 4 && i + length <= bytes && !one; length++)
            one = json_stringn(text + i, length);
        length = one ? length - 1 : 1;
        memcpy(clean + n, one ? text + i : "\xef\xbf\xbd", one ? length : 3);
        n += one ? length : 3;
        i += length;
        json_decref(one);
    }
    out = clean ? json_stringn(clean, n) : NULL;
    free(clean);
    return out;
}

static int put(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value); /* fails for NULL, too */
}

static int put_run(json_t *j, const struct result *r)
{
    const struct options *o = r->options;
    int bad = 0;
    bad |= put(j, "date", json_string(r->date));
    bad |= put(j, "backend", json_string(options_backend_name(o->backend)));
    bad |= put(j, "endpoint_type", json_string(options_backend_name(o->backend)));
    bad |= put(j, "protocol", json_string(r->protocol));
    bad |= put(j, "label", text_or_null(o->label));
    bad |= put(j, "model_id", json_string(r->model));
    bad |= put(j, "tokenizer_id", json_null()); /* tokens are counted by the server */
    bad |= put(j, "dataset_name", json_string(dataset_kind_name(o->dataset.kind)));
    bad |= put(j, "seed", json_integer((json_int_t)o->dataset.seed));
    bad |= put(j, "num_prompts", json_integer(r->count));
    bad |= put(j, "request_rate", number(r->request_rate));
    bad |= put(j, "burstiness", number(o->arrivals.burstiness));
    bad |= put(j, "max_concurrency",
               r->max_concurrency ? json_integer(r->max_concurrency) : json_null());
    bad |= put(j, "cache_state", text_or_null(options_cache_name(o->cache)));
    if (o->arrivals.ramp != ARRIVALS_STEADY) {
        bool linear = o->arrivals.ramp == ARRIVALS_LINEAR;
        bad |= put(j, "ramp_up_strategy", json_string(linear ? "linear" : "exponential"));
        bad |= put(j, "ramp_up_start_rps", json_real(o->arrivals.start_rate));
        bad |= put(j, "ramp_up_end_rps", json_real(o->arrivals.end_rate));
    }
    for (uint32_t i = 0; i < o->metadata_count; i++) {
        size_t key = strcspn(o->metadata[i], "=");
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)key, o->metadata[i]);
        bad |= put(j, name, json_string(o->metadata[i] + key + 1));
    }
    return bad;
}

static int put_counts(json_t *j, const struct result *r)
{
    int bad = 0;
    bad |= put(j, "duration", json_real(r->duration_s));
    bad |= put(j, "interrupted", json_boolean(r->interrupted));
    bad |= put(j, "completed", json_integer(r->completed));
    bad |= put(j, "failed", json_integer(r->failed));
    bad |= put(j, "total_input_tokens", json_integer((json_int_t)r->input_tokens));
    bad |= put(j, "total_output_tokens", json_integer((json_int_t)r->output_tokens));
    bad |= put(j, "requests_without_usage", json_integer(r->uncounted));
    bad |= put(j, "request_throughput", json_real(r->request_throughput));
    bad |= put(j, "request_goodput",
               r->options->has_goodput ? json_real(r->goodput) : json_null());
    bad |= put(j, "output_throughput", json_real(r->output_throughput));
    bad |= put(j, "total_token_throughput", json_real(r->total_throughput));
    bad |= put(j, "max_output_tokens_per_s", json_real(r->max_output_tokens_per_s));
    bad |= put(j, "max_concurrent_requests", json_integer(r->max_concurrent));
    return bad;
}

/* mean_NAME_ms, median_, std_, p99_, p99.9_ ... */
static int put_figures(json_t *j, const struct result *r, const char *name, const struct figures *f)
{
    char key[64];
    int bad = 0;
    snprintf(key, sizeof key, "mean_%s_ms", name);
    bad |= put(j, key, json_real(f->mean));
    snprintf(key, sizeof key, "median_%s_ms", name);
    bad |= put(j, key, json_real(f->median));
    snprintf(key, sizeof key, "std_%s_ms", name);
    bad |= put(j, key, json_real(f->std));
    for (uint32_t i = 0; i < r->options->percentiles.count; i++) {
        snprintf(key, sizeof key, "p%g_%s_ms", r->options->percentiles.rank[i], name);
        bad |= put(j, key, json_real(f->percentile[i]));
    }
    return bad;
}

static int put_experts(json_t *j, const struct result *r)
{
    const struct result_experts *x = &r->experts;
    int bad = 0;
    bad |= put(j, "expert_hit_rate", x->known ? json_real(x->hit_rate) : json_null());
    bad |= put(j, "expert_bytes_per_token", x->known ? json_real(x->bytes_per_token) : json_null());
    bad |= put(j, "stall_ms_per_token", x->known ? json_real(x->stall_ms_per_token) : json_null());
    bad |= put(j, "expert_oracle_hit_rate",
               x->has_oracle ? json_real(x->oracle_hit_rate) : json_null());
    json_t *metrics = r->has_metrics ? json_object() : json_null();
    for (uint32_t i = 0; r->has_metrics && i < r->metrics.count; i++)
        bad |= put(metrics, r->metrics.series[i].name, number(r->metrics.series[i].value));
    bad |= put(j, "metrics", metrics);
    return bad;
}

static json_t *gaps(const struct record *record)
{
    json_t *list = json_array();
    for (uint32_t k = 1; list && k < record->content_count; k++)
        json_array_append_new(list, json_real((double)(record->content_ns[k] -
                                                       record->content_ns[k - 1]) * 1e-9));
    return list;
}

enum detail { INPUT_LENS, OUTPUT_LENS, TTFTS, ITLS, LATENCY_LIST, START_TIMES, QUEUE_TIMES, TEXTS,
              ERRORS, DETAILS };

/* A failed request has zeros and an empty list: all lists have the same length and order. */
static json_t *detail_of(const struct record *record, enum detail detail)
{
    bool good = record->state == RECORD_COMPLETED;
    switch (detail) {
    case INPUT_LENS: return json_integer(record->input_tokens);
    case OUTPUT_LENS: return json_integer(good ? record->output_tokens : 0);
    case TTFTS: return json_real(good ? record_ttft_s(record) : 0);
    case ITLS: return good ? gaps(record) : json_array();
    case LATENCY_LIST: return json_real(good ? record_e2el_s(record) : 0);
    case START_TIMES: return json_real((double)record->sent_ns * 1e-9);
    case QUEUE_TIMES: return json_real(record_queue_s(record));
    case TEXTS: return any_text(record->text, record->text_bytes);
    default: return any_text(record->error, record->error ? strlen(record->error) : 0);
    }
}

static int put_details(json_t *j, const struct result *r)
{
    static const char *const keys[DETAILS] = {
        "input_lens", "output_lens", "ttfts", "itls", "latencies", "start_times", "queue_times",
        "generated_texts", "errors",
    };
    int bad = 0;
    for (int detail = 0; detail < DETAILS; detail++) {
        json_t *list = json_array();
        for (uint32_t i = 0; list && i < r->count; i++)
            bad |= json_array_append_new(list, detail_of(&r->records[i], (enum detail)detail));
        bad |= put(j, keys[detail], list);
    }
    return bad;
}

json_t *result_json(const struct result *r, bool detailed)
{
    json_t *j = json_object();
    if (!j)
        return NULL;
    int bad = put_run(j, r) | put_counts(j, r) | put_experts(j, r);
    for (int i = 0; i < LATENCIES; i++)
        bad |= put_figures(j, r, options_latency_name((enum latency)i), &r->latency[i]);
    bad |= put_figures(j, r, "client_queue_time", &r->queue);
    if (detailed)
        bad |= put_details(j, r);
    if (!bad)
        return j;
    json_decref(j);
    return NULL;
}
