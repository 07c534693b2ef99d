/* The fixed circle of equal slots of one size class, with one hand.
 *
 * Owns the states of its slots and the order of the hand. Knows no files, no copies and no page
 * table (tier.h has it), and chooses no victim: ring_sweep offers, the caller decides. */
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
    struct slot *slot;   /* `slots` of them, lent by the tier */
    uint8_t *base;       /* slots x slot_bytes, lent by the tier; may be device memory */
    uint64_t slot_bytes; /* multiple of 4096 */
    uint32_t slots;
    uint32_t hand;              /* where the next sweep begins; 0 <= hand < slots */
    uint32_t free_head;         /* RING_NONE: no free slot */
    uint32_t count[SLOT_STATES]; /* slots in each state */
};

/* All slots FREE, generations 0. slots = 0 makes an empty ring that never has room. */
void ring_init(struct ring *ring, struct slot *slot, uint32_t slots, uint8_t *base,
               uint64_t slot_bytes);

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

static inline uint8_t *ring_bytes(const struct ring *ring, uint32_t slot)
{
    return ring->base + (size_t)slot * ring->slot_bytes;
}

/* CHECKs every invariant of the ring; O(slots). */
void ring_check(const struct ring *ring);

#ifdef __cplusplus
}
#endif
#endif
