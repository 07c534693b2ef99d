/* Blocks of 32 values against golden ones; Q8_0 and Q4_0 there and back. */
#include "engine/quant/block_32.h"

#include "tests/engine/quant/quant_checks.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>

namespace {

const float inf = std::numeric_limits<float>::infinity();
const float nan_f = std::numeric_limits<float>::quiet_NaN();

std::vector<float> noise_of(scratch::Random &random, size_t n, float magnitude)
{
    std::vector<float> out(n);
    for (float &f : out)
        f = magnitude * (float)((double)random.below(1u << 24) / (1 << 23) - 1);
    return out;
}

std::vector<uint8_t> encoded(enum dtype dtype, const std::vector<float> &x)
{
    uint64_t n;
    EXPECT_TRUE(dtype_bytes(dtype, x.size(), &n));
    std::vector<uint8_t> out(n);
    dtype_encode(dtype, x.data(), out.data(), x.size());
    return out;
}

std::vector<float> decoded(enum dtype dtype, const std::vector<uint8_t> &raw)
{
    std::vector<float> out(raw.size() / dtype_info(dtype)->block_bytes *
                           dtype_info(dtype)->block_values);
    dtype_decode(dtype, raw.data(), out.data(), out.size());
    return out;
}

float half_at(const std::vector<uint8_t> &raw, size_t at)
{
    uint16_t h;
    memcpy(&h, raw.data() + at, sizeof h);
    return f16_to_f32(h);
}

} // namespace

TEST(block_32, decodes_as_an_independent_implementation_does)
{
    for (enum dtype dtype : {DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_1, DTYPE_Q5_0, DTYPE_Q5_1,
                             DTYPE_IQ4_NL, DTYPE_MXFP4})
        check_golden(dtype);
}

/* Every code in every place, with d = 1 (and m = 0.5): the value is written down here. */
TEST(block_32, every_code_in_every_place)
{
    const double e2m1[8] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    for (int i = 0; i < 32; i++) {
        for (int code = 0; code < 256; code++) {
            std::vector<uint8_t> q8(34, 0);
            q8[1] = 0x3c;
            q8[(size_t)(2 + i)] = (uint8_t)code;
            EXPECT_EQ(decoded(DTYPE_Q8_0, q8)[(size_t)i], code < 128 ? code : code - 256);
        }
        for (int code = 0; code < 32; code++) {
            uint8_t nibble = (uint8_t)((code & 15) << (i < 16 ? 0 : 4));
            uint32_t fifth = (uint32_t)(code >> 4) << i;
            std::vector<uint8_t> q5(24, 0), q4(20, 0), mx(17, 0);
            q5[1] = q4[1] = 0x3c;
            q5[3] = q4[3] = 0x38; /* m = 0.5 */
            memcpy(&q5[4], &fifth, 4);
            q5[(size_t)(8 + i % 16)] = q4[(size_t)(4 + i % 16)] = mx[(size_t)(1 + i % 16)] = nibble;
            mx[0] = 127;
            EXPECT_EQ(decoded(DTYPE_Q5_1, q5)[(size_t)i], (float)code + 0.5f);
            q5.erase(q5.begin() + 2, q5.begin() + 4);
            EXPECT_EQ(decoded(DTYPE_Q5_0, q5)[(size_t)i], code - 16);
            if (code >= 16)
                continue;
            EXPECT_EQ(decoded(DTYPE_Q4_1, q4)[(size_t)i], (float)code + 0.5f);
            q4.erase(q4.begin() + 2, q4.begin() + 4);
            EXPECT_EQ(decoded(DTYPE_Q4_0, q4)[(size_t)i], code - 8);
            EXPECT_EQ(decoded(DTYPE_IQ4_NL, q4)[(size_t)i], block_32_iq4_nl[code]);
            EXPECT_EQ(decoded(DTYPE_MXFP4, mx)[(size_t)i],
                      code < 8 ? e2m1[code] : -e2m1[code - 8]);
        }
    }
}

TEST(block_32, mxfp4_scales_are_powers_of_two_for_every_exponent)
{
    for (int e = 0; e < 256; e++)
        EXPECT_EQ((double)block_32_mxfp4_scale((uint8_t)e), std::ldexp(1.0, e - 128)) << e;
    /* The greatest exponent: what fits is exact, what does not is infinite, and zero is zero. */
    std::vector<uint8_t> block(17, 0);
    block[0] = 255;
    block[1] = 0x10;
    block[2] = 0xa2;
    std::vector<float> values = decoded(DTYPE_MXFP4, block);
    EXPECT_EQ(values[0], 0.0f);
    EXPECT_EQ(values[16], std::ldexp(1.0f, 127));
    EXPECT_EQ(values[1], inf);
    EXPECT_EQ(values[17], -inf);
}

TEST(block_32, q8_0_errs_by_half_a_step_and_cuts_nothing_off)
{
    scratch::Random random(1);
    for (float magnitude : {1e-7f, 1e-4f, 0.03f, 1.0f, 300.0f, 8e6f}) {
        std::vector<float> x = noise_of(random, 32 * 50, magnitude);
        std::vector<uint8_t> raw = encoded(DTYPE_Q8_0, x);
        std::vector<float> back = decoded(DTYPE_Q8_0, raw);
        for (size_t b = 0; b < 50; b++) {
            float d = half_at(raw, b * 34), max = 0;
            for (size_t i = 32 * b; i < 32 * b + 32; i++) {
                EXPECT_LE(std::fabs(x[i] - back[i]), 0.5001f * d) << magnitude;
                max = std::max(max, std::fabs(x[i]));
            }
            EXPECT_LE(d, max / 127 * (1 + 0x1p-10f) + 0x1p-24f);
        }
    }
}

TEST(block_32, q4_0_errs_by_half_a_step_but_at_the_end_of_the_shorter_side)
{
    scratch::Random random(2);
    double squares = 0, x_squares = 0;
    for (float magnitude : {1e-4f, 0.03f, 1.0f, 300.0f}) {
        std::vector<float> x = noise_of(random, 32 * 50, magnitude);
        std::vector<uint8_t> raw = encoded(DTYPE_Q4_0, x);
        std::vector<float> back = decoded(DTYPE_Q4_0, raw);
        for (size_t i = 0; i < x.size(); i++) {
            float d = half_at(raw, i / 32 * 18);
            /* x / d reaches 8 and codes 7; at the other end d is rounded to a half. */
            float bound = x[i] / d > 7.5f ? 1.01f : 0.51f;
            EXPECT_LE(std::fabs(x[i] - back[i]), bound * std::fabs(d)) << i;
            squares += ((double)x[i] - back[i]) * ((double)x[i] - back[i]) / magnitude / magnitude;
            x_squares += (double)x[i] * x[i] / magnitude / magnitude;
        }
    }
    EXPECT_LT(std::sqrt(squares / x_squares), 0.075);
}

/* What has been through once goes through unchanged, byte by byte, where d is a normal half and the
 * block uses its greatest code. */
TEST(block_32, encoding_is_idempotent)
{
    scratch::Random random(3);
    for (enum dtype dtype : {DTYPE_Q8_0, DTYPE_Q4_0}) {
        for (float magnitude : {0.1f, 1.0f, 1000.0f}) {
            std::vector<float> x = noise_of(random, 32 * 200, magnitude);
            std::vector<uint8_t> raw = encoded(dtype, x);
            EXPECT_EQ(encoded(dtype, decoded(dtype, raw)), raw) << dtype_info(dtype)->name;
        }
    }
}

TEST(block_32, zeros_and_the_smallest_numbers)
{
    for (enum dtype dtype : {DTYPE_Q8_0, DTYPE_Q4_0}) {
        std::vector<float> x(32, 0.0f);
        x[3] = -0.0f;
        for (float f : decoded(dtype, encoded(dtype, x)))
            EXPECT_EQ(f, 0.0f);
        x[7] = FLT_TRUE_MIN;
        x[8] = -FLT_MIN;
        for (float f : decoded(dtype, encoded(dtype, x)))
            EXPECT_LE(std::fabs(f), 0x1p-24f);
    }
}

TEST(block_32, too_large_saturates)
{
    for (float sign : {1.0f, -1.0f}) {
        std::vector<float> x(32, 0.0f);
        x[5] = sign * FLT_MAX;
        x[6] = -sign * 1e38f;
        x[7] = sign * 65504.0f;
        std::vector<float> q8 = decoded(DTYPE_Q8_0, encoded(DTYPE_Q8_0, x));
        EXPECT_EQ(q8[5], sign * 127 * 65504.0f);
        EXPECT_EQ(q8[6], sign * -127 * 65504.0f);
        EXPECT_EQ(q8[7], sign * 65504.0f);
        std::vector<float> q4 = decoded(DTYPE_Q4_0, encoded(DTYPE_Q4_0, x));
        EXPECT_EQ(q4[5], sign * 8 * 65504.0f);
        EXPECT_EQ(q4[6], sign * -7 * 65504.0f);
        EXPECT_EQ(q4[7], sign * 65504.0f);
    }
}

TEST(block_32, what_is_no_number_makes_its_block_no_number)
{
    for (enum dtype dtype : {DTYPE_Q8_0, DTYPE_Q4_0}) {
        for (float bad : {nan_f, -nan_f, inf, -inf}) {
            for (size_t at : {0u, 15u, 31u}) {
                std::vector<float> x(96, 1.0f);
                x[32 + at] = bad;
                std::vector<float> back = decoded(dtype, encoded(dtype, x));
                for (size_t i = 0; i < 96; i++) {
                    if (i / 32 == 1)
                        EXPECT_TRUE(std::isnan(back[i])) << i;
                    else
                        EXPECT_NEAR(back[i], 1.0f, 1e-3) << i;
                }
            }
        }
    }
}

TEST(block_32_death, only_its_formats)
{
    uint8_t block[512] = {0};
    float values[256] = {0};
    EXPECT_DEATH(block_32_decode(DTYPE_Q4_K, block, values, 1), "Q4_K has no blocks of 32");
    EXPECT_DEATH(block_32_encode(DTYPE_Q5_0, values, block, 1), "Q5_0 is only read");
    EXPECT_DEATH(dtype_encode(DTYPE_Q6_K, values, block, 256), "Q6_K is only read");
}
