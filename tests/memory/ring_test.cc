#include "memory/ring.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/support/scratch.h"

namespace {

class Ring : public testing::Test {
protected:
    void open(uint32_t slots)
    {
        slots_.resize(slots);
        ring_init(&ring_, slots_.data(), slots);
        ring_resize(&ring_, slots);
    }
    /* Claims and lands pages 0, 1, ... into every slot. */
    void fill()
    {
        for (uint32_t page = 0; page < ring_.slots; page++)
            ring_land(&ring_, ring_claim(&ring_, page));
    }
    struct ring ring_;
    std::vector<struct slot> slots_;
};

TEST(SlotTable, HasFourLegalChanges)
{
    int legal = 0;
    for (int state = 0; state < SLOT_STATES; state++)
        for (int change = 0; change < SLOT_CHANGES; change++)
            legal += slot_next((enum slot_state)state, (enum slot_change)change) != SLOT_STATES;
    EXPECT_EQ(legal, 4);
    EXPECT_EQ(slot_next(SLOT_FREE, SLOT_CLAIM), SLOT_LOADING);
    EXPECT_EQ(slot_next(SLOT_LOADING, SLOT_LAND), SLOT_READY);
    EXPECT_EQ(slot_next(SLOT_LOADING, SLOT_FAIL), SLOT_FREE);
    EXPECT_EQ(slot_next(SLOT_READY, SLOT_RELEASE), SLOT_FREE);
}

TEST_F(Ring, ClaimsEverySlotOnce)
{
    open(5);
    std::vector<bool> seen(5);
    for (page_id page = 0; page < 5; page++) {
        uint32_t slot = ring_claim(&ring_, page + 100);
        ASSERT_LT(slot, 5u);
        EXPECT_FALSE(seen[slot]);
        seen[slot] = true;
        EXPECT_EQ(slots_[slot].page, page + 100);
        ring_check(&ring_);
    }
    EXPECT_EQ(ring_claim(&ring_, 7), RING_NONE);
    EXPECT_EQ(ring_.count[SLOT_LOADING], 5u);
}

TEST_F(Ring, GenerationChangesByClaimAlone)
{
    open(1);
    for (uint32_t round = 1; round <= 4; round++) {
        ASSERT_EQ(ring_claim(&ring_, round), 0u);
        EXPECT_EQ(slots_[0].generation, round);
        if (round % 2) {
            ring_fail(&ring_, 0);
        } else {
            ring_land(&ring_, 0);
            EXPECT_EQ(slots_[0].generation, round);
            ring_pin(&ring_, 0);
            ring_unpin(&ring_, 0);
            ring_release(&ring_, 0);
        }
        EXPECT_EQ(slots_[0].generation, round);
        EXPECT_EQ(slots_[0].page, PAGE_NONE);
        ring_check(&ring_);
    }
}

TEST_F(Ring, SweepGoesRoundAndSkipsPinsAndLoading)
{
    open(6);
    fill();
    std::vector<uint32_t> slot_of(6);
    for (uint32_t slot = 0; slot < 6; slot++)
        slot_of[slots_[slot].page] = slot;
    ring_pin(&ring_, 1);
    ring_pin(&ring_, 4);
    ring_release(&ring_, 2);
    ASSERT_EQ(ring_claim(&ring_, 77), 2u); /* LOADING */
    std::vector<uint32_t> seen;
    for (int i = 0; i < 6; i++)
        seen.push_back(ring_sweep(&ring_));
    EXPECT_EQ(seen, (std::vector<uint32_t>{0, 3, 5, 0, 3, 5}));
    ring_unpin(&ring_, 1);
    EXPECT_EQ(ring_sweep(&ring_), 0u);
    EXPECT_EQ(ring_sweep(&ring_), 1u);
    EXPECT_EQ(ring_sweep(&ring_), 3u);
}

TEST_F(Ring, SweepFindsNothingWhereNothingMayGo)
{
    open(2);
    EXPECT_EQ(ring_sweep(&ring_), RING_NONE);
    ring_claim(&ring_, 1);
    EXPECT_EQ(ring_sweep(&ring_), RING_NONE);
    ring_claim(&ring_, 2);
    ring_land(&ring_, 0);
    ring_pin(&ring_, 0);
    ring_pin(&ring_, 0);
    EXPECT_EQ(ring_sweep(&ring_), RING_NONE);
    ring_unpin(&ring_, 0);
    EXPECT_EQ(ring_sweep(&ring_), RING_NONE);
    ring_unpin(&ring_, 0);
    EXPECT_EQ(ring_sweep(&ring_), 0u);
    EXPECT_EQ(ring_sweep(&ring_), 0u);
}

TEST_F(Ring, EmptyRingNeverHasRoom)
{
    open(0);
    EXPECT_EQ(ring_claim(&ring_, 1), RING_NONE);
    EXPECT_EQ(ring_sweep(&ring_), RING_NONE);
    ring_check(&ring_);
}

TEST_F(Ring, RandomLivesKeepTheInvariant)
{
    open(9);
    scratch::Random random(11);
    for (int i = 0; i < 5000; i++) {
        uint32_t slot = random.below(9);
        switch (slots_[slot].state) {
        case SLOT_FREE:
            ring_claim(&ring_, random.below(1000));
            break;
        case SLOT_LOADING:
            random.chance(30) ? ring_fail(&ring_, slot) : ring_land(&ring_, slot);
            break;
        default:
            if (slots_[slot].pins > 0)
                ring_unpin(&ring_, slot);
            else
                random.chance(40) ? ring_pin(&ring_, slot) : ring_release(&ring_, slot);
        }
        ring_check(&ring_);
    }
}

TEST_F(Ring, GrowsAndShrinksAtItsEnd)
{
    open(6);
    ring_resize(&ring_, 3);
    fill();
    EXPECT_EQ(ring_claim(&ring_, 9), RING_NONE);
    EXPECT_EQ(ring_sweep(&ring_), 0u);
    ring_resize(&ring_, 5);
    EXPECT_EQ(ring_claim(&ring_, 8), 3u);
    EXPECT_EQ(ring_claim(&ring_, 9), 4u);
    ring_fail(&ring_, 3);
    ring_fail(&ring_, 4);
    ring_release(&ring_, 1);
    EXPECT_EQ(ring_sweep(&ring_), 2u);
    ring_release(&ring_, 2);
    ring_resize(&ring_, 1); /* the hand stood behind it */
    EXPECT_EQ(ring_sweep(&ring_), 0u);
    ring_resize(&ring_, 6);
    EXPECT_EQ(slots_[3].generation, 1u) << "it goes on where it was";
    EXPECT_EQ(ring_claim(&ring_, 7), 1u);
    EXPECT_EQ(slots_[1].generation, 2u);
}

using RingDeathTest = Ring;

TEST_F(RingDeathTest, OnlyFreeSlotsGo)
{
    open(3);
    fill();
    ring_release(&ring_, 2);
    ring_resize(&ring_, 2);
    EXPECT_DEATH(ring_resize(&ring_, 1), "slot 1 of page 1 is READY");
    EXPECT_DEATH(ring_resize(&ring_, 4), "CHECK");
    slots_[2].state = SLOT_READY; /* of an absent one */
    EXPECT_DEATH(ring_check(&ring_), "CHECK");
}

TEST_F(RingDeathTest, IllegalChangesNameSlotAndState)
{
    open(2);
    EXPECT_DEATH(ring_land(&ring_, 0), "slot 0 .*FREE");
    EXPECT_DEATH(ring_fail(&ring_, 1), "slot 1 .*FREE");
    EXPECT_DEATH(ring_release(&ring_, 0), "FREE");
    EXPECT_DEATH(ring_pin(&ring_, 0), "CHECK");
    EXPECT_DEATH(ring_land(&ring_, 2), "CHECK");
    ring_claim(&ring_, 5);
    EXPECT_DEATH(ring_release(&ring_, 0), "page 5 is LOADING");
    EXPECT_DEATH(ring_pin(&ring_, 0), "CHECK");
    ring_land(&ring_, 0);
    EXPECT_DEATH(ring_land(&ring_, 0), "READY");
    EXPECT_DEATH(ring_fail(&ring_, 0), "READY");
    EXPECT_DEATH(ring_unpin(&ring_, 0), "CHECK");
    ring_pin(&ring_, 0);
    EXPECT_DEATH(ring_release(&ring_, 0), "1 pins");
}

TEST_F(RingDeathTest, CheckSeesDamage)
{
    open(4);
    fill();
    ring_release(&ring_, 1);
    ring_release(&ring_, 2);
    ring_check(&ring_);
    struct slot before = slots_[1];
    slots_[1].next_free = 2; /* a loop */
    EXPECT_DEATH(ring_check(&ring_), "CHECK");
    slots_[1] = before;
    ring_.free_head = 1; /* loses slot 2 */
    EXPECT_DEATH(ring_check(&ring_), "CHECK");
    ring_.free_head = 2;
    slots_[1].pins = 1;
    EXPECT_DEATH(ring_check(&ring_), "CHECK");
    slots_[1] = before;
    ring_.count[SLOT_READY]++;
    EXPECT_DEATH(ring_check(&ring_), "CHECK");
    ring_.count[SLOT_READY]--;
    slots_[0].page = PAGE_NONE;
    EXPECT_DEATH(ring_check(&ring_), "CHECK");
}

} // namespace
