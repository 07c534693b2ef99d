/* The AVX-512 gather of the fields that it takes, against their definition. */
#include "tests/engine/quant/packed_gather_checks.h"

#if defined(__x86_64__)
TEST(packed_gather_avx512, fields_of_dwords_by_fours)
{
    if (!__builtin_cpu_supports("avx512f"))
        GTEST_SKIP() << "this processor has no AVX-512";
    for (uint32_t units : {4u, 8u, 16u, 32u})
        check_gather(packed_gather_avx512, PACKED_ROWS, 4, units);
}

TEST(packed_gather_avx512, knows_what_it_can)
{
    struct packed_gather g = {};
    g.rows = 16;
    g.unit_bytes = 4;
    g.units = 8;
    EXPECT_TRUE(packed_gather_avx512_can(&g));
    g.units = 3;
    EXPECT_FALSE(packed_gather_avx512_can(&g));
    g.units = 4;
    g.unit_bytes = 2;
    EXPECT_FALSE(packed_gather_avx512_can(&g));
    g.unit_bytes = 4;
    g.rows = 15;
    EXPECT_FALSE(packed_gather_avx512_can(&g));
}
#else
TEST(packed_gather_avx512, is_for_x86)
{
    GTEST_SKIP() << "not an x86-64 build";
}
#endif
