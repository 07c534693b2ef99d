/* Budgets, and how a run ends. */
#include "template_fixture.h"

using namespace templates;

namespace {

struct run_limits small_limits()
{
    struct run_limits limits = {100, 4096, 64, 3};
    return limits;
}

TEST(RunBudgets, FuelDepthAndMemoryEnd)
{
    TestRun run(small_limits());
    EXPECT_TRUE(run.tries([](struct run *r) { run_charge(r, 60); }));
    EXPECT_FALSE(run.tries([](struct run *r) { run_charge(r, 41); }));
    EXPECT_EQ("test, line 1: the template takes more than 100 steps", run.error());
    EXPECT_TRUE(run.tries([](struct run *r) {
        for (int i = 0; i < 3; i++)
            run_enter(r);
        for (int i = 0; i < 3; i++)
            run_leave(r);
    }));
    EXPECT_FALSE(run.tries([](struct run *r) {
        for (int i = 0; i < 4; i++)
            run_enter(r);
    }));
    EXPECT_EQ("test, line 1: nested deeper than 3", run.error());
    EXPECT_FALSE(run.tries([](struct run *r) { run_alloc(r, 5000, 1); }));
    EXPECT_EQ("test, line 1: the template uses more than 4096 bytes of memory", run.error());
    EXPECT_EQ(STATUS_INVALID, run.status());
}

TEST(RunBudgets, AProductThatOverflowsIsNoAllocation)
{
    TestRun run(small_limits());
    EXPECT_FALSE(run.tries([](struct run *r) { run_alloc(r, SIZE_MAX / 2, 16); }));
    EXPECT_FALSE(
        run.tries([](struct run *r) { run_charge_search(r, SIZE_MAX / 128, SIZE_MAX / 128); }));
}

TEST(RunBudgets, TheSentenceHasNameAndLine)
{
    TestRun run;
    EXPECT_FALSE(run.tries([](struct run *r) {
        r->line = 12;
        run_fail(r, STATUS_UNSUPPORTED, "no %s", "way");
    }));
    EXPECT_EQ("test, line 12: no way", run.error());
    EXPECT_EQ(STATUS_UNSUPPORTED, run.status());
}

} // namespace
