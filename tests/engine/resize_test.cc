#include "engine/resize.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/engine/resizing_run.h"
#include "tests/support/toy_model.h"

namespace {

struct Sizes {
    uint32_t device = 0, host = 0, kv = 0;
};

Sizes sizes_of(const struct engine_sizes &s)
{
    return {s.slots[MEMORY_DEVICE], s.slots[MEMORY_HOST], s.kv_blocks};
}

struct engine_budget device_pages(uint64_t pages)
{
    struct engine_budget b = {};
    b.set[ENGINE_ROOM_DEVICE] = true;
    b.device_experts = Engine::pages(pages);
    return b;
}

class Resize : public testing::Test {
protected:
    Resize() { toy::write(folder_, model_); }

    void open(const Engine::Tweak &tweak = nullptr)
    {
        engine_ = std::make_unique<Engine>(folder_.path(), [&](struct engine_config &c) {
            c.max_model_len = 64;
            c.max_num_seqs = 4;
            c.device_experts = Engine::pages(8);
            if (tweak)
                tweak(c);
        });
    }
    enum status resize(const struct engine_budget &asked)
    {
        got_ = {};
        error_ = {};
        return engine_resize(engine_->engine, &asked, &got_, &error_);
    }
    bool says(const char *part) const
    {
        return std::string(error_.text).find(part) != std::string::npos;
    }
    Sizes now() const
    {
        struct engine_stats stats;
        engine_stats_read(engine_->engine, &stats, nullptr);
        EXPECT_EQ(stats.kv_blocks, stats.sizes.kv_blocks);
        return sizes_of(stats.sizes);
    }
    uint64_t block_bytes() const
    {
        const struct engine_info *info = engine_info(engine_->engine);
        return info->kv_bytes / info->kv_blocks;
    }
    struct engine_budget kv(uint64_t blocks) const
    {
        struct engine_budget b = {};
        b.set[ENGINE_ROOM_KV] = true;
        b.kv_bytes = blocks * block_bytes();
        return b;
    }

    scratch::Folder folder_;
    toy::Model model_;
    std::unique_ptr<Engine> engine_;
    struct engine_budget_result got_ = {};
    struct error error_ = {};
};

TEST_F(Resize, WhatIsNotAskedForStays)
{
    open([](struct engine_config &c) { c.host_experts = Engine::pages(5); });
    Sizes before = now();
    EXPECT_EQ(8u, before.device);
    EXPECT_EQ(5u, before.host);
    ASSERT_EQ(STATUS_OK, resize(device_pages(11))) << error_.text;
    EXPECT_EQ(8u, sizes_of(got_.before).device);
    EXPECT_EQ(11u, sizes_of(got_.after).device);
    EXPECT_EQ(11u, now().device);
    EXPECT_EQ(before.host, now().host);
    EXPECT_EQ(before.kv, now().kv);
    struct engine_budget host = {};
    host.set[ENGINE_ROOM_HOST] = true;
    host.host_experts = Engine::pages(3);
    ASSERT_EQ(STATUS_OK, resize(host)) << error_.text;
    EXPECT_EQ(3u, now().host);
    EXPECT_EQ(11u, now().device);
    ASSERT_EQ(STATUS_OK, resize(kv(9))) << error_.text;
    EXPECT_EQ(9u, now().kv);
    EXPECT_EQ(9u, got_.after.kv_blocks);
    EXPECT_EQ(9 * block_bytes(), got_.after.kv_bytes);
    EXPECT_EQ(STATUS_OK, resize(engine_budget{})) << "nothing asked for";
    EXPECT_EQ(0, memcmp(&got_.before, &got_.after, sizeof got_.before));
}

TEST_F(Resize, SizesAreReadAsAtOpen)
{
    open();
    uint32_t pages = engine_info(engine_->engine)->pages;
    struct engine_budget b = device_pages(0);
    b.device_experts = {};
    b.device_experts.kind = ROOM_PERCENT;
    b.device_experts.percent = 50;
    ASSERT_EQ(STATUS_OK, resize(b)) << error_.text;
    EXPECT_EQ(pages / 2, now().device);
    b.device_experts.kind = ROOM_BYTES;
    b.device_experts.bytes =
        4 * got_.after.slot_bytes[MEMORY_DEVICE] / got_.after.slots[MEMORY_DEVICE];
    ASSERT_EQ(STATUS_OK, resize(b)) << error_.text;
    EXPECT_EQ(4u, now().device);
    b.device_experts.kind = ROOM_AUTO; // a toy: everything fits
    ASSERT_EQ(STATUS_OK, resize(b)) << error_.text;
    EXPECT_EQ(pages, now().device);
    struct engine_budget a = kv(0); // 0: enough for every sequence
    ASSERT_EQ(STATUS_OK, resize(a)) << error_.text;
    EXPECT_EQ(4u * 64 / KV_BLOCK_TOKENS, now().kv);
}

TEST_F(Resize, RefusalsNameTheFlagAndChangeNothing)
{
    open();
    Sizes before = now();
    EXPECT_EQ(STATUS_INVALID, resize(device_pages(0)));
    EXPECT_TRUE(says("--device-experts")) << error_.text;
    EXPECT_EQ(STATUS_INVALID, resize(kv(3)));
    EXPECT_TRUE(says("--kv-cache-bytes") && says("--max-model-len 64")) << error_.text;
    struct engine_budget host = {};
    host.set[ENGINE_ROOM_HOST] = true;
    host.host_experts = Engine::pages(4);
    EXPECT_EQ(STATUS_INVALID, resize(host));
    EXPECT_TRUE(says("--host-experts") && says("not there at start")) << error_.text;
    struct engine_budget both = kv(1ull << 40);
    both.set[ENGINE_ROOM_DEVICE] = true;
    both.device_experts = Engine::pages(2);
    EXPECT_EQ(STATUS_NO_MEMORY, resize(both));
    EXPECT_TRUE(says("--kv-cache-bytes")) << error_.text;
    EXPECT_EQ(before.device, now().device);
    EXPECT_EQ(before.kv, now().kv);
    EXPECT_EQ(5u,
              resizing_run(*engine_, {job_of(some_prompt(1, 9, 96), 5)}, [] {})[0].tokens.size());
}

TEST_F(Resize, ATierThatCannotBeRemovedSaysSo)
{
    open([](struct engine_config &c) { c.host_experts = Engine::pages(5); });
    struct engine_budget host = {};
    host.set[ENGINE_ROOM_HOST] = true;
    EXPECT_EQ(STATUS_INVALID, resize(host));
    EXPECT_TRUE(says("--host-experts auto")) << error_.text;
    EXPECT_EQ(5u, now().host);
}

// A pool with less than is in use: FULL with how many must go, and it works once they have gone.
TEST_F(Resize, BlocksInUseAreSaid)
{
    open();
    std::vector<struct sequence *> sequences;
    for (uint32_t i = 0; i < 3; i++)
        sequences.push_back(engine_->open(job_of(some_prompt(i, 40, 96), 5)));
    for (struct sequence *s : sequences) {
        struct step_item item = {};
        struct step_output output;
        item.sequence = s;
        item.tokens = 40;
        ASSERT_EQ(STATUS_OK, engine_step(engine_->engine, &item, 1, &output, &error_));
    }
    struct engine_budget both = kv(7); // 9 are in use
    both.set[ENGINE_ROOM_DEVICE] = true;
    both.device_experts = Engine::pages(4);
    EXPECT_EQ(STATUS_FULL, resize(both));
    EXPECT_EQ(2u, got_.kv_blocks_over);
    EXPECT_EQ(7u, got_.after.kv_blocks);
    EXPECT_TRUE(says("--kv-cache-bytes") && says("2 more")) << error_.text;
    EXPECT_EQ(8u, now().device) << "nothing has changed";
    engine_sequence_preempt(engine_->engine, sequences[1]);
    EXPECT_EQ(STATUS_OK, resize(both)) << error_.text;
    EXPECT_EQ(4u, now().device);
    EXPECT_EQ(7u, now().kv);
    for (struct sequence *s : sequences)
        engine_sequence_close(engine_->engine, s);
    EXPECT_EQ(7u, engine_kv_blocks_free(engine_->engine));
}

// Every logit of every position, with all rooms changing before each step, is what it is without.
TEST_F(Resize, TheSameBitsWhateverChanges)
{
    auto jobs = [] {
        std::vector<Job> all;
        for (uint32_t i = 0; i < 4; i++) {
            all.push_back(job_of(some_prompt(i, 3 + 9 * i, 96), 20, 7));
            all.back().begin = 2 * i;
        }
        return all;
    }();
    struct Way {
        const char *name;
        Engine::Tweak tweak;
    } ways[] = {
        {"sync", [](struct engine_config &) {}},
        {"threads", [](struct engine_config &c) { c.io = IO_THREAD; }},
        {"host tier", [](struct engine_config &c) { c.host_experts = Engine::pages(6); }},
        {"streams", [](struct engine_config &c) {
             c.device_experts = Engine::pages(24);
             c.stream_layers = STREAM_AUTO;
             c.stream_always = true;
         }},
        {"prefetch", [](struct engine_config &c) {
             c.prefetch = PREFETCH_ON;
             c.io = IO_THREAD;
         }},
        {"f16", [](struct engine_config &c) { c.kv_dtype = DTYPE_F16; }},
    };
    for (Way &way : ways) {
        SCOPED_TRACE(way.name);
        open(way.tweak);
        std::vector<Answer> still = resizing_run(*engine_, jobs, [] {});
        open(way.tweak);
        uint32_t pages = engine_info(engine_->engine)->pages, changed = 0;
        bool has_host = now().host > 0;
        scratch::Random random(7);
        auto change = [&] {
            struct engine_budget b = kv(16 + random.below(20));
            b.set[ENGINE_ROOM_DEVICE] = random.chance(70);
            b.device_experts = Engine::pages(1 + random.below(pages));
            b.set[ENGINE_ROOM_HOST] = has_host && random.chance(50);
            b.host_experts = Engine::pages(1 + random.below(pages));
            ASSERT_EQ(STATUS_OK, resize(b)) << error_.text;
            changed += memcmp(&got_.before, &got_.after, sizeof got_.before) != 0;
        };
        std::vector<Answer> moved = resizing_run(*engine_, jobs, change);
        EXPECT_GT(changed, 15u);
        for (size_t i = 0; i < jobs.size(); i++) {
            EXPECT_EQ(still[i].tokens, moved[i].tokens) << i;
            ASSERT_EQ(still[i].logits.size(), moved[i].logits.size());
            EXPECT_EQ(0, memcmp(still[i].logits.data(), moved[i].logits.data(),
                                still[i].logits.size() * sizeof(float))) << i;
        }
    }
}

} // namespace
