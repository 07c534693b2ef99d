/* Which page leaves a tier when room is needed.
 *
 * Each rule gives every resident page a rank, and the lowest rank leaves. What all rules share
 * makes the choice cheap: inside one layer the order of ranks changes only when that layer runs or
 * a page comes or goes, so the lowest page of each layer is remembered and a choice compares one
 * page per layer instead of sweeping the ring.
 *
 *   learned  the discounted use to be expected of a page (predict/use_value.h), discounted further
 *            by the layers until its own runs again; pages that a predictor expects in one of the
 *            next layers rank by that probability if it is higher
 *   round    layers until its layer runs again + a full round for each run that did without it
 *   lru      least recently used
 *   lfu      fewest uses, counts multiplied by a factor below 1 every so many runs (SE-MoE's rule);
 *            counts are kept for pages that are not resident, newcomers are spared for a round
 *   forecast where a layer's loads are stable: by the chance of use that its load forecast gives
 *            (the slow clock, predict/loads.h); where they are transient: as `round`
 *   random   any, drawn evenly; for comparison
 *
 * The host tier's horizon is long: there `learned` ranks by the chance of use in one run, from the
 * forecast for stable layers, the slow rate of use (predict/history.h) for transient ones.
 *
 * Pure: no IO, no clock; time is the count of layer runs. Nothing is allocated after open. */
#ifndef MOERING_ENGINE_PAGING_EVICT_H
#define MOERING_ENGINE_PAGING_EVICT_H

#include <stdbool.h>

#include "engine/predict/history.h"
#include "engine/predict/predictor.h"
#include "engine/predict/use_value.h"
#include "memory/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

enum evict_kind {
    EVICT_LEARNED,
    EVICT_ROUND,
    EVICT_LRU,
    EVICT_LFU,
    EVICT_FORECAST,
    EVICT_RANDOM,
    EVICT_KINDS
};
const char *evict_kind_name(enum evict_kind kind); /* "learned" */

struct evict_config {
    uint32_t layers, experts;
    enum evict_kind kind;
    const uint8_t *page_class;     /* [layers * experts], copied; NULL: all of class 0 */
    const struct use_value *value; /* borrowed; told of each run before evict_run; for LEARNED */
    const struct history *history; /* borrowed; told of each run before evict_run; for LEARNED */
    uint64_t seed;                 /* for RANDOM */
};

struct evict;

/* Pages are numbered layer * experts + expert. NO_MEMORY. */
enum status evict_open(struct evict **out, const struct evict_config *config, struct error *error);
void evict_close(struct evict *evict); /* accepts NULL */
/* The gamma of its use values has changed (use_value_set_gamma). */
void evict_resized(struct evict *evict);

/* A layer runs now, with these experts. */
void evict_run(struct evict *evict, const struct layer_run *run);
/* What a predictor says of a layer ahead: probability[experts], lent until that layer runs or the
 * next call for it; NULL: nothing. Only LEARNED listens. */
void evict_expect(struct evict *evict, uint32_t layer, const float *probability);
/* What the slow clock says of a stable layer: chance[experts] > 0 of being used in one run of it,
 * lent until the next call for it; NULL: the layer is transient. */
void evict_forecast(struct evict *evict, uint32_t layer, const float *chance);
/* A page came into a tier or left it. Telling what is so already changes nothing. */
void evict_resident(struct evict *evict, enum memory_tier tier, page_id page, bool resident);

/* May this resident page be evicted now (no pins, no copy from it)? */
typedef bool evict_allowed_fn(void *arg, enum memory_tier tier, page_id page);
/* The page to evict from a tier's ring of one size class. In the host tier pages that are also in
 * the device tier go first: losing them costs nothing now. PAGE_NONE: nothing there can be evicted.
 * Cost: O(layers) + O(experts) for each layer whose lowest page may not leave; RANDOM: O(pages). */
page_id evict_victim(struct evict *evict, enum memory_tier tier, uint32_t size_class,
                     evict_allowed_fn *allowed, void *arg);
/* LEARNED: what losing the page would cost, 0..1, comparable with the probability of a guess in the
 * same layer; other rules: 0 if it sat out a whole round of its layer, else 1. */
float evict_worth(const struct evict *evict, page_id page);
/* Did another layer than the running one use this page in its last run, or was it brought since? */
bool evict_live(const struct evict *evict, page_id page);

#ifdef __cplusplus
}
#endif
#endif
