/* The packed kernels for vectors narrower than the sixteen rows of a group, written once over a
 * vector of LANES rows. A file for an instruction set defines the vocabulary (ivec, fvec, xpair,
 * the iv_ and fv_ functions, how products are summed, quantize_block) and then includes this, which
 * defines every kernel and ends with the table PACKED_TABLE. These are sources, not interfaces.
 *
 * Up to eight rows read a group as it lies, at most four rows of x to a decoded code. More rows
 * decode it into scratch first, where the rows of x go by four at a time: decoding is done once,
 * and a dword of x serves all sixteen outputs. While the first four go by, the next group is
 * fetched, or memory would rest. A matrix's last group has its rows closer together than vectors
 * want: it is copied to the distance of sixteen and filled with zeros, whose sums nobody reads.
 *
 * Sums: an integer sum of a sub-block is exact in any order; the fma of a row's sub-blocks follow
 * each other in one lane, in the order that packed_kernels.h fixes. */
#include "engine/backend/cpu/packed_narrow_formats.h"
#include "engine/backend/cpu/packed_narrow_scales.h"
#include "engine/backend/cpu/packed_narrow_tile.h"

#define ROWS_FEW 8 /* at most so many rows read codes as they lie; measured */
#define SCRATCH_ALIGN(bytes) (((bytes) + 63) / 64 * 64)

/* Spreads a group of `rows` rows to one of PACKED_ROWS. */
static void widen_group(enum dtype dtype, const uint8_t *from, uint8_t *to, uint32_t rows,
                        size_t cols)
{
    uint32_t count;
    const struct packed_field *field = packed_fields(dtype, &count);
    size_t blocks = cols / dtype_info(dtype)->block_values;
    for (uint32_t i = 0; i < count; i++) {
        size_t bytes = field[i].unit_bytes * rows, wide = field[i].unit_bytes * PACKED_ROWS;
        for (size_t u = 0; u < blocks * field[i].units; u++, from += bytes, to += wide) {
            memcpy(to, from, bytes);
            memset(to + bytes, 0, wide - bytes);
        }
    }
}

VEC_INLINE struct group group_at(const struct format *f, const uint8_t *w, size_t cols)
{
    struct group group;
    uint32_t count;
    packed_fields(f->dtype, &count);
    for (uint32_t i = 0; i < count; i++)
        group.field[i] = w + packed_field_offset(f->dtype, i, PACKED_ROWS, cols);
    return group;
}

/* Row i of those that the tile asks for. */
VEC_INLINE struct x_row x_row_at(const struct format *f, const struct packed_tile *tile, uint32_t i)
{
    const struct packed_x *x = &tile->x;
    size_t r = packed_tile_row(tile, i), halves = halves_of(f->dtype);
    const float *sum = halves == 1 ? x->sum32 : x->sum16;
    return (struct x_row){x->q + r * x->cols, x->scale + r * (x->cols / 32),
                          sum + r * (x->cols / 32 * halves), x->count + r * (x->cols / 16)};
}

/* The first `outputs` of each row's sums to row i and on of the tile, at output `at`. */
VEC_INLINE void store_sums(const struct packed_tile *tile, const float *sums, uint32_t i,
                           const uint32_t rows, uint32_t at, uint32_t outputs)
{
    for (uint32_t r = 0; r < rows; r++) {
        float *out = tile->out + (i + r) * tile->out_stride + at;
        if (outputs == PACKED_ROWS)
            memcpy(out, sums + r * PACKED_ROWS, PACKED_ROWS * sizeof *out);
        else
            memcpy(out, sums + r * PACKED_ROWS, outputs * sizeof *out);
    }
}

VEC_INLINE void direct_rows(const struct format *f, const struct packed_tile *tile,
                            const struct group *group, uint32_t i, uint32_t at, uint32_t outputs,
                            const uint32_t rows)
{
    struct x_row x[ROWS_MAX];
    float sums[ROWS_MAX * PACKED_ROWS];
    for (uint32_t r = 0; r < rows; r++)
        x[r] = x_row_at(f, tile, i + r);
    dot_direct(f, group, tile->x.cols, x, rows, sums);
    store_sums(tile, sums, i, rows, at, outputs);
}

/* A few rows: the group is read once for each four, from memory once. */
VEC_INLINE void few_rows(const struct format *f, const struct packed_tile *tile,
                         const struct group *group, uint32_t at, uint32_t outputs)
{
    uint32_t i = 0;
    for (; i + ROWS_MAX <= tile->count; i += ROWS_MAX)
        direct_rows(f, tile, group, i, at, outputs, ROWS_MAX);
    switch (tile->count - i) {
    case 1: direct_rows(f, tile, group, i, at, outputs, 1); break;
    case 2: direct_rows(f, tile, group, i, at, outputs, 2); break;
    case 3: direct_rows(f, tile, group, i, at, outputs, 3); break;
    default: break;
    }
}

/* Cache lines that 32 columns of a group take, rounded up. */
VEC_INLINE size_t lines_per_step(const struct format *f)
{
    const size_t step_bytes = dtype_info(f->dtype)->block_bytes * (size_t)PACKED_ROWS /
                              (packed_block_values(f->dtype) / 32);
    return (step_bytes + 63) / 64;
}

VEC_INLINE void unpacked_rows(const struct format *f, const struct packed_tile *tile,
                              const struct unpacked *w, uint32_t i, uint32_t at, uint32_t outputs,
                              const uint32_t rows, const uint8_t *next)
{
    const size_t next_lines = next ? lines_per_step(f) : 0;
    struct x_row x[ROWS_MAX];
    float sums[ROWS_MAX * PACKED_ROWS];
    for (uint32_t r = 0; r < rows; r++)
        x[r] = x_row_at(f, tile, i + r);
    dot_unpacked(f, w, tile->x.cols, x, rows, sums, next, next_lines);
    store_sums(tile, sums, i, rows, at, outputs);
}

VEC_INLINE void many_rows(const struct format *f, const struct packed_tile *tile,
                          const struct group *group, const struct unpacked *w, uint32_t at,
                          uint32_t outputs, const uint8_t *next)
{
    uint32_t i = 0;
    unpack(f, group, tile->x.cols, w);
    for (; i + ROWS_MAX <= tile->count; i += ROWS_MAX)
        unpacked_rows(f, tile, w, i, at, outputs, ROWS_MAX, i == 0 ? next : NULL);
    switch (tile->count - i) {
    case 1: unpacked_rows(f, tile, w, i, at, outputs, 1, NULL); break;
    case 2: unpacked_rows(f, tile, w, i, at, outputs, 2, NULL); break;
    case 3: unpacked_rows(f, tile, w, i, at, outputs, 3, NULL); break;
    default: break;
    }
}

VEC_INLINE void dot_format(const struct format *f, const struct packed_tile *tile)
{
    const size_t cols = tile->x.cols;
    const size_t blocks = cols / packed_block_values(f->dtype);
    const size_t row_bytes = blocks * dtype_info(f->dtype)->block_bytes;
    uint8_t *wide = tile->scratch;
    struct unpacked unpacked;
    unpacked.codes = wide + SCRATCH_ALIGN(PACKED_ROWS * row_bytes);
    unpacked.scale = (float *)(unpacked.codes + PACKED_ROWS * cols);
    unpacked.min = unpacked.scale + PACKED_ROWS * (cols / packed_sub_values(f->dtype));
    for (uint32_t at = 0; at < tile->outputs; at += PACKED_ROWS) {
        uint32_t row = tile->first + at, rows = packed_group_rows(tile, row);
        uint32_t outputs = tile->outputs - at < PACKED_ROWS ? tile->outputs - at : PACKED_ROWS;
        const uint8_t *w = tile->w + row * row_bytes;
        const uint8_t *next = at + PACKED_ROWS < tile->outputs ? w + PACKED_ROWS * row_bytes : NULL;
        if (rows < PACKED_ROWS) {
            widen_group(f->dtype, w, wide, rows, cols);
            w = wide;
        }
        struct group group = group_at(f, w, cols);
        if (tile->count <= ROWS_FEW)
            few_rows(f, tile, &group, at, outputs);
        else
            many_rows(f, tile, &group, &unpacked, at, outputs, next);
    }
}

/* As packed_scalar.c has it: a block with a NaN or an infinity, and one of zeros, has codes 0. */
static void quantize(const struct packed_x *x, uint32_t row, const float *from)
{
    const size_t blocks = x->cols / ACTIVATION_BLOCK;
    for (size_t b = 0; b < blocks; b++, from += ACTIVATION_BLOCK) {
        size_t at = row * blocks + b;
        int8_t *q = x->q + at * ACTIVATION_BLOCK;
        int16_t *count = x->count + 2 * at;
        uint32_t bits = largest_magnitude(from);
        float max;
        memcpy(&max, &bits, sizeof max);
        const float scale = bits < 0x7f800000u ? max / 127.0f : NAN;
        if (scale > 0) {
            quantize_block(from, scale, q, count);
        } else {
            memset(q, 0, ACTIVATION_BLOCK);
            count[0] = count[1] = 0;
        }
        x->scale[at] = scale;
        x->sum32[at] = scale * (float)(count[0] + count[1]);
        x->sum16[2 * at] = scale * (float)count[0];
        x->sum16[2 * at + 1] = scale * (float)count[1];
    }
}

#define DOT(name, TYPE)                                                                            \
    static void dot_##name(const struct packed_tile *tile)                                         \
    {                                                                                              \
        static const struct format format = {TYPE, codes_##name, scales_##name};                   \
        dot_format(&format, tile);                                                                 \
    }
PACKED_FORMATS(DOT)

#define DOT_ENTRY(name, TYPE) [TYPE] = dot_##name,
const struct packed_kernels PACKED_TABLE = {
    .name = PACKED_NAME,
    .quantize = quantize,
    .dot = {PACKED_FORMATS(DOT_ENTRY)},
    .rows_full = PACKED_ROWS_FULL,
};
