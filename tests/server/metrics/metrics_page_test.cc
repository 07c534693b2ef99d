#include "server/metrics/metrics_page.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "tests/server/metrics/metrics_pages.h"

namespace {

using metrics_test::Page;

const char model[] = "model_name,engine";
const char A[] =
    "0.001 0.005 0.01 0.02 0.04 0.06 0.08 0.1 0.25 0.5 0.75 1.0 2.5 5.0 7.5 10.0 20.0 40.0 "
    "80.0 160.0 640.0 2560.0 +Inf ";
const char B[] =
    "0.01 0.025 0.05 0.075 0.1 0.15 0.2 0.3 0.4 0.5 0.75 1.0 2.5 5.0 7.5 10.0 20.0 40.0 80.0 "
    "+Inf ";
const char C[] =
    "0.3 0.5 0.8 1.0 1.5 2.0 2.5 5.0 10.0 15.0 20.0 30.0 40.0 50.0 60.0 120.0 240.0 480.0 "
    "960.0 1920.0 7680.0 +Inf ";
const char tokens[] = "1.0 2.0 5.0 10.0 20.0 50.0 100.0 200.0 500.0 1000.0 +Inf ";

TEST(metrics_page, every_name_that_vllm_boards_ask_for)
{
    metrics_test::Snapshot made;
    made.Ready();
    Page page(made.s);
    for (const char *name : {"num_requests_running", "num_requests_waiting", "kv_cache_usage_perc",
                             "gpu_cache_usage_perc"})
        page.ExpectFamily(std::string("vllm:") + name, "gauge", model);
    for (const char *name :
         {"prefix_cache_queries_total", "prefix_cache_hits_total", "num_preemptions_total",
          "prompt_tokens_total", "generation_tokens_total", "spec_decode_num_drafts_total",
          "spec_decode_num_draft_tokens_total", "spec_decode_num_accepted_tokens_total"})
        page.ExpectFamily(std::string("vllm:") + name, "counter", model);
    page.ExpectFamily("vllm:spec_decode_num_accepted_tokens_per_pos_total", "counter",
                      "model_name,engine,position");
    page.ExpectFamily("vllm:request_success_total", "counter", "model_name,engine,finished_reason");
    page.ExpectFamily(
        "vllm:cache_config_info", "gauge",
        "model_name,engine,block_size,cache_dtype,enable_prefix_caching,num_gpu_blocks");
    const std::map<std::string, std::string> histograms = {
        {"time_to_first_token_seconds", A},
        {"inter_token_latency_seconds", B},
        {"request_time_per_output_token_seconds", B},
        {"time_per_output_token_seconds", B},
        {"e2e_request_latency_seconds", C},
        {"request_queue_time_seconds", C},
        {"request_inference_time_seconds", C},
        {"request_prefill_time_seconds", C},
        {"request_decode_time_seconds", C},
        {"request_prompt_tokens", tokens},
        {"request_generation_tokens", tokens},
        {"request_max_num_generation_tokens", tokens},
        {"request_params_max_tokens", tokens},
        {"request_params_n", "1.0 2.0 5.0 10.0 20.0 +Inf "},
        {"iteration_tokens_total",
         "1.0 8.0 16.0 32.0 64.0 128.0 256.0 512.0 1024.0 2048.0 4096.0 8192.0 "
         "16384.0 +Inf "},
    };
    for (const auto &h : histograms) {
        page.ExpectFamily("vllm:" + h.first, "histogram", model);
        EXPECT_EQ(h.second, page.Bounds("vllm:" + h.first)) << h.first;
    }
    for (const char *reason : {"stop", "length", "abort"})
        EXPECT_EQ(0, page["vllm:request_success_total{model_name=\"a/"
                          "model\",engine=\"0\",finished_reason=\"" +
                          std::string(reason) + "\"}"]);
}

TEST(metrics_page, each_figure_in_its_place)
{
    metrics_test::Snapshot made;
    made.Fill();
    Page page(made.s);
    const std::string m = "{model_name=\"a/model\",engine=\"0\"";
    EXPECT_EQ(4, page["vllm:num_requests_running" + m + "}"]);
    EXPECT_EQ(5, page["vllm:num_requests_waiting" + m + "}"]);
    EXPECT_EQ(0.25, page["vllm:kv_cache_usage_perc" + m + "}"]);
    EXPECT_EQ(0.25, page["vllm:gpu_cache_usage_perc" + m + "}"]);
    EXPECT_EQ(6, page["vllm:num_preemptions_total" + m + "}"]);
    EXPECT_EQ(15, page["vllm:prompt_tokens_total" + m + "}"]);
    EXPECT_EQ(16, page["vllm:generation_tokens_total" + m + "}"]);
    EXPECT_EQ(17, page["vllm:prefix_cache_queries_total" + m + "}"]);
    EXPECT_EQ(12, page["vllm:prefix_cache_hits_total" + m + "}"]);
    EXPECT_EQ(20, page["vllm:request_success_total" + m + ",finished_reason=\"stop\"}"]);
    EXPECT_EQ(21, page["vllm:request_success_total" + m + ",finished_reason=\"length\"}"]);
    EXPECT_EQ(22, page["vllm:request_success_total" + m + ",finished_reason=\"abort\"}"]);
    EXPECT_EQ(0, page["vllm:time_to_first_token_seconds_bucket" + m + ",le=\"0.001\"}"]);
    EXPECT_EQ(2, page["vllm:time_to_first_token_seconds_bucket" + m + ",le=\"0.005\"}"]);
    EXPECT_EQ(2, page["vllm:time_to_first_token_seconds_count" + m + "}"]);
    EXPECT_EQ(2, page["vllm:iteration_tokens_total_bucket" + m + ",le=\"8.0\"}"]);
    EXPECT_EQ(3, page["vllm:iteration_tokens_total_bucket" + m + ",le=\"16.0\"}"]);
    EXPECT_EQ(18, page["vllm:iteration_tokens_total_sum" + m + "}"]);
    EXPECT_EQ(1, page["vllm:cache_config_info" + m + ",block_size=\"16\",cache_dtype=\"float32\","
                      "enable_prefix_caching=\"False\",num_gpu_blocks=\"40\"}"]);
    made.info.prefix_caching = true;
    EXPECT_NE(std::string::npos, Page(made.s).text.find("enable_prefix_caching=\"True\""));
}

TEST(metrics_page, the_kv_type_follows_from_its_bytes)
{
    metrics_test::Snapshot made;
    made.Ready();
    made.s.engine.sizes.kv_bytes /= 2;
    EXPECT_NE(std::string::npos, Page(made.s).text.find("cache_dtype=\"float16\""));
    made.s.engine.sizes.kv_bytes /= 3;
    EXPECT_NE(std::string::npos, Page(made.s).text.find("cache_dtype=\"auto\""));
}

TEST(metrics_page, the_formats_differ_in_counters_and_the_end)
{
    metrics_test::Snapshot made;
    made.Fill();
    Page page(made.s), open(made.s, true);
    EXPECT_EQ(page.samples, open.samples);
    EXPECT_EQ("# EOF\n", open.text.substr(open.text.size() - 6));
    EXPECT_EQ(std::string::npos, page.text.find("# EOF"));
    ASSERT_EQ(page.types.size(), open.types.size());
    for (const auto &family : page.types) {
        std::string name = family.first;
        if (family.second == "counter")
            name.resize(name.size() - 6);
        ASSERT_EQ(1u, open.types.count(name)) << name;
        EXPECT_EQ(family.second, open.types.at(name)) << name;
    }
}

TEST(metrics_page, nothing_else)
{
    metrics_test::Snapshot made;
    made.Ready();
    Page page(made.s);
    for (const auto &family : page.types)
        EXPECT_TRUE(family.first.compare(0, 5, "vllm:") == 0 ||
                    family.first.compare(0, 8, "moering_") == 0) << family.first;
}

TEST(metrics_page, before_the_model_is_open)
{
    metrics_test::Snapshot made;
    Page nameless(made.s);
    EXPECT_EQ(0.25, nameless["moering_model_loaded_ratio"]);
    EXPECT_EQ(0u, nameless.types.count("vllm:num_requests_running")) << "there is no model_name";
    EXPECT_EQ(0, nameless["moering_expert_miss_stall_seconds_count"]);
    made.s.model_name = "served";
    Page page(made.s);
    EXPECT_EQ(0, page["vllm:num_requests_running{model_name=\"served\",engine=\"0\"}"]);
    EXPECT_EQ(0, page["vllm:kv_cache_usage_perc{model_name=\"served\",engine=\"0\"}"]);
    made.Ready();
    EXPECT_EQ(1, Page(made.s)["moering_model_loaded_ratio"]);
}

} // namespace
