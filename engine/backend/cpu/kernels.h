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

/* c[i][j] += a[i][k] * b[k][j]: for each i, j a chain c = fma(a, b, c) (scalar: product and sum
 * round separately) over k = 0 .. depth - 1 in this order, whatever the shape of the call. */
struct kernel_product {
    float *c;
    const float *a;
    const float *b;
    size_t c_stride, a_stride, b_stride; /* values from row to row */
    uint32_t rows;                       /* of a and c */
    uint32_t depth;                      /* columns of a, rows of b */
    uint32_t cols;                       /* of b and c */
};

/* The dot products of any number of rows with each other. */
struct kernel_dots {
    float *to;             /* [x_rows][to_stride]: x[i] . w[j] */
    const float *x;        /* [x_rows][x_stride] */
    const uint8_t *w;      /* [w_rows], encoded */
    size_t to_stride, x_stride; /* values */
    size_t w_stride_bytes;
    uint32_t x_rows, w_rows;
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
    /* The same sums as dot, tile by tile. */
    void (*dots)(const struct kernel_dots *d);
};

struct kernels {
    uint32_t tile_x; /* activation rows of a full tile */
    struct kernels_of_format format[DTYPE_COUNT];
    void (*encode_f16)(uint8_t *to, const float *from, size_t n); /* as f32_to_f16 */
    float (*sum_squares)(const float *x, size_t n);
    /* out[i] = x[i] * factor * weight[i], in this order; out may be x. */
    void (*normalize)(float *out, const float *x, const float *weight, float factor, size_t n);
    void (*product)(const struct kernel_product *p);
    /* x[i] *= scale; the largest of these, or any of them where one is NaN. n >= 1. */
    float (*scale_max)(float *x, float scale, size_t n);
    /* x[i] = exp(x[i] - max); the sum of these. */
    float (*exp_sum)(float *x, float max, size_t n);
    /* The pair (a[i], b[i]) turned: a * cosine - b * sine, b * cosine + a * sine. */
    void (*rotate)(float *a, float *b, const float *cosines, const float *sines, size_t n);
    /* gate[i] = silu(gate[i]) * up[i], silu(g) = g / (1 + exp(-g)). */
    void (*silu_mul)(float *gate, const float *up, size_t n);
    void (*scale)(float *x, float factor, size_t n);
    void (*add)(float *to, const float *x, size_t n); /* to[i] += x[i] */
    void (*add_scaled)(float *to, const float *x, float factor, size_t n); /* += x[i] * factor */
    /* x[i] = exp(x[i]): within 2 ulp wherever the result is normal, 0 and infinity beyond, exp(0)
     * exactly 1, NaN stays NaN. What softmax and silu_mul are made of, here for their tests. */
    void (*exp)(float *x, size_t n);
};

extern const struct kernels kernels_scalar;
#if defined(__x86_64__)
extern const struct kernels kernels_avx2;
extern const struct kernels kernels_avx512;
#elif defined(__aarch64__)
extern const struct kernels kernels_neon;
#endif

/* NULL: this build or this machine lacks the instruction set. CPU_BEST is not one. */
const struct kernels *kernels_find(enum cpu_isa isa);

#ifdef __cplusplus
}
#endif
#endif
