/* Q4_K there and back: errors against bounds, blocks that can be represented exactly, edges. */
#include "engine/quant/encode_q4_k.h"

#include "tests/engine/quant/encode_q4_k_checks.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>

namespace {

std::vector<float> there_and_back(const std::vector<float> &x)
{
    std::vector<uint8_t> raw(x.size() / 256 * 144);
    encode_q4_k(x.data(), raw.data(), x.size() / 256);
    std::vector<float> back(x.size());
    dtype_decode(DTYPE_Q4_K, raw.data(), back.data(), back.size());
    return back;
}

double relative_error(const std::vector<float> &x, const std::vector<float> &back)
{
    double squares = 0, power = 0;
    for (size_t i = 0; i < x.size(); i++) {
        squares += ((double)x[i] - back[i]) * ((double)x[i] - back[i]);
        power += (double)x[i] * x[i];
    }
    return std::sqrt(squares / power);
}

/* Scales and minimums as block_256_scales_q4_k reads them. */
void put_scales(uint8_t *packed, const std::vector<int> &scale, const std::vector<int> &min)
{
    for (size_t i = 0; i < 4; i++) {
        packed[i] = (uint8_t)(scale[i] | scale[4 + i] >> 4 << 6);
        packed[4 + i] = (uint8_t)(min[i] | min[4 + i] >> 4 << 6);
        packed[8 + i] = (uint8_t)((scale[4 + i] & 15) | (min[4 + i] & 15) << 4);
    }
}

} // namespace

/* The search is worth its time: without it (scales from the range) the error of normally
 * distributed values is 0.0753. The bounds are 1 to 2 % above what it reaches. */
TEST(encode_q4_k, errs_little)
{
    scratch::Random random(1);
    for (float magnitude : {1e-3f, 0.02f, 1.0f, 3000.0f}) {
        std::vector<float> x = normal(random, 256 * 200, magnitude);
        EXPECT_LT(relative_error(x, there_and_back(x)), 0.0722) << magnitude;
    }
    std::vector<float> even(256 * 100);
    for (float &f : even)
        f = (float)random.below(1u << 20) / (1 << 19) - 1;
    EXPECT_LT(relative_error(even, there_and_back(even)), 0.0560);
    for (float &f : even)
        f += 3.0f; /* all positive: minimums cannot help */
    EXPECT_LT(relative_error(even, there_and_back(even)), 0.0223);
    for (float &f : even)
        f -= 6.0f; /* all negative: minimums do all */
    EXPECT_LT(relative_error(even, there_and_back(even)), 0.0108);
}

/* A value is off by half a step, and by what rounding d, dmin and the multiples costs: within one
 * step of its sub-block but at the ends of the range, where the search may give up a step and a
 * half. */
TEST(encode_q4_k, no_value_is_far_off)
{
    scratch::Random random(2);
    for (int round = 0; round < 100; round++) {
        std::vector<float> x = normal(random, 256, 1.0f), back = there_and_back(x);
        for (size_t s = 0; s < 8; s++) {
            auto [low, high] = std::minmax_element(x.begin() + 32 * s, x.begin() + 32 * s + 32);
            for (size_t i = 32 * s; i < 32 * s + 32; i++)
                EXPECT_LE(std::fabs(x[i] - back[i]), (*high - *low) / 15 * 1.75f) << round << i;
        }
    }
}

/* What the format can say exactly, with codes that span the range and minimums that are no rounding
 * error of the values, comes back byte by byte. */
TEST(encode_q4_k, what_it_can_say_it_says)
{
    scratch::Random random(3);
    for (int round = 0; round < 1000; round++) {
        std::vector<uint8_t> raw(144, 0), again(144, 0xa5);
        float d = 0.001f * (float)(1 + random.below(1000));
        float dmin = d * (1 + 0.01f * (float)random.below(1000));
        uint16_t halves[2] = {f32_to_f16(d), f32_to_f16(dmin)};
        memcpy(raw.data(), halves, sizeof halves);
        std::vector<int> scale(8), min(8);
        for (size_t s = 0; s < 8; s++) {
            scale[s] = 1 + (int)random.below(63);
            min[s] = (int)random.below(64);
        }
        scale[random.below(8)] = min[random.below(8)] = 63;
        put_scales(raw.data() + 4, scale, min);
        for (size_t i = 16; i < 144; i++)
            raw[i] = (uint8_t)random.next();
        for (size_t c = 0; c < 4; c++) { /* codes 0 and 15 in each sub-block */
            raw[16 + 32 * c + random.below(16)] = 0xf0;
            raw[16 + 32 * c + 16 + random.below(16)] = 0x0f;
        }
        std::vector<float> values(256);
        dtype_decode(DTYPE_Q4_K, raw.data(), values.data(), 256);
        encode_q4_k(values.data(), again.data(), 1);
        ASSERT_EQ(again, raw) << round;
    }
}

/* Once more through it moves values little: the grid of the first time is found again, nearly. */
TEST(encode_q4_k, encoding_again_changes_little)
{
    scratch::Random random(4);
    std::vector<float> once = there_and_back(normal(random, 256 * 200, 0.02f));
    EXPECT_LT(relative_error(once, there_and_back(once)), 0.005);
}

TEST(encode_q4_k, equal_values_and_zeros)
{
    for (float f : {0.0f, -0.0f, 1.0f, -1.0f, 1000.0f, -0.01f}) {
        std::vector<float> x(256, f);
        for (float back : there_and_back(x))
            EXPECT_NEAR(back, f, std::fabs(f) * 1e-3) << f;
    }
    std::vector<float> x(256, 0.0f); /* one sub-block of something among zeros */
    for (size_t i = 96; i < 128; i++)
        x[i] = (float)i - 100.0f;
    std::vector<float> back = there_and_back(x);
    for (size_t i = 0; i < 256; i++)
        EXPECT_NEAR(back[i], x[i], i / 32 == 3 ? 2.0f : 0.0f) << i;
}

TEST(encode_q4_k, the_smallest_and_the_largest)
{
    std::vector<float> x(256, FLT_TRUE_MIN);
    x[0] = -FLT_MIN;
    x[200] = 1e-9f;
    for (float f : there_and_back(x))
        EXPECT_LT(std::fabs(f), 1e-8f);
    for (float sign : {1.0f, -1.0f}) {
        std::fill(x.begin(), x.end(), 0.0f);
        x[7] = sign * FLT_MAX;
        std::vector<float> back = there_and_back(x);
        for (size_t i = 0; i < 256; i++) {
            ASSERT_TRUE(std::isfinite(back[i])) << i;
            EXPECT_TRUE(i == 7 || back[i] == 0.0f) << i;
        }
        EXPECT_GE(sign * back[7], 63 * 65504.0f * (sign > 0 ? 15 : 1));
    }
}

TEST(encode_q4_k, what_is_no_number_makes_its_block_no_number)
{
    const float inf = std::numeric_limits<float>::infinity();
    for (float bad : {std::nanf(""), -std::nanf(""), inf, -inf}) {
        for (size_t at : {0u, 31u, 255u}) {
            std::vector<float> x(768, 1.0f);
            x[256 + at] = bad;
            std::vector<float> back = there_and_back(x);
            for (size_t i = 0; i < x.size(); i++)
                EXPECT_EQ(std::isnan(back[i]), i / 256 == 1) << i;
        }
    }
}

TEST(encode_q4_k, dtype_encode_calls_it)
{
    scratch::Random random(5);
    std::vector<float> x = normal(random, 512, 1.0f);
    std::vector<uint8_t> want(289, 0xa5), got(289, 0xa5);
    encode_q4_k(x.data(), want.data() + 1, 2);
    dtype_encode(DTYPE_Q4_K, x.data(), got.data() + 1, 512);
    EXPECT_EQ(got, want);
    EXPECT_EQ(got[0], 0xa5);
}
