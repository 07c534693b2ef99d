/* Order, chaining, cancelling and promotion, with an io and a device that do as they are told. */
#include "memory/copy.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "tests/memory/copy_fixture.h"

namespace {

using Copy = CopyFixture;

TEST_F(Copy, DemandGoesBeforePrefetch)
{
    open(8, 0);
    prefetch(0); /* takes the one place a prefetch may have */
    prefetch(1);
    prefetch(2);
    demand(3); /* the place kept free */
    demand(4);
    demand(5);
    EXPECT_EQ(io_.order(), (Pages{0, 3}));
    io_.end(0);
    EXPECT_EQ(poll().size(), 1u);
    EXPECT_EQ(io_.order(), (Pages{0, 3, 4}));
    io_.end(3);
    poll();
    EXPECT_EQ(io_.order(), (Pages{0, 3, 4, 5}));
    io_.end(4);
    poll();
    EXPECT_EQ(io_.order(), (Pages{0, 3, 4, 5})); /* one place stays free for demand */
    io_.end(5);
    poll();
    EXPECT_EQ(io_.order(), (Pages{0, 3, 4, 5, 1}));
    io_.end(1);
    poll();
    EXPECT_EQ(io_.order(), (Pages{0, 3, 4, 5, 1, 2}));
    EXPECT_EQ(io_.most_under_way, 2u);
}

TEST_F(Copy, WithOnePlacePrefetchUsesItWhenIdle)
{
    open(4, 0, 1);
    prefetch(0);
    prefetch(1);
    demand(2);
    EXPECT_EQ(io_.order(), (Pages{0}));
    io_.end(0);
    poll();
    EXPECT_EQ(io_.order(), (Pages{0, 2}));
    io_.end(2);
    poll();
    EXPECT_EQ(io_.order(), (Pages{0, 2, 1}));
}

TEST_F(Copy, PromotionMovesToTheDemandQueue)
{
    open(8, 0, 1);
    demand(0);
    struct transfer first = prefetch(1);
    prefetch(2);
    demand(3);
    struct transfer again = demand(2);
    EXPECT_NE(again.index, first.index);
    for (page_id page : {0, 3, 2, 1}) {
        io_.end(page);
        std::vector<memory_event> events = poll();
        ASSERT_EQ(events.size(), 1u);
        EXPECT_EQ(events[0].page, page);
        EXPECT_EQ(events[0].urgency, page == 1 ? URGENCY_PREFETCH : URGENCY_DEMAND);
    }
    EXPECT_EQ(io_.order(), (Pages{0, 3, 2, 1}));
    EXPECT_EQ(copies_.fetches[URGENCY_DEMAND], 2u);
    EXPECT_EQ(copies_.fetches[URGENCY_PREFETCH], 2u);
}

TEST_F(Copy, AnUrgencyIsNeverLowered)
{
    open(4, 0, 1);
    demand(0);
    struct transfer transfer = demand(1);
    struct transfer same = prefetch(1);
    EXPECT_EQ(same.index, transfer.index);
    EXPECT_EQ(same.generation, transfer.generation);
    EXPECT_EQ(copies_.reads[URGENCY_DEMAND].count, 1u);
}

TEST_F(Copy, ThroughTheHostTierWithOneEvent)
{
    open(2, 2);
    struct transfer transfer = demand(5);
    EXPECT_EQ(in_host(5), SLOT_LOADING);
    EXPECT_EQ(in_device(5), SLOT_LOADING);
    io_.end(5);
    EXPECT_EQ(in_host(5), SLOT_LOADING); /* nothing changes outside poll */
    EXPECT_TRUE(poll().empty());
    EXPECT_EQ(in_host(5), SLOT_READY);
    EXPECT_EQ(in_device(5), SLOT_LOADING);
    EXPECT_EQ(tier_pins(&host_, 5), 1u);
    EXPECT_EQ(tier_sweep(&host_, 0), PAGE_NONE);
    device_.end();
    std::vector<memory_event> events = poll();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].tier, MEMORY_DEVICE);
    EXPECT_EQ(events[0].transfer.index, transfer.index);
    EXPECT_EQ(events[0].transfer.generation, transfer.generation);
    EXPECT_EQ(events[0].bytes, store_page(toy_.store, 5)->file_bytes);
    EXPECT_EQ(tier_pins(&host_, 5), 0u);
    EXPECT_EQ(tier_sweep(&host_, 0), 5u);
    EXPECT_TRUE(toy_.holds(toy_.store, 5, tier_bytes(&device_tier_, 5)));
    EXPECT_EQ(copies_.device_bytes, store_page(toy_.store, 5)->slot_bytes);
}

TEST_F(Copy, FromTheHostTierNothingIsRead)
{
    open(2, 2);
    demand(5, MEMORY_HOST);
    io_.end(5);
    ASSERT_EQ(poll().size(), 1u);
    demand(5);
    EXPECT_EQ(io_.submitted.size(), 1u);
    ASSERT_EQ(device_.copies.size(), 1u);
    EXPECT_EQ(tier_pins(&host_, 5), 1u);
    device_.end();
    std::vector<memory_event> events = poll();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].bytes, 0u);
    EXPECT_EQ(copies_.storage_bytes, store_page(toy_.store, 5)->file_bytes);
}

TEST_F(Copy, JoiningAHostReadUnderWay)
{
    open(2, 2);
    demand(5, MEMORY_HOST);
    demand(5);
    EXPECT_EQ(io_.submitted.size(), 1u);
    io_.end(5);
    std::vector<memory_event> events = poll();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].tier, MEMORY_HOST);
    EXPECT_EQ(events[0].bytes, store_page(toy_.store, 5)->file_bytes);
    device_.end();
    events = poll();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].tier, MEMORY_DEVICE);
    EXPECT_EQ(events[0].bytes, 0u);
}

TEST_F(Copy, AskingForAHostStageGivesItAnEvent)
{
    open(2, 2);
    demand(5);
    struct transfer host = prefetch(5, MEMORY_HOST);
    io_.end(5);
    std::vector<memory_event> events = poll();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].tier, MEMORY_HOST);
    EXPECT_EQ(events[0].transfer.index, host.index);
    EXPECT_EQ(events[0].bytes, store_page(toy_.store, 5)->file_bytes);
}

TEST_F(Copy, ADeviceDemandRaisesTheHostReadItWaitsFor)
{
    open(5, 5, 1);
    demand(0, MEMORY_HOST);
    prefetch(1, MEMORY_HOST);
    prefetch(2, MEMORY_HOST);
    demand(2);
    io_.end(0);
    poll();
    EXPECT_EQ(io_.order(), (Pages{0, 2}));
    prefetch(3); /* raised after the fact, through its device journey */
    prefetch(4, MEMORY_HOST);
    demand(3);
    io_.end(2);
    poll();
    EXPECT_EQ(io_.order(), (Pages{0, 2, 3}));
}

TEST_F(Copy, RequestsTellTheIoHowUrgentTheyAre)
{
    open(8, 0, 4);
    prefetch(0);
    demand(1);
    EXPECT_FALSE(io_.submitted[0].demand);
    EXPECT_TRUE(io_.submitted[1].demand);
    demand(1);
    prefetch(0);
    EXPECT_TRUE(io_.raised.empty()); /* neither became more urgent */
    demand(0);
    demand(0);
    EXPECT_EQ(io_.raised, (Pages{0})); /* once */
}

TEST_F(Copy, ADeviceDemandRaisesTheHostReadUnderWay)
{
    open(5, 5, 4);
    prefetch(0);              /* its read is the host stage of the device's journey */
    prefetch(1, MEMORY_HOST); /* joined by a device journey that is a demand from the start */
    demand(0);
    EXPECT_EQ(io_.raised, (Pages{0}));
    demand(1);
    EXPECT_EQ(io_.raised, (Pages{0, 1}));
    io_.end(0);
    io_.end(1);
    poll();
    demand(2, MEMORY_HOST);
    EXPECT_EQ(io_.raised.size(), 2u);
}

TEST_F(Copy, WhatWaitsIsRaisedInItsQueueAlone)
{
    open(4, 0, 1);
    demand(0);
    prefetch(1);
    demand(1);
    EXPECT_TRUE(io_.raised.empty());
    io_.end(0);
    poll();
    EXPECT_TRUE(io_.submitted[1].demand);
}

TEST_F(Copy, PrefetchKeepsToHalfOfThePlaces)
{
    open(12, 0, 5);
    for (page_id page = 0; page < 4; page++)
        prefetch(page);
    EXPECT_EQ(io_.order(), (Pages{0, 1})); /* they pause, but each keeps its place */
    for (page_id page = 4; page < 8; page++)
        demand(page);
    EXPECT_EQ(io_.order(), (Pages{0, 1, 4, 5, 6}));
}

TEST_F(Copy, CopiesKeepTheOrderOfUrgencyToo)
{
    open(6, 6, 6);
    for (page_id page = 0; page < 6; page++) {
        demand(page, MEMORY_HOST);
        io_.end(page);
    }
    poll();
    auto page_of_copy = [this](size_t i) {
        for (page_id page = 0; page < 6; page++)
            if (in_host(page) == SLOT_READY && tier_bytes(&host_, page) == device_.copies[i].from)
                return page;
        return PAGE_NONE;
    };
    prefetch(0);
    prefetch(1);
    prefetch(2);
    EXPECT_EQ(device_.copies.size(), (size_t)COPY_DEVICE_DEPTH - 1);
    demand(3);
    EXPECT_EQ(device_.copies.size(), (size_t)COPY_DEVICE_DEPTH);
    demand(4);
    demand(2);
    while (device_.ended < device_.copies.size()) {
        device_.end();
        EXPECT_EQ(poll().size(), 1u);
    }
    Pages order;
    for (size_t i = 0; i < device_.copies.size(); i++)
        order.push_back(page_of_copy(i));
    EXPECT_EQ(order, (Pages{0, 3, 4, 2, 1}));
}

TEST_F(Copy, ADeviceWithAFullQueueIsAskedAgain)
{
    open(3, 3, 3);
    device_.room = 1;
    for (page_id page = 0; page < 2; page++) {
        demand(page);
        io_.end(page);
    }
    poll();
    EXPECT_EQ(device_.copies.size(), 1u);
    EXPECT_EQ(copies_.copies[URGENCY_DEMAND].count, 1u);
    device_.end();
    EXPECT_EQ(poll().size(), 1u);
    EXPECT_EQ(device_.copies.size(), 2u);
}

TEST_F(Copy, LackingNamesTheTierAndNothingChanges)
{
    open(2, 1, 1, 2);
    enum memory_tier lacking = MEMORY_TIERS;
    demand(0);
    EXPECT_EQ(copy_fetch(&copies_, MEMORY_DEVICE, 1, URGENCY_DEMAND, nullptr, &lacking),
              STATUS_FULL);
    EXPECT_EQ(lacking, MEMORY_HOST);
    EXPECT_EQ(in_device(1), SLOT_FREE);
    EXPECT_EQ(copy_fetch(&copies_, MEMORY_HOST, 1, URGENCY_DEMAND, nullptr, nullptr), STATUS_FULL);
    io_.end(0);
    poll();
    device_.end();
    poll();
    tier_evict(&host_, 0, 0);
    demand(1);
    EXPECT_EQ(copy_fetch(&copies_, MEMORY_DEVICE, 2, URGENCY_DEMAND, nullptr, &lacking),
              STATUS_FULL);
    EXPECT_EQ(lacking, MEMORY_DEVICE);
    check();
    EXPECT_EQ(copies_.fetches[URGENCY_DEMAND], 2u);
}

TEST_F(Copy, ThePrefetchQueueIsBoundedAndDemandIsNot)
{
    open(10, 0, 1, 2);
    demand(0);
    prefetch(1);
    prefetch(2);
    enum memory_tier lacking = MEMORY_HOST;
    EXPECT_EQ(copy_fetch(&copies_, MEMORY_DEVICE, 3, URGENCY_PREFETCH, nullptr, &lacking),
              STATUS_FULL);
    EXPECT_EQ(lacking, MEMORY_TIERS);
    EXPECT_EQ(in_device(3), SLOT_FREE);
    for (page_id page = 4; page < 10; page++)
        demand(page);
    prefetch(1); /* joining needs no room */
}

TEST_F(Copy, CancelGivesSlotsBack)
{
    open(3, 3, 1);
    demand(0);
    struct transfer transfer = prefetch(1);
    EXPECT_EQ(copy_cancel(&copies_, transfer), STATUS_OK);
    check();
    EXPECT_EQ(in_host(1), SLOT_FREE);
    EXPECT_EQ(in_device(1), SLOT_FREE);
    EXPECT_EQ(copy_cancel(&copies_, transfer), STATUS_NOT_FOUND);
    io_.end(0);
    poll();
    EXPECT_EQ(io_.order(), (Pages{0}));
    EXPECT_EQ(copies_.cancelled, 1u);
}

TEST_F(Copy, CancelComesTooLateOnceReadingOrCopying)
{
    open(3, 3, 1);
    struct transfer transfer = demand(0);
    EXPECT_EQ(copy_cancel(&copies_, transfer), STATUS_FULL);
    io_.end(0);
    poll();
    EXPECT_EQ(copy_cancel(&copies_, transfer), STATUS_FULL);
    device_.end();
    EXPECT_EQ(copy_cancel(&copies_, transfer), STATUS_FULL); /* ended, but not taken in */
    ASSERT_EQ(poll().size(), 1u);
    EXPECT_EQ(copy_cancel(&copies_, transfer), STATUS_NOT_FOUND);
    /* The slot is used again: the old handle must not touch the new journey. */
    tier_evict(&device_tier_, 0, 0);
    struct transfer newer = demand(0);
    EXPECT_EQ(newer.index, transfer.index);
    EXPECT_EQ(copy_cancel(&copies_, transfer), STATUS_NOT_FOUND);
    EXPECT_EQ(copy_cancel(&copies_, transfer_of(0, 0)), STATUS_NOT_FOUND);
    EXPECT_EQ(copy_cancel(&copies_, transfer_of(12345, 1)), STATUS_NOT_FOUND);
}

TEST_F(Copy, CancelOfAWaitingCopyUnpinsItsSource)
{
    open(4, 4, 4);
    for (page_id page = 0; page < 4; page++) {
        demand(page, MEMORY_HOST);
        io_.end(page);
    }
    poll();
    prefetch(0);
    struct transfer transfer = prefetch(1);
    EXPECT_EQ(tier_pins(&host_, 1), 1u);
    EXPECT_EQ(copy_cancel(&copies_, transfer), STATUS_OK);
    check();
    EXPECT_EQ(tier_pins(&host_, 1), 0u);
    EXPECT_EQ(in_host(1), SLOT_READY);
    EXPECT_EQ(in_device(1), SLOT_FREE);
}

TEST_F(Copy, CancellingTheHostWishKeepsTheDevicesJourney)
{
    open(3, 3, 1);
    demand(0);
    struct transfer host = prefetch(1, MEMORY_HOST);
    struct transfer device = prefetch(1);
    EXPECT_EQ(copy_cancel(&copies_, host), STATUS_OK);
    check();
    EXPECT_EQ(in_host(1), SLOT_LOADING);
    EXPECT_EQ(copy_cancel(&copies_, host), STATUS_NOT_FOUND);
    EXPECT_EQ(copy_cancel(&copies_, device), STATUS_OK); /* takes the host stage along now */
    check();
    EXPECT_EQ(in_host(1), SLOT_FREE);
}

TEST_F(Copy, CancellingTheDevicesJourneyKeepsTheHostWish)
{
    open(3, 3, 1);
    struct transfer host = demand(1, MEMORY_HOST);
    struct transfer device = demand(1);
    EXPECT_EQ(copy_cancel(&copies_, host), STATUS_FULL);
    EXPECT_EQ(copy_cancel(&copies_, device), STATUS_OK);
    check();
    EXPECT_EQ(in_device(1), SLOT_FREE);
    io_.end(1);
    ASSERT_EQ(poll().size(), 1u);
    EXPECT_EQ(in_host(1), SLOT_READY);
    EXPECT_EQ(tier_pins(&host_, 1), 0u);
}

TEST_F(Copy, AFailureFreesBothTiersAndTellsWhy)
{
    open(2, 2);
    demand(3);
    io_.end(3, EIO);
    std::vector<memory_event> events = poll();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].status, STATUS_IO);
    EXPECT_EQ(events[0].tier, MEMORY_DEVICE);
    EXPECT_EQ(in_host(3), SLOT_FREE);
    EXPECT_EQ(in_device(3), SLOT_FREE);
    std::string sentence = copies_.error.text;
    for (const char *word : {"page 3", "weights", "offset", "Input/output error"})
        EXPECT_NE(sentence.find(word), std::string::npos) << sentence;
    demand(3);
    demand(3, MEMORY_HOST);
    io_.end(3, IO_END_OF_FILE);
    EXPECT_EQ(poll(1).size(), 1u); /* two events, given one at a time */
    EXPECT_EQ(poll(1).size(), 1u);
    EXPECT_EQ(poll(1).size(), 0u);
    EXPECT_NE(std::string(copies_.error.text).find("truncated"), std::string::npos);
    EXPECT_EQ(copies_.failures, 3u);
}

TEST_F(Copy, PollTakesInNoMoreThanItMayTell)
{
    open(4, 0, 4);
    for (page_id page = 0; page < 4; page++) {
        demand(page);
        io_.end(page);
    }
    EXPECT_EQ(copy_poll(&copies_, 0, nullptr, 0), 0u);
    EXPECT_EQ(poll(3).size(), 3u);
    EXPECT_EQ(poll(3).size(), 1u);
}

TEST_F(Copy, CloseWaitsForReadsAndCopies)
{
    open(4, 4, 2);
    for (page_id page = 0; page < 2; page++) {
        demand(page);
        io_.end(page);
    }
    poll();
    demand(2);
    demand(3);
    ASSERT_EQ(io_.under_way.size(), 2u);
    ASSERT_EQ(device_.copies.size() - device_.ended, 2u);
    io_.end_at_poll = true;
    copy_close(&copies_);
    EXPECT_TRUE(io_.under_way.empty());
    EXPECT_EQ(device_.ended, 2u);
    EXPECT_EQ(copies_.journey, nullptr);
}

using CopyDeathTest = Copy;

TEST_F(CopyDeathTest, MisuseIsABug)
{
    open(1, 0);
    demand(0);
    io_.end(0);
    poll();
    EXPECT_DEATH(copy_fetch(&copies_, MEMORY_DEVICE, 0, URGENCY_DEMAND, nullptr, nullptr),
                 "page 0 is READY already");
    EXPECT_DEATH(copy_fetch(&copies_, MEMORY_HOST, 1, URGENCY_DEMAND, nullptr, nullptr), "CHECK");
}

} // namespace
