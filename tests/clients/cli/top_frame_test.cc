#include "clients/cli/top_frame.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <sstream>
#include <string>
#include <vector>

namespace {

/* Figures of a server, owned. */
struct Stats {
    Moering__V1__GetStatsResponse m;
    Moering__V1__ExpertUsage experts;
    Moering__V1__TierStats device, host;
    Moering__V1__TierStats *tiers[2] = {&device, &host};
    Moering__V1__PrefetchStats prefetch;
    Moering__V1__ForesightStats foresight;
    Moering__V1__RegretStats regret;
    std::deque<Moering__V1__LayerLoadStats> loads;
    std::vector<Moering__V1__LayerLoadStats *> load_list;
    Moering__V1__LoadForecast forecast;
    Moering__V1__LoadForecast *forecasts[1] = {&forecast};

    Stats()
    {
        moering__v1__get_stats_response__init(&m);
        moering__v1__expert_usage__init(&experts);
        moering__v1__tier_stats__init(&device);
        moering__v1__tier_stats__init(&host);
        moering__v1__prefetch_stats__init(&prefetch);
        moering__v1__foresight_stats__init(&foresight);
        moering__v1__regret_stats__init(&regret);
        moering__v1__load_forecast__init(&forecast);
        device.name = (char *)"device";
        device.slots = 100;
        device.resident_pages = 50;
        device.resident_bytes = 3u << 20;
        host.name = (char *)"host";
        foresight.predictor = (char *)"transition";
        m.experts = &experts;
        m.n_tiers = 2;
        m.tiers = tiers;
        m.prefetch = &prefetch;
        m.foresight = &foresight;
        m.regret = &regret;
        m.kv_blocks = 10;
        m.kv_blocks_used = 10;
        m.prefix_queries = 8;
        m.prefix_hits = 3;
        m.uptime_s = 3725;
    }
    Stats(const Stats &) = delete;
    void Layer(uint32_t layer, const char *state)
    {
        loads.emplace_back();
        moering__v1__layer_load_stats__init(&loads.back());
        loads.back().layer = layer;
        loads.back().phase = (char *)"decode";
        loads.back().state = (char *)state;
        loads.back().cv = 0.125;
        loads.back().n_forecasts = 1;
        loads.back().forecasts = forecasts;
        load_list.push_back(&loads.back());
        m.n_loads = load_list.size();
        m.loads = load_list.data();
    }
};

class TopFrame : public testing::Test {
  protected:
    TopFrame()
    {
        moering__v1__get_model_response__init(&model_);
        model_.name = (char *)"tiny";
        model_.backend = (char *)"cpu avx2, 2 threads";
        model_.expert_pages = 128;
    }
    std::vector<std::string> Lines(const struct top_size &size = {200, 0, false},
                                   const char *trouble = nullptr)
    {
        const struct top_look look = {&model_, &now_.m, with_before_ ? &before_.m : nullptr, 2,
                                      trouble};
        char *text = top_frame(&look, &size);
        EXPECT_NE(nullptr, text);
        std::istringstream in(text ? text : "");
        free(text);
        std::vector<std::string> lines;
        for (std::string line; std::getline(in, line);)
            lines.push_back(line);
        return lines;
    }
    std::string Line(const std::string &beginning)
    {
        for (const std::string &line : Lines())
            if (line.compare(0, beginning.size(), beginning) == 0)
                return line;
        return "(none)";
    }
    Moering__V1__GetModelResponse model_;
    Stats now_, before_;
    bool with_before_ = true;
};

TEST_F(TopFrame, RatesAreDifferencesOverTheTime)
{
    before_.m.prompt_tokens = 100;
    now_.m.prompt_tokens = 110;
    before_.m.generation_tokens = 7;
    now_.m.generation_tokens = 8;
    before_.m.steps = 10;
    now_.m.steps = 14;
    before_.m.step_ms_total = 100;
    now_.m.step_ms_total = 130;
    EXPECT_EQ("per s     prompt tokens 5.0  output tokens 0.5  steps 2.0 of 7.50 ms",
              Line("per s"));
    with_before_ = false;
    EXPECT_EQ("per s     prompt tokens -  output tokens -  steps - of -", Line("per s"));
}

TEST_F(TopFrame, HitsOfTheLastMomentStandBesideAllAndTheBound)
{
    before_.experts.hits = 80;
    before_.experts.misses = 20;
    now_.experts.hits = 170;
    now_.experts.misses = 30;
    now_.experts.bytes = 4u << 20;
    now_.regret.windows = 1;
    now_.regret.oracle_hit_rate = 0.95;
    now_.m.stall_layer_ms = 0.25;
    now_.m.evictions = 3;
    EXPECT_EQ("experts   hits 90.0 % now, 85.0 % in all, at most 95.0 %  read 2.0 MiB/s  "
              "stall 0.25 ms a layer  evicted 3",
              Line("experts"));
}

TEST_F(TopFrame, ARestartedServerHasNoNegativeRates)
{
    before_.m.prompt_tokens = 1000;
    before_.experts.hits = 50;
    before_.m.steps = 9;
    EXPECT_EQ("per s     prompt tokens -  output tokens 0.0  steps - of -", Line("per s"));
    EXPECT_EQ(0u, Line("experts").find("experts   hits - now"));
}

TEST_F(TopFrame, TiersThatAreThereHaveBars)
{
    EXPECT_EQ("device    [############............] 50 of 100 pages, 3.0 MiB; the model has 128",
              Line("device"));
    EXPECT_EQ("(none)", Line("host"));
    EXPECT_EQ("KV cache  [########################] 10 of 10 blocks, prefix cache 37.5 %",
              Line("KV cache"));
}

TEST_F(TopFrame, LayersAreCutToTheWindowAndCounted)
{
    for (uint32_t i = 0; i < 30; i++)
        now_.Layer(i, i % 2 ? "transient" : "stable");
    auto all = Lines();
    EXPECT_EQ("   29 decode   transient      0   0.125   0.000   0.000  -", all.back());
    auto cut = Lines({80, 15, false});
    ASSERT_EQ(15u, cut.size());
    size_t first = all.size() - 30;
    EXPECT_EQ("... and " + std::to_string(30 - (14 - first)) + " more; a taller window shows them",
              cut.back());
    EXPECT_EQ(all.size(), Lines({80, (unsigned)all.size(), false}).size())
        << "exactly enough rows: none is cut";
    EXPECT_EQ(3u, Lines({80, 3, false}).size());
}

TEST_F(TopFrame, ForecastsThatWereScoredAreShown)
{
    now_.forecast.ticks = 1;
    now_.forecast.predictor = (char *)"ewma";
    now_.forecast.scored = 4;
    now_.forecast.error_ratio = 0.042;
    now_.Layer(3, "stable");
    EXPECT_EQ("    3 decode   stable         0   0.125   0.000   0.000  ewma off by 4.2 %",
              Lines().back());
}

TEST_F(TopFrame, LinesKeepToTheWidthWithoutHalfCharactersOrControls)
{
    std::string name = "\033[2J";
    for (int i = 0; i < 100; i++)
        name += "\xc3\xa9";
    model_.name = &name[0];
    for (const std::string &line : Lines({40, 0, false})) {
        size_t columns = (size_t)std::count_if(line.begin(), line.end(),
                                               [](char c) { return (c & 0xc0) != 0x80; });
        EXPECT_GE(40u, columns) << line;
        EXPECT_EQ(std::string::npos, line.find('\033'));
    }
    EXPECT_EQ('\xa9', Lines({40, 0, false})[0].back());
}

TEST_F(TopFrame, ColoursEndInTheirLine)
{
    now_.prefetch.active = true;
    for (const std::string &line : Lines({80, 0, true})) {
        size_t begins = 0;
        for (size_t at = 0; (at = line.find("\033[", at)) != std::string::npos; at++)
            begins++;
        EXPECT_TRUE(begins == 0 || begins == 2) << line;
        EXPECT_TRUE(begins == 0 || line.substr(line.size() - 4) == "\033[0m") << line;
    }
}

TEST_F(TopFrame, TroubleIsTold)
{
    EXPECT_EQ("UNAVAILABLE: gone", Lines({80, 0, false}, "UNAVAILABLE: gone")[1]);
}

TEST_F(TopFrame, AServerThatLoadsHasFewerLines)
{
    now_.m.experts = nullptr;
    now_.m.n_tiers = 0;
    now_.m.prefetch = nullptr;
    now_.m.foresight = nullptr;
    now_.m.regret = nullptr;
    now_.m.kv_blocks = 0;
    EXPECT_EQ(4u, Lines().size());
    EXPECT_EQ("tiny  cpu avx2, 2 threads  up 1:02:05", Lines()[0]);
}

} // namespace
