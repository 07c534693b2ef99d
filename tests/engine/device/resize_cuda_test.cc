/* Rooms of an engine on a CUDA device that change between steps: every logit of every position is,
 * bit for bit, what it is where nothing changes. Slots go and come back, KV blocks move under
 * segments that were captured, and the dice of the host double decide how far behind the device is:
 * several seeds each. A step reads its first routing back before it fetches anything, so at this
 * height no slot can be written too early; that fences hold all the same is tested where nobody
 * waits, in paging/expert_pager_simulation_test.cc and memory/cuda/device_cuda_test.cc. */
#include "engine/resize.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/engine/resizing_run.h"
#include "tests/support/toy_model.h"

#ifndef MOERING_TESTS_GPU
#include "tests/support/cuda_host/cuda_host.h"
#endif

namespace {

struct Way {
    const char *name;
    uint32_t device, host; /* pages at start; 0: all */
    enum prefetch_mode prefetch;
    uint32_t stream_layers;
    enum io_kind io;
    enum dtype kv;
};

const Way ways[] = {
    {"resident", 0, 0, PREFETCH_OFF, STREAM_OFF, IO_SYNC, DTYPE_F32},
    {"ring", 5, 9, PREFETCH_OFF, STREAM_OFF, IO_SYNC, DTYPE_F32},
    {"guesses", 7, 6, PREFETCH_ON, STREAM_OFF, IO_THREAD, DTYPE_F16},
    {"streams", 10, 16, PREFETCH_ON, 1, IO_THREAD, DTYPE_F32},
};

constexpr uint32_t kVocab = 96;

class ResizeCuda : public testing::TestWithParam<Way> {
  protected:
    ResizeCuda()
    {
        toy::Model model;
        model.layers = 2;
        toy::write(folder_, model);
    }
    void TearDown() override
    {
        engine_.reset();
#ifndef MOERING_TESTS_GPU
        EXPECT_EQ(cuda_host_leaks(), std::vector<std::string>());
#endif
    }
    /* The double from the beginning, with other dice. */
    void open(uint64_t seed)
    {
        const Way &way = GetParam();
        engine_.reset();
#ifndef MOERING_TESTS_GPU
        cuda_host_reset(seed);
        cuda_host_protect(false); /* guarding device memory costs most of the time */
#else
        (void)seed;
#endif
        engine_ = std::make_unique<Engine>(folder_.path(), [&](struct engine_config &c) {
            c.device = ENGINE_DEVICE_CUDA;
            c.deterministic = true;
            c.max_model_len = 64;
            c.max_num_seqs = 3;
            c.max_batch_tokens = 32;
            c.prefetch = way.prefetch;
            c.stream_layers = way.stream_layers;
            c.stream_always = way.stream_layers != STREAM_OFF;
            c.io = way.io;
            c.kv_dtype = way.kv;
            if (way.device)
                c.device_experts = Engine::pages(way.device);
            if (way.host)
                c.host_experts = Engine::pages(way.host);
        });
        random_ = std::make_unique<scratch::Random>(seed);
    }
    /* A long prompt in pieces, during which nobody has to wait for the device; then two more
     * sequences that share steps with it, one of which loses its blocks. */
    static std::vector<Job> jobs()
    {
        const uint32_t prompt[] = {12, 3, 7}, begin[] = {0, 3, 4};
        std::vector<Job> all;
        for (uint32_t i = 0; i < 3; i++) {
            all.push_back(job_of(some_prompt(i + 1, prompt[i], kVocab), 3, 3));
            all.back().begin = begin[i];
        }
        all[1].preempt = {5};
        return all;
    }
    /* Any sizes, any of the rooms; the KV pool keeps room for all sequences. */
    void resize(bool kv)
    {
        const struct engine_info *info = engine_info(engine_->engine);
        struct engine_budget asked = {};
        asked.set[ENGINE_ROOM_DEVICE] = random_->chance(60);
        asked.set[ENGINE_ROOM_HOST] = random_->chance(40);
        asked.set[ENGINE_ROOM_KV] = kv && random_->chance(60);
        asked.device_experts = Engine::pages(1 + random_->below(info->pages));
        asked.host_experts = Engine::pages(1 + random_->below(info->pages));
        asked.kv_bytes = (info->kv_bytes / info->kv_blocks) *
                         (3 * 64 / KV_BLOCK_TOKENS + random_->below(20));
        struct engine_budget_result got = {};
        struct error error = {};
        ASSERT_EQ(STATUS_OK, engine_resize(engine_->engine, &asked, &got, &error)) << error.text;
        for (int room = 0; room < MEMORY_TIERS; room++)
            resized_[room] += got.after.slots[room] != got.before.slots[room];
        resized_[ENGINE_ROOM_KV] += got.after.kv_blocks != got.before.kv_blocks;
    }

    scratch::Folder folder_;
    std::unique_ptr<Engine> engine_;
    std::unique_ptr<scratch::Random> random_;
    uint32_t resized_[ENGINE_ROOMS] = {};
};

TEST_P(ResizeCuda, ChangesNoBit)
{
    open(1);
    EXPECT_STREQ(engine_info(engine_->engine)->backend, "cuda");
    std::vector<Answer> still = resizing_run(*engine_, jobs(), [] {});
    for (uint64_t seed = 1; seed <= 3; seed++) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        bool quiet = seed > 1; /* then the device may be far behind when something changes */
        open(seed);
        std::vector<Answer> moved = resizing_run(*engine_, jobs(), [&] {
            resize(seed < 3); /* a KV pool that moves waits for the device */
            if (quiet)
                resize(seed < 3); /* slots that went are there again, and written into at once */
        }, quiet);
        ASSERT_EQ(still.size(), moved.size());
        for (size_t i = 0; i < still.size(); i++) {
            EXPECT_EQ(still[i].tokens, moved[i].tokens) << "sequence " << i;
            for (size_t k = 0; quiet && k < still[i].logits.size(); k++)
                if (moved[i].logits[k] == 0)
                    moved[i].logits[k] = still[i].logits[k]; /* not asked for */
            EXPECT_TRUE(still[i].logits == moved[i].logits) << "logits of sequence " << i;
        }
    }
    for (uint32_t count : resized_)
        EXPECT_GT(count, 3u);
}

INSTANTIATE_TEST_SUITE_P(Ways, ResizeCuda, testing::ValuesIn(ways),
                         [](const testing::TestParamInfo<Way> &way) { return way.param.name; });

} // namespace
