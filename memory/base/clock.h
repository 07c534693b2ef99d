/* Monotonic time. Policies never call this: time is passed to them. */
#ifndef MOERING_MEMORY_BASE_CLOCK_H
#define MOERING_MEMORY_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

static inline uint64_t clock_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#ifdef __cplusplus
}
#endif
#endif
