#include "engine/predict/load_history.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/engine/predict/toy_loads.h"

namespace {

class LoadHistory : public testing::Test {
protected:
    LoadHistory() { arena_init(&arena_, 0, 0); }
    ~LoadHistory() override { arena_close(&arena_); }
    struct arena arena_;
    struct load_history h_;
};

TEST_F(LoadHistory, NewestFirstAndTheOldestGoes)
{
    ASSERT_TRUE(load_history_init(&h_, &arena_, 2, 2, 3));
    EXPECT_EQ(load_history_count(&h_, 1), 0u);
    for (int t = 1; t <= 5; t++) {
        const float share[2] = {t / 8.0f, 1 - t / 8.0f};
        const uint16_t *row = load_history_push(&h_, 1, share);
        EXPECT_EQ(row, load_history_row(&h_, 1, 0));
    }
    EXPECT_EQ(load_history_count(&h_, 0), 0u);
    ASSERT_EQ(load_history_count(&h_, 1), 3u);
    for (uint32_t age = 0; age < 3; age++)
        EXPECT_NEAR(load_history_row(&h_, 1, age)[0] / 65535.0, (5 - age) / 8.0, 1e-5);
}

TEST_F(LoadHistory, ClipsWhatIsNoShare)
{
    ASSERT_TRUE(load_history_init(&h_, &arena_, 1, 4, 1));
    const float share[4] = {NAN, -1, 7, std::numeric_limits<float>::infinity()};
    const uint16_t *row = load_history_push(&h_, 0, share);
    EXPECT_EQ(row[0], 0);
    EXPECT_EQ(row[1], 0);
    EXPECT_EQ(row[2], LOAD_SHARE_ONE);
    EXPECT_EQ(row[3], LOAD_SHARE_ONE);
}

TEST_F(LoadHistory, WeightedAverage)
{
    ASSERT_TRUE(load_history_init(&h_, &arena_, 1, 2, 4));
    const float old[2] = {1, 0}, young[2] = {0.25f, 0.75f};
    load_history_push(&h_, 0, old);
    load_history_push(&h_, 0, young);
    const double weights[2] = {0.75, 0.25};
    float share[2];
    load_history_average(&h_, 0, 2, weights, share);
    EXPECT_NEAR(share[0], 0.75 * 0.25 + 0.25, 1e-5);
    EXPECT_NEAR(share[1], 0.75 * 0.75, 1e-5);
}

TEST(LoadShare, NormaliseMakesSharesOfAnything)
{
    toy::Share share = {NAN, -3, 0.2f, 0.6f};
    load_share_normalise(share.data(), 4);
    toy::expect_shares(share);
    EXPECT_FLOAT_EQ(share[2], 0.25f);
    toy::Share none = {0, 0, -1, NAN};
    load_share_normalise(none.data(), 4);
    for (float x : none)
        EXPECT_FLOAT_EQ(x, 0.25f);
}

TEST(LoadShare, ShapesOutOfRangeAreNamed)
{
    struct error error = {};
    EXPECT_EQ(load_shape_check("window", 0, 8, &error), STATUS_INVALID);
    EXPECT_STREQ(error.text, "window: layers = 0, must be 1 to 4096");
    EXPECT_EQ(load_shape_check("window", 1, LOAD_EXPERTS_MAX + 1, nullptr), STATUS_INVALID);
    EXPECT_EQ(load_shape_check("window", LOAD_LAYERS_MAX, LOAD_EXPERTS_MAX, nullptr), STATUS_OK);
}

} // namespace
