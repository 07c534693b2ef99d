/* link: engine */
/* The engine when memory, threads or descriptors run out: it opens whole or not at all, a
 * sequence is there or was refused, and a step that fails can be tried again with the same
 * tokens. */
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/predict/lstm_file.h"
#include "tests/engine/engine_harness.h"
#include "tests/faults/sweep.h"
#include "tests/support/toy_model.h"

namespace {

/* Every part that an engine can have: a ring, a host tier behind it, IO by `io`, all foretellers
 * and the slow clock, weights of a load forecast, a trace, matrices turned into another format. */
class EngineFaults : public testing::TestWithParam<enum io_kind> {
protected:
    EngineFaults()
    {
        toy::Model model;
        toy::write(folder_, model);
        folder_.write("tokenizer.json",
                      "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},"
                      "\"merges\":[\"a b\"]},\"decoder\":{\"type\":\"ByteLevel\"},"
                      "\"added_tokens\":[{\"id\":3,\"content\":\"<s>\",\"special\":true}]}");
        path_ = folder_.path();
        struct lstm_sizes sizes = {};
        sizes.layers = model.layers;
        sizes.experts = model.experts;
        sizes.units = 4;
        sizes.horizon_count = 1;
        sizes.horizons[0] = 1;
        struct lstm_net *net = nullptr;
        struct error error = {};
        EXPECT_EQ(lstm_net_open(&net, &sizes, 1, &error), STATUS_OK) << error.text;
        lstm_ = folder_.path("loads.lstm");
        EXPECT_EQ(lstm_file_write(net, lstm_.c_str(), &error), STATUS_OK) << error.text;
        lstm_net_close(net);
        trace_ = folder_.path("trace.mtrace");
    }
    struct engine_config config() const
    {
        struct engine_config c = Engine::defaults(path_);
        c.io = GetParam();
        c.io_threads = 1;
        c.device_experts = Engine::pages(5);
        c.host_experts = Engine::pages(9);
        c.prefetch = PREFETCH_ON;
        c.max_num_seqs = 2;
        c.max_batch_tokens = 8;
        c.load_lstm = lstm_.c_str();
        c.trace_out = trace_.c_str();
        return c;
    }
    scratch::Folder folder_;
    std::string path_, lstm_, trace_;
};

TEST_P(EngineFaults, OpensWholeOrNotAtAll)
{
    struct engine_config c = config();
    faults::Rules rules;
    rules.spared_max = 2; /* lists of slots to touch early, a help */
    rules.may_refuse = GetParam() == IO_URING; /* no descriptor for the ring that was asked for */
    faults::sweep("engine_open", [&](struct error *error) {
        struct engine *engine = nullptr;
        enum status status = engine_open(&engine, &c, error);
        EXPECT_EQ(engine == nullptr, status != STATUS_OK);
        faults::Pause pause;
        engine_close(engine);
        return status;
    }, rules);
}

/* Tokens of a greedy sequence, each step tried until it succeeds. The first failure is told. */
enum status generate(struct engine *engine, std::vector<uint32_t> *tokens, struct error *error)
{
    const uint32_t prompt[] = {5, 17, 3, 60, 8};
    struct sampler_params sampling = Job::greedy();
    sampling.top_logprobs = 2;
    sampling.repetition_penalty = 1.1f;
    struct sequence *sequence = nullptr;
    enum status first = engine_sequence_open(engine, prompt, 5, &sampling, &sequence, error);
    EXPECT_EQ(sequence == nullptr, first != STATUS_OK);
    if (first != STATUS_OK)
        return first;
    while (tokens->size() < 6) {
        struct step_item item = {};
        struct step_output output = {};
        struct error why = {};
        uint32_t computed = sequence_computed(sequence);
        item.sequence = sequence;
        item.tokens = sequence_tokens(sequence) - computed;
        enum status status = engine_step(engine, &item, 1, &output, &why);
        if (status != STATUS_OK) {
            EXPECT_EQ(sequence_computed(sequence), computed);
            if (first == STATUS_OK)
                *error = why;
            first = first == STATUS_OK ? status : first;
            faults::Pause pause; /* the second try has memory */
            status = engine_step(engine, &item, 1, &output, &why);
            EXPECT_EQ(status, STATUS_OK) << why.text;
            if (status != STATUS_OK)
                break;
        }
        EXPECT_TRUE(output.sampled);
        tokens->push_back(output.token.token);
    }
    engine_sequence_close(engine, sequence);
    return first;
}

TEST_P(EngineFaults, TokensAreTheSameWhateverFails)
{
    struct engine_config c = config();
    struct error error = {};
    std::vector<uint32_t> expected;
    struct engine *engine = nullptr;
    ASSERT_EQ(engine_open(&engine, &c, &error), STATUS_OK) << error.text;
    ASSERT_EQ(generate(engine, &expected, &error), STATUS_OK) << error.text;
    faults::sweep("sequence and steps", [&](struct error *why) {
        std::vector<uint32_t> tokens;
        enum status status = generate(engine, &tokens, why);
        if (!tokens.empty()) {
            EXPECT_EQ(tokens, expected);
        }
        return status;
    });
    engine_close(engine);
}

TEST_P(EngineFaults, ResizingChangesNothingOrAll)
{
    struct engine_config c = config();
    struct error error = {};
    struct engine *engine = nullptr;
    ASSERT_EQ(engine_open(&engine, &c, &error), STATUS_OK) << error.text;
    uint32_t free_before = engine_kv_blocks_free(engine);
    faults::sweep("engine_resize", [&](struct error *why) {
        struct engine_budget asked = {};
        struct engine_budget_result got = {};
        asked.device_experts = Engine::pages(12);
        asked.host_experts = Engine::pages(20);
        asked.kv_bytes = engine_info(engine)->kv_bytes * 2;
        asked.set[ENGINE_ROOM_DEVICE] = asked.set[ENGINE_ROOM_HOST] = true;
        asked.set[ENGINE_ROOM_KV] = true;
        enum status status = engine_resize(engine, &asked, &got, why);
        if (status != STATUS_OK) {
            EXPECT_EQ(engine_kv_blocks_free(engine), free_before);
        }
        faults::Pause pause;
        struct error back_why = {};
        asked.device_experts = Engine::pages(5);
        asked.host_experts = Engine::pages(9);
        asked.kv_bytes = engine_info(engine)->kv_bytes;
        EXPECT_EQ(engine_resize(engine, &asked, &got, &back_why), STATUS_OK) << back_why.text;
        std::vector<uint32_t> tokens;
        EXPECT_EQ(generate(engine, &tokens, &back_why), STATUS_OK) << back_why.text;
        return status;
    });
    engine_close(engine);
}

/* A trace that cannot be finished says so; one that can is whole. */
TEST_P(EngineFaults, ATraceIsFinishedOrSaidToBeLost)
{
    struct engine_config c = config();
    faults::sweep("engine_trace_finish", [&](struct error *error) {
        struct engine *engine = nullptr;
        {
            faults::Pause pause;
            struct error why = {};
            EXPECT_EQ(engine_open(&engine, &c, &why), STATUS_OK) << why.text;
            std::vector<uint32_t> tokens;
            EXPECT_EQ(generate(engine, &tokens, &why), STATUS_OK) << why.text;
        }
        enum status status = engine_trace_finish(engine, error);
        faults::Pause pause;
        engine_close(engine);
        return status;
    });
}

std::string io_name(const testing::TestParamInfo<enum io_kind> &param)
{
    return param.param == IO_SYNC ? "Sync" : param.param == IO_THREAD ? "Thread" : "Uring";
}

INSTANTIATE_TEST_SUITE_P(Io, EngineFaults, testing::Values(IO_SYNC, IO_THREAD, IO_URING), io_name);

} // namespace
