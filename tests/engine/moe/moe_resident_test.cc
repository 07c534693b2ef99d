/* Running ahead on a backend that does nothing but keep the books: which layers are asked for when,
 * what a stop gives back, and what pager and usage hear. That real layers compute the right thing
 * is tests/engine/device/cuda_engine_test.cc's business. */
#include "engine/moe/moe_resident.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "memory/device.h"
#include "tests/engine/moe/toy_weights.h"
#include "tests/memory/toy_store.h"
#include "tests/support/toy_batch.h"

namespace {

constexpr uint32_t kLayers = 6, kExperts = 8, kHidden = 4, kTopK = 2, kRows = 3;

/* The CPU backend, but for the layers' own stop: expert `lacking` is never there. */
struct Books {
    struct backend base = {};
    struct backend_ops ops = {};
    struct resident_ops resident = {};
    struct backend *cpu = nullptr;
    uint32_t lacking = UINT32_MAX, stopped = 0, fences = 0, reached = 0;
    std::vector<uint32_t> ran; /* layers whose experts ran */
};

Books *books_of(struct backend *b)
{
    return reinterpret_cast<Books *>(b);
}

void experts(struct backend *b, const struct resident_args *args)
{
    Books *books = books_of(b);
    for (uint32_t c = 0; c < args->rows * args->top_k && !books->stopped; c++)
        if (args->chosen[c] == books->lacking)
            books->stopped = args->layer + 1;
    if (!books->stopped)
        books->ran.push_back(args->layer);
    *args->stopped = books->stopped;
}

void go(struct backend *b)
{
    books_of(b)->stopped = 0;
}

void post(struct backend *, void *to, const void *from, size_t bytes)
{
    memcpy(to, from, bytes);
}

void *host_alloc(struct backend *, size_t bytes)
{
    return malloc(bytes);
}

void host_release(struct backend *, void *p)
{
    free(p);
}

uint64_t fence(struct backend *b)
{
    return ++books_of(b)->fences;
}

bool reached(struct backend *b, uint64_t fence, bool wait)
{
    EXPECT_TRUE(wait);
    books_of(b)->reached = (uint32_t)fence;
    return true;
}

class Resident : public testing::Test {
  protected:
    Resident() : toy_({kLayers * kExperts}), weight_(kExperts * kHidden)
    {
        struct error error = {};
        struct memory_config memory = {};
        memory.slots[MEMORY_DEVICE].of_class[0] = kLayers * kExperts;
        memory.io = IO_SYNC;
        uint64_t arena = kLayers * kExperts * store_class_slot_bytes(toy_.store, 0);
        EXPECT_EQ(device_host_open(&memory.device, arena, 0, &error), STATUS_OK);
        EXPECT_EQ(memory_open(&memory_, toy_.store, &memory, &error), STATUS_OK) << error.text;
        toy_.release();
        struct cpu_backend_config cpu = {};
        cpu.threads = cpu.context_max = 1;
        cpu.isa = CPU_SCALAR;
        cpu.expert_width_max = cpu.cols_max = kHidden;
        cpu.rows_max = kRows;
        EXPECT_EQ(cpu_backend_open(&books_.cpu, &cpu, &error), STATUS_OK) << error.text;
        books_.resident = {nullptr, experts, go, post, host_alloc, host_release, kRows};
        books_.ops = *books_.cpu->ops;
        books_.ops.resident = &books_.resident;
        books_.ops.fence = fence;
        books_.ops.reached = reached;
        books_.base.ops = &books_.ops;
        /* Operations of the CPU backend look at their own state: hand them theirs. */
        books_.ops.matmul = [](struct backend *b, float *out, const float *x, struct tensor w,
                               const float *bias, uint32_t rows, bool add) {
            struct backend *own = books_of(b)->cpu;
            own->ops->matmul(own, out, x, w, bias, rows, add);
        };
        books_.ops.route = [](struct backend *b, const struct router *router,
                              const float *scores, uint32_t rows, uint32_t *chosen, float *shares) {
            struct backend *own = books_of(b)->cpu;
            own->ops->route(own, router, scores, rows, chosen, shares);
        };
        struct pager_config pager = {};
        pager.memory = memory_;
        pager.layers = kLayers;
        pager.experts = kExperts;
        pager.top_k = kTopK;
        EXPECT_EQ(pager_open(&pager_, &pager, &error), STATUS_OK) << error.text;
        struct moe_config config = {};
        config.backend = &books_.base;
        config.pager = pager_;
        config.router = {ROUTER_TOPK_SOFTMAX, kExperts, kTopK, 0};
        config.hidden = config.expert_width = kHidden;
        config.rows_max = kRows;
        EXPECT_EQ(moe_open(&moe_, &config, &error), STATUS_OK) << error.text;
        EXPECT_EQ(moe_resident_open(&ahead_, &moe_, kLayers, &error), STATUS_OK) << error.text;
        for (uint32_t e = 0; e < kExperts; e++) /* expert e scores e * x[0] */
            weight_[e * kHidden] = (float)e;
    }
    ~Resident() override
    {
        moe_resident_close(&ahead_);
        moe_close(&moe_);
        pager_close(pager_);
        backend_close(books_.cpu);
        memory_close(memory_);
    }
    void ask(uint32_t layer)
    {
        struct moe_weights weights = toy::f32_weights(weight_.data(), kExperts, kHidden, kHidden);
        EXPECT_EQ(moe_resident_variant(&ahead_, layer, kRows), 0u);
        moe_resident_ask(&ahead_, layer, &weights, x_, normed_, kRows);
        moe_resident_asked(&ahead_, layer);
    }

    ToyStore toy_;
    std::vector<float> weight_;
    struct memory *memory_ = nullptr;
    struct expert_pager *pager_ = nullptr;
    Books books_;
    struct moe moe_ = {};
    struct moe_resident ahead_ = {};
    float x_[kRows * kHidden] = {};
    /* Rows 0 and 2 choose the highest experts, row 1 the lowest. */
    float normed_[kRows * kHidden] = {1, 0, 0, 0, -1, 0, 0, 0, 1};
};

TEST_F(Resident, TakesStepsUpToItsRows)
{
    EXPECT_TRUE(moe_resident_can(&ahead_, 1));
    EXPECT_TRUE(moe_resident_can(&ahead_, kRows));
    EXPECT_FALSE(moe_resident_can(&ahead_, kRows + 1));
    struct moe_resident none = {};
    EXPECT_FALSE(moe_resident_can(&none, 1));
    moe_resident_close(&none);
}

TEST_F(Resident, LayersThatPassAreHits)
{
    const uint32_t tokens[] = {0, 1, 2}, blocks[] = {0};
    toy::Batch batch;
    batch.add(tokens, 2, 0, blocks);
    batch.add(tokens, 1, 0, blocks);
    struct moe_routing routing;
    moe_resident_begin(&ahead_);
    uint32_t asked = 0;
    for (uint32_t n = 0; n < kLayers; n++) {
        while (moe_resident_further(&ahead_, n, asked))
            ask(asked++);
        EXPECT_EQ(asked, std::min(n + 1 + MOE_RESIDENT_AHEAD, kLayers));
        ASSERT_TRUE(moe_resident_confirm(&ahead_, n, batch.get(), &routing));
        EXPECT_EQ(books_.reached, n + 1) << "its own fence, not a later one";
        EXPECT_EQ(routing.chosen[0], kExperts - 1);
        EXPECT_EQ(routing.chosen[2], 0u);
        EXPECT_NEAR(routing.weights[0] + routing.weights[1], 1.0f, 1e-6f);
    }
    EXPECT_EQ(books_.ran, (std::vector<uint32_t>{0, 1, 2, 3, 4, 5}));
    EXPECT_EQ(batch.usage(0).hits, kLayers * 4u); /* two rows, two experts each, none shared */
    EXPECT_EQ(batch.usage(1).hits, kLayers * 2u);
    EXPECT_EQ(batch.usage(0).misses + batch.usage(1).misses, 0u);
    struct pager_counters counters;
    pager_counters(pager_, &counters);
    EXPECT_EQ(counters.hits, kLayers * 4u);
    EXPECT_EQ(counters.misses, 0u);
}

TEST_F(Resident, AStopGivesTheRoutingBackAndNothingRunsBehindIt)
{
    const uint32_t tokens[] = {0, 1, 2}, blocks[] = {0};
    toy::Batch batch;
    batch.add(tokens, kRows, 0, blocks);
    struct moe_routing routing;
    moe_resident_begin(&ahead_);
    books_.lacking = 1; /* row 1 wants it, in every layer */
    ask(0);
    ask(1);
    ASSERT_FALSE(moe_resident_confirm(&ahead_, 0, batch.get(), &routing));
    EXPECT_EQ(routing.chosen[2], 0u);
    EXPECT_EQ(routing.chosen[3], 1u);
    EXPECT_TRUE(books_.ran.empty());
    EXPECT_EQ(books_.stopped, 0u) << "it may go on";
    EXPECT_EQ(batch.usage(0).hits, 0u) << "whoever runs it charges it";
    books_.lacking = UINT32_MAX;
    ask(1);
    EXPECT_TRUE(moe_resident_confirm(&ahead_, 1, batch.get(), &routing));
    EXPECT_EQ(books_.ran, std::vector<uint32_t>{1});
}

/* Two stops are enough to be waited for, and two passes to be trusted again. */
TEST_F(Resident, NothingIsAskedForBehindALayerThatStopsOften)
{
    const uint32_t tokens[] = {0, 1, 2}, blocks[] = {0};
    toy::Batch batch;
    batch.add(tokens, kRows, 0, blocks);
    struct moe_routing routing;
    auto run = [&](uint32_t lacking) {
        books_.lacking = lacking;
        ask(2);
        EXPECT_EQ(moe_resident_confirm(&ahead_, 2, batch.get(), &routing), lacking == UINT32_MAX);
    };
    moe_resident_begin(&ahead_);
    EXPECT_TRUE(moe_resident_further(&ahead_, 2, 4));
    run(0);
    EXPECT_TRUE(moe_resident_further(&ahead_, 2, 3));
    run(0);
    EXPECT_FALSE(moe_resident_further(&ahead_, 2, 3));
    EXPECT_TRUE(moe_resident_further(&ahead_, 2, 2)) << "itself is always asked for";
    EXPECT_FALSE(moe_resident_further(&ahead_, 1, 3)) << "nor from further in front";
    EXPECT_TRUE(moe_resident_further(&ahead_, 3, 5));
    for (int i = 0; i < 5; i++)
        run(0);
    run(UINT32_MAX);
    EXPECT_FALSE(moe_resident_further(&ahead_, 2, 3));
    run(UINT32_MAX);
    EXPECT_TRUE(moe_resident_further(&ahead_, 2, 3));
    EXPECT_FALSE(moe_resident_further(&ahead_, 4, kLayers)) << "there are no more";
}

} // namespace
