#include "clients/bench/options.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "clients/bench/address.h"
#include "clients/c/grpc_text.h"
#include "clients/program/flag.h"
#include "clients/program/number.h"

enum flag_id {
    F_BACKEND, F_BASE_URL, F_HOST, F_PORT, F_ENDPOINT, F_MODEL, F_API_KEY, F_CA_FILE, F_INSECURE,
    F_METRICS_URL, F_DATASET, F_DATASET_PATH, F_NUM_PROMPTS, F_SEED, F_INPUT_LEN, F_OUTPUT_LEN,
    F_RANGE_RATIO, F_VOCABULARY, F_SHAREGPT_OUTPUT, F_CUSTOM_OUTPUT, F_TRACE_SPEED, F_PREFIX_LEN,
    F_SUFFIX_LEN, F_PREFIXES, F_PREFIX_OUTPUT, F_RATE, F_BURSTINESS, F_MAX_CONCURRENCY, F_RAMP,
    F_RAMP_START, F_RAMP_END, F_SWEEP_CONCURRENCY, F_SWEEP_RATE, F_WARMUPS, F_CACHE_STATE,
    F_STREAMS, F_IGNORE_EOS, F_TEMPERATURE, F_EXTRA_BODY, F_TIMEOUT, F_READY_TIMEOUT,
    F_PERCENTILE_METRICS, F_PERCENTILES, F_GOODPUT, F_SAVE, F_SAVE_DETAILED, F_RESULT_DIR,
    F_RESULT_FILENAME, F_LABEL, F_METADATA, F_HTML, F_NO_PROGRESS, F_HELP, F_VERSION,
    FLAG_IDS,
};

/* Kinds of dataset as bits: the flags that only some of them read say which. */
enum {
    ON_RANDOM = 1 << DATASET_RANDOM,
    ON_PREFIX = 1 << DATASET_PREFIX_REPETITION,
    ON_SHAREGPT = 1 << DATASET_SHAREGPT,
    ON_CUSTOM = 1 << DATASET_CUSTOM,
    ON_TRACE = 1 << DATASET_TRACE,
    ON_FILE = ON_SHAREGPT | ON_CUSTOM | ON_TRACE,
};

static const struct flag flags[] = {
    {"backend", 0, FLAG_VALUE, F_BACKEND, 0},
    {"base-url", 0, FLAG_VALUE, F_BASE_URL, 0},
    {"host", 0, FLAG_VALUE, F_HOST, 0},
    {"port", 0, FLAG_VALUE, F_PORT, 0},
    {"endpoint", 0, FLAG_VALUE, F_ENDPOINT, 0},
    {"model", 0, FLAG_VALUE, F_MODEL, 0},
    {"api-key", 0, FLAG_VALUE, F_API_KEY, 0},
    {"cacert", 0, FLAG_VALUE, F_CA_FILE, 0},
    {"insecure", 0, FLAG_SWITCH, F_INSECURE, 0},
    {"metrics-url", 0, FLAG_VALUE, F_METRICS_URL, 0},
    {"dataset-name", 0, FLAG_VALUE, F_DATASET, 0},
    {"dataset-path", 0, FLAG_VALUE, F_DATASET_PATH, ON_FILE},
    {"num-prompts", 0, FLAG_VALUE, F_NUM_PROMPTS, 0},
    {"seed", 0, FLAG_VALUE, F_SEED, 0},
    {"random-input-len", 0, FLAG_VALUE, F_INPUT_LEN, ON_RANDOM},
    {"random-output-len", 0, FLAG_VALUE, F_OUTPUT_LEN, ON_RANDOM},
    {"random-range-ratio", 0, FLAG_VALUE, F_RANGE_RATIO, ON_RANDOM},
    {"random-vocab-size", 0, FLAG_VALUE, F_VOCABULARY, ON_RANDOM | ON_PREFIX | ON_TRACE},
    {"sharegpt-output-len", 0, FLAG_VALUE, F_SHAREGPT_OUTPUT, ON_SHAREGPT},
    {"custom-output-len", 0, FLAG_VALUE, F_CUSTOM_OUTPUT, ON_CUSTOM},
    {"trace-speed", 0, FLAG_VALUE, F_TRACE_SPEED, ON_TRACE},
    {"prefix-repetition-prefix-len", 0, FLAG_VALUE, F_PREFIX_LEN, ON_PREFIX},
    {"prefix-repetition-suffix-len", 0, FLAG_VALUE, F_SUFFIX_LEN, ON_PREFIX},
    {"prefix-repetition-num-prefixes", 0, FLAG_VALUE, F_PREFIXES, ON_PREFIX},
    {"prefix-repetition-output-len", 0, FLAG_VALUE, F_PREFIX_OUTPUT, ON_PREFIX},
    {"request-rate", 0, FLAG_VALUE, F_RATE, 0},
    {"burstiness", 0, FLAG_VALUE, F_BURSTINESS, 0},
    {"max-concurrency", 0, FLAG_VALUE, F_MAX_CONCURRENCY, 0},
    {"ramp-up-strategy", 0, FLAG_VALUE, F_RAMP, 0},
    {"ramp-up-start-rps", 0, FLAG_VALUE, F_RAMP_START, 0},
    {"ramp-up-end-rps", 0, FLAG_VALUE, F_RAMP_END, 0},
    {"sweep-concurrency", 0, FLAG_VALUE, F_SWEEP_CONCURRENCY, 0},
    {"sweep-request-rate", 0, FLAG_VALUE, F_SWEEP_RATE, 0},
    {"num-warmups", 0, FLAG_VALUE, F_WARMUPS, 0},
    {"cache-state", 0, FLAG_VALUE, F_CACHE_STATE, 0},
    {"streams-per-connection", 0, FLAG_VALUE, F_STREAMS, 0},
    {"ignore-eos", 0, FLAG_SWITCH, F_IGNORE_EOS, 0},
    {"temperature", 0, FLAG_VALUE, F_TEMPERATURE, 0},
    {"extra-body", 0, FLAG_VALUE, F_EXTRA_BODY, 0},
    {"timeout", 0, FLAG_VALUE, F_TIMEOUT, 0},
    {"ready-check-timeout-sec", 0, FLAG_VALUE, F_READY_TIMEOUT, 0},
    {"percentile-metrics", 0, FLAG_VALUE, F_PERCENTILE_METRICS, 0},
    {"metric-percentiles", 0, FLAG_VALUE, F_PERCENTILES, 0},
    {"goodput", 0, FLAG_VALUES, F_GOODPUT, 0},
    {"save-result", 0, FLAG_SWITCH, F_SAVE, 0},
    {"save-detailed", 0, FLAG_SWITCH, F_SAVE_DETAILED, 0},
    {"result-dir", 0, FLAG_VALUE, F_RESULT_DIR, 0},
    {"result-filename", 0, FLAG_VALUE, F_RESULT_FILENAME, 0},
    {"label", 0, FLAG_VALUE, F_LABEL, 0},
    {"metadata", 0, FLAG_VALUES, F_METADATA, 0},
    {"html", 0, FLAG_VALUE, F_HTML, 0},
    {"disable-tqdm", 0, FLAG_SWITCH, F_NO_PROGRESS, 0},
    {"no-progress", 0, FLAG_SWITCH, F_NO_PROGRESS, 0},
    {"help", 'h', FLAG_SWITCH, F_HELP, 0},
    {"version", 0, FLAG_SWITCH, F_VERSION, 0},
};
static const struct flag_table table = {flags, sizeof flags / sizeof flags[0]};

static const char *const backends[] = {"openai", "openai-chat", "moering"};
static const char *const latencies[] = {"ttft", "tpot", "itl", "e2el"};
static const char *const caches[] = {NULL, "cold", "warm", "steady"};

const char *options_backend_name(enum options_backend backend)
{
    return backends[backend];
}

const char *options_latency_name(enum latency latency)
{
    return latencies[latency];
}

const char *options_cache_name(enum options_cache cache)
{
    return caches[cache];
}

/* ---- values ---- */

static bool to_count(const char *text, uint32_t least, uint32_t *out)
{
    return number_u32(text, least, INT32_MAX, out);
}

/* Index in a list of names, or -1. */
static int index_of(const char *text, size_t bytes, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (names[i] && strlen(names[i]) == bytes && memcmp(names[i], text, bytes) == 0)
            return i;
    return -1;
}

/* Calls take(item) for each of "a,b,c"; the item is terminated. */
static bool each_item(struct options *o, const char *list,
                      bool (*take)(struct options *o, const char *item))
{
    for (;;) {
        char item[64];
        size_t n = strcspn(list, ",");
        if (n == 0 || n >= sizeof item)
            return false;
        memcpy(item, list, n);
        item[n] = '\0';
        if (!take(o, item))
            return false;
        if (!list[n])
            return true;
        list += n + 1;
    }
}

static bool take_shown(struct options *o, const char *item)
{
    int i = index_of(item, strlen(item), latencies, LATENCIES);
    return i >= 0 && (o->shown[i] = true);
}

static bool take_percentile(struct options *o, const char *item)
{
    struct percentiles *p = &o->percentiles;
    return p->count < FIGURES_PERCENTILES_MAX && number_real(item, &p->rank[p->count]) &&
           p->rank[p->count] >= 0 && p->rank[p->count++] <= 100;
}

static bool take_point(struct options *o, const char *item)
{
    if (o->point_count == OPTIONS_SWEEP_MAX)
        return false;
    uint32_t whole = 0;
    double *point = &o->points[o->point_count++];
    if (o->sweep == SWEEP_RATE)
        return number_positive(item, true, point);
    bool ok = to_count(item, 1, &whole);
    *point = whole;
    return ok;
}

static bool take_sweep(struct options *o, enum options_sweep sweep, const char *list)
{
    o->sweep = sweep;
    o->point_count = 0;
    return each_item(o, list, take_point);
}

/* "ttft:200": the other kinds of latency have no goal per request. */
static bool take_goal(struct options *o, const char *text)
{
    size_t n = strcspn(text, ":");
    int i = text[n] ? index_of(text, n, latencies, LATENCIES) : -1;
    if (i < 0 || i == LATENCY_ITL || !number_size(text + n + 1, &o->goal_ms[i]))
        return false;
    o->has_goodput = true;
    return o->has_goal[i] = true;
}

static bool take_metadata(struct options *o, const char *text)
{
    if (o->metadata_count == OPTIONS_METADATA_MAX || text[0] == '=' || !strchr(text, '='))
        return false;
    o->metadata[o->metadata_count++] = text;
    return true;
}

/* ---- flags ---- */

static bool set_dataset(struct dataset_config *d, enum flag_id id, const char *value)
{
    uint32_t *count = NULL;
    switch (id) {
    case F_DATASET: return dataset_kind_parse(value, &d->kind);
    case F_DATASET_PATH: d->path = value; return *value != '\0';
    case F_SEED: return number_u64(value, INT64_MAX, &d->seed);
    case F_RANGE_RATIO:
        return number_size(value, &d->range_ratio) && d->range_ratio <= 1;
    case F_TRACE_SPEED: return number_positive(value, false, &d->trace_speed);
    case F_PREFIX_LEN: return to_count(value, 0, &d->prefix_len);
    case F_NUM_PROMPTS: count = &d->count; break;
    case F_INPUT_LEN: count = &d->input_len; break;
    case F_OUTPUT_LEN: count = &d->output_len; break;
    case F_VOCABULARY: count = &d->vocabulary; break;
    case F_SHAREGPT_OUTPUT: count = &d->sharegpt_output_len; break;
    case F_CUSTOM_OUTPUT: count = &d->custom_output_len; break;
    case F_SUFFIX_LEN: count = &d->suffix_len; break;
    case F_PREFIXES: count = &d->prefix_count; break;
    case F_PREFIX_OUTPUT: count = &d->prefix_output_len; break;
    default: return false;
    }
    return to_count(value, 1, count);
}

static bool set_load(struct options *o, enum flag_id id, const char *value)
{
    struct arrivals *a = &o->arrivals;
    static const char *const ramps[] = {"linear", "exponential"};
    int i;
    switch (id) {
    case F_RATE: return number_positive(value, true, &a->rate);
    case F_BURSTINESS: return number_positive(value, true, &a->burstiness);
    case F_MAX_CONCURRENCY: return to_count(value, 1, &o->max_concurrency);
    case F_RAMP:
        i = index_of(value, strlen(value), ramps, 2);
        a->ramp = i == 1 ? ARRIVALS_EXPONENTIAL : ARRIVALS_LINEAR;
        return i >= 0;
    case F_RAMP_START: return number_positive(value, false, &a->start_rate);
    case F_RAMP_END: return number_positive(value, false, &a->end_rate);
    case F_SWEEP_CONCURRENCY: return take_sweep(o, SWEEP_CONCURRENCY, value);
    case F_SWEEP_RATE: return take_sweep(o, SWEEP_RATE, value);
    case F_WARMUPS: return to_count(value, 0, &o->warmups);
    case F_CACHE_STATE:
        i = index_of(value, strlen(value), caches, 4);
        o->cache = i < 0 ? CACHE_UNKNOWN : (enum options_cache)i;
        return i >= 0;
    case F_STREAMS: return to_count(value, 1, &o->connection_streams);
    case F_TEMPERATURE:
        o->has_temperature = true;
        return number_size(value, &o->temperature);
    case F_TIMEOUT: return number_positive(value, false, &o->timeout_s) && o->timeout_s < 1e8;
    case F_READY_TIMEOUT:
        return number_size(value, &o->ready_timeout_s) && o->ready_timeout_s < 1e8;
    default: return set_dataset(&o->dataset, id, value);
    }
}

static bool set_output(struct options *o, enum flag_id id, const char *value)
{
    switch (id) {
    case F_PERCENTILE_METRICS:
        memset(o->shown, 0, sizeof o->shown);
        return each_item(o, value, take_shown);
    case F_PERCENTILES:
        o->percentiles.count = 0;
        return each_item(o, value, take_percentile);
    case F_GOODPUT: return take_goal(o, value);
    case F_METADATA: return take_metadata(o, value);
    case F_RESULT_DIR: o->result_dir = value; return true;
    case F_RESULT_FILENAME: o->result_filename = value; return true;
    case F_LABEL: o->label = value; return true;
    case F_HTML: o->html = value; return true;
    default: return set_load(o, id, value);
    }
}

/* False: the value is none of this flag's. */
static bool set_flag(struct options *o, enum flag_id id, const char *value)
{
    int i;
    uint32_t port;
    switch (id) {
    case F_BACKEND:
        i = index_of(value, strlen(value), backends, 3);
        o->backend = i < 0 ? BACKEND_OPENAI : (enum options_backend)i;
        return i >= 0;
    case F_BASE_URL: o->base_url = value; return true;
    case F_HOST: o->host = value; return true;
    case F_PORT: o->port = value; return to_count(value, 1, &port) && port < 65536;
    case F_ENDPOINT: o->endpoint = value; return *value == '/';
    case F_MODEL: o->model = value; return *value != '\0';
    case F_API_KEY: o->api_key = value; return true;
    case F_CA_FILE: o->ca_file = value; return true;
    case F_METRICS_URL: o->metrics_url = value; return true;
    case F_EXTRA_BODY: o->extra_body = value; return true;
    case F_INSECURE: return o->insecure = true;
    case F_IGNORE_EOS: return o->ignore_eos = true;
    case F_SAVE: return o->save_result = true;
    case F_SAVE_DETAILED: return o->save_detailed = true;
    case F_NO_PROGRESS: return o->no_progress = true;
    case F_HELP: return o->help = true;
    case F_VERSION: return o->version = true;
    default: return set_output(o, id, value);
    }
}

/* What a flag takes, where a few words say all of it. */
static const char *choices_of(enum flag_id id)
{
    switch (id) {
    case F_BACKEND: return "openai, openai-chat or moering";
    case F_DATASET: return "random, prefix_repetition, sharegpt, custom or trace";
    case F_RAMP: return "linear or exponential";
    case F_CACHE_STATE: return "cold, warm or steady";
    case F_PERCENTILE_METRICS: return "some of ttft,tpot,itl,e2el";
    case F_GOODPUT: return "ttft:MS, tpot:MS and e2el:MS";
    case F_RATE:
    case F_BURSTINESS: return "a number above 0, or inf";
    default: return NULL;
    }
}

/* Takes the flag at words->at, and its values. */
static bool take_flag(struct options *o, struct flag_words *words, bool *given,
                      struct fault *fault)
{
    struct flag_found found;
    const char *word = words->argv[words->at];
    if (!flag_begins(word))
        return fault_set(fault, "unexpected word '%.100s'", word);
    if (!flag_take(&table, words, &found, fault))
        return false;
    given[found.flag->id] = true;
    do {
        if (!set_flag(o, (enum flag_id)found.flag->id, found.value))
            return flag_refuse_value(&found, choices_of((enum flag_id)found.flag->id), fault);
    } while (flag_take_more(words, &found));
    return true;
}

/* ---- what belongs together ---- */

static bool check_dataset(const struct options *o, const bool *given, struct fault *fault)
{
    const char *name = dataset_kind_name(o->dataset.kind);
    unsigned kind = 1u << o->dataset.kind;
    for (size_t i = 0; i < table.count; i++)
        if (given[flags[i].id] && flags[i].uses && !(flags[i].uses & kind))
            return fault_set(fault, "--dataset-name %s takes no --%s", name, flags[i].name);
    if ((ON_FILE & kind) && !o->dataset.path)
        return fault_set(fault, "--dataset-name %s needs --dataset-path", name);
    if (o->backend == BACKEND_OPENAI_CHAT && o->dataset.vocabulary)
        return fault_set(fault, "--random-vocab-size: a chat's messages are texts, not token ids");
    return true;
}

static bool check_load(const struct options *o, const bool *given, struct fault *fault)
{
    bool ramp = given[F_RAMP], ends = given[F_RAMP_START] && given[F_RAMP_END];
    bool timed = o->dataset.kind == DATASET_TRACE;
    if (ramp && !ends)
        return fault_set(fault, "--ramp-up-strategy needs --ramp-up-start-rps and "
                                "--ramp-up-end-rps");
    if (!ramp && (given[F_RAMP_START] || given[F_RAMP_END]))
        return fault_set(fault, "--ramp-up-start-rps and --ramp-up-end-rps need "
                                "--ramp-up-strategy");
    if (ramp && given[F_RATE])
        return fault_set(fault, "--request-rate and --ramp-up-strategy exclude each other");
    if (given[F_BURSTINESS] && isinf(o->arrivals.rate) && !ramp && o->sweep != SWEEP_RATE)
        return fault_set(fault, "--burstiness has no effect without a finite --request-rate");
    if (timed && (ramp || given[F_RATE] || given[F_BURSTINESS] || o->sweep == SWEEP_RATE))
        return fault_set(fault, "a trace says itself when its requests are sent: no other rate");
    if (given[F_SWEEP_CONCURRENCY] && (given[F_MAX_CONCURRENCY] || given[F_SWEEP_RATE]))
        return fault_set(fault, "--sweep-concurrency takes no --max-concurrency and no "
                                "--sweep-request-rate");
    if (given[F_SWEEP_RATE] && (given[F_RATE] || ramp))
        return fault_set(fault, "--sweep-request-rate takes no other rate");
    if (o->cache == CACHE_COLD && o->warmups)
        return fault_set(fault, "--cache-state cold excludes --num-warmups");
    return true;
}

static bool check_url(const char *flag, const char *url, struct fault *fault)
{
    struct address spare;
    struct fault why = {{0}};
    return !url || address_parse(url, "1", &spare, &why) ||
           fault_set(fault, "%s %s", flag, why.text);
}

static bool check_use(const struct options *o, const bool *given, struct fault *fault)
{
    bool grpc = o->backend == BACKEND_MOERING;
    if (o->api_key && !grpc_text_is_key(o->api_key))
        return fault_set(fault, "the key in %s is not a word of printable ASCII",
                         given[F_API_KEY] ? "--api-key" : "MOERING_API_KEY");
    if (!check_url("--base-url", o->base_url, fault) ||
        !check_url("--metrics-url", o->metrics_url, fault))
        return false;
    if (given[F_BASE_URL] && (given[F_HOST] || given[F_PORT]))
        return fault_set(fault, "--base-url takes no --host and no --port");
    if (grpc && given[F_ENDPOINT])
        return fault_set(fault, "--backend moering has no --endpoint");
    if (grpc && given[F_EXTRA_BODY])
        return fault_set(fault, "--backend moering has no --extra-body");
    if (!grpc && given[F_STREAMS])
        return fault_set(fault, "--streams-per-connection is of --backend moering alone");
    if ((given[F_RESULT_DIR] || given[F_RESULT_FILENAME] || o->save_detailed) && !o->save_result)
        return fault_set(fault, "--result-dir, --result-filename and --save-detailed need "
                                "--save-result");
    return check_dataset(o, given, fault) && check_load(o, given, fault);
}

static void set_defaults(struct options *o)
{
    memset(o, 0, sizeof *o);
    o->host = "127.0.0.1";
    o->api_key = getenv("MOERING_API_KEY");
    o->dataset = (struct dataset_config){
        .kind = DATASET_RANDOM, .input_len = 1024, .output_len = 128, .prefix_len = 256,
        .suffix_len = 256, .prefix_count = 10, .prefix_output_len = 128, .custom_output_len = 256,
        .trace_speed = 1,
    };
    o->arrivals = (struct arrivals){.rate = INFINITY, .burstiness = 1};
    o->connection_streams = 64;
    o->timeout_s = 6 * 3600;
    for (int i = 0; i < LATENCIES; i++)
        o->shown[i] = true;
    o->percentiles = (struct percentiles){.count = 1, .rank = {99}};
}

bool options_parse(struct options *o, int argc, char **argv, struct fault *fault)
{
    bool given[FLAG_IDS] = {false};
    set_defaults(o);
    for (struct flag_words words = {argc, argv, 1}; words.at < argc; words.at++) {
        if (!take_flag(o, &words, given, fault))
            return false;
        if (o->help || o->version)
            return true;
    }
    /* A file without a number asks all it has; what is made up needs one. */
    if (!given[F_NUM_PROMPTS])
        o->dataset.count = o->dataset.kind == DATASET_TRACE ? 0 : 1000;
    o->arrivals.seed = o->dataset.seed;
    if (o->api_key && !*o->api_key)
        o->api_key = NULL; /* an empty variable is an unset one */
    if (o->cache == CACHE_UNKNOWN && o->warmups)
        o->cache = CACHE_WARM;
    return check_use(o, given, fault);
}
