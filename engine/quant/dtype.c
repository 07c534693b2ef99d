/* Exact conversions between the number formats of checkpoint files and f32.
 *
 * Written with integer operations only, so that the result depends on no rounding mode, no compiler
 * flag and no instruction set; speed is the business of the kernels in engine/backend, which are
 * tested against this file. Widening is exact. Narrowing rounds to nearest, ties to even, keeps
 * subnormals, goes to infinity on overflow, and turns a NaN into a quiet NaN with the upper bits of
 * its payload, which is what the conversion instructions of the hardware do.
 *
 * Pure functions without state: any thread. */
#include "engine/quant/dtype.h"

#include <strings.h>

#include "engine/quant/block_256.h"
#include "engine/quant/block_32.h"
#include "engine/quant/encode_q4_k.h"
#include "memory/base/bytes.h"
#include "memory/base/check.h"

const struct dtype_info *dtype_info(enum dtype dtype)
{
    static const struct dtype_info info[DTYPE_COUNT] = {
        [DTYPE_F32] = {"F32", 1, 4},
        [DTYPE_F16] = {"F16", 1, 2},
        [DTYPE_BF16] = {"BF16", 1, 2},
        [DTYPE_Q8_0] = {"Q8_0", 32, 34},
        [DTYPE_Q4_0] = {"Q4_0", 32, 18},
        [DTYPE_Q4_1] = {"Q4_1", 32, 20},
        [DTYPE_Q5_0] = {"Q5_0", 32, 22},
        [DTYPE_Q5_1] = {"Q5_1", 32, 24},
        [DTYPE_IQ4_NL] = {"IQ4_NL", 32, 18},
        [DTYPE_MXFP4] = {"MXFP4", 32, 17},
        [DTYPE_Q2_K] = {"Q2_K", 256, 84},
        [DTYPE_Q3_K] = {"Q3_K", 256, 110},
        [DTYPE_Q4_K] = {"Q4_K", 256, 144},
        [DTYPE_Q5_K] = {"Q5_K", 256, 176},
        [DTYPE_Q6_K] = {"Q6_K", 256, 210},
    };
    CHECK_MSG((unsigned)dtype < DTYPE_COUNT, "dtype %d is not a number format", (int)dtype);
    return &info[dtype];
}

bool dtype_parse(const char *name, enum dtype *out)
{
    for (int i = 0; i < DTYPE_COUNT; i++) {
        if (dtype_is_plain((enum dtype)i) && strcmp(dtype_info((enum dtype)i)->name, name) == 0) {
            *out = (enum dtype)i;
            return true;
        }
    }
    return false;
}

bool dtype_parse_any(const char *name, enum dtype *out)
{
    for (int i = 0; i < DTYPE_COUNT; i++) {
        if (strcasecmp(dtype_info((enum dtype)i)->name, name) == 0) {
            *out = (enum dtype)i;
            return true;
        }
    }
    return false;
}

bool dtype_bytes(enum dtype dtype, uint64_t values, uint64_t *bytes)
{
    const struct dtype_info *info = dtype_info(dtype);
    if (values % info->block_values != 0)
        return false;
    return bytes_mul(values / info->block_values, info->block_bytes, bytes);
}

static uint32_t bits_of_f32(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float f32_of_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* f16: 1 sign, 5 exponent (bias 15), 10 mantissa; f32: 1, 8 (bias 127), 23. */
float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exponent = (h >> 10) & 0x1fu;
    uint32_t mantissa = h & 0x3ffu;
    if (exponent == 0x1f) { /* infinity, or NaN made quiet */
        uint32_t quiet = mantissa ? 0x00400000u : 0;
        return f32_of_bits(sign | 0x7f800000u | quiet | mantissa << 13);
    }
    if (exponent == 0) {
        if (mantissa == 0)
            return f32_of_bits(sign);
        /* A subnormal is mantissa * 2^-24: normal in f32 once its leading bit is shifted out. */
        uint32_t shift = (uint32_t)__builtin_clz(mantissa) - 21; /* 1 .. 10 */
        mantissa = (mantissa << shift) & 0x3ffu;
        return f32_of_bits(sign | (113 - shift) << 23 | mantissa << 13);
    }
    return f32_of_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

/* value / 2^shift, to nearest, ties to even; 1 <= shift <= 31. */
static uint32_t shift_to_nearest_even(uint32_t value, uint32_t shift)
{
    uint32_t half = 1u << (shift - 1);
    uint32_t odd = (value >> shift) & 1u;
    return (value + half - 1 + odd) >> shift;
}

uint16_t f32_to_f16(float f)
{
    uint32_t u = bits_of_f32(f);
    uint32_t sign = (u >> 16) & 0x8000u;
    uint32_t magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x1ffu));
    if (magnitude >= 0x477ff000u) /* 65520, halfway to the next power: infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude >= 0x38800000u) /* 2^-14: a normal; a carry out of the mantissa is wanted */
        return (uint16_t)(sign | (shift_to_nearest_even(magnitude, 13) - (112u << 10)));
    if (magnitude < 0x33000000u) /* below 2^-25, half of the smallest subnormal */
        return (uint16_t)sign;
    uint32_t exponent = magnitude >> 23; /* 102 .. 112 */
    uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    return (uint16_t)(sign | shift_to_nearest_even(mantissa, 126 - exponent));
}

uint16_t f32_to_bf16(float f)
{
    uint32_t u = bits_of_f32(f);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)shift_to_nearest_even(u & 0x7fffffffu, 16) | (uint16_t)(u >> 16 & 0x8000u);
}

static uint16_t load_u16(const void *from, size_t i)
{
    uint16_t v;
    memcpy(&v, (const uint8_t *)from + 2 * i, sizeof v);
    return v;
}

static void store_u16(void *to, size_t i, uint16_t v)
{
    memcpy((uint8_t *)to + 2 * i, &v, sizeof v);
}

void dtype_decode(enum dtype dtype, const void *from, float *to, size_t values)
{
    uint32_t block_values = dtype_info(dtype)->block_values;
    CHECK(values % block_values == 0);
    switch (dtype) {
    case DTYPE_F32:
        if (values > 0)
            memcpy(to, from, values * sizeof *to);
        return;
    case DTYPE_F16:
        for (size_t i = 0; i < values; i++)
            to[i] = f16_to_f32(load_u16(from, i));
        return;
    case DTYPE_BF16:
        for (size_t i = 0; i < values; i++)
            to[i] = bf16_to_f32(load_u16(from, i));
        return;
    default:
        if (block_values == BLOCK_32_VALUES)
            block_32_decode(dtype, from, to, values / block_values);
        else
            block_256_decode(dtype, from, to, values / block_values);
    }
}

bool dtype_encodes(enum dtype dtype)
{
    return dtype_is_plain(dtype) || dtype == DTYPE_Q8_0 || dtype == DTYPE_Q4_0 ||
           dtype == DTYPE_Q4_K;
}

void dtype_encode(enum dtype dtype, const float *from, void *to, size_t values)
{
    uint32_t block_values = dtype_info(dtype)->block_values;
    CHECK(values % block_values == 0);
    CHECK_MSG(dtype_encodes(dtype), "%s is only read", dtype_info(dtype)->name);
    switch (dtype) {
    case DTYPE_F32:
        if (values > 0)
            memcpy(to, from, values * sizeof *from);
        return;
    case DTYPE_F16:
        for (size_t i = 0; i < values; i++)
            store_u16(to, i, f32_to_f16(from[i]));
        return;
    case DTYPE_BF16:
        for (size_t i = 0; i < values; i++)
            store_u16(to, i, f32_to_bf16(from[i]));
        return;
    case DTYPE_Q4_K:
        encode_q4_k(from, to, values / block_values);
        return;
    default:
        block_32_encode(dtype, from, to, values / block_values);
    }
}
