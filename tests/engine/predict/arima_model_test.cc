#include "engine/predict/arima_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/engine/predict/toy_loads.h"

namespace {

struct arima_model model_515()
{
    struct arima_model m = {};
    m.p = 5, m.d = 1, m.q = 5;
    const double phi[5] = {.4, -.2, .1, 0, .05}, theta[5] = {.3, .1, 0, -.05, .02};
    for (int i = 0; i < 5; i++) {
        m.phi[i] = phi[i];
        m.theta[i] = theta[i];
    }
    return m;
}

// x of n points; e, the residuals that made it, comes back too.
std::vector<double> simulate(const struct arima_model &m, uint32_t n, uint32_t seed,
                             std::vector<double> *residuals)
{
    toy::Loads random(seed);
    std::vector<double> y(n + 200), e(n + 200), x(n + 200);
    for (size_t t = 0; t < y.size(); t++) {
        y[t] = e[t] = random.normal();
        for (uint32_t i = 1; i <= m.p && i <= t; i++)
            y[t] += m.phi[i - 1] * y[t - i];
        for (uint32_t j = 1; j <= m.q && j <= t; j++)
            y[t] += m.theta[j - 1] * e[t - j];
    }
    x = y;
    for (uint32_t d = 0; d < m.d; d++)
        for (size_t t = 1; t < x.size(); t++)
            x[t] += x[t - 1];
    if (residuals)
        residuals->assign(e.begin() + 200, e.end());
    return {x.begin() + 200, x.end()};
}

bool fit(struct arima_model *m, std::vector<double> x)
{
    std::vector<double> scratch(x.size());
    uint32_t n = arima_model_difference(x.data(), static_cast<uint32_t>(x.size()), m->d);
    struct arima_tail tail;
    return arima_model_fit(m, x.data(), n, scratch.data(), &tail);
}

struct arima_tail tail_of(const struct arima_model &m, const std::vector<double> &x, uint32_t n)
{
    std::vector<double> scratch(n);
    struct arima_tail tail;
    arima_model_tail(&m, x.data(), n, scratch.data(), &tail);
    return tail;
}

// Mean square error of forecasts one step ahead over the points from `from` on.
double one_step(const struct arima_model &m, const std::vector<double> &x, uint32_t from)
{
    std::vector<double> y = x;
    uint32_t n = arima_model_difference(y.data(), static_cast<uint32_t>(y.size()), m.d);
    struct arima_tail tail = {};
    double sum = 0;
    for (uint32_t t = 0; t < n; t++) {
        double e = arima_model_residual(&m, &tail, y[t] - m.mean);
        sum += t >= from ? e * e : 0;
    }
    return sum / (n - from);
}

TEST(ArimaModel, GoldenForecasts)
{
    const struct arima_model m = model_515();
    const std::vector<float> &golden = toy::golden_series();
    std::vector<double> x(golden.size());
    for (size_t t = 0; t < x.size(); t++)
        x[t] = std::round(golden[t] * 1000.0f) / 1000;
    const struct arima_tail tail = tail_of(m, x, static_cast<uint32_t>(x.size()));
    const double want[4] = {.172544, .175271, .176691, .176364};
    for (uint32_t horizon = 1; horizon <= 4; horizon++)
        EXPECT_NEAR(arima_model_forecast(&m, &tail, horizon), want[horizon - 1], 6e-7) << horizon;
}

TEST(ArimaModel, FittedOn5000PointsForecastsLikeTheTruth)
{
    struct arima_model ma = {};
    ma.q = 2;
    ma.d = 1;
    ma.theta[0] = -.6, ma.theta[1] = .2;
    struct arima_model ar = {};
    ar.p = 2;
    ar.phi[0] = 1.2, ar.phi[1] = -.5;
    struct arima_model arma = {};
    arma.p = 1, arma.q = 1, arma.d = 2;
    arma.phi[0] = .7, arma.theta[0] = .5;
    for (const struct arima_model &truth : {model_515(), ma, ar, arma}) {
        std::vector<double> x = simulate(truth, 10000, 11, nullptr);
        struct arima_model m = {};
        m.p = truth.p, m.d = truth.d, m.q = truth.q;
        ASSERT_TRUE(fit(&m, {x.begin(), x.begin() + 5000}));
        // Judged on the 5,000 points that the fit has not seen.
        double best = one_step(truth, x, 5000), got = one_step(m, x, 5000);
        EXPECT_LT(std::sqrt(got), 1.05 * std::sqrt(best)) << truth.p << truth.d << truth.q;
        EXPECT_NEAR(best, 1, 0.1) << "the simulated residuals have variance 1";
    }
}

TEST(ArimaModel, ResidualsAreThoseThatMadeTheSeries)
{
    const struct arima_model m = model_515();
    std::vector<double> made, x = simulate(m, 400, 7, &made);
    const struct arima_tail tail = tail_of(m, x, 400);
    for (uint32_t j = 0; j < m.q; j++)
        EXPECT_NEAR(tail.e[j], made[399 - j], 1e-6);
    for (uint32_t i = 0; i < m.p; i++)
        EXPECT_NEAR(tail.y[i], x[399 - i] - x[398 - i], 1e-12);
    EXPECT_EQ(tail.level[0], x[399]);
}

TEST(ArimaModel, StableMeansEveryRootIsOutside)
{
    // (1 - r1 z)(1 - r2 z)(1 - r3 z) has its roots at 1 / r.
    for (double r1 : {-1.1, -0.9, 0.0, 0.5, 0.95, 1.0, 1.3})
        for (double r2 : {-1.01, -0.6, 0.3, 0.9, 1.02})
            for (double r3 : {-0.8, 0.1, 1.0}) {
                const double a[3] = {r1 + r2 + r3, -(r1 * r2 + r1 * r3 + r2 * r3), r1 * r2 * r3};
                bool outside = std::fabs(r1) < 1 && std::fabs(r2) < 1 && std::fabs(r3) < 1;
                EXPECT_EQ(arima_model_roots_outside(a, 3), outside) << r1 << " " << r2 << " " << r3;
            }
    const double nan[2] = {NAN, 0.1};
    EXPECT_FALSE(arima_model_roots_outside(nan, 2));
}

TEST(ArimaModel, RefusesSingularAndExplodingSeries)
{
    struct arima_model m = {};
    m.p = 5, m.d = 1, m.q = 5;
    EXPECT_FALSE(fit(&m, std::vector<double>(200, 0.0))) << "constant";
    std::vector<double> line(200), explosive(200), nan(200, NAN);
    for (int t = 0; t < 200; t++) {
        line[t] = 0.001 * t;
        explosive[t] = std::pow(1.1, t);
    }
    EXPECT_FALSE(fit(&m, line)) << "differences are constant: all lags are the same";
    EXPECT_FALSE(fit(&m, nan));
    struct arima_model ar = {};
    ar.p = 1;
    EXPECT_FALSE(fit(&ar, explosive)) << "not stationary";
    EXPECT_FALSE(fit(&m, simulate(model_515(), 40, 1, nullptr))) << "too few points";
    EXPECT_TRUE(fit(&m, simulate(model_515(), 160, 1, nullptr)));
}

TEST(ArimaModel, WithoutDifferencesItReturnsToTheMean)
{
    struct arima_model truth = {};
    truth.p = 1;
    truth.phi[0] = .8;
    std::vector<double> x = simulate(truth, 2000, 3, nullptr);
    double mean = 0;
    for (double &v : x)
        mean += (v += 50) / 2000;
    struct arima_model m = {};
    m.p = 1;
    ASSERT_TRUE(fit(&m, x));
    EXPECT_NEAR(m.mean, mean, 1e-9);
    EXPECT_NEAR(m.phi[0], .8, .05);
    const struct arima_tail tail = tail_of(m, x, 2000);
    EXPECT_NEAR(arima_model_forecast(&m, &tail, 1), mean + m.phi[0] * (x[1999] - mean), 1e-9);
    EXPECT_NEAR(arima_model_forecast(&m, &tail, 1000), mean, 1e-6);
}

TEST(ArimaModel, TwoDifferencesContinueALine)
{
    struct arima_model m = {};
    m.p = 1, m.d = 2;
    m.phi[0] = .5;
    std::vector<double> x = {1, 2, 3, 4, 5, 6};
    const struct arima_tail tail = tail_of(m, x, 6);
    // The first second difference is 0 as well, so nothing but the slope is left.
    EXPECT_NEAR(arima_model_forecast(&m, &tail, 10), 16, 1e-9);
}

TEST(ArimaModel, StoppingEarlyChangesNothing)
{
    const struct arima_model m = model_515();
    std::vector<double> x = simulate(m, 300, 9, nullptr);
    const struct arima_tail tail = tail_of(m, x, 300);
    double last = arima_model_forecast(&m, &tail, 400);
    EXPECT_NEAR(arima_model_forecast(&m, &tail, 100000), last, 1e-9);
    EXPECT_NEAR(arima_model_forecast(&m, &tail, 200), last, 1e-9);
}

TEST(ArimaModel, Differences)
{
    std::vector<double> x = {1, 4, 9, 16, 25};
    EXPECT_EQ(arima_model_difference(x.data(), 5, 2), 3u);
    EXPECT_EQ(x[0], 2);
    EXPECT_EQ(x[2], 2);
    EXPECT_EQ(arima_model_difference(x.data(), 2, 5), 0u);
}

} // namespace
