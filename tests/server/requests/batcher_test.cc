#include "server/requests/batcher.h"

#include <gtest/gtest.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <map>
#include <vector>

#include "memory/base/clock.h"
#include "tests/server/toy_engine.h"

namespace {

struct Outcome {
    std::vector<uint32_t> tokens;
    std::vector<struct sampled> prompt;
    std::string text;
    uint64_t ns = 0;
    uint32_t events = 0;
    enum finish_reason finish = FINISH_NONE;
    enum status status = STATUS_OK;
    std::string error;
    struct request_usage usage = {};
};

struct Bench {
    toy_engine::Folder folder;
    struct engine *engine = nullptr;
    struct batcher *batcher = nullptr;
    std::map<uint64_t, Outcome> outcomes;
    std::map<uint64_t, std::vector<float>> logits;
    bool with_logits = true;

    void open(uint32_t kv_tokens = 0, uint32_t max_queue = 1000, uint32_t chunk = 0)
    {
        struct error error = {};
        if (kv_tokens) { // 3 layers x (k, v) x 2 kv heads x 8 values x 4 bytes
            folder.config.max_model_len = 64;
            folder.config.kv_bytes = (uint64_t)kv_tokens * 3 * 2 * 2 * 8 * 4;
        }
        ASSERT_EQ(STATUS_OK, engine_open(&engine, &folder.config, &error)) << error.text;
        struct batcher_config config = {};
        config.engine = engine;
        config.max_queue = max_queue;
        config.prefill_chunk = chunk;
        config.logits = with_logits ? keep_logits : nullptr;
        config.arg = this;
        ASSERT_EQ(STATUS_OK, batcher_open(&batcher, &config, &error)) << error.text;
    }
    ~Bench()
    {
        batcher_close(batcher);
        engine_close(engine);
    }
    static float *keep_logits(void *arg, const struct request *r, uint32_t position,
                              uint32_t tokens)
    {
        auto &all = static_cast<Bench *>(arg)->logits[r->id];
        if (all.size() < 128 * 96)
            all.resize(128 * 96);
        EXPECT_LE(position + tokens, 128u);
        return all.data() + position * 96;
    }
    void submit(uint64_t id, uint32_t prompt, uint32_t tokens)
    {
        batcher_submit(batcher, toy_engine::make(id, prompt, tokens), clock_now_ns());
    }
    void take()
    {
        while (struct request_event *e = batcher_outbox(batcher)) {
            batcher_taken(batcher);
            Outcome &o = outcomes[e->request];
            EXPECT_EQ(FINISH_NONE, o.finish) << "news after the end";
            for (uint32_t i = 0; i < e->token_count; i++)
                o.tokens.push_back(e->tokens[i].token);
            EXPECT_TRUE(o.prompt.size() + e->prompt_count == 0 || e->prompt_count == 0 ||
                        o.tokens.size() == e->token_count) << "prompt tokens after sampled ones";
            o.prompt.insert(o.prompt.end(), e->prompt, e->prompt + e->prompt_count);
            o.text.append(e->text ? e->text : "", e->text_bytes);
            EXPECT_LE(o.ns, e->ns);
            o.ns = e->ns;
            o.events++;
            o.finish = e->finish;
            o.status = e->status;
            o.error = e->error.text;
            o.usage = e->usage;
            request_event_close(e);
        }
    }
    void run()
    {
        for (int i = 0; i < 20000 && !batcher_idle(batcher); i++) {
            batcher_step(batcher, clock_now_ns());
            take();
        }
        EXPECT_TRUE(batcher_idle(batcher));
        take();
    }
};

TEST(batcher, everybody_gets_all_tokens)
{
    Bench b;
    ASSERT_NO_FATAL_FAILURE(b.open());
    for (uint64_t id = 1; id <= 20; id++)
        b.submit(id, 1 + id * 2, 5);
    b.run();
    ASSERT_EQ(20u, b.outcomes.size());
    for (auto &o : b.outcomes) {
        EXPECT_EQ(5u, o.second.tokens.size());
        EXPECT_EQ(FINISH_LENGTH, o.second.finish);
        EXPECT_EQ(1 + o.first * 2, o.second.usage.prompt_tokens);
    }
    struct batcher_stats stats = batcher_stats_read(b.batcher);
    EXPECT_EQ(20u, stats.finished);
    EXPECT_EQ(100u, stats.generation_tokens);
    EXPECT_EQ(0u, stats.now.kv_blocks_used);
    EXPECT_EQ(stats.now.kv_blocks, engine_kv_blocks_free(b.engine));
}

TEST(batcher, steps_are_counted_by_their_tokens)
{
    EXPECT_EQ(1u, batcher_step_bound(0));
    EXPECT_EQ(8u, batcher_step_bound(1));
    EXPECT_EQ(16384u, batcher_step_bound(BATCHER_STEP_BOUNDS - 1));
    Bench b;
    ASSERT_NO_FATAL_FAILURE(b.open());
    b.submit(1, 35, 3); // steps hold 16: 16 + 16 + 3 of the prompt, then 1 + 1
    b.run();
    struct batcher_stats stats = batcher_stats_read(b.batcher);
    EXPECT_EQ(37u, stats.step_tokens);
    uint64_t steps = 0;
    for (uint64_t n : stats.steps)
        steps += n;
    EXPECT_EQ(5u, steps);
    EXPECT_EQ(2u, stats.steps[0]); // one token
    EXPECT_EQ(1u, stats.steps[1]); // 2 to 8
    EXPECT_EQ(2u, stats.steps[2]); // 9 to 16
}

TEST(batcher, company_chunks_and_preemption_change_nothing)
{
    Bench alone, crowded;
    ASSERT_NO_FATAL_FAILURE(alone.open());
    ASSERT_NO_FATAL_FAILURE(crowded.open(64, 1000, 3));
    for (uint64_t id = 1; id <= 8; id++) {
        alone.submit(id, 20, 30);
        alone.run();
        crowded.submit(id, 20, 30);
    }
    crowded.run();
    EXPECT_GT(batcher_stats_read(crowded.batcher).now.preemptions, 0u);
    for (uint64_t id = 1; id <= 8; id++) {
        EXPECT_EQ(alone.outcomes[id].tokens, crowded.outcomes[id].tokens) << id;
        ASSERT_EQ(0, memcmp(alone.logits[id].data(), crowded.logits[id].data(), 49 * 96 * 4)) << id;
    }
}

TEST(batcher, cancel_frees_everything_and_says_nothing)
{
    Bench b;
    ASSERT_NO_FATAL_FAILURE(b.open());
    b.submit(1, 10, 100);
    b.submit(2, 10, 4);
    batcher_step(b.batcher, clock_now_ns());
    batcher_cancel(b.batcher, 1); // its first news is still in the outbox
    batcher_cancel(b.batcher, 99);
    b.run();
    EXPECT_EQ(0u, b.outcomes.count(1));
    EXPECT_EQ(4u, b.outcomes[2].tokens.size());
    EXPECT_EQ(1u, batcher_stats_read(b.batcher).cancelled);
    EXPECT_EQ(0u, batcher_stats_read(b.batcher).now.kv_blocks_used);
}

TEST(batcher, refusals_are_news_too)
{
    Bench b;
    ASSERT_NO_FATAL_FAILURE(b.open(0, 0));
    b.submit(1, 128, 1);
    for (uint64_t id = 2; id <= 6; id++)
        b.submit(id, 4, 2);
    b.take();
    EXPECT_EQ(STATUS_INVALID, b.outcomes[1].status);
    EXPECT_EQ(STATUS_FULL, b.outcomes[6].status);
    b.run();
    EXPECT_EQ(2u, b.outcomes[5].tokens.size());
    EXPECT_EQ(1u, batcher_stats_read(b.batcher).rejected);
    EXPECT_EQ(1u, batcher_stats_read(b.batcher).failed);
}

TEST(batcher, a_bad_token_fails_its_request_alone)
{
    Bench b;
    ASSERT_NO_FATAL_FAILURE(b.open());
    struct request *r = toy_engine::make(1, 3, 5);
    r->asked.prompt[1] = 96;
    batcher_submit(b.batcher, r, clock_now_ns());
    b.submit(2, 3, 5);
    b.run();
    EXPECT_EQ(FINISH_FAILED, b.outcomes[1].finish);
    EXPECT_EQ(STATUS_INVALID, b.outcomes[1].status);
    EXPECT_EQ(5u, b.outcomes[2].tokens.size());
}

TEST(batcher, deadlines_end_requests)
{
    Bench b;
    ASSERT_NO_FATAL_FAILURE(b.open());
    struct request *r = toy_engine::make(1, 3, 100);
    r->asked.deadline_ns = 50;
    batcher_submit(b.batcher, r, 10);
    EXPECT_EQ(50u, batcher_deadline(b.batcher));
    EXPECT_TRUE(batcher_step(b.batcher, 20));
    EXPECT_FALSE(batcher_step(b.batcher, 50));
    b.take();
    EXPECT_EQ(STATUS_DEADLINE, b.outcomes[1].status);
    EXPECT_EQ(1u, b.outcomes[1].tokens.size());
    EXPECT_TRUE(batcher_idle(b.batcher));
}

TEST(batcher, unread_news_grow_instead_of_piling_up)
{
    Bench b;
    ASSERT_NO_FATAL_FAILURE(b.open());
    b.submit(1, 3, 10);
    while (!batcher_idle(b.batcher))
        batcher_step(b.batcher, clock_now_ns());
    struct request_event *e = batcher_outbox(b.batcher);
    ASSERT_NE(nullptr, e);
    EXPECT_EQ(10u, e->token_count);
    EXPECT_EQ(FINISH_LENGTH, e->finish);
    batcher_taken(b.batcher);
    request_event_close(e);
    EXPECT_EQ(nullptr, batcher_outbox(b.batcher));
}

struct request *make_scored(uint64_t id, uint32_t prompt, uint32_t tokens)
{
    struct request *r = toy_engine::make(id, prompt, tokens);
    r->asked.prompt_logprobs = true;
    r->asked.sampling.top_logprobs = 2;
    return r;
}

// Chunks, company and preemptions (which throw away what was computed and reported): each prompt
// token once, in order, before the first sampled one, and as the logits say.
TEST(batcher, prompt_logprobs_come_once_in_order)
{
    Bench alone, crowded;
    ASSERT_NO_FATAL_FAILURE(alone.open());
    ASSERT_NO_FATAL_FAILURE(crowded.open(64, 1000, 3));
    for (uint64_t id = 1; id <= 8; id++) {
        batcher_submit(alone.batcher, make_scored(id, 20, 30), clock_now_ns());
        alone.run();
        batcher_submit(crowded.batcher, make_scored(id, 20, 30), clock_now_ns());
    }
    crowded.run();
    EXPECT_GT(batcher_stats_read(crowded.batcher).now.preemptions, 0u);
    for (uint64_t id = 1; id <= 8; id++) {
        Outcome &a = alone.outcomes[id], &c = crowded.outcomes[id];
        ASSERT_EQ(19u, a.prompt.size());
        ASSERT_EQ(19u, c.prompt.size());
        EXPECT_EQ(a.tokens, c.tokens);
        EXPECT_EQ(30u, c.tokens.size());
        for (uint32_t i = 0; i < 19; i++) {
            const float *logits = alone.logits[id].data() + i * 96;
            double sum = 0;
            for (int t = 0; t < 96; t++)
                sum += exp(logits[t]);
            ASSERT_EQ((id * 7 + (i + 1) * 3) % 96, a.prompt[i].token);
            ASSERT_NEAR(logits[a.prompt[i].token] - log(sum), a.prompt[i].logprob, 1e-5);
            ASSERT_EQ(2u, a.prompt[i].top_count);
            ASSERT_EQ(0, memcmp(&a.prompt[i], &c.prompt[i], sizeof a.prompt[i])) << id << " " << i;
        }
    }
    EXPECT_GT(crowded.outcomes[1].events, 30u) << "the prompt's come as they are computed";
}

TEST(batcher, no_tokens_mean_the_prompt_alone)
{
    Bench b;
    ASSERT_NO_FATAL_FAILURE(b.open(0, 1000, 7));
    batcher_submit(b.batcher, make_scored(1, 30, 0), clock_now_ns());
    batcher_submit(b.batcher, make_scored(2, 1, 0), clock_now_ns());   // no token before it
    batcher_submit(b.batcher, make_scored(3, 128, 0), clock_now_ns()); // the whole context
    b.submit(4, 30, 0);                                               // nothing to report
    b.submit(5, 30, 4);
    uint64_t begin = clock_now_ns();
    b.run();
    const size_t reported[] = {29, 0, 127, 0, 0};
    for (uint64_t id = 1; id <= 5; id++) {
        Outcome &o = b.outcomes[id];
        EXPECT_EQ(reported[id - 1], o.prompt.size()) << id;
        EXPECT_EQ(id == 5 ? 4u : 0u, o.tokens.size());
        EXPECT_EQ(FINISH_LENGTH, o.finish);
        EXPECT_EQ(id == 5 ? 4u : 0u, o.usage.completion_tokens);
        EXPECT_GT(o.usage.prompt_tokens, 0u);
        EXPECT_GE(o.ns, begin);
        EXPECT_LE(o.ns, clock_now_ns());
        EXPECT_EQ(id == 4 ? 1u : o.events, o.events) << "no empty events";
    }
    EXPECT_GT(b.outcomes[3].usage.experts.hits + b.outcomes[3].usage.experts.misses, 0u);
    struct batcher_stats stats = batcher_stats_read(b.batcher);
    EXPECT_EQ(5u, stats.finished);
    EXPECT_EQ(4u, stats.generation_tokens);
    EXPECT_EQ(30u + 1 + 128 + 30 + 30, stats.prompt_tokens);
    EXPECT_EQ(0u, stats.now.kv_blocks_used);
}

TEST(batcher, biases_go_to_the_engine)
{
    Bench b;
    ASSERT_NO_FATAL_FAILURE(b.open());
    struct request *r = toy_engine::make(1, 5, 6);
    r->asked.bias = static_cast<struct sampler_bias *>(malloc(sizeof *r->asked.bias));
    r->asked.bias[0] = {17, 100};
    r->asked.sampling.bias = r->asked.bias;
    r->asked.sampling.bias_count = 1;
    batcher_submit(b.batcher, r, clock_now_ns());
    r = toy_engine::make(2, 5, 6);
    r->asked.bias = static_cast<struct sampler_bias *>(malloc(sizeof *r->asked.bias));
    r->asked.bias[0] = {96, 100};
    r->asked.sampling.bias = r->asked.bias;
    r->asked.sampling.bias_count = 1;
    batcher_submit(b.batcher, r, clock_now_ns());
    b.run();
    EXPECT_EQ(std::vector<uint32_t>(6, 17), b.outcomes[1].tokens);
    EXPECT_EQ(STATUS_INVALID, b.outcomes[2].status);
    EXPECT_NE(std::string::npos, b.outcomes[2].error.find("token 96")) << b.outcomes[2].error;
}

// ---- grammars, on the model that has a tokenizer ----

const char *const kTexts[] = {"0123456789012345678901234567890123456789",
                              "9876543210987654321098765432109876543210",
                              "5050505050505050505050505050505050505050!"};

struct Grammars : Bench {
    std::string model = std::string(getenv("MOERING_SOURCE_DIR")) + "/deploy/models/tiny";

    void open(uint32_t kv_blocks = 0)
    {
        folder.config.model = model.c_str();
        with_logits = false;
        ASSERT_NO_FATAL_FAILURE(Bench::open(0, 1000, kv_blocks ? 5 : 0));
        if (!kv_blocks)
            return;
        const struct engine_info *info = engine_info(engine); // then again, with a smaller pool
        folder.config.kv_bytes = info->kv_bytes / info->kv_blocks * kv_blocks;
        batcher_close(batcher);
        engine_close(engine);
        batcher = nullptr;
        engine = nullptr;
        ASSERT_NO_FATAL_FAILURE(Bench::open(0, 1000, 5));
    }
    void choose(uint64_t id, const std::vector<const char *> &texts, uint32_t max_tokens)
    {
        struct request *r = toy_engine::make(id, 12, max_tokens);
        std::vector<size_t> bytes;
        for (const char *text : texts)
            bytes.push_back(strlen(text));
        r->asked.sampling.temperature = 1;
        r->asked.sampling.seed = id;
        r->asked.sampling.has_seed = true;
        ASSERT_EQ(STATUS_OK, grammar_open_choice(&r->asked.grammar, texts.data(), bytes.data(),
                                                 (uint32_t)texts.size(), nullptr));
        batcher_submit(batcher, r, clock_now_ns());
    }
};

TEST(batcher, output_stays_within_its_grammar_whatever_happens)
{
    const std::vector<const char *> texts(kTexts, kTexts + 3);
    Grammars alone, crowded;
    ASSERT_NO_FATAL_FAILURE(alone.open());
    ASSERT_NO_FATAL_FAILURE(crowded.open(9)); // one context of 128, and a block
    for (uint64_t id = 1; id <= 8; id++) {
        ASSERT_NO_FATAL_FAILURE(alone.choose(id, texts, 100));
        alone.run();
        ASSERT_NO_FATAL_FAILURE(crowded.choose(id, texts, 100));
        crowded.submit(100 + id, 12, 40); // free text beside them
    }
    crowded.run();
    EXPECT_GT(batcher_stats_read(crowded.batcher).now.preemptions, 0u);
    std::map<std::string, int> seen;
    for (uint64_t id = 1; id <= 8; id++) {
        const Outcome &o = crowded.outcomes[id];
        seen[o.text]++;
        EXPECT_TRUE(o.text == kTexts[0] || o.text == kTexts[1] || o.text == kTexts[2]) << o.text;
        EXPECT_EQ(FINISH_STOP, o.finish);
        EXPECT_EQ(alone.outcomes[id].tokens, o.tokens) << "a preemption has lost the state";
        EXPECT_EQ(40u, crowded.outcomes[100 + id].tokens.size());
    }
    EXPECT_GT(seen.size(), 1u);
}

// A vocabulary of letters, and a grammar that wants a digit in the end.
TEST(batcher, a_grammar_that_leaves_no_token_fails_its_request_alone)
{
    Grammars b;
    std::string vocab;
    for (int i = 0; i < 52; i++) // capitals first: the model's end token is none of ours
        vocab += std::string(i ? ", " : "") + "\"" + (char)(i < 26 ? 'A' + i : 'a' + i - 26) +
                 "\": " + std::to_string(i);
    b.folder.folder.write(
        "tokenizer.json",
        "{\"model\": {\"type\": \"BPE\", \"vocab\": {" + vocab +
            "}, \"merges\": []}, \"pre_tokenizer\": {\"type\": \"ByteLevel\", "
            "\"add_prefix_space\": false}, \"decoder\": {\"type\": \"ByteLevel\"}}");
    b.with_logits = false;
    ASSERT_NO_FATAL_FAILURE(b.Bench::open());
    ASSERT_NO_FATAL_FAILURE(b.choose(1, {"abc7"}, 9));
    ASSERT_NO_FATAL_FAILURE(b.choose(2, {"abc"}, 9));
    b.submit(3, 5, 4);
    b.run();
    EXPECT_EQ(FINISH_FAILED, b.outcomes[1].finish);
    EXPECT_EQ(STATUS_INTERNAL, b.outcomes[1].status);
    EXPECT_NE(std::string::npos, b.outcomes[1].error.find("grammar")) << b.outcomes[1].error;
    EXPECT_EQ("abc", b.outcomes[1].text) << "as far as it came";
    EXPECT_EQ("abc", b.outcomes[2].text);
    EXPECT_EQ(FINISH_STOP, b.outcomes[2].finish);
    EXPECT_EQ(4u, b.outcomes[3].tokens.size());
    EXPECT_EQ(0u, batcher_stats_read(b.batcher).now.kv_blocks_used);
}

TEST(batcher, a_grammar_without_a_tokenizer_is_refused)
{
    Bench b;
    ASSERT_NO_FATAL_FAILURE(b.open());
    struct request *r = toy_engine::make(1, 5, 5);
    const char *text = "yes";
    size_t bytes = 3;
    ASSERT_EQ(STATUS_OK, grammar_open_choice(&r->asked.grammar, &text, &bytes, 1, nullptr));
    batcher_submit(b.batcher, r, clock_now_ns());
    b.run();
    EXPECT_EQ(STATUS_INVALID, b.outcomes[1].status);
    EXPECT_NE(std::string::npos, b.outcomes[1].error.find("tokenizer")) << b.outcomes[1].error;
}

// Rooms of random sizes every few steps, beside cancellations and a pool that is too small for all:
// those who are not cancelled get the tokens and the logits that they get alone.
TEST(batcher, resizes_under_load_change_nothing)
{
    for (bool host : {false, true}) {
        Bench alone, crowded;
        constexpr uint64_t requests = 24;
        if (host) {
            crowded.folder.config.host_experts.kind = ROOM_PAGES;
            crowded.folder.config.host_experts.pages = 5;
        }
        ASSERT_NO_FATAL_FAILURE(alone.open());
        ASSERT_NO_FATAL_FAILURE(crowded.open(192, 1000, 5));
        for (uint64_t id = 1; id <= requests; id++) {
            alone.submit(id, 1 + id % 30, 2 + id % 33);
            alone.run();
            crowded.submit(id, 1 + id % 30, 2 + id % 33);
        }
        scratch::Random random(host ? 3 : 4);
        uint32_t shrunk = 0, preempted = 0, pages = engine_info(crowded.engine)->pages;
        uint32_t seats = batcher_stats_read(crowded.batcher).now.kv_blocks;
        EXPECT_EQ(12u, seats);
        for (int i = 0; i < 20000 && !batcher_idle(crowded.batcher); i++) {
            struct engine_budget asked = {};
            struct engine_budget_result got;
            struct error error = {};
            uint32_t out = 0;
            asked.set[ENGINE_ROOM_DEVICE] = random.chance(60);
            asked.device_experts.kind = ROOM_PAGES;
            asked.device_experts.pages = 1 + random.below(pages);
            asked.set[ENGINE_ROOM_HOST] = host && random.chance(40);
            asked.host_experts = asked.device_experts;
            asked.set[ENGINE_ROOM_KV] = random.chance(60);
            asked.kv_bytes = (uint64_t)(64 + 16 * random.below(10)) * 3 * 2 * 2 * 8 * 4;
            if (random.chance(40)) {
                ASSERT_EQ(STATUS_OK, batcher_resize(crowded.batcher, &asked, &got, &out, &error))
                    << error.text;
                shrunk += got.after.kv_blocks < got.before.kv_blocks;
                preempted += out;
                ASSERT_EQ(got.after.kv_blocks, batcher_stats_read(crowded.batcher).now.kv_blocks);
            }
            if (i == 30)
                for (uint64_t id : {1, 9, 17}) // wherever they are
                    batcher_cancel(crowded.batcher, id);
            batcher_step(crowded.batcher, clock_now_ns());
            crowded.take();
        }
        ASSERT_TRUE(batcher_idle(crowded.batcher));
        crowded.take();
        EXPECT_GT(shrunk, 10u);
        EXPECT_GT(preempted, 5u);
        for (uint64_t id = 1; id <= requests; id++) {
            if (crowded.outcomes[id].finish == FINISH_NONE)
                continue; // cancelled
            EXPECT_EQ(FINISH_LENGTH, crowded.outcomes[id].finish) << id;
            EXPECT_EQ(alone.outcomes[id].tokens, crowded.outcomes[id].tokens) << id;
            size_t rows = id % 30 + 2 + id % 33;
            ASSERT_EQ(0, memcmp(alone.logits[id].data(), crowded.logits[id].data(), rows * 96 * 4))
                << id;
        }
        struct batcher_stats stats = batcher_stats_read(crowded.batcher);
        EXPECT_EQ(requests, stats.finished + stats.cancelled);
        EXPECT_LE(stats.cancelled, 3u);
        EXPECT_EQ(0u, stats.now.kv_blocks_used);
        EXPECT_EQ(stats.now.kv_blocks, engine_kv_blocks_free(crowded.engine));
    }
}

TEST(batcher, a_refused_budget_leaves_everything)
{
    Bench b;
    ASSERT_NO_FATAL_FAILURE(b.open(192));
    for (uint64_t id = 1; id <= 4; id++)
        b.submit(id, 20, 20);
    batcher_step(b.batcher, clock_now_ns());
    struct engine_budget asked = {};
    struct engine_budget_result got;
    struct error error = {};
    uint32_t preempted = 9;
    asked.set[ENGINE_ROOM_KV] = true;
    asked.kv_bytes = 3 * 16 * 3 * 2 * 2 * 8 * 4; // a block less than max_model_len
    EXPECT_EQ(STATUS_INVALID, batcher_resize(b.batcher, &asked, &got, &preempted, &error));
    EXPECT_NE(std::string::npos, std::string(error.text).find("--kv-cache-bytes")) << error.text;
    EXPECT_EQ(0u, preempted);
    EXPECT_EQ(12u, batcher_stats_read(b.batcher).now.kv_blocks);
    b.run();
    for (uint64_t id = 1; id <= 4; id++)
        EXPECT_EQ(20u, b.outcomes[id].tokens.size());
}

// Two pages of the file are gone: a request fails if it comes to want one of them, at the very
// token at which it would fail alone, and the others never notice. Once the file is whole again all
// is well.
TEST(batcher, an_unreadable_page_fails_those_who_want_it)
{
    const std::vector<std::string> gone = {"model.layers.1.mlp.experts.3.up_proj.weight",
                                           "model.layers.2.mlp.experts.6.gate_proj.weight"};
    constexpr uint64_t requests = 24;
    auto prepare = [&](Bench &b, bool cut) {
        toy::Model model;
        model.context = 4096;
        uint64_t begin = toy::write_with_last(b.folder.folder, model, gone);
        b.folder.config.device_experts.kind = ROOM_PAGES;
        b.folder.config.device_experts.pages = 7;
        ASSERT_NO_FATAL_FAILURE(b.open());
        if (cut)
            b.folder.folder.truncate("model.safetensors", begin);
    };
    Bench whole, alone, company;
    ASSERT_NO_FATAL_FAILURE(prepare(whole, false));
    ASSERT_NO_FATAL_FAILURE(prepare(alone, true));
    ASSERT_NO_FATAL_FAILURE(prepare(company, true));
    for (uint64_t id = 1; id <= requests; id++) {
        whole.submit(id, 1 + id % 3, 4);
        alone.submit(id, 1 + id % 3, 4);
        alone.run();
    }
    whole.run();
    for (uint64_t id = 1; id <= requests; id++)
        company.submit(id, 1 + id % 3, 4);
    company.run();

    uint64_t failed = 0, late = 0;
    std::map<std::string, uint32_t> blamed; // "layer 1 expert 3"
    auto who = [](const Outcome &o) { return o.error.substr(0, o.error.find(':')); };
    for (uint64_t id = 1; id <= requests; id++) {
        const Outcome &o = company.outcomes[id];
        EXPECT_EQ(alone.outcomes[id].finish, o.finish) << id;
        EXPECT_EQ(alone.outcomes[id].tokens, o.tokens) << id;
        EXPECT_EQ(who(alone.outcomes[id]), who(o)) << id;
        if (o.finish == FINISH_LENGTH) {
            EXPECT_EQ(whole.outcomes[id].tokens, o.tokens) << id;
            continue;
        }
        failed++;
        late += !o.tokens.empty();
        EXPECT_EQ(STATUS_INTERNAL, o.status);
        EXPECT_NE(std::string::npos, o.error.find("model.safetensors' has no bytes at offset"))
            << o.error;
        blamed[who(o)]++;
    }
    EXPECT_GT(failed, 0u);
    EXPECT_LT(failed, requests);
    EXPECT_GT(late, 0u) << "some fail in the middle of their answer";
    EXPECT_EQ(2u, blamed.size());
    EXPECT_GT(blamed["layer 1 expert 3"], 0u);
    EXPECT_GT(blamed["layer 2 expert 6"], 0u);
    EXPECT_EQ(failed, batcher_stats_read(company.batcher).failed);
    EXPECT_EQ(requests - failed, batcher_stats_read(company.batcher).finished);
    EXPECT_EQ(0u, batcher_stats_read(company.batcher).now.kv_blocks_used);

    std::string bytes = whole.folder.folder.read("model.safetensors");
    uint64_t cut = company.folder.folder.read("model.safetensors").size();
    company.folder.folder.append("model.safetensors", bytes.data() + cut, bytes.size() - cut);
    company.outcomes.clear();
    for (uint64_t id = 1; id <= requests; id++)
        company.submit(id, 1 + id % 3, 4);
    company.run();
    for (uint64_t id = 1; id <= requests; id++)
        EXPECT_EQ(whole.outcomes[id].tokens, company.outcomes[id].tokens) << id;
}

TEST(batcher, a_page_that_cannot_be_read_fails_the_step)
{
    Bench b;
    b.folder.config.device_experts.kind = ROOM_PAGES;
    b.folder.config.device_experts.pages = 2;
    b.folder.config.prefetch = PREFETCH_OFF;
    ASSERT_NO_FATAL_FAILURE(b.open());
    b.submit(1, 3, 3);
    b.run();
    EXPECT_EQ(FINISH_LENGTH, b.outcomes[1].finish);
    b.folder.folder.truncate("model.safetensors", 4096);
    b.submit(2, 3, 3);
    b.run();
    EXPECT_EQ(FINISH_FAILED, b.outcomes[2].finish);
    EXPECT_EQ(STATUS_INTERNAL, b.outcomes[2].status);
    EXPECT_NE("", b.outcomes[2].error);
    EXPECT_EQ(0u, batcher_stats_read(b.batcher).now.kv_blocks_used);
}

// ---- prefixes that were computed for others ----

// `prompt` tokens of the family's, whatever the id.
struct request *make_alike(uint64_t id, uint64_t family, uint32_t prompt, uint32_t tokens)
{
    struct request *r = toy_engine::make(id, prompt, tokens);
    for (uint32_t i = 0; i < prompt; i++)
        r->asked.prompt[i] = (uint32_t)(family * 11 + i * 5) % 96;
    return r;
}

struct Sharing : Bench {
    explicit Sharing(bool on = true)
    {
        with_logits = false;
        folder.config.prefix_caching = on;
    }
    Outcome &ask(struct request *r)
    {
        uint64_t id = r->id;
        batcher_submit(batcher, r, clock_now_ns());
        run();
        return outcomes[id];
    }
};

TEST(batcher, a_prompt_that_was_computed_is_taken)
{
    Sharing b, off(false);
    ASSERT_NO_FATAL_FAILURE(b.open());
    ASSERT_NO_FATAL_FAILURE(off.open());
    Outcome &first = b.ask(make_alike(1, 0, 50, 20));
    EXPECT_EQ(0u, first.usage.cached_tokens);
    uint64_t computed = batcher_stats_read(b.batcher).step_tokens;
    EXPECT_EQ(50u + 19, computed);
    Outcome &second = b.ask(make_alike(2, 0, 50, 20));
    EXPECT_EQ(48u, second.usage.cached_tokens);
    EXPECT_EQ(50u, second.usage.prompt_tokens);
    EXPECT_EQ(first.tokens, second.tokens);
    EXPECT_EQ(2u + 19, batcher_stats_read(b.batcher).step_tokens - computed);
    EXPECT_EQ(first.tokens, off.ask(make_alike(1, 0, 50, 20)).tokens);
    EXPECT_EQ(first.tokens, off.ask(make_alike(2, 0, 50, 20)).tokens);
    EXPECT_EQ(0u, off.outcomes[2].usage.cached_tokens);
    EXPECT_EQ(0u, batcher_stats_read(off.batcher).prefix_queries);

    struct request *salted = make_alike(3, 0, 50, 20), *scored = make_alike(4, 0, 50, 20);
    salted->asked.cache_salt = 7;
    scored->asked.prompt_logprobs = true;
    EXPECT_EQ(0u, b.ask(salted).usage.cached_tokens);
    EXPECT_EQ(first.tokens, b.outcomes[3].tokens);
    EXPECT_EQ(0u, b.ask(scored).usage.cached_tokens);
    EXPECT_EQ(49u, b.outcomes[4].prompt.size());
    struct request *chat = make_alike(5, 0, 50 + 20 + 9, 0); // the next turn, answered by no token
    std::copy(first.tokens.begin(), first.tokens.end(), chat->asked.prompt + 50);
    EXPECT_EQ(64u, b.ask(chat).usage.cached_tokens) << "of 69 computed";
    EXPECT_EQ(FINISH_LENGTH, b.outcomes[5].finish);
    struct batcher_stats stats = batcher_stats_read(b.batcher);
    EXPECT_EQ(50u * 3 + 79, stats.prefix_queries);
    EXPECT_EQ(48u + 64, stats.prefix_hits);
    EXPECT_EQ(0u, stats.now.kv_blocks_used);
    EXPECT_EQ(stats.now.kv_blocks, engine_kv_blocks_free(b.engine));
}

// All choices of a prompt come at once: one computes it, in one step or in many, the others wait
// for it; a short one is not worth the wait.
TEST(batcher, choices_of_a_prompt_compute_it_once)
{
    for (uint32_t batch : {16u, 40u, 1000u})
        for (uint32_t prompt : {40u, 100u}) {
            Sharing b;
            b.folder.config.max_batch_tokens = batch;
            ASSERT_NO_FATAL_FAILURE(b.open());
            for (uint64_t id = 1; id <= 4; id++)
                batcher_submit(b.batcher, make_alike(id, 3, prompt, 5), clock_now_ns());
            b.run();
            uint32_t cached = 0;
            for (uint64_t id = 1; id <= 4; id++) {
                EXPECT_EQ(b.outcomes[1].tokens, b.outcomes[id].tokens);
                EXPECT_EQ(5u, b.outcomes[id].tokens.size());
                cached += b.outcomes[id].usage.cached_tokens;
            }
            struct batcher_stats stats = batcher_stats_read(b.batcher);
            EXPECT_EQ(4u * (prompt + 4), cached + stats.step_tokens);
            EXPECT_EQ(stats.prefix_hits, cached);
            if (prompt == 100) {
                uint32_t twice = batch == 40 ? 16 : 0; // beside the end of the first: too little
                EXPECT_EQ(3u * 96 - twice, cached) << batch << " tokens in a step";
            } else if (batch == 1000) {
                EXPECT_EQ(0u, cached) << "not worth a step";
            }
        }
}

// What a prefix leaves of a step goes to who would have waited for the next.
TEST(batcher, a_prefix_makes_room_in_its_step)
{
    Sharing b;
    b.folder.config.max_batch_tokens = 50;
    ASSERT_NO_FATAL_FAILURE(b.open());
    b.ask(make_alike(1, 0, 50, 1));
    batcher_submit(b.batcher, make_alike(2, 0, 50, 1), clock_now_ns());
    batcher_submit(b.batcher, make_alike(3, 1, 40, 1), clock_now_ns());
    batcher_step(b.batcher, clock_now_ns());
    b.take();
    EXPECT_EQ(48u, b.outcomes[2].usage.cached_tokens);
    EXPECT_EQ(FINISH_LENGTH, b.outcomes[2].finish);
    EXPECT_EQ(FINISH_LENGTH, b.outcomes[3].finish) << "2 and 40 tokens are one step";
    EXPECT_TRUE(batcher_idle(b.batcher));
}

// Who waits for a neighbour that fails computes for itself.
TEST(batcher, a_neighbour_that_fails_is_waited_for_once)
{
    Sharing b;
    b.folder.config.max_batch_tokens = 1000;
    b.folder.config.device_experts.kind = ROOM_PAGES;
    b.folder.config.device_experts.pages = 2;
    b.folder.config.prefetch = PREFETCH_OFF;
    ASSERT_NO_FATAL_FAILURE(b.open());
    b.folder.folder.truncate("model.safetensors", 4096);
    for (uint64_t id = 1; id <= 3; id++)
        batcher_submit(b.batcher, make_alike(id, 3, 100, 5), clock_now_ns());
    for (uint32_t step = 1; step <= 3; step++) {
        EXPECT_TRUE(batcher_step(b.batcher, clock_now_ns()));
        EXPECT_EQ(step, batcher_stats_read(b.batcher).failed);
    }
    b.run();
    for (uint64_t id = 1; id <= 3; id++)
        EXPECT_EQ(FINISH_FAILED, b.outcomes[id].finish);
    EXPECT_EQ(0u, batcher_stats_read(b.batcher).now.kv_blocks_used);
}

// A pool smaller than everybody together, of changing size; prompts of a few families, priorities,
// pauses, cancellations, chunks of all sizes. Whoever ends has the tokens of an engine that shares
// nothing; nobody is forgotten; the pool never has less than the scheduler counts on.
TEST(batcher, sharing_under_load_changes_nothing)
{
    constexpr uint64_t requests = 60;
    Sharing alone(false);
    alone.folder.config.max_model_len = 64;
    ASSERT_NO_FATAL_FAILURE(alone.open());
    auto make = [](uint64_t id) {
        return make_alike(id, id % 3, 1 + (uint32_t)(id * 7 % 45), 1 + (uint32_t)(id * 5 % 18));
    };
    for (uint64_t id = 1; id <= requests; id++)
        alone.ask(make(id));
    uint64_t hits = 0, preemptions = 0, shrunk = 0;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        scratch::Random random(seed);
        Sharing b;
        b.folder.config.max_num_seqs = 1 + random.below(6);
        b.folder.config.max_batch_tokens = 6 + random.below(80);
        ASSERT_NO_FATAL_FAILURE(b.open(80 + 16 * random.below(8), 1000, random.below(20)));
        uint64_t submitted = 0, paused = 0;
        for (int i = 0; i < 20000 && (submitted < requests || !batcher_idle(b.batcher)); i++) {
            if (submitted < requests && random.chance(40)) {
                struct request *r = make(++submitted);
                r->asked.priority = (int32_t)random.below(2);
                batcher_submit(b.batcher, r, clock_now_ns());
            }
            if (paused || random.chance(10)) {
                bool pause = !paused;
                paused = pause ? 1 + random.below((uint32_t)submitted + 1) : paused;
                batcher_pause(b.batcher, paused, pause);
                paused = pause ? paused : 0;
            }
            if (random.chance(3))
                batcher_cancel(b.batcher, 1 + random.below((uint32_t)submitted + 1));
            if (random.chance(15)) {
                struct engine_budget asked = {};
                struct engine_budget_result got;
                uint32_t out;
                asked.set[ENGINE_ROOM_KV] = true;
                asked.kv_bytes = (uint64_t)(64 + 16 * random.below(10)) * 3 * 2 * 2 * 8 * 4;
                ASSERT_EQ(STATUS_OK, batcher_resize(b.batcher, &asked, &got, &out, nullptr));
                shrunk += out > 0;
            }
            batcher_step(b.batcher, clock_now_ns());
            struct scheduler_counts now = batcher_stats_read(b.batcher).now;
            ASSERT_GE(engine_kv_blocks_free(b.engine), now.kv_blocks - now.kv_blocks_used);
            b.take();
        }
        ASSERT_TRUE(batcher_idle(b.batcher)) << "seed " << seed;
        struct batcher_stats stats = batcher_stats_read(b.batcher);
        EXPECT_EQ(requests, stats.finished + stats.cancelled);
        EXPECT_LE(stats.cancelled, requests / 2);
        EXPECT_EQ(0u, stats.now.kv_blocks_used);
        EXPECT_EQ(stats.now.kv_blocks, engine_kv_blocks_free(b.engine));
        for (auto &o : b.outcomes)
            if (o.second.finish != FINISH_NONE) {
                EXPECT_EQ(alone.outcomes[o.first].tokens, o.second.tokens) << o.first;
                EXPECT_LT(o.second.usage.cached_tokens, o.second.usage.prompt_tokens);
            }
        hits += stats.prefix_hits;
        preemptions += stats.now.preemptions;
    }
    EXPECT_GT(hits, 1000u);
    EXPECT_GT(preemptions, 50u);
    EXPECT_GT(shrunk, 10u);
}

TEST(batcher, close_drops_what_is_left)
{
    Bench b;
    ASSERT_NO_FATAL_FAILURE(b.open());
    for (uint64_t id = 1; id <= 9; id++)
        b.submit(id, 9, 50);
    batcher_step(b.batcher, clock_now_ns());
    batcher_close(b.batcher);
    b.batcher = nullptr;
    struct engine_stats stats;
    engine_stats_read(b.engine, &stats, nullptr);
    EXPECT_EQ(engine_kv_blocks_free(b.engine), stats.kv_blocks);
    batcher_close(nullptr);
}

} // namespace
