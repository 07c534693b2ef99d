/* --trace-out: what the engine records is what its router chose, whoever shares the step, whatever
 * fails on the way. The judge is another run: batch neighbours and chunks do not change choices. */
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/replay/trace.h"
#include "tests/engine/engine_harness.h"
#include "tests/support/toy_model.h"

namespace {

class TraceOutTest : public testing::Test {
protected:
    TraceOutTest() { toy::write(folder_, model_); }
    ~TraceOutTest() override { trace_close(trace_); }

    Engine::Tweak recording()
    {
        return [this](struct engine_config &c) {
            c.device_experts = Engine::pages(9);
            c.trace_out = path_.c_str();
        };
    }
    void read()
    {
        struct error error = {};
        trace_close(trace_);
        ASSERT_EQ(trace_open(&trace_, path_.c_str(), &error), STATUS_OK) << error.text;
        EXPECT_EQ(trace_->layers, model_.layers);
        EXPECT_EQ(trace_->experts, model_.experts);
        EXPECT_EQ(trace_->top_k, model_.top_k);
        ASSERT_NE(trace_->step, nullptr);
    }
    /* All choices of one request, token by token. */
    std::vector<uint32_t> choices(uint32_t request) const
    {
        const struct trace_request &r = trace_->requests[request];
        std::vector<uint32_t> all;
        for (uint64_t i = r.first; i < r.first + r.tokens; i++)
            for (uint32_t l = 0; l < trace_->layers; l++)
                for (uint32_t k = 0; k < trace_->top_k; k++) {
                    all.push_back(trace_id(trace_, i, l, k));
                    EXPECT_LT(all.back(), model_.experts); /* nothing was left open */
                }
        return all;
    }
    std::vector<uint32_t> steps(uint32_t request) const
    {
        const struct trace_request &r = trace_->requests[request];
        std::vector<uint32_t> all;
        for (uint64_t i = r.first; i < r.first + r.tokens; i++)
            all.push_back(trace_step(trace_, i));
        return all;
    }

    toy::Model model_;
    scratch::Folder folder_;
    std::string path_ = folder_.path("a.mtrace");
    struct trace *trace_ = nullptr;
};

TEST_F(TraceOutTest, BatchesAndChunksRecordWhatEachAloneDoes)
{
    std::vector<Job> jobs;
    std::vector<std::vector<uint32_t>> alone;
    for (uint32_t i = 0; i < 4; i++) {
        jobs.push_back(job_of(some_prompt(20 + i, 3 + 4 * i, 96), 5 + i));
        Engine(folder_.path(), recording()).run(jobs[i]);
        read();
        ASSERT_EQ(trace_->request_count, 1u);
        EXPECT_EQ(trace_->requests[0].prefill, jobs[i].prompt.size());
        EXPECT_EQ(trace_->requests[0].tokens, jobs[i].prompt.size() + jobs[i].count - 1);
        alone.push_back(choices(0));
        jobs[i].chunk = 1 + i;
        jobs[i].begin = 2 * i;
    }
    Engine(folder_.path(), recording()).run(jobs);
    read();
    ASSERT_EQ(trace_->request_count, 4u);
    for (uint32_t i = 0; i < 4; i++) {
        EXPECT_EQ(choices(i), alone[i]) << i;
        EXPECT_EQ(trace_->requests[i].id, i);
        EXPECT_EQ(trace_->requests[i].prefill, jobs[i].prompt.size());
        EXPECT_EQ(steps(i).front(), 2 * i);
    }
    EXPECT_EQ(steps(1), (std::vector<uint32_t>{2, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 10}));
}

TEST_F(TraceOutTest, APreemptedRequestIsRecordedAgainAsPrompt)
{
    Job job = job_of(some_prompt(5, 6, 96), 8);
    Engine(folder_.path(), recording()).run(job);
    read();
    std::vector<uint32_t> whole = choices(0);
    job.preempt = {3};
    Engine(folder_.path(), recording()).run(job);
    read();
    ASSERT_EQ(trace_->request_count, 2u);
    EXPECT_EQ(trace_->requests[0].id, trace_->requests[1].id);
    EXPECT_EQ(trace_->requests[0].tokens, 8u); /* 6 of the prompt and 2 more in steps 1 and 2 */
    EXPECT_EQ(trace_->requests[0].prefill, 6u);
    EXPECT_EQ(trace_->requests[1].prefill, 9u); /* the prompt and three sampled */
    EXPECT_EQ(trace_->requests[1].tokens, 13u);
    EXPECT_EQ(choices(1), whole);
    std::vector<uint32_t> first = choices(0);
    EXPECT_EQ(first, std::vector<uint32_t>(whole.begin(), whole.begin() + (long)first.size()));
}

/* What was taken of another was not routed; what follows is the prompt's rest, as it was routed
 * there. */
TEST_F(TraceOutTest, ATakenPrefixIsNotInIt)
{
    std::vector<Job> jobs(2, job_of(some_prompt(6, 40, 96), 3));
    jobs[1].take = true;
    jobs[1].begin = 1;
    Engine(folder_.path(), recording()).run(jobs);
    read();
    ASSERT_EQ(trace_->request_count, 2u);
    std::vector<uint32_t> whole = choices(0), rest = choices(1);
    EXPECT_EQ(trace_->requests[1].prefill, 40u - 32);
    EXPECT_EQ(trace_->requests[1].tokens, 40u - 32 + 2);
    EXPECT_EQ(rest, std::vector<uint32_t>(whole.end() - (long)rest.size(), whole.end()));
}

/* Steps that fail in a late layer and are tried again are in it once. */
TEST_F(TraceOutTest, AFailedStepLeavesNothing)
{
    uint64_t begin =
        toy::write_with_last(folder_, model_, {"model.layers.2.mlp.experts.5.down_proj.weight"});
    std::string whole = folder_.read("model.safetensors");
    Job job = job_of(some_prompt(70, 24, 96), 1);
    Engine(folder_.path(), recording()).run(job);
    read();
    std::vector<uint32_t> want = choices(0);
    {
        Engine e(folder_.path(), recording());
        folder_.truncate("model.safetensors", begin + 100);
        struct step_item item = {};
        struct step_output output;
        struct error error = {};
        item.sequence = e.open(job);
        item.tokens = 24;
        for (int i = 0; i < 3; i++)
            ASSERT_EQ(engine_step(e.engine, &item, 1, &output, &error), STATUS_IO)
                << "no token of the prompt wants the page that is gone";
        folder_.append("model.safetensors", whole.data() + begin + 100,
                       whole.size() - begin - 100);
        ASSERT_EQ(engine_step(e.engine, &item, 1, &output, &error), STATUS_OK) << error.text;
        engine_sequence_close(e.engine, item.sequence);
        ASSERT_EQ(engine_trace_finish(e.engine, &error), STATUS_OK) << error.text;
        e.run(job); /* after it nothing is recorded */
    }
    read();
    ASSERT_EQ(trace_->request_count, 1u);
    EXPECT_EQ(choices(0), want);
    EXPECT_EQ(steps(0), std::vector<uint32_t>(24, 0));
}

TEST_F(TraceOutTest, AnEngineThatDoesNotOpenLeavesTheOldTrace)
{
    const std::string old = "{\"format\":\"moering-trace\"}";
    folder_.write("a.mtrace", old);
    EXPECT_THROW(Engine(folder_.path(),
                        [this](struct engine_config &c) {
                            c.trace_out = path_.c_str();
                            c.device_experts = Engine::pages(0);
                        }),
                 std::runtime_error);
    EXPECT_EQ(folder_.read("a.mtrace"), old);
    EXPECT_THROW(Engine(folder_.path(),
                        [](struct engine_config &c) { c.trace_out = "/no/such/folder/a.mtrace"; }),
                 std::runtime_error);
}

} // namespace
