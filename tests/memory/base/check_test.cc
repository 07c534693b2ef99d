#include "memory/base/check.h"

#include <gtest/gtest.h>

namespace {

TEST(CheckDeathTest, NamesPlaceConditionAndFigures)
{
    int pins = 3;
    EXPECT_DEATH(CHECK_MSG(pins == 0, "slot has %d pins", pins),
                 "check_test.*CHECK\\(pins == 0\\) failed: slot has 3 pins");
    EXPECT_DEATH(CHECK(pins < 0), "CHECK\\(pins < 0\\) failed");
}

TEST(Check, PassesInSilenceAndEvaluatesOnce)
{
    int evaluated = 0;
    CHECK(++evaluated == 1);
    CHECK_MSG(++evaluated == 2, "never seen");
    EXPECT_EQ(evaluated, 2);
}

TEST(CheckDeathTest, DcheckIsOnOnlyWhereItIsAskedFor)
{
    int evaluated = 0;
#ifdef MOERING_DEBUG_CHECKS
    EXPECT_DEATH(DCHECK(evaluated > 0), "CHECK");
#else
    DCHECK(++evaluated > 100);
    EXPECT_EQ(evaluated, 0);
#endif
}

} // namespace
