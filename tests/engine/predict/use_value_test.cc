#include "engine/predict/use_value.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/predict/history.h"
#include "tests/engine/predict/toy_runs.h"

namespace {

// A history and the values on top of it.
class Values {
public:
    Values(uint32_t layers, uint32_t experts, uint32_t top_k, float gamma, uint64_t bytes = 0)
    {
        struct use_value_config config = {layers, experts, gamma, bytes};
        EXPECT_EQ(history_open(&history_, layers, experts, top_k, nullptr), STATUS_OK);
        EXPECT_EQ(use_value_open(&value_, &config, &history_, nullptr), STATUS_OK);
    }
    ~Values()
    {
        use_value_close(value_);
        history_close(&history_);
    }
    void observe(toy::Run run)
    {
        use_value_before(value_, run.get());
        history_observe(&history_, run.get());
        use_value_after(value_, run.get());
    }
    void gamma(float gamma)
    {
        use_value_set_gamma(value_, gamma);
        EXPECT_EQ(use_value_gamma_of(value_), gamma);
    }
    const float *layer(uint32_t layer) const { return use_value_layer(value_, layer); }

private:
    struct history history_ = {};
    struct use_value *value_ = nullptr;
};

// What E[gamma^(N-1)] is for an expert that each run uses with p.
double stationary(double p, double gamma)
{
    return p / (1 - gamma * (1 - p));
}

TEST(UseValue, OfIndependentUsesIsThatOfTheGeometricDistribution)
{
    for (float gamma : {0.5f, 0.8f}) {
        const std::vector<double> p = {0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9};
        const uint32_t n = static_cast<uint32_t>(p.size());
        Values values(2, n, 3, gamma);
        toy::Random random(1);
        std::vector<double> sum(n);
        int counted = 0;
        for (int i = 0; i < 24000; i++) {
            std::vector<uint32_t> used;
            for (uint32_t e = 0; e < n; e++)
                if (random.uniform() < p[e])
                    used.push_back(e);
            values.observe({static_cast<uint32_t>(i % 2), used});
            if (i < 8000 || i % 2 != 0)
                continue;
            counted++;
            for (uint32_t e = 0; e < n; e++)
                sum[e] += values.layer(0)[e];
        }
        for (uint32_t e = 0; e < n; e++) {
            double exact = stationary(p[e], gamma);
            EXPECT_NEAR(sum[e] / counted, exact, 0.02 + 0.05 * exact) << gamma << " " << p[e];
        }
    }
}

// Two companies that take turns: a run belongs to one of them, stays with 0.9, and uses each of its
// experts with 0.5, the others with 0.02. Expert 0 and 8 are always and only there in theirs.
TEST(UseValue, KnowsFromTheCompanyOfTheLastRunWhoIsWantedSoon)
{
    const double stay = 0.9, home = 0.5, away = 0.02, gamma = 0.7;
    double in = 0.5,
           out = 0.1; // V = sum over the next state of P (u + (1 - u) gamma V), by iteration
    for (int i = 0; i < 200; i++) {
        double at_home = home + (1 - home) * gamma * in, off = away + (1 - away) * gamma * out;
        in = stay * at_home + (1 - stay) * off;
        out = (1 - stay) * at_home + stay * off;
    }
    Values values(1, 16, 4, gamma);
    toy::Random random(2);
    uint32_t state = 0;
    double told[2] = {0}, square[2] = {0}, seen = 0;
    for (int i = 0; i < 20000; i++) {
        if (random.uniform() >= stay)
            state = 1 - state;
        std::vector<uint32_t> used = {state * 8};
        for (uint32_t e = 0; e < 16; e++)
            if (e % 8 != 0 && random.uniform() < (e / 8 == state ? home : away))
                used.push_back(e);
        values.observe({0, used});
        if (i < 10000)
            continue;
        for (uint32_t e = 0; e < 16; e++) {
            if (e % 8 == 0)
                continue;
            int foreign = e / 8 != state;
            double v = values.layer(0)[e], exact = foreign ? out : in;
            told[foreign] += v;
            square[foreign] += (v - exact) * (v - exact);
        }
        seen += 7;
    }
    EXPECT_GT(in, 2.5 * out) << "else the test shows nothing";
    EXPECT_NEAR(told[0] / seen, in, 0.04);
    EXPECT_NEAR(told[1] / seen, out, 0.04);
    // The exact values leave no error: what learning adds is small against what separates them.
    EXPECT_LT(std::sqrt(square[0] / seen), 0.25 * (in - out));
    EXPECT_LT(std::sqrt(square[1] / seen), 0.25 * (in - out));
}

TEST(UseValue, StaysBetween0And1WhateverCame)
{
    for (uint64_t bytes : {uint64_t(0), uint64_t(1)}) { // 1: all experts share one row
        Values values(3, 40, 4, 0.9f, bytes);
        toy::Random random(3);
        for (int i = 0; i < 50000; i++) {
            toy::Run run = random.anything(3, 40);
            values.observe(run);
            const float *v = values.layer(run.layer());
            for (uint32_t e = 0; e < 40; e++)
                ASSERT_TRUE(v[e] >= 0.0f && v[e] <= 1.0f) << v[e] << " in run " << i;
        }
    }
}

TEST(UseValue, IsTheSameForTheSameRuns)
{
    Values a(2, 24, 4, 0.6f), b(2, 24, 4, 0.6f);
    toy::Random random(4);
    for (int i = 0; i < 3000; i++) {
        toy::Run run = random.anything(2, 24);
        a.observe(run);
        b.observe(run);
    }
    for (uint32_t e = 0; e < 24; e++) {
        EXPECT_EQ(a.layer(0)[e], b.layer(0)[e]);
        EXPECT_EQ(a.layer(1)[e], b.layer(1)[e]);
    }
}

// More company than is looked at: the choice may not hang on numbers.
TEST(UseValue, HangsOnNoExpertsNumber)
{
    const uint32_t n = 160;
    Values a(1, n, 8, 0.6f), b(1, n, 8, 0.6f);
    toy::Random random(5);
    for (int i = 0; i < 1500; i++) {
        std::vector<uint32_t> there, mirrored;
        for (uint32_t e = 0; e < n; e++) {
            bool home = e / 60 % 2 == static_cast<uint32_t>(i / 20 % 2);
            if (random.uniform() < (e < 40 ? 0.2 : home ? 0.6 : 0.1)) {
                there.push_back(e);
                mirrored.push_back(n - 1 - e);
            }
        }
        a.observe({0, there});
        b.observe({0, mirrored});
    }
    for (uint32_t e = 0; e < n; e++)
        EXPECT_NEAR(a.layer(0)[e], b.layer(0)[n - 1 - e], 0.01) << e;
}

TEST(UseValue, APromptShowsWhoIsWanted)
{
    Values values(1, 8, 2, 0.6f);
    for (int i = 0; i < 50; i++)
        values.observe({0, {6, 7}});
    values.observe(toy::Run(0, {0, 1, 2}, 200, true).tokens({200, 150, 1}));
    const float *v = values.layer(0);
    EXPECT_GT(v[0], v[3]);
    EXPECT_GT(v[1], v[3]);
    EXPECT_GT(v[0], v[2]);
    EXPECT_GT(v[0], v[6]) << "two hundred tokens without it";
}

TEST(UseValue, LayersAreApart)
{
    Values values(2, 8, 2, 0.6f);
    std::vector<float> before(values.layer(1), values.layer(1) + 8);
    for (int i = 0; i < 20; i++)
        values.observe({0, {1, 2}});
    EXPECT_EQ(std::vector<float>(values.layer(1), values.layer(1) + 8), before);
}

// Another gamma in the middle: what was learned stays, and is then drawn to what the new one means.
TEST(UseValueGamma, MayChange)
{
    const std::vector<double> p = {0.05, 0.1, 0.2, 0.4, 0.7};
    const uint32_t n = static_cast<uint32_t>(p.size());
    Values values(1, n, 2, 0.5f);
    toy::Random random(3);
    for (float gamma : {0.5f, 0.85f, 0.6f}) {
        std::vector<float> before(values.layer(0), values.layer(0) + n);
        values.gamma(gamma);
        EXPECT_EQ(std::vector<float>(values.layer(0), values.layer(0) + n), before);
        std::vector<double> sum(n);
        for (int i = 0; i < 12000; i++) {
            std::vector<uint32_t> used;
            for (uint32_t e = 0; e < n; e++)
                if (random.uniform() < p[e])
                    used.push_back(e);
            values.observe({0, used});
            for (uint32_t e = 0; e < n && i >= 6000; e++)
                sum[e] += values.layer(0)[e] / 6000;
        }
        for (uint32_t e = 0; e < n; e++)
            EXPECT_NEAR(sum[e], stationary(p[e], gamma), 0.02 + 0.07 * stationary(p[e], gamma))
                << gamma << " " << p[e];
    }
}

TEST(UseValueGamma, LooksFurtherTheMoreFits)
{
    float last = 0;
    for (uint32_t slots = 0; slots <= 768; slots += 16) {
        float gamma = use_value_gamma(slots, 768);
        EXPECT_GE(gamma, last);
        EXPECT_TRUE(gamma > 0 && gamma < 1);
        last = gamma;
    }
    EXPECT_GT(use_value_gamma(384, 768), use_value_gamma(96, 768));
    EXPECT_LT(use_value_gamma(0, 0), 1.0f);
}

TEST(UseValueBytes, KeepToTheirLimit)
{
    const struct use_value_config wide = {60, 512, 0.6f, 0};
    EXPECT_LT(use_value_bytes(&wide), 33u << 20);
    const struct use_value_config bounded = {60, 512, 0.6f, 4 << 20};
    EXPECT_LT(use_value_bytes(&bounded), 5u << 20);
    use_value_close(nullptr);
}

} // namespace
