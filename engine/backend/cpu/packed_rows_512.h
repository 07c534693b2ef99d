/* The micro-kernel of AVX-512: some rows of activations times sixteen rows of weights, written once
 * over the block decoders. packed_avx512.c and packed_vnni.c say how four bytes are multiplied and
 * include this file, which ends with the table PACKED_TABLE. A source, not an interface.
 *
 *     dot_start     the integer sums begin with what the codes' offset is too much
 *     dot_bytes     sum += the four codes of each of sixteen rows . four q of one row of
 *                   activations
 *     dot_offset    what dot_bytes wants added to the format's integers
 *
 * One row: the weights are decoded in registers, format by format. More: a group's codes are
 * unpacked into scratch once for all rows, which then pass in tiles of at most ROWS_TILE, as many
 * as there are registers for; unpacked, formats differ in nothing but their sub-blocks and offsets,
 * so that five kernels of twelve shapes serve all. The shape decides when a sum is added, not how:
 * one accumulator per output, sub-blocks in rising order. */
#include "engine/backend/cpu/packed_quantize_512.h"
#include "engine/backend/cpu/packed_row_512.h"

#define ROWS_TILE 12

/* acc of every row += one sub-block of 32 values, or two of 16: number s of the panel. dtype and
 * rows are constants. */
PACKED_INLINE void add_unpacked(const enum dtype shape, const size_t rows, const struct panel *p,
                                const struct unpacked *u, size_t s, __m512i offset, __m512 *acc)
{
    const size_t stride = MANY_COLS + PANEL_PAD, parts = 32 / packed_sub_values(shape);
    const int8_t *q = p->q + 32 * s;
    const float *sum = p->sum + parts * s;
#pragma GCC unroll 2
    for (size_t part = 0; part < parts; part++) {
        const __m512 scale = _mm512_load_ps(u->scale + 16 * (parts * s + part));
        __m512i ints[ROWS_TILE];
#pragma GCC unroll 12
        for (size_t r = 0; r < rows; r++)
            ints[r] = dot_start(shape, offset, part, p->count + r * stride / 16 + 2 * s);
#pragma GCC unroll 8
        for (size_t k = 8 / parts * part; k < 8 / parts * (part + 1); k++) {
            const __m512i w = unit_at(u->codes, 8 * s + k);
#pragma GCC unroll 12
            for (size_t r = 0; r < rows; r++)
                ints[r] = dot_bytes(shape, ints[r], w, four_at(q + r * stride + 4 * k));
        }
#pragma GCC unroll 12
        for (size_t r = 0; r < rows; r++) {
            __m512 x_scale = _mm512_set1_ps(p->scale[r * stride / 32 + s]);
            acc[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(ints[r]), _mm512_mul_ps(scale, x_scale),
                                     acc[r]);
            if (packed_has_min(shape))
                acc[r] = _mm512_fmadd_ps(_mm512_load_ps(u->min + 16 * (parts * s + part)),
                                         _mm512_set1_ps(sum[r * stride / 16 + part]), acc[r]);
        }
    }
}

PACKED_INLINE void acc_begin(__m512 *acc, size_t rows, const struct place *to)
{
#pragma GCC unroll 12
    for (size_t r = 0; r < rows; r++)
        acc[r] = to->begin ? _mm512_setzero_ps()
                           : _mm512_maskz_loadu_ps(to->mask, to->out + r * to->stride);
}

PACKED_INLINE void acc_end(const __m512 *acc, size_t rows, const struct place *to)
{
#pragma GCC unroll 12
    for (size_t r = 0; r < rows; r++)
        _mm512_mask_storeu_ps(to->out + r * to->stride, to->mask, acc[r]);
}

/* `shape` is any format of the same sub-blocks, minimum and dot_bytes as the tile's. */
PACKED_INLINE void rows_unpacked(const enum dtype shape, const size_t rows, __m512i offset,
                                 struct rows_by_group *job)
{
    __m512 acc[ROWS_TILE];
    acc_begin(acc, rows, &job->to);
    for (size_t s = 0; s < job->p.cols / 32; s++) {
        ahead_ask(&job->ahead, s);
        add_unpacked(shape, rows, &job->p, &job->u, s, offset, acc);
    }
    acc_end(acc, rows, &job->to);
}

#define ROWS_CASE(n)                                                                               \
    case n: rows_unpacked(shape, n, offset, job); break;
#define ROWS_UNPACKED(name, any)                                                                   \
    static void name(__m512i offset, struct rows_by_group *job)                                    \
    {                                                                                              \
        const enum dtype shape = any;                                                              \
        switch (job->rows) {                                                                       \
            ROWS_CASE(1) ROWS_CASE(2) ROWS_CASE(3) ROWS_CASE(4) ROWS_CASE(5) ROWS_CASE(6)          \
            ROWS_CASE(7) ROWS_CASE(8) ROWS_CASE(9) ROWS_CASE(10) ROWS_CASE(11) ROWS_CASE(12)       \
        }                                                                                          \
    }
ROWS_UNPACKED(rows_32, DTYPE_Q4_0)
ROWS_UNPACKED(rows_32_min, DTYPE_Q4_1)
ROWS_UNPACKED(rows_16, DTYPE_Q6_K)
ROWS_UNPACKED(rows_16_min, DTYPE_Q2_K)
#ifdef DOT_WIDE /* codes of eight bits are multiplied in another way */
ROWS_UNPACKED(rows_32_wide, DTYPE_Q8_0)
#else
#define rows_32_wide rows_32
#endif

static void multiply(enum dtype dtype, struct rows_by_group *job)
{
    const __m512i offset = _mm512_set1_epi16((short)-dot_offset(dtype));
    if (packed_sub_values(dtype) == 16)
        (packed_has_min(dtype) ? rows_16_min : rows_16)(offset, job);
    else if (packed_has_min(dtype))
        rows_32_min(offset, job);
    else
        (packed_offset(dtype) == 128 ? rows_32_wide : rows_32)(offset, job);
}

#define DOT(name, dtype)                                                                           \
    static void dot_##name(const struct packed_tile *tile)                                         \
    {                                                                                              \
        if (is_few(tile))                                                                          \
            dot_few(tile, dtype);                                                                  \
        else                                                                                       \
            panel_walk(tile, dtype, ROWS_TILE, 1, false, multiply);                                \
    }
PACKED_FORMATS(DOT)

#define DOT_ENTRY(name, dtype) [dtype] = dot_##name,
const struct packed_kernels PACKED_TABLE = {
    .name = PACKED_NAME,
    .quantize = quantize,
    .dot = {PACKED_FORMATS(DOT_ENTRY)},
    .rows_full = ROWS_TILE,
};
