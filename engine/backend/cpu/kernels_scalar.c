/* The definition of every kernel, in plain C, and the table for machines without a faster one.
 *
 * Eight lanes: lane l of a sum takes the values l, l + 8, ...; then lanes l and l + 4, l and l + 2,
 * 0 and 1 are added. Eight, because compilers keep them in registers and a chain of one would wait
 * for each addition. Products and sums round separately (no fused multiply-add), so the result is
 * the same on every architecture. */
#include "engine/backend/cpu/kernels.h"

#include <string.h>

#define LANES 8
#define TILE_X 4

#define INLINE static inline __attribute__((always_inline))

/* The decoders: value i of a row. */
INLINE float value_f32(const uint8_t *row, size_t i)
{
    float f;
    memcpy(&f, row + 4 * i, sizeof f);
    return f;
}

/* Exponent and mantissa moved to their places in f32 are the value times 2^-112, subnormals too. */
INLINE float value_f16(const uint8_t *row, size_t i)
{
    uint16_t h;
    memcpy(&h, row + 2 * i, sizeof h);
    if ((h & 0x7c00u) == 0x7c00u)
        return f16_to_f32(h); /* infinity, NaN */
    uint32_t u = (h & 0x7fffu) << 13;
    float f;
    memcpy(&f, &u, sizeof f);
    f *= 0x1p112f;
    return h & 0x8000u ? -f : f;
}

INLINE float value_bf16(const uint8_t *row, size_t i)
{
    uint16_t b;
    memcpy(&b, row + 2 * i, sizeof b);
    return bf16_to_f32(b);
}

INLINE float sum_lanes(const float *lane)
{
    float a[4], b[2];
    for (int l = 0; l < 4; l++)
        a[l] = lane[l] + lane[l + 4];
    for (int l = 0; l < 2; l++)
        b[l] = a[l] + a[l + 2];
    return b[0] + b[1];
}

INLINE void dot_rows(float (*value)(const uint8_t *, size_t), float *sums,
                     const struct kernel_tile *tile)
{
    size_t n = tile->n;
    for (uint32_t i = 0; i < tile->x_rows; i++) {
        const float *x = tile->x[i];
        for (uint32_t j = 0; j < tile->w_rows; j++) {
            const uint8_t *w = tile->w + j * tile->w_stride_bytes;
            float lane[LANES] = {0};
            size_t k = 0;
            for (; k + LANES <= n; k += LANES) {
                for (size_t l = 0; l < LANES; l++)
                    lane[l] += x[k + l] * value(w, k + l);
            }
            for (size_t l = 0; k + l < n; l++)
                lane[l] += x[k + l] * value(w, k + l);
            sums[i * KERNEL_TILE_W + j] = sum_lanes(lane);
        }
    }
}

INLINE void decode_row(float (*value)(const uint8_t *, size_t), float *to, const uint8_t *row,
                       size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = value(row, i);
}

INLINE void accumulate_rows(float (*value)(const uint8_t *, size_t), float *acc,
                            const uint8_t *rows, size_t stride_bytes, const float *weights,
                            size_t count, size_t n)
{
    for (size_t r = 0; r < count; r++) {
        for (size_t i = 0; i < n; i++)
            acc[i] += weights[r] * value(rows + r * stride_bytes, i);
    }
}

#define KERNELS_OF(format)                                                                         \
    static void dot_##format(float *sums, const struct kernel_tile *tile)                          \
    {                                                                                              \
        dot_rows(value_##format, sums, tile);                                                      \
    }                                                                                              \
    static void decode_##format(float *to, const uint8_t *row, size_t n)                           \
    {                                                                                              \
        decode_row(value_##format, to, row, n);                                                    \
    }                                                                                              \
    static void accumulate_##format(float *acc, const uint8_t *rows, size_t stride_bytes,          \
                                    const float *weights, size_t count, size_t n)                  \
    {                                                                                              \
        accumulate_rows(value_##format, acc, rows, stride_bytes, weights, count, n);               \
    }                                                                                              \
    static void dots_##format(const struct kernel_dots *d)                                         \
    {                                                                                              \
        for (size_t i = 0; i < d->x_rows; i++) {                                                   \
            const float *x = d->x + i * d->x_stride;                                               \
            for (size_t j = 0; j < d->w_rows; j++) {                                               \
                struct kernel_tile tile = {.w = d->w + j * d->w_stride_bytes,                      \
                                           .w_rows = 1,                                            \
                                           .x_rows = 1,                                            \
                                           .x = &x,                                                \
                                           .n = d->n};                                             \
                dot_rows(value_##format, d->to + i * d->to_stride + j, &tile);                     \
            }                                                                                      \
        }                                                                                          \
    }

KERNELS_OF(f32)
KERNELS_OF(f16)
KERNELS_OF(bf16)

static void encode_f16(uint8_t *to, const float *from, size_t n)
{
    dtype_encode(DTYPE_F16, from, to, n);
}

/* exp(x) = 2^k * exp(r), k = x / ln 2 to the nearest integer, |r| <= ln 2 / 2. Adding 1.5 * 2^23
 * leaves k in the low bits of a float's mantissa. ln 2 is taken off in two parts, the first of few
 * enough bits that k times it is exact. exp(r) is its Taylor sum to r^7, whose remainder is below
 * 6e-9. 2^k is multiplied in two halves, so that results in the subnormal range and the step to
 * infinity come out by themselves. The comparisons let NaN through. */
static float exp_one(float x)
{
    const float magic = 12582912.0f;
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    float shifted = x * 1.44269504088896341f + magic;
    float k = shifted - magic;
    float r = x - k * 0.693359375f;
    r = r - k * -2.12194440e-4f;
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    int32_t whole = (int32_t)(bits - 0x4b400000u);
    int32_t half = whole >> 1;
    uint32_t low_bits = ((uint32_t)half + 127u) << 23;
    uint32_t high_bits = ((uint32_t)(whole - half) + 127u) << 23;
    float low, high;
    memcpy(&low, &low_bits, sizeof low);
    memcpy(&high, &high_bits, sizeof high);
    return p * low * high;
}

static void exp_all(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = exp_one(x[i]);
}

static float sum_squares(const float *x, size_t n)
{
    float lane[LANES] = {0};
    for (size_t i = 0; i < n; i++)
        lane[i % LANES] += x[i] * x[i];
    return sum_lanes(lane);
}

static void normalize(float *out, const float *x, const float *weight, float factor, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] * factor * weight[i];
}

static void product(const struct kernel_product *p)
{
    for (size_t i = 0; i < p->rows; i++) {
        float *c = p->c + i * p->c_stride;
        const float *a = p->a + i * p->a_stride;
        for (size_t k = 0; k < p->depth; k++) {
            const float *b = p->b + k * p->b_stride;
            for (size_t j = 0; j < p->cols; j++)
                c[j] += a[k] * b[j];
        }
    }
}

static float scale_max(float *x, float scale, size_t n)
{
    float max = x[0] * scale;
    for (size_t i = 0; i < n; i++) {
        x[i] *= scale;
        max = x[i] > max ? x[i] : max;
    }
    return max;
}

static float exp_sum(float *x, float max, size_t n)
{
    float lane[LANES] = {0};
    for (size_t i = 0; i < n; i++) {
        x[i] = exp_one(x[i] - max);
        lane[i % LANES] += x[i];
    }
    return sum_lanes(lane);
}

static void rotate(float *a, float *b, const float *cosines, const float *sines, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float x = a[i], y = b[i];
        a[i] = x * cosines[i] - y * sines[i];
        b[i] = y * cosines[i] + x * sines[i];
    }
}

static void silu_mul(float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        gate[i] = gate[i] / (1.0f + exp_one(-gate[i])) * up[i];
}

static void scale_all(float *x, float factor, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= factor;
}

static void add_all(float *to, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] += x[i];
}

static void add_scaled(float *to, const float *x, float factor, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] += x[i] * factor;
}

const struct kernels kernels_scalar = {
    .tile_x = TILE_X,
    .format = {[DTYPE_F32] = {dot_f32, decode_f32, accumulate_f32, dots_f32},
               [DTYPE_F16] = {dot_f16, decode_f16, accumulate_f16, dots_f16},
               [DTYPE_BF16] = {dot_bf16, decode_bf16, accumulate_bf16, dots_bf16}},
    .encode_f16 = encode_f16,
    .sum_squares = sum_squares,
    .normalize = normalize,
    .product = product,
    .scale_max = scale_max,
    .exp_sum = exp_sum,
    .rotate = rotate,
    .silu_mul = silu_mul,
    .scale = scale_all,
    .add = add_all,
    .add_scaled = add_scaled,
    .exp = exp_all,
};
