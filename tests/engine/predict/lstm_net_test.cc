#include "engine/predict/lstm_net.h"

#include <cmath>
#include <cstring>
#include <numeric>

#include <gtest/gtest.h>

namespace {

struct lstm_sizes sizes_of(uint32_t layers, uint32_t experts, uint32_t units)
{
    return {layers, experts, units, 2, {1, 10}};
}

struct Net {
    struct lstm_net *net = nullptr;
    struct error error = {};
    explicit Net(const struct lstm_sizes &sizes, uint64_t seed = 1)
    {
        EXPECT_EQ(lstm_net_open(&net, &sizes, seed, &error), STATUS_OK) << error.text;
    }
    ~Net() { lstm_net_close(net); }
};

/* Weights 0.1 * ((7n mod 11) - 5), filled row by row into W_in (8x2), W_rec (8x2) and bias. */
TEST(LstmNet, CellHasTheGoldenValues)
{
    float w_in[16], w_rec[16], bias[8], gates[8];
    int n = 0;
    auto next = [&] { return 0.1f * static_cast<float>((7 * n++) % 11 - 5); };
    for (float *w : {w_in, w_rec})
        for (int row = 0; row < 8; row++)
            for (int column = 0; column < 2; column++)
                w[column * 8 + row] = next(); /* ours are stored column by column */
    for (float &b : bias)
        b = next();
    const float x[2][2] = {{.5f, -.2f}, {.1f, .3f}}, zero[2] = {0, 0};
    float h[2][2], c[2][2];
    lstm_cell(2, 2, w_in, w_rec, bias, x[0], zero, zero, gates, h[0], c[0]);
    EXPECT_NEAR(h[0][0], .043611, 1e-6);
    EXPECT_NEAR(h[0][1], .032208, 1e-6);
    lstm_cell(2, 2, w_in, w_rec, bias, x[1], h[0], c[0], gates, h[1], c[1]);
    EXPECT_NEAR(h[1][0], .119374, 1e-6);
    EXPECT_NEAR(h[1][1], -.002400, 1e-6);
    EXPECT_NEAR(c[1][0], .292232, 1e-6);
    EXPECT_NEAR(c[1][1], -.003897, 1e-6);
}

TEST(LstmNet, LoopsAreRightAtEveryLengthAndAddress)
{
    float a[40], b[40], y[40];
    for (int i = 0; i < 40; i++) {
        a[i] = static_cast<float>(i - 7);
        b[i] = static_cast<float>(3 * i % 11);
    }
    for (size_t from = 0; from < 4; from++)
        for (size_t count = 0; count + from <= 36; count++) {
            float sum = 0;
            for (size_t i = 0; i < count; i++)
                sum += a[from + i] * b[i]; /* whole numbers: exact in any order */
            EXPECT_EQ(lstm_dot(a + from, b, count), sum) << count;
            std::memset(y, 0, sizeof y);
            lstm_axpy(y + from, 2, a + from, count);
            for (size_t i = 0; i < 40; i++)
                EXPECT_EQ(y[i], i >= from && i < from + count ? 2 * a[i] : 0) << count;
        }
}

TEST(LstmNet, RefusesSizesByName)
{
    struct {
        struct lstm_sizes sizes;
        const char *field;
    } cases[] = {
        {{0, 4, 4, 1, {1}}, "layers is 0"},
        {{LSTM_LAYERS_MAX + 1, 4, 4, 1, {1}}, "layers is"},
        {{2, 0, 4, 1, {1}}, "experts is 0"},
        {{2, LSTM_EXPERTS_MAX + 1, 4, 1, {1}}, "experts is"},
        {{2, 4, 0, 1, {1}}, "units is 0"},
        {{2, 4, LSTM_UNITS_MAX + 1, 1, {1}}, "units is"},
        {{2, 4, 4, 0, {0}}, "horizon_count is 0"},
        {{2, 4, 4, LSTM_HORIZONS_MAX + 1, {1}}, "horizon_count is"},
        {{1024, 4096, 4, 1, {1}}, "layers x experts is"},
        {{2, 4, 4, 1, {0}}, "horizons[0] is 0"},
        {{2, 4, 4, 2, {5, 5}}, "horizons[1] is 5"},
        {{2, 4, 4, 1, {LSTM_HORIZON_MAX + 1}}, "horizons[0] is"},
        {{2, 4, 4, 1, {1, 7}}, "horizons[1] is 7"},
    };
    for (auto &c : cases) {
        struct lstm_net *net;
        struct error error = {};
        EXPECT_EQ(lstm_net_open(&net, &c.sizes, 1, &error), STATUS_INVALID);
        EXPECT_EQ(net, nullptr);
        EXPECT_NE(std::strstr(error.text, c.field), nullptr) << error.text;
    }
}

TEST(LstmNet, WeightsFillOneAllocationAndFollowTheSeed)
{
    Net a(sizes_of(3, 8, 5), 7), b(sizes_of(3, 8, 5), 7), c(sizes_of(3, 8, 5), 8);
    size_t bytes = a.net->count * sizeof(float);
    EXPECT_EQ(a.net->head + 2 * 24 * 5, lstm_net_weights(a.net) + a.net->count);
    EXPECT_EQ(std::memcmp(lstm_net_weights(a.net), lstm_net_weights(b.net), bytes), 0);
    EXPECT_NE(std::memcmp(lstm_net_weights(a.net), lstm_net_weights(c.net), bytes), 0);
}

TEST(LstmNet, AveragesAreLogarithmsOverTheUniformShare)
{
    Net n(sizes_of(1, 4, 3));
    struct lstm_averages averages;
    ASSERT_EQ(lstm_averages_open(&averages, n.net, nullptr), STATUS_OK);
    const float first[4] = {.5f, .25f, .25f, 0}, second[4] = {.25f, .25f, .25f, .25f};
    float logs[LSTM_AVERAGES * 4], input[4];
    lstm_averages_push(&averages, n.net, first, logs, input);
    for (uint32_t a = 0; a < LSTM_AVERAGES; a++) {
        EXPECT_NEAR(logs[a * 4], std::log(2.0), 1e-6);
        EXPECT_NEAR(logs[a * 4 + 1], 0, 1e-6);
        EXPECT_NEAR(logs[a * 4 + 3], std::log(1.0 / 16), 1e-6) << "a share of 0 stays finite";
    }
    lstm_averages_push(&averages, n.net, second, logs, input);
    EXPECT_NEAR(logs[0], 0, 1e-6);
    for (uint32_t a = 1; a < LSTM_AVERAGES; a++) /* the plain mean while it fills */
        EXPECT_NEAR(logs[a * 4], std::log(1.5), 1e-6);
    for (int i = 0; i < 500; i++)
        lstm_averages_push(&averages, n.net, second, logs, input);
    lstm_averages_push(&averages, n.net, first, logs, input);
    EXPECT_NEAR(logs[4], std::log(1 + (1 - std::exp2(-1 / 4.0))), 1e-5) << "half-life of 4 ticks";
    lstm_averages_close(&averages);
}

TEST(LstmNet, WideModelsAreFoldedWithSigns)
{
    Net n(sizes_of(2, 1024, 3));
    ASSERT_EQ(n.net->inputs, LSTM_INPUTS_MAX);
    struct lstm_averages averages;
    ASSERT_EQ(lstm_averages_open(&averages, n.net, nullptr), STATUS_OK);
    std::vector<float> share(2048, 1.0f / 1024), logs(LSTM_AVERAGES * 2048), input(1024);
    int plus = 0;
    for (uint32_t i = 0; i < 2048; i += 97) { /* one at a time: where does it go? */
        share[i] = 2.0f / 1024;
        lstm_averages_push(&averages, n.net, share.data(), logs.data(), input.data());
        share[i] = 1.0f / 1024;
        for (uint32_t x = 0; x < 1024; x++)
            EXPECT_EQ(std::fabs(input[x]) > 0.1, x == i % 1024) << i;
        plus += input[i % 1024] > 0;
    }
    EXPECT_GT(plus, 4);
    EXPECT_LT(plus, 18);
    lstm_averages_close(&averages);
}

TEST(LstmNet, UntrainedItForecastsTheMeanOfItsAverages)
{
    Net n(sizes_of(2, 4, 3));
    float logs[LSTM_AVERAGES * 8] = {}, h[3] = {1, -1, .5f}, share[4];
    for (uint32_t a = 0; a < LSTM_AVERAGES; a++)
        logs[a * 8 + 4] = static_cast<float>(a); /* layer 1, expert 0; mean 2 */
    lstm_net_output(n.net, logs, h, 1, 0, share);
    EXPECT_NEAR(share[0] / share[1], std::exp(2.0), 1e-4);
    EXPECT_NEAR(std::accumulate(share, share + 4, 0.0), 1, 1e-6);
    n.net->head[((1 * 8) + 4 + 2) * 3 + 1] = 2; /* horizon 1, layer 1, expert 2, unit 1 */
    lstm_net_output(n.net, logs, h, 1, 1, share);
    EXPECT_NEAR(share[2] / share[1], std::exp(-2.0), 1e-5);
}

} // namespace
