#include "engine/predict/previous.h"

#include <gtest/gtest.h>

#include "engine/predict/logistic.h"
#include "tests/engine/predict/toy_runs.h"

namespace {

class Previous : public testing::Test {
protected:
    ~Previous() override
    {
        predictor_close(p_);
        history_close(&h_);
    }
    void open(uint32_t layers, uint32_t experts, uint32_t top_k, uint64_t bytes = 1 << 24)
    {
        ASSERT_EQ(history_open(&h_, layers, experts, top_k, nullptr), STATUS_OK);
        ASSERT_EQ(previous_open(&p_, &h_, bytes, nullptr), STATUS_OK);
    }
    void observe(toy::Run run)
    {
        history_observe(&h_, run.get());
        p_->ops->observe(p_, run.get());
    }
    std::vector<float> ask(uint32_t distance) { return toy::experts(p_, distance, h_.experts); }
    // What the hazard alone says.
    std::vector<float> hazard(uint32_t layer)
    {
        std::vector<float> p;
        for (uint32_t e = 0; e < h_.experts; e++)
            p.push_back(logistic_sigmoid(h_.logit[layer * h_.experts + e]));
        return p;
    }
    struct history h_ = {};
    struct predictor *p_ = nullptr;
};

std::vector<uint32_t> pair_of(uint32_t state)
{
    return {2 * state, 2 * state + 1};
}

TEST_F(Previous, SaysNothingBeforeAnythingIsKnown)
{
    open(3, 8, 2);
    EXPECT_TRUE(ask(1).empty());
    observe({0, {1}});
    for (uint32_t d = 1; d <= 3; d++)
        EXPECT_EQ(ask(d).size(), 8u);
}

// Each layer steps through eight pairs of experts at a pace of its own.
TEST_F(Previous, FindsPlantedStepsInAnyLayerAhead)
{
    const uint32_t layers = 5;
    open(layers, 16, 2);
    for (uint32_t token = 0; token < 1500; token++)
        for (uint32_t layer = 0; layer < layers; layer++) {
            observe({layer, pair_of(token * (2 * layer + 1) % 8)});
            if (token < 1480)
                continue;
            for (uint32_t d = 1; d <= 4; d++) {
                uint32_t ahead = (layer + d) % layers, at = token + (layer + d >= layers);
                std::vector<float> told = ask(d);
                for (uint32_t e = 0; e < 16; e++) {
                    bool comes = e / 2 == at * (2 * ahead + 1) % 8;
                    EXPECT_TRUE(comes ? told[e] > 0.9f : told[e] < 0.1f) << d << " " << told[e];
                }
            }
        }
}

TEST_F(Previous, IsCalibratedAndNearTheEntropyOfANoisyStep)
{
    open(1, 16, 2);
    toy::Random random(1);
    toy::Score score, sure;
    uint32_t state = 0;
    double entropy = 0, counted = 0;
    for (int i = 0; i < 30000; i++) {
        std::vector<float> told = i > 10000 ? ask(1) : std::vector<float>();
        uint32_t likely = (state * 3 + 1) % 8;
        state = random.uniform() < 0.8 ? likely : random.below(8);
        if (!told.empty()) {
            score.add(told, pair_of(state));
            for (uint32_t e : pair_of(likely))
                sure.add(told[e], e / 2 == state);
            entropy += toy::entropy(0.8 + 0.2 / 8) * 2 + toy::entropy(0.2 / 8) * 14;
            counted += 16;
        }
        observe({0, pair_of(state)});
    }
    EXPECT_NEAR(score.told(), score.used(), 0.02 * score.used());
    EXPECT_NEAR(sure.told(), sure.used(), 0.02 * sure.used());
    /* The hazard counts in full beside what the step says, though the step alone would do here. */
    EXPECT_LT(score.loss(), 1.18 * entropy / counted);
    EXPECT_LT(score.loss(), 0.6 * toy::entropy(2.0 / 16)) << "popularity alone";
}

TEST_F(Previous, LosesLittleToPopularityOnNoise)
{
    for (uint32_t experts : {16u, 32u, 128u}) {
        open(1, experts, 4);
        toy::Random random(2);
        toy::Score score, popularity;
        for (int i = 0; i < 20000; i++) {
            std::vector<uint32_t> used;
            for (uint32_t e = 0; e < experts; e++)
                if (random.uniform() < 6.0 / experts * (e % 4 + 1) / 4)
                    used.push_back(e);
            if (i > 5000) {
                score.add(ask(1), used);
                std::vector<float> p(experts);
                for (uint32_t e = 0; e < experts; e++)
                    p[e] = static_cast<float>(6.0 / experts * (e % 4 + 1) / 4);
                popularity.add(p, used);
            }
            observe({0, used});
        }
        EXPECT_LT(score.loss(), 1.03 * popularity.loss()) << experts;
        EXPECT_NEAR(score.told(), score.used(), 0.02 * score.used());
        predictor_close(p_);
        history_close(&h_);
        p_ = nullptr;
    }
}

TEST_F(Previous, RunsOfManyOrOfAPromptLeaveTheHazardAlone)
{
    open(1, 64, 4);
    toy::Random random(3);
    for (int i = 0; i < 200; i++)
        observe({0, pair_of(i % 8)});
    EXPECT_NE(ask(1), hazard(0));
    observe({0, random.some(64, 33)});
    EXPECT_EQ(ask(1), hazard(0));
    observe({0, random.some(64, 32)});
    EXPECT_NE(ask(1), hazard(0));
    observe(toy::Run(0, {1, 2}, 3, true));
    EXPECT_EQ(ask(1), hazard(0));
    observe({0, {}});
    EXPECT_EQ(ask(1), hazard(0));
}

TEST_F(Previous, APromptTeachesNoSteps)
{
    open(1, 16, 2);
    for (int i = 0; i < 400; i++)
        observe({0, pair_of(i % 8)});
    for (int i = 0; i < 100; i++) {
        observe({0, pair_of(0)}); // may learn that 0 follows nothing known
        observe(toy::Run(0, pair_of(5), 4, true).tokens({4, 4}));
    }
    observe({0, pair_of(0)});
    std::vector<float> told = ask(1);
    EXPECT_GT(told[2], told[4]) << "1 follows 0, as ever";
}

TEST_F(Previous, StaysBetween0And1WhateverCame)
{
    open(3, 24, 4, 1); // one row for all
    toy::Random random(4);
    for (int i = 0; i < 30000; i++) {
        observe(random.anything(3, 24));
        for (float p : ask(1 + random.below(3)))
            ASSERT_TRUE(p >= 0 && p <= 1) << p;
    }
}

} // namespace
