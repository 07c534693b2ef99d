#include "engine/replay/memory_need.h"

#include <cstring>

#include "tests/engine/replay/toy_trace.h"
#include "tests/support/scratch.h"

namespace {

struct memory_need_config uniform()
{
    struct memory_need_config c = {};
    c.layers = 10;
    c.experts = 20;
    c.top_k = 2;
    c.replay.page_bytes = 50000; // 50 us
    c.replay.link_gbps = 1;
    c.replay.step_us = 1000;
    return c;
}

TEST(MemoryNeed, UniformRoutingHitsByShare)
{
    struct memory_need_config c = uniform();
    struct memory_need n;
    ASSERT_EQ(STATUS_OK, memory_need_at(&c, 50, &n, nullptr));
    EXPECT_EQ(n.ring_bytes, 50u * 50000);
    EXPECT_DOUBLE_EQ(n.hit_rate, 0.25);
    EXPECT_DOUBLE_EQ(n.tokens_per_s, 1e6 / (1000 + 20 * 0.75 * 50));
    ASSERT_EQ(STATUS_OK, memory_need_at(&c, 1000, &n, nullptr));
    EXPECT_EQ(n.slots, 200u);
    EXPECT_DOUBLE_EQ(n.tokens_per_s, memory_need_resident_tps(&c));
    EXPECT_DOUBLE_EQ(memory_need_resident_tps(&c), 1000);
    EXPECT_DOUBLE_EQ(memory_need_link_tps(&c), 500);
}

TEST(MemoryNeed, FindsTheSmallestRing)
{
    struct memory_need_config c = uniform();
    struct memory_need n, less;
    for (double target : {500.0, 501.0, 640.0, 999.0, 1000.0}) {
        ASSERT_EQ(STATUS_OK, memory_need_for(&c, target, &n, nullptr));
        EXPECT_GE(n.tokens_per_s, target);
        if (n.slots == 1)
            continue;
        ASSERT_EQ(STATUS_OK, memory_need_at(&c, n.slots - 1, &less, nullptr));
        EXPECT_LT(less.tokens_per_s, target) << target;
    }
    EXPECT_EQ(n.slots, 200u);
    ASSERT_EQ(STATUS_OK, memory_need_for(&c, 1, &n, nullptr));
    EXPECT_EQ(n.slots, 1u);
}

TEST(MemoryNeed, SaysWhatIsOutOfReach)
{
    struct memory_need_config c = uniform();
    struct memory_need n;
    struct error error = {};
    EXPECT_EQ(STATUS_INVALID, memory_need_for(&c, 1001, &n, &error));
    EXPECT_NE(std::strstr(error.text, "1001 tokens/s"), nullptr) << error.text;
    EXPECT_NE(std::strstr(error.text, "it is 1000"), nullptr) << error.text;
}

TEST(MemoryNeed, ReplaysATrace)
{
    scratch::Random random(8);
    std::vector<uint8_t> ids(300 * 2);
    for (uint8_t &id : ids)
        id = static_cast<uint8_t>(random.chance(70) ? random.below(3) : random.below(16));
    ToyTrace toy(2, 16, 1, {{300}}, ids);
    struct memory_need_config c = uniform();
    c.schedule = toy.lay_out();
    struct memory_need n, less;
    ASSERT_EQ(STATUS_OK, memory_need_for(&c, 960, &n, nullptr));
    EXPECT_GE(n.tokens_per_s, 960);
    EXPECT_LT(n.slots, 32u);
    ASSERT_EQ(STATUS_OK, memory_need_at(&c, n.slots - 1, &less, nullptr));
    EXPECT_LT(less.tokens_per_s, 960);
    EXPECT_GT(n.hit_rate, n.slots / 32.0); // routing that repeats itself needs less
    EXPECT_DOUBLE_EQ(memory_need_resident_tps(&c), 1000);
    EXPECT_DOUBLE_EQ(memory_need_link_tps(&c), 1e6 / 1100);
    c.schedule = toy.lay_out(4);
    EXPECT_DOUBLE_EQ(memory_need_resident_tps(&c), 300 / 300e-6 / 1000);
}

} // namespace
