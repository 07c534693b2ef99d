/* A place pages can be resident in: a ring per size class, a page table over them, and counters.
 * Host memory and the device are two instances of this type, so there is one state machine to get
 * right. Storage is not a tier of this kind: it is complete and never evicts (store.h). */
#ifndef MOERING_MEMORY_TIER_H
#define MOERING_MEMORY_TIER_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/device.h"
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

struct tier {
    const struct store *store;
    struct device *device; /* whose memory the slots are; NULL: the host's. For poisoning alone */
    struct ring ring[STORE_CLASSES_MAX];
    uint32_t first[STORE_CLASSES_MAX]; /* the number in the tier of each ring's slot 0 */
    uint32_t classes;
    uint32_t slots;      /* of all rings; a slot's number in the tier is first[class] + its place */
    struct slot *slot;   /* slots */
    uint32_t *slot_of;   /* store_pages: the page table; TIER_NONE: FREE */
    uint32_t ready;      /* pages */
    uint64_t ready_bytes; /* of their slots, padding included */
    uint64_t evictions;
};

/* Bytes that `slots` take, a multiple of 4096. False: the product overflows. */
bool tier_arena_bytes(const struct store *store, const struct tier_slots *slots, uint64_t *bytes);
/* `arena`: tier_arena_bytes, aligned to 4096, of `device` (NULL: the host's); both lent until
 * tier_close. NO_MEMORY. */
enum status tier_open(struct tier *tier, const struct store *store, const struct tier_slots *slots,
                      struct device *device, uint8_t *arena, struct error *error);
/* Accepts a zeroed tier. */
void tier_close(struct tier *tier);

enum slot_state tier_where(const struct tier *tier, page_id page);
/* The slot's number in the tier; TIER_NONE where the page is FREE. */
uint32_t tier_slot(const struct tier *tier, page_id page);
uint8_t *tier_bytes(const struct tier *tier, page_id page); /* not FREE */
uint32_t tier_generation(const struct tier *tier, uint32_t slot);
uint32_t tier_pins(const struct tier *tier, page_id page);  /* 0 where not READY */
/* Is there a FREE slot for this page's class? */
bool tier_has_room(const struct tier *tier, page_id page);

/* FREE -> LOADING; there must be room. Returns the slot's number. */
uint32_t tier_claim(struct tier *tier, page_id page);
void tier_land(struct tier *tier, page_id page);  /* LOADING -> READY */
void tier_fail(struct tier *tier, page_id page);  /* LOADING -> FREE */
void tier_evict(struct tier *tier, page_id page); /* READY, no pins -> FREE */
void tier_pin(struct tier *tier, page_id page);
void tier_unpin(struct tier *tier, page_id page);
/* The next page by the hand of this class that is READY and has no pins; PAGE_NONE: none. */
page_id tier_sweep(struct tier *tier, uint32_t size_class);

/* CHECKs every invariant of the tier and its rings; O(slots + pages). */
void tier_check(const struct tier *tier);

#ifdef __cplusplus
}
#endif
#endif
