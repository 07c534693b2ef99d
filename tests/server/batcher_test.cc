#include "server/batcher.h"

#include <gtest/gtest.h>
#include <string.h>

#include <map>
#include <vector>

#include "memory/base/clock.h"
#include "tests/server/toy_engine.h"

namespace {

struct Outcome {
    std::vector<uint32_t> tokens;
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
        config.logits = keep_logits;
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

// Two pages of the file are gone: a request fails if it comes to want one of them, at the very token
// at which it would fail alone, and the others never notice. Once the file is whole again all is well.
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
