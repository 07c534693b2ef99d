/* Rows to packed and back.
 *
 * Packing is a transpose of units (packed_gather.h). It runs on the thread that reads storage,
 * between the read and the slot, so it should be little slower than memory. A group is packed field
 * by field: its rows are in the nearest caches after the first, and every field is written as one
 * stream. From memory to memory, one thread of a Xeon of two cores whose memcpy does 8 GB/s under
 * the same load: 6 to 7 GB/s with AVX-512, 4.5 to 5.5 without, for every format; 2 to 3 when the
 * next group is not asked for ahead. Within a cache of 2 MiB: 12 to 19 and 6 to 7.
 *
 * Unpacking is for what happens rarely, and only made simple.
 *
 * Pure functions: any thread. */
#include "engine/quant/packed.h"

#include "engine/quant/packed_gather.h"
#include "memory/base/check.h"

#define BLOCK_BYTES_MAX 256

/* Sorted by what a kernel reads first: scales, then what belongs to the codes, then the codes. */
static const struct packed_field fields[DTYPE_COUNT][PACKED_FIELDS_MAX] = {
    [DTYPE_Q8_0] = {{0, 2, 1}, {2, 4, 8}},
    [DTYPE_Q4_0] = {{0, 2, 1}, {2, 4, 4}},
    [DTYPE_Q4_1] = {{0, 2, 2}, {4, 4, 4}},
    [DTYPE_Q5_0] = {{0, 2, 1}, {2, 4, 1}, {6, 4, 4}},
    [DTYPE_Q5_1] = {{0, 2, 2}, {4, 4, 1}, {8, 4, 4}},
    [DTYPE_IQ4_NL] = {{0, 2, 1}, {2, 4, 4}},
    [DTYPE_MXFP4] = {{0, 1, 1}, {1, 4, 4}},
    [DTYPE_Q2_K] = {{80, 2, 2}, {0, 4, 4}, {16, 4, 16}},
    [DTYPE_Q3_K] = {{108, 2, 1}, {96, 4, 3}, {0, 4, 8}, {32, 4, 16}},
    [DTYPE_Q4_K] = {{0, 2, 2}, {4, 4, 3}, {16, 4, 32}},
    [DTYPE_Q5_K] = {{0, 2, 2}, {4, 4, 3}, {16, 4, 8}, {48, 4, 32}},
    [DTYPE_Q6_K] = {{208, 2, 1}, {192, 4, 4}, {128, 4, 16}, {0, 4, 32}},
};

const struct packed_field *packed_fields(enum dtype dtype, uint32_t *count)
{
    CHECK_MSG((unsigned)dtype < DTYPE_COUNT, "dtype %d is not a number format", (int)dtype);
    if (dtype_is_plain(dtype)) {
        *count = 0;
        return NULL;
    }
    uint32_t n = 0;
    while (n < PACKED_FIELDS_MAX && fields[dtype][n].units > 0)
        n++;
    *count = n;
    return fields[dtype];
}

static size_t blocks_of(enum dtype dtype, size_t cols)
{
    CHECK_MSG(cols % dtype_info(dtype)->block_values == 0, "%zu columns are no blocks of %s", cols,
              dtype_info(dtype)->name);
    return cols / dtype_info(dtype)->block_values;
}

size_t packed_field_offset(enum dtype dtype, uint32_t field, uint32_t rows, size_t cols)
{
    uint32_t count;
    const struct packed_field *f = packed_fields(dtype, &count);
    CHECK(field < count);
    size_t offset = 0;
    for (uint32_t i = 0; i < field; i++)
        offset += rows * blocks_of(dtype, cols) * f[i].unit_bytes * f[i].units;
    return offset;
}

#if defined(__x86_64__)
static void gather(const struct packed_gather *g)
{
    if (packed_gather_avx512_can(g) && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        packed_gather_avx512(g);
    else
        packed_gather_plain(g);
}
#else
static void gather(const struct packed_gather *g)
{
    packed_gather_plain(g);
}
#endif

/* A group: `blocks` blocks of each of its rows. `more`: a full group follows it. */
static void pack_group(enum dtype dtype, const uint8_t *from, uint8_t *to, uint32_t rows,
                       size_t blocks, bool more)
{
    uint32_t count, block_bytes = dtype_info(dtype)->block_bytes;
    const struct packed_field *f = packed_fields(dtype, &count);
    size_t stride = blocks * block_bytes, at = 0;
    for (uint32_t i = 0; i < count; i++) {
        bool next = more && i == count - 1; /* while the codes are packed, which takes longest */
        gather(&(struct packed_gather){
            .from = from + f[i].at,
            .stride = stride,
            .rows = rows,
            .block_bytes = block_bytes,
            .unit_bytes = f[i].unit_bytes,
            .units = f[i].units,
            .blocks = blocks,
            .to = to + at,
            .next_from = next ? from + rows * stride : NULL,
            .next_to = next ? to + rows * stride : NULL,
        });
        at += (size_t)f[i].unit_bytes * f[i].units * rows * blocks;
    }
}

static inline __attribute__((always_inline)) void scatter(const uint8_t *from, uint8_t *to,
                                                          size_t stride, uint32_t rows, size_t unit)
{
    for (uint32_t r = 0; r < rows; r++)
        memcpy(to + r * stride, from + r * unit, unit);
}

static void unpack_group(enum dtype dtype, const uint8_t *from, uint8_t *to, uint32_t rows,
                         size_t blocks)
{
    uint32_t count, block_bytes = dtype_info(dtype)->block_bytes;
    const struct packed_field *f = packed_fields(dtype, &count);
    size_t stride = blocks * block_bytes;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *block = to + f[i].at;
        uint32_t unit = f[i].unit_bytes;
        for (size_t b = 0; b < blocks; b++, block += block_bytes) {
            for (uint32_t u = 0; u < f[i].units; u++, from += rows * unit) {
                switch (unit) {
                case 1: scatter(from, block + u, stride, rows, 1); break;
                case 2: scatter(from, block + u * 2, stride, rows, 2); break;
                default: scatter(from, block + u * 4, stride, rows, 4); break;
                }
            }
        }
    }
}

static uint32_t rows_of_group(uint32_t rows, uint32_t first)
{
    return rows - first < PACKED_ROWS ? rows - first : PACKED_ROWS;
}

void packed_pack(enum dtype dtype, const void *from, void *to, uint32_t rows, size_t cols)
{
    CHECK_MSG(!dtype_is_plain(dtype), "%s is never packed", dtype_info(dtype)->name);
    size_t blocks = blocks_of(dtype, cols), row_bytes = blocks * dtype_info(dtype)->block_bytes;
    for (uint32_t r = 0; r < rows; r += PACKED_ROWS)
        pack_group(dtype, (const uint8_t *)from + r * row_bytes, (uint8_t *)to + r * row_bytes,
                   rows_of_group(rows, r), blocks, rows - r >= 2 * PACKED_ROWS);
}

void packed_unpack(enum dtype dtype, const void *from, void *to, uint32_t rows, size_t cols)
{
    CHECK_MSG(!dtype_is_plain(dtype), "%s is never packed", dtype_info(dtype)->name);
    size_t blocks = blocks_of(dtype, cols), row_bytes = blocks * dtype_info(dtype)->block_bytes;
    for (uint32_t r = 0; r < rows; r += PACKED_ROWS)
        unpack_group(dtype, (const uint8_t *)from + r * row_bytes, (uint8_t *)to + r * row_bytes,
                     rows_of_group(rows, r), blocks);
}

void packed_decode_row(enum dtype dtype, const void *packed, uint32_t rows, size_t cols,
                       uint32_t row, float *to)
{
    CHECK(row < rows);
    CHECK_MSG(!dtype_is_plain(dtype), "%s is never packed", dtype_info(dtype)->name);
    const struct dtype_info *info = dtype_info(dtype);
    size_t blocks = blocks_of(dtype, cols);
    uint32_t count, first = row / PACKED_ROWS * PACKED_ROWS, lane = row - first;
    uint32_t group_rows = rows_of_group(rows, first);
    const struct packed_field *f = packed_fields(dtype, &count);
    const uint8_t *group = (const uint8_t *)packed + first * (blocks * info->block_bytes);
    uint8_t block[BLOCK_BYTES_MAX];
    CHECK(info->block_bytes <= sizeof block);
    for (size_t b = 0; b < blocks; b++) {
        const uint8_t *field = group;
        for (uint32_t i = 0; i < count; i++) {
            size_t unit = f[i].unit_bytes, bytes = unit * f[i].units * group_rows;
            const uint8_t *from = field + b * bytes + lane * unit;
            for (uint32_t u = 0; u < f[i].units; u++)
                memcpy(block + f[i].at + u * unit, from + u * unit * group_rows, unit);
            field += blocks * bytes;
        }
        dtype_decode(dtype, block, to + b * info->block_values, info->block_values);
    }
}
