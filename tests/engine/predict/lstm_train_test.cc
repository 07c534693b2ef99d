#include "engine/predict/lstm_train.h"

#include <cmath>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/scratch.h"

namespace {

using std::vector;

struct lstm_net *open_net(const struct lstm_sizes &sizes)
{
    struct lstm_net *net = nullptr;
    EXPECT_EQ(lstm_net_open(&net, &sizes, 3, nullptr), STATUS_OK);
    return net;
}

/* Loads that wander, some of them 0. */
vector<float> wander(const struct lstm_sizes &sizes, uint32_t ticks)
{
    scratch::Random random(11);
    vector<float> share;
    for (uint32_t row = 0; row < ticks * sizes.layers; row++) {
        vector<uint32_t> counts(sizes.experts);
        uint32_t sum = 0;
        for (uint32_t &count : counts)
            sum += count = random.chance(10) ? 0 : 50 + random.below(200);
        for (uint32_t count : counts)
            share.push_back(static_cast<float>(count) / static_cast<float>(sum));
    }
    return share;
}

double sigmoid(double x)
{
    return 1 / (1 + std::exp(-x));
}

/* The whole forward pass again, in doubles and written the plain way: what finite differences of
 * floats are too coarse for. logs[t] and input[t] come from the network's own averages. */
struct Reference {
    const struct lstm_net *net;
    const vector<float> &share;
    uint32_t ticks;
    vector<vector<float>> logs, input;

    Reference(const struct lstm_net *of, const vector<float> &s, uint32_t n)
        : net(of), share(s), ticks(n)
    {
        struct lstm_averages averages;
        EXPECT_EQ(lstm_averages_open(&averages, net, nullptr), STATUS_OK);
        for (uint32_t t = 0; t < ticks; t++) {
            logs.emplace_back(LSTM_AVERAGES * net->outputs);
            input.emplace_back(net->inputs);
            lstm_averages_push(&averages, net, share.data() + t * net->outputs, logs[t].data(),
                               input[t].data());
        }
        lstm_averages_close(&averages);
    }

    double loss(const vector<double> &w) const
    {
        const uint32_t units = net->sizes.units;
        const double *w_in = w.data(), *w_rec = w_in + (net->w_rec - net->w_in);
        const double *bias = w_in + (net->bias - net->w_in);
        vector<double> h(units), c(units);
        double sum = 0;
        uint64_t count = 0;
        for (uint32_t t = 0; t < ticks; t++) {
            vector<double> z(bias, bias + 4 * units);
            for (uint32_t r = 0; r < 4 * units; r++) {
                for (uint32_t i = 0; i < net->inputs; i++)
                    z[r] += w_in[i * 4 * units + r] * input[t][i];
                for (uint32_t i = 0; i < units; i++)
                    z[r] += w_rec[i * 4 * units + r] * h[i];
            }
            for (uint32_t u = 0; u < units; u++) {
                c[u] = sigmoid(z[units + u]) * c[u] + sigmoid(z[u]) * std::tanh(z[2 * units + u]);
                h[u] = sigmoid(z[3 * units + u]) * std::tanh(c[u]);
            }
            for (uint32_t k = 0; k < net->sizes.horizon_count; k++)
                for (uint32_t layer = 0; layer < net->sizes.layers; layer++) {
                    uint64_t target = t + net->sizes.horizons[k];
                    if (target * net->outputs >= share.size())
                        continue;
                    sum += layer_loss(w, h, t, target, k, layer);
                    count++;
                }
        }
        return sum / static_cast<double>(count);
    }

    double layer_loss(const vector<double> &w, const vector<double> &h, uint32_t t, uint64_t target,
                      uint32_t k, uint32_t layer) const
    {
        const uint32_t experts = net->sizes.experts, units = net->sizes.units;
        const double *skip = w.data() + (net->skip - net->w_in);
        const double *head = w.data() + (net->head - net->w_in);
        vector<double> y(experts);
        double total = 0, loss = 0;
        for (uint32_t e = 0; e < experts; e++) {
            size_t o = layer * experts + e;
            for (uint32_t a = 0; a < LSTM_AVERAGES; a++)
                y[e] += skip[(k * net->sizes.layers + layer) * LSTM_AVERAGES + a] *
                        logs[t][a * net->outputs + o];
            for (uint32_t u = 0; u < units; u++)
                y[e] += head[(k * net->outputs + o) * units + u] * h[u];
            total += std::exp(y[e]);
        }
        for (uint32_t e = 0; e < experts; e++) {
            double actual = share[target * net->outputs + layer * experts + e];
            if (actual > 0)
                loss += actual * (std::log(actual) - y[e] + std::log(total));
        }
        return experts * loss;
    }
};

void check_gradient(const struct lstm_sizes &sizes, uint32_t ticks, uint32_t window)
{
    struct lstm_net *net = open_net(sizes);
    scratch::Random random(5);
    float *weights = lstm_net_weights(net);
    for (size_t i = 0; i < net->count; i++) /* nothing is zero, or nothing would be tested */
        weights[i] += (static_cast<float>(random.below(2001)) - 1000) / 5000;
    vector<float> share = wander(sizes, ticks), gradient(net->count);
    struct lstm_series series = {share.data(), ticks};
    double loss = 0, largest = 0, worst = 0;
    ASSERT_EQ(lstm_train_gradient(net, &series, window, gradient.data(), &loss, nullptr),
              STATUS_OK);
    Reference reference(net, share, window);
    vector<double> w(weights, weights + net->count);
    EXPECT_NEAR(loss, reference.loss(w), 1e-5 * loss);
    for (size_t i = 0; i < net->count; i++) {
        const double step = 1e-5, at = w[i];
        w[i] = at + step;
        double up = reference.loss(w);
        w[i] = at - step;
        double slope = (up - reference.loss(w)) / (2 * step);
        w[i] = at;
        largest = std::max(largest, std::fabs(slope));
        worst = std::max(worst, std::fabs(slope - gradient[i]));
    }
    EXPECT_GT(largest, 1e-2);
    EXPECT_LT(worst, 1e-4 * largest);
    lstm_net_close(net);
}

TEST(LstmTrain, GradientsAreFiniteDifferences)
{
    check_gradient({2, 3, 4, 2, {1, 3}}, 12, 7);
    check_gradient({1, 5, 3, 1, {2}}, 10, 10); /* targets end before the window does */
}

TEST(LstmTrain, GradientsOfFoldedInputs)
{
    check_gradient({1, LSTM_INPUTS_MAX + 8, 1, 1, {1}}, 3, 2);
}

/* A load that goes round a cycle of six ticks: averages lag behind, a cell can know the phase. */
vector<float> cycle(const struct lstm_sizes &sizes, uint32_t ticks)
{
    vector<float> share;
    for (uint32_t t = 0; t < ticks; t++)
        for (uint32_t layer = 0; layer < sizes.layers; layer++)
            for (uint32_t e = 0; e < sizes.experts; e++)
                share.push_back((t + layer) % 6 == e ? 0.4f : 0.6f / (sizes.experts - 1.0f));
    return share;
}

TEST(LstmTrain, LearnsWhatAveragesCannotSay)
{
    struct lstm_sizes sizes = {2, 8, 16, 2, {1, 4}};
    vector<float> share = cycle(sizes, 600);
    struct lstm_series series = {share.data(), 600};
    struct lstm_train_config config = {};
    config.rate = 5e-3f;
    config.decay = 0.01f;
    config.epochs = 40;
    config.patience = 40;
    struct lstm_train_result result;
    struct lstm_net *net = open_net(sizes);
    ASSERT_EQ(lstm_train(net, &series, &config, &result, nullptr), STATUS_OK);
    EXPECT_LE(result.skip_loss, result.start_loss);
    EXPECT_LT(result.best_loss, 0.05 * result.skip_loss) << result.skip_loss;
    EXPECT_GT(result.best_epoch, 0u);
    EXPECT_GT(result.updates, 0u);
    lstm_net_close(net);
}

TEST(LstmTrain, TheSameTwiceAndNeverWorseThanItBegan)
{
    struct lstm_sizes sizes = {2, 6, 8, 2, {1, 10}};
    vector<float> share = wander(sizes, 200);
    struct lstm_series series = {share.data(), 200};
    struct lstm_train_config config = {};
    config.rate = 0.05f; /* far too fast for noise */
    struct lstm_train_result result[2];
    struct lstm_net *net[2] = {open_net(sizes), open_net(sizes)};
    for (int i = 0; i < 2; i++)
        ASSERT_EQ(lstm_train(net[i], &series, &config, &result[i], nullptr), STATUS_OK);
    EXPECT_EQ(std::memcmp(lstm_net_weights(net[0]), lstm_net_weights(net[1]),
                          net[0]->count * sizeof(float)), 0);
    EXPECT_LE(result[0].best_loss, result[0].skip_loss);
    EXPECT_LE(result[0].skip_loss, result[0].start_loss);
    EXPECT_EQ(result[0].updates, result[1].updates);
    for (size_t i = 0; i < net[0]->count; i++)
        ASSERT_TRUE(std::isfinite(lstm_net_weights(net[0])[i]));
    lstm_net_close(net[0]);
    lstm_net_close(net[1]);
}

TEST(LstmTrain, StopsAtItsBoundOfWork)
{
    struct lstm_sizes sizes = {2, 6, 8, 1, {1}};
    vector<float> share = cycle({2, 6, 8, 1, {1}}, 300);
    struct lstm_series series = {share.data(), 300};
    struct lstm_train_config config = {};
    struct lstm_train_result result;
    config.mul_adds_max = 1;
    struct lstm_net *net = open_net(sizes);
    ASSERT_EQ(lstm_train(net, &series, &config, &result, nullptr), STATUS_OK);
    EXPECT_EQ(result.epochs, 1u);
    lstm_net_close(net);
}

TEST(LstmTrain, RefusesASeriesTooShortForItsHorizon)
{
    struct lstm_sizes sizes = {1, 4, 4, 1, {50}};
    vector<float> share = wander(sizes, 60);
    struct lstm_series series = {share.data(), 60};
    struct lstm_train_config config = {};
    struct lstm_train_result result;
    struct error error = {};
    struct lstm_net *net = open_net(sizes);
    EXPECT_EQ(lstm_train(net, &series, &config, &result, &error), STATUS_INVALID);
    EXPECT_STREQ(error.text, "60 ticks are too few to train a forecast 50 ticks ahead");
    lstm_net_close(net);
}

} // namespace
