#include "server/metrics/metrics_snapshot.h"

#include <gtest/gtest.h>

#include "tests/server/metrics/metrics_server.h"

namespace {

struct Snapshots : metrics_test::Server {
    ~Snapshots() override { Stop(); }
    uint32_t OpenRoutes(struct http_route *) override { return 0; }
    void Attach() override
    {
        source_.start_ns = clock_now_ns();
        source_.served_name = served_name_;
        source_.requests = requests_;
        source_.engine = engine_;
        source_.request_metrics = &request_metrics_;
    }
    void CloseRoutes() override { metrics_source_reset(&source_); }
    void Take() { ASSERT_TRUE(metrics_snapshot_take(&source_, &s_)); }

    struct metrics_source source_ = {};
    struct metrics_snapshot s_;
};

TEST_F(Snapshots, states)
{
    ASSERT_NO_FATAL_FAILURE(Start(true));
    ASSERT_NO_FATAL_FAILURE(Take());
    EXPECT_EQ(METRICS_LOADING, s_.state);
    EXPECT_EQ(nullptr, s_.info);
    EXPECT_EQ(nullptr, s_.model_name) << "nobody knows it yet";
    requests_drain(requests_);
    ASSERT_NO_FATAL_FAILURE(Take());
    EXPECT_EQ(METRICS_LOADING, s_.state) << "there is no model to drain";
    held_ = false;
    ASSERT_TRUE(Until([&] { return engine_thread_state(engine_) == ENGINE_READY; }));
    ASSERT_NO_FATAL_FAILURE(Take());
    EXPECT_EQ(METRICS_DRAINING, s_.state);
    EXPECT_NE(nullptr, s_.info);
    EXPECT_STREQ(s_.info->model_name, s_.model_name);
    EXPECT_GE(s_.now_ns, s_.start_ns);
}

TEST_F(Snapshots, a_model_that_does_not_load)
{
    served_name_ = "served";
    thread_.engine.model = "/nowhere";
    ASSERT_NO_FATAL_FAILURE(Start());
    ASSERT_TRUE(Until([&] { return engine_thread_state(engine_) == ENGINE_FAILED; }));
    ASSERT_NO_FATAL_FAILURE(Take());
    EXPECT_EQ(METRICS_FAILED, s_.state);
    EXPECT_NE(nullptr, strstr(s_.error, "/nowhere"));
    EXPECT_STREQ("served", s_.model_name);
}

/* While the engine works: layers and totals are of one step. */
TEST_F(Snapshots, belong_together)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    uint64_t differing = 0, steps = 0, asked = 0;
    while (!Idle() || differing <= 10) {
        if (Idle()) { /* again, until enough steps were seen under way */
            ASSERT_LT(asked, 4000u) << differing << " steps seen";
            for (int i = 0; i < 4; i++, asked++)
                Submit(100);
        }
        Turn();
        ASSERT_NO_FATAL_FAILURE(Take());
        EXPECT_EQ(METRICS_READY, s_.state);
        struct expert_tier_usage sum = {};
        for (uint32_t l = 0; l < s_.info->layers; l++) {
            sum.hits += s_.layers[l].tier[MEMORY_DEVICE].hits;
            sum.misses += s_.layers[l].tier[MEMORY_DEVICE].misses;
            sum.resident += s_.layers[l].tier[MEMORY_DEVICE].resident;
        }
        ASSERT_EQ(s_.engine.experts.hits, sum.hits);
        ASSERT_EQ(s_.engine.experts.misses, sum.misses);
        ASSERT_EQ(s_.engine.resident_pages, sum.resident);
        differing += s_.engine.steps != steps;
        steps = s_.engine.steps;
    }
    ASSERT_NO_FATAL_FAILURE(Take());
    EXPECT_EQ(asked * 100, s_.thread.batcher.generation_tokens);
    EXPECT_EQ(asked, s_.requests->ended[REQUEST_END_LENGTH]);
    EXPECT_EQ(s_.engine.tokens_prefill + s_.engine.tokens_decode, s_.thread.batcher.step_tokens);
}

} // namespace
