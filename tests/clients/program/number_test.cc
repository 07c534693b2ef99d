#include "clients/program/number.h"

#include <gtest/gtest.h>

#include <clocale>
#include <cmath>

namespace {

TEST(number, whole_numbers_and_their_ends)
{
    uint64_t n = 1;
    EXPECT_TRUE(number_u64("18446744073709551615", UINT64_MAX, &n));
    EXPECT_EQ(UINT64_MAX, n);
    EXPECT_TRUE(number_u64("0", 0, &n));
    EXPECT_EQ(0u, n);
    EXPECT_FALSE(number_u64("8", 7, &n));
    for (const char *wrong : {"", " 1", "1 ", "+1", "-1", "0x10", "1.0", "1e3", "x",
                              "18446744073709551616"})
        EXPECT_FALSE(number_u64(wrong, UINT64_MAX, &n)) << wrong;
}

TEST(number, ranges_of_32_bits)
{
    uint32_t n = 0;
    EXPECT_TRUE(number_u32("4294967295", 0, UINT32_MAX, &n));
    EXPECT_EQ(UINT32_MAX, n);
    EXPECT_TRUE(number_u32("1", 1, 9, &n));
    EXPECT_FALSE(number_u32("0", 1, 9, &n));
    EXPECT_FALSE(number_u32("10", 1, 9, &n));
    EXPECT_FALSE(number_u32("4294967296", 0, UINT32_MAX, &n));
    int32_t i = 0;
    EXPECT_TRUE(number_i32("-2147483647", &i));
    EXPECT_EQ(-2147483647, i);
    EXPECT_TRUE(number_i32("2147483647", &i));
    for (const char *wrong : {"", "-", "--1", "2147483648", "-2147483648", "1.5"})
        EXPECT_FALSE(number_i32(wrong, &i)) << wrong;
}

TEST(number, reals)
{
    double x = 0;
    EXPECT_TRUE(number_real("-1.5e3", &x));
    EXPECT_EQ(-1500, x);
    EXPECT_TRUE(number_real("inf", &x));
    EXPECT_TRUE(std::isinf(x));
    EXPECT_TRUE(number_real(".5", &x));
    for (const char *wrong : {"", " 1", "\t1", "1 ", "0x10", "nan", "-nan", "1,5", "x", "1x"})
        EXPECT_FALSE(number_real(wrong, &x)) << wrong;
    EXPECT_TRUE(number_size("0", &x));
    EXPECT_FALSE(number_size("-0.1", &x));
    EXPECT_FALSE(number_size("inf", &x));
    EXPECT_FALSE(number_positive("0", true, &x));
    EXPECT_TRUE(number_positive("inf", true, &x));
    EXPECT_FALSE(number_positive("inf", false, &x));
    EXPECT_FALSE(number_positive("1e999", false, &x)) << "it overflows";
}

TEST(number, seconds_are_rounded_up)
{
    uint64_t ms = 7;
    EXPECT_TRUE(number_seconds("1.5", &ms));
    EXPECT_EQ(1500u, ms);
    EXPECT_TRUE(number_seconds("0.0001", &ms));
    EXPECT_EQ(1u, ms);
    EXPECT_TRUE(number_seconds("0", &ms));
    EXPECT_EQ(0u, ms);
    for (const char *wrong : {"-1", "1e8", "inf", "1s", ""})
        EXPECT_FALSE(number_seconds(wrong, &ms)) << wrong;
}

} // namespace
