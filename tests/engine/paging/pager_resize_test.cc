/* A pager whose tiers change their sizes, over storage in virtual time; random schedules of it are
 * in expert_pager_simulation_test.cc. */
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/paging/pager_state.h"
#include "tests/memory/simulated.h"

namespace {

constexpr uint32_t kLayers = 3, kExperts = 8, kPages = kLayers * kExperts;

struct Options {
    uint32_t device = 6, host = 0;
    bool host_compute = false;
    enum placement_mode placement = PLACEMENT_AUTO;
    uint32_t stream_layers = STREAM_OFF;
};

class PagerResize : public testing::Test {
protected:
    ~PagerResize() override { pager_close(pager_); }
    void open(const Options &o)
    {
        static const simulated::File file;
        simulated::Plan plan(random_, kPages);
        plan.pages_of_class = {kPages};
        plan.has_host = o.host > 0;
        plan.config = {};
        plan.config.slots[MEMORY_DEVICE].of_class[0] = o.device;
        plan.config.slots[MEMORY_HOST].of_class[0] = o.host;
        plan.config.io_depth = 8;
        plan.refuse_percent = 0;
        plan.weather = {};
        plan.weather.copy_ns = 3000;
        memory_ = std::make_unique<simulated::Memory>(file, plan, random_);
        struct pager_config config = {};
        config.memory = memory_->memory;
        config.layers = kLayers;
        config.experts = kExperts;
        config.top_k = 2;
        config.host_compute = o.host_compute;
        config.placement = o.placement;
        config.stream_layers = o.stream_layers;
        config.stream_always = true;
        config.prior = PLACEMENT_PRIOR;
        config.flops_per_token = 1000;
        struct error error = {};
        ASSERT_EQ(pager_open(&pager_, &config, &error), STATUS_OK) << error.text;
    }
    void resize_memory(enum memory_tier tier, uint32_t slots)
    {
        struct tier_slots all = {};
        all.of_class[0] = slots;
        struct error error = {};
        ASSERT_EQ(memory_resize(memory_->memory, tier, &all, 0, &error), STATUS_OK) << error.text;
    }
    void resize(enum memory_tier tier, uint32_t slots)
    {
        struct error error = {};
        resize_memory(tier, slots);
        ASSERT_EQ(pager_resized(pager_, &error), STATUS_OK) << error.text;
        memory_check(memory_->memory);
    }
    void request(uint32_t layer, const std::vector<uint32_t> &experts)
    {
        std::vector<uint32_t> ones(experts.size(), 1);
        struct layer_run run = {};
        bool hit[kExperts];
        run.layer = layer_ = layer;
        run.rows = 1;
        run.count = (uint32_t)experts.size();
        run.experts = experts.data();
        run.tokens = ones.data();
        pager_request(pager_, &run, hit);
    }
    /* The rest of a request: each page with its own bytes. Returns how many came. */
    uint32_t finish(const std::vector<uint32_t> &experts)
    {
        struct pager_expert e;
        struct error error = {};
        enum status status;
        uint32_t came = 0;
        while ((status = pager_next(pager_, &e, &error)) == STATUS_OK) {
            EXPECT_TRUE(memory_->holds(layer_ * kExperts + experts[e.index], e.slot));
            pager_release(pager_, e.index, 0);
            came++;
        }
        EXPECT_EQ(status, STATUS_NOT_FOUND) << error.text;
        return came;
    }
    void step(const std::vector<uint32_t> &experts)
    {
        pager_begin_step(pager_, 1, 1);
        for (uint32_t layer = 0; layer < kLayers; layer++) {
            request(layer, experts);
            EXPECT_EQ(finish(experts), experts.size());
        }
        pager_end_step(pager_);
    }
    struct pager_counters counters() const
    {
        struct pager_counters c;
        pager_counters(pager_, &c);
        return c;
    }
    uint64_t placed() const
    {
        return counters().placement.at_host + counters().placement.at_device;
    }

    scratch::Random random_{9};
    std::unique_ptr<simulated::Memory> memory_;
    struct expert_pager *pager_ = nullptr;
    uint32_t layer_ = 0;
};

const std::vector<uint32_t> kAll = {0, 1, 2, 3, 4, 5, 6, 7};

TEST_F(PagerResize, RoomIsUsedAsSoonAsItIsThere)
{
    open({});
    for (int i = 0; i < 3; i++)
        step(kAll);
    resize(MEMORY_DEVICE, kPages);
    step(kAll);
    EXPECT_EQ(memory_->counters().ready[MEMORY_DEVICE], kPages);
    uint64_t missed = counters().misses;
    step(kAll);
    EXPECT_EQ(counters().misses, missed);
    resize(MEMORY_DEVICE, 2);
    for (int i = 0; i < 3; i++)
        step(kAll);
    EXPECT_EQ(memory_->counters().ready[MEMORY_DEVICE], 2u);
    EXPECT_GT(counters().misses, missed + 3 * (kPages - 12));
}

/* Layer slots follow the slots: with room for one layer the next is not loaded ahead, with none no
 * layer is. */
TEST_F(PagerResize, WholeLayersAreLoadedAsTheRoomAllows)
{
    open({.device = 2 * kExperts, .stream_layers = 2});
    const uint32_t room[][2] = {{16, 2}, {9, 1}, {5, 0}, {kPages, 2}};
    for (const uint32_t *r : room) {
        resize(MEMORY_DEVICE, r[0]);
        EXPECT_EQ(counters().stream.slots, r[1]) << r[0] << " slots";
        uint64_t streamed = counters().stream.streamed_steps;
        for (int i = 0; i < 3; i++)
            step(kAll);
        EXPECT_EQ(counters().stream.streamed_steps, streamed + (r[1] ? 3 : 0));
    }
}

/* Reads of a request at hand whose slots go: what they were to bring is asked for again. */
TEST_F(PagerResize, WhatIsTakenAwayIsAskedForAgain)
{
    open({.device = 5});
    request(1, {1, 2, 4, 7});
    resize_memory(MEMORY_DEVICE, 1);
    EXPECT_EQ(memory_->counters().cancelled, 3u);
    EXPECT_EQ(finish({1, 2, 4, 7}), 4u);
    EXPECT_EQ(counters().misses, 4u);
}

/* A page that came and left before its coming was told is not there. */
TEST_F(PagerResize, APageThatCameAndLeftIsAskedForAgain)
{
    open({.device = 4, .host = 4});
    request(0, {0});
    EXPECT_EQ(finish({0}), 1u);
    request(0, {1});
    for (int i = 0; i < 10 && memory_where(memory_->memory, MEMORY_HOST, 1) != SLOT_READY; i++) {
        struct memory_event none;
        memory_->world.advance();
        ASSERT_EQ(memory_poll(memory_->memory, 0, &none, 1), 0u);
    }
    ASSERT_EQ(memory_where(memory_->memory, MEMORY_DEVICE, 1), SLOT_LOADING);
    resize_memory(MEMORY_HOST, 1); /* ends the copy out of the slot that goes, well */
    ASSERT_EQ(memory_where(memory_->memory, MEMORY_DEVICE, 1), SLOT_READY);
    memory_evict(memory_->memory, MEMORY_DEVICE, 1);
    EXPECT_EQ(finish({1}), 1u);
    EXPECT_EQ(memory_where(memory_->memory, MEMORY_DEVICE, 1), SLOT_READY);
}

/* A failure ends a poll; what else there is to tell is told all the same, before slots are used
 * anew. */
TEST_F(PagerResize, EventsBehindAFailureAreTakenInToo)
{
    open({.device = 8});
    memory_->world.weather.fail_percent = 100;
    request(0, {0, 1, 2, 3});
    pager_abort(pager_);
    while (memory_->world.io.next_due() != UINT64_MAX && memory_->world.io.next_due() >
                                                              memory_->world.now)
        memory_->world.advance();
    resize(MEMORY_DEVICE, 2);
    struct memory_event event;
    EXPECT_EQ(memory_poll(memory_->memory, 0, &event, 1), 0u);
    memory_->world.weather.fail_percent = 0;
    request(0, {0, 1, 2, 3});
    EXPECT_EQ(finish({0, 1, 2, 3}), 4u);
}

/* Nothing ran on the host while everything fitted; with less room it pays, and with more it
 * ends. */
TEST_F(PagerResize, HostComputingBeginsAndEndsWithTheRoom)
{
    open({.device = kPages, .host = kPages, .host_compute = true});
    step(kAll);
    step(kAll);
    EXPECT_EQ(placed(), 0u);
    resize(MEMORY_DEVICE, 3);
    for (int i = 0; i < 5; i++)
        step(kAll);
    uint64_t with = placed();
    EXPECT_GT(with, kPages);
    EXPECT_GT(counters().placement.at_host, 0u);
    resize(MEMORY_DEVICE, kPages);
    for (int i = 0; i < 3; i++)
        step(kAll);
    EXPECT_EQ(placed(), with) << "figures stay, and do not grow";
    resize(MEMORY_DEVICE, 3);
    step(kAll);
    EXPECT_GT(placed(), with);
}

TEST_F(PagerResize, HostComputingStaysOffWhereItWasNotAskedFor)
{
    for (bool asked : {false, true}) {
        pager_close(pager_);
        pager_ = nullptr;
        open({.device = kPages, .host = kPages, .host_compute = asked,
              .placement = asked ? PLACEMENT_DEVICE : PLACEMENT_AUTO});
        step(kAll);
        resize(MEMORY_DEVICE, 3);
        step(kAll);
        step(kAll);
        EXPECT_EQ(placed(), 0u);
    }
}

TEST_F(PagerResize, NotInTheMiddleOfARequest)
{
    open({});
    request(0, {1, 2});
    struct error error = {};
    EXPECT_DEATH(pager_resized(pager_, &error), "undone");
    EXPECT_EQ(finish({1, 2}), 2u);
}

} // namespace
