#include "server/bench/bench_run.h"

#include "tests/server/toy_engine.h"

namespace {

class BenchRun : public testing::Test {
  protected:
    void open()
    {
        struct error error = {};
        ASSERT_EQ(STATUS_OK, engine_open(&run.engine, &toy.config, &error)) << error.text;
    }
    void TearDown() override { engine_close(run.engine); }
    struct bench_totals once(struct bench_test test)
    {
        struct bench_totals totals = {};
        struct error error = {};
        uint64_t ns = 0;
        EXPECT_EQ(STATUS_OK, bench_run_once(&run, &test, &ns, &totals, &error)) << error.text;
        EXPECT_GT(ns, 0u);
        return totals;
    }
    toy_engine::Folder toy;
    struct bench_run run = {};
};

TEST_F(BenchRun, a_prompt_goes_in_steps_and_samples_once)
{
    open();
    struct bench_totals t = once({.prompt = 20, .gen = 0, .depth = 0, .sequences = 1});
    EXPECT_EQ(2u, t.steps) << "16 tokens fit into a step";
    EXPECT_EQ(20u, t.rows);
    EXPECT_EQ(1u, t.sampled);
    EXPECT_EQ(20u * 21 / 2, t.attended);
    EXPECT_EQ(0u, t.attended_alone);
    t = once({.prompt = 4, .gen = 0, .depth = 10, .sequences = 1});
    EXPECT_EQ(1u, t.steps) << "the depth is not measured";
    EXPECT_EQ(11u + 12 + 13 + 14, t.attended);
}

TEST_F(BenchRun, sequences_generate_together)
{
    open();
    struct bench_totals t = once({.prompt = 0, .gen = 5, .depth = 3, .sequences = 4});
    EXPECT_EQ(5u, t.steps);
    EXPECT_EQ(20u, t.rows);
    EXPECT_EQ(20u, t.sampled);
    EXPECT_EQ(4u * (4 + 5 + 6 + 7 + 8), t.attended);
    EXPECT_EQ(t.attended, t.attended_alone);
    t = once({.prompt = 6, .gen = 2, .depth = 0, .sequences = 1});
    EXPECT_EQ(3u, t.steps);
    EXPECT_EQ(6u * 7 / 2 + 7 + 8, t.attended);
    EXPECT_EQ(7u + 8, t.attended_alone);
    EXPECT_EQ(3u, t.sampled);
}

TEST_F(BenchRun, paging_is_counted_for_the_measured_steps_alone)
{
    struct error error = {};
    ASSERT_EQ(STATUS_OK, room_parse("ring", "50%", &toy.config.device_experts, &error));
    toy.config.prefetch = PREFETCH_OFF;
    open();
    struct bench_totals sum = {};
    uint64_t ns;
    struct bench_test test = {.prompt = 0, .gen = 8, .depth = 12, .sequences = 2};
    ASSERT_EQ(STATUS_OK, bench_run_once(&run, &test, &ns, &sum, &error));
    EXPECT_EQ(sum.usage.bytes, sum.storage_bytes);
    EXPECT_GT(sum.usage.misses, 0u);
    const struct engine_info *info = engine_info(run.engine);
    uint64_t most = (uint64_t)info->layers * info->top_k * 16;
    EXPECT_LE(sum.usage.hits + sum.usage.misses, most);
    EXPECT_GE(sum.usage.hits + sum.usage.misses, most / 2);
    EXPECT_EQ(0u, engine_info(run.engine)->kv_blocks - engine_kv_blocks_free(run.engine))
        << "sequences are closed";
}

TEST_F(BenchRun, a_test_that_does_not_fit_is_refused)
{
    open();
    struct bench_totals totals = {};
    struct error error = {};
    uint64_t ns;
    struct bench_test test = {.prompt = 129, .gen = 0, .depth = 0, .sequences = 1};
    EXPECT_EQ(STATUS_INVALID, bench_run_once(&run, &test, &ns, &totals, &error));
    EXPECT_EQ(0u, totals.steps);
}

} // namespace
