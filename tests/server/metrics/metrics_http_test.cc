#include "server/metrics/metrics_http.h"

#include <gtest/gtest.h>

#include "tests/server/metrics/metrics_server.h"

namespace {

struct Metrics : metrics_test::Server {
    ~Metrics() override { Stop(); }
    uint32_t OpenRoutes(struct http_route *out) override
    {
        config_.base = base_;
        config_.served_name = served_name_;
        config_.start_ns = clock_now_ns();
        config_.requests = &request_metrics_;
        EXPECT_EQ(STATUS_OK, metrics_open(&metrics_, &config_, nullptr));
        count_ = metrics_routes(metrics_, routes_);
        memcpy(out, routes_, count_ * sizeof *routes_);
        return count_;
    }
    void Attach() override { metrics_attach(metrics_, server_, requests_, engine_); }
    void CloseRoutes() override { metrics_close(metrics_); }

    struct metrics_config config_ = {nullptr, true, false, nullptr, 0, nullptr};
    struct http_route routes_[METRICS_ROUTES_MAX];
    uint32_t count_ = 0;
    struct metrics *metrics_ = nullptr;
};

TEST(metrics_accept, openmetrics_must_be_named_and_not_liked_less)
{
    const char *const prometheus = "application/openmetrics-text;version=1.0.0,"
                                   "application/openmetrics-text;version=0.0.1;q=0.75,"
                                   "text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    const struct {
        const char *accept;
        bool openmetrics;
    } rows[] = {
        {nullptr, false},
        {"", false},
        {"*/*", false},
        {"text/plain", false},
        {"text/html, */*;q=0.8", false},
        {prometheus, true},
        {"application/openmetrics-text", true},
        {"Application/OpenMetrics-Text; charset=utf-8", true},
        {"application/openmetrics-text;q=0", false},
        {"application/openmetrics-text;q=0.4, text/plain;q=0.5", false},
        {"text/plain;q=0.5 , application/openmetrics-text ; q=0.6", true},
        {"application/openmetrics-text;q=0.4, text/*;q=0.5", false},
        {"application/openmetrics-text;q=0.4, text/plain;q=0.3, */*;q=1", true},
        {"application/openmetrics-text, text/plain", true},
        {"application/openmetrics-text-more", false},
        {",,;;q=,", false},
        {"application/openmetrics-text;q=", false},
    };
    for (const auto &row : rows)
        EXPECT_EQ(row.openmetrics, metrics_wants_openmetrics(row.accept))
            << (row.accept ? row.accept : "none");
}

TEST_F(Metrics, the_page_in_both_formats)
{
    served_name_ = "served";
    ASSERT_NO_FATAL_FAILURE(StartReady());
    Submit(20);
    ASSERT_TRUE(Until([&] { return Idle(); }));
    Answer text = Get("/metrics"),
           open = Get("/metrics", "Accept: application/openmetrics-text\r\n");
    EXPECT_EQ(200, text.code);
    EXPECT_EQ("text/plain; version=0.0.4; charset=utf-8", text.Header("Content-Type"));
    EXPECT_EQ("application/openmetrics-text; version=1.0.0; charset=utf-8",
              open.Header("Content-Type"));
    EXPECT_EQ("no-store", text.Header("Cache-Control"));
    EXPECT_EQ("Accept", text.Header("Vary"));
    for (const std::string line :
         {"vllm:generation_tokens_total{model_name=\"served\",engine=\"0\"} 20\n",
          "vllm:request_success_total{model_name=\"served\",engine=\"0\","
          "finished_reason=\"length\"} 1\n",
          "vllm:request_params_n_count{model_name=\"served\",engine=\"0\"} 1\n",
          "cache_dtype=\"float32\""}) {
        EXPECT_NE(std::string::npos, text.body.find(line)) << line;
        EXPECT_NE(std::string::npos, open.body.find(line)) << line;
    }
    EXPECT_EQ("# EOF\n", open.body.substr(open.body.size() - 6));
    EXPECT_NE(std::string::npos, open.body.find("# TYPE vllm:generation_tokens counter\n"));
}

TEST_F(Metrics, every_series_is_there_before_the_first_request)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    auto series = [](const std::string &page) { /* without values */
        std::string names;
        for (size_t at = 0, end; (end = page.find('\n', at)) != std::string::npos; at = end + 1)
            if (page[at] != '#')
                names += page.substr(at, page.rfind(' ', end) - at) + "\n";
        return names;
    };
    std::string before = series(Get("/metrics").body);
    for (int i = 0; i < 5; i++)
        Submit(40);
    ASSERT_TRUE(Until([&] { return Idle(); }));
    EXPECT_EQ(before, series(Get("/metrics").body));
    EXPECT_GT(before.size(), 10000u);
}

TEST_F(Metrics, stats_in_every_state)
{
    ASSERT_NO_FATAL_FAILURE(Start(true));
    Answer answer = Get("/v1/stats");
    EXPECT_EQ(200, answer.code);
    EXPECT_EQ("application/json", answer.Header("Content-Type"));
    EXPECT_EQ("no-store", answer.Header("Cache-Control"));
    {
        metrics_test::Json json(answer.body);
        EXPECT_EQ("loading", json.text("state"));
        EXPECT_TRUE(json_is_null(json.at("model")));
    }
    EXPECT_EQ(200, Get("/metrics").code);
    held_ = false;
    ASSERT_TRUE(Until([&] { return engine_thread_state(engine_) == ENGINE_READY; }));
    Submit(20);
    ASSERT_TRUE(Until([&] { return Idle(); }));
    metrics_test::Json json(Get("/v1/stats").body);
    EXPECT_EQ("ready", json.text("state"));
    EXPECT_EQ(20, json_integer_value(json_object_get(json.at("tokens"), "generation")));
    EXPECT_EQ(
        3u, json_array_size(json_object_get(json_object_get(json.at("layers"), "device"), "hits")));
    EXPECT_GT(json.number("uptime_s"), 0);
}

TEST_F(Metrics, a_model_that_does_not_load_is_told)
{
    thread_.engine.model = "/nowhere";
    ASSERT_NO_FATAL_FAILURE(Start());
    ASSERT_TRUE(Until([&] { return engine_thread_state(engine_) == ENGINE_FAILED; }));
    metrics_test::Json json(Get("/v1/stats").body);
    EXPECT_EQ("failed", json.text("state"));
    EXPECT_NE(std::string::npos, json.text("error").find("/nowhere"));
    EXPECT_EQ(200, Get("/metrics").code);
}

TEST_F(Metrics, who_needs_a_key)
{
    ASSERT_NO_FATAL_FAILURE(Start());
    ASSERT_EQ(4u, count_);
    for (uint32_t i = 0; i < count_; i++)
        EXPECT_FALSE(routes_[i].is_public) << routes_[i].path;
    struct metrics_config open = config_;
    open.page_public = true;
    struct metrics *other = nullptr;
    struct http_route routes[METRICS_ROUTES_MAX];
    ASSERT_EQ(STATUS_OK, metrics_open(&other, &open, nullptr));
    ASSERT_EQ(4u, metrics_routes(other, routes));
    for (const struct http_route &route : routes)
        EXPECT_EQ(strcmp(route.path, "/metrics") == 0, route.is_public) << route.path;
    metrics_close(other);
    metrics_close(nullptr);
}

TEST_F(Metrics, without_a_page)
{
    config_.page = false;
    ASSERT_NO_FATAL_FAILURE(StartReady());
    EXPECT_EQ(404, Get("/metrics").code);
    EXPECT_EQ(200, Get("/v1/stats").code);
    EXPECT_EQ(200, Get("/v1/experts").code);
}

} // namespace
