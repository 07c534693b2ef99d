/* The passes over a row against the plain loops that they stand for, at every length around the
 * sizes of their blocks. */
#include "engine/sampler_row.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kBig = std::numeric_limits<float>::max();

uint32_t length(const std::vector<float> &row)
{
    return static_cast<uint32_t>(row.size());
}

std::vector<float> random_row(std::mt19937 &rng, uint32_t count, bool with_ties)
{
    std::normal_distribution<float> normal(0, 3);
    std::vector<float> row(count);
    for (float &value : row) {
        value = with_ties ? std::round(normal(rng)) : normal(rng);
        if (rng() % 8 == 0)
            value = -kInf;
    }
    return row;
}

TEST(SamplerRow, PeakIsTheHighestAndOfTiesTheLowestId)
{
    std::mt19937 rng(1);
    for (uint32_t count = 1; count < 1100; count++) {
        std::vector<float> row = random_row(rng, count, count % 2);
        row[rng() % count] = 2;
        uint32_t best = 0;
        for (uint32_t i = 1; i < count; i++)
            best = row[i] > row[best] ? i : best;
        struct sampler_peak peak;
        ASSERT_TRUE(sampler_row_peak(row.data(), count, &peak));
        ASSERT_EQ(peak.token, best) << count;
        ASSERT_EQ(peak.value, row[best]);
    }
}

TEST(SamplerRow, PeakFindsTheBestWhereverItLies)
{
    for (uint32_t count : {1u, 255u, 256u, 257u, 700u})
        for (uint32_t at = 0; at < count; at++) {
            std::vector<float> row(count, -kBig);
            row[at] = 1;
            struct sampler_peak peak;
            ASSERT_TRUE(sampler_row_peak(row.data(), count, &peak));
            ASSERT_EQ(peak.token, at);
        }
    struct sampler_peak peak;
    const float zeros[] = {-1, -0.0f, 0.0f};
    ASSERT_TRUE(sampler_row_peak(zeros, 3, &peak));
    EXPECT_EQ(peak.token, 1u);
    const std::vector<float> nothing(300, -kInf);
    ASSERT_TRUE(sampler_row_peak(nothing.data(), 300, &peak));
    EXPECT_EQ(peak.value, -kInf);
}

TEST(SamplerRow, PeakRefusesWhatIsNoNumberWhereverItLies)
{
    for (float bad : {kNan, -kNan, kInf})
        for (uint32_t count : {1u, 255u, 256u, 257u, 700u})
            for (uint32_t at = 0; at < count; at++) {
                std::vector<float> row(count, 5);
                row[at] = bad;
                row[count - 1] = at + 1 < count && at % 2 ? kNan : row[count - 1]; /* a later one */
                struct sampler_peak peak;
                ASSERT_FALSE(sampler_row_peak(row.data(), count, &peak));
                ASSERT_EQ(peak.token, at);
                ASSERT_EQ(std::isnan(peak.value), std::isnan(bad));
            }
}

TEST(SamplerRow, LowestPassesOverMinusInfinity)
{
    std::mt19937 rng(2);
    for (uint32_t count = 1; count < 200; count++) {
        std::vector<float> row = random_row(rng, count, false);
        float lowest = kInf;
        for (float value : row)
            lowest = value != -kInf && value < lowest ? value : lowest;
        ASSERT_EQ(sampler_row_lowest(row.data(), count), lowest) << count;
        row[rng() % count] = -kBig;
        ASSERT_EQ(sampler_row_lowest(row.data(), count), -kBig) << count;
    }
}

double weight(float value, struct sampler_scale scale)
{
    double weights[SAMPLER_BLOCK];
    sampler_row_weights(weights, &value, 1, scale);
    return weights[0];
}

TEST(SamplerRow, WeightsAreExponentials)
{
    const struct sampler_scale unit = {0, 1};
    for (float x = 0; x > -700; x -= 0.0371f)
        ASSERT_NEAR(weight(x, unit) / std::exp(static_cast<double>(x)), 1, 2e-15) << x;
    EXPECT_EQ(weight(0, unit), 1);
    EXPECT_GT(weight(-707.9f, unit), 0);
    for (float x : {-708.0f, -708.5f, -709.0f, -745.0f, -1e6f, -kBig, -kInf})
        EXPECT_EQ(weight(x, unit), 0) << x;
    const struct sampler_scale scale = {510, 0.5};
    EXPECT_EQ(weight(510, scale), 1);
    EXPECT_NEAR(weight(509.5f, scale), std::exp(-1.0), 1e-16);
    EXPECT_EQ(weight(-kBig, (struct sampler_scale){kBig, 1e-45}), 0);
    EXPECT_EQ(weight(-kInf, (struct sampler_scale){kBig, 3e38}), 0);
}

TEST(SamplerRow, WeightsHaveTheSameBitsEverywhere)
{
    /* Seeded answers rest on these bits: they are a promise. */
    const struct sampler_scale unit = {0, 1};
    EXPECT_EQ(weight(-1, unit), 0x1.78b56362cef38p-2);
    EXPECT_EQ(weight(-0.3f, unit), 0x1.7b4c86505ba56p-1);
    EXPECT_EQ(weight(-12.75f, unit), 0x1.858af84b7431p-19);
    EXPECT_EQ(weight(-500, unit), 0x1.9265e78d4438dp-722);
}

TEST(SamplerRow, AWeightDependsOnItsOwnValueAlone)
{
    std::mt19937 rng(3);
    const struct sampler_scale scale = {9, 0.7};
    std::vector<float> row = random_row(rng, SAMPLER_BLOCK, false);
    for (uint32_t count = 1; count <= SAMPLER_BLOCK; count++) {
        double weights[SAMPLER_BLOCK + 1];
        weights[SAMPLER_BLOCK] = -7;
        sampler_row_weights(weights, row.data(), count, scale);
        for (uint32_t i = 0; i < SAMPLER_BLOCK; i++)
            ASSERT_EQ(weights[i], i < count ? weight(row[i], scale) : 0) << i << " of " << count;
        ASSERT_EQ(weights[SAMPLER_BLOCK], -7);
    }
}

TEST(SamplerRow, TheTotalIsSummedInTheOrderOfIds)
{
    std::mt19937 rng(4);
    const struct sampler_scale scale = {9, 1.3};
    for (uint32_t count : {1u, 63u, 64u, 65u, 128u, 1000u}) {
        std::vector<float> row = random_row(rng, count, false);
        double total = 0;
        for (float value : row)
            total += weight(value, scale);
        EXPECT_EQ(sampler_row_total(row.data(), length(row), scale), total) << count;
    }
}

} // namespace
