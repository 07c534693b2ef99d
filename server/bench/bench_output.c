/* Columns about paging appear only where experts are paged: nobody reads past zeros. */
#include "server/bench/bench_output.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "memory/base/bytes.h"

enum status bench_result_finish(struct bench_result *r, const struct engine_info *info,
                                const struct bench_rates *rates, bool exact, struct error *error)
{
    double *spare = malloc(r->count * sizeof *spare);
    if (!spare)
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    uint64_t tokens = (uint64_t)(r->test.prompt + r->test.gen) * r->test.sequences;
    bench_speed_of(r->samples_ns, r->count, (double)tokens, spare, &r->speed);
    free(spare);
    bench_work_of(info, &r->totals, exact, &r->work);
    if (!info->device) /* of a GPU nothing is measured here */
        r->bound = bench_bound_of(&r->work, rates);
    r->bound.ns /= r->count;
    return STATUS_OK;
}

const char *bench_cpu_name(char *out, size_t out_bytes)
{
    char line[512];
    FILE *in = fopen("/proc/cpuinfo", "r");
    *out = '\0';
    while (in && fgets(line, sizeof line, in)) {
        char *colon = strncmp(line, "model name", 10) == 0 ? strchr(line, ':') : NULL;
        if (colon && colon[1] == ' ') {
            snprintf(out, out_bytes, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
            break;
        }
    }
    if (in)
        fclose(in);
    return out;
}

static void model_type(const struct engine_info *info, char *out, size_t out_bytes)
{
    snprintf(out, out_bytes, "%s %.1fB.%.1fB %s", info->architecture, info->parameters / 1e9,
             info->active_parameters / 1e9, info->weight_dtype);
}

static uint64_t model_bytes(const struct engine_info *info)
{
    return info->dense_bytes + info->page_bytes_total;
}

static double tokens_of(const struct bench_result *r)
{
    return (double)(r->test.prompt + r->test.gen) * r->test.sequences;
}

static double hit_rate(const struct expert_usage *usage)
{
    uint64_t asked = usage->hits + usage->misses;
    return asked ? (double)usage->hits / (double)asked : 1;
}

/* ---- for people ---- */

static bool any_paged(const struct bench_report *report)
{
    for (uint32_t i = 0; i < report->count; i++)
        if (report->results[i].totals.usage.misses)
            return true;
    return false;
}

static void print_paging(const struct bench_result *r, FILE *out)
{
    const struct bench_totals *t = &r->totals;
    double tokens = tokens_of(r) * r->count;
    char bytes[16], belady[32] = "-"; /* until a window of requests has been judged */
    if (t->regret.windows)
        snprintf(belady, sizeof belady, "%.1f %%", 100 * t->regret.oracle_hit_rate);
    fprintf(out, " %.1f %% | %s | %s | %.2f ms |", 100 * hit_rate(&t->usage), belady,
            bytes_format((uint64_t)((double)t->storage_bytes / tokens), bytes, sizeof bytes),
            (double)t->usage.stall_ns / 1e6 / tokens);
}

static void print_row(const struct bench_report *report, const struct bench_result *r, bool paged,
                      FILE *out)
{
    const struct engine_info *info = report->info;
    char type[96], size[16], name[64], speed[48], bound[48] = "-", share[16] = "-";
    model_type(info, type, sizeof type);
    snprintf(speed, sizeof speed, "%.2f ± %.2f", r->speed.median_ts, r->speed.stddev_ts);
    if (r->bound.ns > 0) {
        snprintf(bound, sizeof bound, "%.2f (%s)", tokens_of(r) * 1e9 / r->bound.ns, r->bound.by);
        snprintf(share, sizeof share, "%.1f %%", 100 * r->bound.ns / r->speed.median_ns);
    }
    fprintf(out, "| %s | %s | %.2f B | %s %s | %u | %s | %s | %s | %s |", type,
            bytes_format(model_bytes(info), size, sizeof size), info->parameters / 1e9,
            info->device ? info->device : info->backend, info->isa, info->threads,
            bench_test_name(&r->test, name, sizeof name), speed, bound, share);
    if (paged)
        print_paging(r, out);
    fprintf(out, "\n");
}

static void print_rates(const struct bench_report *report, FILE *out)
{
    const struct bench_rates *rates = &report->rates;
    const struct engine_info *info = report->info;
    fprintf(out, "\nt/s: median of the repetitions and their deviation\n");
    if (!info->device)
        fprintf(out, "bounds: memory %.2f GB/s, int8 %.0f Gop/s (%s), f32 %.0f Gop/s (%s)",
                rates->memory / 1e9, rates->int8 / 1e9, rates->int8_instructions,
                rates->f32 / 1e9, rates->f32_instructions);
    if (rates->storage > 0)
        fprintf(out, ", storage %.2f GB/s", rates->storage / 1e9);
    if (!info->device || rates->storage > 0)
        fprintf(out, "\n");
    if (info->device_slots < info->pages)
        fprintf(out, "experts: %u slots for %u pages, read by %s\n", info->device_slots,
                info->pages, info->io);
    if (report->route_trace)
        fprintf(out,
                "routing: %s, %u layers of %u experts (top %u) folded onto %u of %u (top %u)\n",
                report->route_trace, report->trace_layers, report->trace_experts,
                report->trace_top_k, info->layers, info->experts, info->top_k);
}

void bench_print_table(const struct bench_report *report, FILE *out)
{
    bool paged = any_paged(report);
    fprintf(out, "| model | size | params | backend | threads | test | t/s | bound | share |%s\n",
            paged ? " hits | Belady | read/t | stall/t |" : "");
    fprintf(out, "| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |%s\n",
            paged ? " ---: | ---: | ---: | ---: |" : "");
    for (uint32_t i = 0; i < report->count; i++)
        print_row(report, &report->results[i], paged, out);
    print_rates(report, out);
}

/* ---- for programs ---- */

/* A number that may not be known. */
static json_t *known(bool is, double value)
{
    return is ? json_real(value) : json_null();
}

static json_t *samples(const struct bench_result *r, bool as_speed)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < r->count; i++)
        json_array_append_new(list, as_speed ? json_real(tokens_of(r) * 1e9 /
                                                         (double)r->samples_ns[i])
                                             : json_integer((json_int_t)r->samples_ns[i]));
    return list;
}

static void add_model(json_t *o, const struct engine_info *info)
{
    char text[256];
    json_object_set_new(o, "version", json_string(MOERING_VERSION));
    json_object_set_new(o, "cpu_info", json_string(bench_cpu_name(text, sizeof text)));
    json_object_set_new(o, "gpu_info", json_string(info->device ? info->device : ""));
    json_object_set_new(o, "backends", json_string(info->backend));
    json_object_set_new(o, "isa", json_string(info->isa));
    json_object_set_new(o, "model_filename", json_string(info->model_path));
    model_type(info, text, sizeof text);
    json_object_set_new(o, "model_type", json_string(text));
    json_object_set_new(o, "model_size", json_integer((json_int_t)model_bytes(info)));
    json_object_set_new(o, "model_n_params", json_integer((json_int_t)info->parameters));
    json_object_set_new(o, "model_n_params_active",
                        json_integer((json_int_t)info->active_parameters));
    json_object_set_new(o, "n_batch", json_integer(info->max_batch_tokens));
    json_object_set_new(o, "n_threads", json_integer(info->threads));
    json_object_set_new(o, "io", json_string(info->io));
    json_object_set_new(o, "n_slots", json_integer(info->device_slots));
    json_object_set_new(o, "n_host_slots", json_integer(info->host_slots));
    json_object_set_new(o, "n_pages", json_integer(info->pages));
}

static void add_speed(json_t *o, const struct bench_result *r)
{
    char text[32];
    time_t begun = (time_t)r->begun_s;
    struct tm utc;
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&begun, &utc));
    json_object_set_new(o, "n_prompt", json_integer(r->test.prompt));
    json_object_set_new(o, "n_gen", json_integer(r->test.gen));
    json_object_set_new(o, "n_depth", json_integer(r->test.depth));
    json_object_set_new(o, "n_sequences", json_integer(r->test.sequences));
    json_object_set_new(o, "test_time", json_string(text));
    json_object_set_new(o, "avg_ns", json_integer((json_int_t)r->speed.avg_ns));
    json_object_set_new(o, "stddev_ns", json_integer((json_int_t)r->speed.stddev_ns));
    json_object_set_new(o, "avg_ts", json_real(r->speed.avg_ts));
    json_object_set_new(o, "stddev_ts", json_real(r->speed.stddev_ts));
    json_object_set_new(o, "median_ts", json_real(r->speed.median_ts));
    json_object_set_new(o, "min_ts", json_real(r->speed.min_ts));
    json_object_set_new(o, "max_ts", json_real(r->speed.max_ts));
    json_object_set_new(o, "samples_ns", samples(r, false));
    json_object_set_new(o, "samples_ts", samples(r, true));
}

static void add_bound(json_t *o, const struct bench_result *r, const struct bench_rates *rates)
{
    double tokens = tokens_of(r), all = tokens * r->count;
    bool is = r->bound.ns > 0;
    json_object_set_new(o, "bound_ts", known(is, is ? tokens * 1e9 / r->bound.ns : 0));
    json_object_set_new(o, "bound_by", is ? json_string(r->bound.by) : json_null());
    json_object_set_new(o, "share_of_bound", known(is, is ? r->bound.ns / r->speed.median_ns : 0));
    json_object_set_new(o, "bytes_per_token", json_real(r->work.bytes / all));
    json_object_set_new(o, "operations_per_token",
                        json_real((r->work.weight_ops + r->work.attention_ops) / all));
    json_object_set_new(o, "memory_bytes_per_s", known(rates->memory > 0, rates->memory));
    json_object_set_new(o, "int8_ops_per_s", known(rates->int8 > 0, rates->int8));
    json_object_set_new(o, "f32_ops_per_s", known(rates->f32 > 0, rates->f32));
    json_object_set_new(o, "storage_bytes_per_s", known(rates->storage > 0, rates->storage));
}

static void add_paging(json_t *o, const struct bench_result *r)
{
    const struct bench_totals *t = &r->totals;
    const struct regret_figures *g = &t->regret;
    double tokens = tokens_of(r) * r->count;
    json_object_set_new(o, "hits", json_integer((json_int_t)t->usage.hits));
    json_object_set_new(o, "misses", json_integer((json_int_t)t->usage.misses));
    json_object_set_new(o, "hit_rate", json_real(hit_rate(&t->usage)));
    json_object_set_new(o, "belady_hit_rate", known(g->windows, g->oracle_hit_rate));
    json_object_set_new(o, "belady_window_hit_rate", known(g->windows, g->hit_rate));
    json_object_set_new(o, "belady_window", json_integer(g->requests));
    json_object_set_new(o, "miss_bytes", json_integer((json_int_t)t->usage.bytes));
    json_object_set_new(o, "storage_bytes", json_integer((json_int_t)t->storage_bytes));
    json_object_set_new(o, "storage_bytes_per_token", json_real((double)t->storage_bytes / tokens));
    json_object_set_new(o, "stall_ns_per_token", json_real((double)t->usage.stall_ns / tokens));
}

static void add_route(json_t *o, const struct bench_report *report)
{
    if (!report->route_trace) {
        json_object_set_new(o, "route_trace", json_null());
        return;
    }
    json_object_set_new(o, "route_trace", json_string(report->route_trace));
    json_object_set_new(o, "route_trace_layers", json_integer(report->trace_layers));
    json_object_set_new(o, "route_trace_experts", json_integer(report->trace_experts));
    json_object_set_new(o, "route_trace_top_k", json_integer(report->trace_top_k));
}

enum status bench_print_json(const struct bench_report *report, FILE *out, struct error *error)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < report->count; i++) {
        json_t *o = json_object();
        add_model(o, report->info);
        add_speed(o, &report->results[i]);
        add_bound(o, &report->results[i], &report->rates);
        add_paging(o, &report->results[i]);
        add_route(o, report);
        json_array_append_new(list, o);
    }
    if (!list || json_array_size(list) != report->count) {
        json_decref(list);
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    bool written = json_dumpf(list, out, JSON_INDENT(2)) == 0 && fputc('\n', out) != EOF;
    json_decref(list);
    return written ? STATUS_OK : error_set(error, STATUS_IO, "the JSON could not be written");
}
