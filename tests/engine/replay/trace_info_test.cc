/* Each measure against values worked out by hand on toy traces. */
#include "engine/replay/trace_info.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

namespace {

class Info {
public:
    /* ids[token][layer * top_k + k] */
    Info(uint32_t layers, uint32_t experts, uint32_t top_k, const std::vector<uint32_t> &requests,
         const std::vector<std::vector<uint8_t>> &ids)
    {
        std::string text = "{\"format\":\"moering-trace\",\"version\":1,\"layers\":" +
                           std::to_string(layers) + ",\"experts\":" + std::to_string(experts) +
                           ",\"top_k\":" + std::to_string(top_k) + ",\"tokens\":" +
                           std::to_string(ids.size()) + ",\"dtype\":\"u8\",\"requests\":[";
        for (size_t i = 0; i < requests.size(); i++)
            text += (i ? ",{\"prefill\":1,\"tokens\":" : "{\"tokens\":") +
                    std::to_string(requests[i]) + "}";
        text += "]}\n";
        bytes_.assign(text.begin(), text.end());
        for (const auto &token : ids)
            bytes_.insert(bytes_.end(), token.begin(), token.end());
        struct error error = {};
        EXPECT_EQ(trace_parse(&trace, "toy", bytes_.data(), bytes_.size(), &error), STATUS_OK)
            << error.text;
        EXPECT_EQ(trace_info_open(&info, trace, &error), STATUS_OK) << error.text;
    }
    ~Info()
    {
        trace_info_close(info);
        trace_close(trace);
    }
    Info(const Info &) = delete;
    Info &operator=(const Info &) = delete;

    struct trace *trace = nullptr;
    struct trace_info *info = nullptr;

private:
    std::vector<uint8_t> bytes_;
};

TEST(trace_info, skew_of_four_experts)
{
    /* Uses 4, 2, 1, 1 of one layer. */
    Info x(1, 4, 2, {4}, {{0, 1}, {0, 1}, {0, 2}, {0, 3}});
    const struct layer_skew &s = x.info->skew[0];
    EXPECT_EQ(x.info->counts[0], 4u);
    EXPECT_EQ(x.info->counts[3], 1u);
    EXPECT_EQ(x.info->uses, 8u);
    EXPECT_DOUBLE_EQ(s.top_share, 0.5);                /* a tenth of 4, rounded up: one */
    EXPECT_NEAR(s.entropy, 1.75 / 2, 1e-12);           /* bits of 1/2 1/4 1/8 1/8 over log 4 */
    /* Mean absolute difference over twice the mean: (2(2+3+3+1+1+0)/16) / (2*2) = 20/16/4. */
    EXPECT_NEAR(s.gini, 0.3125, 1e-12);
    EXPECT_DOUBLE_EQ(x.info->mean.gini, s.gini);
    EXPECT_TRUE(std::isnan(x.info->next_in_k)); /* there is no next layer */
}

TEST(trace_info, equal_use_is_no_skew)
{
    Info x(1, 4, 1, {4}, {{0}, {1}, {2}, {3}});
    EXPECT_NEAR(x.info->skew[0].entropy, 1, 1e-12);
    EXPECT_NEAR(x.info->skew[0].gini, 0, 1e-12);
    EXPECT_DOUBLE_EQ(x.info->skew[0].top_share, 0.25);
}

TEST(trace_info, reuse_stays_within_requests)
{
    /* Request one: {0,1} {0,2} {1,0}; request two: {3,none} {3,0}. */
    Info x(1, 4, 2, {3, 2}, {{0, 1}, {0, 2}, {1, 0}, {3, 0xff}, {3, 0}});
    EXPECT_DOUBLE_EQ(x.info->reuse[0], 3.0 / 5); /* 0; 0; 3 of 2 + 2 + 1 */
    EXPECT_DOUBLE_EQ(x.info->reuse[1], 1.0);     /* 0 and 1 of 2 */
    EXPECT_TRUE(std::isnan(x.info->reuse[2]));
    /* Uses 4, 2, 1, 2: squares 25 over 5 tokens x 9 uses. */
    EXPECT_DOUBLE_EQ(x.info->reuse_by_chance, 25.0 / 45);
    EXPECT_DOUBLE_EQ(x.info->pages_per_token, 9.0 / 5);
    EXPECT_TRUE(std::isnan(x.info->pages_per_window));
    EXPECT_EQ(x.info->prefill_tokens, 1u);
}

TEST(trace_info, working_set_of_whole_windows)
{
    /* 250 tokens: the first hundred use 1 page of layer 0 and 2 of layer 1, the second 4 and 1. */
    std::vector<std::vector<uint8_t>> ids;
    for (uint32_t i = 0; i < 250; i++)
        ids.push_back({static_cast<uint8_t>(i < 100 ? 5 : i % 4),
                       static_cast<uint8_t>(i < 100 ? i % 2 : 6)});
    Info x(2, 8, 1, {250}, ids);
    EXPECT_DOUBLE_EQ(x.info->pages_per_window, (3 + 5) / 2.0);
    EXPECT_DOUBLE_EQ(x.info->pages_per_token, 2);
}

TEST(trace_info, next_layer_by_transitions_and_by_popularity)
{
    /* Layer 1 chooses what layer 0 chose plus one; of 8 experts, 0 is chosen more often. Trained on
     * the first request alone. */
    std::vector<std::vector<uint8_t>> ids;
    for (int half = 0; half < 2; half++)
        for (uint8_t e : {0, 1, 2, 0, 3})
            ids.push_back({e, static_cast<uint8_t>(e + 1)});
    Info x(2, 8, 1, {5, 5}, ids);
    EXPECT_EQ(x.info->tested_tokens, 5u);
    EXPECT_DOUBLE_EQ(x.info->next_in_k, 1);
    EXPECT_DOUBLE_EQ(x.info->popular_in_k, 2.0 / 5);
    EXPECT_DOUBLE_EQ(x.info->popular_in_2k, 3.0 / 5); /* the next of equal uses: expert 2 */
    ids[9] = {3, 7}; /* the last of the test half, which training has not seen */
    Info y(2, 8, 1, {5, 5}, ids);
    EXPECT_DOUBLE_EQ(y.info->next_in_k, 4.0 / 5);
    ids[4] = {3, 7}; /* now it has, and not 3 -> 4 */
    Info z(2, 8, 1, {5, 5}, ids);
    EXPECT_DOUBLE_EQ(z.info->next_in_k, 1);
}

TEST(trace_info, an_empty_trace_has_no_figures)
{
    Info x(2, 8, 1, {}, {});
    EXPECT_TRUE(std::isnan(x.info->mean.gini));
    EXPECT_TRUE(std::isnan(x.info->reuse[0]));
    EXPECT_TRUE(std::isnan(x.info->pages_per_token));
    EXPECT_TRUE(std::isnan(x.info->popular_in_k));
    EXPECT_EQ(x.info->steps, 0u);
    trace_info_close(nullptr);
}

} // namespace
