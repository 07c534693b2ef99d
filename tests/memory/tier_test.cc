#include "memory/tier.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "tests/memory/toy_store.h"

namespace {

class Tier : public testing::Test {
protected:
    Tier() : toy_({4, 3})
    {
        slots_.of_class[0] = 2;
        slots_.of_class[1] = 1;
        uint64_t bytes;
        EXPECT_TRUE(tier_arena_bytes(toy_.store, &slots_, &bytes));
        arena_.resize(bytes);
        EXPECT_EQ(tier_open(&tier_, toy_.store, &slots_, nullptr, arena_.data(), nullptr), STATUS_OK);
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
    std::vector<uint8_t> arena_;
    struct tier tier_ = {};
    std::vector<page_id> small_, large_; /* pages of class 0 and 1 */
};

TEST_F(Tier, EachClassHasItsRoom)
{
    EXPECT_EQ(arena_.size(), 2 * store_class_slot_bytes(toy_.store, 0) +
                                 store_class_slot_bytes(toy_.store, 1));
    bring(small_[0]);
    bring(small_[1]);
    EXPECT_FALSE(tier_has_room(&tier_, small_[2]));
    EXPECT_TRUE(tier_has_room(&tier_, large_[0]));
    bring(large_[0]);
    EXPECT_FALSE(tier_has_room(&tier_, large_[1]));
    EXPECT_EQ(tier_.ready, 3u);
    EXPECT_EQ(tier_.ready_bytes, arena_.size());
    tier_evict(&tier_, small_[0]);
    EXPECT_TRUE(tier_has_room(&tier_, small_[2]));
    EXPECT_EQ(tier_.ready_bytes, arena_.size() - store_class_slot_bytes(toy_.store, 0));
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
        EXPECT_GE(at, arena_.data());
        EXPECT_LE(at + bytes, arena_.data() + arena_.size());
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

TEST_F(Tier, ASizeThatDoesNotFitAWordIsToldApart)
{
    struct tier_slots many = {};
    uint64_t bytes;
    for (uint32_t &slots : many.of_class)
        slots = UINT32_MAX;
    EXPECT_TRUE(tier_arena_bytes(toy_.store, &many, &bytes));
    struct tier other;
    struct error error = {};
    EXPECT_EQ(tier_open(&other, toy_.store, &many, nullptr, nullptr, &error), STATUS_NO_MEMORY);
    EXPECT_NE(std::string(error.text).find("8589934590 slots"), std::string::npos) << error.text;
    tier_close(&other);
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
    tier_evict(&tier_, page);
    EXPECT_TRUE(all_nan(slot, bytes)) << "evicted";
    bring(small_[1]);
    ASSERT_EQ(tier_bytes(&tier_, small_[1]), slot);
    memset(slot, 3, bytes);
    bring(small_[2]);
    EXPECT_EQ(slot[0], 3) << "a neighbour's poison stays out";
    EXPECT_EQ(slot[bytes - 1], 3);
}

/* The slots are filled by the device that they are on. */
TEST_F(Tier, ADevicePoisonsItsOwnMemory)
{
    static const uint8_t *filled;
    static uint64_t filled_bytes;
    struct device_ops ops = {};
    ops.fill = [](struct device *, void *to, uint8_t byte, size_t bytes) {
        EXPECT_EQ(byte, TIER_POISON);
        filled = static_cast<uint8_t *>(to);
        filled_bytes = bytes;
    };
    struct device far = {&ops}; /* the host cannot look into it */
    struct tier tier;
    ASSERT_EQ(tier_open(&tier, toy_.store, &slots_, &far, arena_.data(), nullptr), STATUS_OK);
    for (int time = 0; time < 3; time++) {
        tier_claim(&tier, large_[0]);
        EXPECT_EQ(filled, tier_bytes(&tier, large_[0]));
        EXPECT_EQ(filled_bytes, store_class_slot_bytes(toy_.store, 1));
        filled = nullptr;
        const uint8_t *slot = tier_bytes(&tier, large_[0]);
        tier_fail(&tier, large_[0]);
        EXPECT_EQ(filled, slot);
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
    EXPECT_DEATH(tier_evict(&tier_, small_[0]), "pins");
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
}

} // namespace
