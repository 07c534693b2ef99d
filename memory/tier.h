/* A place pages can be resident in: a ring per size class, a page table over them, and counters.
 * Host memory and the device are two instances of this type, so there is one state machine to get
 * right. Storage is not a tier of this kind: it is complete and never evicts (store.h). */
#ifndef MOERING_MEMORY_TIER_H
#define MOERING_MEMORY_TIER_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/extent.h"
#include "memory/memory.h"
#include "memory/ring.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TIER_NONE UINT32_MAX
/* In builds with MOERING_DEBUG_CHECKS every byte of a slot that becomes FREE, and again when it is
 * claimed. All ones are NaN in F32, BF16, F16 and both kinds of F8, so whoever computes with a slot
 * that is no longer his, or not yet, gets NaN instead of almost the right answer. */
#define TIER_POISON 0xFF

/* The allocations that one ring's slots lie in, in slot order. The last may have more slots than
 * the ring: then the ring shrank, and growing uses those first. */
struct tier_extents {
    struct extent *at;
    uint32_t count, room;
    uint32_t slots; /* of all of them */
};

struct tier {
    const struct store *store;
    struct extent_place place;
    struct ring ring[STORE_CLASSES_MAX];
    struct tier_extents extents[STORE_CLASSES_MAX];
    uint32_t first[STORE_CLASSES_MAX]; /* the number in the tier of each ring's slot 0 */
    uint32_t classes;
    uint32_t capacity;    /* of all rings, one for each page of the store; a slot's number in the
                           * tier is first[class] + its place, present or not */
    struct slot *slot;    /* capacity */
    uint8_t **bytes;      /* capacity; NULL: no extent has it */
    uint64_t *fence;      /* capacity; nothing is written into the slot before it (device.h) */
    uint32_t *slot_of;    /* store_pages: the page table; TIER_NONE: FREE */
    uint32_t ready;       /* pages */
    uint64_t ready_bytes; /* of their slots, padding included */
    uint64_t evictions;
    struct memory_listener listener; /* moved NULL: none */
};

/* The device in `place` is lent until tier_close; its counts are zero. `slots` as tier_reserve, and
 * may be 0. NO_MEMORY: the whole tier's bytes are named. */
enum status tier_open(struct tier *tier, const struct store *store, const struct tier_slots *slots,
                      const struct extent_place *place, struct error *error);
/* No copy is under way. Accepts a zeroed tier. */
void tier_close(struct tier *tier);

/* Takes the memory that these numbers of slots need beyond what is there; the rings stay as they
 * are until tier_set_slots. At most as many slots as pages. NO_MEMORY: nothing has changed. */
enum status tier_reserve(struct tier *tier, const struct tier_slots *slots, struct error *error);
/* Each ring has that many slots from now on; there is memory for them, and those that go are FREE.
 * Extents that no slot is left of go back, after the fences of their slots. */
void tier_set_slots(struct tier *tier, const struct tier_slots *slots);
/* Tells `listener` of what is READY, and from now on of what becomes READY and what leaves. */
void tier_listen(struct tier *tier, struct memory_listener listener);

enum slot_state tier_where(const struct tier *tier, page_id page);
/* The slot's number in the tier; TIER_NONE where the page is FREE. */
uint32_t tier_slot(const struct tier *tier, page_id page);
uint8_t *tier_bytes(const struct tier *tier, page_id page); /* not FREE */
uint64_t tier_fence(const struct tier *tier, page_id page); /* of its slot; not FREE */
uint32_t tier_generation(const struct tier *tier, uint32_t slot);
uint32_t tier_pins(const struct tier *tier, page_id page);  /* 0 where not READY */
/* Is there a FREE slot for this page's class? */
bool tier_has_room(const struct tier *tier, page_id page);

/* FREE -> LOADING; there must be room. Returns the slot's number. */
uint32_t tier_claim(struct tier *tier, page_id page);
void tier_land(struct tier *tier, page_id page); /* LOADING -> READY */
void tier_fail(struct tier *tier, page_id page); /* LOADING -> FREE */
/* READY, no pins -> FREE; who may still read the slot is done at the fence (0: nobody). */
void tier_evict(struct tier *tier, page_id page, uint64_t fence);
void tier_pin(struct tier *tier, page_id page);
void tier_unpin(struct tier *tier, page_id page);
/* The next page by the hand of this class that is READY and has no pins; PAGE_NONE: none. */
page_id tier_sweep(struct tier *tier, uint32_t size_class);

/* CHECKs every invariant of the tier and its rings; O(pages). */
void tier_check(const struct tier *tier);

#ifdef __cplusplus
}
#endif
#endif
