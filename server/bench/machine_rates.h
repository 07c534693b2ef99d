/* What this machine can do at best: the bounds that figures of a benchmark stand beside.
 *
 * Every program that quotes a bound uses these measures, so that their figures can be compared.
 * Each call measures anew: what else runs on a machine changes its rates from minute to minute. */
#ifndef MOERING_SERVER_BENCH_MACHINE_RATES_H
#define MOERING_SERVER_BENCH_MACHINE_RATES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes per second that `threads` threads read from memory and do nothing else with: the bound of
 * whatever reads each weight once. Best of several passes over `bytes` of `data` (64-byte aligned,
 * far larger than the caches, already written to, so that its pages exist). 0: no thread could be
 * started. */
double machine_memory_rate(const void *data, size_t bytes, uint32_t threads);

#define MACHINE_PROBE_BYTES ((size_t)256 << 20)
/* The same over memory of its own, MACHINE_PROBE_BYTES. NO_MEMORY. */
enum status machine_memory_probe(uint32_t threads, double *rate, struct error *error);

struct machine_storage {
    double rate;     /* bytes per second */
    bool direct;     /* past the page cache; false: the file system refuses O_DIRECT, so this is not
                        the storage's rate where the file was read before */
};
/* Reads pieces of `piece_bytes` (a multiple of 4096) at random places of a file, `depth` threads
 * each with one read under way, for about a third of a second. INVALID: the file is shorter than a
 * piece; NOT_FOUND, IO; NO_MEMORY. */
enum status machine_storage_rate(const char *path, uint32_t depth, size_t piece_bytes,
                                 struct machine_storage *out, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
