/* Runs a trace on a virtual clock with the policy of the engine: what would this ring have done?
 *
 * The very same `struct policy` decides (engine/paging/policy.h); only copies and computing are
 * imagined. The ring starts empty and holds `slots` pages. For every run of a layer:
 *
 *     1. its routing is known: the policy learns of it; prefetches that it makes pointless are
 *        cancelled if they have not begun
 *     2. its experts are computed in order. One that is resident is a hit and stays until it has
 *        been computed; one that is not is a miss, takes a free slot or that of the policy's
 *        victim, and may leave again for the next one. (Where all slots hold pages that are still
 *        to be computed, the miss waits until they have been.)
 *     3. all copies of its misses are queued at once, in this order, when the layer before has
 *        ended; the layer computes when the last has arrived: that wait is the *stall*
 *     4. while it computes, step_us / layers, the link is idle and copies prefetches
 *        (virtual_link.h). A page on its way when it is asked for is a miss of which only the rest
 *        is waited for.
 *
 * So stalls without prefetch are misses x page time, and Belady's, the bound, come from the same
 * requests in the same order (belady.h). A layer in which no token chose an expert (a dense one)
 * takes its time and is not shown to the policy.
 *
 * What is left out: copies of different sizes, the host tier, reading prompts by whole layers, and
 * that steps with more rows compute longer. Deterministic: all times are of the virtual clock
 * except decide_ns. Memory: O(pages) beside the schedule. One thread. */
#ifndef MOERING_ENGINE_REPLAY_REPLAY_H
#define MOERING_ENGINE_REPLAY_REPLAY_H

#include "engine/paging/policy.h"
#include "engine/replay/schedule.h"

#ifdef __cplusplus
extern "C" {
#endif

struct replay_config {
    uint32_t slots;         /* >= 1; more than there are pages are as many as there are */
    enum evict_kind evict;
    enum foresight foresight;
    enum prefetch_mode prefetch;
    uint64_t seed;
    uint64_t page_bytes;    /* > 0 */
    double link_gbps;       /* > 0, 10^9 bytes per second */
    double step_us;         /* > 0: computing of one step with every page there */
    bool belady;            /* find the bound, and plain LRU, too */
};

/* What became of the prefetches made so many layers ahead. */
struct replay_distance {
    uint64_t picks, used;    /* issued; wanted when their layer ran next */
    double probability_sum;  /* what the policy said of them */
    double log_loss_sum;     /* -ln of the probability given to what happened */
};

struct replay_result {
    uint32_t slots;
    uint64_t tokens, steps;
    uint64_t requests, hits;            /* misses are the difference */
    uint64_t demand_pages;              /* misses whose copy was begun by the demand */
    uint64_t joined_pages;              /* misses that joined a prefetch on its way */
    uint64_t prefetch_pages;            /* prefetches whose copy began */
    uint64_t prefetch_used, prefetch_wasted; /* asked for or not; sum to prefetch_pages */
    uint64_t prefetch_cancelled;        /* before they began: no bytes */
    uint64_t demand_bytes, prefetch_bytes, bytes; /* bytes: the sum of both */
    uint64_t prefetch_wasted_bytes;
    double time_us, stall_us, link_busy_us, page_us, layer_us;
    bool belady;                        /* the next three are known */
    uint64_t belady_hits, compulsory_misses;
    uint64_t lru_hits;                  /* of plain LRU, see lru.h */
    uint64_t decide_ns;                 /* processor time that the loop really took */
    struct policy_counters counters;    /* at the end */
    struct replay_distance distance[POLICY_AHEAD_MAX + 1]; /* [0] is of no use */
};

/* The ratios of a result; 0 where nothing was asked for. */
double replay_hit_rate(const struct replay_result *result);
double replay_belady_hit_rate(const struct replay_result *result);
double replay_lru_hit_rate(const struct replay_result *result);
double replay_belady_share(const struct replay_result *result); /* hit rate / Belady's */
double replay_stall_us_per_token(const struct replay_result *result);
double replay_belady_stall_us_per_token(const struct replay_result *result);
double replay_link_utilisation(const struct replay_result *result);
double replay_tokens_per_s(const struct replay_result *result);
double replay_resident_tokens_per_s(const struct replay_result *result); /* if it never stalled */
double replay_decisions_per_s(const struct replay_result *result);

/* Belady's bound and plain LRU for `out->slots` slots; for callers that replay one schedule and
 * size with many policies. NO_MEMORY. */
enum status replay_bounds(const struct schedule *schedule, struct replay_result *out,
                          struct error *error);

/* NO_MEMORY. What is wrong in `config` is the caller's bug. */
enum status replay_run(const struct schedule *schedule, const struct replay_config *config,
                       struct replay_result *out, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
