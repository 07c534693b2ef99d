/* Conversions against the compiler's own half-precision type, for every one of the 65536 values and
 * around every rounding boundary; bf16 against integer arithmetic. */
#include "engine/quant/dtype.h"

#include <gtest/gtest.h>

#include <cctype>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

namespace {

uint32_t bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

float of_bits(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* The value of a finite half, from the definition of the format. */
double half_value(uint16_t h)
{
    int exponent = (h >> 10) & 0x1f, mantissa = h & 0x3ff;
    double magnitude = exponent == 0 ? std::ldexp(mantissa, -24)
                                     : std::ldexp(1024 + mantissa, exponent - 25);
    return h & 0x8000 ? -magnitude : magnitude;
}

bool half_is_nan(uint16_t h)
{
    return (h & 0x7c00) == 0x7c00 && (h & 0x3ff) != 0;
}

/* Nearest half to a finite value by search: the largest half not above |f|, then the rule of
 * nearest and even between it and its successor. 65536 stands in for infinity when rounding. */
uint16_t nearest_half(float f)
{
    uint16_t sign = std::signbit(f) ? 0x8000 : 0;
    double magnitude = std::fabs((double)f);
    uint16_t low = 0, high = 0x7c00; /* value(low) <= magnitude < value(high) */
    if (magnitude >= 65536.0)
        return sign | 0x7c00;
    while (high - low > 1) {
        uint16_t middle = (uint16_t)((low + high) / 2);
        if (half_value(middle) <= magnitude)
            low = middle;
        else
            high = middle;
    }
    double below = magnitude - half_value(low);
    double above = (high == 0x7c00 ? 65536.0 : half_value(high)) - magnitude;
    if (below < above || (below == above && low % 2 == 0))
        return sign | low;
    return sign | high;
}

} // namespace

TEST(dtype, f16_to_f32_is_exact_for_every_value)
{
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i;
        float f = f16_to_f32(h);
        ASSERT_EQ(std::signbit(f), (h & 0x8000) != 0) << i;
        if (half_is_nan(h)) {
            ASSERT_TRUE(std::isnan(f)) << i;
        } else if ((h & 0x7fff) == 0x7c00) {
            ASSERT_TRUE(std::isinf(f)) << i;
        } else {
            ASSERT_EQ((double)f, half_value(h)) << i;
        }
    }
}

TEST(dtype, f16_survives_the_way_up_and_down)
{
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i;
        uint16_t back = f32_to_f16(f16_to_f32(h));
        if (half_is_nan(h))
            ASSERT_EQ(back, h | 0x200) << i; /* made quiet, the rest of the payload kept */
        else
            ASSERT_EQ(back, h) << i;
    }
}

TEST(dtype, f32_to_f16_rounds_to_nearest_even_at_every_boundary)
{
    for (uint32_t i = 0; i <= 0x7bff; i++) {
        double low = half_value((uint16_t)i);
        double high = i == 0x7bff ? 65536.0 : half_value((uint16_t)(i + 1));
        float middle = (float)((low + high) / 2); /* exact: one more bit than a half has */
        float tests[] = {(float)low, middle, std::nextafterf(middle, 0.0f),
                         std::nextafterf(middle, INFINITY), std::nextafterf((float)low, INFINITY)};
        for (float f : tests) {
            ASSERT_EQ(f32_to_f16(f), nearest_half(f)) << i << " " << f;
            ASSERT_EQ(f32_to_f16(-f), nearest_half(-f)) << i << " " << f;
        }
    }
}

TEST(dtype, f32_to_f16_over_a_walk_through_all_floats)
{
    for (uint64_t u = 0; u < (uint64_t)1 << 32; u += 4099) {
        float f = of_bits((uint32_t)u);
        if (std::isnan(f))
            ASSERT_TRUE(half_is_nan(f32_to_f16(f))) << u;
        else
            ASSERT_EQ(f32_to_f16(f), nearest_half(f)) << u;
    }
}

#if defined(__FLT16_MANT_DIG__)
TEST(dtype, f16_agrees_with_the_compilers_type)
{
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t h = (uint16_t)i;
        _Float16 native;
        memcpy(&native, &h, sizeof native);
        if (!half_is_nan(h)) {
            ASSERT_EQ(bits(f16_to_f32(h)), bits((float)native)) << i;
        }
    }
    for (uint64_t u = 0; u < (uint64_t)1 << 32; u += 65537) {
        float f = of_bits((uint32_t)u);
        _Float16 native = (_Float16)f;
        uint16_t h;
        memcpy(&h, &native, sizeof h);
        if (!std::isnan(f)) {
            ASSERT_EQ(f32_to_f16(f), h) << u;
        }
    }
}
#endif

TEST(dtype, bf16_is_the_upper_half_of_f32)
{
    for (uint32_t i = 0; i < 65536; i++) {
        uint16_t b = (uint16_t)i;
        ASSERT_EQ(bits(bf16_to_f32(b)), i << 16);
        if (std::isnan(bf16_to_f32(b)))
            ASSERT_EQ(f32_to_bf16(bf16_to_f32(b)), b | 0x40) << i;
        else
            ASSERT_EQ(f32_to_bf16(bf16_to_f32(b)), b) << i;
    }
}

TEST(dtype, f32_to_bf16_rounds_to_nearest_even)
{
    for (uint32_t i = 0; i < 65536; i++) {
        if (std::isnan(of_bits(i << 16)) || (i & 0x7fff) == 0x7f80)
            continue;
        uint16_t down = (uint16_t)i, up = (uint16_t)(i + 1), even = i % 2 == 0 ? down : up;
        ASSERT_EQ(f32_to_bf16(of_bits(i << 16 | 0x0001)), down);
        ASSERT_EQ(f32_to_bf16(of_bits(i << 16 | 0x7fff)), down);
        ASSERT_EQ(f32_to_bf16(of_bits(i << 16 | 0x8000)), even);
        ASSERT_EQ(f32_to_bf16(of_bits(i << 16 | 0x8001)), up);
        ASSERT_EQ(f32_to_bf16(of_bits(i << 16 | 0xffff)), up);
    }
    /* A NaN whose payload lies in the lower half must not become infinity. */
    EXPECT_EQ(f32_to_bf16(of_bits(0x7f800001)), 0x7fc0);
    EXPECT_EQ(f32_to_bf16(of_bits(0xff800001)), 0xffc0);
}

TEST(dtype, names_of_safetensors_are_those_of_the_plain_formats)
{
    for (int i = 0; i < DTYPE_COUNT; i++) {
        enum dtype parsed = DTYPE_COUNT;
        EXPECT_EQ(dtype_parse(dtype_info((enum dtype)i)->name, &parsed),
                  dtype_is_plain((enum dtype)i));
        EXPECT_EQ(parsed, dtype_is_plain((enum dtype)i) ? i : DTYPE_COUNT);
    }
    enum dtype untouched = DTYPE_F16;
    for (const char *name : {"", "f32", "F3", "F321", "I64", "F8_E4M3", "Q4_K"}) {
        EXPECT_FALSE(dtype_parse(name, &untouched)) << name;
        EXPECT_EQ(untouched, DTYPE_F16);
    }
}

TEST(dtype, any_name_in_either_case)
{
    for (int i = 0; i < DTYPE_COUNT; i++) {
        std::string name = dtype_info((enum dtype)i)->name;
        for (bool lower : {false, true}) {
            for (char &c : name)
                c = lower ? (char)tolower((unsigned char)c) : c;
            enum dtype parsed = DTYPE_COUNT;
            ASSERT_TRUE(dtype_parse_any(name.c_str(), &parsed)) << name;
            EXPECT_EQ(parsed, i);
        }
    }
    enum dtype untouched = DTYPE_F16;
    for (const char *name : {"", "q4", "q4_k ", "q4_k_m", "i8"}) {
        EXPECT_FALSE(dtype_parse_any(name, &untouched)) << name;
        EXPECT_EQ(untouched, DTYPE_F16);
    }
}

/* Bits per value are public figures of the formats. */
TEST(dtype, sizes_of_blocks)
{
    const struct {
        enum dtype dtype;
        uint32_t values;
        double bits;
    } want[] = {{DTYPE_F32, 1, 32},         {DTYPE_F16, 1, 16},      {DTYPE_BF16, 1, 16},
                {DTYPE_Q8_0, 32, 8.5},      {DTYPE_Q4_0, 32, 4.5},   {DTYPE_Q4_1, 32, 5},
                {DTYPE_Q5_0, 32, 5.5},      {DTYPE_Q5_1, 32, 6},     {DTYPE_IQ4_NL, 32, 4.5},
                {DTYPE_MXFP4, 32, 4.25},    {DTYPE_Q2_K, 256, 2.625}, {DTYPE_Q3_K, 256, 3.4375},
                {DTYPE_Q4_K, 256, 4.5},     {DTYPE_Q5_K, 256, 5.5},  {DTYPE_Q6_K, 256, 6.5625}};
    EXPECT_EQ(sizeof want / sizeof *want, (size_t)DTYPE_COUNT);
    for (const auto &w : want) {
        const struct dtype_info *info = dtype_info(w.dtype);
        EXPECT_EQ(info->block_values, w.values) << info->name;
        EXPECT_EQ(info->block_bytes * 8.0 / info->block_values, w.bits) << info->name;
    }
}

TEST(dtype, bytes)
{
    uint64_t n = 1;
    EXPECT_TRUE(dtype_bytes(DTYPE_F32, 0, &n));
    EXPECT_EQ(n, 0u);
    EXPECT_TRUE(dtype_bytes(DTYPE_F32, 3, &n));
    EXPECT_EQ(n, 12u);
    EXPECT_TRUE(dtype_bytes(DTYPE_BF16, 3, &n));
    EXPECT_EQ(n, 6u);
    EXPECT_TRUE(dtype_bytes(DTYPE_F16, UINT64_MAX / 2, &n));
    EXPECT_EQ(n, UINT64_MAX - 1);
    EXPECT_FALSE(dtype_bytes(DTYPE_F16, UINT64_MAX / 2 + 1, &n));
    EXPECT_FALSE(dtype_bytes(DTYPE_F32, UINT64_MAX / 4 + 1, &n));
    EXPECT_TRUE(dtype_bytes(DTYPE_Q4_K, 512, &n));
    EXPECT_EQ(n, 288u);
    EXPECT_FALSE(dtype_bytes(DTYPE_Q4_K, 128, &n));
    EXPECT_FALSE(dtype_bytes(DTYPE_Q8_0, UINT64_MAX - 31, &n)); /* 34 bytes for 32 values */
}

TEST(dtype, decode_and_encode_take_unaligned_bytes)
{
    const std::vector<float> values = {0.0f, -0.0f, 1.0f, -2.5f, 65504.0f, 6.103515625e-05f, 0.1f};
    for (enum dtype dtype : {DTYPE_F32, DTYPE_F16, DTYPE_BF16}) {
        for (size_t n = 0; n <= values.size(); n++) {
            uint64_t size;
            ASSERT_TRUE(dtype_bytes(dtype, n, &size));
            std::vector<uint8_t> raw(size + 2, 0xa5);
            dtype_encode(dtype, values.data(), raw.data() + 1, n);
            EXPECT_EQ(raw.front(), 0xa5);
            EXPECT_EQ(raw.back(), 0xa5);
            std::vector<float> back(n + 1, 42.0f);
            dtype_decode(dtype, raw.data() + 1, back.data(), n);
            for (size_t i = 0; i < n; i++) {
                float want = dtype == DTYPE_F16    ? f16_to_f32(f32_to_f16(values[i]))
                             : dtype == DTYPE_BF16 ? bf16_to_f32(f32_to_bf16(values[i]))
                                                   : values[i];
                EXPECT_EQ(bits(back[i]), bits(want)) << dtype_info(dtype)->name << " " << i;
            }
            EXPECT_EQ(back[n], 42.0f);
        }
    }
}

TEST(dtype, which_formats_are_written)
{
    for (int t = 0; t < DTYPE_COUNT; t++)
        EXPECT_EQ(dtype_encodes((enum dtype)t),
                  dtype_is_plain((enum dtype)t) || t == DTYPE_Q8_0 || t == DTYPE_Q4_0 ||
                      t == DTYPE_Q4_K);
}

TEST(dtype_death, numbers_that_fill_no_block)
{
    float values[64] = {0};
    uint8_t raw[64] = {0};
    EXPECT_DEATH(dtype_decode(DTYPE_Q4_0, raw, values, 16), "block_values");
    EXPECT_DEATH(dtype_encode(DTYPE_Q4_0, values, raw, 48), "block_values");
}
