#include "server/front_status.h"

#include <gtest/gtest.h>
#include <string.h>

#include <string>

namespace {

TEST(front_status, the_line_is_worded_as_tools_expect)
{
    struct batcher_stats last = {}, now = {};
    struct engine_stats last_engine = {}, engine = {};
    last.prompt_tokens = 100;
    now.prompt_tokens = 150;
    last.generation_tokens = 10;
    now.generation_tokens = 30;
    last.prefix_queries = 100;
    now.prefix_queries = 180;
    last.prefix_hits = 90;
    now.prefix_hits = 110;
    now.now.running = 3;
    now.now.waiting = 2;
    now.now.kv_blocks = 8;
    now.now.kv_blocks_used = 2;
    last_engine.experts.hits = 5;
    engine.experts.hits = 80;
    engine.experts.misses = 25;
    engine.experts.stall_ns = 40000000;
    char line[512];
    front_status_format(line, sizeof line, 10, &last, &now, &last_engine, &engine);
    EXPECT_STREQ("Engine 000: Avg prompt throughput: 5.0 tokens/s, Avg generation throughput: 2.0 "
                 "tokens/s, Running: 3 reqs, Waiting: 2 reqs, GPU KV cache usage: 25.0%, Prefix "
                 "cache hit rate: 25.0%, Expert cache hit rate: 75.0%, Expert stall: 2.0 ms/tok",
                 line);
    /* Prefetching and regret are told once there is something to tell, at the end. */
    std::string before = line;
    last_engine.policy.prefetch.used = 10;
    engine.policy.prefetch.used = 13;
    engine.policy.prefetch.wasted = 1;
    front_status_format(line, sizeof line, 10, &last, &now, &last_engine, &engine);
    EXPECT_EQ(before + ", Prefetch precision: 75.0%", line);
    engine.regret.windows = 1;
    engine.regret.share = 0.876;
    front_status_format(line, sizeof line, 10, &last, &now, &last_engine, &engine);
    EXPECT_EQ(before + ", Prefetch precision: 75.0%, Oracle share: 87.6%", line);
    char narrow[20];
    front_status_format(narrow, sizeof narrow, 10, &last, &now, &last_engine, &engine);
    EXPECT_STREQ("Engine 000: Avg pro", narrow);
}

TEST(front_status, nothing_done_divides_by_nothing)
{
    struct batcher_stats none = {};
    struct engine_stats engine = {};
    char line[512];
    front_status_format(line, sizeof line, 10, &none, &none, &engine, &engine);
    EXPECT_EQ(nullptr, strstr(line, "nan"));
    EXPECT_EQ(nullptr, strstr(line, "inf"));
}

TEST(front_status, quiet_when_idle_and_between_intervals)
{
    struct front_status s;
    struct batcher_stats idle = {}, busy = {};
    struct engine_stats engine = {};
    front_status_init(&s, 10, false, 1000);
    busy.generation_tokens = 7;
    testing::internal::CaptureStderr();
    front_status_line(&s, 1000 + 9999999999u, &busy, &engine); // too early
    front_status_line(&s, 1000 + 10000000000u, &idle, &engine);
    EXPECT_EQ("", testing::internal::GetCapturedStderr());
    testing::internal::CaptureStderr();
    front_status_line(&s, 1000 + 20000000000u, &busy, &engine);
    EXPECT_NE(std::string::npos, testing::internal::GetCapturedStderr().find("Engine 000: Avg"));
    testing::internal::CaptureStderr();
    front_status_line(&s, 1000 + 30000000000u, &busy, &engine); // nothing new
    EXPECT_EQ("", testing::internal::GetCapturedStderr());
}

TEST(front_status, what_computes_is_told)
{
    struct engine_info info = {};
    char text[FRONT_STATUS_BACKEND_MAX];
    info.backend = "cpu";
    info.isa = "avx512";
    info.threads = 2;
    front_status_backend(text, sizeof text, &info);
    EXPECT_STREQ("cpu avx512, 2 threads", text);
    info.backend = "cuda";
    info.device = "Some GPU";
    front_status_backend(text, sizeof text, &info);
    EXPECT_STREQ("cuda and cpu avx512, 2 threads", text);
    info.isa = "";
    info.threads = 0;
    front_status_backend(text, sizeof text, &info);
    EXPECT_STREQ("cuda", text);
}

TEST(front_status, ready_names_the_device_if_there_is_one)
{
    struct front_status s;
    struct engine_info info = {};
    info.model_name = "m";
    info.architecture = "olmoe";
    info.backend = "cuda";
    info.isa = "";
    info.link_idle_bytes_per_s = 25e9;
    info.link_loaded_bytes_per_s = 20.5e9;
    info.placement = PLACEMENT_DEVICE;
    info.deterministic = true;
    front_status_init(&s, 0, false, 0);
    testing::internal::CaptureStderr();
    front_status_ready(&s, &info);
    std::string text = testing::internal::GetCapturedStderr();
    EXPECT_NE(std::string::npos, text.find("serving m (olmoe): ")) << text;
    EXPECT_EQ(std::string::npos, text.find("INFO device")) << text;
    info.device = "Some GPU";
    testing::internal::CaptureStderr();
    front_status_ready(&s, &info);
    text = testing::internal::GetCapturedStderr();
    EXPECT_NE(std::string::npos, text.find("device Some GPU: 25.0 GB/s from host memory, 20.5 GB/s "
                                           "while it computes; experts run on the device, "
                                           "deterministic\n"))
        << text;
}

TEST(front_status, progress_in_steps_or_as_a_bar)
{
    struct front_status s;
    front_status_init(&s, 0, false, 0);
    testing::internal::CaptureStderr();
    front_status_progress(&s, "weights", 0.0);
    front_status_progress(&s, "weights", 0.04); // less than 5 % more
    front_status_progress(&s, "weights", 0.05);
    std::string text = testing::internal::GetCapturedStderr();
    EXPECT_NE(std::string::npos, text.find("loading: weights 0 %"));
    EXPECT_EQ(std::string::npos, text.find("weights 4 %"));
    EXPECT_NE(std::string::npos, text.find("loading: weights 5 %"));
    front_status_init(&s, 0, true, 0);
    testing::internal::CaptureStderr();
    front_status_progress(&s, "headers", 0);
    front_status_progress(&s, "weights", 0);
    EXPECT_FALSE(s.bar_open);
    front_status_progress(&s, "weights", 0.5);
    EXPECT_TRUE(s.bar_open);
    front_status_end_bar(&s);
    front_status_end_bar(&s);
    text = testing::internal::GetCapturedStderr();
    EXPECT_NE(std::string::npos,
              text.find("\rloading [###############---------------]  50 % weights"));
    EXPECT_EQ('\r', text.front());
    EXPECT_EQ(std::string::npos, text.find("headers"));
    EXPECT_EQ('\n', text.back());
}

} // namespace
