#include "clients/bench/bench.h"

#include <errno.h>
#include <event2/event.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clients/bench/client.h"
#include "clients/bench/dial.h"
#include "clients/bench/fetch.h"
#include "clients/bench/load.h"
#include "clients/bench/options.h"
#include "clients/bench/report.h"
#include "clients/bench/result.h"
#include "clients/program/output.h"

enum { EXIT_DONE, EXIT_FAILED, EXIT_USAGE };
enum { METRICS_TIMEOUT_S = 10 };

struct bench {
    const struct options *options;
    struct event_base *base;
    struct client *client;
    struct dial *metrics_dial;      /* NULL: no /metrics */
    struct address metrics_address;
    const char *metrics_key;        /* NULL where /metrics is another machine's */
    struct result results[OPTIONS_SWEEP_MAX];
    uint32_t count;                 /* of results */
    bool draw;
};

/* ---- the server's own figures ---- */

/* --metrics-url, or the HTTP backend's /metrics. A server without it is measured all the same. */
static bool open_metrics(struct bench *b, struct fault *fault)
{
    const struct options *o = b->options;
    struct fault unheard = {{0}};
    if (!o->metrics_url && o->backend == BACKEND_MOERING)
        return true;
    const char *url = o->metrics_url ? o->metrics_url : client_authority(b->client);
    if (o->metrics_url && !address_parse(url, "8000", &b->metrics_address, fault))
        return false;
    if (!o->metrics_url) {
        bool tls = o->base_url && strncmp(o->base_url, "https://", 8) == 0;
        address_parse(url, "8000", &b->metrics_address, fault);
        b->metrics_address.tls = tls;
    }
    struct address server;
    if (!address_parse(client_authority(b->client), "1", &server, fault))
        return false;
    b->metrics_key = strcmp(server.host, b->metrics_address.host) == 0 ? o->api_key : NULL;
    if (!b->metrics_address.prefix[0])
        strcpy(b->metrics_address.prefix, "/metrics");
    const struct dial_config config = {.address = &b->metrics_address, .ca_file = o->ca_file,
                                       .insecure = o->insecure, .timeout_s = METRICS_TIMEOUT_S};
    return dial_open(&b->metrics_dial, &config, o->metrics_url ? fault : &unheard) ||
           !o->metrics_url;
}

/* False: not there. One that was asked for by --metrics-url and is not there is told. */
static bool read_metrics(struct bench *b, struct prometheus *out)
{
    const struct fetch fetch = {.base = b->base, .dial = b->metrics_dial,
                                .address = &b->metrics_address, .key = b->metrics_key,
                                .path = "", .timeout_s = METRICS_TIMEOUT_S};
    struct fault why = {{0}};
    char *body;
    size_t bytes;
    int status;
    memset(out, 0, sizeof *out);
    if (!b->metrics_dial)
        return false;
    bool ok = fetch_get(&fetch, &body, &bytes, &status, &why);
    if (!ok && b->options->metrics_url)
        fprintf(stderr, "moering-bench: %s\n", why.text);
    ok = ok && prometheus_open(out, body, bytes);
    if (ok && out->count == 0) { /* another server's */
        prometheus_close(out);
        ok = false;
    }
    free(body);
    return ok;
}

/* ---- one run ---- */

static void say(const struct bench *b, const char *text)
{
    if (b->draw)
        fprintf(stderr, "%s\n", text);
}

/* Requests that are not measured: the first prompt, `count` times. False: one failed. */
static bool rehearse(struct bench *b, const struct prompt *prompt, uint32_t count,
                     uint32_t max_concurrency, struct fault *fault)
{
    struct record *records = calloc(count, sizeof *records);
    struct prompt *prompts = calloc(count, sizeof *prompts);
    uint64_t *send_ns = calloc(count, sizeof *send_ns);
    struct load_outcome outcome;
    bool ok = records && prompts && send_ns;
    for (uint32_t i = 0; ok && i < count; i++)
        prompts[i] = *prompt;
    const struct load load = {.base = b->base, .client = b->client, .prompts = prompts,
                              .send_ns = send_ns, .count = count,
                              .max_concurrency = max_concurrency,
                              .timeout_s = b->options->timeout_s};
    ok = ok ? load_run(&load, records, &outcome, fault) : fault_set(fault, "out of memory");
    for (uint32_t i = 0; records && i < count; i++) {
        if (ok && records[i].state != RECORD_COMPLETED)
            ok = fault_set(fault, "a test request failed: %.400s", records[i].error);
        record_close(&records[i]);
    }
    free(records);
    free(prompts);
    free(send_ns);
    return ok;
}

static void send_times(const struct options *o, const struct dataset *data, double rate,
                       uint64_t *send_ns)
{
    struct arrivals arrivals = o->arrivals;
    arrivals.rate = rate;
    if (!data->timed) {
        arrivals_decide(&arrivals, data->count, send_ns);
        return;
    }
    for (uint32_t i = 0; i < data->count; i++)
        send_ns[i] = data->prompts[i].at_ns;
}

/* The measured part: figures of the server before, the load, figures of the server after. */
static bool measure(struct bench *b, const struct dataset *data, const uint64_t *send_ns,
                    struct result *r, struct fault *fault)
{
    const struct load load = {
        .base = b->base, .client = b->client, .prompts = data->prompts, .send_ns = send_ns,
        .count = data->count, .max_concurrency = r->max_concurrency,
        .timeout_s = b->options->timeout_s, .keep_text = b->options->save_detailed,
        .draw = b->draw,
    };
    struct prometheus before;
    struct load_outcome outcome;
    bool had = read_metrics(b, &before);
    bool ok = load_run(&load, r->records, &outcome, fault);
    if (ok) {
        r->duration_s = outcome.duration_s;
        r->interrupted = outcome.interrupted;
        r->has_metrics = had && read_metrics(b, &r->metrics);
        if (r->has_metrics)
            prometheus_subtract(&r->metrics, &before);
        ok = result_compute(r) || fault_set(fault, "out of memory for the figures");
    }
    prometheus_close(&before);
    return ok;
}

/* Where the run of a sweep differs from the options. */
static void begin_result(struct bench *b, uint32_t point, struct result *r)
{
    const struct options *o = b->options;
    time_t now = time(NULL);
    struct tm local;
    memset(r, 0, sizeof *r);
    r->options = o;
    r->protocol = client_protocol(b->client);
    r->request_rate = o->arrivals.rate;
    r->max_concurrency = o->max_concurrency;
    if (o->sweep == SWEEP_CONCURRENCY)
        r->max_concurrency = (uint32_t)o->points[point];
    if (o->sweep == SWEEP_RATE)
        r->request_rate = o->points[point];
    localtime_r(&now, &local);
    strftime(r->date, sizeof r->date, "%Y%m%d-%H%M%S", &local);
}

static bool run_point(struct bench *b, uint32_t point, struct fault *fault)
{
    const struct options *o = b->options;
    struct result *r = &b->results[b->count];
    struct dataset_config config = o->dataset;
    struct dataset data;
    /* Other prompts at each point, or the later ones would be answered from a prefix cache. */
    config.seed += point;
    if (!config.vocabulary)
        config.vocabulary = client_vocabulary(b->client);
    begin_result(b, point, r);
    b->count++;
    bool ok = dataset_open(&data, &config, fault);
    uint64_t *send_ns = ok ? malloc(data.count * sizeof *send_ns) : NULL;
    r->records = ok ? calloc(data.count, sizeof *r->records) : NULL;
    r->model = strdup(client_model(b->client));
    if (ok && (!send_ns || !r->records || !r->model))
        ok = fault_set(fault, "out of memory for %u requests", data.count);
    if (ok) {
        r->count = data.count;
        send_times(o, &data, r->request_rate, send_ns);
        if (data.distinct < data.count && point == 0)
            fprintf(stderr, "moering-bench: %u prompts in the file are asked %u times in all\n",
                    data.distinct, data.count);
    }
    if (ok && point == 0 && o->cache != CACHE_COLD) {
        say(b, "A test request goes first.");
        ok = rehearse(b, &data.prompts[0], 1, 1, fault);
    }
    if (ok && o->warmups)
        ok = rehearse(b, &data.prompts[0], o->warmups, r->max_concurrency, fault);
    ok = ok && measure(b, &data, send_ns, r, fault);
    free(send_ns);
    dataset_close(&data);
    return ok;
}

/* ---- what is written ---- */

static bool write_result(const struct result *r, struct fault *fault)
{
    const struct options *o = r->options;
    char *path = NULL, *name = NULL;
    const char *dir = o->result_dir ? o->result_dir : ".";
    /* A sweep has a file for each point, so a name given for all gets the point before its end. */
    if (o->result_filename && o->sweep != SWEEP_NONE) {
        const char *dot = strrchr(o->result_filename, '.');
        int stem = dot ? (int)(dot - o->result_filename) : (int)strlen(o->result_filename);
        double point = o->sweep == SWEEP_RATE ? r->request_rate : r->max_concurrency;
        if (asprintf(&name, "%.*s-%g%s", stem, o->result_filename, point, dot ? dot : "") < 0)
            name = NULL;
    } else {
        name = o->result_filename ? strdup(o->result_filename) : result_filename(r);
    }
    if (name && asprintf(&path, "%s/%s", dir, name) < 0)
        path = NULL;
    json_t *json = path ? result_json(r, o->save_detailed) : NULL;
    bool ok = json != NULL || fault_set(fault, "out of memory for the result");
    errno = 0;
    if (ok && json_dump_file(json, path, JSON_COMPACT) != 0)
        ok = fault_set(fault, "%s: %s", path, errno ? strerror(errno) : "it cannot be written");
    json_decref(json);
    free(path);
    free(name);
    return ok;
}

static bool write_report(const struct bench *b, struct fault *fault)
{
    const char *path = b->options->html;
    FILE *out = fopen(path, "w");
    if (!out)
        return fault_set(fault, "%s: %s", path, strerror(errno));
    struct fault why = {{0}};
    errno = 0;
    bool ok = report_write(b->results, b->count, client_authority(b->client), out, &why);
    if (!ok)
        fault_set(fault, "%s: %s", path, ferror(out) && errno ? strerror(errno) : why.text);
    if (fclose(out) != 0 && ok)
        ok = fault_set(fault, "%s: %s", path, strerror(errno));
    return ok;
}

/* The folder that a file lies in: "." for a bare name. Cuts `path`. */
static const char *folder_of(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash)
        return ".";
    slash[slash == path] = '\0';
    return path;
}

/* Before hours of measuring: will what is asked for be writable? Makes --result-dir. */
static bool check_outputs(const struct options *o, struct fault *fault)
{
    const char *dir = o->result_dir ? o->result_dir : ".";
    if (o->save_result && mkdir(dir, 0777) != 0 && errno != EEXIST)
        return fault_set(fault, "--result-dir %s: %s", dir, strerror(errno));
    if (o->save_result && access(dir, W_OK | X_OK) != 0)
        return fault_set(fault, "--result-dir %s: %s", dir, strerror(errno));
    if (!o->html)
        return true;
    char *path = strdup(o->html);
    if (!path)
        return fault_set(fault, "out of memory");
    bool there = access(o->html, F_OK) == 0;
    bool ok = there ? access(o->html, W_OK) == 0 : access(folder_of(path), W_OK | X_OK) == 0;
    if (!ok)
        fault_set(fault, "--html %s: %s", o->html, strerror(errno));
    free(path);
    return ok;
}

static bool run_all(struct bench *b, struct fault *fault)
{
    const struct options *o = b->options;
    uint32_t points = o->sweep == SWEEP_NONE ? 1 : o->point_count;
    for (uint32_t point = 0; point < points; point++) {
        if (!run_point(b, point, fault)) {
            result_close(&b->results[--b->count]);
            return false;
        }
        result_print(&b->results[point], stdout);
        output_flush(fault); /* what is lost is told; the rest is measured all the same */
        if (o->save_result && !write_result(&b->results[point], fault))
            return false;
        if (b->results[point].interrupted)
            break;
    }
    if (o->sweep != SWEEP_NONE)
        result_print_table(b->results, b->count, stdout);
    return true;
}

/* ---- the program ---- */

/* Each request may have a connection of its own. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Timers to the microsecond (epoll alone waits whole milliseconds), times never from a cache. */
static struct event_base *open_base(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;
    if (config && event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) == 0 &&
        event_config_set_flag(config, EVENT_BASE_FLAG_NO_CACHE_TIME) == 0)
        base = event_base_new_with_config(config);
    if (config)
        event_config_free(config);
    return base;
}

static int run(const struct options *options)
{
    struct fault fault = {{0}};
    struct bench *b = calloc(1, sizeof *b);
    bool ok = b != NULL;
    uint32_t failed = 0;
    if (ok) {
        b->options = options;
        b->draw = !options->no_progress && isatty(STDERR_FILENO);
        b->base = open_base();
    }
    if (!ok || !b->base)
        ok = fault_set(&fault, "no event loop can be made");
    ok = ok && check_outputs(options, &fault) &&
         client_open(&b->client, b->base, options, &fault) && open_metrics(b, &fault) &&
         run_all(b, &fault);
    if (b && b->count && options->html)
        ok = write_report(b, &fault) && ok;
    ok = output_flush(&fault) && ok;
    for (uint32_t i = 0; b && i < b->count; i++) {
        failed += b->results[i].failed;
        result_close(&b->results[i]);
    }
    if (fault.text[0])
        fprintf(stderr, "moering-bench: %s\n", fault.text);
    if (b) {
        client_close(b->client);
        dial_close(b->metrics_dial);
        if (b->base)
            event_base_free(b->base);
    }
    free(b);
    return ok && !failed && !fault.text[0] ? EXIT_DONE : EXIT_FAILED;
}

int bench_main(int argc, char **argv)
{
    struct options options;
    struct fault fault = {{0}};
    if (!options_parse(&options, argc, argv, &fault)) {
        fprintf(stderr, "moering-bench: %s\n", fault.text);
        return EXIT_USAGE;
    }
    if (options.help || options.version) {
        if (options.help)
            options_help(stdout);
        else
            printf("moering-bench %s\n", MOERING_VERSION);
        if (output_flush(&fault))
            return EXIT_DONE;
        fprintf(stderr, "moering-bench: %s\n", fault.text);
        return EXIT_FAILED;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a failed write, not the end */
    raise_descriptor_limit();
    return run(&options);
}
