/* That the gaps are spread as they should be is shown by two tests of their distribution,
 * chi-square over twenty equally likely cells and Kolmogorov-Smirnov, each at one in a thousand.
 * Seeds are fixed, so the tests pass always or never. */
#include "clients/bench/arrivals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace {

std::vector<uint64_t> decide(const arrivals &a, uint32_t count)
{
    std::vector<uint64_t> times(count);
    arrivals_decide(&a, count, times.data());
    return times;
}

std::vector<double> gaps_s(const std::vector<uint64_t> &times)
{
    std::vector<double> out;
    uint64_t before = 0;
    for (uint64_t t : times) {
        out.push_back((double)(t - before) * 1e-9);
        before = t;
    }
    return out;
}

/* The share of a gamma distribution (scale 1) below x: a series of the incomplete gamma
 * function. */
double gamma_below(double shape, double x)
{
    double term = 1 / shape, sum = term;
    for (int n = 1; n < 2000 && term > sum * 1e-15; n++) {
        term *= x / (shape + n);
        sum += term;
    }
    return x <= 0 ? 0 : std::min(1.0, sum * exp(-x + shape * log(x) - lgamma(shape)));
}

void expect_gamma(double rate, double burstiness, uint64_t seed)
{
    const uint32_t n = 20000;
    const int cells = 20;
    auto gaps = gaps_s(decide({rate, burstiness, ARRIVALS_STEADY, 0, 0, seed}, n));
    std::sort(gaps.begin(), gaps.end());
    std::vector<double> seen(cells);
    double farthest = 0;
    for (uint32_t i = 0; i < n; i++) {
        double below = gamma_below(burstiness, gaps[i] * rate * burstiness);
        seen[std::min(cells - 1, (int)(below * cells))]++;
        farthest = std::max({farthest, fabs(below - (double)i / n), fabs(below - (i + 1.0) / n)});
    }
    double chi = 0;
    for (double k : seen)
        chi += (k - n / cells) * (k - n / cells) / (n / cells);
    EXPECT_LT(chi, 43.8) << burstiness; /* 19 degrees of freedom */
    EXPECT_LT(farthest, 1.95 / sqrt(n)) << burstiness;
}

TEST(arrivals, gaps_of_burstiness_1_are_exponential)
{
    for (uint64_t seed : {0, 1, 2})
        expect_gamma(50, 1, seed);
}

TEST(arrivals, gaps_of_other_burstiness_are_gamma)
{
    for (double burstiness : {0.3, 0.7, 2.0, 9.0})
        expect_gamma(12.5, burstiness, 5);
}

TEST(arrivals, the_test_tells_distributions_apart)
{
    auto gaps = gaps_s(decide({50, 1.3, ARRIVALS_STEADY, 0, 0, 0}, 20000));
    std::sort(gaps.begin(), gaps.end());
    double farthest = 0;
    for (size_t i = 0; i < gaps.size(); i++)
        farthest = std::max(farthest, fabs(gamma_below(1, gaps[i] * 50) - (double)i / gaps.size()));
    EXPECT_GT(farthest, 1.95 / sqrt(20000));
}

TEST(arrivals, gaps_sum_to_what_the_rate_asks_for)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        auto times = decide({8, 0.5, ARRIVALS_STEADY, 0, 0, seed}, 400);
        EXPECT_NEAR(50e9, (double)times.back(), 1000) << seed;
        EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
        EXPECT_GT(times[0], 0u);
    }
}

TEST(arrivals, the_seed_decides)
{
    arrivals a = {10, 1, ARRIVALS_STEADY, 0, 0, 3};
    auto once = decide(a, 100);
    EXPECT_EQ(once, decide(a, 100));
    a.seed = 4;
    EXPECT_NE(once, decide(a, 100));
}

TEST(arrivals, without_a_rate_all_go_at_once)
{
    for (uint64_t t : decide({INFINITY, 1, ARRIVALS_STEADY, 0, 0, 0}, 10))
        EXPECT_EQ(0u, t);
}

TEST(arrivals, endless_burstiness_is_a_clock)
{
    auto times = decide({4, INFINITY, ARRIVALS_STEADY, 0, 0, 0}, 5);
    EXPECT_EQ((std::vector<uint64_t>{250000000, 500000000, 750000000, 1000000000, 1250000000}),
              times);
}

TEST(arrivals, ramps_go_from_one_rate_to_the_other)
{
    arrivals linear = {INFINITY, INFINITY, ARRIVALS_LINEAR, 2, 10, 0};
    EXPECT_DOUBLE_EQ(2, arrivals_rate(&linear, 0, 5));
    EXPECT_DOUBLE_EQ(6, arrivals_rate(&linear, 2, 5));
    EXPECT_DOUBLE_EQ(10, arrivals_rate(&linear, 4, 5));
    arrivals exponential = {INFINITY, INFINITY, ARRIVALS_EXPONENTIAL, 1, 16, 0};
    EXPECT_DOUBLE_EQ(1, arrivals_rate(&exponential, 0, 5));
    EXPECT_DOUBLE_EQ(4, arrivals_rate(&exponential, 2, 5));
    EXPECT_DOUBLE_EQ(16, arrivals_rate(&exponential, 4, 5));
    EXPECT_DOUBLE_EQ(1, arrivals_rate(&exponential, 0, 1));
    auto times = decide(linear, 3); /* 1/2 + 1/6 + 1/10 s */
    EXPECT_NEAR(766666667, (double)times.back(), 2);
    EXPECT_GT(times[0], times[2] - times[1]);
}

TEST(arrivals, a_ramp_with_bursts_lasts_as_long_as_one_without)
{
    arrivals even = {INFINITY, INFINITY, ARRIVALS_EXPONENTIAL, 5, 50, 1}, bursts = even;
    bursts.burstiness = 0.4;
    EXPECT_NEAR((double)decide(even, 200).back(), (double)decide(bursts, 200).back(), 100);
}

} // namespace
