#include "clients/bench/prometheus.h"

#include <gtest/gtest.h>

#include <string>

namespace {

struct Page : prometheus {
    explicit Page(const std::string &text)
    {
        EXPECT_TRUE(prometheus_open(this, text.data(), text.size()));
    }
    ~Page() { prometheus_close(this); }
    double at(const std::string &name) const
    {
        const prometheus_series *s = prometheus_find(this, name.c_str());
        return s ? s->value : -1;
    }
};

TEST(prometheus, layers_are_summed_and_other_labels_stay)
{
    Page p("# HELP moering_a_total x\n# TYPE moering_a_total counter\n"
           "moering_a_total{tier=\"device\",layer=\"0\"} 3\n"
           "moering_a_total{layer=\"1\",tier=\"device\"} 4\n"
           "moering_a_total{tier=\"host\",layer=\"1\"} 5 1700000000\n"
           "moering_b{layer=\"0\"} 1.5\nmoering_b{layer=\"1\",} 2\nmoering_c 7e3\nmoering_d{} 1\n"
           "vllm:other 9\n");
    EXPECT_EQ(7, p.at("moering_a_total{tier=\"device\"}"));
    EXPECT_EQ(5, p.at("moering_a_total{tier=\"host\"}"));
    EXPECT_EQ(3.5, p.at("moering_b"));
    EXPECT_EQ(7000, p.at("moering_c"));
    EXPECT_EQ(1, p.at("moering_d"));
    EXPECT_EQ(5u, p.count);
}

TEST(prometheus, label_values_may_hold_anything)
{
    Page p("moering_a{x=\"q\\\"} ,{\",y=\"2\"} 3\n");
    EXPECT_EQ(3, p.at("moering_a{x=\"q\\\"} ,{\",y=\"2\"}"));
}

TEST(prometheus, buckets_and_nonsense_are_passed_over)
{
    Page p("moering_h_bucket{le=\"1\"} 3\nmoering_h_sum 4\nmoering_x{\nmoering_y{a=\"b\n"
           "moering_z{a=\"b\"\nmoering_\nmoering_w{a=\"b\"} x\n\n\r\nmoering_last 2");
    EXPECT_EQ(4, p.at("moering_h_sum"));
    EXPECT_EQ(2, p.at("moering_last"));
    EXPECT_EQ(2u, p.count);
}

TEST(prometheus, counters_become_differences_and_gauges_stay)
{
    Page before("moering_a_total 10\nmoering_s_sum 1\nmoering_s_count 2\nmoering_g 5\n");
    Page after("moering_a_total 15\nmoering_s_sum 1.5\nmoering_s_count 4\nmoering_g 6\n"
               "moering_new_total 3\n");
    prometheus_subtract(&after, &before);
    EXPECT_EQ(5, after.at("moering_a_total"));
    EXPECT_EQ(0.5, after.at("moering_s_sum"));
    EXPECT_EQ(2, after.at("moering_s_count"));
    EXPECT_EQ(6, after.at("moering_g"));
    EXPECT_EQ(3, after.at("moering_new_total"));
}

TEST(prometheus, series_are_bounded)
{
    std::string text;
    for (int i = 0; i < 2000; i++)
        text += "moering_x{i=\"" + std::to_string(i) + "\"} 1\n";
    EXPECT_EQ((uint32_t)PROMETHEUS_SERIES_MAX, Page(text).count);
}

} // namespace
