#include "memory/tier.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "tests/memory/fake_device.h"
#include "tests/memory/toy_store.h"

namespace {

class Tier : public testing::Test {
protected:
    Tier() : toy_({4, 3})
    {
        slots_.of_class[0] = 2;
        slots_.of_class[1] = 1;
        place_.device = &device_.device;
        EXPECT_EQ(tier_open(&tier_, toy_.store, &slots_, &place_, nullptr), STATUS_OK);
        for (page_id page = 0; page < store_pages(toy_.store); page++)
            (store_page(toy_.store, page)->size_class ? large_ : small_).push_back(page);
    }
    ~Tier() override { tier_close(&tier_); }
    void bring(page_id page)
    {
        tier_claim(&tier_, page);
        tier_land(&tier_, page);
    }

    ToyStore toy_;
    struct tier_slots slots_ = {};
    FakeDevice device_;
    struct extent_place place_ = {}; /* the host's */
    struct tier tier_ = {};
    std::vector<page_id> small_, large_; /* pages of class 0 and 1 */
};

TEST_F(Tier, EachClassHasItsRoom)
{
    uint64_t bytes =
        2 * store_class_slot_bytes(toy_.store, 0) + store_class_slot_bytes(toy_.store, 1);
    bring(small_[0]);
    bring(small_[1]);
    EXPECT_FALSE(tier_has_room(&tier_, small_[2]));
    EXPECT_TRUE(tier_has_room(&tier_, large_[0]));
    bring(large_[0]);
    EXPECT_FALSE(tier_has_room(&tier_, large_[1]));
    EXPECT_EQ(tier_.ready, 3u);
    EXPECT_EQ(tier_.ready_bytes, bytes);
    tier_evict(&tier_, small_[0], 0);
    EXPECT_TRUE(tier_has_room(&tier_, small_[2]));
    EXPECT_EQ(tier_.ready_bytes, bytes - store_class_slot_bytes(toy_.store, 0));
    EXPECT_EQ(tier_.evictions, 1u);
    tier_check(&tier_);
}

TEST_F(Tier, SlotsDoNotShareBytes)
{
    bring(small_[0]);
    bring(small_[1]);
    bring(large_[0]);
    std::vector<std::pair<uint8_t *, uint8_t *>> stretches;
    for (page_id page : {small_[0], small_[1], large_[0]}) {
        uint8_t *at = tier_bytes(&tier_, page);
        uint64_t bytes =
            store_class_slot_bytes(toy_.store, store_page(toy_.store, page)->size_class);
        memset(at, 1, bytes); /* all of it is there */
        for (auto &other : stretches)
            EXPECT_TRUE(at >= other.second || at + bytes <= other.first);
        stretches.push_back({at, at + bytes});
    }
}

TEST_F(Tier, FollowsAPageThroughItsLife)
{
    page_id page = small_[2];
    EXPECT_EQ(tier_where(&tier_, page), SLOT_FREE);
    EXPECT_EQ(tier_slot(&tier_, page), TIER_NONE);
    EXPECT_EQ(tier_pins(&tier_, page), 0u);
    uint32_t slot = tier_claim(&tier_, page);
    EXPECT_EQ(tier_where(&tier_, page), SLOT_LOADING);
    EXPECT_EQ(tier_slot(&tier_, page), slot);
    uint32_t generation = tier_generation(&tier_, slot);
    tier_fail(&tier_, page);
    EXPECT_EQ(tier_where(&tier_, page), SLOT_FREE);
    EXPECT_EQ(tier_.ready, 0u);
    EXPECT_EQ(tier_claim(&tier_, page), slot);
    EXPECT_NE(tier_generation(&tier_, slot), generation);
    tier_land(&tier_, page);
    EXPECT_EQ(tier_where(&tier_, page), SLOT_READY);
    tier_pin(&tier_, page);
    tier_pin(&tier_, page);
    EXPECT_EQ(tier_pins(&tier_, page), 2u);
    EXPECT_EQ(tier_sweep(&tier_, 0), PAGE_NONE);
    tier_unpin(&tier_, page);
    tier_unpin(&tier_, page);
    EXPECT_EQ(tier_sweep(&tier_, 0), page);
    EXPECT_EQ(tier_sweep(&tier_, 1), PAGE_NONE);
}

/* The slots of a tier, small and large, and where they lie. */
struct tier_slots numbers(uint32_t small, uint32_t large)
{
    struct tier_slots slots = {};
    slots.of_class[0] = small;
    slots.of_class[1] = large;
    return slots;
}

TEST_F(Tier, GrowsWithoutMovingAndShrinksFromItsEnd)
{
    bring(small_[0]);
    bring(small_[1]);
    const uint8_t *first = tier_bytes(&tier_, small_[0]), *second = tier_bytes(&tier_, small_[1]);
    struct tier_slots more = numbers(4, 3);
    ASSERT_EQ(tier_reserve(&tier_, &more, nullptr), STATUS_OK);
    EXPECT_FALSE(tier_has_room(&tier_, small_[2])) << "room is made, not given";
    tier_set_slots(&tier_, &more);
    EXPECT_EQ(tier_bytes(&tier_, small_[0]), first);
    EXPECT_EQ(tier_bytes(&tier_, small_[1]), second);
    bring(small_[2]);
    bring(small_[3]);
    bring(large_[2]);
    EXPECT_EQ(tier_.slot_of[small_[3]], 3u);
    uint32_t generation = tier_generation(&tier_, 3);
    tier_evict(&tier_, small_[2], 0);
    tier_evict(&tier_, small_[3], 0);
    struct tier_slots less = numbers(2, 1);
    tier_set_slots(&tier_, &less);
    EXPECT_FALSE(tier_has_room(&tier_, small_[2]));
    EXPECT_EQ(tier_.extents[0].slots, 2u) << "the extent that nothing is left of has gone";
    ASSERT_EQ(tier_reserve(&tier_, &more, nullptr), STATUS_OK);
    tier_set_slots(&tier_, &more);
    tier_claim(&tier_, small_[2]);
    tier_claim(&tier_, small_[3]);
    EXPECT_GT(tier_generation(&tier_, 3), generation) << "no transfer is ever mistaken";
    EXPECT_EQ(tier_where(&tier_, large_[2]), SLOT_READY) << "in slot 0 of its ring";
}

TEST_F(Tier, GrowsFirstIntoWhatItKept)
{
    struct tier tier;
    struct tier_slots slots = numbers(4, 1), less = numbers(3, 1);
    place_.on_device = true;
    ASSERT_EQ(tier_open(&tier, toy_.store, &slots, &place_, nullptr), STATUS_OK);
    EXPECT_EQ(device_.memory.size(), 2u);
    uint8_t *fourth = tier.bytes[3];
    tier_set_slots(&tier, &less); /* into the middle of an extent */
    tier_check(&tier);
    EXPECT_EQ(device_.memory.size(), 2u);
    EXPECT_EQ(tier.ring[0].slots, 3u);
    device_.bytes_room = 0;
    ASSERT_EQ(tier_reserve(&tier, &slots, nullptr), STATUS_OK);
    tier_set_slots(&tier, &slots);
    EXPECT_EQ(tier.bytes[3], fourth);
    tier_close(&tier);
    EXPECT_TRUE(device_.memory.empty());
}

TEST_F(Tier, WhatDoesNotFitChangesNothing)
{
    struct tier tier;
    place_.on_device = true;
    uint64_t small = store_class_slot_bytes(toy_.store, 0);
    uint64_t large = store_class_slot_bytes(toy_.store, 1);
    device_.bytes_room = 4 * small + large; /* enough for the small ones */
    ASSERT_EQ(tier_open(&tier, toy_.store, &slots_, &place_, nullptr), STATUS_OK);
    struct tier_slots more = numbers(4, 3);
    struct error error = {};
    EXPECT_EQ(tier_reserve(&tier, &more, &error), STATUS_NO_MEMORY);
    EXPECT_NE(
        std::string(error.text).find("device tier of " + std::to_string(4 * small + 3 * large)),
        std::string::npos)
        << error.text;
    EXPECT_EQ(FakeDevice::sum(device_.memory), 2 * small + large);
    tier_check(&tier);
    tier_close(&tier);
    device_.bytes_room = large;
    EXPECT_EQ(tier_open(&tier, toy_.store, &slots_, &place_, &error), STATUS_NO_MEMORY);
    EXPECT_TRUE(device_.memory.empty());
}

/* A slot's fence lasts until a page has landed there; its memory goes back after it. */
TEST_F(Tier, FencesOutliveWhatComesToNothing)
{
    struct tier tier;
    struct tier_slots slots = numbers(1, 1), more = numbers(3, 1);
    place_.on_device = true;
    ASSERT_EQ(tier_open(&tier, toy_.store, &slots, &place_, nullptr), STATUS_OK);
    tier_claim(&tier, small_[0]);
    EXPECT_EQ(tier_fence(&tier, small_[0]), 0u);
    tier_land(&tier, small_[0]);
    tier_evict(&tier, small_[0], 7);
    tier_claim(&tier, small_[1]);
    EXPECT_EQ(tier_fence(&tier, small_[1]), 7u);
    tier_fail(&tier, small_[1]);
    tier_claim(&tier, small_[2]);
    EXPECT_EQ(tier_fence(&tier, small_[2]), 7u);
    tier_land(&tier, small_[2]);
    EXPECT_EQ(tier_fence(&tier, small_[2]), 0u);

    ASSERT_EQ(tier_reserve(&tier, &more, nullptr), STATUS_OK);
    tier_set_slots(&tier, &more);
    tier_claim(&tier, small_[3]);
    tier_land(&tier, small_[3]);
    tier_evict(&tier, small_[3], 9);
    device_.waits.clear();
    tier_set_slots(&tier, &slots);
    EXPECT_EQ(device_.waits, std::vector<uint64_t>{9});
    tier_evict(&tier, small_[2], 11);
    tier_close(&tier);
    EXPECT_EQ(device_.waits, (std::vector<uint64_t>{9, 11}));
    EXPECT_TRUE(device_.memory.empty());
}

TEST_F(Tier, TellsAListenerWhatComesAndGoes)
{
    static std::vector<std::pair<page_id, const uint8_t *>> told;
    told.clear();
    struct memory_listener listener = {nullptr, [](void *, page_id page, const uint8_t *slot) {
                                           told.push_back({page, slot});
                                       }};
    bring(small_[1]);
    tier_listen(&tier_, listener);
    const uint8_t *slot = tier_bytes(&tier_, small_[1]);
    ASSERT_EQ(told.size(), 1u) << "what is there already";
    EXPECT_EQ(told[0], std::make_pair(small_[1], slot));
    tier_claim(&tier_, small_[0]);
    tier_fail(&tier_, small_[0]);
    EXPECT_EQ(told.size(), 1u) << "it was never READY";
    tier_evict(&tier_, small_[1], 0);
    bring(large_[0]);
    ASSERT_EQ(told.size(), 3u);
    EXPECT_EQ(told[1], std::make_pair(small_[1], (const uint8_t *)nullptr));
    EXPECT_EQ(told[2], std::make_pair(large_[0], (const uint8_t *)tier_bytes(&tier_, large_[0])));
}

#ifdef MOERING_DEBUG_CHECKS

float as_f32(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Is there a number anywhere in these bytes, read as F32, BF16 or F16? */
bool all_nan(const uint8_t *bytes, uint64_t count)
{
    for (uint64_t at = 0; at + 4 <= count; at += 2) {
        uint32_t word;
        uint16_t half;
        memcpy(&word, bytes + at, sizeof word);
        memcpy(&half, bytes + at, sizeof half);
        bool f16_nan = (half & 0x7c00) == 0x7c00 && (half & 0x03ff) != 0;
        if (!std::isnan(as_f32(word)) || !std::isnan(as_f32((uint32_t)half << 16)) || !f16_nan)
            return false;
    }
    return true;
}

TEST_F(Tier, WhatIsNotAnybodysReadsAsNan)
{
    page_id page = small_[0];
    uint64_t bytes = store_class_slot_bytes(toy_.store, 0);
    tier_claim(&tier_, page);
    uint8_t *slot = tier_bytes(&tier_, page);
    EXPECT_TRUE(all_nan(slot, bytes)) << "claimed, nothing read yet";
    memset(slot, 1, bytes / 2);
    tier_fail(&tier_, page);
    EXPECT_TRUE(all_nan(slot, bytes)) << "half a read that failed";
    bring(page);
    ASSERT_EQ(tier_bytes(&tier_, page), slot);
    memset(slot, 2, bytes);
    EXPECT_FALSE(all_nan(slot, bytes));
    tier_evict(&tier_, page, 0);
    EXPECT_TRUE(all_nan(slot, bytes)) << "evicted";
    bring(small_[1]);
    ASSERT_EQ(tier_bytes(&tier_, small_[1]), slot);
    memset(slot, 3, bytes);
    bring(small_[2]);
    EXPECT_EQ(slot[0], 3) << "a neighbour's poison stays out";
    EXPECT_EQ(slot[bytes - 1], 3);
}

/* The slots are filled by the device that they are on, and not before their fence. */
TEST_F(Tier, ADevicePoisonsItsOwnMemory)
{
    struct tier tier;
    place_.on_device = true;
    ASSERT_EQ(tier_open(&tier, toy_.store, &slots_, &place_, nullptr), STATUS_OK);
    EXPECT_EQ(device_.fills.size(), 3u) << "each slot when it comes";
    uint64_t fence = 0;
    for (uint64_t time = 1; time < 4; time++) {
        device_.fills.clear();
        tier_claim(&tier, large_[0]);
        const uint8_t *slot = tier_bytes(&tier, large_[0]);
        ASSERT_EQ(device_.fills.size(), 1u);
        EXPECT_EQ(device_.fills[0].to, slot);
        EXPECT_EQ(device_.fills[0].bytes, store_class_slot_bytes(toy_.store, 1));
        EXPECT_EQ(device_.fills[0].after, fence);
        tier_fail(&tier, large_[0]);
        ASSERT_EQ(device_.fills.size(), 2u);
        EXPECT_EQ(device_.fills[1].to, slot);
        EXPECT_EQ(device_.fills[1].after, fence);
        tier_claim(&tier, large_[0]);
        tier_land(&tier, large_[0]);
        fence = 10 * time;
        tier_evict(&tier, large_[0], fence);
        ASSERT_EQ(device_.fills.size(), 4u);
        EXPECT_EQ(device_.fills[3].after, fence);
    }
    tier_close(&tier);
}

using TierPoisonDeathTest = Tier;

TEST_F(TierPoisonDeathTest, WritingIntoAFreeSlotIsABug)
{
    tier_claim(&tier_, small_[0]);
    uint8_t *slot = tier_bytes(&tier_, small_[0]);
    tier_fail(&tier_, small_[0]);
    slot[store_class_slot_bytes(toy_.store, 0) - 1] = 7;
    EXPECT_DEATH(tier_claim(&tier_, small_[0]), "written to while it was FREE");
}

#else

TEST_F(Tier, WhatIsNotAnybodysReadsAsNan)
{
    GTEST_SKIP() << "slots are poisoned in builds with MOERING_DEBUG_CHECKS only";
}

#endif

using TierDeathTest = Tier;

TEST_F(TierDeathTest, MisuseIsABug)
{
    bring(small_[0]);
    EXPECT_DEATH(tier_claim(&tier_, small_[0]), "there already");
    EXPECT_DEATH(tier_land(&tier_, small_[1]), "page 2 is FREE|page . is FREE");
    EXPECT_DEATH(tier_where(&tier_, 1000), "CHECK");
    EXPECT_DEATH(tier_sweep(&tier_, 2), "CHECK");
    bring(small_[1]);
    EXPECT_DEATH(tier_claim(&tier_, small_[2]), "CHECK");
    tier_pin(&tier_, small_[0]);
    EXPECT_DEATH(tier_evict(&tier_, small_[0], 0), "pins");
}

TEST_F(TierDeathTest, CheckSeesDamage)
{
    bring(small_[0]);
    bring(small_[1]);
    tier_check(&tier_);
    std::swap(tier_.slot_of[small_[0]], tier_.slot_of[small_[1]]);
    EXPECT_DEATH(tier_check(&tier_), "CHECK");
    std::swap(tier_.slot_of[small_[0]], tier_.slot_of[small_[1]]);
    uint32_t slot = tier_.slot_of[small_[0]];
    tier_.slot_of[small_[0]] = TIER_NONE;
    EXPECT_DEATH(tier_check(&tier_), "CHECK");
    tier_.slot_of[small_[0]] = slot;
    tier_.ready_bytes++;
    EXPECT_DEATH(tier_check(&tier_), "CHECK");
    tier_.ready_bytes--;
    tier_.bytes[1] += 64;
    EXPECT_DEATH(tier_check(&tier_), "CHECK");
    tier_.bytes[1] -= 64;
    tier_.fence[1] = 3; /* of a page that is READY */
    EXPECT_DEATH(tier_check(&tier_), "CHECK");
}

} // namespace
