/* Routers asked before their turn, on the real backend and pager: where the hidden state does not
 * change from layer to layer they foretell without error, and guesses come true. */
#include "engine/moe/router_lookahead.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "memory/device.h"
#include "tests/memory/toy_store.h"
#include "tests/support/scratch.h"

namespace {

constexpr uint32_t kLayers = 6, kExperts = 16, kHidden = 24, kTopK = 2, kSlots = 40;
constexpr float kEps = 1e-6f;

class Lookahead : public testing::Test {
protected:
    Lookahead() : toy_({kLayers * kExperts})
    {
        struct error error = {};
        struct memory_config memory = {};
        memory.slots[MEMORY_DEVICE].of_class[0] = kSlots;
        memory.io = IO_SYNC;
        uint64_t arena = kSlots * store_class_slot_bytes(toy_.store, 0);
        EXPECT_EQ(device_host_open(&memory.device, arena, 0, &error), STATUS_OK);
        EXPECT_EQ(memory_open(&memory_, toy_.store, &memory, &error), STATUS_OK) << error.text;
        toy_.release();
        struct cpu_backend_config cpu = {};
        cpu.threads = 1;
        cpu.isa = CPU_BEST;
        cpu.expert_width_max = kHidden;
        cpu.context_max = 1;
        cpu.rows_max = ROUTER_LOOKAHEAD_ROWS + 1;
        EXPECT_EQ(cpu_backend_open(&backend_, &cpu, &error), STATUS_OK) << error.text;
        for (uint32_t layer = 0; layer < kLayers; layer++) {
            weights_.push_back(noise(kExperts * kHidden, 1.0f));
            norms_.push_back(noise(kHidden, 0.5f));
            for (float &v : norms_.back())
                v += 1.0f; /* layers differ in what they look at */
        }
        for (uint32_t layer = 0; layer < kLayers; layer++) {
            struct layer_router router = {};
            router.weight.data = weights_[layer].data();
            router.weight.dtype = DTYPE_F32;
            router.weight.rows = kExperts;
            router.weight.cols = kHidden;
            router.norm = norms_[layer].data();
            routers_.push_back(router);
        }
    }
    ~Lookahead() override
    {
        router_lookahead_close(&lookahead_);
        pager_close(pager_);
        backend_close(backend_);
        memory_close(memory_);
    }
    void open(enum foresight foresight, bool routers = true)
    {
        struct error error = {};
        struct pager_config pager = {};
        pager.memory = memory_;
        pager.layers = kLayers;
        pager.experts = kExperts;
        pager.top_k = kTopK;
        pager.foresight = foresight;
        pager.prefetch = PREFETCH_ON;
        ASSERT_EQ(pager_open(&pager_, &pager, &error), STATUS_OK) << error.text;
        struct router_lookahead_config config = {backend_, routers ? routers_.data() : nullptr,
                                                 kLayers, kExperts, kHidden, kEps};
        ASSERT_EQ(router_lookahead_open(&lookahead_, &config, &error), STATUS_OK) << error.text;
    }
    std::vector<float> noise(size_t count, float scale)
    {
        std::vector<float> out(count);
        for (float &v : out)
            v = scale * ((float)random_.below(2001) / 1000 - 1);
        return out;
    }
    /* What the router of a layer chooses for each row, written out. */
    std::vector<uint32_t> chosen(uint32_t layer, const std::vector<float> &x) const
    {
        std::set<uint32_t> all;
        for (size_t row = 0; row < x.size() / kHidden; row++) {
            const float *hidden = &x[row * kHidden];
            double squares = 0;
            for (uint32_t i = 0; i < kHidden; i++)
                squares += (double)hidden[i] * hidden[i];
            double scale = 1 / sqrt(squares / kHidden + (double)kEps);
            std::vector<std::pair<double, uint32_t>> scores;
            for (uint32_t e = 0; e < kExperts; e++) {
                double sum = 0;
                for (uint32_t i = 0; i < kHidden; i++)
                    sum += hidden[i] * scale * norms_[layer][i] * weights_[layer][e * kHidden + i];
                scores.push_back({-sum, e});
            }
            std::sort(scores.begin(), scores.end());
            for (uint32_t k = 0; k < kTopK; k++)
                all.insert(scores[k].second);
        }
        return {all.begin(), all.end()};
    }
    /* Tokens whose hidden state stays as it is through all layers. */
    void run(int steps, uint32_t rows)
    {
        for (int i = 0; i < steps; i++) {
            std::vector<float> x = noise((size_t)rows * kHidden, 3.0f);
            pager_begin_step(pager_, rows, rows);
            for (uint32_t layer = 0; layer < kLayers; layer++) {
                std::vector<uint32_t> wanted = chosen(layer, x), tokens(wanted.size(), 1);
                struct layer_run run = {layer, rows, (uint32_t)wanted.size(), wanted.data(),
                                        tokens.data(), false};
                bool hit[kExperts];
                struct pager_expert e;
                pager_request(pager_, &run, hit);
                router_lookahead_tell(&lookahead_, pager_, layer, x.data(), rows);
                while (pager_next(pager_, &e, nullptr) == STATUS_OK)
                    pager_release(pager_, e.index, 0);
            }
            pager_end_step(pager_);
        }
    }
    struct pager_counters counters() const
    {
        struct pager_counters c;
        pager_counters(pager_, &c);
        return c;
    }

    ToyStore toy_;
    scratch::Random random_{3};
    std::vector<std::vector<float>> weights_, norms_;
    std::vector<struct layer_router> routers_;
    struct memory *memory_ = nullptr;
    struct backend *backend_ = nullptr;
    struct expert_pager *pager_ = nullptr;
    struct router_lookahead lookahead_ = {};
};

TEST_F(Lookahead, ForetellsWhatAnUnchangedStateWillBeRoutedTo)
{
    for (uint32_t rows : {1u, 3u}) {
        pager_close(pager_);
        router_lookahead_close(&lookahead_);
        open(FORESIGHT_LOOKAHEAD);
        run(400, rows);
        struct policy_counters c = counters().policy;
        double settled = (double)(c.prefetch.used + c.prefetch.wasted);
        printf("%u rows: %lu guesses, %.3f of them used, log loss %.4f\n", rows,
               (unsigned long)c.prefetch.issued, (double)c.prefetch.used / settled,
               c.foresight_loss[FORESIGHT_LOOKAHEAD]);
        EXPECT_GT(c.prefetch.used, 300u);
        EXPECT_GT((double)c.prefetch.used, 0.6 * settled); /* several rows touch more or less */
        EXPECT_GT(c.foresight_loss[FORESIGHT_LOOKAHEAD], 0);
        if (rows == 1) { /* two of sixteen experts at random: 0.38 */
            EXPECT_LT(c.foresight_loss[FORESIGHT_LOOKAHEAD], 0.05);
            EXPECT_GT((double)c.prefetch.used, 0.95 * settled);
        }
    }
}

TEST_F(Lookahead, LargeBatchesAreNotForetold)
{
    open(FORESIGHT_LOOKAHEAD);
    run(100, ROUTER_LOOKAHEAD_ROWS + 1);
    EXPECT_EQ(counters().policy.foresight_loss[FORESIGHT_LOOKAHEAD], 0);
    run(100, ROUTER_LOOKAHEAD_ROWS);
    EXPECT_GT(counters().policy.foresight_loss[FORESIGHT_LOOKAHEAD], 0);
}

TEST_F(Lookahead, SaysNothingWhereNobodyListensOrNothingIsKnown)
{
    open(FORESIGHT_TRANSITION);
    run(50, 1);
    EXPECT_EQ(counters().policy.foresight_loss[FORESIGHT_LOOKAHEAD], 0);
    pager_close(pager_);
    router_lookahead_close(&lookahead_);
    open(FORESIGHT_LOOKAHEAD, false); /* no routers */
    run(50, 1);
    EXPECT_EQ(counters().policy.foresight_loss[FORESIGHT_LOOKAHEAD], 0);
    EXPECT_EQ(counters().policy.prefetch.issued, 0u);
}

TEST_F(Lookahead, TakesTheBytesItSays)
{
    struct router_lookahead_config config = {backend_, routers_.data(), kLayers, kExperts, kHidden,
                                             kEps};
    EXPECT_EQ(router_lookahead_bytes(&config),
              (ROUTER_LOOKAHEAD_ROWS *
                   (kHidden + 2 * ROUTER_LOOKAHEAD_LAYERS_MAX * kExperts) + kExperts) *
                  sizeof(float));
    struct router_lookahead none = {};
    router_lookahead_close(&none);
}

} // namespace
