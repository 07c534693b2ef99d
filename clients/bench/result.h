/* What a run says: figures out of its records, by the definitions of record.h. Failed requests
 * count as failed and nowhere else. Pure. */
#ifndef MOERING_CLIENTS_BENCH_RESULT_H
#define MOERING_CLIENTS_BENCH_RESULT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "clients/bench/figures.h"
#include "clients/bench/options.h"
#include "clients/bench/prometheus.h"
#include "clients/bench/record.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How the server's experts did during the run. */
struct result_experts {
    bool known, by_metrics; /* by_metrics: from /metrics, not from the requests' own figures */
    double hit_rate;        /* of the fastest tier; 0 .. 1 */
    double bytes_per_token, stall_ms_per_token; /* token: of output */
    bool has_oracle;
    double oracle_hit_rate; /* what Belady's rule would have had, as the server last measured it */
};

struct result {
    /* filled by the caller */
    const struct options *options;
    char date[32];             /* 20261122-090133 */
    char *model;               /* owned */
    const char *protocol;
    double request_rate;       /* INFINITY: all at once, or by ramp or trace */
    uint32_t max_concurrency;  /* 0: no limit */
    bool interrupted;
    double duration_s;
    struct record *records;    /* owned, [count] */
    uint32_t count;
    bool has_metrics;
    struct prometheus metrics; /* owned: differences over the run */
    /* filled by result_compute */
    uint32_t completed, failed, uncounted; /* uncounted: completed, but without usage */
    uint64_t input_tokens, output_tokens;
    double request_throughput, output_throughput, total_throughput, goodput;
    double max_output_tokens_per_s;  /* in the best of the seconds since the first was sent */
    uint32_t max_concurrent;         /* exactly, at any moment */
    struct figures latency[LATENCIES], queue; /* milliseconds */
    struct result_experts experts;
};

/* False: out of memory. */
bool result_compute(struct result *result);
void result_close(struct result *result); /* accepts one that is zeroed */

/* Times of one kind, in milliseconds, over completed requests: malloc'ed, *count of them. ITLs of
 * all requests are pooled; TPOTs are of requests with two tokens or more. NULL: out of memory. */
double *result_samples(const struct result *result, enum latency latency, size_t *count);
/* Output tokens in each `width_s` since the start; malloc'ed, *bins of them. A request's tokens are
 * spread over its content chunks. NULL: out of memory. */
double *result_tokens_over_time(const struct result *result, double width_s, size_t *bins);

/* Of --save-result; `detailed`: with the lists per request. NULL: out of memory. */
json_t *result_json(const struct result *result, bool detailed);
/* The block on the console. */
void result_print(const struct result *result, FILE *out);
/* A row for each run of a sweep. */
void result_print_table(const struct result *results, uint32_t count, FILE *out);
/* "openai-infqps-concurrency4-model-20261122-090133.json", malloc'ed. */
char *result_filename(const struct result *result);

#ifdef __cplusplus
}
#endif
#endif
