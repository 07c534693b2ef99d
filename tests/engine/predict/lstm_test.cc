#include "engine/predict/lstm.h"

#include <cmath>
#include <cstring>
#include <numeric>

#include <gtest/gtest.h>

#include "engine/predict/lstm_file.h"
#include "tests/support/scratch.h"

namespace {

const uint32_t LAYERS = 2, EXPERTS = 4;

class Lstm : public testing::Test {
protected:
    void SetUp() override
    {
        struct lstm_sizes sizes = {LAYERS, EXPERTS, 3, 2, {1, 100}};
        ASSERT_EQ(lstm_net_open(&net, &sizes, 2, nullptr), STATUS_OK);
        for (size_t i = 0; i < net->count; i++) /* a head that does something */
            lstm_net_weights(net)[i] += 0.3f * std::sin(static_cast<float>(i));
        struct lstm_config config = {LAYERS, EXPERTS, nullptr, net};
        ASSERT_EQ(lstm_open(&lstm, &config, nullptr), STATUS_OK);
    }
    void TearDown() override
    {
        predictor_close(lstm);
        lstm_net_close(net);
    }
    /* A share vector that differs from seed to seed. */
    static std::vector<float> some(uint32_t seed)
    {
        scratch::Random random(seed + 1);
        std::vector<float> share(EXPERTS);
        float sum = 0;
        for (float &s : share)
            sum += s = 1 + static_cast<float>(random.below(100));
        for (float &s : share)
            s /= sum;
        return share;
    }
    static void tick(struct predictor *to, uint32_t layer, uint32_t seed)
    {
        to->ops->tick(to, layer, some(seed).data());
    }
    static std::vector<float> loads(struct predictor *of, uint32_t layer, uint32_t horizon)
    {
        std::vector<float> share(EXPERTS);
        EXPECT_TRUE(of->ops->loads(of, layer, horizon, share.data()));
        return share;
    }

    struct lstm_net *net = nullptr;
    struct predictor *lstm = nullptr;
};

TEST_F(Lstm, AnswersLoadsAndNothingElse)
{
    EXPECT_STREQ(lstm->ops->name, "lstm");
    EXPECT_NE(lstm->ops->tick, nullptr);
    EXPECT_EQ(lstm->ops->observe, nullptr);
    EXPECT_EQ(lstm->ops->experts, nullptr);
}

TEST_F(Lstm, SaysNothingWithoutWeights)
{
    struct lstm_config config = {LAYERS, EXPERTS, nullptr, nullptr};
    struct predictor *bare;
    ASSERT_EQ(lstm_open(&bare, &config, nullptr), STATUS_OK);
    float share[EXPERTS];
    for (uint32_t i = 0; i < 200; i++)
        for (uint32_t layer = 0; layer < LAYERS; layer++)
            tick(bare, layer, i);
    EXPECT_FALSE(bare->ops->loads(bare, 0, 1, share));
    predictor_close(bare);
}

TEST_F(Lstm, SaysNothingBeforeEveryLayerTicked)
{
    float share[EXPERTS];
    EXPECT_FALSE(lstm->ops->loads(lstm, 0, 1, share));
    tick(lstm, 1, 0);
    EXPECT_FALSE(lstm->ops->loads(lstm, 1, 1, share));
    tick(lstm, 0, 1);
    EXPECT_TRUE(lstm->ops->loads(lstm, 0, 1, share));
}

/* The same as the network stepped by hand. */
TEST_F(Lstm, IsTheNetworkStepByStep)
{
    struct lstm_averages averages;
    ASSERT_EQ(lstm_averages_open(&averages, net, nullptr), STATUS_OK);
    float logs[LSTM_AVERAGES * LAYERS * EXPERTS], input[LAYERS * EXPERTS], gates[12];
    float h[2][3] = {}, c[2][3] = {}, expected[EXPERTS];
    for (uint32_t t = 0; t < 9; t++) {
        std::vector<float> both = some(2 * t), second = some(2 * t + 1);
        both.insert(both.end(), second.begin(), second.end());
        tick(lstm, 1, 2 * t + 1); /* the order within a tick does not matter */
        tick(lstm, 0, 2 * t);
        lstm_averages_push(&averages, net, both.data(), logs, input);
        lstm_cell(net->inputs, 3, net->w_in, net->w_rec, net->bias, input, h[t % 2], c[t % 2],
                  gates, h[1 - t % 2], c[1 - t % 2]);
        for (uint32_t layer = 0; layer < LAYERS; layer++) {
            lstm_net_output(net, logs, h[1 - t % 2], layer, 1, expected);
            std::vector<float> share = loads(lstm, layer, 100);
            EXPECT_EQ(std::memcmp(share.data(), expected, sizeof expected), 0) << t;
            EXPECT_NEAR(std::accumulate(share.begin(), share.end(), 0.0), 1, 1e-5);
        }
    }
    lstm_averages_close(&averages);
}

TEST_F(Lstm, ALayerThatLagsKeepsItsShares)
{
    struct lstm_config config = {LAYERS, EXPERTS, nullptr, net};
    struct predictor *other;
    ASSERT_EQ(lstm_open(&other, &config, nullptr), STATUS_OK);
    for (struct predictor *p : {lstm, other}) {
        tick(p, 0, 1);
        tick(p, 1, 2);
    }
    tick(lstm, 0, 3);
    std::vector<float> before = loads(lstm, 0, 1);
    tick(lstm, 0, 4); /* comes round again: the step with 3 is made, layer 1 as it was */
    EXPECT_NE(loads(lstm, 0, 1), before);
    tick(other, 0, 3);
    tick(other, 1, 2);
    EXPECT_EQ(loads(lstm, 1, 1), loads(other, 1, 1));
    predictor_close(other);
}

TEST_F(Lstm, ALayerAheadOfTheOthersIsForecastOneTickFurther)
{
    for (uint32_t layer = 0; layer < LAYERS; layer++)
        tick(lstm, layer, layer);
    std::vector<float> two = loads(lstm, 0, 2), five = loads(lstm, 0, 5);
    std::vector<float> longest = loads(lstm, 0, 100), other = loads(lstm, 1, 1);
    tick(lstm, 0, 7);
    EXPECT_EQ(loads(lstm, 0, 1), two);
    EXPECT_EQ(loads(lstm, 0, 4), five);
    EXPECT_EQ(loads(lstm, 0, 100), longest) << "nothing is trained beyond it";
    EXPECT_EQ(loads(lstm, 1, 1), other);
    tick(lstm, 1, 8);
    EXPECT_NE(loads(lstm, 0, 1), two) << "the network has stepped";
}

TEST_F(Lstm, SharesItsWeightsAndKnowsItsBytes)
{
    struct lstm_config config = {LAYERS, EXPERTS, "w.lstm", net}; /* no such file: only a name */
    struct predictor *other;
    ASSERT_EQ(lstm_open(&other, &config, nullptr), STATUS_OK);
    for (uint32_t layer = 0; layer < LAYERS; layer++)
        tick(other, layer, 1);
    float share[EXPERTS];
    EXPECT_TRUE(other->ops->loads(other, 0, 1, share));
    EXPECT_FALSE(lstm->ops->loads(lstm, 0, 1, share)) << "each has a state of its own";
    predictor_close(other);
    struct error error = {};
    config.layers = 3;
    EXPECT_EQ(lstm_open(&other, &config, &error), STATUS_INVALID);
    EXPECT_STREQ(error.text, "w.lstm: layers x experts is 2 x 4; the model has 3 x 4");
    /* share, averages, logs: 10 per output; input, gates and h, c twice, one layer. */
    size_t floats = 10 * LAYERS * EXPERTS + net->inputs + 8 * 3 + EXPERTS;
    EXPECT_GE(lstm_bytes(&net->sizes), floats * sizeof(float));
    EXPECT_LE(lstm_bytes(&net->sizes), floats * sizeof(float) + 512);
}

TEST_F(Lstm, MixesBetweenHorizonsAndStopsAtTheLast)
{
    for (uint32_t i = 0; i < 20; i++)
        for (uint32_t layer = 0; layer < LAYERS; layer++)
            tick(lstm, layer, i);
    std::vector<float> near = loads(lstm, 1, 1), mid = loads(lstm, 1, 10);
    std::vector<float> far = loads(lstm, 1, 100);
    ASSERT_NE(near, far);
    for (uint32_t e = 0; e < EXPERTS; e++) /* 10 is half way from 1 to 100 */
        EXPECT_NEAR(mid[e], (near[e] + far[e]) / 2, 1e-5);
    EXPECT_FALSE(lstm->ops->loads(lstm, 1, 101, near.data()));
}

TEST_F(Lstm, ReadsWeightsFromAFileAndRefusesThoseOfAnotherModel)
{
    scratch::Folder folder;
    std::string path = folder.path("w.lstm");
    struct error error = {};
    struct predictor *read;
    ASSERT_EQ(lstm_file_write(net, path.c_str(), &error), STATUS_OK) << error.text;
    struct lstm_config config = {LAYERS, EXPERTS, path.c_str(), nullptr};
    ASSERT_EQ(lstm_open(&read, &config, &error), STATUS_OK) << error.text;
    for (struct predictor *p : {lstm, read})
        for (uint32_t layer = 0; layer < LAYERS; layer++)
            tick(p, layer, layer);
    EXPECT_EQ(loads(read, 1, 1), loads(lstm, 1, 1));
    predictor_close(read);

    config.experts = 8;
    EXPECT_EQ(lstm_open(&read, &config, &error), STATUS_INVALID);
    EXPECT_EQ(std::string(error.text), path + ": layers x experts is 2 x 4; the model has 2 x 8");
    EXPECT_EQ(read, nullptr);
    error = {};
    config.weights_path = "/nowhere/w.lstm";
    EXPECT_EQ(lstm_open(&read, &config, &error), STATUS_NOT_FOUND);
    EXPECT_STREQ(error.text, "/nowhere/w.lstm: No such file or directory");
}

} // namespace
