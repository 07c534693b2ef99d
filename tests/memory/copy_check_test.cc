/* That copy_check sees damage, stage by stage. */
#include <gtest/gtest.h>

#include "tests/memory/copy_fixture.h"

namespace {

class CopyCheckDeathTest : public CopyFixture {
protected:
    /* Page 0 is copied, 1 waits for its copy, 2 is read, 3 waits to be read. */
    void everything()
    {
        device_.room = 1;
        open(4, 4, 1);
        for (page_id page : {0, 1}) {
            demand(page);
            io_.end(page);
            poll();
        }
        demand(2);
        demand(3);
        copy_check(&copies_);
    }
    struct copy_journey &of(page_id page, enum memory_tier tier = MEMORY_DEVICE)
    {
        const struct tier *in = tier == MEMORY_HOST ? &host_ : &device_tier_;
        return copies_.journey[in->slot_of[page] +
                               (tier == MEMORY_HOST ? device_tier_.capacity : 0)];
    }
};

TEST_F(CopyCheckDeathTest, EachStageIsLookedAt)
{
    everything();
    struct copies good = copies_;
    auto expect = [&](const char *what) {
        EXPECT_DEATH(copy_check(&copies_), "CHECK") << what;
        copies_ = good;
        copy_check(&copies_);
    };
    copies_.reading++;
    expect("a read that nobody makes");
    copies_.reads[URGENCY_DEMAND].count++;
    expect("a queue that is longer than it is");
    copies_.copies[URGENCY_DEMAND].head = COPY_NOBODY;
    expect("a queue that lost its members");
    copies_.cancelled++;
    expect("an end that was no journey's");
    copies_.delivered = copies_.pending_count + 1;
    expect("events that are not there");
    copies_.aside_count = copies_.reading + 1;
    expect("an end that is counted twice");
}

TEST_F(CopyCheckDeathTest, EachJourneyIsLookedAt)
{
    everything();
    auto expect = [&](struct copy_journey &journey, auto damage, const char *what) {
        struct copy_journey good = journey;
        damage(journey);
        EXPECT_DEATH(copy_check(&copies_), "CHECK") << what;
        journey = good;
        copy_check(&copies_);
    };
    expect(of(0), [](copy_journey &j) { j.stage = COPY_QUEUED; }, "in the wrong list");
    expect(of(0), [](copy_journey &j) { j.stage = COPY_NONE; }, "LOADING and going nowhere");
    expect(of(0), [](copy_journey &j) { j.ticket = 0; }, "copied without a ticket");
    expect(of(1), [](copy_journey &j) { j.asked = false; }, "a copy that nobody wants");
    expect(of(3), [](copy_journey &j) { j.urgency = URGENCY_PREFETCH; j.stage = COPY_READING; },
           "read into the device past the host tier");
    expect(of(3, MEMORY_HOST), [](copy_journey &j) { j.urgency = URGENCY_PREFETCH; },
           "a demand that waits for a prefetch");
    tier_unpin(&host_, 1);
    EXPECT_DEATH(copy_check(&copies_), "CHECK") << "a source that could be evicted";
    tier_pin(&host_, 1);
}

TEST_F(CopyCheckDeathTest, SourcesAreCounted)
{
    everything();
    EXPECT_EQ(copy_sources(&copies_), 2u);
}

} // namespace
