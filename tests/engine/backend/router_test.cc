/* Golden vectors A, B and C: eight logits, worked out by hand in double precision. */
#include "engine/backend/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "tests/support/scratch.h"

namespace {

const std::vector<float> kLogits = {1.20f, -0.40f, 0.75f, 2.10f, 0.10f, 1.95f, -1.30f, 0.60f};
const float kNan = std::numeric_limits<float>::quiet_NaN();
const float kInf = std::numeric_limits<float>::infinity();

struct Choice {
    std::vector<uint32_t> experts;
    std::vector<float> weights;
};

Choice choose(enum router_kind kind, uint32_t top_k, const std::vector<float> &logits)
{
    struct router router = {kind, static_cast<uint32_t>(logits.size()), top_k, 0};
    Choice c = {std::vector<uint32_t>(top_k, 999), std::vector<float>(top_k, -1)};
    router_choose(&router, logits.data(), c.experts.data(), c.weights.data());
    return c;
}

void expect(const Choice &c, const std::vector<uint32_t> &experts,
            const std::vector<float> &weights)
{
    EXPECT_EQ(c.experts, experts);
    for (size_t i = 0; i < weights.size(); i++)
        EXPECT_NEAR(c.weights[i], weights[i], 1e-5) << "choice " << i;
}

TEST(Router, VectorA)
{
    expect(choose(ROUTER_SOFTMAX, 2, kLogits), {3, 5}, {0.333284f, 0.286860f});
    expect(choose(ROUTER_SOFTMAX, 4, kLogits), {3, 5, 0, 2},
           {0.333284f, 0.286860f, 0.135503f, 0.086401f});
}

TEST(Router, VectorB)
{
    expect(choose(ROUTER_SOFTMAX_NORM, 2, kLogits), {3, 5}, {0.537430f, 0.462570f});
}

/* GraniteMoE's residual_multiplier is in the weights. */
TEST(Router, WeightsAreScaled)
{
    for (enum router_kind kind : {ROUTER_SOFTMAX, ROUTER_SOFTMAX_NORM, ROUTER_TOPK_SOFTMAX}) {
        Choice plain = choose(kind, 3, kLogits), scaled = plain;
        struct router router = {kind, static_cast<uint32_t>(kLogits.size()), 3, 0.22f};
        router_choose(&router, kLogits.data(), scaled.experts.data(), scaled.weights.data());
        EXPECT_EQ(scaled.experts, plain.experts);
        for (size_t i = 0; i < 3; i++)
            EXPECT_EQ(scaled.weights[i], plain.weights[i] * 0.22f);
    }
}

TEST(Router, VectorC)
{
    expect(choose(ROUTER_TOPK_SOFTMAX, 4, kLogits), {3, 5, 0, 2},
           {0.395802f, 0.340670f, 0.160921f, 0.102608f});
    expect(choose(ROUTER_SOFTMAX_NORM, 4, kLogits), {3, 5, 0, 2},
           {0.395802f, 0.340670f, 0.160921f, 0.102608f});
}

/* Renormalising where the model does not is the mistake that still gives fluent text. */
TEST(Router, OnlyVectorALeavesTheSumBelowOne)
{
    Choice a = choose(ROUTER_SOFTMAX, 2, kLogits), b = choose(ROUTER_SOFTMAX_NORM, 2, kLogits);
    EXPECT_NEAR(a.weights[0] + a.weights[1], 0.620144, 1e-5);
    EXPECT_NEAR(b.weights[0] + b.weights[1], 1, 1e-6);
}

TEST(Router, TiesGoToTheLowestIndex)
{
    expect(choose(ROUTER_SOFTMAX, 3, {1, 2, 2, 1, 2, 1}), {1, 2, 4}, {});
    expect(choose(ROUTER_TOPK_SOFTMAX, 2, {0, 0, 0, 0}), {0, 1}, {0.5f, 0.5f});
    expect(choose(ROUTER_SOFTMAX_NORM, 2, {-0.0f, 0.0f}), {0, 1}, {0.5f, 0.5f});
}

TEST(Router, ChoosesAllExpertsInDescendingOrder)
{
    for (enum router_kind kind : {ROUTER_SOFTMAX, ROUTER_SOFTMAX_NORM, ROUTER_TOPK_SOFTMAX}) {
        Choice c = choose(kind, 8, kLogits);
        EXPECT_EQ(c.experts, (std::vector<uint32_t>{3, 5, 0, 2, 7, 4, 1, 6}));
        EXPECT_NEAR(std::accumulate(c.weights.begin(), c.weights.end(), 0.0f), 1, 1e-6);
    }
    expect(choose(ROUTER_SOFTMAX, 1, {-3}), {0}, {1});
}

TEST(Router, LargeLogitsDoNotOverflow)
{
    expect(choose(ROUTER_SOFTMAX, 2, {3e38f, -3e38f, 3e38f}), {0, 2}, {0.5f, 0.5f});
    expect(choose(ROUTER_SOFTMAX_NORM, 2, {-3e38f, -3e38f, -3e38f}), {0, 1}, {0.5f, 0.5f});
}

TEST(Router, NanCountsAsMinusInfinity)
{
    expect(choose(ROUTER_SOFTMAX_NORM, 2, {kNan, 1, kNan, 1}), {1, 3}, {0.5f, 0.5f});
    expect(choose(ROUTER_SOFTMAX, 2, {kNan, 1, 1, 1}), {1, 2}, {1 / 3.0f, 1 / 3.0f});
    expect(choose(ROUTER_TOPK_SOFTMAX, 3, {kNan, 2, 2}), {1, 2, 0}, {0.5f, 0.5f, 0});
    expect(choose(ROUTER_SOFTMAX, 3, {-kInf, 2, 2}), {1, 2, 0}, {0.5f, 0.5f, 0});
}

TEST(Router, WithoutANumberTheChoicesAreStillExperts)
{
    Choice c = choose(ROUTER_SOFTMAX, 2, {kNan, kNan, kNan});
    EXPECT_EQ(c.experts, (std::vector<uint32_t>{0, 1}));
    EXPECT_TRUE(std::isnan(c.weights[0]) && std::isnan(c.weights[1])); /* not a plausible number */
}

/* Against a stable sort, over sizes and many ties. */
TEST(Router, AgreesWithAStableSort)
{
    scratch::Random random(7);
    for (int round = 0; round < 400; round++) {
        uint32_t experts = 1 + random.below(130), top_k = 1 + random.below(std::min(experts, 16u));
        std::vector<float> logits(experts);
        for (float &l : logits)
            l = static_cast<float>(random.below(20)) / 4 - 2;
        std::vector<uint32_t> order(experts);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(),
                         [&](uint32_t a, uint32_t b) { return logits[a] > logits[b]; });
        order.resize(top_k);
        double all = 0, chosen = 0;
        for (float l : logits)
            all += std::exp(static_cast<double>(l));
        for (uint32_t e : order)
            chosen += std::exp(static_cast<double>(logits[e]));
        Choice a = choose(ROUTER_SOFTMAX, top_k, logits);
        Choice b = choose(ROUTER_SOFTMAX_NORM, top_k, logits);
        ASSERT_EQ(a.experts, order) << "round " << round;
        ASSERT_EQ(b.experts, order) << "round " << round;
        for (uint32_t i = 0; i < top_k; i++) {
            double e = std::exp(static_cast<double>(logits[order[i]]));
            ASSERT_NEAR(a.weights[i], e / all, 1e-5);
            ASSERT_NEAR(b.weights[i], e / chosen, 1e-5);
        }
    }
}

} // namespace
