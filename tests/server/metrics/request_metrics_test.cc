#include "server/metrics/request_metrics.h"

#include <gtest/gtest.h>

#include <vector>

namespace {

constexpr uint64_t ms = 1000000;

struct Metrics : testing::Test {
    Metrics() { request_metrics_init(&m, 1000); }
    const struct histogram &at(enum request_histogram which) { return m.histogram[which]; }
    void begin(uint64_t now_ms, uint32_t max_tokens = 0, uint32_t choices = 1)
    {
        struct request_asked asked = {};
        asked.has_max_tokens = max_tokens > 0;
        asked.max_tokens = max_tokens;
        asked.choices = choices;
        request_timing_begin(&t, &asked, now_ms * ms);
    }
    void event(uint64_t now_ms, uint32_t tokens, enum finish_reason finish = FINISH_NONE,
               enum status status = STATUS_OK)
    {
        struct request_event e = {};
        e.token_count = tokens;
        e.finish = finish;
        e.status = status;
        e.usage = usage;
        request_metrics_event(&m, &t, &e, now_ms * ms);
    }

    struct request_metrics m;
    struct request_timing t = {};
    struct request_usage usage = {};
};

TEST_F(Metrics, one_request_from_begin_to_end)
{
    usage.prompt_tokens = 7;
    usage.completion_tokens = 4;
    usage.queue_ns = 2 * ms;
    usage.prefill_ns = 30 * ms;
    usage.decode_ns = 300 * ms;
    begin(1000, 16, 3);
    event(1050, 1);
    event(1150, 1);
    event(1350, 2, FINISH_STOP);
    EXPECT_EQ(1u, at(REQUEST_TTFT).observed);
    EXPECT_DOUBLE_EQ(0.05, at(REQUEST_TTFT).sum);
    EXPECT_EQ(3u, at(REQUEST_ITL).observed);
    EXPECT_DOUBLE_EQ(0.3, at(REQUEST_ITL).sum);
    EXPECT_EQ(3u, at(REQUEST_ITL).in[4]) << "all of them 100 ms: two tokens share 200";
    EXPECT_EQ(1u, at(REQUEST_TPOT).observed);
    EXPECT_DOUBLE_EQ(0.1, at(REQUEST_TPOT).sum);
    EXPECT_DOUBLE_EQ(0.35, at(REQUEST_E2E).sum);
    EXPECT_DOUBLE_EQ(0.002, at(REQUEST_QUEUE).sum);
    EXPECT_DOUBLE_EQ(0.03, at(REQUEST_PREFILL).sum);
    EXPECT_DOUBLE_EQ(0.3, at(REQUEST_DECODE).sum);
    EXPECT_DOUBLE_EQ(0.33, at(REQUEST_INFERENCE).sum);
    EXPECT_EQ(7, at(REQUEST_PROMPT_TOKENS).sum);
    EXPECT_EQ(4, at(REQUEST_OUTPUT_TOKENS).sum);
    EXPECT_EQ(4, at(REQUEST_OUTPUT_TOKENS_MAX).sum);
    EXPECT_EQ(16, at(REQUEST_MAX_TOKENS).sum);
    EXPECT_EQ(3, at(REQUEST_CHOICES).sum);
    EXPECT_EQ(1u, m.ended[REQUEST_END_STOP]);
    EXPECT_EQ(0u, m.ended[REQUEST_END_LENGTH] + m.ended[REQUEST_END_ABORT]);
}

TEST_F(Metrics, what_was_not_asked_for_is_not_observed)
{
    begin(0, 0, 0); /* no max_tokens; another choice of its call tells n */
    event(10, 1, FINISH_LENGTH);
    EXPECT_EQ(0u, at(REQUEST_MAX_TOKENS).observed);
    EXPECT_EQ(0u, at(REQUEST_CHOICES).observed);
    EXPECT_EQ(0u, at(REQUEST_TPOT).observed) << "one token has nothing between";
    EXPECT_EQ(0u, at(REQUEST_ITL).observed);
    EXPECT_EQ(1u, m.ended[REQUEST_END_LENGTH]);
}

TEST_F(Metrics, a_prompt_alone_has_no_first_token)
{
    begin(0, 0);
    event(10, 0, FINISH_LENGTH);
    EXPECT_EQ(0u, at(REQUEST_TTFT).observed);
    EXPECT_EQ(1u, at(REQUEST_E2E).observed);
    EXPECT_EQ(1u, at(REQUEST_PROMPT_TOKENS).observed);
}

TEST_F(Metrics, other_ends)
{
    begin(0);
    event(5, 1);
    request_metrics_aborted(&m, &t, 8 * ms);
    EXPECT_EQ(1u, m.ended[REQUEST_END_ABORT]);
    begin(0);
    event(9, 0, FINISH_FAILED, STATUS_DEADLINE);
    EXPECT_EQ(2u, m.ended[REQUEST_END_ABORT]);
    EXPECT_EQ(2u, at(REQUEST_E2E).observed);
    begin(0);
    event(9, 0, FINISH_FAILED, STATUS_IO);
    EXPECT_EQ(2u, m.ended[REQUEST_END_ABORT]) << "the server failed, nobody gave up";
    EXPECT_EQ(2u, at(REQUEST_E2E).observed);
    EXPECT_EQ(0u, at(REQUEST_PROMPT_TOKENS).observed);
}

std::vector<double> Bounds(const struct histogram &h)
{
    return {h.bounds, h.bounds + h.count};
}

TEST_F(Metrics, buckets_are_those_of_the_dashboards)
{
    const std::vector<double> a = {.001, .005, .01, .02, .04, .06, .08, .1,  .25, .5,  .75,
                                   1,    2.5,  5,   7.5, 10,  20,  40,  80,  160, 640, 2560};
    const std::vector<double> b = {.01, .025, .05, .075, .1, .15, .2, .3, .4, .5,
                                   .75, 1,    2.5, 5,    7.5, 10, 20, 40, 80};
    const std::vector<double> c = {.3, .5, .8, 1,  1.5, 2,   2.5, 5,   10,  15,  20,
                                   30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680};
    EXPECT_EQ(a, Bounds(at(REQUEST_TTFT)));
    EXPECT_EQ(b, Bounds(at(REQUEST_ITL)));
    EXPECT_EQ(b, Bounds(at(REQUEST_TPOT)));
    for (auto which :
         {REQUEST_E2E, REQUEST_QUEUE, REQUEST_INFERENCE, REQUEST_PREFILL, REQUEST_DECODE})
        EXPECT_EQ(c, Bounds(at(which))) << which;
    const std::vector<double> tokens = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000};
    for (auto which : {REQUEST_PROMPT_TOKENS, REQUEST_OUTPUT_TOKENS, REQUEST_OUTPUT_TOKENS_MAX,
                       REQUEST_MAX_TOKENS})
        EXPECT_EQ(tokens, Bounds(at(which))) << which;
    EXPECT_EQ((std::vector<double>{1, 2, 5, 10, 20}), Bounds(at(REQUEST_CHOICES)));
}

} // namespace
