#include "server/metrics/metrics_text.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <string>

namespace {

struct Text : testing::Test {
    ~Text() override { metrics_text_close(&t); }
    std::string get() { return {t.out.data, t.out.bytes}; }
    struct metrics_text t = {};
};

std::string Format(double value)
{
    char out[METRICS_NUMBER_BYTES];
    metrics_text_format(out, value);
    return out;
}

TEST(metrics_text, numbers_read_back_and_are_short)
{
    EXPECT_EQ("0", Format(0));
    EXPECT_EQ("-3", Format(-3));
    EXPECT_EQ("0.1", Format(0.1));
    EXPECT_EQ("0.30000000000000004", Format(0.1 + 0.2));
    EXPECT_EQ("1e-09", Format(1e-9));
    EXPECT_EQ("123456789012345", Format(123456789012345));
    EXPECT_EQ("NaN", Format(NAN));
    EXPECT_EQ("+Inf", Format(INFINITY));
    EXPECT_EQ("-Inf", Format(-INFINITY));
    for (double v :
         {M_PI, 1.0 / 3, 1e300, 5e-324, std::numeric_limits<double>::max(), 1e15, 0.1 + 0.7})
        EXPECT_EQ(v, strtod(Format(v).c_str(), nullptr)) << Format(v);
}

TEST_F(Text, the_two_formats)
{
    const struct metrics_label labels[] = {{"a", "x"}, {"b", "y"}};
    for (bool openmetrics : {false, true}) {
        metrics_text_begin(&t, openmetrics);
        metrics_text_family(&t, "bytes_total", METRICS_COUNTER, "A \"count\"\\\nof");
        metrics_text_count(&t, labels, 2, UINT64_MAX);
        metrics_text_family(&t, "ratio", METRICS_GAUGE, "Share");
        metrics_text_number(&t, nullptr, 0, 0.25);
        metrics_text_end(&t);
        EXPECT_EQ(openmetrics ? "# HELP bytes A \\\"count\\\"\\\\\\nof\n"
                                "# TYPE bytes counter\n"
                                "bytes_total{a=\"x\",b=\"y\"} 18446744073709551615\n"
                                "# HELP ratio Share\n# TYPE ratio gauge\nratio 0.25\n# EOF\n"
                              : "# HELP bytes_total A \"count\"\\\\\\nof\n"
                                "# TYPE bytes_total counter\n"
                                "bytes_total{a=\"x\",b=\"y\"} 18446744073709551615\n"
                                "# HELP ratio Share\n# TYPE ratio gauge\nratio 0.25\n",
                  get());
    }
}

TEST_F(Text, label_values_are_escaped)
{
    const struct metrics_label common[] = {{"model_name", "a\"b\\c\nd"}};
    metrics_text_begin(&t, false);
    t.common = common;
    t.common_count = 1;
    metrics_text_family(&t, "g", METRICS_GAUGE, "h");
    metrics_text_count(&t, nullptr, 0, 1);
    const struct metrics_label own = {"k", "\xc3\xa9"};
    metrics_text_count(&t, &own, 1, 2);
    EXPECT_EQ("# HELP g h\n# TYPE g gauge\n"
              "g{model_name=\"a\\\"b\\\\c\\nd\"} 1\n"
              "g{model_name=\"a\\\"b\\\\c\\nd\",k=\"\xc3\xa9\"} 2\n",
              get());
}

TEST_F(Text, histograms_are_cumulative_and_their_bounds_floats)
{
    const double bounds[] = {0.005, 1, 16384, 1000000};
    struct histogram h;
    histogram_init(&h, bounds, 4);
    for (double v : {0.001, 0.5, 0.75, 20000.0, 2e6})
        histogram_observe(&h, v, 1);
    metrics_text_begin(&t, false);
    metrics_text_family(&t, "tokens_total", METRICS_HISTOGRAM, "despite its name");
    metrics_text_histogram(&t, &h);
    EXPECT_EQ("# HELP tokens_total despite its name\n# TYPE tokens_total histogram\n"
              "tokens_total_bucket{le=\"0.005\"} 1\n"
              "tokens_total_bucket{le=\"1.0\"} 3\n"
              "tokens_total_bucket{le=\"16384.0\"} 3\n"
              "tokens_total_bucket{le=\"1e+06\"} 4\n"
              "tokens_total_bucket{le=\"+Inf\"} 5\n"
              "tokens_total_sum 2020001.251\n"
              "tokens_total_count 5\n",
              get());
    metrics_text_begin(&t, true);
    metrics_text_family(&t, "tokens_total", METRICS_HISTOGRAM, "h");
    EXPECT_EQ("# HELP tokens_total h\n# TYPE tokens_total histogram\n", get())
        << "only counters lose the end of their name";
}

TEST_F(Text, a_counter_is_named_as_one)
{
    metrics_text_begin(&t, false);
    EXPECT_DEATH(metrics_text_family(&t, "hits", METRICS_COUNTER, "h"), "");
    EXPECT_DEATH(metrics_text_family(&t, "_total", METRICS_COUNTER, "h"), "");
}

} // namespace
