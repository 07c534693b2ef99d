#include "server/front_status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "memory/base/bytes.h"
#include "memory/base/log.h"

enum { BAR_CELLS = 30, STEP_PERCENT = 5 };

void front_status_init(struct front_status *s, uint32_t interval_s, bool terminal, uint64_t now_ns)
{
    memset(s, 0, sizeof *s);
    s->interval_s = interval_s;
    s->bar = terminal;
    s->last_ns = now_ns;
}

void front_status_progress(struct front_status *s, const char *phase, double fraction)
{
    uint32_t percent = (uint32_t)(100 * fraction);
    bool new_phase = strcmp(s->phase, phase) != 0;
    if (!*phase || (!new_phase && percent < s->percent + (s->bar ? 1 : STEP_PERCENT)))
        return;
    if (s->bar && !s->bar_open && !percent)
        return; /* the lines that come before the weights, such as the budget, do not get into it */
    snprintf(s->phase, sizeof s->phase, "%s", phase);
    s->percent = percent;
    if (!s->bar) {
        log_info("loading: %s %u %%", phase, percent);
        return;
    }
    char cells[BAR_CELLS + 1];
    uint32_t full = percent * BAR_CELLS / 100;
    for (uint32_t i = 0; i < BAR_CELLS; i++)
        cells[i] = i < full ? '#' : '-';
    cells[BAR_CELLS] = '\0';
    fprintf(stderr, "\rloading [%s] %3u %% %-24s", cells, percent, phase);
    s->bar_open = true;
}

void front_status_end_bar(struct front_status *s)
{
    if (s->bar_open)
        fputc('\n', stderr);
    s->bar_open = false;
}

void front_status_backend(char *out, size_t out_bytes, const struct engine_info *info)
{
    if (!info->threads)
        snprintf(out, out_bytes, "%s", info->backend);
    else
        snprintf(out, out_bytes, "%s%s %s, %u threads", info->backend,
                 info->device ? " and cpu" : "", info->isa, info->threads);
}

void front_status_ready(struct front_status *s, const struct engine_info *info)
{
    static const char *const places[] = {
        [PLACEMENT_AUTO] = "where it is faster",
        [PLACEMENT_DEVICE] = "on the device",
        [PLACEMENT_HOST] = "on the host where their pages lie there",
    };
    char ring[16], all[16], backend[FRONT_STATUS_BACKEND_MAX];
    front_status_end_bar(s);
    front_status_backend(backend, sizeof backend, info);
    log_info("serving %s (%s): %u layers x %u experts, top-%u; %s of %s of experts fit in %u "
             "device slots; %s", info->model_name, info->architecture, info->layers, info->experts,
             info->top_k,
             bytes_format(info->device_slot_bytes, ring, sizeof ring),
             bytes_format(info->page_bytes_total, all, sizeof all), info->device_slots,
             backend);
    if (info->device)
        log_info("device %s: %.1f GB/s from host memory, %.1f GB/s while it computes; experts run "
                 "%s%s", info->device, info->link_idle_bytes_per_s / 1e9,
                 info->link_loaded_bytes_per_s / 1e9, places[info->placement],
                 info->deterministic ? ", deterministic" : "");
}

static double percent_of(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

/* Appends to a text that is cut where there is no more room. */
__attribute__((format(printf, 3, 4))) static void append(char *out, size_t out_bytes,
                                                         const char *format, ...)
{
    size_t used = strlen(out);
    va_list args;
    va_start(args, format);
    vsnprintf(out + used, out_bytes - used, format, args);
    va_end(args);
}

void front_status_format(char *out, size_t out_bytes, double seconds,
                         const struct batcher_stats *last, const struct batcher_stats *now,
                         const struct engine_stats *last_engine,
                         const struct engine_stats *engine)
{
    const struct expert_usage *was = &last_engine->experts, *is = &engine->experts;
    const struct prefetch_figures *then = &last_engine->policy.prefetch;
    const struct prefetch_figures *prefetch = &engine->policy.prefetch;
    uint64_t hits = is->hits - was->hits, misses = is->misses - was->misses;
    uint64_t used = prefetch->used - then->used, wasted = prefetch->wasted - then->wasted;
    uint64_t generated = now->generation_tokens - last->generation_tokens;
    double stall_ms = (double)(is->stall_ns - was->stall_ns) / 1e6;
    uint64_t queries = now->prefix_queries - last->prefix_queries;
    snprintf(out, out_bytes,
             "Engine 000: Avg prompt throughput: %.1f tokens/s, Avg generation throughput: %.1f "
             "tokens/s, Running: %u reqs, Waiting: %u reqs, GPU KV cache usage: %.1f%%, Prefix "
             "cache hit rate: %.1f%%, Expert cache hit rate: %.1f%%, Expert stall: %.1f ms/tok",
             (double)(now->prompt_tokens - last->prompt_tokens) / seconds,
             (double)generated / seconds, now->now.running, now->now.waiting,
             percent_of(now->now.kv_blocks_used, now->now.kv_blocks),
             percent_of(now->prefix_hits - last->prefix_hits, queries),
             percent_of(hits, hits + misses), generated ? stall_ms / (double)generated : 0.0);
    if (used + wasted)
        append(out, out_bytes, ", Prefetch precision: %.1f%%", percent_of(used, used + wasted));
    if (engine->regret.windows)
        append(out, out_bytes, ", Oracle share: %.1f%%", 100 * engine->regret.share);
}

void front_status_line(struct front_status *s, uint64_t now_ns, const struct batcher_stats *batcher,
                       const struct engine_stats *engine)
{
    double seconds = (double)(now_ns - s->last_ns) / 1e9;
    if (!s->interval_s || seconds < s->interval_s)
        return;
    bool busy = batcher->now.running || batcher->now.waiting ||
                batcher->generation_tokens != s->last.generation_tokens ||
                batcher->prompt_tokens != s->last.prompt_tokens;
    if (busy) {
        char line[512];
        front_status_format(line, sizeof line, seconds, &s->last, batcher, &s->last_engine, engine);
        log_info("%s", line);
    }
    s->last_ns = now_ns;
    s->last = *batcher;
    s->last_engine = *engine;
}
