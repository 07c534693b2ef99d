#include "engine/predict/window.h"

#include <gtest/gtest.h>

#include <deque>
#include <numeric>

#include "engine/predict/load_mixture.h"
#include "tests/engine/predict/toy_loads.h"

namespace {

std::vector<double> weights(uint32_t count, uint32_t horizon)
{
    std::vector<double> visits(count), w(count);
    window_weights(count, horizon, visits.data(), w.data());
    return w;
}

// What the definition says, carried out: append the mean, slide, repeat.
double append_and_slide(std::deque<double> window, uint32_t horizon)
{
    double mean = 0;
    for (uint32_t k = 0; k < horizon; k++) {
        mean = std::accumulate(window.begin(), window.end(), 0.0) /
               static_cast<double>(window.size());
        window.pop_front();
        window.push_back(mean);
    }
    return mean;
}

class Window : public testing::Test {
protected:
    ~Window() override { predictor_close(p_); }
    void open(uint32_t layers, uint32_t experts, uint32_t window)
    {
        const struct window_config config = {layers, experts, window};
        ASSERT_EQ(window_open(&p_, &config, nullptr), STATUS_OK);
    }
    struct predictor *p_ = nullptr;
};

TEST(WindowWeights, GoldenForecasts)
{
    const double golden[3] = {.152500, .154375, .154219};
    const std::vector<float> &x = toy::golden_series();
    for (uint32_t horizon = 1; horizon <= 3; horizon++) {
        std::vector<double> w = weights(4, horizon);
        double forecast = 0;
        for (uint32_t age = 0; age < 4; age++)
            forecast += w[age] * static_cast<double>(x[x.size() - 1 - age]);
        EXPECT_NEAR(forecast, golden[horizon - 1], 6e-7) << horizon;
    }
}

TEST(WindowWeights, AreTheDefinitionCarriedOut)
{
    toy::Loads random(1);
    for (uint32_t count : {1u, 2u, 3u, 7u, 40u}) {
        std::deque<double> window(count);
        for (double &x : window)
            x = random.normal();
        for (uint32_t horizon = 1; horizon <= 9 * count + 20; horizon++) {
            std::vector<double> w = weights(count, horizon);
            double forecast = 0, sum = 0;
            for (uint32_t age = 0; age < count; age++) {
                EXPECT_GE(w[age], 0);
                forecast += w[age] * window[count - 1 - age];
                sum += w[age];
            }
            ASSERT_NEAR(sum, 1, 1e-12);
            // From 8 windows and 16 ticks on the limit stands for the rest.
            ASSERT_NEAR(forecast, append_and_slide(window, horizon),
                        horizon < 8 * count + 16 ? 1e-12 : 1e-6)
                << count << " " << horizon;
        }
    }
}

TEST(WindowWeights, TheLimitIsLinear)
{
    std::vector<double> w = weights(4, 2000);
    for (uint32_t age = 0; age < 4; age++)
        EXPECT_DOUBLE_EQ(w[age], (4 - age) / 10.0);
    EXPECT_EQ(weights(100, 1000), weights(100, UINT32_MAX));
}

TEST_F(Window, GoldenThroughTheInterface)
{
    open(1, 2, 4);
    EXPECT_TRUE(toy::loads(p_, 0, 1, 2).empty());
    for (float x : toy::golden_series())
        toy::tick(p_, 0, {x, 1 - x});
    const double golden[3] = {.152500, .154375, .154219};
    for (uint32_t horizon = 1; horizon <= 3; horizon++)
        EXPECT_NEAR(toy::loads(p_, 0, horizon, 2)[0], golden[horizon - 1], 1e-5);
    EXPECT_NEAR(toy::loads(p_, 0, 2000, 2)[0], (.160 * 4 + .150 * 3 + .155 * 2 + .145) / 10, 1e-5);
}

TEST_F(Window, BeforeItIsFullWhatIsThereIsTheWindow)
{
    open(2, 2, 100);
    toy::tick(p_, 1, {0.5f, 0.5f});
    toy::tick(p_, 1, {0.7f, 0.3f});
    EXPECT_NEAR(toy::loads(p_, 1, 1, 2)[0], 0.6, 1e-5);
    EXPECT_NEAR(toy::loads(p_, 1, 2, 2)[0], (0.7 + 0.6) / 2, 1e-5);
    EXPECT_TRUE(toy::loads(p_, 0, 1, 2).empty()) << "layers are apart";
}

TEST_F(Window, SumsDoNotDrift)
{
    open(1, 16, 7);
    toy::Loads random(3);
    for (int t = 0; t < 20000; t++)
        toy::tick(p_, 0, random.tick(random.dirichlet(16, 0.3), 100));
    toy::Share last(16, 0.0f);
    last[3] = 1;
    for (int t = 0; t < 7; t++)
        toy::tick(p_, 0, last);
    EXPECT_EQ(toy::loads(p_, 0, 1, 16), last);
}

TEST_F(Window, StationaryLoadsAreForecastNearTheSamplingFloor)
{
    const uint32_t experts = 32, routed = 16384;
    toy::Loads random(5);
    std::vector<double> p = random.dirichlet(experts, 8);
    double floor = toy::sampling_floor(p, routed, 100);
    open(1, experts, 0);
    double error[2] = {0, 0};
    int scored = 0;
    for (int t = 0; t < 600; t++) {
        toy::Share actual = random.tick(p, routed);
        if (t >= 100) {
            uint32_t skipped;
            error[0] += load_error_ratio(toy::loads(p_, 0, 1, experts).data(), actual.data(),
                                         experts, &skipped);
            error[1] += load_error_ratio(toy::loads(p_, 0, 1000, experts).data(), actual.data(),
                                         experts, &skipped);
            scored++;
        }
        toy::tick(p_, 0, actual);
    }
    for (double e : error) {
        EXPECT_LT(e / scored, 1.2 * floor);
        EXPECT_GT(e / scored, 0.9 * floor) << "better than sampling allows: the test is wrong";
    }
}

TEST_F(Window, RefusesWhatItCannotBe)
{
    struct error error = {};
    struct predictor *p = nullptr;
    struct window_config config = {1, 4, 5000};
    EXPECT_EQ(window_open(&p, &config, &error), STATUS_INVALID);
    EXPECT_STREQ(error.text, "window: window = 5000 ticks, at most 4096");
    config = {1, 0, 10};
    EXPECT_EQ(window_open(&p, &config, nullptr), STATUS_INVALID);
    EXPECT_EQ(p, nullptr);
}

TEST_F(Window, BytesAreWhatTheHeaderSays)
{
    open(10, 100, 100);
    EXPECT_NEAR(static_cast<double>(window_bytes(p_)) / 1000, 204, 6);
}

} // namespace
