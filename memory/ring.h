/* The circle of slots of one size class, with one hand.
 *
 * Owns the states of its slots and the order of the hand. Knows no bytes, no files, no copies and
 * no page table (tier.h has them), and chooses no victim: ring_sweep offers, the caller decides.
 * It has `slots` slots of the `capacity` that it could have; the others are absent: FREE, in no
 * list, with a generation that goes on where it was when they come back. */
#ifndef MOERING_MEMORY_RING_H
#define MOERING_MEMORY_RING_H

#include <stddef.h>
#include <stdint.h>

#include "memory/slot.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RING_NONE UINT32_MAX

struct ring {
    struct slot *slot; /* `capacity` of them, lent by the tier */
    uint32_t capacity, slots;
    uint32_t hand;               /* where the next sweep begins; 0 <= hand < slots */
    uint32_t free_head;          /* RING_NONE: no free slot */
    uint32_t count[SLOT_STATES]; /* present slots in each state */
};

/* No slot present, generations 0. */
void ring_init(struct ring *ring, struct slot *slot, uint32_t capacity);
/* Slots 0 to slots - 1 are present from now on (<= capacity); those that go are FREE. */
void ring_resize(struct ring *ring, uint32_t slots);

/* FREE -> LOADING for `page`, with a new generation. RING_NONE: no FREE slot. */
uint32_t ring_claim(struct ring *ring, page_id page);
/* LOADING -> READY. */
void ring_land(struct ring *ring, uint32_t slot);
/* LOADING -> FREE. */
void ring_fail(struct ring *ring, uint32_t slot);
/* READY, no pins -> FREE. */
void ring_release(struct ring *ring, uint32_t slot);
/* READY only; pins nest. */
void ring_pin(struct ring *ring, uint32_t slot);
void ring_unpin(struct ring *ring, uint32_t slot);

/* The next READY slot without pins from the hand on; the hand moves past it. RING_NONE: none. */
uint32_t ring_sweep(struct ring *ring);

/* CHECKs every invariant of the ring; O(capacity). */
void ring_check(const struct ring *ring);

#ifdef __cplusplus
}
#endif
#endif
