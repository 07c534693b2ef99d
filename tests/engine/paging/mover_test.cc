/* The mover between a real policy and a real memory over storage in virtual time: it makes room by
 * the rules of its header, and the policy always knows what is where. */
#include "engine/paging/mover.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "tests/memory/simulated.h"

namespace {

constexpr uint32_t kLayers = 6, kExperts = 8;

struct Options {
    uint32_t device = 16, host = 0;
    enum prefetch_mode prefetch = PREFETCH_ON;
    enum foresight foresight = FORESIGHT_LOOKAHEAD;
    enum evict_kind evict = EVICT_ROUND;
    uint32_t stream_layers = STREAM_OFF;
    uint32_t io_depth = 2; /* one for guesses, one kept for demand */
};

class Mover : public testing::Test {
protected:
    ~Mover() override
    {
        policy_close(policy_);
        stream_close(stream_);
    }
    void open(const Options &o = Options())
    {
        simulated::Plan plan(random_, kLayers * kExperts);
        plan.pages_of_class = {kLayers * kExperts};
        plan.has_host = o.host > 0;
        plan.config = {};
        plan.config.slots[MEMORY_DEVICE].of_class[0] = o.device;
        plan.config.slots[MEMORY_HOST].of_class[0] = o.host;
        plan.config.io_depth = o.io_depth;
        plan.weather = {};
        memory_ = std::make_unique<simulated::Memory>(file(), plan, random_);
        struct error error = {};
        struct policy_config policy = {};
        policy.layers = kLayers;
        policy.experts = kExperts;
        policy.top_k = 2;
        policy.slots = o.device;
        policy.evict = o.evict;
        policy.foresight = o.foresight;
        policy.prefetch = o.prefetch;
        ASSERT_EQ(policy_open(&policy_, &policy, &error), STATUS_OK) << error.text;
        struct stream_config stream = {};
        stream.layers = kLayers;
        stream.experts = kExperts;
        stream.top_k = 2;
        stream.stream_layers = o.stream_layers;
        stream.always = true;
        stream.classes = 1;
        stream.class_slots = &o.device;
        if (o.stream_layers != STREAM_OFF) {
            ASSERT_EQ(stream_open(&stream_, &stream, &error), STATUS_OK) << error.text;
        }
        struct mover_config mover = {};
        mover.memory = memory_->memory;
        mover.policy = policy_;
        mover.stream = stream_;
        mover.fence = fence_;
        mover.layers = kLayers;
        mover.experts = kExperts;
        mover_init(&mover_, &mover);
    }
    static const simulated::File &file()
    {
        static const simulated::File only;
        return only;
    }
    void run(uint32_t layer, const std::vector<uint32_t> &wanted)
    {
        std::vector<uint32_t> ones(wanted.size() + 1, 1);
        struct layer_run run = {};
        run.layer = layer;
        run.rows = 1;
        run.count = (uint32_t)wanted.size();
        run.experts = wanted.data();
        run.tokens = ones.data();
        policy_run(policy_, &run);
    }
    /* What the router of the next layer says: these, as sure as can be. */
    void foretell(const std::vector<uint32_t> &experts)
    {
        float score[kExperts] = {};
        for (uint32_t e : experts)
            score[e] = 1;
        policy_lookahead(policy_, 1, score);
    }
    /* Teaches the policy that what is foretold comes true, so that guesses are made. */
    void teach(int rounds = 60)
    {
        for (int i = 0; i < rounds * (int)kLayers; i++) {
            uint32_t layer = (uint32_t)i % kLayers, e = (uint32_t)i % kExperts;
            run(layer, {e, (e + 3) % kExperts});
            foretell({(e + 1) % kExperts, (e + 4) % kExperts});
        }
    }
    /* Takes in every end until nothing is under way. */
    void settle()
    {
        struct memory_event events[8];
        while (uint32_t n = memory_poll(memory_->memory, UINT64_MAX, events, 8))
            for (uint32_t i = 0; i < n; i++)
                mover_event(&mover_, &events[i]);
        memory_check(memory_->memory);
    }
    void resize(uint32_t device)
    {
        struct tier_slots slots = {};
        slots.of_class[0] = device;
        struct error error = {};
        ASSERT_EQ(memory_resize(memory_->memory, MEMORY_DEVICE, &slots, 0, &error), STATUS_OK)
            << error.text;
    }
    enum slot_state where(page_id page, enum memory_tier tier = MEMORY_DEVICE) const
    {
        return memory_where(memory_->memory, tier, page);
    }
    uint32_t there(enum slot_state state = SLOT_READY) const
    {
        uint32_t n = 0;
        for (page_id page = 0; page < kLayers * kExperts; page++)
            n += where(page) == state;
        return n;
    }
    struct policy_counters counters() const
    {
        struct policy_counters c;
        policy_counters(policy_, &c);
        return c;
    }
    void demand(page_id page)
    {
        ASSERT_TRUE(mover_demand(&mover_, page, false));
        settle();
        ASSERT_EQ(where(page), SLOT_READY);
    }

    scratch::Random random_{5};
    std::unique_ptr<simulated::Memory> memory_;
    struct policy *policy_ = nullptr;
    struct stream *stream_ = nullptr;
    uint64_t fence_[kLayers] = {};
    struct mover mover_ = {};
};

TEST_F(Mover, DemandDisplacesWhatThePolicySays)
{
    open({.device = 4, .prefetch = PREFETCH_OFF});
    for (uint32_t layer = 0; layer < 4; layer++) {
        run(layer, {1});
        demand(layer * kExperts + 1);
    }
    EXPECT_EQ(mover_.arrived, 4u);
    run(4, {1});
    demand(4 * kExperts + 1);
    /* Layer 4 runs; 0's page is two layers off, 3's five: it leaves, though it came last. */
    EXPECT_EQ(where(3 * kExperts + 1), SLOT_FREE);
    EXPECT_EQ(there(), 4u);
}

TEST_F(Mover, DemandSparesLivePagesIfToldAndNeverPinnedOnes)
{
    open({.device = 2, .prefetch = PREFETCH_OFF});
    run(0, {1});
    demand(1);
    run(1, {1});
    demand(kExperts + 1);
    run(2, {1});
    EXPECT_FALSE(mover_demand(&mover_, 2 * kExperts + 1, true)); /* both used in their last runs */
    EXPECT_EQ(there(), 2u);
    memory_pin(memory_->memory, 1);
    memory_pin(memory_->memory, kExperts + 1);
    EXPECT_FALSE(mover_demand(&mover_, 2 * kExperts + 1, false));
    memory_unpin(memory_->memory, 1);
    EXPECT_TRUE(mover_demand(&mover_, 2 * kExperts + 1, false));
    settle();
    EXPECT_EQ(where(1), SLOT_FREE);
    memory_unpin(memory_->memory, kExperts + 1);
}

TEST_F(Mover, GuessesAreFewQueuedAndArrive)
{
    open({.device = 40});
    teach();
    foretell({2, 3, 5, 6, 7, 0});
    mover_guess(&mover_);
    uint32_t loading = there(SLOT_LOADING);
    EXPECT_GT(loading, 0u);
    EXPECT_LE(loading, (uint32_t)MOVER_GUESSES_MAX);
    EXPECT_EQ(mover_.guesses, loading);
    EXPECT_EQ(counters().prefetch.issued, loading);
    mover_guess(&mover_); /* a second call within the same limit */
    EXPECT_LE(there(SLOT_LOADING), (uint32_t)MOVER_GUESSES_MAX);
    settle();
    EXPECT_EQ(mover_.guesses, 0u);
    EXPECT_EQ(mover_.arrived, counters().prefetch.issued);
    EXPECT_EQ(there(), mover_.arrived);
}

TEST_F(Mover, LateGuessesAreTakenBackIfTheyHaveNotBegun)
{
    open({.device = 40});
    teach();
    uint32_t next = kLayers; /* the layer foretold */
    for (page_id page = 0; page < kLayers * kExperts && next == kLayers; page++) {
        foretell({2, 3});
        mover_guess(&mover_);
        for (page_id p = 0; p < kLayers * kExperts; p++)
            if (where(p) == SLOT_LOADING)
                next = p / kExperts;
    }
    ASSERT_LT(next, kLayers);
    ASSERT_EQ(mover_.guesses, 2u); /* the first is being read, the second waits */
    uint64_t issued = counters().prefetch.issued;
    mover_drop_late(&mover_); /* none is late yet */
    EXPECT_EQ(mover_.guesses, 2u);
    run(next, {7});
    mover_drop_late(&mover_);
    EXPECT_EQ(mover_.guesses, 1u);
    EXPECT_EQ(memory_->counters().cancelled, 1u);
    EXPECT_EQ(counters().prefetch.issued, issued - 1);
    settle();
    EXPECT_EQ(there(), 1u);
    EXPECT_EQ(mover_.guesses, 0u);
}

TEST_F(Mover, AGuessTakesNoSlotFromWhatIsWorthMore)
{
    open({.device = 4, .evict = EVICT_ROUND}); /* live pages are worth 1 */
    teach();
    for (uint32_t layer = 0; layer < 4; layer++) {
        run(layer, {1});
        demand(layer * kExperts + 1);
    }
    foretell({2, 3}); /* of layer 4 */
    mover_guess(&mover_);
    EXPECT_EQ(mover_.guesses, 0u);
    EXPECT_EQ(there(), 4u);
    for (int i = 0; i < 2; i++) /* these pages sit out a round and a half */
        for (uint32_t layer = 0; layer < 4; layer++)
            run(layer, {7});
    foretell({2, 3});
    mover_guess(&mover_);
    EXPECT_EQ(mover_.guesses, 1u); /* a quarter of the slots */
    EXPECT_EQ(there(), 3u);
    settle();
}

TEST_F(Mover, AGuessThatFailsMayBeMadeAgain)
{
    open({.device = 40});
    teach();
    foretell({2, 3});
    memory_->world.weather.fail_percent = 100;
    mover_guess(&mover_);
    ASSERT_EQ(mover_.guesses, 2u);
    settle();
    EXPECT_EQ(mover_.guesses, 0u);
    EXPECT_EQ(mover_.arrived, 0u);
    EXPECT_EQ(counters().prefetch.issued, 0u);
    EXPECT_EQ(there(SLOT_FREE), kLayers * kExperts);
    memory_->world.weather.fail_percent = 0;
    foretell({2, 3});
    mover_guess(&mover_);
    settle();
    EXPECT_EQ(mover_.arrived, 2u);
}

/* A resize ends the journey of a guess: it is forgotten, at no cost, and may be made again. */
TEST_F(Mover, AGuessThatIsTakenAwayIsForgotten)
{
    open({.device = 40});
    teach();
    foretell({2, 3});
    mover_guess(&mover_);
    ASSERT_EQ(mover_.guesses, 2u);
    resize(1);
    settle();
    mover_resized(&mover_);
    EXPECT_EQ(memory_->counters().cancelled, 1u);
    EXPECT_EQ(mover_.guesses, 0u);
    EXPECT_EQ(mover_.arrived, 1u);
    EXPECT_EQ(there(), 1u);
    EXPECT_EQ(counters().prefetch.issued, 1u);
    resize(40);
    foretell({2, 3});
    mover_guess(&mover_);
    EXPECT_EQ(mover_.guesses, 1u);
    settle();
    EXPECT_EQ(mover_.arrived, 2u);
    EXPECT_EQ(there(), 2u);
}

/* What an event says may be over when it is told. */
TEST_F(Mover, WhatCameAndLeftIsNotBelievedToBeThere)
{
    open({.device = 4, .prefetch = PREFETCH_OFF});
    auto any = [](void *, enum memory_tier, page_id) { return true; };
    for (bool stays : {true, false}) {
        run(1, {1});
        ASSERT_TRUE(mover_demand(&mover_, kExperts + 1, false));
        struct memory_event event;
        ASSERT_EQ(memory_poll(memory_->memory, UINT64_MAX, &event, 1), 1u);
        ASSERT_EQ(event.status, STATUS_OK);
        if (!stays)
            memory_evict(memory_->memory, MEMORY_DEVICE, kExperts + 1);
        mover_event(&mover_, &event);
        page_id victim = policy_victim(policy_, MEMORY_DEVICE, 0, any, nullptr);
        EXPECT_EQ(victim, stays ? kExperts + 1 : PAGE_NONE);
        if (stays) {
            memory_evict(memory_->memory, MEMORY_DEVICE, victim);
            policy_resident(policy_, MEMORY_DEVICE, victim, false);
        }
    }
}

/* A ring that has grown is not full, and a layer half loaded is begun anew. */
TEST_F(Mover, AResizeForgetsFullRingsAndHalfLoadedLayers)
{
    open({.device = kExperts, .prefetch = PREFETCH_OFF, .stream_layers = 1});
    struct stream_step step = {.rows = 40, .distinct = 0, .next_rows = 40};
    ASSERT_TRUE(stream_begin_step(stream_, &step));
    for (uint32_t e = 0; e < 3; e++) { /* in the way of the layer, and they may not leave */
        run(1, {e});
        demand(kExperts + e);
        memory_pin(memory_->memory, kExperts + e);
    }
    mover_stream(&mover_);
    settle();
    EXPECT_EQ(mover_.loading_layer, 0u);
    run(2, {1});
    demand(2 * kExperts + 1);
    EXPECT_NE(mover_leaving(&mover_, 0), PAGE_NONE);
    for (uint32_t e = 0; e < 3; e++)
        memory_unpin(memory_->memory, kExperts + e);
    uint32_t slots = 2 * kExperts;
    resize(slots);
    stream_resized(stream_, &slots);
    mover_resized(&mover_);
    EXPECT_EQ(mover_leaving(&mover_, 0), PAGE_NONE);
    EXPECT_EQ(mover_.loading_layer, STREAM_NONE);
    ASSERT_TRUE(stream_begin_step(stream_, &step));
    mover_stream(&mover_);
    settle();
    for (uint32_t e = 0; e < kExperts; e++)
        EXPECT_EQ(where(e), SLOT_READY);
}

/* A page's host stage has no event of its own; the policy hears of it with the device's. And one
 * whose journey failed after it had reached the host is found by the hand. */
TEST_F(Mover, ThePolicyHearsOfTheHostTier)
{
    open({.device = 3, .host = 4, .prefetch = PREFETCH_OFF});
    for (int i = 0; i < 200; i++) {
        uint32_t layer = (uint32_t)i % kLayers;
        std::vector<uint32_t> wanted = {random_.below(kExperts)};
        memory_->world.weather.fail_percent = random_.chance(30) ? 50 : 0;
        run(layer, wanted);
        page_id page = layer * kExperts + wanted[0];
        if (where(page) == SLOT_FREE) {
            ASSERT_TRUE(mover_demand(&mover_, page, false));
            settle();
        }
    }
    EXPECT_GT(memory_->counters().failures, 5u);
    EXPECT_GT(memory_->counters().evictions[MEMORY_HOST], 20u);
}

/* Ends that the policy was not told of: their pages are found when there is nothing else to
 * evict. */
TEST_F(Mover, PagesThatNobodyToldOfAreFound)
{
    for (uint32_t host : {0u, 2u}) {
        policy_close(policy_);
        policy_ = nullptr;
        open({.device = 2, .host = host, .prefetch = PREFETCH_OFF});
        struct memory_event event;
        for (page_id page : {3u, 9u}) {
            ASSERT_EQ(memory_fetch(memory_->memory, MEMORY_DEVICE, page, URGENCY_DEMAND, nullptr,
                                   nullptr), STATUS_OK);
            ASSERT_EQ(memory_poll(memory_->memory, UINT64_MAX, &event, 1), 1u);
        }
        run(2, {1});
        demand(2 * kExperts + 1);
        EXPECT_EQ(there(), 2u);
    }
}

TEST_F(Mover, WholeLayersComeInOrderAndStayUntilComputed)
{
    open({.device = 2 * kExperts + 2, .prefetch = PREFETCH_OFF, .stream_layers = 2});
    struct stream_step step = {.rows = 40, .distinct = 0, .next_rows = 40};
    for (int i = 0; i < 5; i++) {
        ASSERT_TRUE(stream_begin_step(stream_, &step));
        for (uint32_t layer = 0; layer < kLayers; layer++) {
            mover_stream(&mover_);
            settle();
            mover_stream(&mover_);
            settle();
            for (uint32_t ahead = 0; ahead < 2; ahead++)
                for (uint32_t e = 0; e < kExperts; e++)
                    ASSERT_EQ(where((layer + ahead) % kLayers * kExperts + e), SLOT_READY)
                        << "layer " << layer << " + " << ahead;
            run(layer, {0, 1, 2, 3, 4, 5, 6, 7});
            /* Demand of another layer finds room beside the two. */
            page_id other = (layer + 3) % kLayers * kExperts + (uint32_t)i;
            if (where(other) == SLOT_FREE) {
                ASSERT_TRUE(mover_demand(&mover_, other, false));
                settle();
            }
            for (uint32_t e = 0; e < 2 * kExperts; e++)
                ASSERT_EQ(where((layer + e / kExperts) % kLayers * kExperts + e % kExperts),
                          SLOT_READY) << "displaced by demand";
            stream_layer_computed(stream_, layer);
        }
        struct stream_spent spent = {};
        spent.ns = 1000;
        stream_end_step(stream_, &spent);
    }
}

/* A ring that the schedule fills to the last slot: rather a page that is to come than none at
 * all. */
TEST_F(Mover, DemandMayDisplaceWhatWasStreamedIfThereIsNothingElse)
{
    open({.device = kExperts, .prefetch = PREFETCH_OFF, .stream_layers = 1});
    struct stream_step step = {.rows = 40, .distinct = 0, .next_rows = 0};
    ASSERT_TRUE(stream_begin_step(stream_, &step));
    mover_stream(&mover_);
    settle();
    ASSERT_EQ(there(), kExperts);
    EXPECT_TRUE(mover_demand(&mover_, 3 * kExperts, false));
    settle();
    EXPECT_EQ(where(3 * kExperts), SLOT_READY);
}

} // namespace
