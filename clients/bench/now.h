/* Monotonic time, in one clock for all files that measure. */
#ifndef MOERING_CLIENTS_BENCH_NOW_H
#define MOERING_CLIENTS_BENCH_NOW_H

#include <stdint.h>
#include <time.h>

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#endif
