/* Operations per second of this machine's arithmetic, nothing but registers: the bound of whatever
 * multiplies. A multiplication and an addition count as two.
 *
 * f32: fused multiply-add. int8: the sum of products of bytes, with the best instruction there is
 * (AMX, VNNI, NEON's dot product, else AVX2's three instructions). */
#ifndef MOERING_SERVER_BENCH_MACHINE_PEAK_H
#define MOERING_SERVER_BENCH_MACHINE_PEAK_H

#include <stdint.h>

#include "engine/backend/backend.h"
#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum machine_arithmetic { MACHINE_F32, MACHINE_INT8, MACHINE_ARITHMETICS };

struct machine_peak {
    const char *instructions; /* "amx-int8", "avx512-vnni", "avx2", ... */
    double ops_per_s;
};

/* With `threads` threads and the instructions that `isa` allows (CPU_BEST: all). About a tenth of a
 * second. NO_MEMORY: a thread could not be started. */
enum status machine_peak_measure(enum machine_arithmetic arithmetic, enum cpu_isa isa,
                                 uint32_t threads, struct machine_peak *out, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
