#include "clients/bench/rng.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace {

TEST(rng, the_same_seed_gives_the_same_numbers)
{
    rng a, b, c;
    rng_init(&a, 7);
    rng_init(&b, 7);
    rng_init(&c, 8);
    bool differs = false;
    for (int i = 0; i < 100; i++) {
        uint64_t x = rng_next(&a);
        EXPECT_EQ(x, rng_next(&b));
        differs |= x != rng_next(&c);
    }
    EXPECT_TRUE(differs);
}

TEST(rng, below_reaches_each_number_about_equally_often)
{
    rng r;
    rng_init(&r, 1);
    std::vector<int> times(10);
    for (int i = 0; i < 100000; i++)
        times[rng_below(&r, 10)]++;
    double chi = 0;
    for (int n : times)
        chi += (n - 10000.0) * (n - 10000.0) / 10000;
    EXPECT_LT(chi, 27.9); /* 9 degrees of freedom, one in a thousand */
    EXPECT_EQ(0u, rng_below(&r, 1));
}

void expect_moments(double shape, double scale)
{
    rng r;
    rng_init(&r, (uint64_t)(shape * 1000));
    const int n = 200000;
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++) {
        double x = rng_gamma(&r, shape, scale);
        ASSERT_GE(x, 0);
        sum += x;
        squares += x * x;
    }
    double mean = sum / n, variance = squares / n - mean * mean;
    EXPECT_NEAR(shape * scale, mean, 0.02 * shape * scale) << shape;
    EXPECT_NEAR(shape * scale * scale, variance, 0.06 * shape * scale * scale) << shape;
}

TEST(rng, gamma_has_its_mean_and_variance)
{
    for (double shape : {0.2, 0.5, 1.0, 2.5, 30.0})
        expect_moments(shape, 3);
}

TEST(rng, normal_has_mean_0_and_variance_1)
{
    rng r;
    rng_init(&r, 3);
    double sum = 0, squares = 0;
    for (int i = 0; i < 200000; i++) {
        double x = rng_normal(&r);
        sum += x;
        squares += x * x;
    }
    EXPECT_NEAR(0, sum / 200000, 0.01);
    EXPECT_NEAR(1, squares / 200000, 0.02);
}

} // namespace
