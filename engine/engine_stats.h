/* What an open engine tells of itself while it works: totals, layers, loads, the map of its
 * experts. Everything here may be called by any thread; engine.h is the rest of the front door.
 *
 * Totals are copied under a lock after each step, so that they belong together. The map is read off
 * while the engine works and has no lock: each cell is right by itself (paging/expert_map.h). */
#ifndef MOERING_ENGINE_ENGINE_STATS_H
#define MOERING_ENGINE_ENGINE_STATS_H

#include "engine/paging/expert_map.h"
#include "engine/paging/placement.h"
#include "engine/paging/policy.h"
#include "engine/paging/stream.h"
#include "engine/paging/usage.h"
#include "engine/replay/regret.h"

#ifdef __cplusplus
extern "C" {
#endif

struct engine;

/* Who holds how much at present. */
struct engine_sizes {
    uint32_t slots[MEMORY_TIERS];
    uint64_t slot_bytes[MEMORY_TIERS];
    uint32_t kv_blocks;
    uint64_t kv_bytes;
};

/* Bytes of pages by the way they took. Reads from storage end in the host tier where there is
 * one. */
enum engine_way {
    ENGINE_STORAGE_TO_HOST,
    ENGINE_STORAGE_TO_DEVICE,
    ENGINE_HOST_TO_DEVICE,
    ENGINE_WAYS
};

/* How long steps stood still for pages: steps[i] waited longer than bound i - 1 and not longer than
 * bound i; the last has no upper bound. Steps that did not wait are in none. Sum:
 * experts.stall_ns. */
#define ENGINE_STALL_BOUNDS 16
struct engine_stalls {
    uint64_t steps[ENGINE_STALL_BOUNDS + 1];
};
/* 100 us, 250 us, 500 us, 1 ms ... 10 s: three to a decade; i < ENGINE_STALL_BOUNDS. */
uint64_t engine_stall_bound_ns(uint32_t i);

/* Totals since open, and figures of the newest past where a struct's own header says so. */
struct engine_stats {
    struct expert_usage experts;
    uint64_t steps, tokens_prefill, tokens_decode, sampled;
    uint64_t step_ns;             /* time inside engine_step */
    uint64_t evictions;
    uint64_t storage_bytes, device_bytes;
    uint64_t way_bytes[ENGINE_WAYS]; /* the same two, by where from and where to */
    uint32_t resident_pages, host_pages, pages;
    uint64_t resident_bytes, host_bytes;
    uint32_t sequences, kv_blocks_used, kv_blocks;
    uint32_t kv_blocks_idle;        /* not used, with prefixes that may be taken again */
    struct engine_sizes sizes;
    struct policy_counters policy;  /* prefetch planner and foresight */
    struct stream_figures stream;   /* slots 0: off */
    struct placement_figures placement;
    uint64_t device_wait_ns;        /* of step_ns: waiting for the GPU; 0 on the CPU */
    uint64_t host_experts_ns;       /* of step_ns: computing experts where they lie, on the host */
    bool host_compute; /* experts can be computed where they lie; else placement is zeros */
    uint64_t page_ns, layer_ns;     /* measured: as pager_counters; 0: not yet */
    struct engine_stalls stalls;
    struct regret_figures regret;
    uint64_t regret_ns;             /* what judging all its windows took; part of step_ns */
};

/* Loads of one layer in one phase, as the slow clock sees them (predict/loads.h). */
struct engine_load {
    struct state_figures state;
    /* The predictor believed, and its error, for each of load_mixture_horizon(i) ticks ahead. */
    struct load_mixture_figures horizon[LOAD_MIXTURE_HORIZONS];
};

/* Consistent at some step boundary, both together. loads[layers][LOAD_PHASES]; NULL: not wanted. */
void engine_stats_read(const struct engine *engine, struct engine_stats *out,
                       struct engine_load *loads);

/* One layer's part of the totals, each tier for itself. The host tier is asked for what the device
 * tier lacks; where there is none its counters stay 0. */
struct engine_layer_stats {
    struct expert_tier_usage tier[MEMORY_TIERS];
};
/* out[layers], consistent at some step boundary. Sums over layers: hits and misses of the device
 * tier are those of engine_stats.experts, `resident` of a tier its resident_pages and host_pages,
 * evictions those that made room (a tier that engine_resize makes smaller loses pages besides). */
void engine_layer_stats_read(const struct engine *engine, struct engine_layer_stats *out);

/* cells[layers * experts], layer by layer: in each the tier it is in (EXPERT_CELL_TIER: 0 storage,
 * 1 host, 2 device) and how much it was routed to lately (EXPERT_CELL_HEAT, 0..63).
 * paging/expert_map.h says what heat is. Costs the caller some nanoseconds a cell and the engine
 * nothing. */
void engine_expert_map(const struct engine *engine, uint8_t *cells);

#ifdef __cplusplus
}
#endif
#endif
