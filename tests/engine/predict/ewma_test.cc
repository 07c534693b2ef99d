#include "engine/predict/ewma.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/engine/predict/toy_loads.h"

namespace {

class Ewma : public testing::Test {
protected:
    ~Ewma() override { predictor_close(p_); }
    void open(uint32_t experts, float half_life)
    {
        const struct ewma_config config = {2, experts, half_life};
        ASSERT_EQ(ewma_open(&p_, &config, nullptr), STATUS_OK);
    }
    struct predictor *p_ = nullptr;
};

TEST_F(Ewma, Golden)
{
    open(2, 2);
    EXPECT_TRUE(toy::loads(p_, 0, 1, 2).empty());
    for (float x : toy::golden_series())
        toy::tick(p_, 0, {x, 1 - x});
    for (uint32_t horizon : {1u, 10u, 2000u})
        EXPECT_NEAR(toy::loads(p_, 0, horizon, 2)[0], .149090, 6e-7);
    EXPECT_TRUE(toy::loads(p_, 1, 1, 2).empty()) << "layers are apart";
}

TEST_F(Ewma, AStepIsHalfForgottenAfterAHalfLife)
{
    open(2, 0);
    toy::tick(p_, 0, {1, 0});
    for (int t = 0; t < EWMA_HALF_LIFE_TICKS; t++)
        toy::tick(p_, 0, {0, 1});
    EXPECT_NEAR(toy::loads(p_, 0, 1, 2)[0], 0.5, 1e-5);
}

TEST_F(Ewma, NanDoesNotStay)
{
    open(3, 5);
    toy::tick(p_, 0, {NAN, 0.5f, 0.5f});
    toy::tick(p_, 0, {-NAN, 1e30f, 0.5f});
    ASSERT_EQ(toy::loads(p_, 0, 1, 3).size(), 3u); // expect_shares inside
}

TEST_F(Ewma, AnUnusedExpertComesToRestAtZero)
{
    open(2, 1);
    toy::tick(p_, 0, {0.5f, 0.5f});
    for (int t = 0; t < 200; t++)
        toy::tick(p_, 0, {1, 0});
    EXPECT_EQ(toy::loads(p_, 0, 1, 2)[1], 0.0f);
}

TEST(EwmaOpen, RefusesHalfLives)
{
    struct error error = {};
    struct predictor *p = nullptr;
    for (float half_life : {-1.0f, NAN, INFINITY}) {
        const struct ewma_config config = {1, 2, half_life};
        EXPECT_EQ(ewma_open(&p, &config, &error), STATUS_INVALID) << half_life;
    }
    EXPECT_STREQ(error.text, "ewma: half_life_ticks = -1, must be above 0 and at most 1e6");
    const struct ewma_config config = {0, 2, 1};
    EXPECT_EQ(ewma_open(&p, &config, nullptr), STATUS_INVALID);
}

} // namespace
