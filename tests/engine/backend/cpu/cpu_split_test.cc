/* Every unit in one part, parts that shrink, and nothing shared out that is too small for it. */
#include "engine/backend/cpu/cpu_split.h"

#include <gtest/gtest.h>

#include <algorithm>

TEST(cpu_split, covers_every_unit_once_in_the_order_of_handing_out)
{
    for (uint32_t threads : {1u, 2u, 7u, 256u}) {
        for (uint64_t units : {0ull, 1ull, 2ull, 15ull, 16ull, 17ull, 1000ull, 151936ull,
                               0xffffffffull, 1ull << 40}) {
            for (uint64_t cost : {1ull, 1000ull, 100000ull, 10000000ull, 1ull << 50}) {
                for (uint32_t align : {1u, 16u, 100u}) {
                    struct cpu_split s = cpu_split_make(threads, units, align, cost);
                    uint64_t next = 0;
                    for (uint32_t part = s.parts; part-- > 0;) {
                        ASSERT_EQ(cpu_split_begin(&s, part), next);
                        ASSERT_GT(cpu_split_end(&s, part), next);
                        next = cpu_split_end(&s, part);
                        ASSERT_TRUE(next % align == 0 || next == units);
                    }
                    ASSERT_EQ(next, units);
                    if (cost <= 1000 || threads == 1) {
                        ASSERT_LE(s.parts, 1u) << "too small to share";
                    }
                }
            }
        }
    }
}

TEST(cpu_split, the_last_parts_are_small_and_the_first_are_fair)
{
    for (uint32_t threads : {2u, 3u, 16u}) {
        const uint64_t units = 1 << 20;
        struct cpu_split s = cpu_split_make(threads, units, 1, 1ull << 40);
        uint64_t first = cpu_split_end(&s, s.parts - 1) - cpu_split_begin(&s, s.parts - 1);
        uint64_t last = cpu_split_end(&s, 0) - cpu_split_begin(&s, 0);
        EXPECT_LE(first, units / threads);
        EXPECT_LE(last, units / threads / 32 + 1);
        EXPECT_LE(s.parts, 6 * threads) << "each is claimed";
        for (uint32_t part = 1; part < s.parts; part++)
            EXPECT_GE(cpu_split_end(&s, part) - cpu_split_begin(&s, part) + 1,
                      cpu_split_end(&s, part - 1) - cpu_split_begin(&s, part - 1));
    }
}

/* Two threads that take parts as they become free, one of them half as fast or late. */
TEST(cpu_split, evens_out_a_slow_or_late_thread)
{
    const uint64_t units = 128, cost_per_unit = 18432; /* a matrix of 2048 x 2048 in 4 bits */
    for (uint64_t slower : {1u, 2u}) {
        for (uint64_t late : {0u, 100000u}) {
            struct cpu_split s = cpu_split_make(2, units, 1, units * cost_per_unit);
            uint64_t busy[2] = {0, late};
            for (uint32_t part = s.parts; part-- > 0;) {
                int w = busy[1] < busy[0];
                uint64_t n = cpu_split_end(&s, part) - cpu_split_begin(&s, part);
                busy[w] += n * cost_per_unit * (w == 1 ? slower : 1);
            }
            uint64_t end = std::max(busy[0], busy[1]), least = std::min(busy[0], busy[1]);
            EXPECT_LE(end - least, end / 20) << slower << " " << late;
        }
    }
}
