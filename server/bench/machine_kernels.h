/* How fast this program's own multiplication kernels are when nothing but arithmetic limits them:
 * weights and activations lie in a processor's own cache. Beside machine_peak.h it tells what is
 * left to gain in a kernel, beside a model's speed what is lost around it. */
#ifndef MOERING_SERVER_BENCH_MACHINE_KERNELS_H
#define MOERING_SERVER_BENCH_MACHINE_KERNELS_H

#include <stdint.h>

#include "engine/backend/backend.h"
#include "engine/quant/dtype.h"
#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct machine_kernel {
    const char *table; /* the kernels' name, "avx512-vnni" */
    double ops_per_s;  /* multiplications and additions of weights with activations */
};

/* Weights of `dtype` (a block format: times 8-bit activations; F32, F16, BF16: times f32) with
 * `rows` rows of activations, on `threads` threads at once. About a tenth of a second.
 * UNSUPPORTED: no kernel for this format; NO_MEMORY. */
enum status machine_kernel_measure(enum dtype dtype, uint32_t rows, enum cpu_isa isa,
                                   uint32_t threads, struct machine_kernel *out,
                                   struct error *error);

#ifdef __cplusplus
}
#endif
#endif
