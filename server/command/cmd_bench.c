/* `moering bench`: tokens per second of a model beside what bounds them, in the words of
 * llama-bench; `moering bench machine`: the bounds alone.
 *
 * One engine runs all tests, sized for the largest. Rates of the machine are measured before it is
 * opened and again after it is closed, and the better ones count: a bound must hold for the
 * minutes in between, and the memory that measuring takes must not stand beside the model's. */
#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "memory/base/log.h"
#include "server/bench/bench_machine.h"
#include "server/bench/bench_output.h"
#include "server/bench/bench_run.h"
#include "server/bench/machine_peak.h"
#include "server/bench/machine_rates.h"
#include "server/command/command.h"

#define FILL_TOKENS 512
#define STORAGE_PIECE_BYTES ((size_t)1 << 20)

enum { INFO_TEXTS = 8 };

struct bench {
    const struct config *config;
    struct bench_plan plan;
    struct bench_route route;
    struct bench_rates rates;
    struct engine *engine;
    struct engine_info info;        /* kept when the engine is closed */
    char *texts[INFO_TEXTS];        /* what the kept one points at */
    struct bench_result *results;   /* [plan.count] */
};

/* ---- the machine ---- */

static void better(double *rate, double found)
{
    if (found > *rate)
        *rate = found;
}

static enum status measure_machine(struct bench *b, uint32_t threads, struct error *error)
{
    enum cpu_isa isa = command_isa(b->config);
    struct machine_peak f32, int8;
    double memory;
    enum status status = machine_memory_probe(threads, &memory, error);
    if (status == STATUS_OK)
        status = machine_peak_measure(MACHINE_F32, isa, threads, &f32, error);
    if (status == STATUS_OK)
        status = machine_peak_measure(MACHINE_INT8, isa, threads, &int8, error);
    if (status != STATUS_OK)
        return status;
    better(&b->rates.memory, memory);
    better(&b->rates.f32, f32.ops_per_s);
    better(&b->rates.int8, int8.ops_per_s);
    b->rates.f32_instructions = f32.instructions;
    b->rates.int8_instructions = int8.instructions;
    return STATUS_OK;
}

/* The file that most of a model's bytes are in: itself, or the largest of its folder. */
static bool largest_file(const char *model, char *out, size_t out_bytes)
{
    struct stat info;
    off_t most = -1;
    if (stat(model, &info) != 0)
        return false;
    if (!S_ISDIR(info.st_mode))
        return snprintf(out, out_bytes, "%s", model) < (int)out_bytes;
    DIR *folder = opendir(model);
    for (struct dirent *e; folder && (e = readdir(folder));) {
        char path[PATH_MAX];
        if (snprintf(path, sizeof path, "%s/%s", model, e->d_name) >= (int)sizeof path ||
            stat(path, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size <= most)
            continue;
        most = info.st_size;
        snprintf(out, out_bytes, "%s", path);
    }
    if (folder)
        closedir(folder);
    return most > 0;
}

/* Only where pages were read; a failure leaves the bound without storage. */
static void measure_storage(struct bench *b)
{
    static const uint32_t depths[] = {2, 8};
    char path[PATH_MAX];
    bool paged = false;
    for (uint32_t i = 0; i < b->plan.count; i++)
        paged |= b->results[i].totals.storage_bytes > 0;
    for (size_t d = 0; paged && d < 2; d++) {
        struct machine_storage storage = {0};
        struct error error = {0};
        if (!largest_file(b->info.model_path, path, sizeof path) ||
            machine_storage_rate(path, depths[d], STORAGE_PIECE_BYTES, &storage, &error) !=
                STATUS_OK || !storage.direct) {
            log_warn("the rate of storage is not known: %s",
                     error.text[0] ? error.text : "the file cannot be read past the page cache");
            return;
        }
        better(&b->rates.storage, storage.rate);
    }
}

/* ---- the model ---- */

static void on_budget_line(const char *text, void *arg)
{
    (void)arg;
    if (log_enabled(LOG_DEBUG))
        fprintf(stderr, "%s\n", text);
}

/* All of its texts are the engine's. */
static enum status keep_info(struct bench *b, struct error *error)
{
    struct engine_info *info = &b->info;
    *info = *engine_info(b->engine);
    const char **texts[INFO_TEXTS] = {&info->model_path, &info->model_name, &info->architecture,
                                      &info->backend,    &info->isa,        &info->io,
                                      &info->weight_dtype, &info->device};
    for (uint32_t i = 0; i < INFO_TEXTS; i++) {
        if (!*texts[i])
            continue;
        b->texts[i] = strdup(*texts[i]);
        if (!b->texts[i])
            return error_set(error, STATUS_NO_MEMORY, "out of memory");
        *texts[i] = b->texts[i];
    }
    return STATUS_OK;
}

/* Room for the largest test, unless flags say otherwise. */
static enum status open_engine(struct bench *b, struct error *error)
{
    const struct config *c = b->config;
    struct engine_config config;
    command_engine_config(c, &config);
    if (config_source_of(c, "max-num-seqs") == CONFIG_DEFAULT)
        config.max_num_seqs = b->plan.sequences_max;
    if (config_source_of(c, "max-model-len") == CONFIG_DEFAULT)
        config.max_model_len = b->plan.positions_max;
    if (config.max_num_seqs < b->plan.sequences_max)
        return error_set(error, STATUS_INVALID,
                         "--max-num-seqs %u is less than the %u of --sequences",
                         config.max_num_seqs, b->plan.sequences_max);
    config.budget_line = on_budget_line;
    if (c->route_trace)
        config.routing = bench_route_script(&b->route);
    enum status status = engine_open(&b->engine, &config, error);
    if (status != STATUS_OK)
        return status;
    b->route.experts = engine_info(b->engine)->experts;
    b->route.top_k = engine_info(b->engine)->top_k;
    return keep_info(b, error);
}

/* Where every page has a slot, first touches are no part of what is measured: prompts run until
 * each page is there, or as many tokens have brought no more. (Experts that hardly any token
 * chooses may be left, and are read when one does.) */
static enum status fill_ring(struct bench *b, struct bench_run *run, struct error *error)
{
    struct bench_test test = {.sequences = 1, .prompt = b->plan.positions_max - 1};
    struct engine_stats stats;
    uint32_t resident = 0, vain = 0;
    enum status status = STATUS_OK;
    if (test.prompt > FILL_TOKENS)
        test.prompt = FILL_TOKENS;
    if (b->info.device_slots < b->info.pages)
        return STATUS_OK;
    while (vain < FILL_TOKENS && status == STATUS_OK) {
        struct bench_totals totals = {0};
        uint64_t ns;
        status = bench_run_once(run, &test, &ns, &totals, error);
        engine_stats_read(b->engine, &stats, NULL);
        if (stats.resident_pages == b->info.pages)
            break;
        vain = stats.resident_pages > resident ? 0 : vain + test.prompt;
        resident = stats.resident_pages;
    }
    return status;
}

static enum status run_test(struct bench *b, struct bench_run *run, uint32_t number,
                            struct error *error)
{
    struct bench_result *r = &b->results[number];
    struct bench_totals warm = {0};
    uint64_t ns;
    char name[64];
    enum status status = STATUS_OK;
    r->test = b->plan.tests[number];
    r->begun_s = (uint64_t)time(NULL);
    r->samples_ns = calloc(b->config->repetitions, sizeof *r->samples_ns);
    if (!r->samples_ns)
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "test %u of %u: %s\n", number + 1, b->plan.count,
                bench_test_name(&r->test, name, sizeof name));
    if (b->config->warmup)
        status = bench_run_once(run, &r->test, &ns, &warm, error);
    for (uint32_t i = 0; i < b->config->repetitions && status == STATUS_OK; i++) {
        status = bench_run_once(run, &r->test, &r->samples_ns[i], &r->totals, error);
        r->count++;
    }
    if (status != STATUS_OK)
        error_prefix(error, bench_test_name(&r->test, name, sizeof name));
    return status;
}

static enum status print(struct bench *b, struct error *error)
{
    const struct config *c = b->config;
    struct bench_report report = {.info = &b->info, .route_trace = c->route_trace,
                                  .rates = b->rates, .results = b->results,
                                  .count = b->plan.count};
    if (c->route_trace) {
        report.trace_layers = b->route.trace->layers;
        report.trace_experts = b->route.trace->experts;
        report.trace_top_k = b->route.trace->top_k;
    }
    for (uint32_t i = 0; i < b->plan.count; i++) {
        enum status status = bench_result_finish(&b->results[i], &b->info, &b->rates,
                                                 c->activations == 2, error);
        if (status != STATUS_OK)
            return status;
    }
    if (c->output)
        return bench_print_json(&report, stdout, error);
    bench_print_table(&report, stdout);
    return STATUS_OK;
}

static enum status execute(struct bench *b, struct error *error)
{
    enum status status = STATUS_OK;
    b->results = calloc(b->plan.count, sizeof *b->results);
    if (!b->results)
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    if (b->config->route_trace)
        status = bench_route_open(&b->route, b->config->route_trace, error);
    if (status == STATUS_OK)
        status = measure_machine(b, b->config->threads, error);
    if (status == STATUS_OK)
        status = open_engine(b, error);
    struct bench_run run = {.engine = b->engine,
                            .route = b->config->route_trace ? &b->route : NULL};
    if (status == STATUS_OK && b->config->warmup)
        status = fill_ring(b, &run, error);
    for (uint32_t i = 0; i < b->plan.count && status == STATUS_OK; i++)
        status = run_test(b, &run, i, error);
    if (status == STATUS_OK)
        status = engine_trace_finish(b->engine, error);
    engine_close(b->engine);
    b->engine = NULL;
    if (status == STATUS_OK && !b->info.device)
        status = measure_machine(b, b->config->threads, error);
    if (status == STATUS_OK) {
        measure_storage(b);
        status = print(b, error);
    }
    return status;
}

static void bench_close(struct bench *b)
{
    engine_close(b->engine);
    bench_route_close(&b->route);
    for (uint32_t i = 0; b->results && i < b->plan.count; i++)
        free(b->results[i].samples_ns);
    free(b->results);
    for (uint32_t i = 0; i < INFO_TEXTS; i++)
        free(b->texts[i]);
}

/* ---- the command ---- */

static int bench_the_machine(int argc, const char *const *argv)
{
    struct config config;
    struct error error = {0};
    int code = command_config(&config, CONFIG_BENCH_MACHINE, argc, argv);
    if (code != COMMAND_GO_ON)
        return code;
    enum status status = bench_machine(&config, stdout, &error);
    config_close(&config);
    return status == STATUS_OK ? COMMAND_OK : command_fail(&error);
}

int cmd_bench(int argc, const char *const *argv)
{
    struct config config;
    struct error error = {0};
    struct bench bench = {.config = &config};
    if (argc > 0 && strcmp(argv[0], "machine") == 0)
        return bench_the_machine(argc - 1, argv + 1);
    int code = command_config(&config, CONFIG_BENCH, argc, argv);
    if (code != COMMAND_GO_ON)
        return code;
    if (bench_plan_make(&bench.plan, &config, &error) != STATUS_OK) {
        command_fail(&error);
        config_close(&config);
        return COMMAND_USAGE;
    }
    enum status status = command_model(&config, &error);
    if (status == STATUS_OK)
        status = execute(&bench, &error);
    bench_close(&bench);
    config_close(&config);
    return status == STATUS_OK ? COMMAND_OK : command_fail(&error);
}
