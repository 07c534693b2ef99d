/* The rate at which threads read memory and do nothing else with it: the bound of whatever reads each
 * weight once. Shared by the benchmarks, so that all quote one measure. */
#ifndef MOERING_TESTS_BENCH_MEMORY_RATE_H
#define MOERING_TESTS_BENCH_MEMORY_RATE_H

#include <stddef.h>
#include <stdint.h>

/* Bytes per second, best of several passes over `bytes` of `data` (64-byte aligned, far larger than
 * the caches, already written to, so that its pages exist). */
double memory_read_rate(const void *data, size_t bytes, uint32_t threads);

#endif
