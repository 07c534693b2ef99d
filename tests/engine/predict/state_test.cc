#include "engine/predict/state.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>

#include "tests/engine/predict/toy_loads.h"

namespace {

class State : public testing::Test {
protected:
    ~State() override { state_close(s_); }
    void open(uint32_t experts, uint32_t window, uint32_t top_k = 0)
    {
        state_close(s_);
        s_ = nullptr;
        const struct state_config config = {2, experts, top_k, window};
        ASSERT_EQ(state_open(&s_, &config, nullptr), STATUS_OK);
    }
    bool tick(const toy::Share &share, uint64_t routed, uint32_t layer = 0)
    {
        return state_tick(s_, layer, share.data(), routed);
    }
    struct state_figures get(uint32_t layer = 0)
    {
        struct state_figures f;
        state_get(s_, layer, &f);
        return f;
    }
    struct state *s_ = nullptr;
};

// The definitions, carried out over the whole window.
struct state_figures by_definition(const std::deque<toy::Share> &window,
                                   const std::deque<uint64_t> &routed, double k)
{
    size_t n = window.size(), half = n / 2, experts = window[0].size();
    double cv = 0, floor = 0, tv = 0, jump = 0, noise = 0, inverse = 0, inverse_before = 0;
    for (size_t t = 0; t < n; t++) {
        inverse += 1.0 / static_cast<double>(routed[t]) / static_cast<double>(n);
        if (t + 1 < n)
            inverse_before += 1.0 / static_cast<double>(routed[t]);
    }
    for (size_t e = 0; e < experts; e++) {
        double mean = 0, before = 0, older = 0, newer = 0, square = 0;
        for (size_t t = 0; t < n; t++) {
            mean += window[t][e] / static_cast<double>(n);
            before += t + 1 < n ? window[t][e] / static_cast<double>(n - 1) : 0;
            (t < n - half ? older : newer) += window[t][e];
        }
        for (size_t t = 0; t < n; t++)
            square += (window[t][e] - mean) * (window[t][e] - mean);
        cv += std::sqrt(square / static_cast<double>(n - 1));
        floor += std::sqrt(mean * std::max(0.0, 1 - k * mean) * inverse);
        tv += std::fabs(newer / static_cast<double>(half) - older / static_cast<double>(n - half));
        jump += std::fabs(window[n - 1][e] - before);
        double scatter = 1.0 / static_cast<double>(routed[n - 1]) +
                         inverse_before / static_cast<double>((n - 1) * (n - 1));
        noise += std::sqrt(before * std::max(0.0, 1 - k * before) * scatter);
    }
    struct state_figures f = {};
    f.cv = static_cast<float>(std::sqrt(std::max(0.0, cv * cv - floor * floor)));
    f.floor = static_cast<float>(floor);
    f.tv = static_cast<float>(tv / 2);
    f.jump = static_cast<float>(jump / 2);
    f.jump_limit = static_cast<float>(std::max(0.2, 3 * std::sqrt(2 / M_PI) / 2 * noise));
    return f;
}

TEST_F(State, FiguresAreTheDefinitionsCarriedOut)
{
    for (uint32_t window : {4u, 7u, 20u}) {
        for (uint32_t k : {0u, 2u}) {
            open(12, window, k);
            toy::Loads random(window + k);
            std::deque<toy::Share> shares;
            std::deque<uint64_t> routed;
            // The detector compares the newest tick with the whole window before it.
            for (uint32_t t = 0; t < 3 * window + 1; t++) {
                uint32_t tokens = 300 + 40 * (t % 5);
                shares.push_back(random.tick(random.dirichlet(12, 3), tokens));
                routed.push_back(tokens);
                tick(shares.back(), tokens);
                if (shares.size() >= 2) {
                    struct state_figures jump = by_definition(shares, routed, k ? k : 1);
                    EXPECT_NEAR(get().jump, jump.jump, 1e-3) << t;
                    EXPECT_NEAR(get().jump_limit, jump.jump_limit, 1e-3) << t;
                }
                if (shares.size() > window) {
                    shares.pop_front();
                    routed.pop_front();
                }
                if (shares.size() < 2)
                    continue;
                struct state_figures want = by_definition(shares, routed, k ? k : 1);
                EXPECT_NEAR(get().cv, want.cv, 1e-3) << t;
                EXPECT_NEAR(get().floor, want.floor, 1e-4) << t;
                EXPECT_NEAR(get().tv, want.tv, 1e-4) << t;
            }
        }
    }
}

TEST_F(State, StationaryTurnsStableWithinTheWindowAndThreeTicks)
{
    for (uint32_t experts : {32u, 128u, 512u}) {
        open(experts, 100);
        toy::Loads random(experts);
        std::vector<double> p = random.dirichlet(experts, 2);
        for (int t = 1; t <= 400; t++) {
            bool stable = tick(random.tick(p, 4096), 4096);
            if (t >= 103) {
                ASSERT_TRUE(stable) << experts << " experts, tick " << t;
            }
            if (t < 25 + 2) {
                ASSERT_FALSE(stable) << "a quarter of the window and three quiet ticks";
            }
        }
        EXPECT_EQ(get().changes, 1u);
        EXPECT_LT(get().cv, 0.12) << "sampling alone is taken out";
    }
}

TEST_F(State, ARegimeSwitchIsSeenWithinTwoTicksAndOverWithinTheWindow)
{
    for (uint32_t experts : {32u, 128u}) {
        open(experts, 100);
        toy::Loads random(77 + experts);
        std::vector<double> p = random.dirichlet(experts, 1);
        int at = 0, settled = 0;
        for (int t = 1; t <= 200; t++)
            tick(random.tick(p, 4096), 4096);
        ASSERT_TRUE(get().stable);
        std::reverse(p.begin(), p.end());
        for (int t = 1; t <= 150; t++) {
            bool stable = tick(random.tick(p, 4096), 4096);
            if (!stable && !at)
                at = t;
            if (!stable)
                settled = t + 1;
        }
        EXPECT_GE(at, 1);
        EXPECT_LE(at, 2);
        EXPECT_LE(settled, 103);
        EXPECT_GT(settled, 50) << "while half of the window is of the old regime it is not over";
        EXPECT_EQ(get().since, 200u + static_cast<unsigned>(settled));
    }
}

TEST_F(State, IrregularLoadsNeverTurnStable)
{
    open(32, 100);
    toy::Loads random(2);
    for (int t = 0; t < 300; t++)
        ASSERT_FALSE(tick(random.tick(random.dirichlet(32, 1), 4096), 4096));
    EXPECT_EQ(get().changes, 0u);
}

TEST_F(State, SlowDriftIsSeenByTheHalves)
{
    open(16, 100);
    toy::Loads random(6);
    std::vector<double> p(16);
    bool ended_stable = true;
    for (int t = 0; t < 400; t++) {
        double sum = 0;
        for (size_t e = 0; e < 16; e++) // a bump that walks once round in 250 ticks
            sum += p[e] = 1 + 0.95 * std::sin(2 * M_PI * (e / 16.0 + std::max(0, t - 150) / 250.0));
        for (double &x : p)
            x /= sum;
        ended_stable = tick(random.tick(p, 65536), 65536);
        if (t == 149) {
            EXPECT_TRUE(ended_stable);
        }
        EXPECT_LT(get().jump, std::max(0.5f, get().jump_limit)) << "no tick gives it away";
    }
    EXPECT_FALSE(ended_stable);
    EXPECT_GT(get().tv, 0.2);
}

TEST_F(State, BetweenTheLimitsTheStateStays)
{
    open(2, 8);
    toy::Share even = {0.5f, 0.5f}, shifted = {0.65f, 0.35f};
    for (int t = 0; t < 20; t++)
        tick(even, 1000000);
    ASSERT_TRUE(get().stable);
    for (int t = 0; t < 4; t++)
        tick(shifted, 1000000);
    EXPECT_NEAR(get().tv, 0.15, 1e-3);
    EXPECT_TRUE(get().stable) << "0.1 < tv < 0.2 does not end it";
    EXPECT_EQ(get().quiet, 0u);
}

TEST_F(State, LayersAreApartAndUnusedExpertsDoNoHarm)
{
    open(4, 8);
    for (int t = 0; t < 30; t++)
        tick({1, 0, 0, 0}, 100, 1);
    EXPECT_TRUE(get(1).stable);
    EXPECT_EQ(get(1).cv, 0.0f);
    EXPECT_EQ(get(0).ticks, 0u);
    EXPECT_FALSE(get(0).stable);
    tick({NAN, NAN, -1, INFINITY}, 1, 1);
    EXPECT_TRUE(std::isfinite(get(1).cv) && std::isfinite(get(1).tv) &&
                std::isfinite(get(1).jump));
}

TEST(StateOpen, RefusesWhatItCannotBe)
{
    struct state *s = nullptr;
    struct error error = {};
    struct state_config config = {1, 4, 5, 0};
    EXPECT_EQ(state_open(&s, &config, &error), STATUS_INVALID);
    EXPECT_STREQ(error.text, "state: top_k = 5, more than experts = 4");
    config = {1, 4, 0, 3};
    EXPECT_EQ(state_open(&s, &config, nullptr), STATUS_INVALID);
    config = {0, 4, 0, 10};
    EXPECT_EQ(state_open(&s, &config, nullptr), STATUS_INVALID);
    state_close(nullptr);
}

TEST_F(State, BytesAreWhatTheHeaderSays)
{
    const struct state_config config = {10, 100, 0, 100};
    ASSERT_EQ(state_open(&s_, &config, nullptr), STATUS_OK);
    EXPECT_NEAR(static_cast<double>(state_bytes(s_)) / 1000, 216, 12);
}

} // namespace
