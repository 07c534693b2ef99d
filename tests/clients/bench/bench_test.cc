/* The whole program against a server with known delays: what it prints, its files, exit codes. */
#include "clients/bench/bench.h"

#include <gtest/gtest.h>
#include <jansson.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "tests/clients/bench/fake_grpc.h"
#include "tests/clients/bench/fake_http.h"
#include "tests/support/scratch.h"

namespace {

struct Outcome {
    int code;
    std::string out, err;
};

Outcome bench(std::vector<std::string> words)
{
    std::vector<char *> argv = {const_cast<char *>("moering-bench")};
    for (auto &w : words)
        argv.push_back(&w[0]);
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    Outcome o;
    o.code = bench_main((int)argv.size(), argv.data());
    o.out = testing::internal::GetCapturedStdout();
    o.err = testing::internal::GetCapturedStderr();
    return o;
}

double at(json_t *j, const char *key)
{
    return json_number_value(json_object_get(j, key));
}

fake::Script script(int index)
{
    fake::Script s;
    s.first_ms = index % 2 ? 10 : 400;
    s.gap_ms = 5;
    s.chunks = 5;
    s.final_members = ",\"experts\":{\"hits\":30,\"misses\":10,\"bytes\":1000,\"stall_ms\":5}";
    return s;
}

TEST(bench, a_run_and_its_files)
{
    fake::Http server([](int index, const std::string &) { return script(index); });
    server.metrics[0] = "moering_expert_oracle_hit_ratio 0.5\nmoering_x_total{layer=\"1\"} 10\n";
    server.metrics[1] = "moering_expert_oracle_hit_ratio 0.875\nmoering_x_total{layer=\"1\"} 15\n";
    scratch::Folder folder;
    Outcome o = bench({"--base-url", server.url(), "--num-prompts", "20", "--random-input-len", "5",
                       "--goodput", "ttft:200", "--save-result", "--save-detailed", "--result-dir",
                       folder.path("new"), "--result-filename", "r.json", "--html",
                       folder.path("r.html"), "--metric-percentiles", "50,90"});
    ASSERT_EQ(0, o.code) << o.err;
    EXPECT_NE(std::string::npos, o.out.find("Successful requests:                     20 "));
    EXPECT_NE(std::string::npos, o.out.find("Expert hit rate (%):                     75.00"));
    EXPECT_NE(std::string::npos, o.out.find("Oracle hit rate (%):                     87.50"));
    json_t *j = json_loads(folder.read("new/r.json").c_str(), 0, nullptr);
    ASSERT_NE(nullptr, j);
    EXPECT_STREQ("org/toy", json_string_value(json_object_get(j, "model_id")));
    EXPECT_EQ(20, at(j, "completed"));
    EXPECT_EQ(100, at(j, "total_output_tokens"));
    EXPECT_EQ(140, at(j, "total_input_tokens"));
    /* Half of them have a TTFT of 10 ms, half of 400. How exact: load_test.cc. */
    EXPECT_NEAR(10, at(j, "request_goodput") * at(j, "duration"), 1.01);
    EXPECT_GE(at(j, "mean_ttft_ms"), 205);
    EXPECT_LT(at(j, "mean_ttft_ms"), 390);
    EXPECT_NEAR(5, at(j, "median_itl_ms"), 4);
    EXPECT_NEAR(5, at(j, "p50_tpot_ms"), 4);
    EXPECT_EQ(0.75, at(j, "expert_hit_rate"));
    EXPECT_EQ(200, at(j, "expert_bytes_per_token"));
    EXPECT_EQ(1, at(j, "stall_ms_per_token"));
    EXPECT_EQ(0.875, at(j, "expert_oracle_hit_rate"));
    EXPECT_EQ(5, at(json_object_get(j, "metrics"), "moering_x_total"));
    EXPECT_EQ(20u, json_array_size(json_object_get(j, "generated_texts")));
    EXPECT_STREQ("t0 t1 t2 t3 t4 ",
                 json_string_value(json_array_get(json_object_get(j, "generated_texts"), 7)));
    json_decref(j);
    EXPECT_EQ(0u, folder.read("r.html").find("<!doctype html>"));
    EXPECT_EQ(21u, server.exchanges().size()) << "a test request goes first";
}

TEST(bench, files_that_cannot_be_written_are_told_before_anything_is_asked)
{
    fake::Http server([](int index, const std::string &) { return script(index); });
    Outcome o = bench({"--base-url", server.url(), "--num-prompts", "1", "--html",
                       "/no/where.html"});
    EXPECT_EQ(1, o.code);
    EXPECT_EQ("moering-bench: --html /no/where.html: No such file or directory\n", o.err);
    o = bench({"--base-url", server.url(), "--num-prompts", "1", "--save-result", "--result-dir",
               "/no/where"});
    EXPECT_EQ(1, o.code);
    EXPECT_EQ("moering-bench: --result-dir /no/where: No such file or directory\n", o.err);
    EXPECT_TRUE(server.exchanges().empty());
}

TEST(bench, a_sweep)
{
    fake::Http server([](int, const std::string &) {
        fake::Script s = script(1);
        s.chat = true;
        return s;
    });
    scratch::Folder folder;
    Outcome o = bench({"--base-url", server.url() + "/v1", "--num-prompts", "8", "--backend",
                       "openai-chat", "--sweep-concurrency", "1,4", "--cache-state", "cold",
                       "--save-result", "--result-dir", folder.path(), "--result-filename",
                       "s.json", "--html", folder.path("s.html")});
    ASSERT_EQ(0, o.code) << o.err << o.out;
    EXPECT_EQ(16u, server.exchanges().size()) << "cold: not even a test request";
    EXPECT_EQ(0u, server.exchanges()[0].request.find("POST /v1/chat/completions "));
    EXPECT_NE(server.exchanges()[0].request.substr(200), server.exchanges()[8].request.substr(200))
        << "other prompts at each point";
    EXPECT_NE(std::string::npos, o.out.find("\nconcurrency     done failed"));
    for (const char *name : {"s-1.json", "s-4.json"}) {
        json_t *j = json_loads(folder.read(name).c_str(), 0, nullptr);
        ASSERT_NE(nullptr, j) << name;
        EXPECT_EQ(name[2] - '0', at(j, "max_concurrency"));
        EXPECT_STREQ("cold", json_string_value(json_object_get(j, "cache_state")));
        json_decref(j);
    }
}

TEST(bench, over_grpc)
{
    fake::Grpc server([](int, const std::string &message) {
        auto *r = moering__v1__generate_request__unpack(nullptr, message.size(),
                                                        (const uint8_t *)message.data());
        fake::GrpcScript s;
        s.status = r && r->tokens && r->tokens->n_ids == 12 && r->tokens->ids[0] < 50 ? 0 : 3;
        s.text = "not 12 ids below 50";
        if (r)
            moering__v1__generate_request__free_unpacked(r, nullptr);
        return s;
    });
    Outcome o = bench({"--backend", "moering", "--base-url", server.address(), "--num-prompts",
                       "30", "--request-rate", "300", "--random-input-len", "12", "--num-warmups",
                       "3", "--max-concurrency", "5"});
    EXPECT_EQ(0, o.code) << o.err << o.out;
    EXPECT_NE(std::string::npos, o.out.find("Request rate configured (RPS):           300.00"));
    EXPECT_NE(std::string::npos, o.out.find("Expert hit rate (%):                     90.00"));
    EXPECT_NE(std::string::npos, o.out.find("Expert bytes per token:                  1000"));
}

TEST(bench, metrics_may_be_elsewhere_and_waiting_ends)
{
    fake::Http metrics([](int, const std::string &) { return fake::Script(); });
    metrics.metrics[0] = metrics.metrics[1] = "moering_expert_oracle_hit_ratio 0.25\n";
    fake::Grpc server([](int, const std::string &) { return fake::GrpcScript(); });
    Outcome o =
        bench({"--backend", "moering", "--base-url", server.address(), "--num-prompts", "3",
               "--metrics-url", metrics.url() + "/metrics", "--ready-check-timeout-sec", "5"});
    EXPECT_EQ(0, o.code) << o.err;
    EXPECT_NE(std::string::npos, o.out.find("Oracle hit rate (%):                     25.00"));
    o = bench({"--base-url", "127.0.0.1:1", "--ready-check-timeout-sec", "0.3"});
    EXPECT_EQ(1, o.code);
}

TEST(bench, a_trace_is_sent_at_its_times)
{
    fake::Http server([](int, const std::string &) { return script(1); });
    scratch::Folder folder;
    folder.write("t", "{\"timestamp\":100,\"prompt\":\"a\",\"output_length\":5}\n"
                      "{\"timestamp\":300,\"input_length\":4,\"output_length\":5}\n");
    Outcome o = bench({"--base-url", server.url(), "--dataset-name", "trace", "--dataset-path",
                       folder.path("t"), "--save-result", "--save-detailed", "--result-dir",
                       folder.path(), "--result-filename", "r"});
    ASSERT_EQ(0, o.code) << o.err;
    json_t *j = json_loads(folder.read("r").c_str(), 0, nullptr);
    json_t *starts = json_object_get(j, "start_times");
    ASSERT_EQ(2u, json_array_size(starts));
    EXPECT_GE(json_number_value(json_array_get(starts, 1)), 0.2);
    EXPECT_LT(json_number_value(json_array_get(starts, 0)), 0.2);
    json_decref(j);
}

TEST(bench, failed_requests_are_told_and_are_the_exit_code)
{
    fake::Http server([](int index, const std::string &) {
        fake::Script s = script(1);
        s.status = index % 2 ? 500 : 200;
        s.body = index % 2 ? "{\"error\":{\"message\":\"odd\"}}" : "";
        return s;
    });
    Outcome o = bench({"--base-url", server.url(), "--num-prompts", "6", "--max-concurrency", "1"});
    EXPECT_EQ(1, o.code);
    EXPECT_NE(std::string::npos, o.out.find("Failed requests:                         3 "));
    EXPECT_NE(std::string::npos, o.out.find("3 x HTTP 500: odd\n"));
}

TEST(bench, a_failing_test_request_ends_it)
{
    fake::Http server([](int, const std::string &) {
        fake::Script s;
        s.status = 401;
        s.body = "{\"error\":{\"message\":\"wrong key\"}}";
        return s;
    });
    Outcome o = bench({"--base-url", server.url(), "--num-prompts", "6"});
    EXPECT_EQ(1, o.code);
    EXPECT_EQ("moering-bench: a test request failed: HTTP 401: wrong key\n", o.err);
    EXPECT_EQ("", o.out);
}

TEST(bench, wrong_usage_and_help)
{
    EXPECT_EQ(2, bench({"--nonsense"}).code);
    Outcome help = bench({"--help"});
    EXPECT_EQ(0, help.code);
    EXPECT_EQ(0u, help.out.find("Usage: moering-bench"));
    Outcome nobody = bench({"--base-url", "127.0.0.1:1"});
    EXPECT_EQ(1, nobody.code);
    EXPECT_NE(std::string::npos, nobody.err.find("cannot connect to 127.0.0.1:1"));
}

} // namespace
