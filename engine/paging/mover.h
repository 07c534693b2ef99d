/* Carries out what the policy decides: makes room, starts copies of demand, of guesses and of whole
 * layers, and tells the policy what came and went. The only file beside expert_pager.c that calls
 * memory/.
 *
 * Rules of room, from the strictest:
 *   a guess displaces only what the policy holds for worth less, and waits for an idle link;
 *   a whole layer displaces what the policy would evict, but no page of a layer that holds a layer
 *   slot and has not been computed;
 *   demand displaces anything that is not pinned, but past its share of the ring no page that its
 *   layer used in its last run (see mover_demand). */
#ifndef MOERING_ENGINE_PAGING_MOVER_H
#define MOERING_ENGINE_PAGING_MOVER_H

#include "engine/paging/expert_map.h"
#include "engine/paging/policy.h"
#include "engine/paging/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MOVER_GUESSES_MAX 4 /* queued or on their way at once */

/* One guess that has been queued. */
struct mover_guess {
    page_id page;
    struct transfer transfer;
};

/* All borrowed. */
struct mover_config {
    struct memory *memory;
    struct policy *policy;
    struct stream *stream; /* NULL: whole layers are never loaded */
    struct expert_map *map; /* told what the policy is told; NULL: nobody looks */
    uint32_t layers, experts;
    uint64_t *fence;       /* [layers] work up to here may read pages of the layer */
    uint64_t *evictions; /* [layers][MEMORY_TIERS] counts pages that left to make room; NULL: nobody
                            counts */
};

struct mover {
    struct memory *memory; /* as mover_config, down to `evictions` */
    struct policy *policy;
    struct stream *stream;
    struct expert_map *map;
    uint32_t layers, experts;
    uint64_t *fence;
    uint64_t *evictions;
    bool full[STORE_CLASSES_MAX]; /* the newest demand of the class found no free slot */
    struct mover_guess guess[MOVER_GUESSES_MAX];
    uint32_t guesses;
    uint32_t loading_layer;  /* whole layer whose pages are being queued; STREAM_NONE: none */
    uint32_t loading_expert; /* the next of it */
    uint64_t arrived;        /* pages that reached the device tier */
};

void mover_init(struct mover *mover, const struct mover_config *config);
/* A tier has other numbers of slots, and `stream` has given its layer slots back: what was noted of
 * rings that are full and of layers half loaded holds no more. Guesses on their way go on; those
 * that were cancelled are told of by events. */
void mover_resized(struct mover *mover);
/* Starts the copy of a page that the layer at hand waits for. `spare_live`: where the ring is full
 * of pages that their layers used in their last runs, give up instead of evicting one. False: no
 * room can be had now. */
bool mover_demand(struct mover *mover, page_id page, bool spare_live);
/* Work given to the device's processor up to this fence (memory/device.h) may read any page of the
 * layer: none that leaves is overwritten before. */
void mover_fence(struct mover *mover, uint32_t layer, uint64_t fence);
/* The page that a demand of this size class would push out of the device tier; PAGE_NONE: there is
 * room without, or there is no room to be had. */
page_id mover_leaving(struct mover *mover, uint32_t size_class);
#ifdef __cplusplus /* a struct and a function of one name: C++ warns, and means well */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
/* Queues guesses as far as there are any worth it; to be called when no demand waits. */
void mover_guess(struct mover *mover);
#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif
/* Cancels guesses whose layer has run. After policy_run. */
void mover_drop_late(struct mover *mover);
/* Queues whole layers as the schedule asks and room allows. */
void mover_stream(struct mover *mover);
/* Whether a page is READY in a tier, for everybody who keeps books of it. */
void mover_resident(struct mover *mover, enum memory_tier tier, page_id page, bool resident);
/* A journey has ended, well, by failing or CANCELLED by a resize: tells the policy where the page
 * is now, which need not be where the event left it. */
void mover_event(struct mover *mover, const struct memory_event *event);

#ifdef __cplusplus
}
#endif
#endif
