/* The table of AMX: products of whole tiles of bytes.
 *
 * Sixteen rows of activations are tile A (16 rows of 32 bytes, as they are), a sub-block of a
 * packed group is tile B as it lies (8 rows of 64 bytes): the packed layout is that of tiles. Their
 * product is sixteen sums for each of sixteen rows, in integers, of one sub-block; scales differ
 * from one to the next, so each product is stored, read back as vectors, and added to sixteen
 * accumulators that stay in registers. The store goes to the first-level cache and the tile unit
 * works on the next product meanwhile. Half of a tile's depth stays unused (tiles hold 64 bytes a
 * row); two sub-blocks in one product would need one scale. What bounds the loop is the sixteen
 * conversions, products and fused additions of a sub-block.
 *
 * Rows that are too few for tiles go to the table of VNNI, and so do formats with sub-blocks of 16
 * values, which would use a quarter of a tile's depth and twice the vector work. Tile registers are
 * set up and given back within a call: nothing of them lives between calls, and a thread that
 * sleeps has none to be saved.
 *
 * This file alone is compiled for the instruction set; packed_kernels.c asks the processor and the
 * system first. */
#include "engine/backend/cpu/packed_kernels.h"

#if defined(__x86_64__)
#include "engine/backend/cpu/packed_panel_512.h"
#include "engine/backend/cpu/packed_quantize_512.h"

#define TILE_ROWS 16
#define ROWS_MIN 6 /* below: VNNI */

/* The operand of ldtilecfg. */
struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* The registers: two sets of sums, activations and weights, for two products in flight; one of half
 * as many rows. Defined, because the compiler's intrinsics paste them into names. */
#define SUMS_0 0
#define SUMS_1 1
#define X_0 2
#define X_1 3
#define W_0 4
#define W_1 5
#define SUMS_HALF 6
#define X_HALF 7

static void tiles_open(void)
{
    struct tile_config c = {.palette = 1};
    for (int t = SUMS_0; t <= X_HALF; t++) {
        c.row_bytes[t] = 64;
        c.rows[t] = t >= SUMS_HALF ? TILE_ROWS / 2 : TILE_ROWS;
    }
    c.row_bytes[X_0] = c.row_bytes[X_1] = c.row_bytes[X_HALF] = 32;
    c.rows[W_0] = c.rows[W_1] = 8;
    /* The intrinsic of gcc 12 says that it reads 8 bytes of its 64; without this the compiler may
     * leave the other stores out. */
    __asm__ volatile("" : : "m"(c));
    _tile_loadconfig(&c);
}

#define PRODUCT(sums, x, w)                                                                        \
    do {                                                                                           \
        _tile_zero(sums);                                                                          \
        _tile_loadd(x, q, MANY_COLS + PANEL_PAD);                                                  \
        _tile_loadd(w, codes, 64);                                                                 \
        _tile_dpbssd(sums, x, w);                                                                  \
        _tile_stored(sums, to, 64);                                                                \
    } while (0)

PACKED_INLINE void product(size_t rows, unsigned set, const int8_t *q, const uint8_t *codes,
                           int32_t (*to)[16])
{
    if (rows < TILE_ROWS)
        PRODUCT(SUMS_HALF, X_HALF, W_0);
    else if (set == 0)
        PRODUCT(SUMS_0, X_0, W_0);
    else
        PRODUCT(SUMS_1, X_1, W_1);
}

/* acc of every row += sub-block s of the panel, whose integer sums are in `sums`. */
PACKED_INLINE void add_sums(const enum dtype shape, const size_t rows, const struct panel *p,
                            size_t s, const struct unpacked *u, int32_t (*sums)[16], __m512 *acc)
{
    const size_t stride = MANY_COLS + PANEL_PAD;
    const __m512 scale = _mm512_load_ps(u->scale + 16 * s);
    const __m512 min = packed_has_min(shape) ? _mm512_load_ps(u->min + 16 * s) : scale;
    const float *x_scale = p->scale + s, *x_sum = p->sum + s;
#pragma GCC unroll 16
    for (size_t r = 0; r < rows; r++) {
        __m512 product = _mm512_mul_ps(scale, _mm512_set1_ps(x_scale[r * stride / 32]));
        acc[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums[r])), product, acc[r]);
        if (packed_has_min(shape))
            acc[r] = _mm512_fmadd_ps(min, _mm512_set1_ps(x_sum[r * stride / 16]), acc[r]);
    }
}

/* The job's rows, of `rows` that are computed. */
PACKED_INLINE void rows_by_tiles(const enum dtype shape, const size_t rows,
                                 struct rows_by_group *job)
{
    const struct place *to = &job->to;
    const struct panel *p = &job->p;
    const int8_t *q = p->q;
    const uint8_t *codes = job->u.codes;
    const size_t subs = p->cols / 32;
    int32_t sums[2][TILE_ROWS][16] __attribute__((aligned(64))); /* of two products in flight */
    __m512 acc[TILE_ROWS];
#pragma GCC unroll 16
    for (size_t r = 0; r < rows; r++)
        acc[r] = to->begin || r >= job->rows
                     ? _mm512_setzero_ps()
                     : _mm512_maskz_loadu_ps(to->mask, to->out + r * to->stride);
    __asm__ volatile("" : : : "memory"); /* nor does the intrinsic of a load say that it reads */
    product(rows, 0, q, codes, sums[0]);
    size_t s = 0;
    for (; s + 2 <= subs; s += 2) {
        product(rows, 1, q + (s + 1) * 32, codes + (s + 1) * 512, sums[1]);
        ahead_ask(&job->ahead, s);
        add_sums(shape, rows, p, s, &job->u, sums[0], acc);
        if (s + 2 < subs)
            product(rows, 0, q + (s + 2) * 32, codes + (s + 2) * 512, sums[0]);
        ahead_ask(&job->ahead, s + 1);
        add_sums(shape, rows, p, s + 1, &job->u, sums[1], acc);
    }
    if (s < subs)
        add_sums(shape, rows, p, s, &job->u, sums[0], acc);
#pragma GCC unroll 16
    for (size_t r = 0; r < rows; r++) {
        if (r < job->rows)
            _mm512_mask_storeu_ps(to->out + r * to->stride, to->mask, acc[r]);
    }
}

static void multiply_32(struct rows_by_group *job)
{
    if (job->rows > TILE_ROWS / 2)
        rows_by_tiles(DTYPE_Q4_0, TILE_ROWS, job);
    else
        rows_by_tiles(DTYPE_Q4_0, TILE_ROWS / 2, job);
}

static void multiply_32_min(struct rows_by_group *job)
{
    if (job->rows > TILE_ROWS / 2)
        rows_by_tiles(DTYPE_Q4_1, TILE_ROWS, job);
    else
        rows_by_tiles(DTYPE_Q4_1, TILE_ROWS / 2, job);
}

static void multiply(enum dtype dtype, struct rows_by_group *job)
{
    if (packed_has_min(dtype))
        multiply_32_min(job);
    else
        multiply_32(job);
}

PACKED_INLINE void dot_tiles(const struct packed_tile *tile, const enum dtype dtype)
{
    tiles_open();
    panel_walk(tile, dtype, TILE_ROWS, TILE_ROWS / 2, true, multiply);
    _tile_release();
}

#define DOT(name, dtype)                                                                           \
    static void dot_##name(const struct packed_tile *tile)                                         \
    {                                                                                              \
        if (tile->count < ROWS_MIN || packed_sub_values(dtype) == 16)                              \
            packed_vnni.dot[dtype](tile);                                                          \
        else                                                                                       \
            dot_tiles(tile, dtype);                                                                \
    }
PACKED_FORMATS(DOT)

#define DOT_ENTRY(name, dtype) [dtype] = dot_##name,
const struct packed_kernels packed_amx = {
    .name = "amx",
    .quantize = quantize,
    .dot = {PACKED_FORMATS(DOT_ENTRY)},
    .rows_full = 4 * TILE_ROWS,
};
#endif
