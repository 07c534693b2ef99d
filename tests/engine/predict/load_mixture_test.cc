#include "engine/predict/load_mixture.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>

#include "engine/predict/arima.h"
#include "engine/predict/ewma.h"
#include "engine/predict/window.h"
#include "tests/engine/predict/toy_loads.h"

namespace {

// Says what the test puts into it.
struct Oracle {
    struct predictor base = {&ops};
    bool speaks = true;
    toy::Share answer;
    int ticks = 0, asked = 0;
    bool closed = false;

    static Oracle *of(struct predictor *p) { return reinterpret_cast<Oracle *>(p); }
    static void tick(struct predictor *p, uint32_t, const float *) { of(p)->ticks++; }
    static bool loads(struct predictor *p, uint32_t, uint32_t, float *share)
    {
        Oracle *o = of(p);
        o->asked++;
        for (size_t e = 0; e < o->answer.size(); e++)
            share[e] = o->answer[e];
        return o->speaks;
    }
    static void close(struct predictor *p) { of(p)->closed = true; }
    static const struct predictor_ops ops;
};
const struct predictor_ops Oracle::ops = {"oracle", tick, loads, nullptr, nullptr, close};

class Mixture : public testing::Test {
protected:
    ~Mixture() override { predictor_close(m_); }
    void open(uint32_t count, uint32_t fallback)
    {
        struct predictor *all[] = {&o_[0].base, &o_[1].base, &o_[2].base};
        const struct load_mixture_config config = {2, 4, all, count, fallback};
        ASSERT_EQ(load_mixture_open(&m_, &config, nullptr), STATUS_OK);
        for (Oracle &o : o_)
            o.answer = even_;
    }
    void ticks(int n, const toy::Share &share)
    {
        for (int t = 0; t < n; t++)
            toy::tick(m_, 0, share);
    }
    uint32_t choice(uint32_t h = 0) { return load_mixture_choice(m_, 0, h, nullptr); }
    struct load_mixture_figures figures(uint32_t which, uint32_t h = 0)
    {
        struct load_mixture_figures f;
        load_mixture_score(m_, 0, h, which, &f);
        return f;
    }
    const toy::Share even_ = {.25f, .25f, .25f, .25f}, uneven_ = {.4f, .4f, .2f, 0};
    Oracle o_[3];
    struct predictor *m_ = nullptr;
};

TEST(LoadErrorRatio, TheExampleOfItsSource)
{
    const float predicted[] = {.5f, .3f, .2f}, actual[] = {.4f, .4f, .2f};
    uint32_t skipped = 9;
    EXPECT_NEAR(load_error_ratio(predicted, actual, 3, &skipped), 0.166667, 1e-6);
    EXPECT_EQ(skipped, 0u);
    const float unused[] = {.5f, 0, .5f}, none[] = {0, 0, 0};
    EXPECT_NEAR(load_error_ratio(predicted, unused, 3, &skipped), (0 + .6) / 2, 1e-6);
    EXPECT_EQ(skipped, 1u);
    EXPECT_EQ(load_error_ratio(predicted, none, 3, &skipped), 0.0f);
    EXPECT_EQ(skipped, 3u);
}

TEST_F(Mixture, ScoresWhenTheHorizonArrives)
{
    open(1, 0);
    EXPECT_EQ(load_mixture_horizon(0), 1u);
    EXPECT_EQ(load_mixture_horizon(1), 10u);
    EXPECT_EQ(load_mixture_horizon(2), 100u);
    const toy::Share good = {.4f, .4f, .1f, .1f}, bad = {.1f, .1f, .4f, .4f};
    for (int t = 1; t <= 220; t++) {
        o_[0].answer = t == 100 ? bad : good; // a forecast made at tick 100 is wrong
        toy::tick(m_, 0, good);
        if (t == 1 || t == 100) {
            EXPECT_NEAR(figures(0).error, 0, 1e-3) << t;
        }
        if (t == 101) {
            EXPECT_GT(figures(0, 0).error, 0.01);
            EXPECT_NEAR(figures(0, 1).error, 0, 1e-3);
        }
        if (t == 110) {
            EXPECT_GT(figures(0, 1).error, 0.01);
        }
        if (t == 199) {
            EXPECT_NEAR(figures(0, 2).error, 0, 1e-3);
        }
        if (t == 200) {
            EXPECT_GT(figures(0, 2).error, 0.01);
        }
    }
    // Forecasts at 1 .. 219, at 2, 4 .. 210 and at 10, 20 .. 120 have met their truth.
    EXPECT_EQ(figures(0, 0).scored, 219u);
    EXPECT_EQ(figures(0, 1).scored, 105u);
    EXPECT_EQ(figures(0, 2).scored, 12u);
    EXPECT_EQ(o_[0].ticks, 220);
    EXPECT_STREQ(figures(0).name, "oracle");
}

TEST_F(Mixture, ChangesOnlyForTenPercentAtThreeTicks)
{
    open(2, 0);
    o_[1].answer = uneven_; // what comes
    ticks(LOAD_MIXTURE_SCORES_MIN, uneven_);
    EXPECT_EQ(figures(1).scored, LOAD_MIXTURE_SCORES_MIN - 1u);
    ticks(2, uneven_);
    EXPECT_EQ(choice(), 0u) << "two ticks better is not three";
    ticks(1, uneven_);
    EXPECT_EQ(choice(), 1u);
    toy::Share share(4);
    ASSERT_TRUE(m_->ops->loads(m_, 0, 1, share.data()));
    EXPECT_NEAR(share[0], .4f, 1e-5);
    EXPECT_EQ(choice(2), 0u) << "no forecast for 100 ticks has been scored";
    EXPECT_EQ(load_mixture_choice(m_, 1, 0, nullptr), 0u) << "layers are apart";
}

TEST_F(Mixture, ALittleBetterIsNotEnough)
{
    open(2, 0);
    const toy::Share actual = {.5f, .5f, 0, 0};
    o_[0].answer = {.40f, .40f, .1f, .1f};    // error 0.2
    o_[1].answer = {.408f, .408f, .092f, .092f}; // error 0.184: 8 % better
    ticks(100, actual);
    EXPECT_NEAR(figures(0).error, 0.2, 1e-3);
    EXPECT_NEAR(figures(1).error, 0.184, 1e-3);
    EXPECT_EQ(choice(), 0u);
    o_[1].answer = {.42f, .42f, .08f, .08f}; // 0.16
    ticks(100, actual);
    EXPECT_EQ(choice(), 1u);
    uint32_t changes = 0;
    load_mixture_choice(m_, 0, 0, &changes);
    EXPECT_EQ(changes, 1u);
}

TEST_F(Mixture, TiesGoToTheCheaper)
{
    open(3, 0);
    o_[1].answer = o_[2].answer = uneven_;
    ticks(50, uneven_);
    EXPECT_EQ(figures(1).error, figures(2).error);
    EXPECT_EQ(choice(), 1u);
}

TEST_F(Mixture, SilenceAndNonsenseArePassedOver)
{
    open(3, 1);
    toy::Share share(4);
    for (Oracle &o : o_)
        o.speaks = false;
    EXPECT_FALSE(m_->ops->loads(m_, 0, 1, share.data())) << "nobody can say";
    o_[2].speaks = true;
    ASSERT_TRUE(m_->ops->loads(m_, 0, 1, share.data()));
    toy::expect_shares(share);
    o_[0].speaks = true;
    for (const toy::Share &nonsense :
         {toy::Share{NAN, 0, 0, 1}, {0, 0, 0, 0}, {INFINITY, 0, 0, 0}}) {
        o_[0].answer = nonsense;
        ticks(40, uneven_);
        EXPECT_EQ(figures(0).scored, 0u);
        ASSERT_TRUE(m_->ops->loads(m_, 0, 1, share.data()));
        EXPECT_EQ(share, even_);
    }
    EXPECT_EQ(choice(), 2u) << "the fallback never spoke; the one that does is believed";
    o_[2].speaks = false;
    EXPECT_FALSE(m_->ops->loads(m_, 0, 1, share.data()));
}

TEST_F(Mixture, OtherHorizonsAskTheNearestInRatio)
{
    open(2, 0);
    o_[1].answer = uneven_;
    ticks(60, uneven_); // 1 and 10 have been scored often enough, 100 has not
    ASSERT_EQ(choice(0), 1u);
    ASSERT_EQ(choice(1), 1u);
    ASSERT_EQ(choice(2), 0u);
    toy::Share share(4);
    for (uint32_t horizon : {1u, 3u, 4u, 31u}) {
        ASSERT_TRUE(m_->ops->loads(m_, 0, horizon, share.data()));
        EXPECT_NEAR(share[0], .4f, 1e-5) << horizon;
    }
    for (uint32_t horizon : {32u, 100u, 2000u}) {
        ASSERT_TRUE(m_->ops->loads(m_, 0, horizon, share.data()));
        EXPECT_NEAR(share[0], .25f, 1e-5) << horizon;
    }
}

TEST_F(Mixture, UnusedExpertsAreSkippedAndCounted)
{
    open(2, 0);
    ticks(13, uneven_);
    // 12 ticks scored at horizon 1, tick 12 at horizon 10; one expert of four has no load.
    EXPECT_EQ(load_mixture_skipped(m_, 0), 13u);
    EXPECT_EQ(load_mixture_skipped(m_, 1), 0u);
}

TEST_F(Mixture, PredictorsAreBorrowed)
{
    open(3, 0);
    EXPECT_EQ(load_mixture_count(m_), 3u);
    predictor_close(m_);
    m_ = nullptr;
    for (const Oracle &o : o_)
        EXPECT_FALSE(o.closed);
}

// Traces on which one or the other predictor is best.
using Trace = std::function<std::vector<double>(int tick)>;

std::vector<double> bumps(double phase, size_t experts)
{
    std::vector<double> p(experts);
    double sum = 0;
    for (size_t e = 0; e < experts; e++)
        sum += p[e] = 1 + 0.6 * std::sin(2 * M_PI * (static_cast<double>(e) /
                                                     static_cast<double>(experts) + phase));
    for (double &x : p)
        x /= sum;
    return p;
}

struct OnTrace {
    double best[LOAD_MIXTURE_HORIZONS], online[LOAD_MIXTURE_HORIZONS];
    double window[LOAD_MIXTURE_HORIZONS];
};

// Mean error ratios over the last ticks of a trace, of the mixture and of each predictor alone.
OnTrace judge(const Trace &trace, size_t experts, uint32_t routed)
{
    const int ticks = 900, from = 500;
    const uint32_t n = static_cast<uint32_t>(experts);
    struct predictor *p[4] = {};
    const struct ewma_config ewma = {1, n, 0};
    const struct window_config window = {1, n, 0};
    const struct arima_config arima = {1, n, {}, 0, 0, 0};
    EXPECT_EQ(ewma_open(&p[0], &ewma, nullptr), STATUS_OK);
    EXPECT_EQ(window_open(&p[1], &window, nullptr), STATUS_OK);
    EXPECT_EQ(arima_open(&p[2], &arima, nullptr), STATUS_OK);
    const struct load_mixture_config config = {1, n, p, 3, 1};
    EXPECT_EQ(load_mixture_open(&p[3], &config, nullptr), STATUS_OK);

    toy::Loads random(31);
    std::vector<toy::Share> actual;
    for (int t = 0; t < ticks; t++)
        actual.push_back(random.tick(trace(t), routed));
    double sum[4][LOAD_MIXTURE_HORIZONS] = {};
    for (int t = 0; t < ticks; t++) {
        toy::tick(p[3], 0, actual[static_cast<size_t>(t)]);
        for (uint32_t h = 0; h < LOAD_MIXTURE_HORIZONS; h++) {
            size_t then = static_cast<size_t>(t) + load_mixture_horizon(h);
            if (t < from || then >= actual.size())
                continue;
            for (int which = 0; which < 4; which++) {
                toy::Share share = toy::loads(p[which], 0, load_mixture_horizon(h), experts);
                uint32_t skipped;
                sum[which][h] +=
                    load_error_ratio(share.data(), actual[then].data(), n, &skipped);
            }
        }
    }
    OnTrace result;
    for (uint32_t h = 0; h < LOAD_MIXTURE_HORIZONS; h++) {
        result.best[h] = std::min({sum[0][h], sum[1][h], sum[2][h]});
        result.window[h] = sum[1][h];
        result.online[h] = sum[3][h];
    }
    for (int i = 3; i >= 0; i--)
        predictor_close(p[i]);
    return result;
}

TEST(MixtureOnTraces, EndsWithinTenPercentOfTheBest)
{
    struct {
        const char *name;
        bool window_loses; // one tick ahead
        Trace trace;
    } traces[] = {
        {"stationary", false, [](int) { return bumps(0, 16); }},
        {"drifting", true, [](int t) { return bumps(t / 700.0, 16); }},
        {"periodic", true, [](int t) { return bumps(0.15 * std::sin(2 * M_PI * t / 60), 16); }},
        {"fast", true, [](int t) { return bumps(t / 12.0, 16); }},
    };
    for (const auto &t : traces) {
        OnTrace got = judge(t.trace, 16, 8192);
        for (uint32_t h = 0; h < LOAD_MIXTURE_HORIZONS; h++)
            EXPECT_LE(got.online[h], 1.1 * got.best[h])
                << t.name << " at horizon " << load_mixture_horizon(h);
        if (t.window_loses) {
            EXPECT_GT(got.window[0], 1.2 * got.best[0]) << t.name;
        } else {
            EXPECT_LE(got.online[0], 1.02 * got.window[0]) << t.name;
        }
    }
}

} // namespace
