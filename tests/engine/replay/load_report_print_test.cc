#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <jansson.h>

#include "engine/replay/load_report.h"

namespace {

using std::string;

/* A report made by hand: two layers, one of them never stable, one horizon never scored. */
class LoadReportPrint : public testing::Test {
protected:
    void SetUp() override
    {
        std::strcpy(report.phase, "decode");
        report.layers = 2;
        report.experts = 8;
        report.ticks = 300;
        report.window = 100;
        report.stride = 5;
        report.horizon_count = 2;
        report.horizons[0] = 1;
        report.horizons[1] = 1000;
        report.layer = layers;
        report.cells = cells;
        report.held_out_from = 180;
        layers[0] = {true, false, 123, 2, 4096};
        layers[1].tokens = 8;
        at(LOAD_REPORT_HELD_OUT, 0, LOAD_REPORT_WINDOW, 0) = {0.125, 0.0625, 24, 3};
        at(LOAD_REPORT_HELD_OUT, 0, LOAD_REPORT_WINDOW, 1) = {0.375, 0.25, 20, 4};
    }
    struct load_report_cell &at(enum load_report_part part, uint32_t horizon,
                                enum load_report_predictor predictor, uint32_t layer)
    {
        return const_cast<struct load_report_cell &>(
            *load_report_at(&report, part, horizon, predictor, layer));
    }
    string print(bool json)
    {
        char *text = nullptr;
        size_t bytes = 0;
        FILE *out = open_memstream(&text, &bytes);
        EXPECT_EQ(load_report_print(&report, json, out, nullptr), STATUS_OK);
        fclose(out);
        string printed(text, bytes);
        free(text);
        return printed;
    }
    struct load_report report = {};
    struct load_report_layer layers[2] = {};
    struct load_report_cell cells[LOAD_REPORT_PARTS * 2 * LOAD_REPORT_PREDICTORS * 2] = {};
};

TEST_F(LoadReportPrint, TextHasErrorsBesideFloors)
{
    string text = print(false);
    EXPECT_NE(text.find("phase decode, 300 ticks, 2 layers x 8 experts, window 100"), string::npos)
        << text;
    EXPECT_NE(text.find("floors: independent draws"), string::npos);
    EXPECT_NE(text.find("lstm: not trained"), string::npos);
    EXPECT_NE(text.find("0                  123         2 transient            4096"),
              string::npos) << text;
    EXPECT_NE(text.find("1                never         0 transient               8"),
              string::npos) << text;
    EXPECT_NE(text.find("       1  window    12.50/6.25   37.50/25.00  25.00/15.62       44        "
                        "7"), string::npos) << text;
    report.top_k = 4;
    report.lstm_trained = true;
    report.lstm_ticks = 180;
    report.lstm_units = 64;
    text = print(false);
    EXPECT_NE(text.find("floors: 4 experts a token"), string::npos);
    EXPECT_NE(text.find("lstm: 64 units, trained on the first 180 ticks"), string::npos);
}

TEST_F(LoadReportPrint, ManyLayersAreBestWorstAndMean)
{
    std::vector<struct load_report_layer> many(9);
    std::vector<struct load_report_cell> wide(LOAD_REPORT_PARTS * 2 * LOAD_REPORT_PREDICTORS * 9);
    report.layers = 9;
    report.layer = many.data();
    report.cells = wide.data();
    at(LOAD_REPORT_STABLE, 1, LOAD_REPORT_EWMA, 3) = {0.25, 0.125, 1, 0};
    at(LOAD_REPORT_STABLE, 1, LOAD_REPORT_EWMA, 7) = {0.5, 0.0625, 2, 0};
    at(LOAD_REPORT_STABLE, 1, LOAD_REPORT_EWMA, 8) = {0.375, 0.0625, 3, 5};
    string text = print(false);
    EXPECT_NE(text.find("    1000  ewma      25.00/12.50  50.00/6.25   37.50/8.33         6"
                        "        5\n"),
              string::npos) << text;
    EXPECT_NE(text.find("    1000  last          -            -            -              0"
                        "        0\n"),
              string::npos) << text;
}

TEST_F(LoadReportPrint, JsonHasTheSame)
{
    json_error_t error;
    string text = print(true);
    EXPECT_EQ(text.back(), '\n');
    json_t *root = json_loads(text.c_str(), 0, &error);
    ASSERT_NE(root, nullptr) << error.text;
    const char *phase = "", *part = "", *predictor = "";
    json_int_t horizon = 0, scored = 0, skipped = 0;
    double value = 0, floor = 0;
    json_t *states, *cells_list, *lstm;
    ASSERT_EQ(json_unpack(root, "{s:s, s:o, s:o, s:o}", "phase", &phase, "states", &states, "cells",
                          &cells_list, "lstm", &lstm), 0);
    EXPECT_STREQ(phase, "decode");
    EXPECT_TRUE(json_is_null(lstm));
    ASSERT_EQ(json_array_size(states), 2u);
    EXPECT_EQ(json_integer_value(json_object_get(json_array_get(states, 0), "stable_tick")), 123);
    EXPECT_TRUE(json_is_null(json_object_get(json_array_get(states, 1), "stable_tick")));
    ASSERT_EQ(json_array_size(cells_list), 2u) << "cells that nothing was scored in are left out";
    ASSERT_EQ(json_unpack(json_array_get(cells_list, 1), "{s:s, s:I, s:s, s:f, s:f, s:I, s:I}",
                          "part", &part, "horizon", &horizon, "predictor", &predictor, "error",
                          &value, "floor", &floor, "scored", &scored, "skipped", &skipped), 0);
    EXPECT_STREQ(part, "held-out");
    EXPECT_STREQ(predictor, "window");
    EXPECT_EQ(horizon, 1);
    EXPECT_DOUBLE_EQ(value, 0.375);
    EXPECT_DOUBLE_EQ(floor, 0.25);
    EXPECT_EQ(scored, 20);
    EXPECT_EQ(skipped, 4);
    json_decref(root);
    report.lstm_trained = true;
    report.lstm_units = 64;
    root = json_loads(print(true).c_str(), 0, &error);
    ASSERT_NE(root, nullptr) << error.text;
    EXPECT_EQ(json_integer_value(json_object_get(json_object_get(root, "lstm"), "units")), 64);
    json_decref(root);
}

TEST_F(LoadReportPrint, AFullDiskIsAnError)
{
    FILE *full = std::fopen("/dev/full", "w");
    ASSERT_NE(full, nullptr);
    std::setvbuf(full, nullptr, _IONBF, 0);
    struct error error = {};
    for (bool json : {false, true}) {
        error = {};
        EXPECT_EQ(load_report_print(&report, json, full, &error), STATUS_IO);
        EXPECT_STREQ(error.text, "the report cannot be written");
        clearerr(full);
    }
    std::fclose(full);
}

} // namespace
