/* Expected are the numbers of numpy's definitions: np.percentile(x, p), np.std(x), np.median(x). */
#include "clients/bench/figures.h"

#include <gtest/gtest.h>

#include <vector>

namespace {

TEST(figures, as_numpy_counts_them)
{
    std::vector<double> x = {9, 1, 4, 7.5, 2, 2, 30};
    percentiles ranks = {5, {0, 25, 90, 99, 100}};
    figures f;
    figures_of(x.data(), x.size(), &ranks, &f);
    EXPECT_EQ(7u, f.count);
    EXPECT_DOUBLE_EQ(7.928571428571429, f.mean);
    EXPECT_DOUBLE_EQ(4, f.median);
    EXPECT_NEAR(9.428030287501246, f.std, 1e-12);
    EXPECT_DOUBLE_EQ(1, f.percentile[0]);
    EXPECT_DOUBLE_EQ(2, f.percentile[1]);
    EXPECT_NEAR(17.4, f.percentile[2], 1e-12);
    EXPECT_NEAR(28.74, f.percentile[3], 1e-12);
    EXPECT_DOUBLE_EQ(30, f.percentile[4]);
}

TEST(figures, an_even_count_has_its_median_between_two)
{
    std::vector<double> x = {3, 1};
    percentiles ranks = {1, {75}};
    figures f;
    figures_of(x.data(), x.size(), &ranks, &f);
    EXPECT_DOUBLE_EQ(2, f.median);
    EXPECT_DOUBLE_EQ(2.5, f.percentile[0]);
    EXPECT_DOUBLE_EQ(1, f.std);
}

TEST(figures, of_one_and_of_none)
{
    percentiles ranks = {2, {50, 99}};
    figures f;
    double one = 5;
    figures_of(&one, 1, &ranks, &f);
    EXPECT_EQ(5, f.mean);
    EXPECT_EQ(5, f.median);
    EXPECT_EQ(0, f.std);
    EXPECT_EQ(5, f.percentile[1]);
    figures_of(&one, 0, &ranks, &f);
    EXPECT_EQ(0u, f.count);
    EXPECT_EQ(0, f.mean);
    EXPECT_EQ(0, f.percentile[1]);
}

} // namespace
