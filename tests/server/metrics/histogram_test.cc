#include "server/metrics/histogram.h"

#include <gtest/gtest.h>

#include <numeric>

namespace {

const double bounds[] = {1, 2.5, 10};

TEST(histogram, a_value_at_a_bound_is_below_it)
{
    struct histogram h;
    histogram_init(&h, bounds, 3);
    for (double value : {0.0, 1.0, 1.001, 2.5, 2.6, 10.0, 10.1, 1e9})
        histogram_observe(&h, value, 1);
    EXPECT_EQ(2u, h.in[0]);
    EXPECT_EQ(2u, h.in[1]);
    EXPECT_EQ(2u, h.in[2]);
    EXPECT_EQ(2u, h.in[3]);
    EXPECT_EQ(8u, h.observed);
    EXPECT_DOUBLE_EQ(0.0 + 1 + 1.001 + 2.5 + 2.6 + 10 + 10.1 + 1e9, h.sum);
}

TEST(histogram, many_values_of_a_size)
{
    struct histogram h;
    histogram_init(&h, bounds, 3);
    histogram_observe(&h, 2, 5);
    histogram_observe(&h, 7, 0);
    EXPECT_EQ(5u, h.in[1]);
    EXPECT_EQ(0u, h.in[2]);
    EXPECT_EQ(5u, h.observed);
    EXPECT_DOUBLE_EQ(10, h.sum);
    histogram_init(&h, bounds, 2);
    EXPECT_EQ(0u, h.observed) << "init empties";
    histogram_observe(&h, 7, 1);
    EXPECT_EQ(1u, h.in[2]) << "the last is above all bounds";
}

TEST(histogram, as_many_bounds_as_there_is_room_for)
{
    double many[HISTOGRAM_BOUNDS_MAX];
    std::iota(many, many + HISTOGRAM_BOUNDS_MAX, 1.0);
    struct histogram h;
    histogram_init(&h, many, HISTOGRAM_BOUNDS_MAX);
    for (int i = 0; i <= HISTOGRAM_BOUNDS_MAX; i++)
        histogram_observe(&h, i + 0.5, 1);
    for (int i = 0; i <= HISTOGRAM_BOUNDS_MAX; i++)
        EXPECT_EQ(1u, h.in[i]) << i;
    EXPECT_DEATH(histogram_init(&h, many, HISTOGRAM_BOUNDS_MAX + 1), "");
}

TEST(histogram, one_two_five)
{
    double b[HISTOGRAM_BOUNDS_MAX];
    ASSERT_EQ(1u, histogram_125(1, b));
    EXPECT_EQ(1, b[0]);
    ASSERT_EQ(8u, histogram_125(128, b)); /* 1 2 5 10 20 50 100 200 */
    EXPECT_EQ(5, b[2]);
    EXPECT_EQ(10, b[3]);
    EXPECT_EQ(200, b[7]);
    ASSERT_EQ(7u, histogram_125(100, b)) << "up to the first that is not below";
    EXPECT_EQ(100, b[6]);
    ASSERT_EQ((uint32_t)HISTOGRAM_BOUNDS_MAX, histogram_125(1e300, b));
    EXPECT_EQ(2e10, b[HISTOGRAM_BOUNDS_MAX - 1]);
}

} // namespace
