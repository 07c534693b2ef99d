/* What becomes of each stage of a journey whose slot goes, or whose source does. Slots are claimed
 * from the first on, so the last page that was fetched is the first to lose its slot. */
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "tests/memory/copy_fixture.h"

namespace {

class CopyClear : public CopyFixture {
protected:
    /* The tier has that many slots from now on. */
    void shrink(enum memory_tier tier, uint32_t count, uint64_t fence = 0)
    {
        struct tier_slots slots = {};
        slots.of_class[0] = count;
        ASSERT_EQ(copy_clear(&copies_, tier, &slots, fence, nullptr), STATUS_OK);
        tier_set_slots(tier == MEMORY_HOST ? &host_ : &device_tier_, &slots);
        check();
    }
    struct Told {
        page_id page;
        enum memory_tier tier;
        enum status status;
        uint64_t bytes;
        bool operator==(const Told &other) const
        {
            return page == other.page && tier == other.tier && status == other.status &&
                   bytes == other.bytes;
        }
    };
    std::vector<Told> told(uint32_t max = 16)
    {
        std::vector<Told> all;
        for (const memory_event &event : poll(max))
            all.push_back({event.page, event.tier, event.status, event.bytes});
        return all;
    }
    using Tolds = std::vector<Told>;
    uint64_t page_bytes() { return store_page(toy_.store, 0)->file_bytes; }
    /* Into the device tier, by way of the host tier. */
    void bring(page_id page)
    {
        demand(page);
        if (!io_.under_way.empty())
            io_.end(page);
        poll();
        if (device_.ended < device_.copies.size()) {
            device_.end();
            poll();
        }
        ASSERT_EQ(in_device(page), SLOT_READY);
    }
};

TEST_F(CopyClear, WhatStaysIsLeftAlone)
{
    open(3, 3);
    bring(0);
    demand(1);
    shrink(MEMORY_DEVICE, 2);
    shrink(MEMORY_HOST, 2);
    EXPECT_EQ(told(), Tolds{});
    io_.end(1);
    poll();
    device_.end();
    EXPECT_EQ(told(), (Tolds{{1, MEMORY_DEVICE, STATUS_OK, page_bytes()}}));
    EXPECT_EQ(in_device(0), SLOT_READY);
}

TEST_F(CopyClear, ReadsThatHaveNotBegunAreTakenBack)
{
    open(3, 0, 1);
    demand(0);
    struct transfer second = demand(1);
    prefetch(2);
    shrink(MEMORY_DEVICE, 1);
    EXPECT_EQ(copy_cancel(&copies_, second), STATUS_NOT_FOUND);
    EXPECT_EQ(told(), (Tolds{{1, MEMORY_DEVICE, STATUS_CANCELLED, 0},
                             {2, MEMORY_DEVICE, STATUS_CANCELLED, 0}}));
    EXPECT_EQ(io_.order(), (Pages{0}));
    EXPECT_EQ(copies_.cancelled, 2u);
    io_.end(0);
    EXPECT_EQ(told(), (Tolds{{0, MEMORY_DEVICE, STATUS_OK, page_bytes()}}));
}

/* The read of page 1 is waited for; that of page 0 ends meanwhile and is told in its turn. */
TEST_F(CopyClear, ReadsUnderWayAreWaitedFor)
{
    open(2, 0, 2);
    demand(0);
    demand(1);
    io_.end_at_poll = true; /* in the order of their submission: 0 first */
    shrink(MEMORY_DEVICE, 1);
    EXPECT_EQ(copies_.reading, 1u);
    EXPECT_EQ(in_device(0), SLOT_LOADING) << "pages change in polls";
    demand(0); /* raises nothing that has ended */
    Tolds both = told();
    EXPECT_EQ(both, (Tolds{{1, MEMORY_DEVICE, STATUS_CANCELLED, page_bytes()},
                           {0, MEMORY_DEVICE, STATUS_OK, page_bytes()}}));
    EXPECT_EQ(copies_.storage_bytes, 2 * page_bytes());
}

TEST_F(CopyClear, AReadThatWasSetAsideIsNotRaised)
{
    open(2, 0, 4);
    prefetch(0);
    demand(1);
    io_.end_at_poll = true;
    shrink(MEMORY_DEVICE, 1);
    size_t raised = io_.raised.size();
    demand(0);
    EXPECT_EQ(io_.raised.size(), raised);
    EXPECT_EQ(copies_.journey[0].urgency, URGENCY_DEMAND);
    /* And it can lose its slot too, after all. */
    struct tier_slots none = {};
    ASSERT_EQ(copy_clear(&copies_, MEMORY_DEVICE, &none, 0, nullptr), STATUS_OK);
    EXPECT_EQ(copies_.reading, 0u);
    EXPECT_EQ(told(), (Tolds{{1, MEMORY_DEVICE, STATUS_CANCELLED, page_bytes()},
                             {0, MEMORY_DEVICE, STATUS_CANCELLED, page_bytes()}}));
}

TEST_F(CopyClear, AHostStageGoesWithTheJourneyThatNeedsIt)
{
    open(3, 3, 1);
    demand(0); /* reads */
    demand(1); /* its host stage waits */
    demand(2);
    demand(2, MEMORY_HOST); /* asked for: stays */
    shrink(MEMORY_DEVICE, 1);
    EXPECT_EQ(in_host(1), SLOT_FREE);
    EXPECT_EQ(in_host(2), SLOT_LOADING);
    EXPECT_EQ(told(), (Tolds{{1, MEMORY_DEVICE, STATUS_CANCELLED, 0},
                             {2, MEMORY_DEVICE, STATUS_CANCELLED, 0}}));
    io_.end(0);
    poll();
    io_.end(2);
    Tolds events = told();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0], (Told{2, MEMORY_HOST, STATUS_OK, page_bytes()}));
}

/* Its bytes are told with the cancelled journey; the host tier keeps the page. */
TEST_F(CopyClear, AHostStageUnderWayEndsForItself)
{
    for (int cause : {0, EIO}) {
        open(2, 2, 2);
        demand(0);
        demand(1);
        io_.end(1, cause);
        shrink(MEMORY_DEVICE, 1);
        EXPECT_EQ(in_host(1), cause ? SLOT_FREE : SLOT_READY);
        EXPECT_EQ(told(), (Tolds{{1, MEMORY_DEVICE, STATUS_CANCELLED, cause ? 0 : page_bytes()}}));
        io_.end(0);
        poll();
        device_.end();
        poll();
        copy_close(&copies_);
        tier_close(&host_);
        tier_close(&device_tier_);
    }
}

TEST_F(CopyClear, ACopyThatWaitsFreesItsSource)
{
    open(4, 4, 4);
    for (page_id page = 0; page < 4; page++)
        demand(page);
    for (page_id page = 0; page < 4; page++)
        io_.end(page);
    poll();
    ASSERT_EQ(device_.copies.size(), (size_t)COPY_DEVICE_DEPTH);
    shrink(MEMORY_DEVICE, 3);
    EXPECT_EQ(tier_pins(&host_, 3), 0u);
    EXPECT_EQ(told(), (Tolds{{3, MEMORY_DEVICE, STATUS_CANCELLED, page_bytes()}}));
    EXPECT_EQ(copy_sources(&copies_), 3u);
}

/* Waiting for the second copy ends the first as well, which is told by the poll that follows. */
TEST_F(CopyClear, ACopyUnderWayIsWaitedFor)
{
    open(2, 2, 4);
    demand(0);
    demand(1);
    io_.end(0);
    io_.end(1);
    poll();
    ASSERT_EQ(device_.copies.size(), 2u);
    shrink(MEMORY_DEVICE, 1);
    EXPECT_EQ(device_.ended, 2u);
    EXPECT_EQ(in_device(0), SLOT_LOADING);
    EXPECT_EQ(tier_pins(&host_, 1), 0u);
    EXPECT_EQ(told(), (Tolds{{1, MEMORY_DEVICE, STATUS_CANCELLED, page_bytes()},
                             {0, MEMORY_DEVICE, STATUS_OK, page_bytes()}}));
}

TEST_F(CopyClear, ASourceThatGoesLetsItsCopyEnd)
{
    open(3, 3, 4);
    for (page_id page = 0; page < 3; page++)
        demand(page);
    for (page_id page = 0; page < 3; page++)
        io_.end(page);
    poll(); /* 0 and 1 are copied, 2 waits */
    shrink(MEMORY_HOST, 1);
    EXPECT_EQ(in_device(1), SLOT_READY);
    EXPECT_TRUE(toy_.holds(toy_.store, 1, tier_bytes(&device_tier_, 1)));
    EXPECT_EQ(in_device(2), SLOT_FREE);
    EXPECT_EQ(in_host(2), SLOT_FREE);
    Tolds events = told();
    ASSERT_EQ(events.size(), 3u);
    EXPECT_EQ(events[0], (Told{1, MEMORY_DEVICE, STATUS_OK, page_bytes()}));
    EXPECT_EQ(events[1], (Told{2, MEMORY_DEVICE, STATUS_CANCELLED, page_bytes()}));
    EXPECT_EQ(events[2], (Told{0, MEMORY_DEVICE, STATUS_OK, page_bytes()}));
}

TEST_F(CopyClear, AHostSlotTakesBothJourneysWithIt)
{
    open(3, 3, 1);
    demand(0);
    demand(1);
    demand(1, MEMORY_HOST);
    demand(2);
    shrink(MEMORY_HOST, 1);
    EXPECT_EQ(told(), (Tolds{{1, MEMORY_HOST, STATUS_CANCELLED, 0},
                             {1, MEMORY_DEVICE, STATUS_CANCELLED, 0},
                             {2, MEMORY_DEVICE, STATUS_CANCELLED, 0}}));
    EXPECT_EQ(in_device(1), SLOT_FREE);
}

TEST_F(CopyClear, AHostSlotThatIsReadIntoTakesBothToo)
{
    open(2, 2, 4);
    demand(0);
    demand(1);
    io_.end(1);
    shrink(MEMORY_HOST, 1);
    EXPECT_EQ(in_host(1), SLOT_FREE);
    EXPECT_EQ(told(), (Tolds{{1, MEMORY_DEVICE, STATUS_CANCELLED, page_bytes()}}));
    EXPECT_EQ(in_device(1), SLOT_FREE);
}

TEST_F(CopyClear, PagesLeaveWithTheirFence)
{
    open(3, 3, 4);
    bring(0);
    bring(1);
    bring(2);
    uint64_t fence = device_.device.ops->fence(&device_.device);
    shrink(MEMORY_DEVICE, 2, fence); /* the extent stays: nothing is waited for */
    EXPECT_TRUE(device_.waits.empty());
    EXPECT_EQ(device_tier_.fence[2], fence);
    EXPECT_EQ(in_device(2), SLOT_FREE);
    EXPECT_EQ(in_host(2), SLOT_READY);
    EXPECT_EQ(device_tier_.evictions, 1u);
    struct tier_slots three = {};
    three.of_class[0] = 3;
    ASSERT_EQ(tier_reserve(&device_tier_, &three, nullptr), STATUS_OK);
    tier_set_slots(&device_tier_, &three);
    demand(2);
    EXPECT_EQ(device_.copies.back().after, fence) << "the next page there waits for it";
}

/* One page landed but was not told of, for lack of room, and leaves: READY would be a lie. */
TEST_F(CopyClear, WhatWasNotToldYetIsRevoked)
{
    open(2, 2, 4);
    demand(0);
    demand(1);
    io_.end(0);
    io_.end(1);
    poll();
    shrink(MEMORY_HOST, 1); /* page 1 lands on the device */
    ASSERT_EQ(in_device(1), SLOT_READY);
    shrink(MEMORY_DEVICE, 1);
    EXPECT_EQ(told(), (Tolds{{1, MEMORY_DEVICE, STATUS_CANCELLED, page_bytes()},
                             {0, MEMORY_DEVICE, STATUS_OK, page_bytes()}}));
}

/* Events beyond what one poll takes are told by the next ones, in order. */
TEST_F(CopyClear, ManyEventsWaitTheirTurn)
{
    open(12, 0, 1);
    for (page_id page = 0; page < 12; page++)
        demand(page);
    shrink(MEMORY_DEVICE, 1);
    std::vector<page_id> pages;
    for (int i = 0; i < 4; i++)
        for (const Told &event : told(3)) {
            EXPECT_EQ(event.status, STATUS_CANCELLED);
            pages.push_back(event.page);
        }
    std::sort(pages.begin(), pages.end());
    EXPECT_EQ(pages, (Pages{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}));
    io_.end(0);
    EXPECT_EQ(told().size(), 1u);
}

} // namespace
