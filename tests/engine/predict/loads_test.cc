#include "engine/predict/loads.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/engine/predict/toy_loads.h"

namespace {

class LoadsTest : public testing::Test {
protected:
    ~LoadsTest() override { loads_close(l_); }
    void open(uint32_t layers, uint32_t experts, uint32_t prefill = 0, uint32_t decode = 0,
              uint32_t window = 0)
    {
        struct loads_config config = {};
        config.layers = layers, config.experts = experts, config.window = window;
        config.tick_tokens[LOAD_PREFILL] = prefill;
        config.tick_tokens[LOAD_DECODE] = decode;
        ASSERT_EQ(loads_open(&l_, &config, nullptr), STATUS_OK);
        experts_ = experts;
    }
    bool observe(uint32_t layer, bool prefill, const std::vector<uint32_t> &experts,
                 const std::vector<uint32_t> &tokens)
    {
        struct layer_run run = {};
        run.layer = layer;
        run.rows = std::accumulate(tokens.begin(), tokens.end(), 0u);
        run.count = static_cast<uint32_t>(experts.size());
        run.experts = experts.data();
        run.tokens = tokens.data();
        run.prefill = prefill;
        return loads_observe(l_, &run);
    }
    // A run of counts, leaving out the experts without tokens as the router does.
    bool observe(uint32_t layer, bool prefill, const std::vector<uint32_t> &counts)
    {
        std::vector<uint32_t> experts, tokens;
        for (uint32_t e = 0; e < counts.size(); e++)
            if (counts[e] > 0) {
                experts.push_back(e);
                tokens.push_back(counts[e]);
            }
        return observe(layer, prefill, experts, tokens);
    }
    toy::Share forecast(enum load_phase phase, uint32_t layer, uint32_t horizon = 1)
    {
        toy::Share share(experts_);
        if (!loads_forecast(l_, phase, layer, horizon, share.data()))
            return {};
        toy::expect_shares(share);
        return share;
    }
    struct loads *l_ = nullptr;
    uint32_t experts_ = 0;
};

TEST_F(LoadsTest, ATickClosesWhenItsTokensAreRouted)
{
    open(2, 4);
    for (int i = 1; i < LOADS_DECODE_TICK_TOKENS / 4; i++)
        ASSERT_FALSE(observe(0, false, {0, 1, 2}, {1, 2, 1})) << i;
    EXPECT_TRUE(forecast(LOAD_DECODE, 0).empty()) << "nothing is known yet";
    EXPECT_TRUE(observe(0, false, {0, 1, 2}, {1, 2, 1}));
    EXPECT_FALSE(observe(0, false, {3}, {4})) << "a new tick begins at nothing";
    toy::Share share = forecast(LOAD_DECODE, 0);
    ASSERT_EQ(share.size(), 4u);
    EXPECT_NEAR(share[0], .25, 1e-4);
    EXPECT_NEAR(share[1], .5, 1e-4);
    EXPECT_EQ(share[3], 0.0f);
    EXPECT_TRUE(observe(0, true, {3}, {LOADS_PREFILL_TICK_TOKENS * 3})) << "one, however long";
    EXPECT_EQ(loads_ticks(l_, LOAD_DECODE), 1u);
    EXPECT_EQ(loads_ticks(l_, LOAD_PREFILL), 1u);
}

TEST_F(LoadsTest, WideModelsHaveLongerTicks)
{
    open(1, 512);
    EXPECT_FALSE(observe(0, false, {7}, {8 * 512 - 1}));
    EXPECT_TRUE(observe(0, false, {7}, {1}));
    EXPECT_FALSE(observe(0, true, {7}, {8 * 512 - 1}));
    EXPECT_TRUE(observe(0, true, {7}, {1}));
}

TEST_F(LoadsTest, PhasesAndLayersAreApart)
{
    open(2, 4, 100, 50);
    EXPECT_TRUE(observe(1, true, {0, 1}, {75, 75}));
    EXPECT_FALSE(observe(1, false, {2}, {74}));
    EXPECT_TRUE(observe(1, false, {2}, {1}));
    EXPECT_NEAR(forecast(LOAD_PREFILL, 1)[0], .5, 1e-4);
    EXPECT_NEAR(forecast(LOAD_DECODE, 1)[2], 1, 1e-4);
    EXPECT_TRUE(forecast(LOAD_PREFILL, 0).empty());
    EXPECT_TRUE(forecast(LOAD_DECODE, 0).empty());
}

// Whatever the phase: no two layers close in one step, each is a quarter of a tick behind the one
// before it, and all of them tick equally often from then on.
TEST_F(LoadsTest, TicksOfLayersAreSpreadOverThePeriod)
{
    const uint32_t layers = 4, tick = 40;
    open(layers, 4, tick, tick);
    for (bool prefill : {true, false}) {
        std::vector<std::vector<int>> closed(layers);
        for (int step = 1; step <= 8 * 10; step++)
            for (uint32_t l = 0; l < layers; l++)
                if (observe(l, prefill, {l}, {4}))
                    closed[l].push_back(step);
        for (uint32_t l = 0; l < layers; l++) {
            std::vector<int> expected; // ten runs to a tick, the first longer by l / 4
            for (int step = 10 + static_cast<int>((10 * l + 3) / 4); step <= 80; step += 10)
                expected.push_back(step);
            EXPECT_EQ(closed[l], expected) << l;
        }
    }
}

TEST_F(LoadsTest, AStationaryLayerTurnsStableAndItsForecastsMeetTheFloor)
{
    const uint32_t experts = 32, routed = 4096;
    open(1, experts);
    toy::Loads random(41);
    std::vector<double> p = random.dirichlet(experts, 6);
    struct state_figures state;
    for (int t = 1; t <= 350; t++) {
        std::vector<uint32_t> half = random.counts(p, routed / 2);
        ASSERT_FALSE(observe(0, true, half));
        std::vector<uint32_t> rest = random.counts(p, routed - routed / 2);
        ASSERT_TRUE(observe(0, true, rest));
        loads_state(l_, LOAD_PREFILL, 0, &state);
        if (t >= 103) {
            ASSERT_TRUE(state.stable) << t;
        }
        for (uint32_t horizon : {1u, 10u, 100u, 2000u})
            ASSERT_EQ(forecast(LOAD_PREFILL, 0, horizon).size(), experts);
    }
    EXPECT_EQ(state.ticks, 350u);
    const struct predictor *mixture = loads_mixture(l_, LOAD_PREFILL);
    EXPECT_EQ(load_mixture_count(mixture), 3u);
    double floor = toy::sampling_floor(p, routed, 100);
    for (uint32_t h = 0; h < LOAD_MIXTURE_HORIZONS; h++) {
        struct load_mixture_figures window;
        load_mixture_score(mixture, 0, h, 1, &window);
        EXPECT_STREQ(window.name, "window");
        EXPECT_LT(window.error, 1.2 * floor) << h;
        EXPECT_EQ(load_mixture_choice(mixture, 0, h, nullptr), 1u);
    }
    loads_state(l_, LOAD_DECODE, 0, &state);
    EXPECT_EQ(state.ticks, 0u);
}

TEST_F(LoadsTest, ARegimeSwitchIsSeenAndSettles)
{
    const uint32_t experts = 32;
    open(1, experts, 4096, 1024, 40);
    toy::Loads random(43);
    std::vector<double> p = random.dirichlet(experts, 1);
    struct state_figures state;
    for (int t = 0; t < 80; t++)
        observe(0, false, random.counts(p, 1024));
    loads_state(l_, LOAD_DECODE, 0, &state);
    ASSERT_TRUE(state.stable);
    std::rotate(p.begin(), p.begin() + 13, p.end());
    for (int t = 0; t < 2; t++)
        observe(0, false, random.counts(p, 1024));
    loads_state(l_, LOAD_DECODE, 0, &state);
    EXPECT_FALSE(state.stable);
    for (int t = 2; t < 43; t++)
        observe(0, false, random.counts(p, 1024));
    loads_state(l_, LOAD_DECODE, 0, &state);
    EXPECT_TRUE(state.stable);
}

// A stand-in for the LSTM: says what it is told, for every horizon.
struct Fixed {
    struct predictor base;
    toy::Share answer;
    int ticks;
};
void fixed_tick(struct predictor *p, uint32_t, const float *)
{
    reinterpret_cast<Fixed *>(p)->ticks++;
}
bool fixed_loads(struct predictor *p, uint32_t, uint32_t, float *share)
{
    const toy::Share &answer = reinterpret_cast<Fixed *>(p)->answer;
    std::copy(answer.begin(), answer.end(), share);
    return true;
}
void fixed_close(struct predictor *) { FAIL() << "a borrowed predictor was closed"; }

TEST_F(LoadsTest, AnLstmTakesPartInItsPhase)
{
    const struct predictor_ops ops = {"lstm", fixed_tick, fixed_loads, nullptr, nullptr,
                                      fixed_close};
    Fixed lstm = {{&ops}, {1, 0, 0}, 0};
    struct loads_config config = {};
    config.layers = 1, config.experts = 3;
    config.tick_tokens[LOAD_DECODE] = 10;
    config.lstm[LOAD_DECODE] = &lstm.base;
    ASSERT_EQ(loads_open(&l_, &config, nullptr), STATUS_OK);
    experts_ = 3;
    EXPECT_EQ(load_mixture_count(loads_mixture(l_, LOAD_DECODE)), 4u);
    EXPECT_EQ(load_mixture_count(loads_mixture(l_, LOAD_PREFILL)), 3u);
    // Loads that alternate: the window says halves, this one knows.
    for (uint32_t t = 0; t < 40; t++) {
        lstm.answer = t % 2 ? toy::Share{1, 0, 0} : toy::Share{0, 0, 1};
        ASSERT_TRUE(observe(0, false, {t % 2 ? 2u : 0u}, {10}));
    }
    EXPECT_EQ(lstm.ticks, 40);
    EXPECT_EQ(load_mixture_choice(loads_mixture(l_, LOAD_DECODE), 0, 0, nullptr), 3u);
    EXPECT_EQ(forecast(LOAD_DECODE, 0), (toy::Share{1, 0, 0}));
}

TEST(LoadsOpen, SaysWhatIsWrong)
{
    struct loads *l = nullptr;
    struct error error = {};
    struct loads_config config = {};
    config.layers = 2, config.experts = 8, config.top_k = 9;
    EXPECT_EQ(loads_open(&l, &config, &error), STATUS_INVALID);
    EXPECT_STREQ(error.text, "state: top_k = 9, more than experts = 8");
    error = {};
    config.top_k = 0, config.window = 5000;
    EXPECT_EQ(loads_open(&l, &config, &error), STATUS_INVALID);
    EXPECT_STREQ(error.text, "window: window = 5000 ticks, at most 4096");
    config.window = 0, config.experts = 0;
    EXPECT_EQ(loads_open(&l, &config, nullptr), STATUS_INVALID);
    EXPECT_EQ(l, nullptr);
    loads_close(nullptr);
}

TEST(LoadsOpen, TheLargestModelFitsIn64MiB)
{
    struct loads *l = nullptr;
    Fixed lstm = {};
    struct loads_config config = {};
    config.layers = 60, config.experts = 512;
    config.lstm[LOAD_PREFILL] = config.lstm[LOAD_DECODE] = &lstm.base;
    ASSERT_EQ(loads_open(&l, &config, nullptr), STATUS_OK);
    double mib = static_cast<double>(loads_bytes(l)) / (1 << 20);
    EXPECT_LT(mib, 64);
    EXPECT_NEAR(mib, 55.2, 0.5) << "the header says so";
    loads_close(l);
}

} // namespace
