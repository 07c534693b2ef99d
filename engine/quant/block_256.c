/* Blocks of 256 values, cut into sub-blocks whose scales are small integers times the block's d.
 *
 * Every field is little-endian and lies at its byte, without padding. d and dmin are halves; s is
 * the value's sub-block (16 values in Q2_K, Q3_K, Q6_K; 32 in Q4_K, Q5_K), in the order of the
 * values:
 *
 *     Q2_K   84 bytes   scales 0..15   codes 16..79   d 80..81   dmin 82..83
 *                       d * (scales[s] & 15) * q - dmin * (scales[s] >> 4)
 *     Q3_K  110         high bits 0..31   codes 32..95   scales 96..107   d 108..109
 *                       d * scale[s] * (q - 4), q of three bits
 *     Q4_K  144         d 0..1   dmin 2..3   scales 4..15   codes 16..143
 *                       d * scale[s] * q - dmin * min[s]
 *     Q5_K  176         d 0..1   dmin 2..3   scales 4..15   high bits 16..47   codes 48..175
 *                       as Q4_K, q of five bits
 *     Q6_K  210         codes 0..127   high bits 128..191   scales 192..207, signed   d 208..209
 *                       d * scales[s] * (q - 32), q of six bits
 *
 * Codes lie so that a vector of bytes yields several vectors of codes by shifts. With l = 0 .. 31:
 *
 *     Q2_K, Q3_K   value 128 h + 32 g + l   bits 2g, 2g+1 of byte 32 h + l   (h 0..1, g 0..3)
 *     Q4_K, Q5_K   value  64 c + 32 g + l   bits 4g .. 4g+3 of byte 32 c + l   (c 0..3, g 0..1)
 *     Q6_K         value 128 h + 64 g + l   bits 4g .. 4g+3 of byte 64 h + l   (l 0..63, g 0..1)
 *
 * High bits: value 32 v + l has bit v of byte l (Q3_K, Q5_K); in Q6_K value 128 h + 32 g + l has
 * bits 2g, 2g+1 of byte 32 h + l. The layouts are those of GGUF files (ggml's block_q4_K, ...).
 *
 * Decoding is exact but for one rounding. Significant bits: d has 11, a scale at most 7 (-128 is a
 * power of two), d * scale * q at most 23 (Q6_K), dmin * min at most 17: these products fit into
 * the 24 of an f32 and the difference is the only operation that rounds. It makes no difference
 * whether the compiler fuses it.
 *
 * Pure functions: any thread. */
#include "engine/quant/block_256.h"

#include "memory/base/check.h"

static float load_half(const uint8_t *from)
{
    uint16_t h;
    memcpy(&h, from, sizeof h);
    return f16_to_f32(h);
}

/*     byte     0..3                  4..7                8..11
 *     bits 0-5 scale 0..3            min 0..3            low nibble: scale 4..7, high: min 4..7
 *     bits 6-7 top of scale 4..7     top of min 4..7 */
void block_256_scales_q4_k(const uint8_t *packed, uint8_t *scale, uint8_t *min)
{
    for (int i = 0; i < 4; i++) {
        uint8_t low = packed[i], middle = packed[4 + i], high = packed[8 + i];
        scale[i] = low & 63;
        min[i] = middle & 63;
        scale[4 + i] = (uint8_t)((high & 15) | low >> 6 << 4);
        min[4 + i] = (uint8_t)(high >> 4 | middle >> 6 << 4);
    }
}

/*     byte     0..7: low four bits of scale 0..7, and above them of scale 8..15
 *              8..11: byte 8 + i has the top two bits of scales i, 4 + i, 8 + i, 12 + i */
void block_256_scales_q3_k(const uint8_t *packed, int8_t *scale)
{
    for (int i = 0; i < 16; i++) {
        int low = i < 8 ? packed[i] & 15 : packed[i - 8] >> 4;
        int high = packed[8 + i % 4] >> (i / 4 * 2) & 3;
        scale[i] = (int8_t)((low | high << 4) - 32);
    }
}

static void decode_q2_k(const uint8_t *restrict block, float *restrict to)
{
    const uint8_t *scales = block, *codes = block + 16;
    float d = load_half(block + 80), dmin = load_half(block + 82);
    for (int s = 0; s < 16; s++) {
        const uint8_t *from = codes + s / 8 * 32 + s % 2 * 16;
        int shift = s / 2 % 4 * 2;
        float scale = d * (float)(scales[s] & 15), min = dmin * (float)(scales[s] >> 4);
        for (int l = 0; l < 16; l++)
            to[16 * s + l] = scale * (float)(from[l] >> shift & 3) - min;
    }
}

static void decode_q3_k(const uint8_t *restrict block, float *restrict to)
{
    const uint8_t *high = block, *codes = block + 32;
    int8_t scales[16];
    float d = load_half(block + 108);
    block_256_scales_q3_k(block + 96, scales);
    for (int s = 0; s < 16; s++) {
        const uint8_t *from = codes + s / 8 * 32 + s % 2 * 16, *bits = high + s % 2 * 16;
        int shift = s / 2 % 4 * 2;
        float scale = d * (float)scales[s];
        for (int l = 0; l < 16; l++) {
            int q = (from[l] >> shift & 3) | (bits[l] >> s / 2 & 1) << 2;
            to[16 * s + l] = scale * (float)(q - 4);
        }
    }
}

static void decode_q4_k(const uint8_t *restrict block, float *restrict to)
{
    const uint8_t *codes = block + 16;
    uint8_t scales[8], mins[8];
    float d = load_half(block), dmin = load_half(block + 2);
    block_256_scales_q4_k(block + 4, scales, mins);
    for (int s = 0; s < 8; s++) {
        const uint8_t *from = codes + s / 2 * 32;
        int shift = s % 2 * 4;
        float scale = d * (float)scales[s], min = dmin * (float)mins[s];
        for (int l = 0; l < 32; l++)
            to[32 * s + l] = scale * (float)(from[l] >> shift & 15) - min;
    }
}

static void decode_q5_k(const uint8_t *restrict block, float *restrict to)
{
    const uint8_t *high = block + 16, *codes = block + 48;
    uint8_t scales[8], mins[8];
    float d = load_half(block), dmin = load_half(block + 2);
    block_256_scales_q4_k(block + 4, scales, mins);
    for (int s = 0; s < 8; s++) {
        const uint8_t *from = codes + s / 2 * 32;
        int shift = s % 2 * 4;
        float scale = d * (float)scales[s], min = dmin * (float)mins[s];
        for (int l = 0; l < 32; l++) {
            int q = (from[l] >> shift & 15) | (high[l] >> s & 1) << 4;
            to[32 * s + l] = scale * (float)q - min;
        }
    }
}

static void decode_q6_k(const uint8_t *restrict block, float *restrict to)
{
    const uint8_t *codes = block, *high = block + 128, *scales = block + 192;
    float d = load_half(block + 208);
    for (int s = 0; s < 16; s++) {
        const uint8_t *from = codes + s / 8 * 64 + s % 4 * 16;
        const uint8_t *bits = high + s / 8 * 32 + s % 2 * 16;
        int shift = s / 4 % 2 * 4, high_shift = s / 2 % 4 * 2;
        float scale = d * (float)(int8_t)scales[s];
        for (int l = 0; l < 16; l++) {
            int q = (from[l] >> shift & 15) | (bits[l] >> high_shift & 3) << 4;
            to[16 * s + l] = scale * (float)(q - 32);
        }
    }
}

void block_256_decode(enum dtype dtype, const uint8_t *from, float *to, size_t blocks)
{
    void (*decode)(const uint8_t *block, float *to) = NULL;
    switch (dtype) {
    case DTYPE_Q2_K: decode = decode_q2_k; break;
    case DTYPE_Q3_K: decode = decode_q3_k; break;
    case DTYPE_Q4_K: decode = decode_q4_k; break;
    case DTYPE_Q5_K: decode = decode_q5_k; break;
    case DTYPE_Q6_K: decode = decode_q6_k; break;
    default: break;
    }
    CHECK_MSG(decode, "%s has no blocks of 256", dtype_info(dtype)->name);
    size_t block_bytes = dtype_info(dtype)->block_bytes;
    for (size_t b = 0; b < blocks; b++)
        decode(from + b * block_bytes, to + b * BLOCK_256_VALUES);
}
