/* Totals live with the parts that count and are gathered after each step; readers get the copy,
 * under a lock that the engine thread holds for a few memcpys. The map of experts is not copied: it
 * is made to be read while it is written (paging/expert_map.h). */
#include "engine/engine_stats.h"

#include <string.h>

#include "engine/engine_state.h"
#include "engine/resize.h"
#include "memory/base/clock.h"

/* What the pager knows of itself and of those it asks. */
static void count_paging(struct engine *e)
{
    struct engine_stats *t = &e->totals;
    struct pager_counters pager;
    pager_counters(e->parts.pager, &pager);
    t->experts = (struct expert_usage){.hits = pager.hits, .misses = pager.misses,
                                       .bytes = pager.miss_bytes, .stall_ns = pager.stall_ns};
    t->policy = pager.policy;
    t->stream = pager.stream;
    t->placement = pager.placement;
    t->host_compute = e->parts.host_backend != NULL;
    struct backend *b = e->parts.backend;
    t->device_wait_ns = b->ops->waited_ns ? b->ops->waited_ns(b) : 0;
    t->host_experts_ns = pager.host_ns;
    t->page_ns = pager.page_ns;
    t->layer_ns = pager.layer_ns;
    regret_figures(e->regret, &t->regret);
}

/* Loads change when a tick closes, which is rare. Under the snapshot lock. */
static void count_loads(struct engine *e)
{
    const struct loads *loads = pager_loads(e->parts.pager);
    if (!loads)
        return;
    uint64_t ticks = loads_ticks(loads, LOAD_PREFILL) + loads_ticks(loads, LOAD_DECODE);
    if (ticks == e->load_ticks)
        return;
    e->load_ticks = ticks;
    for (uint32_t i = 0; i < e->parts.info.layers * LOAD_PHASES; i++) {
        uint32_t layer = i / LOAD_PHASES;
        enum load_phase phase = (enum load_phase)(i % LOAD_PHASES);
        const struct predictor *mixture = loads_mixture(loads, phase);
        loads_state(loads, phase, layer, &e->loads[i].state);
        for (uint32_t h = 0; h < LOAD_MIXTURE_HORIZONS; h++)
            load_mixture_score(mixture, layer, h, load_mixture_choice(mixture, layer, h, NULL),
                               &e->loads[i].horizon[h]);
    }
}

/* Under the snapshot lock. */
static void count_layers(struct engine *e)
{
    for (uint32_t l = 0; l < e->parts.info.layers; l++)
        pager_layer_usage(e->parts.pager, l, e->layers[l].tier);
}

void engine_publish(struct engine *e)
{
    struct engine_stats *t = &e->totals;
    struct memory_counters memory;
    count_paging(e);
    memory_counters(e->parts.memory, &memory);
    t->evictions = memory.evictions[MEMORY_DEVICE];
    t->storage_bytes = memory.storage_bytes;
    t->device_bytes = memory.device_bytes;
    bool by_host = memory_has_host(e->parts.memory);
    t->way_bytes[by_host ? ENGINE_STORAGE_TO_HOST : ENGINE_STORAGE_TO_DEVICE] =
        memory.storage_bytes;
    t->way_bytes[ENGINE_HOST_TO_DEVICE] = memory.device_bytes;
    t->resident_pages = memory.ready[MEMORY_DEVICE];
    t->host_pages = memory.ready[MEMORY_HOST];
    t->resident_bytes = memory.ready_bytes[MEMORY_DEVICE];
    t->host_bytes = memory.ready_bytes[MEMORY_HOST];
    t->pages = e->parts.info.pages;
    t->sequences = e->sequences;
    t->sizes = resize_sizes(e->parts.memory, e->parts.kv);
    t->kv_blocks = kv_cache_blocks(e->parts.kv);
    t->kv_blocks_used = t->kv_blocks - kv_cache_free_blocks(e->parts.kv);
    t->kv_blocks_idle = kv_cache_idle_blocks(e->parts.kv);
    pthread_mutex_lock(&e->snapshot_lock);
    e->snapshot = *t;
    count_loads(e);
    count_layers(e);
    pthread_mutex_unlock(&e->snapshot_lock);
}

void engine_stats_read(const struct engine *engine, struct engine_stats *out,
                       struct engine_load *loads)
{
    struct engine *e = (struct engine *)engine; /* the lock is the only thing that changes */
    pthread_mutex_lock(&e->snapshot_lock);
    *out = e->snapshot;
    if (loads)
        memcpy(loads, e->loads, (size_t)e->parts.info.layers * LOAD_PHASES * sizeof *loads);
    pthread_mutex_unlock(&e->snapshot_lock);
}

void engine_layer_stats_read(const struct engine *engine, struct engine_layer_stats *out)
{
    struct engine *e = (struct engine *)engine; /* as above */
    pthread_mutex_lock(&e->snapshot_lock);
    memcpy(out, e->layers, e->parts.info.layers * sizeof *out);
    pthread_mutex_unlock(&e->snapshot_lock);
}

void engine_expert_map(const struct engine *engine, uint8_t *cells)
{
    expert_map_read(pager_map(engine->parts.pager), clock_now_ns(), cells);
}

/* ---- stalls ---- */

uint64_t engine_stall_bound_ns(uint32_t i)
{
    static const uint64_t first_decade[] = {100000, 250000, 500000};
    uint64_t bound = first_decade[i % 3];
    for (uint32_t decade = i / 3; decade > 0; decade--)
        bound *= 10;
    return bound;
}

void engine_stalled(struct engine *e, uint64_t stall_ns)
{
    uint32_t i = 0;
    if (stall_ns == 0)
        return;
    while (i < ENGINE_STALL_BOUNDS && stall_ns > engine_stall_bound_ns(i))
        i++;
    e->totals.stalls.steps[i]++;
}
