#include "engine/predict/history.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/predict/logistic.h"
#include "tests/engine/predict/toy_runs.h"

namespace {

class History : public testing::Test {
protected:
    ~History() override { history_close(&h_); }
    void open(uint32_t layers, uint32_t experts, uint32_t top_k)
    {
        ASSERT_EQ(history_open(&h_, layers, experts, top_k, nullptr), STATUS_OK);
    }
    void observe(toy::Run run) { history_observe(&h_, run.get()); }
    void check()
    {
        for (uint32_t p = 0; p < h_.layers * h_.experts; p++) {
            ASSERT_LT(h_.cell[p], HISTORY_CELLS);
            ASSERT_TRUE(h_.fast[p] >= 0 && h_.fast[p] <= 1.0001f) << h_.fast[p];
            ASSERT_TRUE(h_.slow[p] >= 0 && h_.slow[p] <= 1.0001f) << h_.slow[p];
            ASSERT_TRUE(std::fabs(h_.logit[p]) < 7.7f) << h_.logit[p];
        }
    }
    struct history h_ = {};
};

TEST_F(History, BeginsAtTheRateOfTheRouter)
{
    open(2, 32, 4);
    for (uint32_t p = 0; p < 64; p++) {
        EXPECT_FLOAT_EQ(h_.fast[p], 0.125f);
        EXPECT_FLOAT_EQ(h_.slow[p], 0.125f);
        EXPECT_EQ(h_.gap[p], 255);
    }
    check();
}

TEST_F(History, CountsGapsPerLayerAndStopsAt255)
{
    open(2, 4, 1);
    observe({0, {1}});
    EXPECT_EQ(h_.gap[1], 0);
    EXPECT_EQ(h_.gap[0], 255) << "never used";
    for (int i = 1; i <= 300; i++) {
        observe({0, {2}});
        observe({1, {1}});
        EXPECT_EQ(h_.gap[1], std::min(i, 255));
        EXPECT_EQ(h_.gap[2], 0);
        EXPECT_EQ(h_.gap[4 + 1], 0);
    }
    EXPECT_EQ(h_.used[1], 1.0f);
    EXPECT_EQ(h_.used[2], 0.0f) << "of the newest run";
    check();
}

TEST_F(History, RatesFollowTheUse)
{
    open(1, 3, 1);
    toy::Random random(1);
    double fast = 0, slow = 0;
    const int runs = 6000, warm = 1000;
    for (int i = 0; i < runs; i++) {
        std::vector<uint32_t> used = {0};
        if (random.uniform() < 0.3)
            used.push_back(1);
        observe({0, used});
        fast += i >= warm ? h_.fast[1] : 0;
        slow += i >= warm ? h_.slow[1] : 0;
    }
    EXPECT_NEAR(h_.fast[0], 1.0, 1e-3);
    EXPECT_NEAR(h_.slow[0], 1.0, 1e-3);
    EXPECT_NEAR(fast / (runs - warm), 0.3, 0.02);
    EXPECT_NEAR(slow / (runs - warm), 0.3, 0.02);
    EXPECT_LT(h_.fast[2], 1e-6f);
    EXPECT_LT(h_.slow[2], 1e-6f);
}

TEST_F(History, GapBinsRiseAndFillTheirRange)
{
    open(1, 2, 1);
    for (int gap = 0; gap < 4; gap++)
        EXPECT_EQ(h_.gap_bin[gap], gap) << "the nearest are told apart";
    for (int gap = 1; gap < 256; gap++) {
        EXPECT_GE(h_.gap_bin[gap], h_.gap_bin[gap - 1]);
        EXPECT_LE(h_.gap_bin[gap], h_.gap_bin[gap - 1] + 1);
    }
    EXPECT_EQ(h_.gap_bin[255], HISTORY_GAP_BINS - 1);
}

TEST_F(History, WhatIsAssumedOfACellFallsWithItsGapAndRisesWithItsRates)
{
    for (uint32_t c = 0; c < HISTORY_CELLS; c++) {
        float p = history_cell_rate(c);
        EXPECT_TRUE(p > 0 && p < 1) << c;
        if (c + HISTORY_RATE_BINS * HISTORY_RATE_BINS < HISTORY_CELLS) {
            EXPECT_LE(history_cell_rate(c + HISTORY_RATE_BINS * HISTORY_RATE_BINS), p);
        }
        if ((c + 1) % HISTORY_RATE_BINS != 0) {
            EXPECT_GE(history_cell_rate(c + 1), p);
        }
    }
}

// Used with a probability that hangs on the runs since the last use alone, and not monotonically.
TEST_F(History, LearnsThePlantedHazard)
{
    const uint32_t experts = 64;
    const double planted[] = {0.5, 0.1, 0.3, 0.2, 0.05};
    open(2, experts, 8);
    toy::Random random(2);
    double told[5] = {0}, used[5] = {0}, seen[5] = {0};
    for (int i = 0; i < 6000; i++) {
        uint32_t layer = i % 2;
        std::vector<uint32_t> experts_used;
        for (uint32_t e = 0; e < experts; e++) {
            uint32_t p = layer * experts + e, gap = std::min<uint32_t>(h_.gap[p], 4);
            bool is = random.uniform() < planted[gap];
            if (is)
                experts_used.push_back(e);
            if (i < 1000)
                continue;
            told[gap] += logistic_sigmoid(h_.logit[p]);
            used[gap] += is;
            seen[gap]++;
        }
        observe({layer, experts_used});
    }
    for (int gap = 0; gap < 5; gap++) {
        ASSERT_GT(seen[gap], 10000) << gap;
        EXPECT_NEAR(told[gap] / seen[gap], planted[gap], 0.1 * planted[gap]) << gap;
        EXPECT_NEAR(told[gap], used[gap], 0.05 * used[gap]) << gap;
    }
}

TEST_F(History, APromptMovesRatesToItsSharesAndTeachesNoHazard)
{
    open(1, 4, 1);
    for (int i = 0; i < 50; i++)
        observe({0, {3}});
    std::vector<float> uses(h_.uses, h_.uses + HISTORY_CELLS),
        runs(h_.runs, h_.runs + HISTORY_CELLS);
    observe(toy::Run(0, {0, 1}, 1000, true).tokens({1000, 10}));
    EXPECT_EQ(uses, std::vector<float>(h_.uses, h_.uses + HISTORY_CELLS));
    EXPECT_EQ(runs, std::vector<float>(h_.runs, h_.runs + HISTORY_CELLS));
    EXPECT_GT(h_.fast[0], 0.9f);
    EXPECT_NEAR(h_.fast[1], 0.01, 0.05);
    EXPECT_LT(h_.fast[3], 0.1f) << "a thousand tokens without it";
    EXPECT_EQ(h_.gap[0], 0);
    EXPECT_EQ(h_.gap[1], 99) << "as if its rows were spread evenly";
    EXPECT_EQ(h_.gap[2], 255);
    EXPECT_EQ(h_.gap[3], 255);
    check();
}

TEST_F(History, APromptOfFewRowsAddsThemToTheGaps)
{
    open(1, 3, 1);
    observe({0, {0}});
    observe(toy::Run(0, {1}, 7, true).tokens({7}));
    EXPECT_EQ(h_.gap[0], 7);
    EXPECT_EQ(h_.gap[1], 0);
    observe(toy::Run(0, {0, 1}, 100, true).tokens({1, 99}));
    EXPECT_EQ(h_.gap[0], 99) << "no further than its row";
}

TEST_F(History, StaysInItsBoundsWhateverCame)
{
    open(3, 24, 4);
    toy::Random random(3);
    for (int i = 0; i < 20000; i++) {
        toy::Run run = random.anything(3, 24);
        history_observe(&h_, run.get());
        if (i % 50 == 0)
            check();
    }
    observe(toy::Run(0, {}, UINT32_MAX, true));
    observe(toy::Run(0, {}, 0, true));
    observe(toy::Run(0, {5}, UINT32_MAX, true).tokens({1}));
    check();
}

TEST_F(History, ATableForgetsAndItsCountsStayFinite)
{
    open(1, 8, 1);
    for (int i = 0; i < 30000; i++)
        observe({0, {0}});
    float most = *std::max_element(h_.runs, h_.runs + HISTORY_CELLS);
    EXPECT_LT(most, 1e4f);
    // The other way round: what was never used is used always.
    for (int i = 0; i < 30; i++)
        observe({0, {1, 2, 3, 4, 5, 6, 7}});
    EXPECT_GT(h_.logit[1], h_.logit[0]);
}

TEST(HistoryClose, AcceptsAZeroedOne)
{
    struct history h = {};
    history_close(&h);
    EXPECT_GT(history_bytes(60, 512), 60u * 512 * 13);
}

} // namespace
