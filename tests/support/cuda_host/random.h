/* The dice of the double: xorshift64*, so that a seed names one run on every machine. */
#ifndef CUDA_HOST_RANDOM_H
#define CUDA_HOST_RANDOM_H

#include <stdint.h>

namespace cuda_host {

struct random {
    uint64_t state = 1;
};

static inline void random_init(struct random *r, uint64_t seed)
{
    r->state = (seed + 1) * 0x9e3779b97f4a7c15u;
    if (r->state == 0)
        r->state = 1;
}

static inline uint32_t random_next(struct random *r)
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return (uint32_t)((r->state * 0x2545f4914f6cdd1du) >> 32);
}

/* 0 .. bound-1; bound > 0. */
static inline uint32_t random_below(struct random *r, uint32_t bound)
{
    return (uint32_t)(((uint64_t)random_next(r) * bound) >> 32);
}

} // namespace cuda_host

#endif
