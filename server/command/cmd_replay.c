/* `moering replay`: a recorded trace through the paging policy, on a virtual clock. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "engine/replay/foresight_error.h"
#include "engine/replay/sweep.h"
#include "memory/base/bytes.h"
#include "server/command/command.h"
#include "server/command/replay_setup.h"

/* What the replay was told, for both ways of printing. */
struct view {
    const struct config *config;
    const struct replay_setup *setup;
    const struct replay_result *result;
    const struct foresight_errors *errors; /* NULL without prefetch */
};

static const char *shuffle_name(uint32_t shuffle)
{
    static const char *const names[] = {"none", "tokens", "layers"};
    return names[shuffle];
}

static const char *prefetch_mode_name(enum prefetch_mode mode)
{
    static const char *const names[] = {"off", "auto", "on"};
    return names[mode];
}

/* ---- for people ---- */

static void print_prefetch(const struct view *v)
{
    const struct replay_result *x = v->result;
    char bytes[16];
    printf("prefetch        %" PRIu64 " pages, %" PRIu64 " used (%" PRIu64 " on their way), "
           "%" PRIu64 " wasted (%s), %" PRIu64 " cancelled in time\n", x->prefetch_pages,
           x->prefetch_used, x->joined_pages, x->prefetch_wasted,
           bytes_format(x->prefetch_wasted_bytes, bytes, sizeof bytes), x->prefetch_cancelled);
    printf("                by %s, at the end %s\n", foresight_name(x->counters.foresight),
           x->counters.prefetch.active ? "on" : "turned off by its own measure");
    for (uint32_t d = 1; d <= POLICY_AHEAD_MAX; d++) {
        const struct replay_distance *p = &x->distance[d];
        if (p->picks)
            printf("  %u ahead       %" PRIu64 " picks: %.1f %% wanted, %.1f %% foretold, log loss "
                   "%.3f\n", d, p->picks, 100.0 * (double)p->used / (double)p->picks,
                   100 * p->probability_sum / (double)p->picks,
                   p->log_loss_sum / (double)p->picks);
    }
    printf("foretold        experts of a run among as many likeliest ones; log loss per expert\n");
    for (int k = 0; k < FORESIGHT_KINDS; k++)
        for (uint32_t d = 1; d <= POLICY_AHEAD_MAX; d++) {
            const struct foresight_error *e = &v->errors->of[k][d];
            if (e->runs)
                printf("  %-10s %u  %.1f %%, %.4f\n", foresight_name((enum foresight)k), d,
                       100 * e->recall, e->log_loss);
        }
}

static void print_text(const struct view *v)
{
    const struct replay_result *x = v->result;
    const struct schedule *s = v->setup->schedule;
    const struct replay_config *c = &v->setup->config;
    char a[16], b[16], share[16] = "-"; /* of no hits there is no share */
    if (x->belady_hits)
        snprintf(share, sizeof share, "%.1f %%", 100 * replay_belady_share(x));
    printf("trace           %s: %u x %u experts, %" PRIu64 " tokens in %" PRIu64 " steps\n",
           v->config->trace, s->layers, s->experts, x->tokens, x->steps);
    printf("ring            %u of %u pages, %s of %s each\n", x->slots, s->layers * s->experts,
           bytes_format(x->slots * c->page_bytes, a, sizeof a),
           bytes_format(c->page_bytes, b, sizeof b));
    printf("policy          %s, prefetch %s\n", evict_kind_name(c->evict),
           prefetch_mode_name(c->prefetch));
    printf("requests        %" PRIu64 ", hits %" PRIu64 "\n", x->requests, x->hits);
    printf("hit rate        %.2f %%; Belady's %.2f %%, of which it is %s; plain LRU's %.2f %%\n",
           100 * replay_hit_rate(x), 100 * replay_belady_hit_rate(x), share,
           100 * replay_lru_hit_rate(x));
    printf("demand          %" PRIu64 " pages, %s\n", x->demand_pages,
           bytes_format(x->demand_bytes, a, sizeof a));
    if (c->prefetch != PREFETCH_OFF)
        print_prefetch(v);
    printf("bytes           %s in all\n", bytes_format(x->bytes, a, sizeof a));
    printf("stall           %.1f us per token; Belady's without prefetch %.1f us\n",
           replay_stall_us_per_token(x), replay_belady_stall_us_per_token(x));
    printf("                one page takes %.1f us, one layer computes %.1f us\n", x->page_us,
           x->layer_us);
    printf("speed           %.2f tokens/s; %.2f if it never stalled\n", replay_tokens_per_s(x),
           replay_resident_tokens_per_s(x));
    printf("link            busy %.1f %%\n", 100 * replay_link_utilisation(x));
    printf("decisions       %.2f M per second of one core\n", replay_decisions_per_s(x) / 1e6);
}

/* ---- for programs ---- */

static json_t *count(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static json_t *prediction_json(const struct replay_result *x)
{
    json_t *list = json_array();
    for (uint32_t d = 1; d <= POLICY_AHEAD_MAX; d++) {
        const struct replay_distance *p = &x->distance[d];
        double picks = (double)p->picks;
        if (p->picks)
            json_array_append_new(
                list, json_pack("{s:i, s:o, s:o, s:f, s:f, s:f}", "distance", (int)d, "picks",
                                count(p->picks), "used", count(p->used), "precision",
                                (double)p->used / picks, "mean_probability",
                                p->probability_sum / picks, "log_loss", p->log_loss_sum / picks));
    }
    return list;
}

/* Log loss per expert, one layer ahead, of each predictor that was measured. */
static json_t *loss_json(const struct policy_counters *counters)
{
    json_t *losses = json_object();
    for (int k = 0; k < FORESIGHT_KINDS; k++)
        if (counters->foresight_loss[k] > 0)
            json_object_set_new(losses, foresight_name((enum foresight)k),
                                json_real(counters->foresight_loss[k]));
    return losses;
}

/* {"transition": [{"distance": 1, ...}, ...], ...} of those that said something. */
static json_t *errors_json(const struct foresight_errors *errors)
{
    json_t *out = json_object();
    for (int k = 0; errors && k < FORESIGHT_KINDS; k++) {
        json_t *list = json_array();
        for (uint32_t d = 1; d <= POLICY_AHEAD_MAX; d++) {
            const struct foresight_error *e = &errors->of[k][d];
            if (e->runs)
                json_array_append_new(
                    list, json_pack("{s:i, s:o, s:f, s:f}", "distance", (int)d, "runs",
                                    count(e->runs), "recall", e->recall, "log_loss", e->log_loss));
        }
        if (json_array_size(list))
            json_object_set(out, foresight_name((enum foresight)k), list);
        json_decref(list);
    }
    return out;
}

static json_t *prefetch_json(const struct view *v)
{
    const struct replay_result *x = v->result;
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:f, s:s, s:o, s:o, s:o}", "mode",
                     prefetch_mode_name(v->setup->config.prefetch), "issued",
                     count(x->prefetch_pages), "used", count(x->prefetch_used), "joined",
                     count(x->joined_pages), "wasted", count(x->prefetch_wasted), "cancelled",
                     count(x->prefetch_cancelled),
                     "wasted_bytes", count(x->prefetch_wasted_bytes), "active",
                     (int)x->counters.prefetch.active, "profit", x->counters.prefetch.profit,
                     "predictor", foresight_name(x->counters.foresight), "predictor_log_loss",
                     loss_json(&x->counters), "distance", prediction_json(x), "prediction_error",
                     errors_json(v->errors));
}

static json_t *told_json(const struct view *v)
{
    const struct schedule *s = v->setup->schedule;
    const struct replay_config *c = &v->setup->config;
    return json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:o, s:o, s:f, s:f}", "trace",
        v->config->trace, "model", v->setup->trace->model, "layers", count(s->layers), "experts",
        count(s->experts), "pages", count((uint64_t)s->layers * s->experts), "policy",
        evict_kind_name(c->evict), "predictor", foresight_name(c->foresight), "batch",
        v->config->batch, "shuffle", shuffle_name(v->config->shuffle), "seed", count(c->seed),
        "page_bytes", count(c->page_bytes), "link_gbps", c->link_gbps, "step_us", c->step_us);
}

static json_t *result_json(const struct replay_result *x)
{
    return json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:f, s:f, s:f, s:f, s:o, s:o, s:o, s:o, s:o, s:f, s:f, s:f,"
        " s:f, s:f, s:f, s:f, s:o, s:f}",
        "device_pages", count(x->slots), "tokens", count(x->tokens), "steps", count(x->steps),
        "requests", count(x->requests), "hits", count(x->hits), "misses",
        count(x->requests - x->hits), "hit_rate", replay_hit_rate(x), "belady_hit_rate",
        replay_belady_hit_rate(x), "belady_share", replay_belady_share(x), "plain_lru_hit_rate",
        replay_lru_hit_rate(x), "compulsory_misses", count(x->compulsory_misses), "demand_pages",
        count(x->demand_pages), "demand_bytes", count(x->demand_bytes), "prefetch_bytes",
        count(x->prefetch_bytes), "bytes", count(x->bytes), "page_us", x->page_us, "layer_us",
        x->layer_us, "stall_us_per_token", replay_stall_us_per_token(x),
        "belady_stall_us_per_token", replay_belady_stall_us_per_token(x), "link_utilisation",
        replay_link_utilisation(x), "tokens_per_s", replay_tokens_per_s(x),
        "resident_tokens_per_s", replay_resident_tokens_per_s(x), "decisions", count(x->requests),
        "decisions_per_s", replay_decisions_per_s(x));
}

static enum status print_json(const struct view *v, struct error *error)
{
    json_t *out = told_json(v), *result = result_json(v->result), *prefetch = prefetch_json(v);
    enum status status = STATUS_OK;
    if (!out || !result || json_object_update(out, result) != 0 ||
        json_object_set(out, "prefetch", prefetch) != 0)
        status = error_set(error, STATUS_INVALID, "the result cannot be written as JSON: no "
                           "memory, or the trace's name is not UTF-8");
    else {
        json_dumpf(out, stdout, JSON_INDENT(2));
        printf("\n");
    }
    json_decref(prefetch);
    json_decref(result);
    json_decref(out);
    return status;
}

/* ---- the two ways to run ---- */

static enum status replay_once(const struct config *c, const struct replay_setup *setup,
                               struct error *error)
{
    struct replay_config config = setup->config;
    struct replay_result result;
    struct foresight_errors errors;
    bool prefetch = config.prefetch != PREFETCH_OFF;
    const struct view view = {c, setup, &result, prefetch ? &errors : NULL};
    uint64_t pages = (uint64_t)setup->schedule->layers * setup->schedule->experts;
    config.belady = true;
    enum status status = replay_setup_slots(&c->device_pages, "--device-pages", pages,
                                            config.page_bytes, &config.slots, error);
    if (status == STATUS_OK)
        status = replay_run(setup->schedule, &config, &result, error);
    if (status == STATUS_OK && prefetch)
        status = foresight_error_measure(setup->schedule, FORESIGHT_ERROR_RUNS, &errors, error);
    if (status == STATUS_OK && c->json)
        status = print_json(&view, error);
    else if (status == STATUS_OK)
        print_text(&view);
    return status;
}

/* `path` NULL: to standard output. */
static enum status write_sweep(const struct sweep *sweep, const char *flag, const char *path,
                               void (*write)(const struct sweep *sweep, FILE *out),
                               struct error *error)
{
    FILE *out = path ? fopen(path, "w") : stdout;
    if (!out)
        return error_set(error, STATUS_IO, "%s %s: %s", flag, path, strerror(errno));
    write(sweep, out);
    if (!path)
        return STATUS_OK; /* what was lost of it is told at the end */
    bool lost = ferror(out) != 0;
    lost |= fclose(out) != 0;
    return lost ? error_set(error, STATUS_IO, "%s %s: %s", flag, path, strerror(errno)) : STATUS_OK;
}

static enum status replay_sweep(const struct config *c, const struct replay_setup *setup,
                                struct error *error)
{
    static const enum evict_kind all[] = {EVICT_LEARNED, EVICT_ROUND, EVICT_LRU, EVICT_LFU,
                                          EVICT_FORECAST, EVICT_RANDOM};
    const enum evict_kind one = setup->config.evict;
    bool given = config_source_of(c, "policy") != CONFIG_DEFAULT;
    struct sweep sweep;
    const char *model = setup->trace->model;
    enum status status =
        sweep_run(&sweep, setup->schedule, *model ? model : c->trace, given ? &one : all,
                  given ? 1 : sizeof all / sizeof all[0], &setup->config, error);
    if (status == STATUS_OK)
        status = write_sweep(&sweep, "--csv", c->csv, sweep_csv, error);
    if (status == STATUS_OK && c->svg)
        status = write_sweep(&sweep, "--svg", c->svg, sweep_svg, error);
    return status;
}

/* What only flags together can tell. */
static enum status check_flags(const struct config *c, struct error *error)
{
    if (!c->trace)
        return error_set(error, STATUS_INVALID,
                         "moering replay needs the file of a trace; see moering replay --help");
    if (!c->sweep && (c->csv || c->svg))
        return error_set(error, STATUS_INVALID, "--%s: only with --sweep", c->csv ? "csv" : "svg");
    if (c->sweep && c->json)
        return error_set(error, STATUS_INVALID, "--json: --sweep writes CSV");
    if (c->sweep && config_source_of(c, "device-pages") == CONFIG_FLAG)
        return error_set(error, STATUS_INVALID, "--device-pages: --sweep has sizes of its own");
    return STATUS_OK;
}

int cmd_replay(int argc, const char *const *argv)
{
    struct config config;
    struct error error = {0};
    struct replay_setup setup = {0};
    int code = command_config(&config, CONFIG_REPLAY, argc, argv);
    if (code != COMMAND_GO_ON)
        return code;
    if (check_flags(&config, &error) != STATUS_OK) {
        command_fail(&error);
        config_close(&config);
        return COMMAND_USAGE;
    }
    enum status status = replay_setup_open(&setup, &config, config.trace, &error);
    if (status == STATUS_OK)
        status = config.sweep ? replay_sweep(&config, &setup, &error)
                              : replay_once(&config, &setup, &error);
    code = status == STATUS_OK ? COMMAND_OK : command_fail(&error);
    replay_setup_close(&setup);
    config_close(&config);
    return code;
}
