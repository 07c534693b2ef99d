#include "engine/replay/foresight_error.h"

#include "tests/engine/replay/toy_trace.h"
#include "tests/support/scratch.h"

namespace {

/* Tokens draw a start at random; each layer's expert then follows from it. */
std::vector<uint8_t> chained(uint32_t tokens, uint32_t layers)
{
    scratch::Random random(2);
    std::vector<uint8_t> ids;
    for (uint32_t t = 0; t < tokens; t++) {
        uint32_t start = random.below(12);
        for (uint32_t l = 0; l < layers; l++)
            ids.push_back(static_cast<uint8_t>((start + 5 * l) % 12));
    }
    return ids;
}

struct foresight_errors measured(const struct schedule *s, uint64_t runs = UINT64_MAX)
{
    struct foresight_errors e;
    struct error error = {};
    EXPECT_EQ(STATUS_OK, foresight_error_measure(s, runs, &e, &error)) << error.text;
    return e;
}

TEST(ForesightError, WhatFollowsFromTheLayerBeforeIsForetold)
{
    ToyTrace toy(6, 12, 1, {{1200}}, chained(1200, 6));
    struct foresight_errors e = measured(toy.lay_out());
    const auto &transition = e.of[FORESIGHT_TRANSITION], &previous = e.of[FORESIGHT_PREVIOUS];
    // Layers 1 to 5 follow from the one before, layer 0 begins a token: 1 in 12 by chance.
    EXPECT_GT(transition[1].recall, 0.6);
    EXPECT_LT(transition[1].recall, 0.95);
    EXPECT_GT(transition[1].recall, transition[4].recall + 0.2);
    EXPECT_LT(transition[1].log_loss, transition[4].log_loss);
    EXPECT_LT(previous[1].recall, 0.3); // tokens do not repeat each other
    EXPECT_EQ(transition[1].runs, 6u * 1200 - 1);
    for (uint32_t d = 1; d <= POLICY_AHEAD_MAX; d++)
        EXPECT_EQ(e.of[FORESIGHT_LOOKAHEAD][d].runs, 0u); // not recorded
    EXPECT_EQ(e.of[FORESIGHT_AUTO][1].runs, 0u);
}

TEST(ForesightError, ShufflingLeavesNothingToForetell)
{
    ToyTrace toy(6, 12, 1, {{600}}, chained(600, 6));
    struct schedule_config config = {};
    config.batch = 1;
    config.shuffle = SHUFFLE_LAYERS;
    struct foresight_errors e = measured(toy.lay_out(config));
    EXPECT_LT(e.of[FORESIGHT_TRANSITION][1].recall, 0.25);
}

TEST(ForesightError, RecordedLookaheadIsAsGoodAsItWas)
{
    // Distance 1 of two layers, always right; the layer behind them wraps and says nothing.
    std::vector<uint8_t> ids = chained(400, 2), column;
    for (uint32_t t = 0; t < 400; t++)
        column.push_back(ids[2 * t + 1]);
    ToyTrace toy(2, 12, 1, {{400}}, ids,
                 "{\"name\": \"lookahead\", \"dtype\": \"u8\", \"width\": 1, \"layers\": 1, "
                 "\"distance\": 1}",
                 column);
    struct foresight_errors e = measured(toy.lay_out());
    EXPECT_EQ(e.of[FORESIGHT_LOOKAHEAD][1].runs, 400u);
    EXPECT_EQ(e.of[FORESIGHT_LOOKAHEAD][1].recall, 1);
    EXPECT_LT(e.of[FORESIGHT_LOOKAHEAD][1].log_loss, 0.1);
}

TEST(ForesightError, StopsAtItsLimit)
{
    ToyTrace toy(6, 12, 1, {{50}}, chained(50, 6));
    EXPECT_EQ(measured(toy.lay_out(), 10).of[FORESIGHT_PREVIOUS][1].runs, 9u);
    EXPECT_EQ(measured(toy.schedule, 0).of[FORESIGHT_PREVIOUS][1].runs, 0u);
}

} // namespace
