/* Names, lists and ends of single journeys; how they follow each other is copy_test.cc. */
#include "memory/journey.h"

#include <gtest/gtest.h>

#include "tests/memory/copy_fixture.h"

namespace {

using Journey = CopyFixture;

/* The device's slots first, present or not, then the host's. */
TEST_F(Journey, IsNamedByItsSlot)
{
    open(2, 3);
    demand(7);
    demand(9, MEMORY_HOST);
    uint32_t device_at = journey_of(&copies_, MEMORY_DEVICE, 7);
    uint32_t host_at = journey_of(&copies_, MEMORY_HOST, 9);
    EXPECT_EQ(device_at, tier_slot(&device_tier_, 7));
    EXPECT_EQ(host_at, store_pages(toy_.store) + tier_slot(&host_, 9));
    EXPECT_EQ(journey_tier(&copies_, device_at), MEMORY_DEVICE);
    EXPECT_EQ(journey_tier(&copies_, host_at), MEMORY_HOST);
    EXPECT_EQ(journey_slot(&copies_, host_at), tier_slot(&host_, 9));
    EXPECT_EQ(journey_page(&copies_, device_at), 7u);
    EXPECT_EQ(journey_page(&copies_, host_at), 9u);
    EXPECT_TRUE(journey_loading(&copies_, MEMORY_HOST, 7));
    EXPECT_FALSE(journey_loading(&copies_, MEMORY_DEVICE, 9));
    struct transfer handle = journey_handle(&copies_, device_at);
    EXPECT_EQ(handle.index, device_at);
    EXPECT_EQ(handle.generation, tier_generation(&device_tier_, device_at));
}

TEST_F(Journey, ListsKeepTheirOrder)
{
    open(8, 0);
    struct copy_list list = {COPY_NOBODY, COPY_NOBODY, 0};
    for (uint32_t at : {3, 1, 6, 2})
        journey_push(&copies_, &list, at);
    journey_remove(&copies_, &list, 6); /* within */
    journey_remove(&copies_, &list, 3); /* the head */
    EXPECT_EQ(list.head, 1u);
    EXPECT_EQ(copies_.journey[1].next, 2u);
    EXPECT_EQ(copies_.journey[2].previous, 1u);
    journey_remove(&copies_, &list, 2); /* the tail */
    EXPECT_EQ(list.tail, 1u);
    journey_remove(&copies_, &list, 1);
    EXPECT_EQ(list.head, COPY_NOBODY);
    EXPECT_EQ(list.tail, COPY_NOBODY);
    EXPECT_EQ(list.count, 0u);
}

TEST_F(Journey, EndsAreCountedByWhatTheyAre)
{
    open(4, 0, 4);
    for (page_id page : {0, 1, 2})
        demand(page);
    while (!io_.under_way.empty())
        io_.end(io_.under_way.front().page);
    struct io_done done;
    enum status status[] = {STATUS_OK, STATUS_IO, STATUS_CANCELLED};
    for (int i = 0; i < 3; i++) {
        ASSERT_TRUE(io_.io.ops->poll(&io_.io, &done, 0));
        EXPECT_EQ(journey_count_read(&copies_, &done), COPY_NOBODY);
        copies_.pending_count = 0;
        journey_end(&copies_, done.tag, status[i]);
        ASSERT_EQ(copies_.pending_count, 1u);
        EXPECT_EQ(copies_.pending[0].status, status[i]);
        EXPECT_EQ(copies_.pending[0].bytes, store_page(toy_.store, 0)->file_bytes);
    }
    copies_.pending_count = 0;
    EXPECT_EQ(copies_.completed, 1u);
    EXPECT_EQ(copies_.failures, 1u);
    EXPECT_EQ(copies_.cancelled, 1u);
    EXPECT_EQ(device_tier_.ready, 1u);
    check();
}

} // namespace
