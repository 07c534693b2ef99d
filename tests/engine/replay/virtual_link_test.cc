#include "engine/replay/virtual_link.h"

#include <gtest/gtest.h>

namespace {

TEST(VirtualLink, CopiesPrefetchesInOrderWithinIdleTime)
{
    struct virtual_link link;
    virtual_link_init(&link, 100);
    double idle = 50;
    EXPECT_EQ(virtual_link_idle(&link, &idle), PAGE_NONE);
    EXPECT_EQ(idle, 50); // nothing to do costs nothing
    virtual_link_queue(&link, 7);
    virtual_link_queue(&link, 9);
    EXPECT_EQ(virtual_link_idle(&link, &idle), PAGE_NONE);
    EXPECT_EQ(idle, 0);
    EXPECT_TRUE(virtual_link_begun(&link, 0));
    EXPECT_FALSE(virtual_link_begun(&link, 1));
    idle = 70;
    EXPECT_EQ(virtual_link_idle(&link, &idle), 7u);
    EXPECT_EQ(idle, 20);
    EXPECT_EQ(virtual_link_idle(&link, &idle), PAGE_NONE);
    EXPECT_EQ(virtual_link_find(&link, 9), 0u);
    EXPECT_EQ(virtual_link_take(&link, 0), 80);
    EXPECT_EQ(link.queued, 0u);
    EXPECT_EQ(link.busy_ns, 120);
}

TEST(VirtualLink, APageThatEndsWithTheIdleTimeHasArrived)
{
    struct virtual_link link;
    virtual_link_init(&link, 100);
    virtual_link_queue(&link, 3);
    double idle = 100;
    EXPECT_EQ(virtual_link_idle(&link, &idle), 3u);
    EXPECT_EQ(idle, 0);
}

TEST(VirtualLink, TakingOneOutKeepsTheOther)
{
    struct virtual_link link;
    virtual_link_init(&link, 10);
    virtual_link_queue(&link, 1);
    virtual_link_queue(&link, 2);
    double idle = 4;
    virtual_link_idle(&link, &idle);
    EXPECT_EQ(virtual_link_find(&link, 3), static_cast<uint32_t>(VIRTUAL_LINK_QUEUE));
    EXPECT_EQ(virtual_link_take(&link, 0), 6);
    EXPECT_EQ(virtual_link_find(&link, 2), 0u);
    EXPECT_FALSE(virtual_link_begun(&link, 0));
    virtual_link_demand(&link, 25);
    EXPECT_EQ(link.busy_ns, 29); // what was spent on the page taken out stays spent
}

} // namespace
