#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/clients/bench/toy_result.h"

namespace {

struct Trial : toy::Result {
    explicit Trial(std::vector<const char *> words = {}) : Result(std::move(words), "grpc", 1, 2)
    {
        count = 2;
        record_init(&records[0], 500000, 4, true);
        record_sent(&records[0], 1000000);
        record_content(&records[0], 3000000, "a\xe2\x82", 3);
        record_content(&records[0], 6000000, "\xac\xff", 2);
        record_completed(&records[0]);
        record_init(&records[1], 0, 4, true);
        record_sent(&records[1], 2000000);
        record_failed(&records[1], "HTTP 503: busy");
        EXPECT_TRUE(result_compute(this));
    }
};

std::string printed(const result &r)
{
    char *text = nullptr;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    result_print(&r, out);
    fclose(out);
    std::string all(text, bytes);
    free(text);
    return all;
}

TEST(result_json, every_key_is_there)
{
    Trial r;
    json_t *j = result_json(&r, true);
    ASSERT_NE(nullptr, j);
    for (const char *key :
         {"date", "backend", "model_id", "num_prompts", "request_rate", "burstiness",
          "max_concurrency", "duration", "completed", "failed", "total_input_tokens",
          "total_output_tokens", "request_throughput", "request_goodput", "output_throughput",
          "total_token_throughput", "max_output_tokens_per_s", "max_concurrent_requests",
          "input_lens", "output_lens", "ttfts", "itls", "latencies", "start_times", "queue_times",
          "generated_texts", "errors", "mean_ttft_ms", "median_ttft_ms", "std_ttft_ms",
          "p99_ttft_ms", "mean_tpot_ms", "median_tpot_ms", "std_tpot_ms", "p99_tpot_ms",
          "mean_itl_ms", "median_itl_ms", "std_itl_ms", "p99_itl_ms", "mean_e2el_ms",
          "median_e2el_ms", "std_e2el_ms", "p99_e2el_ms", "mean_client_queue_time_ms", "protocol",
          "cache_state", "expert_hit_rate", "expert_bytes_per_token", "stall_ms_per_token",
          "expert_oracle_hit_rate", "metrics", "endpoint_type", "label", "tokenizer_id",
          "dataset_name", "seed", "interrupted"})
        EXPECT_NE(nullptr, json_object_get(j, key)) << key;
    EXPECT_STREQ("inf", json_string_value(json_object_get(j, "request_rate")));
    EXPECT_TRUE(json_is_null(json_object_get(j, "max_concurrency")));
    EXPECT_TRUE(json_is_null(json_object_get(j, "request_goodput")));
    EXPECT_TRUE(json_is_null(json_object_get(j, "expert_hit_rate")));
    json_decref(j);
}

TEST(result_json, lists_have_one_entry_for_each_request)
{
    Trial r;
    json_t *j = result_json(&r, true);
    for (const char *key : {"input_lens", "output_lens", "ttfts", "itls", "latencies",
                            "start_times", "queue_times", "generated_texts", "errors"})
        EXPECT_EQ(2u, json_array_size(json_object_get(j, key))) << key;
    auto at = [&](const char *key, size_t i) { return json_array_get(json_object_get(j, key), i); };
    EXPECT_DOUBLE_EQ(0.002, json_number_value(at("ttfts", 0)));
    EXPECT_DOUBLE_EQ(0.005, json_number_value(at("latencies", 0)));
    EXPECT_DOUBLE_EQ(0.0005, json_number_value(at("queue_times", 0)));
    EXPECT_DOUBLE_EQ(0.001, json_number_value(at("start_times", 0)));
    EXPECT_DOUBLE_EQ(0.003, json_number_value(json_array_get(at("itls", 0), 0)));
    EXPECT_STREQ("a\xe2\x82\xac\xef\xbf\xbd", json_string_value(at("generated_texts", 0)));
    EXPECT_STREQ("", json_string_value(at("errors", 0)));
    EXPECT_STREQ("HTTP 503: busy", json_string_value(at("errors", 1)));
    EXPECT_EQ(0, json_integer_value(at("output_lens", 1)));
    json_decref(j);
}

TEST(result_json, without_details_it_is_short)
{
    Trial r({"--metric-percentiles", "50,99.9", "--goodput", "ttft:1", "--request-rate", "4",
           "--metadata", "machine=a", "--label", "l", "--cache-state", "steady"});
    json_t *j = result_json(&r, false);
    ASSERT_NE(nullptr, j);
    for (const char *key : {"ttfts", "itls", "errors", "generated_texts", "input_lens"})
        EXPECT_EQ(nullptr, json_object_get(j, key)) << key;
    EXPECT_NE(nullptr, json_object_get(j, "p99.9_itl_ms"));
    EXPECT_NE(nullptr, json_object_get(j, "p50_e2el_ms"));
    EXPECT_DOUBLE_EQ(0, json_number_value(json_object_get(j, "request_goodput")));
    EXPECT_DOUBLE_EQ(4, json_number_value(json_object_get(j, "request_rate")));
    EXPECT_STREQ("a", json_string_value(json_object_get(j, "machine")));
    EXPECT_STREQ("l", json_string_value(json_object_get(j, "label")));
    EXPECT_STREQ("steady", json_string_value(json_object_get(j, "cache_state")));
    json_decref(j);
}

TEST(result_json, file_names)
{
    Trial plain;
    char *name = result_filename(&plain);
    EXPECT_STREQ("openai-infqps-toy-20260102-030405.json", name);
    free(name);
    Trial limited({"--request-rate", "2.5", "--max-concurrency", "4", "--label", "a/b"});
    name = result_filename(&limited);
    EXPECT_STREQ("a_b-2.5qps-concurrency4-toy-20260102-030405.json", name);
    free(name);
    Trial ramp(
        {"--ramp-up-strategy", "linear", "--ramp-up-start-rps", "1", "--ramp-up-end-rps", "9"});
    name = result_filename(&ramp);
    EXPECT_STREQ("openai-ramp-up-linear-1qps-9qps-toy-20260102-030405.json", name);
    free(name);
}

TEST(result_json, the_console_block)
{
    Trial r({"--max-concurrency", "3", "--percentile-metrics", "ttft", "--goodput", "ttft:5"});
    std::string text = printed(r);
    EXPECT_EQ(0u, text.find("============ Serving Benchmark Result ============\n"
                            "Successful requests:                     1         \n"
                            "Failed requests:                         1         \n"
                            "Maximum request concurrency:             3         \n"
                            "Benchmark duration (s):                  1.00      \n"
                            "Total input tokens:                      4         \n"
                            "Total generated tokens:                  2         \n"
                            "Request throughput (req/s):              1.00      \n"
                            "Request goodput (req/s):                 1.00      \n"
                            "Output token throughput (tok/s):         2.00      \n"
                            "Peak output token throughput (tok/s):    2.00      \n"
                            "Peak concurrent requests:                1         \n"
                            "Total token throughput (tok/s):          6.00      \n"
                            "---------------Time to First Token----------------\n"
                            "Mean TTFT (ms):                          2.00      \n"
                            "Median TTFT (ms):                        2.00      \n"
                            "P99 TTFT (ms):                           2.00      \n"
                            "------Waiting for a Place (max concurrency)-------\n"))
        << text;
    EXPECT_NE(std::string::npos, text.find("1 x HTTP 503: busy\n"));
    EXPECT_NE(std::string::npos, text.find("1 answers came without usage"));
    EXPECT_EQ(std::string::npos, text.find("ITL"));
}

} // namespace
