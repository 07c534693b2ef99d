#include "engine/predict/weight_rows.h"

#include <gtest/gtest.h>

#include "tests/engine/predict/toy_runs.h"

namespace {

TEST(WeightRowsFit, IsThePowerOfTwoThatFits)
{
    EXPECT_EQ(weight_rows_fit(24, 32, 32, 1 << 20), 32u);
    EXPECT_EQ(weight_rows_fit(24, 32, 33, 1 << 20), 64u);
    EXPECT_EQ(weight_rows_fit(1, 1, 1, 0), 1u) << "one at least";
    EXPECT_EQ(weight_rows_fit(60, 512, 512, 16 << 20), 128u);
    EXPECT_EQ(weight_rows_fit(2, 2, 1000, 16 * 7 + 15), 4u);
    EXPECT_EQ(weight_rows_fit(1, 1, 1u << 31, UINT64_MAX / 2), 1u << 31) << "no overflow";
}

TEST(WeightRowsFit, StaysBelowItsBytes)
{
    toy::Random random(1);
    for (int i = 0; i < 20000; i++) {
        uint32_t layers = 1 + random.below(100), experts = 1 + random.below(1024);
        uint32_t wanted = 1 + random.below(10000);
        uint64_t bytes = random.below(1 << 28);
        uint32_t rows = weight_rows_fit(layers, experts, wanted, bytes);
        EXPECT_EQ(rows & (rows - 1), 0u);
        EXPECT_LT(rows, 2 * wanted);
        EXPECT_TRUE(rows == 1 || uint64_t(layers) * experts * rows * 4 <= bytes);
        EXPECT_TRUE(rows >= wanted || uint64_t(layers) * experts * rows * 8 > bytes) << "no fewer";
    }
}

TEST(WeightRows, EveryFeatureFindsARowOfItsLayer)
{
    struct weight_rows rows;
    ASSERT_EQ(weight_rows_open(&rows, 3, 5, 8, nullptr), STATUS_OK);
    toy::Random random(2);
    for (int i = 0; i < 10000; i++) {
        uint32_t feature = random.below(UINT32_MAX), layer = random.below(3);
        const float *row = weight_rows_at(&rows, layer, feature);
        ptrdiff_t at = row - rows.weight;
        EXPECT_EQ(at % 5, 0);
        EXPECT_EQ(at / 5 / 8, layer);
        EXPECT_EQ(weight_rows_at(&rows, layer, feature + 8), row);
    }
    EXPECT_EQ(weight_rows_at(&rows, 2, UINT32_MAX), rows.weight + (2 * 8 + 7) * 5);
    weight_rows_close(&rows);
    weight_rows_close(&rows); // zeroed
}

// Against the plain sum, for all counts around the width of one pass.
TEST(WeightRows, AddAndLearnAreTheSumsTheySay)
{
    toy::Random random(3);
    for (uint32_t experts : {1u, 3u, 32u, 67u})
        for (uint32_t count = 0; count < 11; count++) {
            struct weight_rows rows;
            ASSERT_EQ(weight_rows_open(&rows, 2, experts, 4, nullptr), STATUS_OK);
            std::vector<double> truth(4 * experts);
            std::vector<uint32_t> feature(count);
            std::vector<float> weight(count), error(experts), out(experts, 1.0f);
            for (uint32_t i = 0; i < count; i++) {
                feature[i] = random.below(100); // more than rows: some share one
                weight[i] = static_cast<float>(random.uniform());
            }
            for (int turn = 0; turn < 3; turn++) {
                for (float &x : error)
                    x = static_cast<float>(random.uniform() - 0.5);
                weight_rows_learn(&rows, 1, feature.data(), weight.data(), count, 0.5f,
                                  error.data());
                for (uint32_t i = 0; i < count; i++)
                    for (uint32_t e = 0; e < experts; e++)
                        truth[feature[i] % 4 * experts + e] += 0.5 * weight[i] * error[e];
            }
            weight_rows_add(&rows, 1, feature.data(), weight.data(), count, out.data());
            for (uint32_t e = 0; e < experts; e++) {
                double sum = 1;
                for (uint32_t i = 0; i < count; i++)
                    sum += weight[i] * truth[feature[i] % 4 * experts + e];
                EXPECT_NEAR(out[e], sum, 1e-4);
            }
            for (uint32_t i = 0; i < 4 * experts; i++)
                EXPECT_EQ(rows.weight[i], 0.0f) << "the other layer";
            weight_rows_close(&rows);
        }
}

} // namespace
