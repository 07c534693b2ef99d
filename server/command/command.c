#include "server/command/command.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "memory/base/log.h"
#include "memory/device_cuda.h"
#include "server/command/builtin.h"

static const struct {
    const char *name;
    int (*run)(int argc, const char *const *argv);
    const char *help;
} commands[] = {
    {"serve", cmd_serve, "serve a model over gRPC"},
    {"run", cmd_run, "answer a prompt without a server"},
    {"inspect", cmd_inspect, "print a model's architecture, pages and bytes"},
    {"tokenize", cmd_tokenize, "print the token ids of a text"},
    {"health", cmd_health, "ask a running server whether it serves"},
    {"trace", cmd_trace, "measure, forecast or recover a recorded routing trace"},
    {"replay", cmd_replay, "run a trace through the paging policy on a virtual clock"},
    {"plan", cmd_plan, "how much memory for how many tokens per second"},
    {"bench", cmd_bench, "measure a model's tokens per second, or the machine's own bounds"},
    {"convert", cmd_convert, "write a model in another number format"},
    {"repack", cmd_repack, "write a model so that its experts are read fastest"},
};

static void print_usage(FILE *out)
{
    fprintf(out, "moering " MOERING_VERSION ": serves Mixture-of-Experts models larger than "
                 "memory\n\nUsage: moering COMMAND [MODEL] [flags]\n\n");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(out, "  %-10s print the version\n\nmoering COMMAND --help lists its flags.\n"
                 "Without MODEL the built-in one is used.\n", "version");
}

static bool asks_for_help(const char *word)
{
    return !strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help");
}

static int no_more_words(const char *name, const char *word)
{
    fprintf(stderr, "moering: unexpected word '%s' after '%s'; see moering --help\n", word, name);
    return COMMAND_USAGE;
}

static int dispatch(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    bool version = !strcmp(name, "version") || !strcmp(name, "--version");
    if (asks_for_help(name) || (version && argc == 3 && asks_for_help(argv[2]))) {
        if (!version && argc > 2)
            return no_more_words(name, argv[2]);
        print_usage(stdout);
        return COMMAND_OK;
    }
    if (version) {
        if (argc > 2)
            return no_more_words(name, argv[2]);
        printf("moering " MOERING_VERSION "\n");
        return COMMAND_OK;
    }
    const char *names[sizeof commands / sizeof commands[0] + 2];
    size_t n = 0;
    for (; n < sizeof commands / sizeof commands[0]; n++) {
        if (strcmp(name, commands[n].name) == 0)
            return commands[n].run(argc - 2, (const char *const *)argv + 2);
        names[n] = commands[n].name;
    }
    names[n++] = "version";
    names[n] = NULL;
    if (!*name)
        print_usage(stderr);
    else
        fprintf(stderr, "moering: unknown command '%s'; did you mean '%s'?\n", name,
                config_nearest(name, names));
    return COMMAND_USAGE;
}

int command_main(int argc, char **argv)
{
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is a failed write, not the end */
    int code = dispatch(argc, argv);
    errno = 0;
    bool lost = fflush(stdout) != 0;
    if (code == COMMAND_OK && (lost || ferror(stdout))) {
        fprintf(stderr, "moering: standard output: %s\n",
                errno ? strerror(errno) : "some of it could not be written");
        code = COMMAND_FAILED;
    }
    return code;
}

static void warn_of_stray_variables(void)
{
    char sentence[512];
    for (char *const *e = environ; e && *e; e++)
        if (config_variable_stray(*e, sentence, sizeof sentence))
            log_warn("%s", sentence);
}

/* Flags that would do nothing on this machine or beside the others. */
static enum status check_effect(const struct config *config, struct error *error)
{
    struct error why = {0};
    if (config->prefetch == PREFETCH_OFF && config_source_of(config, "predictor") == CONFIG_FLAG)
        return error_set(error, STATUS_INVALID,
                         "--predictor: without effect with --prefetch off; leave one out");
    if (config->placement != PLACEMENT_AUTO && device_cuda_count(&why) == 0)
        return error_set(error, STATUS_INVALID,
                         "--placement: without effect where there is no GPU; leave it out (%s)",
                         why.text);
    return STATUS_OK;
}

int command_config(struct config *config, enum config_command command, int argc,
                   const char *const *argv)
{
    static const enum log_level levels[] = {LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG};
    struct error error = {0};
    if (config_parse(config, command, argc, argv, environ, &error) != STATUS_OK) {
        fprintf(stderr, "moering: %s\n", error.text);
        return COMMAND_USAGE;
    }
    if (config->help) {
        config_help(command, stdout);
        config_close(config);
        return COMMAND_OK;
    }
    if ((command & (CONFIG_SERVE | CONFIG_RUN | CONFIG_BENCH)) &&
        check_effect(config, &error) != STATUS_OK) {
        fprintf(stderr, "moering: %s\n", error.text);
        config_close(config);
        return COMMAND_USAGE;
    }
    log_set_level(levels[config->log_level]);
    log_set_jsonl(config->log_jsonl);
    if (config->log_file && log_open(config->log_file, &error) != STATUS_OK) {
        fprintf(stderr, "moering: --log-file: %s\n", error.text);
        config_close(config);
        return COMMAND_FAILED;
    }
    if (command & (CONFIG_SERVE | CONFIG_RUN | CONFIG_INSPECT | CONFIG_BENCH))
        warn_of_stray_variables();
    return COMMAND_GO_ON;
}

enum status command_model(struct config *config, struct error *error)
{
    char path[PATH_MAX];
    if (config->model)
        return STATUS_OK;
    enum status status = builtin_model(path, sizeof path, error);
    if (status != STATUS_OK)
        return status;
    config->model = config_keep(config, path);
    return config->model ? STATUS_OK : error_set(error, STATUS_NO_MEMORY, "out of memory");
}

enum dtype command_quantize(const struct config *c)
{
    static const enum dtype dtypes[] = {DTYPE_COUNT, DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_K};
    return dtypes[c->quantize];
}

enum cpu_isa command_isa(const struct config *c)
{
    static const enum cpu_isa isas[] = {CPU_BEST, CPU_SCALAR, CPU_AVX2, CPU_AVX512, CPU_NEON};
    return isas[c->isa];
}

void command_engine_config(const struct config *c, struct engine_config *out)
{
    static const enum io_kind ios[] = {IO_AUTO, IO_URING, IO_THREAD, IO_SYNC};
    static const enum dtype kv_dtypes[] = {ENGINE_KV_DTYPE_AUTO, DTYPE_F32, DTYPE_F16};
    engine_config_init(out);
    out->model = c->model;
    out->device_experts = c->device_experts;
    out->host_experts = c->host_experts;
    out->device = (enum engine_device)c->device.kind;
    out->device_ordinal = c->device.ordinal;
    out->placement = (enum placement_mode)c->placement;
    out->deterministic = c->deterministic;
    out->threads = c->threads;
    out->isa = command_isa(c);
    out->max_model_len = c->max_model_len;
    out->max_num_seqs = c->max_num_seqs;
    out->max_batch_tokens = c->max_num_batched_tokens;
    out->kv_bytes = c->kv_cache_bytes;
    out->kv_dtype = kv_dtypes[c->kv_cache_dtype];
    out->prefix_caching = c->enable_prefix_caching;
    out->evict = (enum evict_kind)c->policy;
    out->foresight = (enum foresight)c->predictor;
    out->prefetch = (enum prefetch_mode)c->prefetch;
    out->stream_layers = c->stream_layers;
    out->io = ios[c->io];
    out->io_threads = c->io_threads;
    out->io_queue_depth = c->io_depth;
    out->direct = (enum direct_reads)c->direct_io;
    out->quantize = command_quantize(c);
    out->exact_activations = c->activations == 2;
    out->load_lstm = c->load_lstm;
    out->trace_out = c->trace_out;
}

int command_fail(const struct error *error)
{
    fprintf(stderr, "moering: %s\n", error->text);
    return COMMAND_FAILED;
}
