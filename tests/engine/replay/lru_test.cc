#include "engine/replay/lru.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <vector>

#include "tests/support/scratch.h"

namespace {

uint64_t plain(const std::vector<page_id> &pages, uint32_t slots)
{
    std::list<page_id> ring; // the most recently used first
    uint64_t hits = 0;
    for (page_id page : pages) {
        auto found = std::find(ring.begin(), ring.end(), page);
        hits += found != ring.end();
        if (found != ring.end())
            ring.erase(found);
        else if (ring.size() == slots)
            ring.pop_back();
        ring.push_front(page);
    }
    return hits;
}

TEST(Lru, IsWhatAListDoes)
{
    scratch::Random random(21);
    for (int round = 0; round < 60; round++) {
        uint32_t total = 1 + random.below(20), slots = 1 + random.below(24);
        std::vector<page_id> pages(random.below(400));
        for (page_id &page : pages)
            page = random.chance(40) ? random.below(1 + total / 4) : random.below(total);
        uint64_t hits = 99;
        ASSERT_EQ(STATUS_OK, lru_hits(pages.data(), static_cast<uint32_t>(pages.size()), total,
                                      slots, &hits, nullptr));
        EXPECT_EQ(hits, plain(pages, slots)) << "round " << round;
    }
}

} // namespace
