/* The 32 lanes of a warp: who is ready, who waits, and what lanes that meet give each other. Pure
 * state: block.cc decides when. */
#ifndef CUDA_HOST_WARP_H
#define CUDA_HOST_WARP_H

#include <stdint.h>

#include "tests/support/cuda_host/fibre.h"
#include "tests/support/cuda_host/include/cuda_host_device.h"

namespace cuda_host {

struct warp_deposit {
    uint32_t mask;
    enum cuda_host_meeting meeting;
    uint32_t source; /* of a shuffle */
    int line;
    uint64_t value; /* brought; the lane's result once the meeting is complete */
};

struct warp {
    uint32_t exists;     /* lanes that the block has */
    uint32_t ready;      /* may run, but do not */
    uint32_t exited;     /* have returned */
    uint32_t met;        /* wait in a warp collective */
    uint32_t at_barrier; /* wait at the block's barrier */
    uint32_t passed;     /* have met a barrier */
    uint32_t order;      /* which ready lane is next, see warp_draw() */
    struct warp_deposit deposits[32];
    struct fibre *fibres[32]; /* null: not begun */
};

void warp_init(struct warp *w, uint32_t exists, uint32_t order);
/* Gives every lane of `mask`, all of which have met, its result. False: they differ in the mask or
 * in what they meet for. */
bool warp_complete(struct warp *w, uint32_t mask, enum cuda_host_meeting meeting);
/* Whether a lane that has met waits for one of `lanes`. */
bool warp_waits_for(const struct warp *w, uint32_t lanes);
const char *warp_meeting_name(enum cuda_host_meeting meeting);

/* One of the members of `set` (not empty): the nearest to a drawn place, up or down. */
static inline unsigned warp_draw(uint32_t set, uint32_t dice)
{
    unsigned turn = dice & 31;
    uint32_t turned = turn ? set >> turn | set << (32 - turn) : set;
    unsigned place =
        dice & 32 ? (unsigned)__builtin_ctz(turned) : 31u - (unsigned)__builtin_clz(turned);
    return (place + turn) & 31;
}

} // namespace cuda_host

#endif
