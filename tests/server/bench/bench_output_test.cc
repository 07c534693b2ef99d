#include "server/bench/bench_output.h"

#include <gtest/gtest.h>
#include <jansson.h>

#include <cstdlib>
#include <string>

namespace {

struct Report {
    uint64_t samples[2] = {500000000, 250000000};
    struct engine_info info = {};
    struct bench_result result = {};
    struct bench_report report = {};

    Report()
    {
        info.model_path = "/models/m.gguf";
        info.architecture = "olmoe";
        info.weight_dtype = "Q4_0";
        info.backend = "cpu";
        info.isa = "avx2";
        info.io = "uring";
        info.parameters = 7000000000u;
        info.active_parameters = 1300000000u;
        info.layers = 2, info.hidden = 8, info.top_k = 2, info.vocab = 10;
        info.pages = info.device_slots = 8;
        info.page_bytes_total = 1u << 30;
        info.token_bytes = 1u << 29;
        info.threads = 2;
        result.test = {.prompt = 0, .gen = 10, .depth = 0, .sequences = 2};
        result.samples_ns = samples;
        result.count = 2;
        result.totals.steps = 20;
        result.totals.rows = 40;
        result.totals.usage.hits = 100;
        report.info = &info;
        report.rates.memory = 1e11;
        report.rates.int8 = report.rates.f32 = 1e13;
        report.rates.int8_instructions = report.rates.f32_instructions = "avx2";
        report.results = &result;
        report.count = 1;
    }
    void finish()
    {
        struct error error = {};
        ASSERT_EQ(STATUS_OK,
                  bench_result_finish(&result, &info, &report.rates, false, &error));
    }
    std::string print(bool json)
    {
        char *text = nullptr;
        size_t bytes = 0;
        FILE *out = open_memstream(&text, &bytes);
        struct error error = {};
        if (json)
            EXPECT_EQ(STATUS_OK, bench_print_json(&report, out, &error));
        else
            bench_print_table(&report, out);
        fclose(out);
        std::string all(text, bytes);
        free(text);
        return all;
    }
};

TEST(bench_output, a_result_counts_all_tokens_and_bounds_one_repetition)
{
    Report r;
    r.finish();
    EXPECT_DOUBLE_EQ(60, r.result.speed.median_ts); /* 20 tokens in 0.5 s, in 0.25 s */
    EXPECT_DOUBLE_EQ(r.result.work.bytes * 1e9 / 1e11 / 2, r.result.bound.ns);
    EXPECT_STREQ("memory", r.result.bound.by);
}

TEST(bench_output, the_table_shows_paging_only_where_there_is_some)
{
    Report r;
    r.finish();
    std::string text = r.print(false);
    EXPECT_NE(std::string::npos, text.find("| olmoe 7.0B.1.3B Q4_0 | 1.0 GiB | 7.00 B | cpu avx2 | "
                                           "2 | tg10 x2 | 60.00 ± 28.28 |")) << text;
    EXPECT_EQ(std::string::npos, text.find("Belady"));
    r.result.totals.usage.misses = 100;
    r.result.totals.storage_bytes = 40 << 20;
    r.result.totals.usage.stall_ns = 80000000;
    r.info.device_slots = 4;
    text = r.print(false);
    EXPECT_NE(std::string::npos, text.find("| 50.0 % | - | 1.0 MiB | 2.00 ms |")) << text;
    EXPECT_NE(std::string::npos, text.find("experts: 4 slots for 8 pages, read by uring")) << text;
    r.result.totals.regret.windows = 1;
    r.result.totals.regret.oracle_hit_rate = 0.75;
    EXPECT_NE(std::string::npos, r.print(false).find("| 50.0 % | 75.0 % |"));
    r.report.route_trace = "t.mtrace";
    EXPECT_NE(std::string::npos, r.print(false).find("routing: t.mtrace"));
}

TEST(bench_output, the_json_has_the_words_of_others_and_says_what_is_not_known)
{
    Report r;
    r.finish();
    std::string text = r.print(true);
    json_t *list = json_loads(text.c_str(), 0, nullptr);
    ASSERT_TRUE(json_is_array(list)) << text;
    json_t *o = json_array_get(list, 0);
    for (const char *key : {"model_filename", "model_type", "model_size", "model_n_params",
                            "n_threads", "n_prompt", "n_gen", "n_depth", "test_time", "avg_ns",
                            "stddev_ns", "avg_ts", "stddev_ts", "samples_ns", "samples_ts",
                            "n_sequences", "median_ts", "bound_ts", "bound_by", "share_of_bound",
                            "hit_rate", "belady_hit_rate", "storage_bytes", "stall_ns_per_token"})
        EXPECT_TRUE(json_object_get(o, key)) << key;
    EXPECT_EQ(500000000, json_integer_value(json_array_get(json_object_get(o, "samples_ns"), 0)));
    EXPECT_DOUBLE_EQ(40, json_real_value(json_array_get(json_object_get(o, "samples_ts"), 0)));
    EXPECT_TRUE(json_is_null(json_object_get(o, "belady_hit_rate")));
    EXPECT_TRUE(json_is_null(json_object_get(o, "storage_bytes_per_s")));
    EXPECT_TRUE(json_is_null(json_object_get(o, "route_trace")));
    json_decref(list);
}

TEST(bench_output, a_gpu_has_no_bound_of_this_machine)
{
    Report r;
    r.info.device = "a GPU";
    r.finish();
    EXPECT_EQ(0, r.result.bound.ns);
    EXPECT_NE(std::string::npos, r.print(false).find("| a GPU avx2 | 2 | tg10 x2 | 60.00 ± 28.28 | "
                                                     "- | - |"));
}

} // namespace
