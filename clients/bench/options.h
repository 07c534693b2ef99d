/* The command line of moering-bench: words to `struct options`. Names and meanings are those of
 * other serving benchmarks where they have the flag. */
#ifndef MOERING_CLIENTS_BENCH_OPTIONS_H
#define MOERING_CLIENTS_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "clients/bench/arrivals.h"
#include "clients/bench/dataset.h"
#include "clients/bench/figures.h"
#include "clients/program/fault.h"

#ifdef __cplusplus
extern "C" {
#endif

enum options_backend { BACKEND_OPENAI, BACKEND_OPENAI_CHAT, BACKEND_MOERING };

/* In the order of the four kinds of latency everywhere in this program. */
enum latency { LATENCY_TTFT, LATENCY_TPOT, LATENCY_ITL, LATENCY_E2EL, LATENCIES };

enum options_cache { CACHE_UNKNOWN, CACHE_COLD, CACHE_WARM, CACHE_STEADY };

enum { OPTIONS_SWEEP_MAX = 32, OPTIONS_METADATA_MAX = 32 };

enum options_sweep { SWEEP_NONE, SWEEP_CONCURRENCY, SWEEP_RATE };

struct options {
    bool help, version;            /* either is asked for; the rest is not read then */
    enum options_backend backend;
    const char *base_url, *host, *port, *endpoint; /* NULL: by backend */
    const char *model;             /* NULL: the first the server names */
    const char *api_key;           /* NULL: none */
    const char *ca_file;
    bool insecure;
    const char *metrics_url;       /* NULL: the server's, of HTTP backends */
    struct dataset_config dataset; /* its vocabulary 0: words, or what a moering server says */
    struct arrivals arrivals;
    uint32_t max_concurrency;      /* 0: no limit */
    uint32_t warmups, connection_streams;
    bool ignore_eos, has_temperature;
    double temperature;
    const char *extra_body;        /* a JSON object, or NULL */
    double timeout_s, ready_timeout_s;
    bool shown[LATENCIES];         /* in the console block */
    struct percentiles percentiles;
    bool has_goodput, has_goal[LATENCIES];
    double goal_ms[LATENCIES];
    enum options_cache cache;
    bool save_result, save_detailed, no_progress;
    const char *result_dir, *result_filename, *html, *label;
    const char *metadata[OPTIONS_METADATA_MAX]; /* KEY=VALUE */
    uint32_t metadata_count;
    enum options_sweep sweep;
    double points[OPTIONS_SWEEP_MAX]; /* of the sweep: concurrencies or rates */
    uint32_t point_count;
};

/* False: *fault says what is wrong, and names the nearest flag for one that is unknown. The strings
 * are argv's and the environment's (MOERING_API_KEY). */
bool options_parse(struct options *options, int argc, char **argv, struct fault *fault);
void options_help(FILE *out);
const char *options_backend_name(enum options_backend backend);
/* "ttft", "tpot", "itl", "e2el" */
const char *options_latency_name(enum latency latency);
/* "cold", "warm", "steady"; NULL: unknown */
const char *options_cache_name(enum options_cache cache);

#ifdef __cplusplus
}
#endif
#endif
