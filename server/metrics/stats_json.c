#include "server/metrics/stats_json.h"

#include <math.h>
#include <string.h>

#include "server/front_status.h"
#include "server/metrics/metrics_text.h"

void stats_json_number(struct jsonw *w, double value)
{
    char text[METRICS_NUMBER_BYTES];
    if (!isfinite(value)) {
        jsonw_null(w);
        return;
    }
    metrics_text_format(text, value);
    jsonw_value(w, text, strlen(text));
}

/* ---- members ---- */

static void key_uint(struct jsonw *w, const char *key, uint64_t value)
{
    jsonw_key(w, key);
    jsonw_uint(w, value);
}

static void key_number(struct jsonw *w, const char *key, double value)
{
    jsonw_key(w, key);
    stats_json_number(w, value);
}

static void key_known(struct jsonw *w, const char *key, double value, bool known)
{
    key_number(w, key, known ? value : (double)NAN);
}

static void key_text(struct jsonw *w, const char *key, const char *value)
{
    jsonw_key(w, key);
    jsonw_text(w, value);
}

static void key_object(struct jsonw *w, const char *key)
{
    jsonw_key(w, key);
    jsonw_object_open(w);
}

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

/* ---- what is there in every state ---- */

static void put_state(struct jsonw *w, const struct metrics_snapshot *s)
{
    static const char *const names[] = {
        [METRICS_LOADING] = "loading", [METRICS_READY] = "ready",
        [METRICS_DRAINING] = "draining", [METRICS_FAILED] = "failed",
    };
    key_text(w, "object", "moering.stats");
    key_text(w, "version", MOERING_VERSION);
    key_number(w, "now_ms", ms(s->now_ns));
    key_number(w, "uptime_s", (double)(s->now_ns - s->start_ns) / 1e9);
    key_text(w, "state", names[s->state]);
    jsonw_key(w, "loading");
    if (s->state == METRICS_LOADING) {
        jsonw_object_open(w);
        key_text(w, "phase", s->thread.phase);
        key_number(w, "progress", s->thread.progress);
        jsonw_object_end(w);
    } else {
        jsonw_null(w);
    }
    key_text(w, "error", s->state == METRICS_FAILED ? s->error : NULL);
}

static void put_requests(struct jsonw *w, const struct metrics_snapshot *s)
{
    const struct batcher_stats *b = &s->thread.batcher;
    key_object(w, "requests");
    key_uint(w, "running", b->now.running);
    key_uint(w, "waiting", b->now.waiting);
    key_uint(w, "finished", b->finished);
    key_uint(w, "cancelled", b->cancelled);
    key_uint(w, "failed", b->failed);
    key_uint(w, "rejected", s->rejected);
    key_uint(w, "preemptions", b->now.preemptions);
    jsonw_object_end(w);
    key_object(w, "tokens");
    key_uint(w, "prompt", b->prompt_tokens);
    key_uint(w, "generation", b->generation_tokens);
    key_uint(w, "prefix_queries", b->prefix_queries);
    key_uint(w, "prefix_hits", b->prefix_hits);
    jsonw_object_end(w);
}

/* Keys inside an object that the caller has opened. */
static void put_buckets(struct jsonw *w, const double *bounds, uint32_t count, const uint64_t *in)
{
    jsonw_key(w, "bounds_s");
    jsonw_array_open(w);
    for (uint32_t i = 0; i < count; i++)
        stats_json_number(w, bounds[i]);
    jsonw_array_end(w);
    jsonw_key(w, "counts");
    jsonw_array_open(w);
    for (uint32_t i = 0; i <= count; i++)
        jsonw_uint(w, in[i]);
    jsonw_array_end(w);
}

static void put_latency(struct jsonw *w, const struct request_metrics *m)
{
    static const struct {
        const char *key;
        enum request_histogram which;
    } rows[] = {
        {"ttft", REQUEST_TTFT}, {"itl", REQUEST_ITL},     {"tpot", REQUEST_TPOT},
        {"e2e", REQUEST_E2E},   {"queue", REQUEST_QUEUE},
    };
    key_object(w, "latency");
    for (uint32_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct histogram *h = &m->histogram[rows[i].which];
        key_object(w, rows[i].key);
        put_buckets(w, h->bounds, h->count, h->in);
        key_uint(w, "count", h->observed);
        key_number(w, "sum_s", h->sum);
        jsonw_object_end(w);
    }
    jsonw_object_end(w);
}

/* ---- what comes with the model ---- */

static void put_model(struct jsonw *w, const struct metrics_snapshot *s)
{
    const struct engine_info *info = s->info;
    char backend[FRONT_STATUS_BACKEND_MAX];
    front_status_backend(backend, sizeof backend, info);
    key_object(w, "model");
    key_text(w, "name", s->model_name);
    key_text(w, "architecture", info->architecture);
    key_uint(w, "layers", info->layers);
    key_uint(w, "experts", info->experts);
    key_uint(w, "top_k", info->top_k);
    key_uint(w, "parameters", info->parameters);
    key_uint(w, "active_parameters", info->active_parameters);
    key_text(w, "weight_dtype", info->weight_dtype);
    key_text(w, "backend", backend);
    key_text(w, "device", info->device);
    key_uint(w, "max_model_len", info->max_model_len);
    key_uint(w, "max_num_seqs", info->max_num_seqs);
    key_uint(w, "pages", info->pages);
    key_uint(w, "page_bytes",
             info->pages ? (info->page_bytes_total + info->pages / 2) / info->pages : 0);
    jsonw_object_end(w);
}

static void put_engine(struct jsonw *w, const struct metrics_snapshot *s)
{
    const struct engine_stats *e = &s->engine;
    const struct scheduler_counts *now = &s->thread.batcher.now;
    key_object(w, "engine");
    key_uint(w, "steps", e->steps);
    key_uint(w, "tokens", e->tokens_prefill + e->tokens_decode);
    key_number(w, "step_ms", ms(e->step_ns));
    key_number(w, "stall_ms", ms(e->experts.stall_ns));
    key_number(w, "device_wait_ms", ms(e->device_wait_ns));
    key_number(w, "host_experts_ms", ms(e->host_experts_ns));
    key_known(w, "page_ms", ms(e->page_ns), e->page_ns > 0);
    key_known(w, "layer_ms", ms(e->layer_ns), e->layer_ns > 0);
    jsonw_object_end(w);
    key_object(w, "kv");
    key_uint(w, "blocks_used", now->kv_blocks_used);
    key_uint(w, "blocks_idle", e->kv_blocks_idle);
    key_uint(w, "blocks", now->kv_blocks);
    key_uint(w, "block_tokens", s->info->kv_block_tokens);
    key_uint(w, "bytes", e->sizes.kv_bytes);
    jsonw_object_end(w);
}

static void put_tiers(struct jsonw *w, const struct engine_stats *e)
{
    static const enum memory_tier order[] = {MEMORY_DEVICE, MEMORY_HOST};
    jsonw_key(w, "tiers");
    jsonw_array_open(w);
    for (int i = 0; i < MEMORY_TIERS; i++) {
        bool device = order[i] == MEMORY_DEVICE;
        jsonw_object_open(w);
        key_text(w, "name", device ? "device" : "host");
        key_uint(w, "slots", e->sizes.slots[order[i]]);
        key_uint(w, "slot_bytes", e->sizes.slot_bytes[order[i]]);
        key_uint(w, "resident_pages", device ? e->resident_pages : e->host_pages);
        key_uint(w, "resident_bytes", device ? e->resident_bytes : e->host_bytes);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
    key_object(w, "experts");
    key_uint(w, "hits", e->experts.hits);
    key_uint(w, "misses", e->experts.misses);
    key_uint(w, "evictions", e->evictions);
    jsonw_object_end(w);
}

static void put_policy(struct jsonw *w, const struct engine_stats *e)
{
    const struct prefetch_figures *p = &e->policy.prefetch;
    bool judged = e->regret.windows > 0;
    key_object(w, "oracle");
    key_uint(w, "windows", e->regret.windows);
    key_uint(w, "requests", e->regret.requests);
    key_known(w, "hit_rate", e->regret.hit_rate, judged);
    key_known(w, "oracle_hit_rate", e->regret.oracle_hit_rate, judged);
    jsonw_object_end(w);
    key_object(w, "prefetch");
    key_uint(w, "issued", p->issued);
    key_uint(w, "used", p->used);
    key_uint(w, "wasted", p->wasted);
    jsonw_key(w, "active");
    jsonw_bool(w, p->active);
    key_number(w, "profit", p->profit);
    jsonw_key(w, "threshold");
    jsonw_fixed(w, (double)p->threshold);
    jsonw_object_end(w);
    key_object(w, "foresight");
    key_text(w, "predictor", foresight_name(e->policy.foresight));
    key_object(w, "losses");
    for (int i = FORESIGHT_AUTO + 1; i < FORESIGHT_KINDS; i++)
        key_known(w, foresight_name((enum foresight)i), e->policy.foresight_loss[i],
                  e->policy.foresight_loss[i] > 0);
    jsonw_object_end(w);
    jsonw_object_end(w);
}

static void put_modes(struct jsonw *w, const struct engine_info *info, const struct engine_stats *e)
{
    jsonw_key(w, "placement");
    if (e->host_compute) {
        jsonw_object_open(w);
        key_text(w, "mode", placement_mode_name(info->placement));
        key_uint(w, "at_device", e->placement.at_device);
        key_uint(w, "at_host", e->placement.at_host);
        jsonw_object_end(w);
    } else {
        jsonw_null(w);
    }
    jsonw_key(w, "stream");
    if (e->stream.slots) {
        jsonw_object_open(w);
        key_uint(w, "layers", e->stream.slots);
        key_uint(w, "streamed_steps", e->stream.streamed_steps);
        key_uint(w, "demand_steps", e->stream.demand_steps);
        jsonw_object_end(w);
    } else {
        jsonw_null(w);
    }
}

static void put_links(struct jsonw *w, const struct engine_info *info, const struct engine_stats *e)
{
    static const struct {
        const char *from, *to;
        enum engine_way way;
    } links[] = {
        {"storage", "host", ENGINE_STORAGE_TO_HOST},
        {"storage", "device", ENGINE_STORAGE_TO_DEVICE},
        {"host", "device", ENGINE_HOST_TO_DEVICE},
    };
    jsonw_key(w, "links");
    jsonw_array_open(w);
    for (uint32_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        bool measured = links[i].way == ENGINE_HOST_TO_DEVICE && info->link_idle_bytes_per_s > 0;
        jsonw_object_open(w);
        key_text(w, "from", links[i].from);
        key_text(w, "to", links[i].to);
        key_uint(w, "bytes", e->way_bytes[links[i].way]);
        key_known(w, "peak_bytes_per_s", info->link_idle_bytes_per_s, measured);
        jsonw_object_end(w);
    }
    jsonw_array_end(w);
    double bounds[ENGINE_STALL_BOUNDS];
    for (uint32_t i = 0; i < ENGINE_STALL_BOUNDS; i++)
        bounds[i] = (double)engine_stall_bound_ns(i) / 1e9;
    key_object(w, "stalls");
    put_buckets(w, bounds, ENGINE_STALL_BOUNDS, e->stalls.steps);
    jsonw_object_end(w);
}

/* ---- layers, as columns ---- */

static void put_column(struct jsonw *w, const char *key, const struct metrics_snapshot *s,
                       enum memory_tier tier, uint64_t (*value)(const struct expert_tier_usage *))
{
    jsonw_key(w, key);
    jsonw_array_open(w);
    for (uint32_t l = 0; l < s->info->layers; l++)
        jsonw_uint(w, value(&s->layers[l].tier[tier]));
    jsonw_array_end(w);
}

static uint64_t hits(const struct expert_tier_usage *u) { return u->hits; }
static uint64_t misses(const struct expert_tier_usage *u) { return u->misses; }
static uint64_t evictions(const struct expert_tier_usage *u) { return u->evictions; }
static uint64_t issued(const struct expert_tier_usage *u) { return u->prefetch_issued; }
static uint64_t used(const struct expert_tier_usage *u) { return u->prefetch_used; }
static uint64_t wasted(const struct expert_tier_usage *u) { return u->prefetch_wasted; }
static uint64_t resident(const struct expert_tier_usage *u) { return u->resident; }

static void put_tier_columns(struct jsonw *w, const struct metrics_snapshot *s,
                             enum memory_tier tier)
{
    jsonw_object_open(w);
    put_column(w, "hits", s, tier, hits);
    put_column(w, "misses", s, tier, misses);
    put_column(w, "evictions", s, tier, evictions);
    if (tier == MEMORY_DEVICE) {
        put_column(w, "prefetch_issued", s, tier, issued);
        put_column(w, "prefetch_used", s, tier, used);
        put_column(w, "prefetch_wasted", s, tier, wasted);
    }
    put_column(w, "resident", s, tier, resident);
    jsonw_object_end(w);
}

static void put_phase(struct jsonw *w, const char *key, const struct metrics_snapshot *s,
                      enum load_phase phase)
{
    const struct engine_load *loads = s->loads + phase;
    uint32_t count = s->info->layers * LOAD_PHASES;
    key_object(w, key);
    jsonw_key(w, "state");
    jsonw_array_open(w);
    for (uint32_t i = 0; i < count; i += LOAD_PHASES) {
        const struct state_figures *f = &loads[i].state;
        jsonw_text(w, !f->ticks ? NULL : f->stable ? "stable" : "transient");
    }
    jsonw_array_end(w);
    jsonw_key(w, "ticks");
    jsonw_array_open(w);
    for (uint32_t i = 0; i < count; i += LOAD_PHASES)
        jsonw_uint(w, loads[i].state.ticks);
    jsonw_array_end(w);
    jsonw_key(w, "cv");
    jsonw_array_open(w);
    for (uint32_t i = 0; i < count; i += LOAD_PHASES)
        if (loads[i].state.ticks)
            jsonw_fixed(w, (double)loads[i].state.cv);
        else
            jsonw_null(w);
    jsonw_array_end(w);
    jsonw_object_end(w);
}

static void put_layers(struct jsonw *w, const struct metrics_snapshot *s)
{
    key_object(w, "layers");
    jsonw_key(w, "device");
    put_tier_columns(w, s, MEMORY_DEVICE);
    jsonw_key(w, "host");
    if (s->engine.sizes.slots[MEMORY_HOST])
        put_tier_columns(w, s, MEMORY_HOST);
    else
        jsonw_null(w);
    put_phase(w, "prefill", s, LOAD_PREFILL);
    put_phase(w, "decode", s, LOAD_DECODE);
    jsonw_object_end(w);
}

void stats_json(struct jsonw *w, const struct metrics_snapshot *s)
{
    static const char *const later[] = {"model", "engine", "kv", "tiers", "experts", "oracle",
                                        "prefetch", "foresight", "placement", "stream", "links",
                                        "stalls", "layers"};
    jsonw_object_open(w);
    put_state(w, s);
    put_requests(w, s);
    put_latency(w, s->requests);
    if (s->info) {
        put_model(w, s);
        put_engine(w, s);
        put_tiers(w, &s->engine);
        put_policy(w, &s->engine);
        put_modes(w, s->info, &s->engine);
        put_links(w, s->info, &s->engine);
        put_layers(w, s);
    } else {
        for (uint32_t i = 0; i < sizeof later / sizeof later[0]; i++) {
            jsonw_key(w, later[i]);
            jsonw_null(w);
        }
    }
    jsonw_object_end(w);
}
