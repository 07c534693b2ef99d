#include "engine/predict/lookahead.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/engine/predict/toy_runs.h"

namespace {

class Lookahead : public testing::Test {
protected:
    ~Lookahead() override { predictor_close(p_); }
    void open(uint32_t layers, uint32_t experts)
    {
        experts_ = experts;
        ASSERT_EQ(lookahead_open(&p_, layers, experts, nullptr), STATUS_OK);
    }
    void observe(toy::Run run) { p_->ops->observe(p_, run.get()); }
    std::vector<float> ask(uint32_t distance) { return toy::experts(p_, distance, experts_); }
    void tell(uint32_t distance, const std::vector<float> &score)
    {
        lookahead_tell(p_, distance, score.data());
    }
    uint32_t experts_ = 0;
    struct predictor *p_ = nullptr;
};

TEST_F(Lookahead, SaysNothingThatItWasNotTold)
{
    open(4, 3);
    EXPECT_TRUE(ask(1).empty());
    observe({0, {1}});
    EXPECT_TRUE(ask(1).empty());
    tell(2, {1, 2, 3});
    EXPECT_TRUE(ask(1).empty());
    EXPECT_EQ(ask(2).size(), 3u);
    EXPECT_TRUE(ask(LOOKAHEAD_MAX + 1).empty());
    observe({1, {1}});
    EXPECT_TRUE(ask(1).empty()) << "told for two layers ahead, before";
    observe({2, {1}});
    observe({0, {1}}); // a layer was left out
    EXPECT_TRUE(ask(2).empty());
}

// The expert of rank r is used with (0.9, 0.6, 0.3, 0.05, 0.05, ...) at distance 1, less at 2.
TEST_F(Lookahead, LearnsHowOftenEachRankIsUsed)
{
    const uint32_t n = 16;
    const double used_at[2][4] = {{0.9, 0.6, 0.3, 0.05}, {0.5, 0.4, 0.3, 0.2}};
    open(2, n);
    toy::Random random(1);
    std::vector<uint32_t> told[2]; // by distance: the order told for the layer to come
    std::vector<float> score(n);
    for (int i = 0; i < 8000; i++) {
        // Even runs were told at distance 1, odd ones at distance 2.
        uint32_t d = 1 + i % 2;
        std::vector<uint32_t> order = i < 2 ? random.some(n, n) : told[i % 2], used;
        for (uint32_t r = 0; r < n; r++)
            if (random.uniform() < used_at[d - 1][std::min(r, 3u)])
                used.push_back(order[r]);
        observe({static_cast<uint32_t>(i % 2), used});
        // Run i + 1 is foretold at 1 if it is even, run i + 2 at 2 if it is odd.
        uint32_t distance = i % 2 ? 1 : 0;
        if (distance == 1) {
            for (uint32_t far = 1; far <= 2; far++) {
                std::vector<uint32_t> next = random.some(n, n);
                for (uint32_t r = 0; r < n; r++)
                    score[next[r]] = -static_cast<float>(r);
                tell(far, score);
                told[far == 1 ? 0 : 1] = next;
            }
            if (i < 4000)
                continue;
            for (uint32_t far = 1; far <= 2; far++) {
                std::vector<float> p = ask(far);
                for (uint32_t r = 0; r < n; r++) {
                    double exact = used_at[far - 1][std::min(r, 3u)];
                    ASSERT_NEAR(p[told[far - 1][r]], exact, 0.1 * exact + 0.015) << far << " " << r;
                }
            }
        }
    }
}

TEST_F(Lookahead, RanksAsASortDoesWhateverTheScores)
{
    const float special[] = {0.0f, -0.0f, 1.0f, -1.0f, INFINITY, -INFINITY, 1e-40f, -1e-40f, 3e38f};
    toy::Random random(2);
    for (uint32_t n : {1u, 2u, 7u, 32u, 128u, 512u, 1000u}) {
        open(2, n);
        observe({0, {0}});
        for (int turn = 0; turn < 20; turn++) {
            std::vector<float> score(n), p;
            for (float &s : score)
                s = turn % 2 ? special[random.below(9)]
                             : static_cast<float>(random.uniform() - 0.5);
            tell(1, score);
            p = ask(1); // before anything is learned, likelier the nearer the front
            std::vector<uint32_t> order(n);
            std::iota(order.begin(), order.end(), 0);
            std::stable_sort(order.begin(), order.end(),
                             [&](uint32_t a, uint32_t b) { return score[a] > score[b]; });
            for (uint32_t r = 1; r < n; r++)
                ASSERT_GT(p[order[r - 1]], p[order[r]]) << n << " rank " << r;
        }
        predictor_close(p_);
        p_ = nullptr;
    }
}

TEST_F(Lookahead, OnlyTheOrderOfScoresCounts)
{
    open(2, 6);
    const std::vector<float> score = {3, -2, 5, 0, 5, -7};
    std::vector<float> warped;
    for (float s : score)
        warped.push_back(std::exp(s) * 1000);
    for (int i = 0; i < 50; i++) {
        observe({0, {0}});
        tell(1, score);
        observe({1, {2, 0}});
    }
    observe({0, {0}});
    tell(1, score);
    std::vector<float> p = ask(1);
    tell(1, warped);
    EXPECT_EQ(ask(1), p);
    EXPECT_GT(p[2], 0.85f) << "the first of equals by number";
    EXPECT_LT(p[4], 0.1f);
    EXPECT_GT(p[0], 0.85f) << "the third";
}

TEST_F(Lookahead, NeitherPromptsNorLeftOutLayersTeach)
{
    open(3, 4);
    observe({0, {0}});
    tell(1, {4, 3, 2, 1});
    std::vector<float> p = ask(1);
    for (int i = 0; i < 100; i++) {
        observe(toy::Run(1, {3}, 9, true));
        observe({2, {0}});
        observe({0, {0}});
        tell(1, {4, 3, 2, 1});
        observe({2, {0}}); // instead of layer 1
        observe({1, {3}});
        observe({0, {0}});
        tell(1, {4, 3, 2, 1});
    }
    EXPECT_EQ(ask(1), p);
    observe({1, {3}});
    observe({2, {0}});
    observe({0, {0}});
    tell(1, {4, 3, 2, 1});
    EXPECT_GT(ask(1)[3], p[3]) << "this one does";
}

TEST_F(Lookahead, NanIsAScoreLikeAnyOther)
{
    open(2, 5);
    observe({0, {0}});
    tell(1, {NAN, 1, -NAN, 0, NAN});
    std::vector<float> p = ask(1);
    std::sort(p.begin(), p.end());
    for (size_t i = 1; i < p.size(); i++)
        EXPECT_GT(p[i], p[i - 1]) << "each rank is given once";
}

} // namespace
