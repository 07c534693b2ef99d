/* The engine's manners: what it refuses, what it counts, what it tells. Its promise about tokens
 * has tests of its own (same_tokens_test, golden_test). */
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <string>
#include <thread>

#include "tests/engine/engine_harness.h"
#include "tests/support/toy_model.h"

namespace {

class EngineTest : public testing::Test {
protected:
    explicit EngineTest(const toy::Model &model = toy::Model()) : model_(model)
    {
        toy::write(folder_, model_);
    }
    enum status open(const Engine::Tweak &tweak)
    {
        struct engine *engine = nullptr;
        std::string path = folder_.path();
        struct engine_config config = Engine::defaults(path);
        if (tweak)
            tweak(config);
        error_ = {};
        enum status status = engine_open(&engine, &config, &error_);
        engine_close(engine);
        return status;
    }
    bool says(const std::string &part) const
    {
        return std::string(error_.text).find(part) != std::string::npos;
    }
    toy::Model model_;
    scratch::Folder folder_;
    struct error error_ = {};
};

TEST_F(EngineTest, TellsWhatItIs)
{
    Engine e(folder_.path() + "/", [](auto &c) { c.device_experts = Engine::pages(7); });
    const struct engine_info *info = engine_info(e.engine);
    EXPECT_STREQ(info->architecture, "qwen3_moe");
    EXPECT_EQ(std::string(info->model_name).find("moering-test-"), 0u); /* last part of the path */
    EXPECT_EQ(info->layers, model_.layers);
    EXPECT_EQ(info->experts, model_.experts);
    EXPECT_EQ(info->top_k, model_.top_k);
    EXPECT_EQ(info->vocab, model_.vocab);
    EXPECT_EQ(info->pages, model_.layers * model_.experts);
    EXPECT_EQ(info->device_slots, 7u);
    EXPECT_EQ(info->host_slots, 0u);
    EXPECT_EQ(info->max_model_len, model_.context);
    EXPECT_EQ(info->kv_block_tokens, (uint32_t)KV_BLOCK_TOKENS);
    EXPECT_STREQ(info->backend, "cpu");
    EXPECT_STREQ(info->io, "sync");
    EXPECT_STREQ(info->weight_dtype, "F32");
    EXPECT_EQ(info->eos_count, 1u);
    EXPECT_EQ(info->eos[0], 0u);
    EXPECT_EQ(engine_tokenizer(e.engine), nullptr); /* the folder has none */
    uint64_t h = model_.hidden, f = model_.width, attention = 2 * h * 4 * 8 + 2 * h * 2 * 8 + 2 * 8;
    uint64_t dense = 2 * 96 * h + h + 3 * (attention + 2 * h + 8 * h);
    EXPECT_EQ(info->parameters, dense + 3 * 8 * 3 * h * f);
    EXPECT_EQ(info->active_parameters, dense + 3 * 2 * 3 * h * f);
    EXPECT_EQ(info->token_bytes, info->dense_bytes - 4 * 96 * h + 4 * 3 * 2 * 3 * h * f);
}

TEST_F(EngineTest, TellsProgressAndBudgetWhileOpening)
{
    struct Told {
        std::vector<std::string> phases, lines;
        double last = -1;
    } told;
    ASSERT_EQ(open([&](struct engine_config &c) {
                  c.arg = &told;
                  c.progress = [](void *arg, const char *phase, double fraction) {
                      static_cast<Told *>(arg)->phases.push_back(phase);
                      static_cast<Told *>(arg)->last = fraction;
                      EXPECT_GE(fraction, 0);
                      EXPECT_LE(fraction, 1);
                  };
                  c.budget_line = [](const char *text, void *arg) {
                      static_cast<Told *>(arg)->lines.push_back(text);
                  };
              }),
              STATUS_OK) << error_.text;
    EXPECT_EQ(told.phases.front(), "headers");
    EXPECT_EQ(told.phases.back(), "ready");
    EXPECT_EQ(told.last, 1);
    std::string all;
    for (const std::string &line : told.lines)
        all += line + "\n";
    for (const char *term : {"dense weights", "KV cache", "expert ring", "--device-experts",
                             "--kv-cache-bytes", "total"})
        EXPECT_NE(all.find(term), std::string::npos) << term << " is not in\n" << all;
}

TEST_F(EngineTest, RefusesWhatCannotWorkAndNamesTheFlag)
{
    EXPECT_EQ(open([](auto &c) { c.device_experts = Engine::pages(0); }), STATUS_INVALID);
    EXPECT_TRUE(says("--device-experts")) << error_.text;
    EXPECT_EQ(open([](auto &c) { c.host_experts = Engine::pages(0); }), STATUS_INVALID);
    EXPECT_TRUE(says("--host-experts")) << error_.text;
    EXPECT_EQ(open([](auto &c) { c.max_model_len = 129; }), STATUS_INVALID);
    EXPECT_TRUE(says("--max-model-len 129")) << error_.text;
    EXPECT_EQ(open([](auto &c) { c.max_num_seqs = 0; }), STATUS_INVALID);
    EXPECT_TRUE(says("--max-num-seqs")) << error_.text;
    EXPECT_EQ(open([](auto &c) { c.max_batch_tokens = 0; }), STATUS_INVALID);
    EXPECT_TRUE(says("--max-num-batched-tokens")) << error_.text;
    EXPECT_EQ(open([](auto &c) { c.max_batch_tokens = UINT32_MAX; }), STATUS_INVALID);
    EXPECT_TRUE(says("--max-num-batched-tokens")) << error_.text;
    EXPECT_EQ(open([](auto &c) { c.kv_bytes = 1000; }), STATUS_INVALID);
    EXPECT_TRUE(says("--kv-cache-bytes 1000")) << error_.text;
    EXPECT_EQ(open([](auto &c) { c.kv_bytes = UINT64_MAX; }), STATUS_NO_MEMORY);
    EXPECT_TRUE(says("--kv-cache-bytes")) << error_.text;
    EXPECT_EQ(open([](auto &c) { c.model = "/nowhere/at/all"; }), STATUS_NOT_FOUND);
    EXPECT_TRUE(says("/nowhere/at/all")) << error_.text;
    folder_.write("tokenizer.json", "{\"version\": ");
    EXPECT_EQ(open(nullptr), STATUS_INVALID);
    EXPECT_TRUE(says("tokenizer.json")) << error_.text;
    folder_.remove("tokenizer.json");
    folder_.remove("model.safetensors");
    EXPECT_EQ(open(nullptr), STATUS_NOT_FOUND);
    EXPECT_TRUE(says("model.safetensors")) << error_.text;
}

TEST_F(EngineTest, RefusesBadSequences)
{
    Engine e(folder_.path());
    struct sequence *sequence = nullptr;
    struct sampler_params params = Job::greedy();
    auto sequence_open = [&](const std::vector<uint32_t> &prompt) {
        error_ = {};
        return engine_sequence_open(e.engine, prompt.data(), (uint32_t)prompt.size(), &params,
                                    &sequence, &error_);
    };
    EXPECT_EQ(sequence_open({}), STATUS_INVALID);
    EXPECT_TRUE(says("empty")) << error_.text;
    EXPECT_EQ(sequence_open(std::vector<uint32_t>(129, 1)), STATUS_INVALID);
    EXPECT_TRUE(says("129") && says("128")) << error_.text;
    EXPECT_EQ(sequence_open({1, 2, 96, 3}), STATUS_INVALID);
    EXPECT_TRUE(says("token 96 at position 2")) << error_.text;
    EXPECT_EQ(sequence_open({UINT32_MAX}), STATUS_INVALID);
    params.temperature = -1;
    EXPECT_EQ(sequence_open({1}), STATUS_INVALID);
    EXPECT_TRUE(says("temperature")) << error_.text;
    params = Job::greedy();
    params.top_p = NAN;
    EXPECT_EQ(sequence_open({1}), STATUS_INVALID);
    EXPECT_TRUE(says("top_p")) << error_.text;
    EXPECT_EQ(e.stats().sequences, 0u);
    params = Job::greedy();
    EXPECT_EQ(sequence_open(std::vector<uint32_t>(128, 95)), STATUS_OK); /* as long as can be */
    EXPECT_EQ(e.stats().sequences, 1u);
    engine_sequence_close(e.engine, sequence);
    engine_sequence_close(e.engine, nullptr);
}

/* The longest prompt still samples once; then the sequence is full and wants no more steps. */
TEST_F(EngineTest, AFullSequenceStops)
{
    Engine e(folder_.path());
    struct sequence *s = e.open(job_of(some_prompt(1, 128, 96), 0));
    struct step_item item = {};
    struct step_output output;
    item.sequence = s;
    item.tokens = 128;
    ASSERT_EQ(engine_step(e.engine, &item, 1, &output, nullptr), STATUS_OK);
    EXPECT_TRUE(output.sampled);
    EXPECT_EQ(sequence_tokens(s), 128u);
    EXPECT_EQ(sequence_computed(s), 128u);
    engine_sequence_close(e.engine, s);
}

TEST_F(EngineTest, CountsWhatItDid)
{
    Engine e(folder_.path(), [](auto &c) {
        c.device_experts = Engine::pages(5);
        c.prefetch = false;
    });
    const struct engine_info *info = engine_info(e.engine);
    Answer a = e.run(job_of(some_prompt(3, 10, 96), 8, 4));
    struct expert_usage sum = {};
    for (const struct expert_usage &usage : a.usage)
        expert_usage_add(&sum, &usage);
    struct engine_stats stats = e.stats();
    EXPECT_EQ(stats.experts.hits, sum.hits);
    EXPECT_EQ(stats.experts.misses, sum.misses);
    EXPECT_EQ(stats.experts.bytes, sum.bytes);
    EXPECT_EQ(stats.experts.stall_ns, sum.stall_ns);
    uint64_t page = 3ull * model_.hidden * model_.width * 4;
    EXPECT_EQ(sum.bytes, sum.misses * page);
    EXPECT_EQ(stats.storage_bytes, sum.bytes);
    EXPECT_EQ(stats.steps, 3u + 7);
    EXPECT_EQ(stats.tokens_prefill, 10u);
    EXPECT_EQ(stats.tokens_decode, 7u);
    EXPECT_EQ(stats.sampled, 8u);
    EXPECT_EQ(stats.resident_pages, 5u);
    EXPECT_EQ(stats.evictions, sum.misses - 5);
    EXPECT_EQ(stats.pages, info->pages);
    EXPECT_GT(stats.step_ns, 0u);
    EXPECT_EQ(stats.kv_blocks, info->kv_blocks);
}

/* Items of one step: each its own experts; bytes together are what was read. */
TEST_F(EngineTest, ChargesEachItemOfABatch)
{
    Engine small(folder_.path(), [](auto &c) {
        c.device_experts = Engine::pages(5);
        c.prefetch = false;
    });
    std::vector<Job> jobs;
    for (uint64_t i = 0; i < 5; i++)
        jobs.push_back(job_of(some_prompt(40 + i, 6, 96), 6));
    std::vector<Answer> answers = small.run(jobs);
    uint64_t bytes = 0;
    for (const Answer &a : answers) {
        for (size_t step = 0; step < a.usage.size(); step++) {
            bytes += a.usage[step].bytes;
            if (a.step_tokens[step] == 1) {
                EXPECT_EQ(a.usage[step].hits + a.usage[step].misses, model_.layers * model_.top_k);
            }
        }
    }
    EXPECT_EQ(bytes, small.stats().storage_bytes);
}

TEST_F(EngineTest, BannedTokensAreNotSampled)
{
    Engine e(folder_.path());
    Job job = job_of(some_prompt(8, 5, 96), 1);
    uint32_t favourite = e.run(job).tokens[0];
    struct sequence *s = e.open(job);
    struct step_item item = {};
    struct step_output output;
    item.sequence = s;
    item.tokens = 5;
    item.banned = &favourite;
    item.banned_count = 1;
    ASSERT_EQ(engine_step(e.engine, &item, 1, &output, nullptr), STATUS_OK);
    EXPECT_NE(output.token.token, favourite);
    engine_sequence_close(e.engine, s);
}

/* The pool that is made unasked holds max_num_seqs sequences of full length at once: the harness
 * expects room before every step. */
TEST_F(EngineTest, ThePoolHoldsWhatWasPromised)
{
    Engine e(folder_.path(), [](auto &c) {
        c.max_num_seqs = 6;
        c.max_model_len = 50;
        c.max_batch_tokens = 64;
    });
    EXPECT_EQ(engine_kv_blocks_free(e.engine), 6u * 4);
    std::vector<Job> jobs;
    for (uint64_t i = 0; i < 6; i++)
        jobs.push_back(job_of(some_prompt(i, 30 + (uint32_t)i, 96), 50 - 30 - (uint32_t)i));
    for (const Answer &a : e.run(jobs))
        EXPECT_FALSE(a.tokens.empty());
    EXPECT_EQ(engine_kv_blocks_free(e.engine), 6u * 4);
}

TEST_F(EngineTest, CountsKvBlocks)
{
    Engine e(folder_.path());
    uint32_t all = engine_kv_blocks_free(e.engine);
    struct sequence *s = e.open(job_of(some_prompt(1, 40, 96), 0));
    EXPECT_EQ(engine_kv_blocks_needed(s, 16), 1u);
    EXPECT_EQ(engine_kv_blocks_needed(s, 17), 2u);
    struct step_item item = {};
    struct step_output output;
    item.sequence = s;
    item.tokens = 17;
    ASSERT_EQ(engine_step(e.engine, &item, 1, &output, nullptr), STATUS_OK);
    EXPECT_FALSE(output.sampled);
    EXPECT_EQ(sequence_computed(s), 17u);
    EXPECT_EQ(engine_kv_blocks_free(e.engine), all - 2);
    EXPECT_EQ(e.stats().kv_blocks_used, 2u);
    EXPECT_EQ(engine_kv_blocks_needed(s, 15), 0u);
    EXPECT_EQ(engine_kv_blocks_needed(s, 16), 1u);
    engine_sequence_preempt(e.engine, s);
    EXPECT_EQ(engine_kv_blocks_free(e.engine), all);
    EXPECT_EQ(sequence_computed(s), 0u);
    EXPECT_EQ(sequence_tokens(s), 40u);
    engine_sequence_close(e.engine, s);
}

/* More sequences than rows, more rows of logits than sequences: limits do not know of each other.
 */
TEST_F(EngineTest, NarrowLimits)
{
    Job one = job_of(some_prompt(1, 30, 96), 5, 3);
    Engine wide(folder_.path());
    Answer want = wide.run(one);
    for (uint32_t seqs : {1u, 2u, 40u})
        for (uint32_t rows : {1u, 3u, 200u}) {
            Engine e(folder_.path(), [&](auto &c) {
                c.max_num_seqs = seqs;
                c.max_batch_tokens = rows;
            });
            Answer got = e.run(one);
            EXPECT_EQ(got.tokens, want.tokens);
            EXPECT_TRUE(got.logits == want.logits) << seqs << " sequences, " << rows << " rows";
        }
}

TEST_F(EngineTest, AnEmptyStepDoesNothing)
{
    Engine e(folder_.path());
    EXPECT_EQ(engine_step(e.engine, nullptr, 0, nullptr, nullptr), STATUS_OK);
    EXPECT_EQ(e.stats().steps, 0u);
}

TEST_F(EngineTest, StatsMayBeReadFromOtherThreads)
{
    Engine e(folder_.path(), [](auto &c) {
        c.device_experts = Engine::pages(4);
        c.threads = 2;
        c.io = IO_THREAD;
    });
    std::atomic<bool> done{false};
    uint64_t reads = 0, last = 0;
    std::thread reader([&] {
        do {
            struct engine_stats stats = e.stats();
            EXPECT_GE(stats.steps, last);
            EXPECT_LE(stats.resident_pages, 4u);
            last = stats.steps;
            reads++;
        } while (!done);
    });
    e.run({job_of(some_prompt(1, 20, 96), 30), job_of(some_prompt(2, 30, 96), 20)});
    done = true;
    reader.join();
    EXPECT_GT(reads, 0u);
    EXPECT_EQ(e.stats().sampled, 50u);
}

TEST_F(EngineTest, CallersBugsAreCaught)
{
    Engine e(folder_.path(), [](auto &c) { c.max_model_len = 16; c.kv_bytes = 1 << 15; });
    ASSERT_EQ(engine_info(e.engine)->kv_blocks, (1u << 15) / (2 * 3 * 2 * 16 * 8 * 4));
    uint32_t blocks = engine_info(e.engine)->kv_blocks;
    std::vector<struct sequence *> sequences;
    std::vector<struct step_item> items(blocks + 1);
    std::vector<struct step_output> outputs(blocks + 1);
    for (auto &item : items) {
        sequences.push_back(e.open(job_of({1, 2}, 0)));
        item.sequence = sequences.back();
        item.tokens = 2;
    }
    auto step = [&](uint32_t count) {
        (void)engine_step(e.engine, items.data(), count, outputs.data(), nullptr);
    };
    EXPECT_DEATH(step(blocks + 1), "kv_cache");
    items[0].tokens = 3;
    EXPECT_DEATH(step(1), "tokens");
    items[0].tokens = 0;
    EXPECT_DEATH(step(1), "tokens");
    for (struct sequence *s : sequences)
        engine_sequence_close(e.engine, s);
}

TEST_F(EngineTest, CloseAcceptsNull)
{
    engine_close(nullptr);
}

} // namespace
