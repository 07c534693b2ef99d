/* Times told from arrivals, and what a fetched page is worth, on a pager_place of its own; whole
 * requests are in expert_pager_simulation_test.cc and placement_simulation_test.cc. */
#include "engine/paging/pager_place.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/memory/simulated.h"

namespace {

constexpr uint32_t kLayers = 2, kExperts = 8;

class Place : public testing::Test {
protected:
    Place()
    {
        simulated::Plan plan(random_, kLayers * kExperts);
        plan.pages_of_class = {kLayers * kExperts};
        plan.has_host = true;
        plan.config = {};
        plan.config.slots[MEMORY_DEVICE].of_class[0] = 4;
        plan.config.slots[MEMORY_HOST].of_class[0] = kLayers * kExperts;
        plan.weather = {};
        memory_ = std::make_unique<simulated::Memory>(file(), plan, random_);
        struct error error = {};
        struct policy_config policy = {};
        policy.layers = kLayers;
        policy.experts = kExperts;
        policy.top_k = 2;
        policy.slots = 4;
        EXPECT_EQ(policy_open(&policy_, &policy, &error), STATUS_OK) << error.text;
        struct mover_config mover = {};
        mover.memory = memory_->memory;
        mover.policy = policy_;
        mover.fence = fence_;
        mover.layers = kLayers;
        mover.experts = kExperts;
        mover_init(&mover_, &mover);
        for (page_id page = 0; page < kLayers * kExperts; page++) { /* all lie on the host */
            EXPECT_EQ(memory_fetch(memory_->memory, MEMORY_HOST, page, URGENCY_DEMAND, nullptr,
                                   nullptr), STATUS_OK);
            settle();
        }
    }
    ~Place() override
    {
        pager_place_close(place_);
        policy_close(policy_);
    }
    static const simulated::File &file()
    {
        static const simulated::File only;
        return only;
    }
    void settle()
    {
        struct memory_event events[8];
        while (uint32_t n = memory_poll(memory_->memory, UINT64_MAX, events, 8))
            for (uint32_t i = 0; i < n; i++)
                mover_event(&mover_, &events[i]);
    }
    void open(enum placement_mode mode)
    {
        struct pager_place_config config = {};
        config.memory = memory_->memory;
        config.policy = policy_;
        config.mover = &mover_;
        config.layers = kLayers;
        config.experts = kExperts;
        config.mode = mode;
        config.prior = PLACEMENT_PRIOR;
        config.flops_per_token = 1000;
        struct error error = {};
        ASSERT_EQ(pager_place_open(&place_, &config, &error), STATUS_OK) << error.text;
    }
    void request(const std::vector<uint32_t> &experts, bool streams = false)
    {
        std::vector<uint32_t> ones(experts.size(), 1);
        struct layer_run run = {};
        run.rows = 1;
        run.count = (uint32_t)experts.size();
        run.experts = experts.data();
        run.tokens = ones.data();
        policy_run(policy_, &run);
        pager_place_begin(place_, &run, streams);
        for (uint32_t e : experts)
            pager_place_add(place_, e);
        pager_place_split(place_, 1000000);
    }
    uint64_t belief(enum placement_cost cost) const
    {
        return placement_predict(pager_place_dictionary(place_), cost, 0, PLACEMENT_DECODE, 1);
    }
    scratch::Random random_{3};
    std::unique_ptr<simulated::Memory> memory_;
    struct policy *policy_ = nullptr;
    struct mover mover_;
    uint64_t fence_[kLayers] = {};
    struct pager_place *place_ = nullptr;
};

TEST_F(Place, WhatWasWaitedForIsSharedAmongWhatCame)
{
    open(PLACEMENT_AUTO);
    request({0, 1, 2});
    for (uint32_t i = 0; i < 3; i++)
        pager_place_arrived(place_, i, false);
    pager_place_gave(place_);
    EXPECT_EQ(pager_place_settled(place_, 1003000, true, true), 1000u);
    EXPECT_NEAR((double)belief(PLACEMENT_FETCH), 1000, 2);
}

/* The caller computed meanwhile: nobody knows when they came, only that it was before. */
TEST_F(Place, WhatWasNoticedLateIsAnUpperBound)
{
    open(PLACEMENT_AUTO);
    for (uint64_t took : {2000u, 900000u, 1000u}) {
        request({0, 1});
        uint64_t before = belief(PLACEMENT_FETCH);
        pager_place_gave(place_);
        pager_place_arrived(place_, 0, false);
        EXPECT_EQ(pager_place_settled(place_, 1000000 + took, false, false), 0u); /* more to come */
        pager_place_arrived(place_, 1, false);
        uint64_t told = pager_place_settled(place_, 1000000 + took, false, true);
        if (took < 2 * before)
            EXPECT_NEAR((double)told, (double)took / 2, 2);
        else
            EXPECT_EQ(told, 0u);
    }
    EXPECT_LT(belief(PLACEMENT_FETCH), 2000u);
}

TEST_F(Place, AJoinedCopyTellsNothing)
{
    open(PLACEMENT_AUTO);
    request({0, 1});
    uint64_t before = belief(PLACEMENT_FETCH);
    pager_place_arrived(place_, 0, true);
    pager_place_arrived(place_, 1, false);
    EXPECT_EQ(pager_place_settled(place_, 1500000, true, true), 0u);
    EXPECT_EQ(belief(PLACEMENT_FETCH), before);
}

TEST_F(Place, HostModeLeavesEverythingWhereItLiesExceptInStreamingSteps)
{
    open(PLACEMENT_HOST);
    for (bool streams : {false, true}) {
        request({1, 4, 6}, streams);
        for (uint32_t i = 0; i < 3; i++)
            EXPECT_EQ(pager_place_at_host(place_, i), !streams);
    }
    EXPECT_FALSE(pager_place_samples(place_)); /* nothing is decided by it */
}

/* A copy that costs thirty runs on the host: a page wanted again and again comes in, the others
 * stay. */
TEST_F(Place, WhatIsUsedAgainAndAgainComesIn)
{
    open(PLACEMENT_AUTO);
    uint32_t fetched_steady = 0, fetched_others = 0;
    for (uint32_t i = 0; i < 400; i++) {
        uint32_t other = 1 + random_.below(kExperts - 1);
        request({0, other});
        uint64_t now = 1000000;
        for (uint32_t n = 0; n < 2; n++) {
            if (pager_place_at_host(place_, n)) {
                pager_place_ran_at_host(place_, n, 100000);
                continue;
            }
            (n ? fetched_others : fetched_steady)++;
            pager_place_arrived(place_, n, false);
            pager_place_ran_on_device(place_, &n, 1, 5000);
            now += 3000000;
            pager_place_settled(place_, now, true, true);
        }
        if (i == 100) {
            fetched_steady = fetched_others = 0; /* first it had to learn */
        }
    }
    EXPECT_GT(fetched_steady, 250u); /* nothing is really moved here: it is a miss each time */
    EXPECT_LT(fetched_others, 150u);
}

/* How long pages stay, and so what one is worth, follows the slots; and what came while nobody
 * looked here says nothing about it. A copy costs thirty runs on the host. */
TEST_F(Place, AResizeChangesHowLongPagesStay)
{
    open(PLACEMENT_AUTO);
    auto fetched = [&](uint32_t requests) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < requests; i++) {
            mover_.arrived += i % 10 == 0; /* pages come in other layers */
            request({0, 1 + random_.below(kExperts - 1)});
            uint64_t now = 1000000;
            for (uint32_t n = 0; n < 2; n++) {
                if (pager_place_at_host(place_, n)) {
                    pager_place_ran_at_host(place_, n, 100000);
                    continue;
                }
                count += n == 0;
                pager_place_arrived(place_, n, false);
                pager_place_ran_on_device(place_, &n, 1, 5000);
                now += 3000000;
                pager_place_settled(place_, now, true, true);
            }
        }
        return count;
    };
    fetched(
        2000); /* learns that a slot is kept for some twenty rounds: too few for a copy to pay */
    EXPECT_LT(fetched(200), 20u);
    struct tier_slots all = {};
    all.of_class[0] = kLayers * kExperts;
    struct error error = {};
    ASSERT_EQ(memory_resize(memory_->memory, MEMORY_DEVICE, &all, 0, &error), STATUS_OK);
    mover_.arrived += 1000000;
    pager_place_resized(place_);
    EXPECT_GT(fetched(200), 100u);
}

TEST(PagerPlace, CloseAcceptsNull)
{
    pager_place_close(nullptr);
}

} // namespace
