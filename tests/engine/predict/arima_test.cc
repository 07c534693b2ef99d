#include "engine/predict/arima.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/predict/arima_model.h"
#include "engine/predict/load_history.h"
#include "engine/predict/window.h"
#include "tests/engine/predict/toy_loads.h"

namespace {

class Arima : public testing::Test {
protected:
    ~Arima() override
    {
        predictor_close(p_);
        predictor_close(window_);
    }
    void open(const struct arima_config &config)
    {
        ASSERT_EQ(arima_open(&p_, &config, nullptr), STATUS_OK);
        const struct window_config window = {config.layers, config.experts, config.window};
        ASSERT_EQ(window_open(&window_, &window, nullptr), STATUS_OK);
    }
    void tick(uint32_t layer, const toy::Share &share)
    {
        toy::tick(p_, layer, share);
        toy::tick(window_, layer, share);
    }
    struct arima_series series(uint32_t layer = 0)
    {
        struct arima_series s;
        arima_count(p_, layer, &s);
        return s;
    }
    struct predictor *p_ = nullptr, *window_ = nullptr;
};

// Two experts that take turns in a cycle of five ticks.
toy::Share cycle(int t)
{
    static const float x[5] = {.50f, .62f, .57f, .40f, .41f};
    return {x[t % 5], 1 - x[t % 5]};
}

TEST_F(Arima, CannotSayBeforeSixtyTicks)
{
    open({2, 2});
    for (int t = 0; t < ARIMA_TICKS_MIN - 1; t++)
        tick(1, cycle(t));
    EXPECT_TRUE(toy::loads(p_, 1, 1, 2).empty());
    EXPECT_EQ(series(1).waiting, 2u);
    tick(1, cycle(0));
    EXPECT_FALSE(toy::loads(p_, 1, 1, 2).empty());
    EXPECT_TRUE(toy::loads(p_, 0, 1, 2).empty()) << "layers are apart";
}

TEST_F(Arima, ForecastsACycleThatTheWindowMisses)
{
    // A damped oscillation of eight ticks, kept going by noise: z = 1.34 z' - 0.9 z" + noise.
    open({1, 2});
    toy::Loads random(4);
    double arima = 0, window = 0, noise = 0, z1 = 0, z2 = 0;
    for (int t = 0; t < 500; t++) {
        double fresh = 0.01 * random.normal(), z = 1.34 * z1 - 0.9 * z2 + fresh;
        z2 = z1;
        z1 = z;
        float x = static_cast<float>(0.5 + z);
        if (t >= 200) {
            arima += std::fabs(toy::loads(p_, 0, 1, 2)[0] - x);
            window += std::fabs(toy::loads(window_, 0, 1, 2)[0] - x);
            noise += std::fabs(fresh);
        }
        tick(0, {x, 1 - x});
    }
    EXPECT_LT(arima, 0.65 * window);
    EXPECT_LT(arima, 2 * noise) << "a fifth of the fits is refused; nothing beats the noise";
}

TEST_F(Arima, FailedSeriesAreForecastByTheirWindow)
{
    // Two experts move, one never gets a token and one always gets the same share.
    open({1, 4, {}, 0, 30, 0});
    for (int t = 0; t < 150; t++) {
        toy::Share two = cycle(t);
        tick(0, {two[0] * 0.75f, two[1] * 0.75f, 0.0f, 0.25f});
    }
    EXPECT_GE(series().failed, 2u);
    EXPECT_EQ(series().waiting, 0u);
    for (uint32_t horizon : {1u, 10u, 100u, 2000u}) {
        toy::Share share = toy::loads(p_, 0, horizon, 4);
        toy::Share window = toy::loads(window_, 0, horizon, 4);
        EXPECT_EQ(share[2], 0.0f);
        EXPECT_NEAR(share[3], 0.25f, 0.02f);
        EXPECT_NEAR(share[3] / (1 - share[0] - share[1]), window[3] / (window[2] + window[3]),
                    1e-4);
    }
}

TEST_F(Arima, WhenEverySeriesFailsItIsTheWindow)
{
    open({1, 8, {}, 0, 25, 0});
    toy::Share even(8, 0.125f), uneven(8, 0.0f);
    uneven[2] = 1;
    for (int t = 0; t < 100; t++)
        tick(0, even);
    EXPECT_EQ(series().failed, 8u);
    for (uint32_t horizon : {1u, 7u, 100u, 2000u})
        EXPECT_EQ(toy::loads(p_, 0, horizon, 8), toy::loads(window_, 0, horizon, 8)) << horizon;
}

TEST_F(Arima, ATickFitsNoMoreThanItsShare)
{
    open({1, 10, {}, 0, 0, 3});
    toy::Loads random(8);
    for (int t = 0; t < ARIMA_TICKS_MIN; t++)
        tick(0, random.tick(random.dirichlet(10, 2), 200));
    EXPECT_EQ(series().waiting, 7u);
    tick(0, random.tick(random.dirichlet(10, 2), 200));
    EXPECT_EQ(series().waiting, 4u);
    for (int t = 0; t < 2; t++)
        tick(0, random.tick(random.dirichlet(10, 2), 200));
    EXPECT_EQ(series().waiting, 0u);
    EXPECT_EQ(series().fitted + series().failed, 10u);
}

TEST_F(Arima, AlwaysSharesWhateverComes)
{
    for (struct arima_orders orders : {arima_orders{5, 1, 5}, {8, 2, 8}, {1, 0, 0}, {0, 1, 1},
                                       {2, 0, 3}, {0, 2, 8}, {8, 0, 8}}) {
        open({1, 6, orders, 60, 0, 6});
        toy::Loads random(orders.p + 10 * orders.q);
        for (int t = 0; t < 300; t++) {
            toy::Share share = t % 40 < 20 ? random.tick(random.dirichlet(6, 0.05), 50)
                                           : toy::Share{0, 0, 0, 1, 0, 0};
            if (t % 50 == 7)
                share = {NAN, INFINITY, -1, 0, 0, 0};
            tick(0, share);
            for (uint32_t horizon : {1u, 10u, 100u, 1000u})
                EXPECT_EQ(toy::loads(p_, 0, horizon, 6).size(), t + 1 < ARIMA_TICKS_MIN ? 0u : 6u);
        }
        predictor_close(p_);
        predictor_close(window_);
        p_ = window_ = nullptr;
    }
}

// Four series are fitted one tick after the other; those that waited for the others have lived on
// residuals carried on from tick to tick.
TEST_F(Arima, ResidualsAreCarriedOnBetweenFits)
{
    const uint32_t experts = 4;
    open({1, experts, {2, 1, 3}, 160, 0, 1});
    toy::Loads random(21);
    std::vector<double> x[experts];
    double wander[experts] = {};
    for (uint32_t t = 0; t < ARIMA_TICKS_MIN + experts - 1; t++) {
        std::vector<double> p(experts);
        double sum = 0;
        for (uint32_t e = 0; e < experts; e++)
            sum += p[e] = std::exp(0.3 * (wander[e] = 0.8 * wander[e] + 0.5 * random.normal()));
        for (double &v : p)
            v /= sum;
        toy::Share share = random.tick(p, 20000);
        for (uint32_t e = 0; e < experts; e++)
            x[e].push_back(std::round(share[e] * 65535.0f) / 65535);
        tick(0, share);
    }
    toy::Share want = toy::loads(window_, 0, 1, experts);
    uint32_t fitted = 0;
    for (uint32_t e = 0; e < experts; e++) {
        uint32_t points = ARIMA_TICKS_MIN + e;
        std::vector<double> y(x[e].begin(), x[e].begin() + points), scratch(points);
        struct arima_model m = {};
        m.p = 2, m.d = 1, m.q = 3;
        struct arima_tail tail;
        uint32_t n = arima_model_difference(y.data(), points, 1);
        if (!arima_model_fit(&m, y.data(), n, scratch.data(), &tail))
            continue;
        fitted += e + 1 < experts; // the last one has nothing to carry
        for (uint32_t t = points; t < x[e].size(); t++)
            arima_model_residual(&m, &tail, x[e][t] - x[e][t - 1]);
        tail.level[0] = x[e].back();
        want[e] = static_cast<float>(arima_model_forecast(&m, &tail, 1));
    }
    ASSERT_GE(fitted, 2u);
    load_share_normalise(want.data(), experts);
    toy::Share got = toy::loads(p_, 0, 1, experts);
    for (uint32_t e = 0; e < experts; e++)
        EXPECT_NEAR(got[e], want[e], 2e-6) << e;
}

// The forecasts of whole layers are computed side by side in floats; arima_model.h is the truth.
TEST_F(Arima, AgreesWithTheModelOfOneSeries)
{
    const uint32_t experts = 37; // two blocks and a bit
    for (struct arima_orders orders : {arima_orders{5, 1, 5}, {2, 0, 2}, {0, 1, 3}, {3, 2, 0}}) {
        open({1, experts, orders, 160, 0, experts});
        toy::Loads random(3);
        std::vector<std::vector<double>> x(experts);
        std::vector<double> base(experts, 1.0 / experts);
        for (int t = 0; t < 160; t++) {
            double wave = 0.3 * std::sin(t / 3.0);
            for (uint32_t e = 0; e < experts; e++)
                base[e] = (1 + wave * (e % 2 ? 1 : -1)) / experts;
            toy::Share share = random.tick(base, 20000);
            for (uint32_t e = 0; e < experts; e++)
                x[e].push_back(std::round(share[e] * 65535.0f) / 65535);
            tick(0, share);
        }
        EXPECT_GT(series().fitted, 0u);
        for (uint32_t horizon : {1u, 2u, 7u, 40u, 150u}) {
            toy::Share want = toy::loads(window_, 0, horizon, experts);
            for (uint32_t e = 0; e < experts; e++) {
                std::vector<double> y = x[e], scratch(160);
                struct arima_model m = {};
                m.p = orders.p, m.d = orders.d, m.q = orders.q;
                uint32_t n = arima_model_difference(y.data(), 160, m.d);
                struct arima_tail tail;
                if (!arima_model_fit(&m, y.data(), n, scratch.data(), &tail))
                    continue;
                tail.level[0] = x[e][159];
                tail.level[1] = x[e][159] - x[e][158];
                want[e] = static_cast<float>(arima_model_forecast(&m, &tail, horizon));
            }
            load_share_normalise(want.data(), experts);
            toy::Share got = toy::loads(p_, 0, horizon, experts);
            for (uint32_t e = 0; e < experts; e++)
                ASSERT_NEAR(got[e], want[e], 2e-5) << e << " " << horizon << " d " << orders.d;
        }
        predictor_close(p_);
        predictor_close(window_);
        p_ = window_ = nullptr;
    }
}

TEST(ArimaOpen, RefusesWhatItCannotBe)
{
    struct predictor *p = nullptr;
    struct error error = {};
    for (const struct arima_config &config :
         {arima_config{1, 2, {9, 1, 5}}, {1, 2, {5, 3, 5}}, {1, 2, {5, 1, 9}}, {1, 2, {0, 1, 0}},
          {1, 2, {5, 1, 5}, 59}, {1, 2, {5, 1, 5}, 1025}, {1, 2, {5, 1, 5}, 100, 101}, {0, 2}})
        EXPECT_EQ(arima_open(&p, &config, &error), STATUS_INVALID);
    EXPECT_STREQ(error.text, "arima: orders = (9,1,5), p and q may be 0 to 8 but not both 0, "
                             "d 0 to 2");
}

TEST_F(Arima, BytesAreWhatTheHeaderSays)
{
    open({10, 96});
    EXPECT_NEAR(static_cast<double>(arima_bytes(p_)) / 960, 385, 10);
}

} // namespace
