#include "server/moering_v1/stats_encode.h"

double stats_precision(const struct prefetch_figures *prefetch)
{
    uint64_t known = prefetch->used + prefetch->wasted;
    return known ? (double)prefetch->used / (double)known : 0;
}

/* All messages of an answer that are there once. */
struct single {
    Moering__V1__ExpertUsage experts;
    Moering__V1__TierStats device, host;
    Moering__V1__TierStats *tiers[2];
    Moering__V1__PrefetchStats prefetch;
    Moering__V1__ForesightStats foresight;
    Moering__V1__StreamStats stream;
    Moering__V1__PlacementStats placement;
    Moering__V1__RegretStats regret;
};

static void fill_tiers(struct single *m, const struct engine_stats *e)
{
    m->device = (Moering__V1__TierStats)MOERING__V1__TIER_STATS__INIT;
    m->device.name = (char *)"device";
    m->device.slots = e->sizes.slots[MEMORY_DEVICE];
    m->device.resident_pages = e->resident_pages;
    m->device.resident_bytes = e->resident_bytes;
    m->host = (Moering__V1__TierStats)MOERING__V1__TIER_STATS__INIT;
    m->host.name = (char *)"host";
    m->host.slots = e->sizes.slots[MEMORY_HOST];
    m->host.resident_pages = e->host_pages;
    m->host.resident_bytes = e->host_bytes;
    m->tiers[0] = &m->device;
    m->tiers[1] = &m->host;
}

static void fill_policy(struct single *m, const struct policy_counters *policy)
{
    const struct prefetch_figures *p = &policy->prefetch;
    m->prefetch = (Moering__V1__PrefetchStats)MOERING__V1__PREFETCH_STATS__INIT;
    m->prefetch.issued = p->issued;
    m->prefetch.used = p->used;
    m->prefetch.wasted = p->wasted;
    m->prefetch.precision = stats_precision(p);
    m->prefetch.active = p->active;
    m->prefetch.profit = p->profit;
    m->prefetch.threshold = p->threshold;
    m->prefetch.budget = p->budget;
    m->foresight = (Moering__V1__ForesightStats)MOERING__V1__FORESIGHT_STATS__INIT;
    m->foresight.predictor = (char *)foresight_name(policy->foresight);
    m->foresight.transition_loss = policy->foresight_loss[FORESIGHT_TRANSITION];
    m->foresight.previous_loss = policy->foresight_loss[FORESIGHT_PREVIOUS];
    m->foresight.lookahead_loss = policy->foresight_loss[FORESIGHT_LOOKAHEAD];
}

static void fill_rest(struct single *m, const struct engine_info *info,
                      const struct engine_stats *e)
{
    m->experts = (Moering__V1__ExpertUsage)MOERING__V1__EXPERT_USAGE__INIT;
    m->experts.hits = e->experts.hits;
    m->experts.misses = e->experts.misses;
    m->experts.bytes = e->experts.bytes;
    m->experts.stall_ms = (double)e->experts.stall_ns / 1e6;
    m->stream = (Moering__V1__StreamStats)MOERING__V1__STREAM_STATS__INIT;
    m->stream.layers = e->stream.slots;
    m->stream.streamed_steps = e->stream.streamed_steps;
    m->stream.demand_steps = e->stream.demand_steps;
    m->stream.threshold = e->stream.threshold;
    m->stream.break_even_rows = e->stream.break_even_rows;
    m->placement = (Moering__V1__PlacementStats)MOERING__V1__PLACEMENT_STATS__INIT;
    if (e->host_compute)
        m->placement.mode = (char *)placement_mode_name(info->placement);
    m->placement.at_device = e->placement.at_device;
    m->placement.at_host = e->placement.at_host;
    m->placement.tried = e->placement.tried;
    m->placement.error = e->placement.error;
    m->regret = (Moering__V1__RegretStats)MOERING__V1__REGRET_STATS__INIT;
    m->regret.windows = e->regret.windows;
    m->regret.requests = e->regret.requests;
    m->regret.hit_rate = e->regret.hit_rate;
    m->regret.oracle_hit_rate = e->regret.oracle_hit_rate;
    m->regret.share = e->regret.share;
    m->regret.next_requests = e->regret.next_requests;
    m->regret.cost_ms = (double)e->regret_ns / 1e6;
}

/* One layer in one phase, its forecasts behind it. */
struct load {
    Moering__V1__LayerLoadStats stats;
    Moering__V1__LoadForecast forecast[LOAD_MIXTURE_HORIZONS];
    Moering__V1__LoadForecast *list[LOAD_MIXTURE_HORIZONS];
};

static void fill_load(struct load *m, uint32_t layer, enum load_phase phase,
                      const struct engine_load *load)
{
    const struct state_figures *state = &load->state;
    m->stats = (Moering__V1__LayerLoadStats)MOERING__V1__LAYER_LOAD_STATS__INIT;
    m->stats.layer = layer;
    m->stats.phase = (char *)(phase == LOAD_PREFILL ? "prefill" : "decode");
    m->stats.state = (char *)(state->stable ? "stable" : "transient");
    m->stats.ticks = state->ticks;
    m->stats.cv = state->cv;
    m->stats.tv = state->tv;
    m->stats.jump = state->jump;
    m->stats.sampling_floor = state->floor;
    m->stats.state_since = state->since;
    for (uint32_t h = 0; h < LOAD_MIXTURE_HORIZONS; h++) {
        Moering__V1__LoadForecast *f = m->list[h] = &m->forecast[h];
        *f = (Moering__V1__LoadForecast)MOERING__V1__LOAD_FORECAST__INIT;
        f->ticks = load_mixture_horizon(h);
        f->predictor = (char *)load->horizon[h].name;
        f->error_ratio = load->horizon[h].error;
        f->scored = load->horizon[h].scored;
    }
    m->stats.n_forecasts = LOAD_MIXTURE_HORIZONS;
    m->stats.forecasts = m->list;
}

static bool fill_loads(struct pb_arena *arena, uint32_t layers, const struct engine_load *loads,
                       Moering__V1__GetStatsResponse *out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < layers * LOAD_PHASES; i++)
        count += loads[i].state.ticks > 0;
    if (!count)
        return true;
    struct load *m = pb_arena_alloc(arena, count * sizeof *m);
    out->loads = pb_arena_alloc(arena, count * sizeof *out->loads);
    if (!m || !out->loads)
        return false;
    for (uint32_t i = 0; i < layers * LOAD_PHASES; i++) {
        if (!loads[i].state.ticks)
            continue;
        fill_load(m, i / LOAD_PHASES, (enum load_phase)(i % LOAD_PHASES), &loads[i]);
        out->loads[out->n_loads++] = &m++->stats;
    }
    return true;
}

bool stats_encode(struct pb_arena *arena, const struct engine_info *info,
                  const struct engine_stats *e, const struct engine_load *loads,
                  Moering__V1__GetStatsResponse *out)
{
    struct single *m = pb_arena_alloc(arena, sizeof *m);
    if (!m)
        return false;
    fill_tiers(m, e);
    fill_policy(m, &e->policy);
    fill_rest(m, info, e);
    out->experts = &m->experts;
    out->prefetch = &m->prefetch;
    out->prefetch_issued = m->prefetch.issued;
    out->prefetch_used = m->prefetch.used;
    out->prefetch_wasted = m->prefetch.wasted;
    out->foresight = &m->foresight;
    out->stream = &m->stream;
    out->regret = &m->regret;
    out->placement = &m->placement;
    uint64_t layers = e->steps * info->layers;
    out->device_wait_ms = (double)e->device_wait_ns / 1e6;
    out->host_experts_ms = (double)e->host_experts_ns / 1e6;
    out->stall_layer_ms = layers ? (double)e->experts.stall_ns / 1e6 / (double)layers : 0;
    out->page_ms = (double)e->page_ns / 1e6;
    out->layer_ms = (double)e->layer_ns / 1e6;
    out->evictions = e->evictions;
    out->storage_bytes = e->storage_bytes;
    out->device_bytes = e->device_bytes;
    out->n_tiers = 2;
    out->tiers = m->tiers;
    out->steps = e->steps;
    out->step_ms_total = (double)e->step_ns / 1e6;
    return fill_loads(arena, info->layers, loads, out);
}
