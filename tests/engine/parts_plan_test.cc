/* What a plan computes by itself; that it refuses what does not fit, with the flag to change, is
 * tested at the front door (engine_test.cc, device/cuda_engine_test.cc). */
#include "engine/parts_plan.h"

#include <gtest/gtest.h>

namespace {

struct HidingCase {
    uint32_t experts, top_k;
    double bits, slow, fast; /* tokens at 150 TFLOP/s behind 25 GB/s, at 600 behind 50 */
};

TEST(PlanHidingTokens, AreThoseOfTheFormula)
{
    const HidingCase cases[] = {
        {8, 2, 4.5, 6750, 13500},      /* Mixtral, JetMoE */
        {32, 4, 4.25, 12750, 25500},   /* gpt-oss-20b */
        {128, 8, 4.5, 27000, 54000},   /* Qwen3-30B */
        {128, 4, 4.25, 51000, 102000}, /* gpt-oss-120b */
        {256, 8, 4.5, 54000, 108000},  /* DeepSeek-V3 */
        {128, 2, 4.5, 108000, 216000}, /* NLLB */
    };
    for (const HidingCase &c : cases) {
        EXPECT_DOUBLE_EQ(plan_hiding_tokens(c.experts, c.top_k, c.bits / 8, 150e12, 25e9), c.slow);
        EXPECT_DOUBLE_EQ(plan_hiding_tokens(c.experts, c.top_k, c.bits / 8, 600e12, 50e9), c.fast);
    }
}

} // namespace
