/* The dot products of packed weights in plain C: the truth for the other tables, and the table of
 * machines that have nothing better.
 *
 * One weight row at a time: its blocks are brought back into the order of files, decoded into
 * integers and scales, and multiplied with every row of activations. Each format says only what its
 * integers and scales are; the order of the sums (packed_kernels.h) stands in one place, dot_row.
 * The layouts are drawn in engine/quant/block_32.c and block_256.c.
 *
 * Pure functions: any thread. */
#include <math.h>

#include "engine/backend/cpu/packed_format.h"
#include "engine/backend/cpu/packed_kernels.h"
#include "engine/quant/block_256.h"
#include "engine/quant/block_32.h"

/* A weight row: value i is scale[i / sub] * u[i] + min[i / sub], sub being 32 or 16 values. */
struct row {
    int8_t *u;
    float *scale;
    float *min;
};

static float half_at(const uint8_t *from)
{
    uint16_t h;
    memcpy(&h, from, sizeof h);
    return f16_to_f32(h);
}

static void codes_of_nibbles(const uint8_t *nibbles, int8_t *u)
{
    for (int i = 0; i < 16; i++) {
        u[i] = nibbles[i] & 15;
        u[i + 16] = (int8_t)(nibbles[i] >> 4);
    }
}

static void add_fifth_bits(const uint8_t *bits, int8_t *u)
{
    for (int i = 0; i < 32; i++)
        u[i] = (int8_t)(u[i] | (bits[i / 8] >> i % 8 & 1) << 4);
}

static void subtract(int8_t *u, int offset)
{
    for (int i = 0; i < 32; i++)
        u[i] = (int8_t)(u[i] - offset);
}

static void look_up(int8_t *u, const int8_t *table)
{
    for (int i = 0; i < 32; i++)
        u[i] = table[u[i]];
}

static void block_q8_0(const uint8_t *block, struct row to)
{
    *to.scale = half_at(block);
    memcpy(to.u, block + 2, 32);
}

static void block_q4_0(const uint8_t *block, struct row to)
{
    *to.scale = half_at(block);
    codes_of_nibbles(block + 2, to.u);
    subtract(to.u, 8);
}

static void block_q4_1(const uint8_t *block, struct row to)
{
    *to.scale = half_at(block);
    *to.min = half_at(block + 2);
    codes_of_nibbles(block + 4, to.u);
}

static void block_q5_0(const uint8_t *block, struct row to)
{
    *to.scale = half_at(block);
    codes_of_nibbles(block + 6, to.u);
    add_fifth_bits(block + 2, to.u);
    subtract(to.u, 16);
}

static void block_q5_1(const uint8_t *block, struct row to)
{
    *to.scale = half_at(block);
    *to.min = half_at(block + 2);
    codes_of_nibbles(block + 8, to.u);
    add_fifth_bits(block + 4, to.u);
}

static void block_iq4_nl(const uint8_t *block, struct row to)
{
    *to.scale = half_at(block);
    codes_of_nibbles(block + 2, to.u);
    look_up(to.u, block_32_iq4_nl);
}

static void block_mxfp4(const uint8_t *block, struct row to)
{
    *to.scale = block_32_mxfp4_scale(block[0]);
    codes_of_nibbles(block + 1, to.u);
    look_up(to.u, block_32_mxfp4);
}

static void block_q2_k(const uint8_t *block, struct row to)
{
    float d = half_at(block + 80), dmin = half_at(block + 82);
    for (int s = 0; s < 16; s++) {
        to.scale[s] = d * (float)(block[s] & 15);
        to.min[s] = -(dmin * (float)(block[s] >> 4));
    }
    for (int i = 0; i < 256; i++)
        to.u[i] = block[16 + i / 128 * 32 + i % 32] >> i / 32 % 4 * 2 & 3;
}

static void block_q3_k(const uint8_t *block, struct row to)
{
    int8_t scale[16];
    float d = half_at(block + 108);
    block_256_scales_q3_k(block + 96, scale);
    for (int s = 0; s < 16; s++)
        to.scale[s] = d * (float)scale[s];
    for (int i = 0; i < 256; i++) {
        int low = block[32 + i / 128 * 32 + i % 32] >> i / 32 % 4 * 2 & 3;
        to.u[i] = (int8_t)((low | (block[i % 32] >> i / 32 & 1) << 2) - 4);
    }
}

static void scales_q4_k(const uint8_t *block, struct row to)
{
    uint8_t scale[8], min[8];
    float d = half_at(block), dmin = half_at(block + 2);
    block_256_scales_q4_k(block + 4, scale, min);
    for (int s = 0; s < 8; s++) {
        to.scale[s] = d * (float)scale[s];
        to.min[s] = -(dmin * (float)min[s]);
    }
}

static void block_q4_k(const uint8_t *block, struct row to)
{
    scales_q4_k(block, to);
    for (int i = 0; i < 256; i++)
        to.u[i] = block[16 + i / 64 * 32 + i % 32] >> i / 32 % 2 * 4 & 15;
}

static void block_q5_k(const uint8_t *block, struct row to)
{
    scales_q4_k(block, to);
    for (int i = 0; i < 256; i++) {
        int low = block[48 + i / 64 * 32 + i % 32] >> i / 32 % 2 * 4 & 15;
        to.u[i] = (int8_t)(low | (block[16 + i % 32] >> i / 32 & 1) << 4);
    }
}

static void block_q6_k(const uint8_t *block, struct row to)
{
    float d = half_at(block + 208);
    for (int s = 0; s < 16; s++)
        to.scale[s] = d * (float)(int8_t)block[192 + s];
    for (int i = 0; i < 256; i++) {
        int low = block[i / 128 * 64 + i % 64] >> i / 64 % 2 * 4 & 15;
        int high = block[128 + i / 128 * 32 + i % 32] >> i / 32 % 4 * 2 & 3;
        to.u[i] = (int8_t)((low | high << 4) - 32);
    }
}

/* acc, as packed_kernels.h defines it. */
static float dot_row(enum dtype dtype, struct row w, const struct packed_x *x, size_t x_row)
{
    const size_t sub = packed_sub_values(dtype), subs = x->cols / sub;
    const int8_t *q = x->q + x_row * x->cols;
    const float *x_scale = x->scale + x_row * (x->cols / 32);
    const float *x_sum = sub == 32 ? x->sum32 : x->sum16;
    x_sum += x_row * subs;
    float acc = 0.0f;
    for (size_t s = 0; s < subs; s++) {
        int32_t sum = 0;
        for (size_t i = s * sub; i < (s + 1) * sub; i++)
            sum += w.u[i] * q[i];
        acc = fmaf((float)sum, w.scale[s] * x_scale[s * sub / 32], acc);
        if (packed_has_min(dtype))
            acc = fmaf(w.min[s], x_sum[s], acc);
    }
    return acc;
}

/* Scratch: a group in the order of files, then one row of it decoded. */
static inline __attribute__((always_inline)) void
dot_tile(const struct packed_tile *tile, enum dtype dtype,
         void (*block)(const uint8_t *block, struct row to))
{
    const struct dtype_info *info = dtype_info(dtype);
    const size_t cols = tile->x.cols, row_bytes = cols / info->block_values * info->block_bytes;
    const size_t subs = info->block_values / packed_sub_values(dtype);
    uint8_t *group = tile->scratch;
    struct row row;
    row.scale = (float *)(group + PACKED_ROWS * cols / 32 * 34);
    row.min = row.scale + cols / 16;
    row.u = (int8_t *)(row.min + cols / 16);
    for (uint32_t o = 0; o < tile->outputs; o++) {
        uint32_t lane = o % PACKED_ROWS, first = tile->first + o - lane;
        if (lane == 0)
            packed_unpack(dtype, tile->w + first * row_bytes, group, packed_group_rows(tile, first),
                          cols);
        struct row at = row;
        for (const uint8_t *b = group + lane * row_bytes; b < group + (lane + 1) * row_bytes;
             b += info->block_bytes) {
            block(b, at);
            at.u += info->block_values;
            at.scale += subs;
            at.min += subs;
        }
        for (uint32_t i = 0; i < tile->count; i++)
            tile->out[i * tile->out_stride + o] =
                dot_row(dtype, row, &tile->x, packed_tile_row(tile, i));
    }
}

#define DOT(name, dtype)                                                                           \
    static void dot_##name(const struct packed_tile *tile)                                         \
    {                                                                                              \
        dot_tile(tile, dtype, block_##name);                                                       \
    }
PACKED_FORMATS(DOT)

static uint32_t magnitude_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u & 0x7fffffffu;
}

/* The block's scale; *finite: false where a value is a NaN or an infinity. Magnitudes compare as
 * their bits do, NaN above all. */
static float scale_of(const float *from, bool *finite)
{
    uint32_t bits = 0;
    for (int i = 0; i < ACTIVATION_BLOCK; i++)
        bits = magnitude_bits(from[i]) > bits ? magnitude_bits(from[i]) : bits;
    *finite = bits < 0x7f800000u;
    float max;
    memcpy(&max, &bits, sizeof max);
    return *finite ? max / 127.0f : NAN;
}

static void quantize(const struct packed_x *x, uint32_t row, const float *from)
{
    const size_t blocks = x->cols / ACTIVATION_BLOCK;
    for (size_t b = 0; b < blocks; b++) {
        size_t at = row * blocks + b;
        int8_t *q = x->q + at * ACTIVATION_BLOCK;
        bool finite;
        float scale = scale_of(from + b * ACTIVATION_BLOCK, &finite);
        int16_t count[2] = {0, 0};
        for (int i = 0; i < ACTIVATION_BLOCK; i++) {
            float f = finite && scale > 0 ? from[b * ACTIVATION_BLOCK + i] / scale : 0.0f;
            f = f > 127.0f ? 127.0f : f < -127.0f ? -127.0f : f;
            q[i] = (int8_t)rintf(f);
            count[i / 16] = (int16_t)(count[i / 16] + q[i]);
        }
        x->scale[at] = scale;
        x->sum32[at] = scale * (float)(count[0] + count[1]);
        for (size_t half = 0; half < 2; half++) {
            x->count[2 * at + half] = count[half];
            x->sum16[2 * at + half] = scale * (float)count[half];
        }
    }
}

#define DOT_ENTRY(name, dtype) [dtype] = dot_##name,
const struct packed_kernels packed_scalar = {
    .name = "scalar",
    .quantize = quantize,
    .dot = {PACKED_FORMATS(DOT_ENTRY)},
    .rows_full = 8,
};
