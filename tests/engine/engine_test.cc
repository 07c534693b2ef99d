/* The engine's manners: what it refuses, what it counts, what it tells. Its promise about tokens
 * has tests of its own (same_tokens_test, golden_test). */
#include "engine/engine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <string>
#include <thread>

#include "engine/predict/lstm.h"
#include "engine/predict/lstm_file.h"
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
        c.prefetch = PREFETCH_OFF;
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

/* The newest window of requests beside Belady's rule. On demand alone nobody is above it. */
TEST_F(EngineTest, ComparesItselfWithTheBest)
{
    Engine e(folder_.path(), [](auto &c) {
        c.device_experts = Engine::pages(6); /* a quarter */
        c.prefetch = PREFETCH_OFF;
        c.stream_layers = STREAM_OFF;
    });
    EXPECT_EQ(e.stats().regret.windows, 0u);
    EXPECT_EQ(e.stats().regret.next_requests, (uint32_t)REGRET_FIRST_WINDOW);
    std::vector<Job> jobs;
    for (uint64_t i = 0; i < 8; i++)
        jobs.push_back(job_of(some_prompt(40 + i, 6, 96), 110));
    uint64_t windows = 0;
    for (uint32_t round = 0; windows < 2; round++) {
        ASSERT_LT(round, 40u);
        e.run(round % 2 ? jobs : std::vector<Job>{jobs[0]});
        struct engine_stats stats = e.stats();
        windows = stats.regret.windows;
        if (windows == 0)
            continue;
        EXPECT_GE(stats.regret.requests, (uint32_t)REGRET_FIRST_WINDOW * windows);
        EXPECT_LT(stats.regret.requests, stats.regret.next_requests);
        EXPECT_GT(stats.regret.hit_rate, 0);
        EXPECT_LE(stats.regret.hit_rate, stats.regret.oracle_hit_rate);
        EXPECT_LE(stats.regret.oracle_hit_rate, 1);
        EXPECT_DOUBLE_EQ(stats.regret.share,
                         stats.regret.hit_rate / stats.regret.oracle_hit_rate);
        EXPECT_GT(stats.regret_ns, 0u);
        EXPECT_LT(stats.regret_ns, stats.step_ns);
        EXPECT_LE(stats.regret.requests, stats.experts.hits + stats.experts.misses);
    }
}

TEST_F(EngineTest, EverythingResidentHasNoRegret)
{
    Engine e(folder_.path(), [](auto &c) { /* what comes early is a hit that the bound lacks */
        c.prefetch = PREFETCH_OFF;
        c.stream_layers = STREAM_OFF;
    });
    for (uint32_t i = 0; i < 20 && !e.stats().regret.windows; i++)
        e.run(job_of(some_prompt(i, 6, 96), 110));
    struct engine_stats stats = e.stats();
    ASSERT_GT(stats.regret.windows, 0u);
    EXPECT_EQ(stats.regret.share, 1);
    EXPECT_EQ(stats.regret.hit_rate, stats.regret.oracle_hit_rate);
}

/* Layers turn to ticks: prompts and decoding apart, each with its state and its forecasts. */
TEST_F(EngineTest, TellsTheLoadsOfItsLayers)
{
    Engine e(folder_.path());
    std::vector<struct engine_load> loads(model_.layers * LOAD_PHASES);
    struct engine_stats stats;
    engine_stats_read(e.engine, &stats, loads.data());
    for (const struct engine_load &load : loads)
        EXPECT_EQ(load.state.ticks, 0u);
    Job one = job_of(some_prompt(5, 4, 96), 115);
    while (stats.tokens_decode * model_.top_k < 2 * LOADS_DECODE_TICK_TOKENS) {
        e.run(one);
        engine_stats_read(e.engine, &stats, loads.data());
    }
    for (uint32_t l = 0; l < model_.layers; l++) {
        const struct engine_load &decode = loads[l * LOAD_PHASES + LOAD_DECODE];
        EXPECT_GE(decode.state.ticks, 1u);
        EXPECT_FALSE(decode.state.stable); /* so soon */
        EXPECT_STREQ(decode.horizon[0].name, "window");
        EXPECT_EQ(loads[l * LOAD_PHASES + LOAD_PREFILL].state.ticks, 0u);
    }
}

/* Items of one step: each its own experts; bytes together are what was read. */
/* Weights that forecast loads: in the budget, in both phases, and of no consequence for the
 * tokens. */
TEST_F(EngineTest, TakesWeightsThatForecastLoads)
{
    scratch::Folder weights;
    std::string path = weights.path("w.lstm");
    auto write = [&](uint32_t layers, uint32_t experts) {
        struct lstm_sizes sizes = {layers, experts, 8, 3, {1, 10, 100}};
        struct lstm_net *net;
        ASSERT_EQ(lstm_net_open(&net, &sizes, 1, nullptr), STATUS_OK);
        EXPECT_EQ(lstm_file_write(net, path.c_str(), nullptr), STATUS_OK);
        lstm_net_close(net);
    };
    auto with_lstm = [&](auto &c) { c.load_lstm = path.c_str(); };
    std::string missing = "--load-lstm: " + path + ": ";
    EXPECT_EQ(open(with_lstm), STATUS_NOT_FOUND);
    EXPECT_TRUE(says(missing)) << error_.text;
    write(model_.layers, model_.experts + 1);
    EXPECT_EQ(open(with_lstm), STATUS_INVALID);
    std::string layers = std::to_string(model_.layers), experts = std::to_string(model_.experts);
    EXPECT_TRUE(says(missing + "layers x experts is " + layers + " x " +
                     std::to_string(model_.experts + 1) + "; the model has " + layers + " x " +
                     experts)) << error_.text;
    write(model_.layers, model_.experts);
    std::vector<std::string> lines;
    Engine without(folder_.path()), e(folder_.path(), [&](auto &c) {
        c.load_lstm = path.c_str();
        c.arg = &lines;
        c.budget_line = [](const char *text, void *arg) {
            static_cast<std::vector<std::string> *>(arg)->push_back(text);
        };
    });
    EXPECT_TRUE(std::any_of(lines.begin(), lines.end(), [](const std::string &line) {
        return line.find("load LSTM") == 0 && line.find("--load-lstm") != std::string::npos;
    }));
    auto prompt = some_prompt(7, 40, model_.vocab);
    EXPECT_EQ(e.run(job_of(prompt, 30)).tokens, without.run(job_of(prompt, 30)).tokens);
    std::string spoilt = weights.read("w.lstm");
    spoilt.back() ^= 1;
    weights.write("w.lstm", spoilt);
    EXPECT_EQ(open(with_lstm), STATUS_INVALID);
    EXPECT_TRUE(says(missing + "checksum")) << error_.text;
}

TEST_F(EngineTest, ChargesEachItemOfABatch)
{
    Engine small(folder_.path(), [](auto &c) {
        c.device_experts = Engine::pages(5);
        c.prefetch = PREFETCH_OFF;
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

/* One page of the checkpoint is gone: the step names the items that want it, the others can do
 * without them, and when the page is back nobody remembers. */
TEST_F(EngineTest, AFailedStepNamesTheItemsToBlame)
{
    uint64_t begin =
        toy::write_with_last(folder_, model_, {"model.layers.2.mlp.experts.5.down_proj.weight"});
    std::string whole = folder_.read("model.safetensors");
    Engine e(folder_.path(), [](auto &c) { c.device_experts = Engine::pages(5); });
    constexpr uint32_t count = 8;
    struct step_item items[count] = {};
    struct step_output outputs[count];
    struct error error = {};
    std::vector<Answer> want;
    bool blamed[count];
    uint32_t blamed_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        Job job = job_of(some_prompt(70 + i, 3, 96), 1);
        want.push_back(e.run(job));
        items[i].sequence = e.open(job);
        items[i].tokens = 3;
    }
    e.run(job_of(some_prompt(60, 20, 96), 4)); /* the page may be resident: wash it out */
    folder_.truncate("model.safetensors", begin + 100);
    for (uint32_t i = 0; i < count; i++) { /* each alone, on a sequence of its own */
        struct step_item alone = {};
        alone.sequence = e.open(job_of(some_prompt(70 + i, 3, 96), 1));
        alone.tokens = 3;
        blamed[i] = engine_step(e.engine, &alone, 1, outputs, &error) != STATUS_OK;
        blamed_count += blamed[i];
        engine_sequence_close(e.engine, alone.sequence);
    }
    ASSERT_GT(blamed_count, 0u);
    ASSERT_LT(blamed_count, count);

    error = {};
    ASSERT_EQ(engine_step(e.engine, items, count, outputs, &error), STATUS_IO);
    for (const std::string &part :
         {std::string("layer 2 expert 5"), folder_.path("model.safetensors"),
          std::to_string(begin + 100)})
        EXPECT_NE(std::string(error.text).find(part), std::string::npos) << error.text;
    std::vector<struct step_item> spared, others;
    for (uint32_t i = 0; i < count; i++) {
        EXPECT_EQ(outputs[i].status, blamed[i] ? STATUS_IO : STATUS_OK) << i;
        EXPECT_FALSE(outputs[i].sampled);
        EXPECT_EQ(sequence_computed(items[i].sequence), 0u);
        (blamed[i] ? others : spared).push_back(items[i]);
    }
    error = {};
    ASSERT_EQ(engine_step(e.engine, spared.data(), (uint32_t)spared.size(), outputs, &error),
              STATUS_OK) << error.text;
    for (uint32_t i = 0, n = 0; i < count; i++)
        if (!blamed[i]) {
            EXPECT_EQ(outputs[n++].token.token, want[i].tokens[0]);
        }
    folder_.append("model.safetensors", whole.data() + begin + 100, whole.size() - begin - 100);
    ASSERT_EQ(engine_step(e.engine, others.data(), (uint32_t)others.size(), outputs, &error),
              STATUS_OK) << error.text;
    for (uint32_t i = 0, n = 0; i < count; i++)
        if (blamed[i]) {
            EXPECT_EQ(outputs[n++].token.token, want[i].tokens[0]);
        }
    for (uint32_t i = 0; i < count; i++)
        engine_sequence_close(e.engine, items[i].sequence);
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

TEST_F(EngineTest, OnlyWhatIsAllowedIsSampled)
{
    Engine e(folder_.path());
    Job job = job_of(some_prompt(8, 5, 96), 1);
    job.sampling.top_logprobs = 4;
    uint32_t favourite = e.run(job).tokens[0], other = (favourite + 40) % 96;
    struct sequence *s = e.open(job);
    struct step_item item = {};
    struct step_output output;
    struct error error = {};
    std::vector<uint32_t> mask(3, 0);
    item.sequence = s;
    item.tokens = 4;
    item.allowed = mask.data();
    ASSERT_EQ(engine_step(e.engine, &item, 1, &output, &error), STATUS_OK);
    EXPECT_EQ(output.status, STATUS_OK) << "nothing was to be sampled yet";
    EXPECT_FALSE(output.sampled);
    item.tokens = 1;
    ASSERT_EQ(engine_step(e.engine, &item, 1, &output, &error), STATUS_OK);
    EXPECT_EQ(output.status, STATUS_INTERNAL) << "nothing is allowed";
    EXPECT_FALSE(output.sampled);
    EXPECT_NE(std::string(error.text).find("no token is left"), std::string::npos) << error.text;
    engine_sequence_close(e.engine, s);

    s = e.open(job);
    mask[other / 32] = 1u << other % 32;
    item.sequence = s;
    item.tokens = 5;
    ASSERT_EQ(engine_step(e.engine, &item, 1, &output, nullptr), STATUS_OK);
    ASSERT_TRUE(output.sampled);
    EXPECT_EQ(output.token.token, other);
    EXPECT_EQ(output.token.top[0].token, favourite) << "the model's opinion is told unmasked";
    EXPECT_LT(output.token.logprob, output.token.top[0].logprob);
    engine_sequence_close(e.engine, s);
}

/* What the model says of each prompt token, in whatever chunks and batches it is computed, is what
 * its logits say. */
TEST_F(EngineTest, ScoresThePrompt)
{
    Engine e(folder_.path(), [](auto &c) { c.max_num_seqs = 3; }); /* three logits at a time */
    Job job = job_of(some_prompt(9, 23, 96), 2);
    job.sampling.top_logprobs = 3;
    Answer whole = e.run(job);
    for (uint32_t chunk : {1u, 4u, 7u, 22u, 23u}) {
        struct sequence *s = e.open(job), *company = e.open(job_of(some_prompt(10, 23, 96), 1));
        std::vector<struct sampled> scores(22);
        for (uint32_t at = 0; at < 23; at += chunk) {
            uint32_t tokens = std::min(chunk, 23 - at), first = at == 0 && tokens > 3 ? 2 : 0;
            struct step_item items[2] = {};
            struct step_output outputs[2];
            items[0].sequence = company;
            items[1].sequence = s;
            items[0].tokens = items[1].tokens = tokens;
            items[1].no_token = true;
            items[1].score_from = first; /* the first two are left out where there are more */
            items[1].score_count = std::min(at + tokens, 22u) - at - first;
            items[1].scored = scores.data() + at + first;
            ASSERT_EQ(engine_step(e.engine, items, 2, outputs, nullptr), STATUS_OK);
            EXPECT_FALSE(outputs[1].sampled) << "no token was wanted";
            EXPECT_EQ(outputs[0].sampled, at + tokens == 23);
        }
        EXPECT_EQ(sequence_computed(s), 23u);
        EXPECT_EQ(sequence_tokens(s), 23u);
        for (uint32_t p = chunk > 3 ? 2 : 0; p < 22; p++) {
            const float *logits = whole.logits.data() + (size_t)p * 96;
            double sum = 0;
            for (uint32_t t = 0; t < 96; t++)
                sum += std::exp((double)logits[t]);
            ASSERT_EQ(scores[p].token, job.prompt[p + 1]);
            ASSERT_NEAR(scores[p].logprob, logits[job.prompt[p + 1]] - std::log(sum), 1e-5);
            ASSERT_EQ(scores[p].top_count, 3u);
            uint32_t best = (uint32_t)(std::max_element(logits, logits + 96) - logits);
            ASSERT_EQ(scores[p].top[0].token, best);
        }
        engine_sequence_close(e.engine, s);
        engine_sequence_close(e.engine, company);
    }
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

/* Whole blocks of the same tokens under the same salt, and never the last token. */
TEST_F(EngineTest, TakesWhatWasComputed)
{
    Engine e(folder_.path());
    Job job = job_of(some_prompt(1, 48, 96), 20), longer = job, other = job, salted = job;
    longer.prompt.push_back(5);
    other.prompt[20] ^= 1;
    salted.salt = 4;
    auto taken = [&](const Job &of, uint32_t most = UINT32_MAX) {
        struct sequence *s = e.open(of);
        uint32_t n = engine_sequence_take(e.engine, s, most);
        EXPECT_EQ(n, sequence_computed(s));
        EXPECT_EQ(n / KV_BLOCK_TOKENS, e.stats().kv_blocks_used);
        EXPECT_EQ(0u, engine_sequence_take(e.engine, s, most)) << "it has all there is";
        engine_sequence_close(e.engine, s);
        return n;
    };
    EXPECT_EQ(0u, taken(job));
    std::vector<uint32_t> answer = e.run(job).tokens;
    EXPECT_EQ(4u, e.stats().kv_blocks_idle);
    EXPECT_EQ(e.stats().kv_blocks, engine_kv_blocks_free(e.engine));
    EXPECT_EQ(32u, taken(job)) << "one token is left to compute";
    EXPECT_EQ(48u, taken(longer)) << "the 49th is the answer's, not the same";
    EXPECT_EQ(16u, taken(longer, 31));
    EXPECT_EQ(0u, taken(longer, 15));
    EXPECT_EQ(16u, taken(other));
    EXPECT_EQ(0u, taken(salted));
    Job turn = job; /* the next turn of a chat */
    turn.prompt.insert(turn.prompt.end(), answer.begin(), answer.end());
    EXPECT_EQ(64u, taken(turn)) << "of 67 computed";
    e.run(salted);
    EXPECT_EQ(32u, taken(salted));

    struct sequence *a = e.open(job), *b = e.open(longer), *c = e.open(other), *d = e.open(salted);
    EXPECT_EQ(48u, engine_sequences_share(e.engine, a, b));
    EXPECT_EQ(20u, engine_sequences_share(e.engine, c, a));
    EXPECT_EQ(0u, engine_sequences_share(e.engine, a, d));
    for (struct sequence *s : {a, b, c, d})
        engine_sequence_close(e.engine, s);

    Engine off(folder_.path(), [](auto &config) { config.prefix_caching = false; });
    off.run(job);
    struct sequence *s = off.open(job);
    EXPECT_EQ(0u, engine_sequence_take(off.engine, s, UINT32_MAX));
    EXPECT_EQ(0u, engine_sequences_share(off.engine, s, s));
    engine_sequence_close(off.engine, s);
}

/* In the midst of a block of its own, it takes the whole one of another. */
TEST_F(EngineTest, TakesWhatANeighbourWasFasterWith)
{
    Engine e(folder_.path());
    Job job = job_of(some_prompt(1, 40, 96), 1);
    struct sequence *slow = e.open(job), *fast = e.open(job);
    struct step_item items[2] = {};
    struct step_output outputs[2];
    items[0].sequence = slow;
    items[0].tokens = 5;
    items[1].sequence = fast;
    items[1].tokens = 39;
    ASSERT_EQ(STATUS_OK, engine_step(e.engine, items, 2, outputs, nullptr));
    EXPECT_EQ(27u, engine_sequence_take(e.engine, slow, UINT32_MAX));
    EXPECT_EQ(32u, sequence_computed(slow));
    EXPECT_EQ(3u, e.stats().kv_blocks_used) << "two are held by both";
    items[0].tokens = 8;
    items[1].tokens = 1;
    ASSERT_EQ(STATUS_OK, engine_step(e.engine, items, 2, outputs, nullptr));
    EXPECT_EQ(outputs[0].token.token, outputs[1].token.token);
    EXPECT_EQ(outputs[0].token.logprob, outputs[1].token.logprob);
    engine_sequence_close(e.engine, fast);
    engine_sequence_close(e.engine, slow);
}

/* More sequences than rows, more rows of logits than sequences: limits do not know of each
 * other. */
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
        std::vector<struct engine_load> loads(model_.layers * LOAD_PHASES);
        do {
            struct engine_stats stats;
            engine_stats_read(e.engine, &stats, loads.data());
            EXPECT_GE(stats.steps, last);
            EXPECT_LE(stats.resident_pages, 4u);
            EXPECT_LE(stats.policy.prefetch.used + stats.policy.prefetch.wasted,
                      stats.policy.prefetch.issued);
            std::vector<uint8_t> cells(model_.layers * model_.experts);
            engine_expert_map(e.engine, cells.data());
            for (uint8_t cell : cells)
                EXPECT_NE(EXPERT_CELL_TIER(cell), 1) << "there is no host tier";
            std::vector<struct engine_layer_stats> layers(model_.layers);
            engine_layer_stats_read(e.engine, layers.data());
            uint32_t resident = 0;
            for (const auto &layer : layers)
                resident += layer.tier[MEMORY_DEVICE].resident;
            EXPECT_LE(resident, 4u);
            uint64_t routed = (stats.tokens_prefill + stats.tokens_decode) * model_.top_k;
            for (uint32_t l = 0; l < model_.layers; l++) { /* of the same step as the totals */
                const struct engine_load *load = &loads[l * LOAD_PHASES];
                EXPECT_LE(load[LOAD_PREFILL].state.ticks * LOADS_PREFILL_TICK_TOKENS +
                              load[LOAD_DECODE].state.ticks * LOADS_DECODE_TICK_TOKENS,
                          routed);
            }
            last = stats.steps;
            reads++;
        } while (!done);
    });
    std::vector<Job> jobs;
    for (uint32_t i = 0; i < 12; i++)
        jobs.push_back(job_of(some_prompt(i, 20, 96), 100));
    e.run(jobs);
    done = true;
    reader.join();
    EXPECT_GT(reads, 0u);
    EXPECT_EQ(e.stats().sampled, 1200u);
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
    items[0].tokens = 2; /* the token after the second is not known yet */
    items[0].score_count = 2;
    EXPECT_DEATH(step(1), "score");
    items[0].tokens = 1;
    EXPECT_DEATH(step(1), "score");
    items[0].score_count = 0;
    for (struct sequence *s : sequences)
        engine_sequence_close(e.engine, s);
}

TEST_F(EngineTest, CloseAcceptsNull)
{
    engine_close(nullptr);
}

} // namespace
