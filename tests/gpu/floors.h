/* What the machine at hand can do, measured in the same run as the figures that are held against
 * it. Medians of some repetitions each. Uses the current CUDA device by itself; call before an
 * engine is opened, or between steps. */
#ifndef MOERING_TESTS_GPU_FLOORS_H
#define MOERING_TESTS_GPU_FLOORS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct floors {
    char device[256];
    double copy_bytes_per_s; /* page-locked host memory to the device, in pieces of `piece_bytes` */
    double read_bytes_per_s;  /* a kernel that reads device memory and does nothing else */
    double launch_ns;         /* an empty kernel, many in a row */
};

/* `probe_bytes`: how much is read and copied at a time, larger than any cache. */
void floors_measure(struct floors *out, size_t probe_bytes, size_t piece_bytes);

/* c[m][n] = a[m][k] b[n][k]^T in bf16 with f32 sums by cuBLAS, on random values: operations per
 * second, 2 m n k each. 0: no room on the device. */
double floors_gemm(uint32_t m, uint32_t n, uint32_t k);

#ifdef __cplusplus
}
#endif
#endif
