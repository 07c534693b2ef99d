/* The moering_* set: no colons, base units, nothing that promtool minds. Counters of layers are
 * columns of struct expert_tier_usage, so a table of offsets says which. */
#include <stddef.h>
#include <stdio.h>

#include "server/metrics/metrics_page.h"

static const char *const tier_names[MEMORY_TIERS] = {[MEMORY_HOST] = "host",
                                                     [MEMORY_DEVICE] = "device"};
static const enum memory_tier tier_order[MEMORY_TIERS] = {MEMORY_DEVICE, MEMORY_HOST};

struct column {
    const char *name, *help;
    size_t offset;      /* in struct expert_tier_usage, of a uint64_t */
    bool device_only;   /* guesses all aim at the device tier */
};

static const struct column columns[] = {
    {"moering_expert_cache_hits_total",
     "Expert pages that were in the tier when a layer asked for them.",
     offsetof(struct expert_tier_usage, hits), false},
    {"moering_expert_cache_misses_total",
     "Expert pages that were not there. The host tier is asked for what the device tier lacks.",
     offsetof(struct expert_tier_usage, misses), false},
    {"moering_expert_cache_evictions_total", "Expert pages that left the tier to make room.",
     offsetof(struct expert_tier_usage, evictions), false},
    {"moering_expert_cache_prefetch_issued_total",
     "Expert pages fetched ahead on a guess that their layer would want them.",
     offsetof(struct expert_tier_usage, prefetch_issued), true},
    {"moering_expert_cache_prefetch_used_total", "Of these, wanted by their layer.",
     offsetof(struct expert_tier_usage, prefetch_used), true},
    {"moering_expert_cache_prefetch_wasted_total", "Of these, not wanted.",
     offsetof(struct expert_tier_usage, prefetch_wasted), true},
};

static uint64_t value_at(const struct expert_tier_usage *usage, size_t offset)
{
    return *(const uint64_t *)(const void *)((const char *)usage + offset);
}

static void put_layers(struct metrics_text *t, const struct metrics_snapshot *s,
                       const struct column *column)
{
    char layer[16];
    metrics_text_family(t, column ? column->name : "moering_experts_resident",
                        column ? METRICS_COUNTER : METRICS_GAUGE,
                        column ? column->help : "Expert pages that are in the tier now.");
    for (int i = 0; i < (column && column->device_only ? 1 : MEMORY_TIERS); i++)
        for (uint32_t l = 0; l < s->info->layers; l++) {
            const struct expert_tier_usage *usage = &s->layers[l].tier[tier_order[i]];
            snprintf(layer, sizeof layer, "%u", l);
            const struct metrics_label labels[] = {{"tier", tier_names[tier_order[i]]},
                                                   {"layer", layer}};
            metrics_text_count(t, labels, 2,
                               column ? value_at(usage, column->offset) : usage->resident);
        }
}

static void put_bytes(struct metrics_text *t, const struct engine_stats *e)
{
    static const struct {
        const char *src, *dst;
    } ways[ENGINE_WAYS] = {
        [ENGINE_STORAGE_TO_HOST] = {"storage", "host"},
        [ENGINE_STORAGE_TO_DEVICE] = {"storage", "device"},
        [ENGINE_HOST_TO_DEVICE] = {"host", "device"},
    };
    metrics_text_family(t, "moering_expert_bytes_read_total", METRICS_COUNTER,
                        "Bytes of expert pages that were moved, by where from and where to.");
    for (int i = 0; i < ENGINE_WAYS; i++) {
        const struct metrics_label labels[] = {{"src", ways[i].src}, {"dst", ways[i].dst}};
        metrics_text_count(t, labels, 2, e->way_bytes[i]);
    }
    const uint64_t resident[MEMORY_TIERS] = {[MEMORY_DEVICE] = e->resident_bytes,
                                             [MEMORY_HOST] = e->host_bytes};
    metrics_text_family(t, "moering_expert_resident_bytes", METRICS_GAUGE,
                        "Bytes of the expert pages that are in the tier now.");
    for (int i = 0; i < MEMORY_TIERS; i++) {
        const struct metrics_label tier = {"tier", tier_names[tier_order[i]]};
        metrics_text_count(t, &tier, 1, resident[tier_order[i]]);
    }
}

static void put_stalls(struct metrics_text *t, const struct engine_stats *e)
{
    double bounds[ENGINE_STALL_BOUNDS];
    for (uint32_t i = 0; i < ENGINE_STALL_BOUNDS; i++)
        bounds[i] = (double)engine_stall_bound_ns(i) / 1e9;
    metrics_text_family(t, "moering_expert_miss_stall_seconds", METRICS_HISTOGRAM,
                        "How long steps stood still for expert pages; those that did not are left "
                        "out.");
    metrics_text_buckets(t, bounds, ENGINE_STALL_BOUNDS, e->stalls.steps,
                         (double)e->experts.stall_ns / 1e9);
}

/* Who foretells the next layers' experts: one series each, 1 for the one that is listened to. */
static void put_predictors(struct metrics_text *t, const struct engine_stats *e)
{
    metrics_text_family(t, "moering_expert_predictor_active", METRICS_GAUGE,
                        "1 for the predictor that prefetching listens to; 0 for all until one is "
                        "chosen.");
    for (int i = FORESIGHT_AUTO + 1; i < FORESIGHT_KINDS; i++) {
        const struct metrics_label predictor = {"predictor", foresight_name((enum foresight)i)};
        metrics_text_count(t, &predictor, 1, e->policy.foresight == (enum foresight)i);
    }
}

static void put_states(struct metrics_text *t, const struct metrics_snapshot *s)
{
    static const char *const phases[LOAD_PHASES] = {[LOAD_PREFILL] = "prefill",
                                                    [LOAD_DECODE] = "decode"};
    char layer[16];
    metrics_text_family(t, "moering_expert_load_stable", METRICS_GAUGE,
                        "1 while the shares of a layer's experts hold still, 0 while they move or "
                        "before they have been looked at.");
    for (int phase = 0; phase < LOAD_PHASES; phase++)
        for (uint32_t l = 0; l < s->info->layers; l++) {
            const struct state_figures *state = &s->loads[l * LOAD_PHASES + (uint32_t)phase].state;
            snprintf(layer, sizeof layer, "%u", l);
            const struct metrics_label labels[] = {{"phase", phases[phase]}, {"layer", layer}};
            metrics_text_count(t, labels, 2, state->ticks > 0 && state->stable);
        }
}

static void put_server(struct metrics_text *t, const struct metrics_snapshot *s)
{
    const struct metrics_label version = {"version", MOERING_VERSION};
    metrics_text_family(t, "moering_build_info", METRICS_GAUGE, "The program's version; always 1.");
    metrics_text_count(t, &version, 1, 1);
    metrics_text_family(t, "moering_model_loaded_ratio", METRICS_GAUGE,
                        "How far the model is loaded; 1: it serves.");
    metrics_text_number(t, NULL, 0, s->info ? 1 : s->thread.progress);
    metrics_text_family(t, "moering_requests_failed_total", METRICS_COUNTER,
                        "Requests that the server could not finish.");
    metrics_text_count(t, NULL, 0, s->thread.batcher.failed);
    metrics_text_family(t, "moering_requests_rejected_total", METRICS_COUNTER,
                        "Requests refused because the queue was full.");
    metrics_text_count(t, NULL, 0, s->rejected);
}

void metrics_page_experts(struct metrics_text *t, const struct metrics_snapshot *s)
{
    const struct engine_stats *e = &s->engine; /* zeros before the model is open */
    put_server(t, s);
    for (uint32_t i = 0; s->info && i < sizeof columns / sizeof columns[0]; i++)
        put_layers(t, s, &columns[i]);
    if (s->info) {
        put_layers(t, s, NULL);
        put_states(t, s);
    }
    put_bytes(t, e);
    put_stalls(t, e);
    put_predictors(t, e);
    metrics_text_family(t, "moering_expert_oracle_hit_ratio", METRICS_GAUGE,
                        "Hit ratio that the best possible choice of evictions would have had over "
                        "the newest window of requests; 0 before the first window is full.");
    metrics_text_number(t, NULL, 0, e->regret.oracle_hit_rate);
    metrics_text_family(t, "moering_expert_rebalance_total", METRICS_COUNTER,
                        "Times that experts were spread anew over devices; 0 with a single one.");
    metrics_text_count(t, NULL, 0, 0);
}
