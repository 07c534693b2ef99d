/* What expert paging cost somebody: a layer, a sequence, the whole engine. */
#ifndef MOERING_ENGINE_PAGING_USAGE_H
#define MOERING_ENGINE_PAGING_USAGE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A hit: the page was READY in the device tier when a layer asked for it; each (step, layer,
 * expert) that at least one token chose is asked for once. */
struct expert_usage {
    uint64_t hits, misses;
    uint64_t bytes;    /* read from storage because of these misses */
    uint64_t stall_ns; /* time that compute stood still waiting for pages */
};

/* What one layer asked of one tier, and what came of guesses for it. In the host tier a hit is a
 * page that lay there when the device tier lacked it. Guesses all aim at the device tier and are
 * counted there alone; those under way or waiting for their layer are neither used nor wasted
 * yet. */
struct expert_tier_usage {
    uint64_t hits, misses;
    uint64_t evictions;   /* pages that left to make room */
    uint64_t prefetch_issued, prefetch_used, prefetch_wasted;
    uint32_t resident;    /* pages there now */
};

static inline void expert_usage_add(struct expert_usage *to, const struct expert_usage *more)
{
    to->hits += more->hits;
    to->misses += more->misses;
    to->bytes += more->bytes;
    to->stall_ns += more->stall_ns;
}

#ifdef __cplusplus
}
#endif
#endif
