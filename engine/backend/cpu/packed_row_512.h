/* The micro-kernel of AVX-512 for one row of activations or a few (ROWS_FEW), which is a stream
 * over the weights and should be as fast as memory: the codes are decoded in registers, once for
 * all rows.
 *
 * One stream does not reach the rate of memory, because the processor asks ahead for each stream
 * only so far and stops at pages. So ROW_GROUPS groups are read side by side, which also shares the
 * loads of activations, and each asks for what it will need AHEAD_COLS columns later, a few lines
 * at a time. A source, not an interface: part of packed_rows_512.h. */
#include "engine/backend/cpu/packed_panel_512.h"

#define ROW_GROUPS 4
#define ROWS_OF_4_GROUPS 3 /* more leave registers for two */
#define FEW_COLS 8192 /* longer rows, if more than one, take the way of many */
_Static_assert(64 + PANEL_BYTES(ROWS_FEW, FEW_COLS) <= PACKED_SCRATCH_BYTES(0), "as for many rows");
#define AHEAD_COLS 256

/* Scales and minimums of a block of 32 values, or half of one of 256, of several groups. */
struct row_scales {
    __m512 scale[ROW_GROUPS][8], min[ROW_GROUPS][8]; /* [group][sub-block] */
};

/* The shape of a kernel, constants all: rows times groups is what accumulators there are room
 * for. */
struct shape {
    enum dtype dtype;
    size_t rows, groups;
};

/* Four q, to be multiplied with the four codes of each of sixteen rows. */
PACKED_INLINE __m512i four_at(const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, sizeof four);
    return _mm512_set1_epi32(four);
}

/* acc of every row and group += one sub-block of 32 values, or two of 16: the quarter-th of a half
 * of block b, which is number s of the row. */
PACKED_INLINE void add_direct(const struct shape shape, const struct group *g, size_t b,
                              size_t half, const size_t quarter, const struct panel *x, size_t s,
                              const struct row_scales *w, __m512i offset, __m512 (*acc)[ROW_GROUPS])
{
    const enum dtype dtype = shape.dtype;
    const size_t parts = 32 / packed_sub_values(dtype), stride = FEW_COLS + PANEL_PAD;
    /* Both nibbles of a vector one after the other, where they are of one sub-block. */
    const bool pairs = packed_block_values(dtype) == 32 && dtype != DTYPE_Q8_0;
#pragma GCC unroll 2
    for (size_t part = 0; part < parts; part++) {
        __m512i ints[ROWS_FEW][ROW_GROUPS];
#pragma GCC unroll 4
        for (size_t r = 0; r < shape.rows; r++) {
            ints[r][0] = dot_start(dtype, offset, part, x->count + r * stride / 16 + 2 * s);
#pragma GCC unroll 4
            for (size_t i = 1; i < shape.groups; i++)
                ints[r][i] = ints[r][0];
        }
#pragma GCC unroll 8
        for (size_t n = 0; n < 8 / parts; n++) {
            const size_t k = pairs ? n % 2 * 4 + n / 2 : n + 8 / parts * part;
            __m512i q[ROWS_FEW];
#pragma GCC unroll 4
            for (size_t r = 0; r < shape.rows; r++)
                q[r] = four_at(x->q + r * stride + 32 * s + 4 * k);
#pragma GCC unroll 4
            for (size_t i = 0; i < shape.groups; i++) {
                const __m512i codes = block_codes(dtype, &g[i], b, half, quarter, k, false);
#pragma GCC unroll 4
                for (size_t r = 0; r < shape.rows; r++)
                    ints[r][i] = dot_bytes(dtype, ints[r][i], codes, q[r]);
            }
        }
        const size_t sub = quarter * parts + part;
#pragma GCC unroll 4
        for (size_t r = 0; r < shape.rows; r++) {
            const __m512 x_scale = _mm512_set1_ps(x->scale[r * stride / 32 + s]);
            const __m512 x_sum = _mm512_set1_ps(x->sum[r * stride / 16 + parts * s + part]);
#pragma GCC unroll 4
            for (size_t i = 0; i < shape.groups; i++) {
                acc[r][i] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(ints[r][i]),
                                            _mm512_mul_ps(w->scale[i][sub], x_scale), acc[r][i]);
                if (packed_has_min(dtype))
                    acc[r][i] = _mm512_fmadd_ps(w->min[i][sub], x_sum, acc[r][i]);
            }
        }
    }
}

/* Asks for the units [part, part + 1) / parts of block b of each group, which past the end is a
 * block of the group that follows the others. A hint: past the end of the matrix it does
 * nothing. */
PACKED_INLINE void prefetch_block(const struct shape shape, const struct group *g, size_t b,
                                  size_t blocks, size_t part, const size_t parts)
{
    const enum dtype dtype = shape.dtype;
    size_t on = 0;
    if (b >= blocks) {
        b -= blocks;
        on = shape.groups * PACKED_ROWS * blocks * packed_block_bytes(dtype);
    }
#pragma GCC unroll 4
    for (uint32_t f = 0; f < PACKED_FIELDS_MAX; f++) {
        const size_t bytes = PACKED_ROWS * packed_field_bytes(dtype, f), piece = bytes / parts;
        if (piece < 64 &&
            (part > 0 || bytes == 0)) /* small fields: all of it with the first part */
            continue;
        const size_t at = on + b * bytes + part * piece, end = piece < 64 ? bytes : piece;
#pragma GCC unroll 4
        for (size_t i = 0; i < shape.groups; i++)
            for (size_t line = 0; line < end; line += 64)
                _mm_prefetch((const char *)g[i].field[f] + at + line, _MM_HINT_T0);
    }
}

PACKED_INLINE void few_rows_32(const struct shape shape, const struct group *g,
                               const struct panel *x, __m512 (*acc)[ROW_GROUPS])
{
    const enum dtype dtype = shape.dtype;
    const __m512i offset = _mm512_set1_epi16((short)-dot_offset(dtype));
    const size_t blocks = x->cols / 32;
    struct row_scales w;
    for (size_t b = 0; b < blocks; b++) {
#pragma GCC unroll 4
        for (size_t i = 0; i < shape.groups; i++) {
            w.scale[i][0] = block_scale(dtype, &g[i], b);
            if (packed_has_min(dtype))
                w.min[i][0] = block_min(dtype, &g[i], b);
        }
        prefetch_block(shape, g, b + AHEAD_COLS / 32, blocks, 0, 1);
        add_direct(shape, g, b, 0, 0, x, b, &w, offset, acc);
    }
}

/* The scales of a half are decoded during the half before, one group in each sub-block, so that the
 * loads of codes never pause. */
PACKED_INLINE void few_rows_256(const struct shape shape, const struct group *g,
                                const struct panel *x, __m512 (*acc)[ROW_GROUPS])
{
    const enum dtype dtype = shape.dtype;
    const __m512i offset = _mm512_set1_epi16((short)-dot_offset(dtype));
    const size_t blocks = x->cols / 256;
    struct row_scales w[2]; /* of either half */
    for (size_t i = 0; i < shape.groups; i++)
        block_scales(dtype, &g[i], 0, 0, (float *)w[0].scale[i], (float *)w[0].min[i]);
    for (size_t h = 0; h < 2 * blocks; h++) {
        const size_t b = h / 2, half = h % 2;
        struct row_scales *next = &w[1 - half];
#pragma GCC unroll 4
        for (size_t quarter = 0; quarter < 4; quarter++) {
            prefetch_block(shape, g, b + AHEAD_COLS / 256, blocks, 4 * half + quarter, 8);
            if (quarter < shape.groups && h + 1 < 2 * blocks)
                block_scales(dtype, &g[quarter], (h + 1) / 2, 1 - half,
                             (float *)next->scale[quarter], (float *)next->min[quarter]);
            add_direct(shape, g, b, half, quarter, x, 4 * h + quarter, &w[half], offset, acc);
        }
    }
}

/* Outputs o .. of the tile for as many rows and groups as the shape has. Where fewer groups are
 * left, the last is computed again in the place of those that are not there. */
PACKED_INLINE void few_rows(const struct packed_tile *tile, const struct shape shape,
                            const struct panel *x, uint32_t o)
{
    const uint32_t last = (tile->outputs - 1) / PACKED_ROWS * PACKED_ROWS;
    struct group g[ROW_GROUPS];
    __m512 acc[ROWS_FEW][ROW_GROUPS];
    for (uint32_t i = 0, at = o; i < shape.groups; i++, at += at < last ? PACKED_ROWS : 0)
        g[i] = block_group(shape.dtype, tile, tile->first + at, tile->scratch);
#pragma GCC unroll 4
    for (size_t r = 0; r < shape.rows; r++)
#pragma GCC unroll 4
        for (size_t i = 0; i < shape.groups; i++)
            acc[r][i] = _mm512_setzero_ps();
    if (packed_block_values(shape.dtype) == 32)
        few_rows_32(shape, g, x, acc);
    else
        few_rows_256(shape, g, x, acc);
    for (uint32_t i = 0; i < shape.groups && o <= last; i++, o += PACKED_ROWS)
        for (size_t r = 0; r < shape.rows; r++)
            _mm512_mask_storeu_ps(tile->out + r * tile->out_stride + o, place_mask(tile, o),
                                  acc[r][i]);
}

PACKED_INLINE void dot_rows(const struct packed_tile *tile, const enum dtype dtype,
                            const size_t rows, const struct panel *x)
{
    const struct shape shape = {dtype, rows, rows <= ROWS_OF_4_GROUPS ? 4 : 2};
    for (uint32_t o = 0; o < tile->outputs; o += (uint32_t)shape.groups * PACKED_ROWS)
        few_rows(tile, shape, x, o);
}

/* Whether dot_few takes the tile. */
PACKED_INLINE bool is_few(const struct packed_tile *tile)
{
    return tile->count == 1 || (tile->count <= ROWS_FEW && tile->x.cols <= FEW_COLS);
}

PACKED_INLINE void dot_few(const struct packed_tile *tile, const enum dtype dtype)
{
    struct panel x = {.rows = tile->count, .cols = tile->x.cols};
    if (tile->count == 1)
        panel_borrow(&x, tile, dtype);
    else
        panel_fill(&x, tile, dtype, FEW_COLS, 0, 1,
                   (uint8_t *)tile->scratch + (17 * x.cols + 63) / 64 * 64);
    switch (tile->count) {
    case 1: dot_rows(tile, dtype, 1, &x); break;
#if ROWS_FEW > 1
    case 2: dot_rows(tile, dtype, 2, &x); break;
    case 3: dot_rows(tile, dtype, 3, &x); break;
    case 4: dot_rows(tile, dtype, 4, &x); break;
#endif
    }
}
