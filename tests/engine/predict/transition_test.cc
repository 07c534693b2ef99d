#include "engine/predict/transition.h"

#include <gtest/gtest.h>

#include "tests/engine/predict/toy_runs.h"

namespace {

class Transition : public testing::Test {
protected:
    ~Transition() override { close(); }
    void open(uint32_t layers, uint32_t experts, uint32_t top_k, uint32_t ahead,
              uint64_t bytes = 1 << 24)
    {
        ASSERT_EQ(history_open(&h_, layers, experts, top_k, nullptr), STATUS_OK);
        ASSERT_EQ(transition_open(&p_, &h_, ahead, bytes, nullptr), STATUS_OK);
    }
    void close()
    {
        predictor_close(p_);
        history_close(&h_);
        p_ = nullptr;
    }
    void observe(toy::Run run)
    {
        history_observe(&h_, run.get());
        p_->ops->observe(p_, run.get());
    }
    std::vector<float> ask(uint32_t distance) { return toy::experts(p_, distance, h_.experts); }
    struct history h_ = {};
    struct predictor *p_ = nullptr;
};

std::vector<uint32_t> pair_of(uint32_t state)
{
    return {2 * state, 2 * state + 1};
}

// The pair of `layer` for a token of this kind: another order in each layer.
uint32_t state_of(uint32_t layer, uint32_t kind, uint32_t kinds)
{
    return (kind * (2 * layer + 1) + 3 * layer) % kinds;
}

TEST_F(Transition, SaysNothingBeforeAnythingIsKnownNorFurtherThanItLooks)
{
    open(4, 8, 2, 2);
    for (uint32_t d = 1; d <= 4; d++)
        EXPECT_TRUE(ask(d).empty());
    observe({0, {1}});
    EXPECT_EQ(ask(1).size(), 8u);
    EXPECT_EQ(ask(2).size(), 8u);
    EXPECT_TRUE(ask(3).empty());
    EXPECT_TRUE(ask(4).empty());
}

// A token is of one of eight kinds, drawn evenly; its first layer tells which, and so all others.
TEST_F(Transition, FindsPlantedStepsOneToFourLayersAhead)
{
    const uint32_t layers = 6;
    open(layers, 16, 2, 4);
    toy::Random random(1);
    double told_of[2] = {0}, count[2] = {0}, wrong = 0;
    for (int token = 0; token < 2500; token++) {
        uint32_t kind = random.below(8);
        for (uint32_t layer = 0; layer < layers; layer++) {
            observe({layer, pair_of(state_of(layer, kind, 8))});
            for (uint32_t d = 1; token >= 2200 && d <= 4 && layer + d < layers; d++) {
                std::vector<float> told = ask(d);
                for (uint32_t e = 0; e < 16; e++) {
                    bool comes = e / 2 == state_of(layer + d, kind, 8);
                    told_of[comes] += told[e];
                    wrong += (told[e] > 0.5f) != comes;
                    count[comes]++;
                }
            }
        }
    }
    EXPECT_GT(told_of[1] / count[1], 0.9);
    EXPECT_LT(told_of[0] / count[0], 0.03);
    EXPECT_LT(wrong, 0.002 * (count[0] + count[1]));
}

// More experts than rows: what is shared may not be the same for each layer that is looked back on.
TEST_F(Transition, FindsThemWithFewerRowsThanExperts)
{
    const uint32_t layers = 6, experts = 256, kinds = 32;
    open(layers, experts, 4, 1, uint64_t(layers) * experts * 4 * 128);
    toy::Random random(2);
    double hits = 0, asked = 0;
    toy::Score score;
    for (int token = 0; token < 3000; token++) {
        uint32_t kind = random.below(kinds);
        for (uint32_t layer = 0; layer < layers; layer++) {
            std::vector<float> told = token >= 2500 && layer > 0 ? ask(1) : std::vector<float>();
            uint32_t state = state_of(layer, kind, kinds);
            for (size_t e = 0; e < told.size(); e++)
                if (told[e] > 0.5f) {
                    hits += e / 8 == state && e % 2 == 0;
                    asked++;
                }
            std::vector<uint32_t> used = {8 * state, 8 * state + 2, 8 * state + 4, 8 * state + 6};
            if (!told.empty())
                score.add(told, used);
            observe({layer, used});
        }
    }
    EXPECT_GT(hits, 0.9 * 500 * 5 * 4) << "recall";
    EXPECT_GT(hits, 0.99 * asked) << "precision";
    EXPECT_LT(score.loss(), 0.004) << "0.0045 where all layers share the same rows";
}

TEST_F(Transition, IsCalibratedAndNearTheEntropyOfANoisyStep)
{
    open(2, 16, 2, 1);
    toy::Random random(3);
    toy::Score score, sure;
    double entropy = 0, counted = 0;
    for (int token = 0; token < 20000; token++) {
        uint32_t kind = random.below(8), likely = state_of(1, kind, 8);
        observe({0, pair_of(kind)});
        uint32_t state = random.uniform() < 0.8 ? likely : random.below(8);
        if (token > 8000) {
            std::vector<float> told = ask(1);
            score.add(told, pair_of(state));
            for (uint32_t e : pair_of(likely))
                sure.add(told[e], e / 2 == state);
            entropy += toy::entropy(0.8 + 0.2 / 8) * 2 + toy::entropy(0.2 / 8) * 14;
            counted += 16;
        }
        observe({1, pair_of(state)});
    }
    EXPECT_NEAR(score.told(), score.used(), 0.02 * score.used());
    EXPECT_NEAR(sure.told(), sure.used(), 0.02 * sure.used());
    EXPECT_LT(score.loss(), 1.06 * entropy / counted);
}

TEST_F(Transition, LosesLittleToPopularityOnNoise)
{
    open(4, 32, 4, 2);
    toy::Random random(4);
    toy::Score score, popularity;
    std::vector<float> p(32);
    for (uint32_t e = 0; e < 32; e++)
        p[e] = static_cast<float>(e % 4 + 1) / 20;
    for (int i = 0; i < 40000; i++) {
        std::vector<uint32_t> used;
        for (uint32_t e = 0; e < 32; e++)
            if (random.uniform() < p[e])
                used.push_back(e);
        if (i > 20000) {
            std::vector<float> told = ask(1);
            if (!told.empty()) {
                score.add(told, used);
                popularity.add(p, used);
            }
        }
        observe({static_cast<uint32_t>(i % 4), used});
    }
    /* Some sixty weights per expert that never come to rest. Where nothing is to be learned the
     * mixture believes `previous`: see expert_mixture_test.cc. */
    EXPECT_LT(score.loss(), 1.08 * popularity.loss());
    EXPECT_NEAR(score.told(), score.used(), 0.02 * score.used());
}

TEST_F(Transition, LayersLeftOutTeachNothingWrong)
{
    open(4, 16, 2, 2);
    toy::Random random(5);
    auto token = [&](uint32_t kind) {
        for (uint32_t layer = 0; layer < 4; layer++)
            observe({layer, pair_of(state_of(layer, kind, 8))});
    };
    for (int i = 0; i < 1200; i++)
        token(random.below(8));
    // Layer 1 runs late and with the wrong experts, after layer 0 foretold it.
    for (int i = 0; i < 300; i++) {
        uint32_t kind = random.below(8);
        observe({0, pair_of(state_of(0, kind, 8))});
        observe({2, pair_of(state_of(2, kind, 8))});
        observe({1, pair_of(state_of(1, kind + 1, 8))});
        observe({3, pair_of(state_of(3, kind, 8))});
    }
    for (int i = 0; i < 20; i++)
        token(i % 8);
    observe({0, pair_of(state_of(0, 5, 8))});
    std::vector<float> told = ask(1);
    for (uint32_t e : pair_of(state_of(1, 5, 8)))
        EXPECT_GT(told[e], 0.7f);
    for (uint32_t e : pair_of(state_of(1, 6, 8)))
        EXPECT_LT(told[e], 0.2f);
}

TEST_F(Transition, RunsOfManyAndPromptsForetellNothing)
{
    open(3, 64, 4, 2);
    toy::Random random(6);
    for (int i = 0; i < 30; i++)
        observe({static_cast<uint32_t>(i % 3), random.some(64, 4)});
    EXPECT_EQ(ask(1).size(), 64u);
    observe({0, random.some(64, 33)});
    EXPECT_TRUE(ask(1).empty());
    EXPECT_TRUE(ask(2).empty());
    observe({1, random.some(64, 32)});
    EXPECT_EQ(ask(1).size(), 64u);
    observe(toy::Run(2, {1, 2}, 3, true));
    EXPECT_TRUE(ask(1).empty());
    observe({0, {}});
    EXPECT_TRUE(ask(1).empty());
    observe({1, {3}});
    EXPECT_EQ(ask(1).size(), 64u);
}

TEST_F(Transition, StaysBetween0And1WhateverCame)
{
    for (uint32_t layers : {1u, 2u, 11u}) {
        open(layers, 24, 4, 4, 1); // one row for all
        toy::Random random(7);
        for (int i = 0; i < 8000; i++) {
            observe(random.anything(layers, 24));
            for (float p : ask(1 + random.below(4)))
                ASSERT_TRUE(p >= 0 && p <= 1) << p;
        }
        close();
    }
}

} // namespace
