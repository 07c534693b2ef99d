/* Which page leaves a tier when room is needed. One interface; today one rule, aged LRU by rounds.
 *
 * A round is one pass through all layers, so a page can be wanted once a round, when its layer
 * runs. Plain LRU is the worst rule for such a cycle: with fewer slots than one token's working set
 * it throws out each page just before its layer comes round again and never hits. Here a page's age
 * is the number of times its layer ran *without* it, and among pages of one age the one whose layer
 * runs again last goes first:
 *
 *     expected next use = layers until its layer runs again + layers in a round x its age
 *
 * Pure: time is the count of layer runs, told by evict_layer. O(1) per use, one sweep of a ring per
 * choice. Counters exist for every page, resident or not: a newcomer keeps its history. */
#ifndef MOERING_ENGINE_PAGING_EVICT_H
#define MOERING_ENGINE_PAGING_EVICT_H

#include "memory/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

struct evict;

/* Pages are numbered layer * experts + expert. NO_MEMORY. */
enum status evict_open(struct evict **out, uint32_t layers, uint32_t experts, struct error *error);
void evict_close(struct evict *evict); /* accepts NULL */

/* Layer `layer` runs now; then each page it uses is told. */
void evict_layer(struct evict *evict, uint32_t layer);
void evict_used(struct evict *evict, page_id page);
/* A prefetch is bringing this page: it counts as used in its layer's last round, so that it is not
 * thrown out before it had its chance. */
void evict_expect(struct evict *evict, page_id page);
/* Layer runs until this page is expected to be used again; larger leaves sooner. */
uint64_t evict_distance(const struct evict *evict, page_id page);
/* The page to evict from a tier's ring of one size class, and its distance (may be NULL). In the
 * host tier pages that are also in the device tier go first: losing them costs nothing now.
 * PAGE_NONE: nothing there can be evicted. */
page_id evict_choose(struct evict *evict, struct memory *memory, enum memory_tier tier,
                     uint32_t size_class, uint64_t *distance);

#ifdef __cplusplus
}
#endif
#endif
