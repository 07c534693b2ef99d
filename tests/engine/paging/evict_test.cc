#include "engine/paging/evict.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <memory>
#include <vector>

#include "memory/device.h"
#include "tests/memory/toy_store.h"

namespace {

/* An evict over `layers` x `experts` pages and a real memory of so many slots. */
class Evict : public testing::Test {
protected:
    ~Evict() override
    {
        evict_close(evict_);
        memory_close(memory_);
    }
    void open(uint32_t layers, uint32_t experts, uint32_t device_slots, uint32_t host_slots = 0)
    {
        struct error error = {};
        ASSERT_EQ(evict_open(&evict_, layers, experts, &error), STATUS_OK);
        ToyStore toy({layers * experts});
        struct memory_config config = {};
        config.slots[MEMORY_DEVICE].of_class[0] = device_slots;
        config.slots[MEMORY_HOST].of_class[0] = host_slots;
        config.io = IO_SYNC;
        ASSERT_EQ(device_host_open(&config.device,
                                   device_slots * store_class_slot_bytes(toy.store, 0), 0, &error),
                  STATUS_OK);
        ASSERT_EQ(memory_open(&memory_, toy.store, &config, &error), STATUS_OK) << error.text;
        toy.release();
    }
    void fetch(page_id page, enum memory_tier tier = MEMORY_DEVICE)
    {
        struct memory_event event;
        ASSERT_EQ(memory_fetch(memory_, tier, page, URGENCY_DEMAND, nullptr, nullptr), STATUS_OK);
        while (memory_where(memory_, tier, page) != SLOT_READY)
            ASSERT_EQ(memory_poll(memory_, UINT64_MAX, &event, 1), 1u);
    }
    page_id choose(enum memory_tier tier = MEMORY_DEVICE)
    {
        return evict_choose(evict_, memory_, tier, 0, nullptr);
    }
    /* One layer runs and uses these pages, each brought in if it is not there. Returns the hits. */
    uint32_t run(uint32_t layer, const std::vector<page_id> &pages)
    {
        uint32_t hits = 0;
        evict_layer(evict_, layer);
        for (page_id page : pages) {
            evict_used(evict_, page);
            if (memory_where(memory_, MEMORY_DEVICE, page) == SLOT_READY) {
                hits++;
                continue;
            }
            while (memory_fetch(memory_, MEMORY_DEVICE, page, URGENCY_DEMAND, nullptr, nullptr) ==
                   STATUS_FULL)
                memory_evict(memory_, MEMORY_DEVICE, choose());
            struct memory_event event;
            EXPECT_EQ(memory_poll(memory_, UINT64_MAX, &event, 1), 1u);
        }
        return hits;
    }
    struct evict *evict_ = nullptr;
    struct memory *memory_ = nullptr;
};

TEST_F(Evict, DistanceIsLayersToGoPlusARoundForEachTimeItWasPassedOver)
{
    open(4, 2, 1);
    auto use = [&](uint32_t layer, page_id page) {
        evict_layer(evict_, layer);
        evict_used(evict_, page);
    };
    for (uint32_t layer = 0; layer < 4; layer++)
        use(layer, layer * 2); /* expert 0 of every layer; layer 3 runs now */
    EXPECT_EQ(evict_distance(evict_, 0), 1u);
    EXPECT_EQ(evict_distance(evict_, 4), 3u);
    EXPECT_EQ(evict_distance(evict_, 6), 4u);     /* its layer runs now: a whole round to go */
    EXPECT_EQ(evict_distance(evict_, 1), 1u + 4); /* passed over once */
    use(0, 1);
    EXPECT_EQ(evict_distance(evict_, 0),
              4u + 4); /* now expert 0 of layer 0 is the one passed over */
    EXPECT_EQ(evict_distance(evict_, 1), 4u);
    EXPECT_EQ(evict_distance(evict_, 2), 1u);
    for (int round = 0; round < 3; round++)
        for (uint32_t layer = 0; layer < 4; layer++)
            use(layer, layer * 2 + 1);
    EXPECT_EQ(evict_distance(evict_, 4), 3u + 3 * 4); /* ages without end */
}

TEST_F(Evict, AnExpectedPageCountsAsUsedInItsLayersLastRun)
{
    open(3, 2, 1);
    for (int round = 0; round < 5; round++)
        for (uint32_t layer = 0; layer < 3; layer++)
            evict_layer(evict_, layer);
    EXPECT_EQ(evict_distance(evict_, 0), 1u + 5 * 3);
    evict_expect(evict_, 0);
    EXPECT_EQ(evict_distance(evict_, 0), 1u);
    evict_layer(evict_, 0); /* it had its chance */
    EXPECT_EQ(evict_distance(evict_, 0), 3u + 3);
}

TEST_F(Evict, ChoosesInOrderOfDistanceWhateverTheOrderInTheRing)
{
    open(3, 4, 6);
    for (page_id page : {5u, 0u, 9u, 4u, 1u, 8u})
        fetch(page);
    for (uint32_t layer = 0; layer < 3; layer++)
        evict_layer(evict_, layer);
    evict_layer(evict_, 0);
    evict_used(evict_, 0);
    evict_layer(evict_, 1);
    evict_used(evict_, 4);
    /* layer 1 runs now. Ages: 0: 0, 4: 0, 1: 2, 5: 2, 8 and 9: 1 */
    uint64_t distance = 0, last = UINT64_MAX;
    std::vector<page_id> order;
    for (int i = 0; i < 6; i++) {
        page_id page = evict_choose(evict_, memory_, MEMORY_DEVICE, 0, &distance);
        EXPECT_EQ(distance, evict_distance(evict_, page));
        EXPECT_LE(distance, last);
        last = distance;
        order.push_back(page);
        memory_evict(memory_, MEMORY_DEVICE, page);
    }
    EXPECT_EQ(order[0], 5u); /* 3 + 6 */
    EXPECT_EQ(order[1], 1u); /* 2 + 6 */
    EXPECT_EQ(order[4], 4u); /* 3 */
    EXPECT_EQ(order[5], 0u); /* 2 */
    EXPECT_EQ(choose(), PAGE_NONE);
}

TEST_F(Evict, LeavesPinnedPagesAlone)
{
    open(2, 4, 3);
    for (page_id page : {0u, 1u, 2u})
        fetch(page);
    memory_pin(memory_, 0);
    memory_pin(memory_, 2);
    EXPECT_EQ(choose(), 1u);
    memory_pin(memory_, 1);
    EXPECT_EQ(choose(), PAGE_NONE);
    memory_unpin(memory_, 2);
    EXPECT_EQ(choose(), 2u);
    memory_unpin(memory_, 0);
    memory_unpin(memory_, 1);
}

TEST_F(Evict, InTheHostTierPagesThatTheDeviceHoldsGoFirst)
{
    open(2, 4, 1, 3);
    fetch(3, MEMORY_HOST);
    fetch(7, MEMORY_HOST);
    fetch(0); /* through the host tier */
    evict_layer(evict_, 0);
    evict_used(evict_, 0); /* the youngest of the three, and yet: */
    uint64_t distance = 0;
    EXPECT_EQ(evict_choose(evict_, memory_, MEMORY_HOST, 0, &distance), 0u);
    EXPECT_EQ(distance, 2u);
    memory_evict(memory_, MEMORY_HOST, 0);
    EXPECT_EQ(choose(MEMORY_HOST), 3u); /* passed over once */
    EXPECT_EQ(choose(MEMORY_DEVICE), 0u);
}

/* What LRU would have hit on the same pages in the same order. */
uint32_t lru_hits(const std::vector<page_id> &pages, size_t slots)
{
    std::list<page_id> ring;
    uint32_t hits = 0;
    for (page_id page : pages) {
        auto at = std::find(ring.begin(), ring.end(), page);
        if (at != ring.end()) {
            hits++;
            ring.erase(at);
        } else if (ring.size() == slots) {
            ring.pop_front();
        }
        ring.push_back(page);
    }
    return hits;
}

/* The most that anybody could hit who knows the future: out goes the page used again last. */
uint32_t belady_hits(const std::vector<page_id> &pages, size_t slots)
{
    std::vector<page_id> ring;
    uint32_t hits = 0;
    for (size_t now = 0; now < pages.size(); now++) {
        auto next = [&](page_id page) {
            return std::find(pages.begin() + now + 1, pages.end(), page) - pages.begin();
        };
        if (std::find(ring.begin(), ring.end(), pages[now]) != ring.end()) {
            hits++;
            continue;
        }
        if (ring.size() == slots)
            ring.erase(std::max_element(ring.begin(), ring.end(), [&](page_id a, page_id b) {
                return next(a) < next(b);
            }));
        ring.push_back(pages[now]);
    }
    return hits;
}

/* The case that a decoder is: every round the same pages, one layer after the other, and fewer
 * slots than pages. LRU never hits; nobody could do better than this. */
TEST_F(Evict, CyclesThatDefeatLruHitAsOftenAsPossible)
{
    for (uint32_t slots : {2u, 3u, 6u, 11u}) {
        SCOPED_TRACE(slots);
        memory_close(memory_);
        evict_close(evict_);
        memory_ = nullptr;
        evict_ = nullptr;
        open(12, 3, slots);
        uint32_t hits = 0;
        std::vector<page_id> order;
        const uint32_t rounds = 12;
        for (uint32_t round = 0; round < rounds; round++)
            for (uint32_t layer = 0; layer < 12; layer++) {
                order.push_back(layer * 3 + 1);
                hits += run(layer, {layer * 3 + 1});
            }
        EXPECT_EQ(lru_hits(order, slots), 0u);
        EXPECT_GT(hits, 0u);
        EXPECT_EQ(hits, belady_hits(order, slots));
    }
}

/* A page that was in fashion and is no more must leave, however near its layer is. */
TEST_F(Evict, PagesOutOfFashionMakeRoom)
{
    open(4, 4, 8);
    for (int round = 0; round < 6; round++)
        for (uint32_t layer = 0; layer < 4; layer++)
            run(layer, {layer * 4, layer * 4 + 1});
    uint32_t hits = 0;
    for (int round = 0; round < 3; round++)
        for (uint32_t layer = 0; layer < 4; layer++)
            hits = run(layer, {layer * 4 + 2, layer * 4 + 3}) + (layer ? hits : 0);
    EXPECT_EQ(hits, 8u); /* the third round of the new fashion: all there */
}

} // namespace
