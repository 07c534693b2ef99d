/* The inner loops of the CPU backend: one table per instruction set, chosen once at open.
 *
 * A table is the product of two factors that know nothing of each other: what an instruction set
 * can do (kernels_scalar.c, kernels_avx2.c, kernels_avx512.c) and how a number format is decoded (a
 * load function of a few instructions). Operations above (matmul.c, attention.c, ...) know neither.
 *
 * Order of sums, the promise behind bit-identical logits: a sum over n values uses L lanes (L is
 * fixed per instruction set); lane l adds the values l, l + L, l + 2L, ... in rising order, and the
 * lanes are then added in one fixed tree. Nothing but n enters, so a result is the same whichever
 * kernel, tile or thread computed it. Different instruction sets may differ in the last bits.
 *
 * Pointers to weights and to KV need no alignment; activations are aligned as floats. Every kernel
 * accepts n = 0. Pure functions: any thread. */
#ifndef MOERING_ENGINE_BACKEND_CPU_KERNELS_H
#define MOERING_ENGINE_BACKEND_CPU_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/backend/backend.h"
#include "engine/quant/dtype.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KERNEL_TILE_W 4     /* weight rows in one tile at most */
#define KERNEL_TILE_X_MAX 8 /* activation rows in one tile at most, of any instruction set */

/* The dot products of a few weight rows with a few activation rows. */
struct kernel_tile {
    const uint8_t *w;      /* first weight row */
    size_t w_stride_bytes; /* to the next */
    uint32_t w_rows;       /* 1 .. KERNEL_TILE_W */
    uint32_t x_rows;       /* 1 .. tile_x of the table */
    const float *const *x; /* [x_rows], each of n values */
    size_t n;
};

struct kernels_of_format {
    /* sums[i * KERNEL_TILE_W + j] = x[i] . w[j]. */
    void (*dot)(float *sums, const struct kernel_tile *tile);
    /* to[i] = value i of the row, exact. */
    void (*decode)(float *to, const uint8_t *row, size_t n);
    /* acc[i] += weights[r] * value i of row r, for r = 0 .. count - 1 in this order. */
    void (*accumulate)(float *acc, const uint8_t *rows, size_t stride_bytes, const float *weights,
                       size_t count, size_t n);
};

struct kernels {
    uint32_t tile_x; /* activation rows of a full tile */
    struct kernels_of_format format[DTYPE_COUNT];
    void (*encode_f16)(uint8_t *to, const float *from, size_t n); /* as f32_to_f16 */
    float (*sum_squares)(const float *x, size_t n);
    /* out[i] = x[i] * factor * weight[i], in this order; out may be x. */
    void (*normalize)(float *out, const float *x, const float *weight, float factor, size_t n);
    /* x[i] = exp(scale * x[i] - max of scale * x); the sum of these. n >= 1. */
    float (*softmax)(float *x, float scale, size_t n);
    /* gate[i] = silu(gate[i]) * up[i], silu(g) = g / (1 + exp(-g)). */
    void (*silu_mul)(float *gate, const float *up, size_t n);
    void (*scale)(float *x, float factor, size_t n);
    void (*add)(float *to, const float *x, size_t n); /* to[i] += x[i] */
    /* x[i] = exp(x[i]): within 2 ulp wherever the result is normal, 0 and infinity beyond, exp(0)
     * exactly 1, NaN stays NaN. What softmax and silu_mul are made of, here for their tests. */
    void (*exp)(float *x, size_t n);
};

extern const struct kernels kernels_scalar;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2;
extern const struct kernels kernels_avx512;
#endif

/* NULL: this build or this machine lacks the instruction set. CPU_BEST is not one. */
const struct kernels *kernels_find(enum cpu_isa isa);

#ifdef __cplusplus
}
#endif
#endif
