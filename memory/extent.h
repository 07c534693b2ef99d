/* Where the bytes of slots come from: a tier takes memory in extents, each one allocation with a
 * number of slots of one size class, so that it grows and shrinks by some without moving the rest.
 *
 * A host extent is page-locked for the device's copies where the device can do it; where it is
 * refused the extent is used all the same, and one line of the log says what that costs. */
#ifndef MOERING_MEMORY_EXTENT_H
#define MOERING_MEMORY_EXTENT_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/device.h"
#include "memory/pinned.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What an extent is about as large as, or one slot where a slot is larger. Small enough that a
 * shrinking tier gives back nearly what was asked, large enough that a tier of 100 GiB makes some
 * thousand allocations and not fifty thousand. */
#define EXTENT_BYTES ((uint64_t)64 << 20)

/* Where a tier's extents lie. Lent: `device`. */
struct extent_place {
    struct device *device;
    bool on_device; /* the device's memory; false: the host's, which the device copies from */
    bool lock;      /* host: mlock what the device has not page-locked */
    uint64_t staged_bytes, unlocked_bytes; /* of extents: not page-locked, not even mlocked */
    bool told_staged, told_unlocked;       /* each line is written once */
};

struct extent {
    uint8_t *base; /* multiple of 4096 */
    uint64_t bytes;
    uint32_t first, slots; /* places in the ring of its class */
    struct pinned memory;  /* of a host extent */
    bool pinned;           /* the device has page-locked it */
    bool unlocked;         /* mlock was asked for and refused */
};

/* How many slots of this size an extent has. */
uint32_t extent_slots(uint64_t slot_bytes);
/* Fills base, bytes and how it is held. NO_MEMORY: bytes named. */
enum status extent_open(struct extent *extent, struct extent_place *place, uint64_t bytes,
                        struct error *error);
/* Nothing may be copying out of it or into it. Accepts a zeroed one. */
void extent_close(struct extent *extent, struct extent_place *place);
/* Says, once each, how many bytes are staged and how many may be swapped. */
void extent_tell(struct extent_place *place);

#ifdef __cplusplus
}
#endif
#endif
