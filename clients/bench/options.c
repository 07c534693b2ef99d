#include "clients/bench/options.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum flag_id {
    F_BACKEND, F_BASE_URL, F_HOST, F_PORT, F_ENDPOINT, F_MODEL, F_API_KEY, F_CA_FILE, F_INSECURE,
    F_METRICS_URL, F_DATASET, F_DATASET_PATH, F_NUM_PROMPTS, F_SEED, F_INPUT_LEN, F_OUTPUT_LEN,
    F_RANGE_RATIO, F_VOCABULARY, F_SHAREGPT_OUTPUT, F_CUSTOM_OUTPUT, F_TRACE_SPEED, F_PREFIX_LEN,
    F_SUFFIX_LEN, F_PREFIXES, F_PREFIX_OUTPUT, F_RATE, F_BURSTINESS, F_MAX_CONCURRENCY, F_RAMP,
    F_RAMP_START, F_RAMP_END, F_SWEEP_CONCURRENCY, F_SWEEP_RATE, F_WARMUPS, F_CACHE_STATE,
    F_STREAMS, F_IGNORE_EOS, F_TEMPERATURE, F_EXTRA_BODY, F_TIMEOUT, F_READY_TIMEOUT,
    F_PERCENTILE_METRICS, F_PERCENTILES, F_GOODPUT, F_SAVE, F_SAVE_DETAILED, F_RESULT_DIR,
    F_RESULT_FILENAME, F_LABEL, F_METADATA, F_HTML, F_NO_PROGRESS, F_HELP, FLAG_IDS,
};

enum flag_kind { SWITCH, VALUE, VALUES };

struct flag {
    const char *name;
    enum flag_kind kind;
    enum flag_id id;
};

static const struct flag flags[] = {
    {"backend", VALUE, F_BACKEND}, {"base-url", VALUE, F_BASE_URL}, {"host", VALUE, F_HOST},
    {"port", VALUE, F_PORT}, {"endpoint", VALUE, F_ENDPOINT}, {"model", VALUE, F_MODEL},
    {"api-key", VALUE, F_API_KEY}, {"cacert", VALUE, F_CA_FILE}, {"insecure", SWITCH, F_INSECURE},
    {"metrics-url", VALUE, F_METRICS_URL}, {"dataset-name", VALUE, F_DATASET},
    {"dataset-path", VALUE, F_DATASET_PATH}, {"num-prompts", VALUE, F_NUM_PROMPTS},
    {"seed", VALUE, F_SEED}, {"random-input-len", VALUE, F_INPUT_LEN},
    {"random-output-len", VALUE, F_OUTPUT_LEN}, {"random-range-ratio", VALUE, F_RANGE_RATIO},
    {"random-vocab-size", VALUE, F_VOCABULARY}, {"sharegpt-output-len", VALUE, F_SHAREGPT_OUTPUT},
    {"custom-output-len", VALUE, F_CUSTOM_OUTPUT}, {"trace-speed", VALUE, F_TRACE_SPEED},
    {"prefix-repetition-prefix-len", VALUE, F_PREFIX_LEN},
    {"prefix-repetition-suffix-len", VALUE, F_SUFFIX_LEN},
    {"prefix-repetition-num-prefixes", VALUE, F_PREFIXES},
    {"prefix-repetition-output-len", VALUE, F_PREFIX_OUTPUT}, {"request-rate", VALUE, F_RATE},
    {"burstiness", VALUE, F_BURSTINESS}, {"max-concurrency", VALUE, F_MAX_CONCURRENCY},
    {"ramp-up-strategy", VALUE, F_RAMP}, {"ramp-up-start-rps", VALUE, F_RAMP_START},
    {"ramp-up-end-rps", VALUE, F_RAMP_END}, {"sweep-concurrency", VALUE, F_SWEEP_CONCURRENCY},
    {"sweep-request-rate", VALUE, F_SWEEP_RATE}, {"num-warmups", VALUE, F_WARMUPS},
    {"cache-state", VALUE, F_CACHE_STATE}, {"streams-per-connection", VALUE, F_STREAMS},
    {"ignore-eos", SWITCH, F_IGNORE_EOS}, {"temperature", VALUE, F_TEMPERATURE},
    {"extra-body", VALUE, F_EXTRA_BODY}, {"timeout", VALUE, F_TIMEOUT},
    {"ready-check-timeout-sec", VALUE, F_READY_TIMEOUT},
    {"percentile-metrics", VALUE, F_PERCENTILE_METRICS},
    {"metric-percentiles", VALUE, F_PERCENTILES}, {"goodput", VALUES, F_GOODPUT},
    {"save-result", SWITCH, F_SAVE}, {"save-detailed", SWITCH, F_SAVE_DETAILED},
    {"result-dir", VALUE, F_RESULT_DIR}, {"result-filename", VALUE, F_RESULT_FILENAME},
    {"label", VALUE, F_LABEL}, {"metadata", VALUES, F_METADATA}, {"html", VALUE, F_HTML},
    {"disable-tqdm", SWITCH, F_NO_PROGRESS}, {"no-progress", SWITCH, F_NO_PROGRESS},
    {"help", SWITCH, F_HELP},
};
#define FLAGS (sizeof flags / sizeof flags[0])

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

static bool to_number(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && !*end && !isnan(*out) && *text != ' ';
}

static bool to_u64(const char *text, uint64_t max, uint64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno && *out <= max;
}

static bool to_count(const char *text, uint32_t least, uint32_t *out)
{
    uint64_t n;
    bool ok = to_u64(text, INT32_MAX, &n) && n >= least;
    *out = ok ? (uint32_t)n : 0;
    return ok;
}

/* Above 0; infinity where `endless`. */
static bool to_positive(const char *text, bool endless, double *out)
{
    return to_number(text, out) && *out > 0 && (endless || isfinite(*out));
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
    return p->count < FIGURES_PERCENTILES_MAX && to_number(item, &p->rank[p->count]) &&
           p->rank[p->count] >= 0 && p->rank[p->count++] <= 100;
}

static bool take_point(struct options *o, const char *item)
{
    if (o->point_count == OPTIONS_SWEEP_MAX)
        return false;
    uint32_t whole = 0;
    double *point = &o->points[o->point_count++];
    if (o->sweep == SWEEP_RATE)
        return to_positive(item, true, point);
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
    if (i < 0 || i == LATENCY_ITL || !to_number(text + n + 1, &o->goal_ms[i]) || o->goal_ms[i] < 0)
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
    case F_SEED: return to_u64(value, INT64_MAX, &d->seed);
    case F_RANGE_RATIO:
        return to_number(value, &d->range_ratio) && d->range_ratio >= 0 && d->range_ratio <= 1;
    case F_TRACE_SPEED: return to_positive(value, false, &d->trace_speed);
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
    case F_RATE: return to_positive(value, true, &a->rate);
    case F_BURSTINESS: return to_positive(value, true, &a->burstiness);
    case F_MAX_CONCURRENCY: return to_count(value, 1, &o->max_concurrency);
    case F_RAMP:
        i = index_of(value, strlen(value), ramps, 2);
        a->ramp = i == 1 ? ARRIVALS_EXPONENTIAL : ARRIVALS_LINEAR;
        return i >= 0;
    case F_RAMP_START: return to_positive(value, false, &a->start_rate);
    case F_RAMP_END: return to_positive(value, false, &a->end_rate);
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
        return to_number(value, &o->temperature) && o->temperature >= 0 && isfinite(o->temperature);
    case F_TIMEOUT: return to_positive(value, false, &o->timeout_s) && o->timeout_s < 1e8;
    case F_READY_TIMEOUT:
        return to_number(value, &o->ready_timeout_s) && o->ready_timeout_s >= 0 &&
               o->ready_timeout_s < 1e8;
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
    case F_API_KEY: o->api_key = value; return value[strcspn(value, "\r\n")] == '\0';
    case F_CA_FILE: o->ca_file = value; return true;
    case F_METRICS_URL: o->metrics_url = value; return true;
    case F_EXTRA_BODY: o->extra_body = value; return true;
    case F_INSECURE: return o->insecure = true;
    case F_IGNORE_EOS: return o->ignore_eos = true;
    case F_SAVE: return o->save_result = true;
    case F_SAVE_DETAILED: return o->save_detailed = true;
    case F_NO_PROGRESS: return o->no_progress = true;
    case F_HELP: return o->help = true;
    default: return set_output(o, id, value);
    }
}

/* ---- words ---- */

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance of the first bytes. */
static unsigned distance(const char *wrong, const char *name)
{
    enum { BYTES_MAX = 40 };
    unsigned row[BYTES_MAX + 1];
    size_t n = strnlen(name, BYTES_MAX), bytes = strnlen(wrong, BYTES_MAX);
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 0; i < bytes; i++) {
        unsigned diagonal = row[0]++;
        for (size_t j = 0; j < n; j++) {
            unsigned changed = diagonal + (wrong[i] != name[j]);
            diagonal = row[j + 1];
            row[j + 1] = least(changed, least(row[j], row[j + 1]) + 1);
        }
    }
    return row[n];
}

static bool refuse_unknown(const char *word, struct fault *fault)
{
    char wrong[64];
    size_t nearest = 0;
    const char *bare = word + strspn(word, "-");
    snprintf(wrong, sizeof wrong, "%.*s", (int)strcspn(bare, "="), bare);
    for (size_t i = 1; i < FLAGS; i++)
        if (distance(wrong, flags[i].name) < distance(wrong, flags[nearest].name))
            nearest = i;
    return fault_set(fault, "unknown flag '%.100s'; did you mean '--%s'?", word,
                     flags[nearest].name);
}

static const struct flag *find_flag(const char *word, const char **value)
{
    size_t bytes = strcspn(word, "=");
    *value = word[bytes] ? word + bytes + 1 : NULL;
    if (strcmp(word, "-h") == 0)
        word = "--help", bytes = 6;
    for (size_t i = 0; bytes > 2 && i < FLAGS; i++)
        if (strlen(flags[i].name) == bytes - 2 && memcmp(flags[i].name, word + 2, bytes - 2) == 0 &&
            word[0] == '-' && word[1] == '-')
            return &flags[i];
    return NULL;
}

/* Takes argv[*at], and its values if they are words of their own. */
static bool take_flag(struct options *o, int argc, char **argv, int *at, bool *given,
                      struct fault *fault)
{
    const char *word = argv[*at], *value;
    const struct flag *flag = find_flag(word, &value);
    if (!flag)
        return word[0] == '-' ? refuse_unknown(word, fault)
                              : fault_set(fault, "unexpected word '%.100s'", word);
    if (flag->kind == SWITCH && value)
        return fault_set(fault, "--%s takes no value", flag->name);
    if (flag->kind != SWITCH && !value) {
        if (*at + 1 == argc)
            return fault_set(fault, "--%s needs a value", flag->name);
        value = argv[++*at];
    }
    given[flag->id] = true;
    for (;;) {
        if (!set_flag(o, flag->id, value))
            return fault_set(fault, "'%.100s' is no value for --%s", value, flag->name);
        if (flag->kind != VALUES || *at + 1 == argc || argv[*at + 1][0] == '-')
            return true;
        value = argv[++*at];
    }
}

/* ---- what belongs together ---- */

static bool check_dataset(const struct options *o, const bool *given, struct fault *fault)
{
    static const struct {
        enum flag_id id;
        unsigned kinds; /* bits of enum dataset_kind that read it */
        const char *name;
    } uses[] = {
        {F_DATASET_PATH, 1u << DATASET_SHAREGPT | 1u << DATASET_CUSTOM | 1u << DATASET_TRACE,
         "dataset-path"},
        {F_INPUT_LEN, 1u << DATASET_RANDOM, "random-input-len"},
        {F_OUTPUT_LEN, 1u << DATASET_RANDOM, "random-output-len"},
        {F_RANGE_RATIO, 1u << DATASET_RANDOM, "random-range-ratio"},
        {F_VOCABULARY,
         1u << DATASET_RANDOM | 1u << DATASET_PREFIX_REPETITION | 1u << DATASET_TRACE,
         "random-vocab-size"},
        {F_SHAREGPT_OUTPUT, 1u << DATASET_SHAREGPT, "sharegpt-output-len"},
        {F_CUSTOM_OUTPUT, 1u << DATASET_CUSTOM, "custom-output-len"},
        {F_TRACE_SPEED, 1u << DATASET_TRACE, "trace-speed"},
        {F_PREFIX_LEN, 1u << DATASET_PREFIX_REPETITION, "prefix-repetition-prefix-len"},
        {F_SUFFIX_LEN, 1u << DATASET_PREFIX_REPETITION, "prefix-repetition-suffix-len"},
        {F_PREFIXES, 1u << DATASET_PREFIX_REPETITION, "prefix-repetition-num-prefixes"},
        {F_PREFIX_OUTPUT, 1u << DATASET_PREFIX_REPETITION, "prefix-repetition-output-len"},
    };
    const char *name = dataset_kind_name(o->dataset.kind);
    for (size_t i = 0; i < sizeof uses / sizeof uses[0]; i++)
        if (given[uses[i].id] && !(uses[i].kinds >> o->dataset.kind & 1))
            return fault_set(fault, "--dataset-name %s takes no --%s", name, uses[i].name);
    if ((uses[0].kinds >> o->dataset.kind & 1) && !o->dataset.path)
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

static bool check_use(const struct options *o, const bool *given, struct fault *fault)
{
    bool grpc = o->backend == BACKEND_MOERING;
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
    if (o->api_key && !*o->api_key)
        o->api_key = NULL;
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
    for (int i = 1; i < argc; i++) {
        if (!take_flag(o, argc, argv, &i, given, fault))
            return false;
        if (o->help)
            return true;
    }
    /* A file without a number asks all it has; what is made up needs one. */
    if (!given[F_NUM_PROMPTS])
        o->dataset.count = o->dataset.kind == DATASET_TRACE ? 0 : 1000;
    o->arrivals.seed = o->dataset.seed;
    if (o->cache == CACHE_UNKNOWN && o->warmups)
        o->cache = CACHE_WARM;
    return check_use(o, given, fault);
}
