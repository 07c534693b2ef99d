#include "engine/replay/load_report.h"

#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/scratch.h"

namespace {

using std::string;
using std::vector;

const uint32_t LAYERS = 2, EXPERTS = 8, TOKENS = 4096;

/* Independent draws by these weights, all ticks alike (weights of a tick's half may be swapped). */
string draws(uint32_t ticks, uint32_t switch_at, uint64_t seed)
{
    const uint32_t weight[EXPERTS] = {16, 8, 6, 5, 4, 4, 3, 2}, sum = 48;
    scratch::Random random(seed);
    string text;
    for (uint32_t t = 0; t < ticks; t++)
        for (uint32_t layer = 0; layer < LAYERS; layer++) {
            uint32_t counts[EXPERTS] = {};
            for (uint32_t i = 0; i < TOKENS; i++) {
                uint32_t left = random.below(sum), e = 0;
                while (left >= weight[e])
                    left -= weight[e++];
                counts[t < switch_at ? e : EXPERTS - 1 - e]++;
            }
            text += "{\"tick\":" + std::to_string(10 + t) + ",\"phase\":\"decode\",\"layer\":" +
                    std::to_string(layer) + ",\"tokens\":4096,\"counts\":[";
            for (uint32_t e = 0; e < EXPERTS; e++)
                text += (e ? "," : "") + std::to_string(counts[e]);
            text += "]}\n";
        }
    return text;
}

struct load_log *parse(const string &text)
{
    struct load_log *log = nullptr;
    struct error error = {};
    EXPECT_EQ(load_log_parse(&log, "log", text.data(), text.size(), &error), STATUS_OK)
        << error.text;
    return log;
}

struct load_report_config small_config()
{
    struct load_report_config config = {};
    config.horizon_count = 3;
    config.horizons[0] = 1;
    config.horizons[1] = 10;
    config.horizons[2] = 200;
    config.window = 40;
    config.stride = 2;
    config.lstm_units = 8;
    return config;
}

struct load_report *run(const struct load_log *log, const struct load_report_config &config)
{
    struct load_report *report = nullptr;
    struct error error = {};
    EXPECT_EQ(load_report_run(log, &config, &report, &error), STATUS_OK) << error.text;
    return report;
}

const struct load_report_cell &cell(const struct load_report *report, enum load_report_part part,
                                    uint32_t horizon, enum load_report_predictor predictor)
{
    return *load_report_at(report, part, horizon, predictor, 0);
}

string print(const struct load_report *report, bool json)
{
    char *text = nullptr;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    EXPECT_EQ(load_report_print(report, json, out, nullptr), STATUS_OK);
    fclose(out);
    string printed(text, bytes);
    free(text);
    return printed;
}

/* Of loads that do not change, the last value, the window and EWMA err by exactly the floor; that
 * the formula is right shows in errors meeting it. */
TEST(LoadReport, SteadyLoadsErrByTheFloor)
{
    struct load_log *log = parse(draws(600, 600, 1));
    struct load_report *report = run(log, small_config());
    EXPECT_TRUE(report->layer[0].ever_stable);
    EXPECT_TRUE(report->layer[0].stable_at_end);
    EXPECT_LE(report->layer[0].stable_tick, 10u + 40 + 3) << "window + 3, ticks begin at 10";
    EXPECT_EQ(report->layer[1].changes, 1u);
    EXPECT_NEAR(report->layer[0].tokens, TOKENS, 1e-6);
    for (auto part : {LOAD_REPORT_STABLE, LOAD_REPORT_HELD_OUT})
        for (uint32_t h = 0; h < 2; h++)
            for (auto p : {LOAD_REPORT_LAST, LOAD_REPORT_WINDOW, LOAD_REPORT_EWMA}) {
                const struct load_report_cell &c = cell(report, part, h, p);
                EXPECT_GT(c.scored, 100u);
                EXPECT_EQ(c.skipped, 0u);
                EXPECT_NEAR(c.error / c.floor, 1, 0.06) << load_report_predictor_name(p);
            }
    /* A share of 1/24 at 4,096 tokens, ..., by hand: mean of sqrt((1 - p) / (p R)). */
    double mean = 0;
    for (double w : {16, 8, 6, 5, 4, 4, 3, 2})
        mean += std::sqrt((1 - w / 48) / (w / 48 * TOKENS)) / 8;
    EXPECT_NEAR(cell(report, LOAD_REPORT_STABLE, 0, LOAD_REPORT_LAST).floor,
                std::sqrt(2 / M_PI) * mean * std::sqrt(2.0), 0.01 * mean);
    EXPECT_NEAR(cell(report, LOAD_REPORT_STABLE, 0, LOAD_REPORT_LAST).floor /
                    cell(report, LOAD_REPORT_STABLE, 0, LOAD_REPORT_WINDOW).floor,
                std::sqrt(2 / (1 + 1.0 / 40)), 1e-9);
    ASSERT_TRUE(report->lstm_trained);
    ASSERT_NE(report->lstm_net, nullptr);
    EXPECT_EQ(report->lstm_net->sizes.units, 8u);
    const struct load_report_cell &lstm = cell(report, LOAD_REPORT_HELD_OUT, 0, LOAD_REPORT_LSTM);
    EXPECT_GT(lstm.scored, 0u);
    EXPECT_LT(lstm.error, 1.25 * lstm.floor);
    load_report_close(report);
    load_log_close(log);
}

/* The LSTM is never scored on ticks that it learned from, and asked only where it was trained. */
TEST(LoadReport, TheLstmIsJudgedOnTheRest)
{
    struct load_log *log = parse(draws(300, 300, 2));
    struct load_report_config config = small_config();
    config.train_share = 0.5;
    struct load_report *report = run(log, config);
    EXPECT_EQ(report->held_out_from, 150u);
    EXPECT_EQ(report->lstm_ticks, 150u);
    /* 1 ahead: ticks 150, 152, ..., 298; the others also those from the full window on. */
    for (auto part : {LOAD_REPORT_STABLE, LOAD_REPORT_HELD_OUT})
        EXPECT_EQ(cell(report, part, 0, LOAD_REPORT_LSTM).scored, 75u);
    EXPECT_EQ(cell(report, LOAD_REPORT_HELD_OUT, 0, LOAD_REPORT_WINDOW).scored, 75u);
    EXPECT_EQ(cell(report, LOAD_REPORT_STABLE, 0, LOAD_REPORT_WINDOW).scored, 130u);
    EXPECT_EQ(cell(report, LOAD_REPORT_HELD_OUT, 2, LOAD_REPORT_WINDOW).scored, 0u);
    EXPECT_EQ(cell(report, LOAD_REPORT_STABLE, 2, LOAD_REPORT_WINDOW).scored, 30u) << "40 to 98";
    EXPECT_EQ(cell(report, LOAD_REPORT_STABLE, 2, LOAD_REPORT_LSTM).scored, 0u)
        << "200 ahead cannot be learned from 150 ticks";
    load_report_close(report);

    struct load_log *other = parse(draws(400, 400, 3));
    config.train_log = other;
    report = run(log, config);
    EXPECT_TRUE(report->lstm_other_log);
    EXPECT_EQ(report->lstm_ticks, 400u);
    EXPECT_EQ(report->held_out_from, 0u);
    EXPECT_EQ(cell(report, LOAD_REPORT_HELD_OUT, 2, LOAD_REPORT_LSTM).scored, 30u);
    EXPECT_EQ(cell(report, LOAD_REPORT_HELD_OUT, 0, LOAD_REPORT_LSTM).scored, 130u);
    load_report_close(report);
    load_log_close(other);
    load_log_close(log);
}

TEST(LoadReport, ASwitchIsSeenAndCosts)
{
    struct load_log *log = parse(draws(400, 200, 4));
    struct load_report *report = run(log, small_config());
    EXPECT_GE(report->layer[0].changes, 3u) << "stable, transient, stable";
    EXPECT_TRUE(report->layer[0].stable_at_end);
    EXPECT_GT(cell(report, LOAD_REPORT_STABLE, 2, LOAD_REPORT_LAST).error,
              5 * cell(report, LOAD_REPORT_STABLE, 2, LOAD_REPORT_LAST).floor)
        << "200 ahead lies on the other side";
    load_report_close(report);
    load_log_close(log);
}

TEST(LoadReport, SkipsExpertsWithoutTokensAndCountsThem)
{
    string text;
    for (uint32_t t = 0; t < 60; t++)
        text += "{\"tick\":" + std::to_string(t) +
                ",\"phase\":\"p\",\"layer\":0,\"tokens\":30,\"counts\":[20,0,10]}\n";
    struct load_log *log = parse(text);
    struct load_report_config config = small_config();
    config.window = 4;
    config.top_k = 2; /* 2 p > 1 for the first: it has no sampling noise */
    config.stride = 1;
    struct load_report *report = run(log, config);
    const struct load_report_cell &c = cell(report, LOAD_REPORT_HELD_OUT, 0, LOAD_REPORT_LAST);
    EXPECT_EQ(c.scored, 23u);
    EXPECT_EQ(c.skipped, 23u);
    EXPECT_NEAR(c.error, 0, 1e-4);
    EXPECT_NEAR(c.floor, std::sqrt(2 / M_PI) * std::sqrt((1 - 2.0 / 3) / 10) / 2 * std::sqrt(2.0),
                1e-6);
    load_report_close(report);
    load_log_close(log);
}

TEST(LoadReport, RefusesWhatItCannotJudge)
{
    const string one = "{\"tick\":0,\"phase\":\"p\",\"layer\":0,\"tokens\":1,\"counts\":[1,0]}\n";
    struct load_log *log = parse(one), *other = parse(draws(20, 20, 5));
    struct load_report_config config = small_config();
    struct load_report *report;
    struct error error = {};
    EXPECT_EQ(load_report_run(log, &config, &report, &error), STATUS_INVALID);
    EXPECT_STREQ(error.text, "phase p has one tick; there is nothing to forecast");
    config.phase = "q";
    error = {};
    EXPECT_EQ(load_report_run(log, &config, &report, &error), STATUS_INVALID);
    EXPECT_STREQ(error.text, "the log has no phase q");
    config.phase = nullptr;
    config.horizons[2] = 10;
    error = {};
    EXPECT_EQ(load_report_run(other, &config, &report, &error), STATUS_INVALID);
    EXPECT_STREQ(error.text, "horizon 2 is 10; horizons must ascend from 1");
    config = small_config();
    config.train_log = log;
    error = {};
    EXPECT_EQ(load_report_run(other, &config, &report, &error), STATUS_INVALID);
    EXPECT_STREQ(error.text, "the log to train on has no phase decode");
    config.train_log = nullptr;
    config.window = 100;
    error = {};
    ASSERT_EQ(load_report_run(other, &config, &report, &error), STATUS_OK) << error.text;
    EXPECT_NE(print(report, false).find("never"), string::npos);
    EXPECT_EQ(cell(report, LOAD_REPORT_HELD_OUT, 0, LOAD_REPORT_LAST).scored, 0u)
        << "20 ticks never fill a window of 100";
    load_report_close(report);
    load_log_close(other);
    load_log_close(log);
}

TEST(LoadReport, Names)
{
    EXPECT_STREQ(load_report_predictor_name(LOAD_REPORT_LAST), "last");
    EXPECT_STREQ(load_report_predictor_name(LOAD_REPORT_LSTM), "lstm");
    EXPECT_STREQ(load_report_part_name(LOAD_REPORT_STABLE), "stable");
    EXPECT_STREQ(load_report_part_name(LOAD_REPORT_HELD_OUT), "held-out");
}

} // namespace
