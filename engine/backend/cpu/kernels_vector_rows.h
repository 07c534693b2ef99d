/* Part of kernels_vector.h: what is done with rows of encoded numbers (weights, keys, values). The
 * functions take the format's two loaders as arguments and are always inlined, so that each
 * KERNELS_OF line compiles them anew with the loader's few instructions inside the loop. */
#include <string.h>

#include "engine/backend/cpu/kernels.h"

/* A loader decodes VEC_LANES values from value i of a row; a part loader n of them, the rest 0. */
#define LOADER vec (*load)(const uint8_t *row, size_t i)
#define PART_LOADER vec (*load_part)(const uint8_t *row, size_t i, size_t n)

#define PREFETCH_ROWS KERNEL_TILE_W /* how far ahead, in weight rows */

/* One activation row is a stream over the weights, at the speed of memory, and the processor's own
 * prefetching stops at every row's page: ask for the next tile's weights while this one's are used.
 * A hint: past the end of the matrix it does nothing. */
VEC_INLINE void prefetch_next(const struct kernel_tile *tile, const uint8_t *w, size_t byte)
{
    for (uint32_t j = 0; j < KERNEL_TILE_W; j++)
        __builtin_prefetch(w + (j + PREFETCH_ROWS) * tile->w_stride_bytes + byte);
}

/* The tile kernel for one shape. x_rows, w_rows and bits (of one encoded value) are constants after
 * inlining. */
VEC_INLINE void dot_shape(LOADER, PART_LOADER, const size_t bits, float *sums,
                          const struct kernel_tile *tile, const uint8_t *w, const uint32_t x_rows,
                          const uint32_t w_rows)
{
    const size_t n = tile->n, stride = tile->w_stride_bytes;
    const float *const *x = tile->x;
    vec acc[VEC_TILE_X][KERNEL_TILE_W];
    for (uint32_t i = 0; i < x_rows; i++)
        for (uint32_t j = 0; j < w_rows; j++)
            acc[i][j] = vec_zero();
    size_t k = 0;
    for (; k + VEC_LANES <= n; k += VEC_LANES) {
        vec weight[KERNEL_TILE_W];
        for (uint32_t j = 0; j < w_rows; j++)
            weight[j] = load(w + j * stride, k);
        if (x_rows == 1 && w_rows == KERNEL_TILE_W)
            prefetch_next(tile, w, k * bits / 8);
        for (uint32_t i = 0; i < x_rows; i++) {
            vec value = vec_load(x[i] + k);
            for (uint32_t j = 0; j < w_rows; j++)
                acc[i][j] = vec_fma(value, weight[j], acc[i][j]);
        }
    }
    if (k < n) {
        vec weight[KERNEL_TILE_W];
        for (uint32_t j = 0; j < w_rows; j++)
            weight[j] = load_part(w + j * stride, k, n - k);
        for (uint32_t i = 0; i < x_rows; i++) {
            vec value = vec_load_part(x[i] + k, n - k);
            for (uint32_t j = 0; j < w_rows; j++)
                acc[i][j] = vec_fma(value, weight[j], acc[i][j]);
        }
    }
#ifdef VEC_SUM_TILE
    if (x_rows == VEC_TILE_X && w_rows == KERNEL_TILE_W) {
        VEC_SUM_TILE(sums, acc);
        return;
    }
#endif
    for (uint32_t i = 0; i < x_rows; i++) {
        if (w_rows == KERNEL_TILE_W)
            vec_sum4(sums + i * KERNEL_TILE_W, acc[i][0], acc[i][1], acc[i][2], acc[i][3]);
        else
            sums[i * KERNEL_TILE_W] = vec_sum(acc[i][0]);
    }
}

/* Full tiles four weight rows at a time, what is left one by one. */
VEC_INLINE void dot_x_rows(LOADER, PART_LOADER, const size_t bits, float *sums,
                           const struct kernel_tile *tile, const uint32_t x_rows)
{
    if (tile->w_rows == KERNEL_TILE_W) {
        dot_shape(load, load_part, bits, sums, tile, tile->w, x_rows, KERNEL_TILE_W);
        return;
    }
    for (uint32_t j = 0; j < tile->w_rows; j++)
        dot_shape(load, load_part, bits, sums + j, tile, tile->w + j * tile->w_stride_bytes, x_rows,
                  1);
}

VEC_INLINE void dot_rows(LOADER, PART_LOADER, const size_t bits, float *sums,
                         const struct kernel_tile *tile)
{
    switch (tile->x_rows) {
    case 1:
        dot_x_rows(load, load_part, bits, sums, tile, 1);
        return;
    case 2:
        dot_x_rows(load, load_part, bits, sums, tile, 2);
        return;
#if VEC_TILE_X >= 3
    case 3:
        dot_x_rows(load, load_part, bits, sums, tile, 3);
        return;
#endif
#if VEC_TILE_X >= 4
    case 4:
        dot_x_rows(load, load_part, bits, sums, tile, 4);
        return;
#endif
    default:
        __builtin_unreachable(); /* x_rows is 1 .. tile_x */
    }
}

VEC_INLINE void decode_row(LOADER, PART_LOADER, float *to, const uint8_t *row, size_t n)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store(to + i, load(row, i));
    if (i < n)
        vec_store_part(to + i, load_part(row, i, n - i), n - i);
}

/* A strip of `vectors` vectors stays in registers while the rows go by. */
VEC_INLINE void accumulate_strip(LOADER, float *acc, const uint8_t *rows, size_t stride,
                                 const float *weights, size_t count, size_t i,
                                 const uint32_t vectors)
{
    vec sum[4];
    for (uint32_t v = 0; v < vectors; v++)
        sum[v] = vec_load(acc + i + v * VEC_LANES);
    for (size_t r = 0; r < count; r++) {
        vec weight = vec_set1(weights[r]);
        for (uint32_t v = 0; v < vectors; v++)
            sum[v] = vec_fma(weight, load(rows + r * stride, i + v * VEC_LANES), sum[v]);
    }
    for (uint32_t v = 0; v < vectors; v++)
        vec_store(acc + i + v * VEC_LANES, sum[v]);
}

VEC_INLINE void accumulate_rows(LOADER, PART_LOADER, float *acc, const uint8_t *rows,
                                size_t stride, const float *weights, size_t count, size_t n)
{
    size_t i = 0;
    for (; i + 4 * VEC_LANES <= n; i += 4 * VEC_LANES)
        accumulate_strip(load, acc, rows, stride, weights, count, i, 4);
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        accumulate_strip(load, acc, rows, stride, weights, count, i, 1);
    if (i == n)
        return;
    vec sum = vec_load_part(acc + i, n - i);
    for (size_t r = 0; r < count; r++)
        sum = vec_fma(vec_set1(weights[r]), load_part(rows + r * stride, i, n - i), sum);
    vec_store_part(acc + i, sum, n - i);
}

/* Tile by tile; a few activation rows meet all weight rows, which lie in cache, before the next.
 * Full tiles are compiled in; the edges go through the format's dot. */
VEC_INLINE void dots_rows(LOADER, PART_LOADER, const size_t bits,
                          void (*dot)(float *sums, const struct kernel_tile *tile),
                          const struct kernel_dots *d)
{
    const float *x[VEC_TILE_X];
    float sums[VEC_TILE_X * KERNEL_TILE_W];
    struct kernel_tile tile = {.w_stride_bytes = d->w_stride_bytes, .x = x, .n = d->n};
    for (uint32_t i = 0; i < d->x_rows; i += tile.x_rows) {
        tile.x_rows = d->x_rows - i < VEC_TILE_X ? d->x_rows - i : VEC_TILE_X;
        for (uint32_t r = 0; r < tile.x_rows; r++)
            x[r] = d->x + (i + r) * d->x_stride;
        uint32_t j = 0;
        for (; tile.x_rows == VEC_TILE_X && j + KERNEL_TILE_W <= d->w_rows; j += KERNEL_TILE_W) {
            dot_shape(load, load_part, bits, sums, &tile, d->w + j * d->w_stride_bytes, VEC_TILE_X,
                      KERNEL_TILE_W);
            for (uint32_t r = 0; r < VEC_TILE_X; r++)
                memcpy(d->to + (i + r) * d->to_stride + j, sums + r * KERNEL_TILE_W,
                       KERNEL_TILE_W * sizeof *sums);
        }
        for (; j < d->w_rows; j += tile.w_rows) {
            tile.w_rows = d->w_rows - j < KERNEL_TILE_W ? d->w_rows - j : KERNEL_TILE_W;
            tile.w = d->w + j * d->w_stride_bytes;
            dot(sums, &tile);
            for (uint32_t r = 0; r < tile.x_rows; r++)
                memcpy(d->to + (i + r) * d->to_stride + j, sums + r * KERNEL_TILE_W,
                       tile.w_rows * sizeof *sums);
        }
    }
}

#define KERNELS_OF(format, bits)                                                                   \
    static void dot_##format(float *sums, const struct kernel_tile *tile)                          \
    {                                                                                              \
        dot_rows(load_##format, load_part_##format, bits, sums, tile);                             \
    }                                                                                              \
    static void decode_##format(float *to, const uint8_t *row, size_t n)                           \
    {                                                                                              \
        decode_row(load_##format, load_part_##format, to, row, n);                                 \
    }                                                                                              \
    static void accumulate_##format(float *acc, const uint8_t *rows, size_t stride_bytes,          \
                                    const float *weights, size_t count, size_t n)                  \
    {                                                                                              \
        accumulate_rows(load_##format, load_part_##format, acc, rows, stride_bytes, weights,       \
                        count, n);                                                                 \
    }                                                                                              \
    static void dots_##format(const struct kernel_dots *d)                                         \
    {                                                                                              \
        dots_rows(load_##format, load_part_##format, bits, dot_##format, d);                       \
    }

KERNELS_OF(f32, 32)
KERNELS_OF(f16, 16)
KERNELS_OF(bf16, 16)
