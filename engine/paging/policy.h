/* Everything that decides about pages and nothing that moves them: eviction, prediction and the
 * prefetch planner behind one face. The pager (expert_pager.h) drives it with real copies, replay
 * (engine/replay/replay.h) with a virtual clock, so what is measured there is what runs here.
 *
 *     policy_run(run)                       a layer's routing is known: learn, look ahead
 *     policy_victim(...)                    for each demand miss that finds no room
 *     policy_resident(page, came or left)   as it happens
 *     policy_prefetch_next / _victim / _issued / _late      while the link has nothing better to do
 *
 * Prefetch is planned by break-even. A candidate is a page that a predictor expects in one of the
 * next layers with probability p; it is worth its copy if what it saves on average (p x the stall
 * of one copy) exceeds what the page it displaces is worth plus the bytes it wastes, and bytes
 * wasted are held below `waste_share` of what demand reads by a budget that only demand refills.
 * Outcomes are measured; where the measured profit is negative the planner turns itself off and
 * looks again later.
 *
 * Pure and deterministic (seed). Nothing is allocated after open. One thread. */
#ifndef MOERING_ENGINE_PAGING_POLICY_H
#define MOERING_ENGINE_PAGING_POLICY_H

#include "engine/paging/evict.h"
#include "engine/paging/prefetch.h"
#include "engine/predict/loads.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Who foretells the experts of the next layers. */
enum foresight { FORESIGHT_AUTO, FORESIGHT_TRANSITION, FORESIGHT_PREVIOUS, FORESIGHT_LOOKAHEAD,
                 FORESIGHT_KINDS };
const char *foresight_name(enum foresight kind); /* "auto", "transition", ... */

#define POLICY_AHEAD_MAX 4 /* layers */

struct policy_config {
    uint32_t layers, experts, top_k;
    uint32_t slots;            /* of the device tier: how far ahead eviction must think */
    bool everything_fits; /* every page has a slot: nothing to decide, only loads are followed */
    const uint8_t *page_class; /* [layers * experts] size class of each page, copied; NULL: all 0 */
    enum evict_kind evict;
    enum foresight foresight;
    enum prefetch_mode prefetch;
    uint32_t ahead;            /* layers looked ahead, at most POLICY_AHEAD_MAX; 0: 2 */
    float waste_share;         /* wasted prefetch bytes / demand bytes; 0: 0.09 */
    bool slow_clock;           /* follow loads by ticks: states and forecasts (predict/loads.h) */
    struct predictor *lstm[LOAD_PHASES]; /* with slow_clock: another forecast of loads, as
                                          * loads_config has it; borrowed; NULL: none */
    uint64_t seed;
};

struct policy;

/* Bytes that policy_open takes, as a term of the budget: what grows with pages, and a little. With
 * an LSTM LOADS_LSTM_PAGE_BYTES more per page and phase, which its owner counts with the LSTM's
 * own. */
uint64_t policy_bytes(const struct policy_config *config);
enum status policy_open(struct policy **out, const struct policy_config *config,
                        struct error *error);
void policy_close(struct policy *policy); /* accepts NULL */
/* The device tier has another number of slots; what was learned stays. Residency is told as ever:
 * tell all of it after this. NO_MEMORY: the planner, which was not needed while everything fitted,
 * could not be opened; the policy works on without it. */
enum status policy_resized(struct policy *policy, uint32_t slots, bool everything_fits,
                           struct error *error);

/* A layer's routing is known. Call before its misses are fetched. */
void policy_run(struct policy *policy, const struct layer_run *run);
/* What the router of layer (present + distance) says of the present hidden state: score[experts],
 * of which only the order counts; for FORESIGHT_AUTO and _LOOKAHEAD. After policy_run, before
 * _next. */
void policy_lookahead(struct policy *policy, uint32_t distance, const float *score);

/* How many layers ahead telling it is of use now; 0: not at all. */
uint32_t policy_looks_ahead(const struct policy *policy);

/* As evict_resident, evict_victim. */
void policy_resident(struct policy *policy, enum memory_tier tier, page_id page, bool resident);
page_id policy_victim(struct policy *policy, enum memory_tier tier, uint32_t size_class,
                      evict_allowed_fn *allowed, void *arg);

/* Did another layer than the running one use this page in its last run, or was it brought since? */
bool policy_live(const struct policy *policy, page_id page);
/* Uses that may be expected of a page in the next `rounds` rounds of all layers, the near ones by
 * what is learned of it, the far ones by how often it was used at all. Rules of eviction that learn
 * nothing say 1 or 0, as evict_worth. */
double policy_uses(const struct policy *policy, page_id page, double rounds);

/* ---- prefetch ---- */

/* What the run of a layer before this one took in all: computing, waiting, planning; before
 * policy_run. Not for prompts, nor across steps. Without it prefetching is judged by pages
 * alone. */
void policy_spent(struct policy *policy, double ns);
/* What copies and computing take, measured by the caller: one page over the link, one layer's
 * computing. May be called any time; before the first call both count as equal. */
void policy_measured(struct policy *policy, double page_ns, double layer_ns);
/* The best page to bring now that is neither resident nor issued; false: none is worth it. Each
 * page is offered once per run of a layer. */
bool policy_prefetch_next(struct policy *policy, struct prefetch_pick *pick);
/* A page in the way of `pick` that is worth less than it, to be evicted for it; PAGE_NONE: none. */
page_id policy_prefetch_victim(struct policy *policy, const struct prefetch_pick *pick,
                               enum memory_tier tier, uint32_t size_class,
                               evict_allowed_fn *allowed, void *arg);
/* It was queued; `displaced` was evicted for it, or PAGE_NONE. What comes of it the policy sees by
 * itself: used (policy_run), gone (policy_resident). */
void policy_prefetch_issued(struct policy *policy, const struct prefetch_pick *pick,
                            page_id displaced);
/* Has a queued prefetch become pointless (its layer has run)? Then cancel it if it has not begun,
 * and tell policy_prefetch_dropped. */
bool policy_prefetch_late(const struct policy *policy, page_id page);
void policy_prefetch_dropped(struct policy *policy, page_id page);

/* Guesses for one layer; zeros while nothing was ever planned. */
void policy_prefetch_count(const struct policy *policy, uint32_t layer, struct prefetch_count *out);

/* The slow clock; NULL without one. Read only. */
const struct loads *policy_loads(const struct policy *policy);

struct policy_counters {
    struct prefetch_figures prefetch;
    enum foresight foresight;     /* in use now; FORESIGHT_AUTO: none yet */
    double foresight_loss[FORESIGHT_KINDS]; /* log loss per expert at distance 1; 0: not measured */
};
#ifdef __cplusplus /* a struct and a function of one name: C++ warns, and means well */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
void policy_counters(const struct policy *policy, struct policy_counters *out);
#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif
#ifdef __cplusplus
}
#endif
#endif
