#include "server/bench/bench_figures.h"

#include <gtest/gtest.h>

#include <cmath>

namespace {

TEST(bench_figures, speeds_have_mean_deviation_and_middle)
{
    const uint64_t samples[] = {4000000000u, 1000000000u, 2000000000u};
    double spare[3];
    struct bench_speed s;
    bench_speed_of(samples, 3, 8, spare, &s);
    EXPECT_DOUBLE_EQ(7e9 / 3, s.avg_ns);
    EXPECT_NEAR(1.527525e9, s.stddev_ns, 1e3);
    EXPECT_DOUBLE_EQ(2e9, s.median_ns);
    EXPECT_DOUBLE_EQ(14.0 / 3, s.avg_ts); /* of 2, 8, 4 */
    EXPECT_NEAR(3.05505, s.stddev_ts, 1e-5);
    EXPECT_DOUBLE_EQ(4, s.median_ts);
    EXPECT_DOUBLE_EQ(2, s.min_ts);
    EXPECT_DOUBLE_EQ(8, s.max_ts);
    bench_speed_of(samples, 2, 8, spare, &s);
    EXPECT_DOUBLE_EQ(5, s.median_ts);
    bench_speed_of(samples, 1, 8, spare, &s);
    EXPECT_EQ(0, s.stddev_ns);
    EXPECT_DOUBLE_EQ(2, s.median_ts);
}

/* 2 layers, hidden 8, 2 heads of 4, 1 KV head, 4 experts of width 6, top 2, vocabulary 10. */
struct engine_info small(bool tied)
{
    struct engine_info i = {};
    i.layers = 2;
    i.hidden = 8;
    i.heads = 2;
    i.kv_heads = 1;
    i.head_dim = 4;
    i.experts = 4;
    i.top_k = 2;
    i.expert_width = 6;
    i.vocab = 10;
    i.weight_dtype = "Q4_0";
    i.pages = 8;
    i.page_bytes_total = 8 * 100;
    i.token_bytes = 1000 + 2 * 2 * 100;
    i.kv_blocks = 3;
    i.kv_block_tokens = 5;
    i.kv_bytes = 15 * 32;
    uint64_t layer = 8 * 4 * (2 * 2 + 2) + 8 * 4 + 3 * 2 * 8 * 6 + 16; /* 16: norms */
    i.active_parameters = 2 * layer + 80 + (tied ? 0 : 80) + 8;
    return i;
}

TEST(bench_figures, work_is_what_the_steps_read_and_multiply)
{
    const uint64_t body = 2 * (192 + 32 + 288 + 16) + 8;
    struct bench_totals t = {};
    t.steps = 3;
    t.rows = 7;
    t.sampled = 2;
    t.attended = 50;
    t.attended_alone = 20;
    t.usage.hits = 9;
    t.usage.misses = 4;
    t.storage_bytes = 444;
    for (bool tied : {false, true}) {
        struct engine_info info = small(tied);
        struct bench_work w;
        bench_work_of(&info, &t, false, &w);
        EXPECT_DOUBLE_EQ(3 * 1000 + 13 * 100 + 20 * 32, w.bytes);
        EXPECT_DOUBLE_EQ(2.0 * body * 7 + 2 * 80 * 2, w.weight_ops) << tied;
        EXPECT_DOUBLE_EQ(4.0 * 2 * 4 * 2 * 50, w.attention_ops);
        EXPECT_DOUBLE_EQ(444, w.storage_bytes);
    }
}

TEST(bench_figures, block_formats_are_multiplied_as_bytes)
{
    struct engine_info info = small(false);
    struct bench_totals t = {};
    struct bench_work w;
    const struct {
        const char *dtypes;
        bool exact, int8;
    } cases[] = {{"Q4_0", false, true},     {"Q4_0", true, false},  {"F32", false, false},
                 {"BF16", false, false},    {"F16", false, false},  {"F32+BF16", false, false},
                 {"F32+Q6_K", false, true}, {"Q4_K+Q6_K", false, true}};
    for (const auto &c : cases) {
        info.weight_dtype = c.dtypes;
        bench_work_of(&info, &t, c.exact, &w);
        EXPECT_EQ(c.int8, w.int8) << c.dtypes;
    }
}

TEST(bench_figures, the_slowest_of_three_is_the_bound)
{
    struct bench_rates rates = {};
    rates.memory = 100;
    rates.f32 = 10;
    rates.int8 = 1000;
    rates.storage = 5;
    struct bench_work work = {.bytes = 50, .weight_ops = 2, .attention_ops = 1, .storage_bytes = 1,
                              .int8 = false};
    struct bench_bound b = bench_bound_of(&work, &rates);
    EXPECT_STREQ("memory", b.by);
    EXPECT_DOUBLE_EQ(0.5e9, b.ns);
    work.weight_ops = 9;
    b = bench_bound_of(&work, &rates);
    EXPECT_STREQ("arithmetic", b.by);
    EXPECT_DOUBLE_EQ(1e9, b.ns);
    work.int8 = true; /* 9 / 1000 + 1 / 10 */
    EXPECT_STREQ("memory", bench_bound_of(&work, &rates).by);
    work.storage_bytes = 10;
    b = bench_bound_of(&work, &rates);
    EXPECT_STREQ("storage", b.by);
    EXPECT_DOUBLE_EQ(2e9, b.ns);
    rates = {};
    EXPECT_EQ(0, bench_bound_of(&work, &rates).ns);
}

} // namespace
