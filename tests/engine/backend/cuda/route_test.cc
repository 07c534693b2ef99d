/* Routing on the device against router_choose: the same experts in the same order always, the same
 * weights but for the last bits. */
#include <cmath>
#include <limits>
#include <random>

#include "tests/engine/backend/cuda/cuda_checks.h"

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
const enum router_kind kKinds[] = {ROUTER_SOFTMAX, ROUTER_SOFTMAX_NORM, ROUTER_TOPK_SOFTMAX};

struct Choices {
    std::vector<uint32_t> chosen;
    std::vector<float> weights;
};

Choices on_device(const struct router &router, const std::vector<float> &scores)
{
    Stream stream;
    uint32_t rows = static_cast<uint32_t>(scores.size() / router.experts);
    DeviceList<float> device_scores(scores, 1); /* rows need no alignment */
    DeviceList<uint32_t> chosen(size_t{rows} * router.top_k);
    DeviceList<float> weights(size_t{rows} * router.top_k);
    cuda_route(stream, router, device_scores, rows, chosen, weights);
    return {chosen.get(stream), weights.get(stream)};
}

Choices on_host(const struct router &router, const std::vector<float> &scores)
{
    size_t rows = scores.size() / router.experts;
    Choices c = {std::vector<uint32_t>(rows * router.top_k),
                 std::vector<float>(rows * router.top_k)};
    for (size_t r = 0; r < rows; r++)
        router_choose(&router, &scores[r * router.experts], &c.chosen[r * router.top_k],
                      &c.weights[r * router.top_k]);
    return c;
}

/* What the weight of a choice is, in double. */
double true_weight(const struct router &router, const float *scores, const uint32_t *chosen,
                   uint32_t i)
{
    auto logit = [scores](uint32_t e) { return std::isnan(scores[e]) ? -kInf : scores[e]; };
    double max = logit(chosen[0]), sum = 0;
    if (router.kind == ROUTER_SOFTMAX)
        for (uint32_t e = 0; e < router.experts; e++)
            sum += std::exp(logit(e) - max);
    else
        for (uint32_t j = 0; j < router.top_k; j++)
            sum += std::exp(logit(chosen[j]) - max);
    return std::exp(logit(chosen[i]) - max) / sum;
}

void expect_same(const struct router &router, const std::vector<float> &scores)
{
    Choices device = on_device(router, scores), host = on_host(router, scores);
    ASSERT_EQ(device.chosen, host.chosen);
    for (size_t i = 0; i < host.weights.size(); i++) {
        size_t row = i / router.top_k;
        ASSERT_EQ(std::isnan(device.weights[i]), std::isnan(host.weights[i])) << "weight " << i;
        if (std::isnan(host.weights[i]))
            continue;
        double weight = true_weight(router, &scores[row * router.experts],
                                    &host.chosen[row * router.top_k],
                                    static_cast<uint32_t>(i % router.top_k));
        /* The logit less the maximum is rounded, and exp makes of it a relative error. */
        double rounding = std::abs(std::log(weight + 1e-45)) + router.top_k + 8;
        ASSERT_NEAR(device.weights[i], weight, 6e-8 * rounding * weight + 1e-44) << "weight " << i;
        ASSERT_NEAR(device.weights[i], host.weights[i],
                    6e-8 * (rounding + router.experts) * weight + 1e-44)
            << "weight " << i;
    }
}

enum Shape { NOISE, TIES, CONSTANT, ZEROS, FLAWED, EXTREME, SHAPES };

std::vector<float> make_scores(std::mt19937 &rng, enum Shape shape, size_t count)
{
    std::normal_distribution<float> normal(0, 2);
    std::vector<float> scores(count);
    for (float &score : scores) {
        score = normal(rng);
        if (shape == TIES)
            score = std::round(score);
        if (shape == CONSTANT)
            score = -2.5f;
        if (shape == ZEROS)
            score = rng() % 2 ? 0.0f : -0.0f;
        if (shape == FLAWED && rng() % 3 == 0)
            score = rng() % 2 ? kNan : rng() % 2 ? -kNan : -kInf;
        if (shape == EXTREME)
            score = rng() % 2 ? 3e38f : rng() % 2 ? -3e38f : score * 1e-44f;
    }
    return scores;
}

TEST(CudaRoute, ChoosesWhatTheProcessorChooses)
{
    for (uint64_t seed : machine_seeds()) {
        restart_machine(seed);
        std::mt19937 rng(static_cast<uint32_t>(seed));
        for (uint32_t experts : {1u, 2u, 8u, 31u, 32u, 33u, 60u, 64u, 127u, 128u, 200u, 256u, 257u,
                                 512u, 1000u, 1024u})
            for (uint32_t top_k : {1u, 2u, 6u, 8u, 31u, 32u, 33u, 64u}) {
                if (top_k > experts)
                    continue;
                for (enum router_kind kind : kKinds) {
                    enum Shape shape = static_cast<enum Shape>(rng() % SHAPES);
                    SCOPED_TRACE(testing::Message() << top_k << " of " << experts << " kind "
                                                    << kind << " shape " << shape);
                    expect_same({kind, experts, top_k, 0}, make_scores(rng, shape, 3 * experts));
                }
            }
    }
}

TEST(CudaRoute, EveryShapeOfScores)
{
    restart_machine(1);
    std::mt19937 rng(5);
    for (int shape = 0; shape < SHAPES; shape++)
        for (enum router_kind kind : kKinds) {
            SCOPED_TRACE(testing::Message() << "kind " << kind << " shape " << shape);
            std::vector<float> scores = make_scores(rng, static_cast<enum Shape>(shape), 37 * 100);
            expect_same({kind, 100, 8, 0}, scores);
        }
}

TEST(CudaRoute, NothingFiniteGivesTheFirstExpertsAndNoWeights)
{
    restart_machine(1);
    for (enum router_kind kind : kKinds) {
        const struct router router = {kind, 40, 3, 0};
        for (float nothing : {kNan, -kInf}) {
            std::vector<float> scores(40, nothing);
            scores[1] = -kInf; /* NaN counts as it: a tie */
            expect_same(router, scores);
            Choices c = on_device(router, scores);
            EXPECT_EQ(c.chosen, (std::vector<uint32_t>{0, 1, 2}));
            EXPECT_TRUE(std::isnan(c.weights[0]));
        }
        std::vector<float> scores(40, kNan);
        scores[17] = -3;
        expect_same(router, scores);
        Choices c = on_device(router, scores);
        EXPECT_EQ(c.chosen, (std::vector<uint32_t>{17, 0, 1}));
        EXPECT_EQ(c.weights, (std::vector<float>{1, 0, 0}));
        scores[20] = kInf; /* infinity less infinity */
        expect_same(router, scores);
    }
}

/* Vector A of router_test.cc. */
TEST(CudaRoute, SoftmaxOverAllLeavesTheSumBelowOne)
{
    restart_machine(1);
    const std::vector<float> logits = {1.20f, -0.40f, 0.75f, 2.10f, 0.10f, 1.95f, -1.30f, 0.60f};
    Choices a = on_device({ROUTER_SOFTMAX, 8, 2, 0}, logits);
    EXPECT_EQ(a.chosen, (std::vector<uint32_t>{3, 5}));
    EXPECT_NEAR(a.weights[0], 0.333284f, 1e-6);
    EXPECT_NEAR(a.weights[1], 0.286860f, 1e-6);
    Choices b = on_device({ROUTER_SOFTMAX_NORM, 8, 2, 0}, logits);
    EXPECT_NEAR(b.weights[0], 0.537430f, 1e-6);
}

TEST(CudaRoute, WeightsAreScaled)
{
    restart_machine(1);
    std::mt19937 rng(6);
    for (enum router_kind kind : kKinds) {
        std::vector<float> scores = make_scores(rng, NOISE, 40 * 9);
        const struct router plain = {kind, 40, 3, 0}, scaled = {kind, 40, 3, 0.375f};
        Choices a = on_device(plain, scores), b = on_device(scaled, scores);
        EXPECT_EQ(a.chosen, b.chosen);
        for (size_t i = 0; i < a.weights.size(); i++)
            EXPECT_EQ(b.weights[i], a.weights[i] * 0.375f);
    }
}

TEST(CudaRoute, ARowDependsOnItselfAlone)
{
    for (uint64_t seed : machine_seeds()) {
        restart_machine(seed);
        std::mt19937 rng(3);
        const struct router router = {ROUTER_SOFTMAX, 60, 4, 0};
        std::vector<float> scores = make_scores(rng, NOISE, 60 * 41);
        Choices all = on_device(router, scores);
        for (size_t r : {0u, 1u, 3u, 4u, 40u}) {
            Choices one = on_device(router, {&scores[r * 60], &scores[r * 60] + 60});
            for (size_t i = 0; i < 4; i++) {
                EXPECT_EQ(one.chosen[i], all.chosen[r * 4 + i]);
                EXPECT_EQ(one.weights[i], all.weights[r * 4 + i]); /* to the bit */
            }
        }
        EXPECT_TRUE(on_device(router, {}).chosen.empty());
    }
}

TEST(CudaRouteDeathTest, WhatNoKernelCanDoIsTheCallersBug)
{
    Stream stream;
    EXPECT_DEATH(cuda_route(stream, {ROUTER_SOFTMAX, 1025, 1, 0}, nullptr, 1, nullptr, nullptr),
                 "chooses 1 of 1025 experts");
    EXPECT_DEATH(cuda_route(stream, {ROUTER_SOFTMAX, 128, 65, 0}, nullptr, 1, nullptr, nullptr),
                 "chooses 65 of 128 experts");
}

} // namespace
