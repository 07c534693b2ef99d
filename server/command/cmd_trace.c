/* `moering trace`: what a recorded trace says, how well its loads can be forecast, and how one is
 * saved that a killed run left behind. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/predict/lstm_file.h"
#include "engine/replay/heat_map_png.h"
#include "engine/replay/load_report.h"
#include "engine/replay/trace.h"
#include "engine/replay/trace_info.h"
#include "engine/replay/trace_loads.h"
#include "engine/replay/trace_spool.h"
#include "server/command/command.h"

/* What a running engine asks for: 1, 10 and 100 ticks ahead, one further for layers that have
 * ticked when others have not (predict/lstm.h). */
#define ENGINE_HORIZONS "1,2,10,11,100,101"

static enum status print_info(struct config *c, struct error *error)
{
    struct trace *trace = NULL;
    struct trace_info *info = NULL;
    enum status status = trace_open(&trace, c->trace, error);
    if (status == STATUS_OK)
        status = trace_info_open(&info, trace, error);
    if (status == STATUS_OK && c->png)
        status = heat_map_png_write(c->png, info->counts, info->layers, info->experts, error);
    if (status == STATUS_OK && c->json)
        status = trace_info_print_json(info, trace, stdout, error);
    else if (status == STATUS_OK)
        trace_info_print(info, trace, stdout);
    trace_info_close(info);
    trace_close(trace);
    return status;
}

static enum status parse_horizons(const char *text, struct load_report_config *out,
                                  struct error *error)
{
    const char *p = text;
    for (;;) {
        char *end;
        errno = 0;
        unsigned long n = strtoul(p, &end, 10);
        bool ascends = !out->horizon_count || n > out->horizons[out->horizon_count - 1];
        if (end == p || *p == '-' || errno || n == 0 || n > UINT32_MAX || !ascends ||
            (*end && *end != ','))
            return error_set(error, STATUS_INVALID,
                             "--horizons: '%.40s' is no ascending list such as 1,10,100", text);
        if (out->horizon_count == LOAD_REPORT_HORIZONS_MAX)
            return error_set(error, STATUS_INVALID, "--horizons: more than %u numbers",
                             LOAD_REPORT_HORIZONS_MAX);
        out->horizons[out->horizon_count++] = (uint32_t)n;
        if (!*end)
            return STATUS_OK;
        p = end + 1;
    }
}

/* A trace says so in its first bytes; anything else is read as a log of loads. */
static bool is_trace(const char *path)
{
    char head[256];
    FILE *file = fopen(path, "re");
    size_t bytes = file ? fread(head, 1, sizeof head, file) : 0;
    if (file)
        fclose(file);
    return memmem(head, bytes, "\"moering-trace", 14) != NULL;
}

/* A trace says how many experts a token chose; of a log of loads only the caller knows. */
static enum status take_experts_per_token(const struct config *c, const struct trace *trace,
                                          const struct load_log *log, uint32_t *out,
                                          struct error *error)
{
    uint32_t given = c->experts_per_token;
    if (given && trace && given != trace->top_k)
        return error_set(error, STATUS_INVALID, "--experts-per-token: %u, but %s says %u", given,
                         c->trace, trace->top_k);
    if (given > log->experts)
        return error_set(error, STATUS_INVALID,
                         "--experts-per-token: %u, but layers of %s have %u experts", given,
                         c->trace, log->experts);
    *out = trace ? trace->top_k : given;
    return STATUS_OK;
}

/* Asked before a minute of training, not after it: can a file be put there? */
static enum status check_lstm_out(const char *path, struct error *error)
{
    const char *slash = strrchr(path, '/');
    size_t bytes = slash ? (size_t)(slash - path) + 1 : 0;
    char folder[bytes + 2];
    snprintf(folder, sizeof folder, "%.*s.", (int)bytes, path);
    if (access(folder, W_OK | X_OK) != 0)
        return error_set(error, STATUS_IO, "--lstm-out %s: %s", path, strerror(errno));
    return STATUS_OK;
}

static enum status write_lstm(const struct config *c, const struct load_report *report,
                              struct error *error)
{
    if (!report->lstm_trained)
        return error_set(error, STATUS_INVALID,
                         "--lstm-out: %s: nothing was trained, %u ticks are too few or the model "
                         "too wide", c->trace, report->lstm_ticks);
    enum status status = lstm_file_write(report->lstm_net, c->lstm_out, error);
    if (status != STATUS_OK)
        error_prefix(error, "--lstm-out");
    return status;
}

static enum status print_forecasts(struct config *c, struct error *error)
{
    struct load_report_config config = {0};
    struct trace *trace = NULL;
    struct load_log *log = NULL;
    struct load_report *report = NULL;
    bool for_engine = c->lstm_out && config_source_of(c, "horizons") == CONFIG_DEFAULT;
    enum status status = parse_horizons(for_engine ? ENGINE_HORIZONS : c->horizons, &config, error);
    if (status == STATUS_OK && c->lstm_out)
        status = check_lstm_out(c->lstm_out, error);
    if (status == STATUS_OK && is_trace(c->trace)) {
        status = trace_open(&trace, c->trace, error);
        if (status == STATUS_OK)
            status = trace_loads_fold(&log, trace, error);
    } else if (status == STATUS_OK) {
        status = load_log_read(&log, c->trace, error);
    }
    if (status == STATUS_OK)
        status = take_experts_per_token(c, trace, log, &config.top_k, error);
    if (status == STATUS_OK) {
        status = load_report_run(log, &config, &report, error);
        if (status != STATUS_OK)
            error_prefix(error, "%s", c->trace);
    }
    if (status == STATUS_OK && c->lstm_out)
        status = write_lstm(c, report, error);
    if (status == STATUS_OK)
        status = load_report_print(report, c->json, stdout, error);
    load_report_close(report);
    load_log_close(log);
    trace_close(trace);
    return status;
}

/* FILE.part becomes FILE, which must not be there: it may be the trace of another run. */
static enum status recover(struct config *c, struct error *error)
{
    size_t bytes = strlen(c->trace), suffix = strlen(TRACE_SPOOL_SUFFIX);
    uint64_t tokens = 0;
    if (bytes <= suffix || strcmp(c->trace + bytes - suffix, TRACE_SPOOL_SUFFIX) != 0)
        return error_set(error, STATUS_INVALID,
                         "%s: recordings that were not finished end in " TRACE_SPOOL_SUFFIX,
                         c->trace);
    char path[bytes + 1];
    snprintf(path, sizeof path, "%.*s", (int)(bytes - suffix), c->trace);
    if (access(path, F_OK) == 0)
        return error_set(error, STATUS_INVALID, "%s: it is there already; move it away first",
                         path);
    enum status status = trace_spool_finish(c->trace, path, &tokens, error);
    if (status == STATUS_OK)
        printf("%s: %llu tokens\n", path, (unsigned long long)tokens);
    return status;
}

int cmd_trace(int argc, const char *const *argv)
{
    static const struct {
        const char *name;
        enum config_command command;
        enum status (*run)(struct config *config, struct error *error);
    } verbs[] = {
        {"info", CONFIG_TRACE_INFO, print_info},
        {"predict", CONFIG_TRACE_PREDICT, print_forecasts},
        {"recover", CONFIG_TRACE_RECOVER, recover},
    };
    const char *word = argc > 0 ? argv[0] : "";
    size_t v = 0, count = sizeof verbs / sizeof verbs[0];
    while (v < count && strcmp(word, verbs[v].name) != 0)
        v++;
    if (v == count) {
        bool help = !strcmp(word, "--help") || !strcmp(word, "-h");
        FILE *out = help ? stdout : stderr;
        if (*word && !help)
            fprintf(out, "moering: trace: unknown word '%s'\n", word);
        fprintf(out, "Usage: moering trace info FILE\n"
                     "       moering trace predict FILE\n"
                     "       moering trace recover FILE.part\n\n"
                     "moering trace WORD --help lists the flags of each.\n");
        return help ? COMMAND_OK : COMMAND_USAGE;
    }
    struct config config;
    struct error error = {0};
    int code = command_config(&config, verbs[v].command, argc - 1, argv + 1);
    if (code != COMMAND_GO_ON)
        return code;
    if (!config.trace) {
        fprintf(stderr, "moering: moering trace %s needs a file\n", word);
        code = COMMAND_USAGE;
    } else {
        code = verbs[v].run(&config, &error) == STATUS_OK ? COMMAND_OK : command_fail(&error);
    }
    config_close(&config);
    return code;
}
