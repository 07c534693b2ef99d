#include "server/metrics/metrics_page.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/server/metrics/metrics_pages.h"

namespace {

using metrics_test::Page;

TEST(metrics_page_experts, every_name_of_ours)
{
    metrics_test::Snapshot made;
    made.Ready();
    Page page(made.s);
    for (const char *name : {"hits", "misses", "evictions", "prefetch_issued", "prefetch_used",
                             "prefetch_wasted"})
        page.ExpectFamily("moering_expert_cache_" + std::string(name) + "_total", "counter",
                          "tier,layer");
    page.ExpectFamily("moering_expert_bytes_read_total", "counter", "src,dst");
    page.ExpectFamily("moering_expert_resident_bytes", "gauge", "tier");
    page.ExpectFamily("moering_experts_resident", "gauge", "tier,layer");
    page.ExpectFamily("moering_expert_miss_stall_seconds", "histogram", "");
    page.ExpectFamily("moering_expert_oracle_hit_ratio", "gauge", "");
    page.ExpectFamily("moering_expert_rebalance_total", "counter", "");
    page.ExpectFamily("moering_expert_predictor_active", "gauge", "predictor");
    page.ExpectFamily("moering_expert_load_stable", "gauge", "phase,layer");
    page.ExpectFamily("moering_requests_failed_total", "counter", "");
    page.ExpectFamily("moering_requests_rejected_total", "counter", "");
    page.ExpectFamily("moering_model_loaded_ratio", "gauge", "");
    page.ExpectFamily("moering_build_info", "gauge", "version");
    EXPECT_EQ("0.0001 0.00025 0.0005 0.001 0.0025 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1.0 2.5 5.0 "
              "10.0 +Inf ",
              page.Bounds("moering_expert_miss_stall_seconds"));
}

TEST(metrics_page_experts, each_figure_in_its_place)
{
    metrics_test::Snapshot made;
    made.Fill();
    Page page(made.s);
    const std::string c = "moering_expert_cache_", device = "_total{tier=\"device\",layer=\"2\"}";
    const char *const names[] = {"hits", "misses", "evictions", "prefetch_issued", "prefetch_used",
                                 "prefetch_wasted"};
    for (int i = 0; i < 6; i++)
        EXPECT_EQ(102 + 100 * i, page[c + names[i] + device]) << names[i];
    for (int i = 0; i < 3; i++)
        EXPECT_EQ(701 + 100 * i, page[c + names[i] + "_total{tier=\"host\",layer=\"1\"}"])
            << names[i];
    EXPECT_EQ(3, page["moering_experts_resident{tier=\"device\",layer=\"2\"}"]);
    EXPECT_EQ(2, page["moering_experts_resident{tier=\"host\",layer=\"0\"}"]);
    EXPECT_EQ(41, page["moering_expert_bytes_read_total{src=\"storage\",dst=\"host\"}"]);
    EXPECT_EQ(42, page["moering_expert_bytes_read_total{src=\"storage\",dst=\"device\"}"]);
    EXPECT_EQ(43, page["moering_expert_bytes_read_total{src=\"host\",dst=\"device\"}"]);
    EXPECT_EQ(46, page["moering_expert_resident_bytes{tier=\"device\"}"]);
    EXPECT_EQ(47, page["moering_expert_resident_bytes{tier=\"host\"}"]);
    EXPECT_EQ(55, page["moering_expert_miss_stall_seconds_bucket{le=\"10.0\"}"]);
    EXPECT_EQ(111, page["moering_expert_miss_stall_seconds_count"]);
    EXPECT_EQ(0.037, page["moering_expert_miss_stall_seconds_sum"]);
    EXPECT_EQ(0.75, page["moering_expert_oracle_hit_ratio"]);
    EXPECT_EQ(1, page["moering_expert_predictor_active{predictor=\"previous\"}"]);
    EXPECT_EQ(0, page["moering_expert_predictor_active{predictor=\"transition\"}"]);
    EXPECT_EQ(0, page["moering_expert_predictor_active{predictor=\"lookahead\"}"]);
    EXPECT_EQ(1, page["moering_expert_load_stable{phase=\"decode\",layer=\"0\"}"]);
    EXPECT_EQ(0, page["moering_expert_load_stable{phase=\"decode\",layer=\"1\"}"]);
    EXPECT_EQ(0, page["moering_expert_load_stable{phase=\"prefill\",layer=\"0\"}"]);
    EXPECT_EQ(13, page["moering_requests_failed_total"]);
    EXPECT_EQ(14, page["moering_requests_rejected_total"]);
}

TEST(metrics_page_experts, series_do_not_grow_with_experts)
{
    metrics_test::Snapshot few(10, 8), many(10, 512);
    few.Fill();
    many.Fill();
    size_t count = Page(few.s).samples.size();
    EXPECT_EQ(count, Page(many.s).samples.size());
    /* 94 layers: the largest models there are */
    metrics_test::Snapshot deep(94, 512);
    deep.Fill();
    size_t per_layer = 3 * 2 + 3 + 2 + 2; /* counters of both tiers, guesses, resident, states */
    EXPECT_EQ(count + 84 * per_layer, Page(deep.s).samples.size());
    EXPECT_LT(Page(deep.s).samples.size(), 2000u);
}

} // namespace
