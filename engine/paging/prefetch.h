/* The prefetch planner: which pages to bring before they are asked for, if any.
 *
 * Candidates are pages that are expected in one of the next layers with probability p. A copy pays
 * if what it saves on average, p x the part of a stall that it can still hide, is more than what
 * the page it displaces is worth. Bytes are guarded apart from time: a copy that is not used is
 * waste, and waste is held below a share of what demand reads by a budget that demand refills and
 * each copy draws on by its expected waste, settled when its layer has run. The threshold on p
 * follows the budget, so that it is spent on the surest candidates.
 *
 * What counts in the end is time. In PREFETCH_AUTO, when the caller tells what runs of layers take,
 * blocks of rounds with and without prefetching alternate now and then, and it stays on only if the
 * median pair says that it saves more than it costs, planning included.
 *
 * Outcomes are also measured in pages of stall: a page used before its layer stalled on it +1, one
 * that came half way +1/2, one displaced and then missed -1. Where the sum is not positive,
 * PREFETCH_AUTO turns itself off for a while and tries again.
 *
 * Pure; time is the count of layer runs. Nothing is allocated after open. */
#ifndef MOERING_ENGINE_PAGING_PREFETCH_H
#define MOERING_ENGINE_PAGING_PREFETCH_H

#include "engine/predict/predictor.h"
#include "memory/page.h"

#ifdef __cplusplus
extern "C" {
#endif

enum prefetch_mode { PREFETCH_OFF, PREFETCH_AUTO, PREFETCH_ON }; /* ON: never turns itself off */

struct prefetch_config {
    uint32_t layers, experts;
    uint32_t slots; /* of the device tier; guesses not used yet take a quarter of them at most */
    uint32_t ahead;      /* layers */
    enum prefetch_mode mode;
    float waste_share;   /* wasted bytes / demand bytes, > 0 */
};

struct prefetch_pick {
    page_id page;
    uint32_t distance;  /* layers ahead of the running one, 1.. */
    float probability;  /* of being used when that layer runs */
};

struct prefetch;

enum status prefetch_open(struct prefetch **out, const struct prefetch_config *config,
                          struct error *error);
/* The device tier has another number of slots. */
void prefetch_resized(struct prefetch *prefetch, uint32_t slots);
void prefetch_close(struct prefetch *prefetch); /* accepts NULL */

/* A layer runs: settles what was guessed of it. */
void prefetch_run(struct prefetch *prefetch, const struct layer_run *run);
/* Where to write what is expected of layer (present + distance): [experts] probabilities; then
 * prefetch_expect. The row is valid until that layer runs. */
float *prefetch_row(struct prefetch *prefetch, uint32_t layer);
void prefetch_expect(struct prefetch *prefetch, uint32_t distance);
/* Is it worth asking predictors at all? False while turned off. */
bool prefetch_active(const struct prefetch *prefetch);

/* A page came into the device tier or left it. */
void prefetch_resident(struct prefetch *prefetch, page_id page, bool resident);
/* What the run before this one took in all, computing, waiting and planning; before prefetch_run.
 * Runs that are not told of (the first of a step, prompts) are left out of the comparison. */
void prefetch_spent(struct prefetch *prefetch, double ns);
/* Costs as measured: of one copy and of computing one layer. */
void prefetch_measured(struct prefetch *prefetch, double page_ns, double layer_ns);

/* policy.h has the contracts of these. */
bool prefetch_next(struct prefetch *prefetch, struct prefetch_pick *pick);
void prefetch_issued(struct prefetch *prefetch, const struct prefetch_pick *pick, page_id displaced,
                     float displaced_worth);
bool prefetch_late(const struct prefetch *prefetch, page_id page);
void prefetch_dropped(struct prefetch *prefetch, page_id page);

/* Pages of one layer: guesses made, those of them that were used, those that left unused. */
struct prefetch_count {
    uint64_t issued, used, wasted;
};

struct prefetch_figures {
    uint64_t issued, used, wasted; /* pages */
    bool active;
    double profit;    /* pages of stall saved per page issued, newest some hundred */
    double time_ratio; /* time with / without it, by the newest comparison; 0: none yet */
    float threshold;  /* on p */
    double budget;    /* pages that may still be wasted */
};
#ifdef __cplusplus /* a struct and a function of one name: C++ warns, and means well */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
void prefetch_figures(const struct prefetch *prefetch, struct prefetch_figures *out);
void prefetch_count(const struct prefetch *prefetch, uint32_t layer, struct prefetch_count *out);
#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif

#ifdef __cplusplus
}
#endif
#endif
