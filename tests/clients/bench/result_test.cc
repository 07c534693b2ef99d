#include "clients/bench/result.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/clients/bench/toy_result.h"

namespace {

const uint64_t MS = 1000000;

/* A result of hand-made records; times in ms. */
struct Trial : toy::Result {
    explicit Trial(std::vector<const char *> words = {}) : Result(std::move(words), "http", 2, 16)
    {
    }

    record *add(double planned, double sent, const std::vector<double> &chunks, double last,
                uint32_t tokens)
    {
        record *r = &records[count++];
        record_init(r, (uint64_t)(planned * MS), 10, true);
        record_sent(r, (uint64_t)(sent * MS));
        for (double t : chunks)
            record_content(r, (uint64_t)(t * MS), "x", 1);
        record_chunk(r, (uint64_t)(last * MS));
        record_usage(r, 100, tokens);
        record_completed(r);
        return r;
    }
    void fail(const char *error)
    {
        record *r = &records[count++];
        record_init(r, 0, 10, true);
        record_sent(r, 0);
        record_content(r, 5 * MS, "x", 1);
        record_failed(r, "%s", error);
    }
};

/* Two overlapping requests, one after them, one that failed. */
void fill(Trial *r)
{
    r->add(0, 0, {10, 14, 20}, 20, 3);
    r->add(5, 15, {35, 36}, 40, 6);
    r->add(1100, 1100, {1105}, 1105, 1);
    r->fail("HTTP 500: no");
    ASSERT_TRUE(result_compute(r));
}

TEST(result, figures)
{
    Trial r({"--metric-percentiles", "50,100", "--goodput", "ttft:10", "e2el:22"});
    fill(&r);
    EXPECT_EQ(3u, r.completed);
    EXPECT_EQ(1u, r.failed);
    EXPECT_EQ(300u, r.input_tokens);
    EXPECT_EQ(10u, r.output_tokens);
    EXPECT_DOUBLE_EQ(1.5, r.request_throughput);
    EXPECT_DOUBLE_EQ(5, r.output_throughput);
    EXPECT_DOUBLE_EQ(155, r.total_throughput);
    EXPECT_DOUBLE_EQ(1, r.goodput) << "the second has a TTFT of 20 ms";
    EXPECT_EQ(3u, r.latency[LATENCY_TTFT].count);
    EXPECT_NEAR(35.0 / 3, r.latency[LATENCY_TTFT].mean, 1e-9);
    EXPECT_NEAR(10, r.latency[LATENCY_TTFT].median, 1e-9);
    EXPECT_EQ(2u, r.latency[LATENCY_TPOT].count) << "one token has no time between tokens";
    EXPECT_NEAR((5 + 1) / 2.0, r.latency[LATENCY_TPOT].mean, 1e-9);
    EXPECT_EQ(3u, r.latency[LATENCY_ITL].count) << "pooled";
    EXPECT_NEAR(11 / 3.0, r.latency[LATENCY_ITL].mean, 1e-9);
    EXPECT_NEAR(6, r.latency[LATENCY_ITL].percentile[1], 1e-9);
    EXPECT_NEAR(25, r.latency[LATENCY_E2EL].percentile[1], 1e-9);
    EXPECT_NEAR(10, r.queue.percentile[1], 1e-9);
    EXPECT_EQ(2u, r.max_concurrent);
    EXPECT_NEAR(9, r.max_output_tokens_per_s, 1e-9) << "three and six in the first second";
}

TEST(result, tpot_counts_as_0_for_goodput_with_one_token)
{
    Trial r({"--goodput", "tpot:1.5"});
    fill(&r);
    EXPECT_DOUBLE_EQ(1, r.goodput) << "5 ms and 1 ms and one token: two are good";
}

TEST(result, one_that_ends_as_another_begins_makes_room)
{
    Trial r;
    r.add(0, 0, {10}, 10, 1);
    r.add(0, 10, {20}, 20, 1);
    r.add(0, 20, {30}, 30, 1);
    ASSERT_TRUE(result_compute(&r));
    EXPECT_EQ(1u, r.max_concurrent);
}

TEST(result, tokens_are_spread_over_chunks)
{
    Trial r;
    r.add(0, 0, {100, 1100, 1200}, 1300, 30);
    size_t bins;
    double *tokens = result_tokens_over_time(&r, 1, &bins);
    ASSERT_EQ(2u, bins);
    EXPECT_DOUBLE_EQ(10, tokens[0]);
    EXPECT_DOUBLE_EQ(20, tokens[1]);
    free(tokens);
}

TEST(result, experts_of_requests)
{
    Trial r;
    r.add(0, 0, {1}, 1, 10)->experts = {true, 30, 10, 5000, 4};
    r.add(0, 0, {1}, 1, 10)->experts = {true, 50, 10, 3000, 0};
    r.fail("x");
    ASSERT_TRUE(result_compute(&r));
    EXPECT_TRUE(r.experts.known && !r.experts.by_metrics && !r.experts.has_oracle);
    EXPECT_DOUBLE_EQ(0.8, r.experts.hit_rate);
    EXPECT_DOUBLE_EQ(400, r.experts.bytes_per_token);
    EXPECT_DOUBLE_EQ(0.2, r.experts.stall_ms_per_token);
}

TEST(result, experts_of_metrics_where_requests_say_nothing)
{
    Trial r;
    const char page[] = "moering_expert_cache_hits_total{tier=\"device\",layer=\"0\"} 60\n"
                        "moering_expert_cache_hits_total{tier=\"host\",layer=\"0\"} 5\n"
                        "moering_expert_cache_misses_total{tier=\"device\",layer=\"1\"} 20\n"
                        "moering_expert_bytes_read_total{src=\"storage\",dst=\"host\"} 700\n"
                        "moering_expert_bytes_read_total{src=\"storage\",dst=\"device\"} 300\n"
                        "moering_expert_bytes_read_total{src=\"host\",dst=\"device\"} 9000\n"
                        "moering_expert_miss_stall_seconds_sum 0.5\n"
                        "moering_expert_oracle_hit_ratio 0.9\n";
    r.add(0, 0, {1}, 1, 10);
    ASSERT_TRUE(prometheus_open(&r.metrics, page, sizeof page - 1));
    r.has_metrics = true;
    ASSERT_TRUE(result_compute(&r));
    EXPECT_TRUE(r.experts.known && r.experts.by_metrics && r.experts.has_oracle);
    EXPECT_DOUBLE_EQ(0.75, r.experts.hit_rate);
    EXPECT_DOUBLE_EQ(100, r.experts.bytes_per_token);
    EXPECT_DOUBLE_EQ(50, r.experts.stall_ms_per_token);
    EXPECT_DOUBLE_EQ(0.9, r.experts.oracle_hit_rate);
}

TEST(result, of_nothing_but_failures)
{
    Trial r;
    r.fail("a");
    r.fail("b");
    ASSERT_TRUE(result_compute(&r));
    EXPECT_EQ(0u, r.completed);
    EXPECT_EQ(2u, r.failed);
    EXPECT_EQ(0, r.latency[LATENCY_TTFT].mean);
    EXPECT_EQ(0u, r.max_concurrent);
}

} // namespace
