/* Dot products of packed weights (engine/quant/packed.h) with activations of 8 bits: one table per
 * instruction set. Every table gives the same bits.
 *
 * Activations: each row is cut into blocks of 32 values; scale = max |x| / 127, q = x / scale, both
 * divided in f32, q then held to -127 .. 127 (it could leave them where the scale is subnormal) and
 * rounded to nearest, ties to even; scale 0: all q 0. A block with a NaN or an infinity has the
 * scale NaN and all q 0: every output of that row is NaN, so the damage stays visible. Sums of q
 * over 16 values go with them, for formats whose codes have an offset or a minimum.
 *
 * The result for one output, whatever the table, the tile and the company, is a matter of n alone:
 * for each sub-block s of the weights (32 values; 16 in Q2_K, Q3_K, Q6_K), in rising order,
 *
 *     acc = fma((float)sum of u*q, w_scale[s] * x_scale[block], acc)   product rounded to f32
 *     acc = fma(w_min[s], x_scale[block] * (float)sum of q, acc)       Q4_1, Q5_1, Q2_K, Q4_K, Q5_K
 *
 * where the weight is w_scale[s] * u + w_min[s], u an integer of at most 8 bits and sign (the value
 * with its offset taken away, MXFP4 and IQ4_NL: by their tables), and w_scale, w_min are f32: d;
 * d * scale; m; -(dmin * min). The integer sums are exact, so how they are added is free; the fma
 * are not. That is what makes results equal for one row or many, one thread or many, and on every
 * machine. The order is that of packed_scalar.c, the truth that the others are tested against, bit
 * for bit.
 *
 * Pure functions: any thread. Weights want 64-byte alignment and accept any. For speed, a tile of
 * few rows wants its outputs in multiples of 64 (four groups are read side by side), one of many
 * rows at least 256 of them (its rows are copied into scratch once per tile). */
#ifndef MOERING_ENGINE_BACKEND_CPU_PACKED_KERNELS_H
#define MOERING_ENGINE_BACKEND_CPU_PACKED_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "engine/backend/backend.h"
#include "engine/quant/packed.h"

#ifdef __cplusplus
extern "C" {
#endif

#define ACTIVATION_BLOCK 32

/* Rows of activations in 8 bits; row r's arrays begin at r * its stride, each 64-byte aligned where
 * the rows allow it. Owns nothing. cols is a multiple of ACTIVATION_BLOCK. */
struct packed_x {
    int8_t *q;      /* [rows][cols] */
    float *scale;   /* [rows][cols / 32] */
    float *sum32;   /* [rows][cols / 32] scale * (float)sum of q */
    float *sum16;   /* [rows][cols / 16] scale * (float)sum of q */
    int16_t *count; /* [rows][cols / 16] sum of q */
    size_t cols;
};
/* Bytes of one row, all arrays; and the struct over memory for `rows` of them (64-byte aligned). */
size_t packed_x_row_bytes(size_t cols);
void packed_x_place(struct packed_x *x, void *memory, uint32_t rows, size_t cols);

/* Outputs [first, first + outputs) of a packed matrix with some rows of x. `first` is a multiple of
 * PACKED_ROWS; the last group may be a matrix's short one. */
struct packed_tile {
    const uint8_t *w;    /* the matrix */
    uint32_t w_rows;     /* of the whole matrix */
    uint32_t first, outputs;
    struct packed_x x;   /* x.cols is the matrix's */
    const uint32_t *rows; /* [count] rows of x; NULL: 0 .. count - 1 */
    uint32_t count;
    float *out;          /* [count][out_stride], at the tile's first output */
    size_t out_stride;   /* floats */
    void *scratch;       /* PACKED_SCRATCH_BYTES(cols), 64-byte aligned; of this thread */
};
/* Room for a short group made full, some rows of x side by side, and the unpacked codes and scales
 * of a few groups, whatever the kernel likes. */
#define PACKED_SCRATCH_BYTES(cols) (((size_t)(cols) * 48 + 524288 + 63) / 64 * 64)

struct packed_kernels {
    const char *name; /* "scalar", "avx2", "avx512-vnni", "amx", ... */
    void (*quantize)(const struct packed_x *x, uint32_t row, const float *from);
    /* NULL for plain formats. */
    void (*dot[DTYPE_COUNT])(const struct packed_tile *tile);
    /* Rows from which a tile runs at its full speed: who cuts work gives so many where there
     * are. */
    uint32_t rows_full;
};

extern const struct packed_kernels packed_scalar;
#if defined(__x86_64__)
extern const struct packed_kernels packed_avx2, packed_vnni_avx2, packed_avx512, packed_vnni,
    packed_amx;
#elif defined(__aarch64__)
extern const struct packed_kernels packed_neon, packed_dotprod_neon, packed_i8mm_neon;
#endif

/* The best of this machine that `isa` allows (SCALAR; AVX2; AVX512 and BEST: all of AVX-512 and AMX
 * that there is), a lower one where the machine lacks it; never NULL. May ask the system for the
 * use of AMX, which is then the process's for good. */
const struct packed_kernels *packed_kernels_find(enum cpu_isa isa);
/* Each that this machine can run, for tests; NULL after the last. */
const struct packed_kernels *packed_kernels_at(uint32_t i);

#ifdef __cplusplus
}
#endif
#endif
