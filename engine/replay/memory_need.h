/* How much memory does it take? Token rates of a range of ring sizes, and the smallest ring that
 * reaches a rate, found by replaying recorded routing with the engine's own policy.
 *
 * Rates rise with the ring but for noise, so the smallest is found by bisection; what it returns
 * was measured itself and reaches the target. Without a trace, routing is taken as uniform and
 * independent: every warm ring then hits by the share of pages that it holds, whatever the policy.
 * That is pessimistic, since real routing is skewed and repeats itself, and is not a bound. */
#ifndef MOERING_ENGINE_REPLAY_MEMORY_NEED_H
#define MOERING_ENGINE_REPLAY_MEMORY_NEED_H

#include "engine/replay/replay.h"

#ifdef __cplusplus
extern "C" {
#endif

struct memory_need_config {
    const struct schedule *schedule;  /* NULL: uniform routing of the next three */
    uint32_t layers, experts, top_k;
    struct replay_config replay;      /* `slots` and `belady` are not used */
};

struct memory_need {
    uint32_t slots;
    uint64_t ring_bytes;         /* slots x page bytes */
    double hit_rate, tokens_per_s;
};

/* What a ring of so many slots (>= 1) gives. NO_MEMORY. */
enum status memory_need_at(const struct memory_need_config *config, uint32_t slots,
                           struct memory_need *out, struct error *error);

/* The smallest ring that gives at least `target_tps` > 0. INVALID: not even with every page
 * resident; the sentence names the rate that is possible. NO_MEMORY. */
enum status memory_need_for(const struct memory_need_config *config, double target_tps,
                            struct memory_need *out, struct error *error);

/* Rate without stalls, and the rate of a ring that misses always, which the link alone limits. */
double memory_need_resident_tps(const struct memory_need_config *config);
double memory_need_link_tps(const struct memory_need_config *config);

#ifdef __cplusplus
}
#endif
#endif
