/* Blocks of 32 values.
 *
 * Every field is little-endian and lies at its byte, without padding. d and m are halves. Where
 * codes have four bits, byte j of them holds the code of value j (low nibble) and that of value
 * j + 16 (high):
 *
 *     Q8_0    34 bytes  d 0..1                               codes 2..33, signed  d * q
 *     Q4_0    18        d 0..1                               codes 2..17          d * (q - 8)
 *     Q4_1    20        d 0..1      m 2..3                   codes 4..19          d * q + m
 *     Q5_0    22        d 0..1              fifth bits 2..5  codes 6..21          d * (q - 16)
 *     Q5_1    24        d 0..1      m 2..3  fifth bits 4..7  codes 8..23          d * q + m
 *     IQ4_NL  18        d 0..1                               codes 2..17          d * table[q]
 *     MXFP4   17        exponent 0                           codes 1..16          2^(e-127) * E2M1
 *
 * Bit i of the 32 fifth bits belongs to value i. The layouts are those of GGUF files (ggml's
 * block_q8_0 and so on); MXFP4 is the microscaling format of the Open Compute Project, whose codes
 * are the sixteen floats of one sign, two exponent bits and one of mantissa.
 *
 * Decoding is exact but for one rounding: a half has 11 significant bits and a code at most 7 more
 * (128 is a power of two), so the product fits into the 24 of an f32, and the sum with m is the
 * only operation that rounds. It makes no difference whether the compiler fuses the two.
 *
 * Pure functions: any thread. */
#include "engine/quant/block_32.h"

#include <math.h>

#include "memory/base/bytes.h"
#include "memory/base/check.h"

const int8_t block_32_iq4_nl[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                    1,    13,   25,  38,  53,  69,  89,  113};
const int8_t block_32_mxfp4[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static float load_half(const uint8_t *from)
{
    uint16_t h;
    memcpy(&h, from, sizeof h);
    return f16_to_f32(h);
}

static void decode_q8_0(const uint8_t *restrict block, float *restrict to)
{
    float d = load_half(block);
    for (int i = 0; i < 32; i++)
        to[i] = d * (float)(int8_t)block[2 + i];
}

static void decode_q4_0(const uint8_t *restrict block, float *restrict to)
{
    float d = load_half(block);
    for (int i = 0; i < 16; i++) {
        to[i] = d * (float)((block[2 + i] & 15) - 8);
        to[i + 16] = d * (float)((block[2 + i] >> 4) - 8);
    }
}

static void decode_q4_1(const uint8_t *restrict block, float *restrict to)
{
    float d = load_half(block), m = load_half(block + 2);
    for (int i = 0; i < 16; i++) {
        to[i] = d * (float)(block[4 + i] & 15) + m;
        to[i + 16] = d * (float)(block[4 + i] >> 4) + m;
    }
}

/* The five-bit codes of a block, from their fifth bits and nibbles. */
static void codes_of_5_bits(const uint8_t *fifth, const uint8_t *nibbles, uint8_t *codes)
{
    uint32_t bits = bytes_le32(fifth);
    for (int i = 0; i < 16; i++) {
        codes[i] = (uint8_t)((nibbles[i] & 15) | (bits >> i & 1) << 4);
        codes[i + 16] = (uint8_t)(nibbles[i] >> 4 | (bits >> (i + 16) & 1) << 4);
    }
}

static void decode_q5_0(const uint8_t *restrict block, float *restrict to)
{
    uint8_t codes[BLOCK_32_VALUES];
    float d = load_half(block);
    codes_of_5_bits(block + 2, block + 6, codes);
    for (int i = 0; i < 32; i++)
        to[i] = d * (float)(codes[i] - 16);
}

static void decode_q5_1(const uint8_t *restrict block, float *restrict to)
{
    uint8_t codes[BLOCK_32_VALUES];
    float d = load_half(block), m = load_half(block + 2);
    codes_of_5_bits(block + 4, block + 8, codes);
    for (int i = 0; i < 32; i++)
        to[i] = d * (float)codes[i] + m;
}

static void decode_by_table(float d, const int8_t *table, const uint8_t *nibbles, float *to)
{
    for (int i = 0; i < 16; i++) {
        to[i] = d * (float)table[nibbles[i] & 15];
        to[i + 16] = d * (float)table[nibbles[i] >> 4];
    }
}

static void decode_iq4_nl(const uint8_t *restrict block, float *restrict to)
{
    decode_by_table(load_half(block), block_32_iq4_nl, block + 2, to);
}

static void decode_mxfp4(const uint8_t *restrict block, float *restrict to)
{
    decode_by_table(block_32_mxfp4_scale(block[0]), block_32_mxfp4, block + 1, to);
}

void block_32_decode(enum dtype dtype, const uint8_t *from, float *to, size_t blocks)
{
    void (*decode)(const uint8_t *block, float *to) = NULL;
    switch (dtype) {
    case DTYPE_Q8_0: decode = decode_q8_0; break;
    case DTYPE_Q4_0: decode = decode_q4_0; break;
    case DTYPE_Q4_1: decode = decode_q4_1; break;
    case DTYPE_Q5_0: decode = decode_q5_0; break;
    case DTYPE_Q5_1: decode = decode_q5_1; break;
    case DTYPE_IQ4_NL: decode = decode_iq4_nl; break;
    case DTYPE_MXFP4: decode = decode_mxfp4; break;
    default: break;
    }
    CHECK_MSG(decode, "%s has no blocks of 32", dtype_info(dtype)->name);
    size_t block_bytes = dtype_info(dtype)->block_bytes;
    for (size_t b = 0; b < blocks; b++)
        decode(from + b * block_bytes, to + b * BLOCK_32_VALUES);
}

/* Encoding.
 *
 * A block with a NaN or an infinity gets d = NaN: all of it decodes to NaN and the damage stays
 * visible. Finite values too large for d = 65504 saturate. The loops look at magnitudes as
 * integers, which order as the floats do and have no NaN that compares false: compilers make
 * vectors of them. */
#define HALF_NAN 0x7e00
#define HALF_MAX 0x7bff
#define F32_MAX_BITS 0x7f7fffff

static void store_half(uint8_t *to, uint16_t h)
{
    memcpy(to, &h, sizeof h);
}

static float f32_of_magnitude(int32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* The greatest magnitude among the positive values and among the negative ones, as bits of f32. */
static void greatest(const float *x, int32_t *positive, int32_t *negative)
{
    int32_t bits[BLOCK_32_VALUES], above = 0, below = 0;
    memcpy(bits, x, sizeof bits);
    for (int i = 0; i < BLOCK_32_VALUES; i++) {
        int32_t sign = bits[i] >> 31, magnitude = bits[i] & 0x7fffffff;
        int32_t up = magnitude & ~sign, down = magnitude & sign;
        above = up > above ? up : above;
        below = down > below ? down : below;
    }
    *positive = above;
    *negative = below;
}

/* q = x / d + offset to nearest, ties to even, within low .. high. d is not 0. */
static void codes_of(const float *restrict x, float d, float offset, int low, int high,
                     int8_t *restrict codes)
{
    const float integers = 0x1.8p23f; /* whoever adds it has no fraction left */
    float limit = 1024.0f * fabsf(d); /* beyond any code, and small enough to convert */
    float cut[BLOCK_32_VALUES];
    for (int i = 0; i < BLOCK_32_VALUES; i++) {
        float v = x[i] > limit ? limit : x[i];
        cut[i] = v < -limit ? -limit : v;
    }
    for (int i = 0; i < BLOCK_32_VALUES; i++) {
        int q = (int)((cut[i] / d + offset + integers) - integers);
        q = q < low ? low : q;
        codes[i] = (int8_t)(q > high ? high : q);
    }
}

/* d = max |x| / 127, rounded up to a half, so that nothing is cut off; q = x / d. */
static void encode_q8_0(const float *restrict x, uint8_t *restrict block)
{
    int32_t positive, negative;
    greatest(x, &positive, &negative);
    int32_t max = positive > negative ? positive : negative;
    memset(block, 0, 34);
    if (max > F32_MAX_BITS) {
        store_half(block, HALF_NAN);
        return;
    }
    float want = f32_of_magnitude(max) / 127.0f;
    uint16_t h = f32_to_f16(want);
    h = h > HALF_MAX ? HALF_MAX : h;
    if (h < HALF_MAX && f16_to_f32(h) < want)
        h++;
    store_half(block, h);
    if (h > 0)
        codes_of(x, f16_to_f32(h), 0, -127, 127, (int8_t *)block + 2);
}

/* The value of greatest magnitude gets code 0, which means -8: the longer half of the range lies on
 * its side (of two equal ones, the negative's). d = that value / -8, rounded to a half;
 * q = x / d + 8. */
static void encode_q4_0(const float *restrict x, uint8_t *restrict block)
{
    int32_t positive, negative;
    int8_t codes[BLOCK_32_VALUES];
    greatest(x, &positive, &negative);
    memset(block, 0, 18);
    if (positive > F32_MAX_BITS || negative > F32_MAX_BITS) {
        store_half(block, HALF_NAN);
        return;
    }
    bool up = positive > negative;
    uint16_t h = f32_to_f16(f32_of_magnitude(up ? positive : negative) / 8.0f);
    h = h > HALF_MAX ? HALF_MAX : h;
    if (h > 0) {
        h |= up ? 0x8000 : 0;
        codes_of(x, f16_to_f32(h), 8, 0, 15, codes);
    } else {
        memset(codes, 8, sizeof codes);
    }
    store_half(block, h);
    for (int i = 0; i < 16; i++)
        block[2 + i] = (uint8_t)(codes[i] | codes[i + 16] << 4);
}

void block_32_encode(enum dtype dtype, const float *from, uint8_t *to, size_t blocks)
{
    CHECK_MSG(dtype == DTYPE_Q8_0 || dtype == DTYPE_Q4_0, "%s is only read",
              dtype_info(dtype)->name);
    size_t block_bytes = dtype_info(dtype)->block_bytes;
    for (size_t b = 0; b < blocks; b++, from += BLOCK_32_VALUES, to += block_bytes) {
        if (dtype == DTYPE_Q8_0)
            encode_q8_0(from, to);
        else
            encode_q4_0(from, to);
    }
}
