#include "engine/moe/dispatch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "tests/support/scratch.h"

namespace {

using Rows = std::vector<std::vector<uint32_t>>; /* experts of each row, in the row's own order */

class Dispatch {
public:
    Dispatch(uint32_t rows_max, uint32_t choices_max, uint32_t experts)
    {
        EXPECT_EQ(dispatch_open(&d, rows_max, choices_max, experts, nullptr), STATUS_OK);
        dispatch_reset(&d, rows_max);
    }
    ~Dispatch() { dispatch_close(&d); }
    void fill(const Rows &rows)
    {
        dispatch_reset(&d, (uint32_t)rows.size());
        float weight = 0;
        for (const auto &row : rows) {
            std::vector<float> weights(row.size());
            for (float &w : weights)
                w = weight += 0.5f;
            dispatch_add_row(&d, row.data(), weights.data(), static_cast<uint32_t>(row.size()));
        }
        dispatch_build(&d);
    }
    struct dispatch d;
};

/* Everything dispatch.h promises, from the definition. */
void expect_right(const struct dispatch &d, const Rows &rows)
{
    std::vector<uint32_t> places, touched;
    uint32_t c = 0;
    ASSERT_EQ(d.rows, rows.size());
    for (uint32_t r = 0; r < rows.size(); r++) {
        ASSERT_EQ(d.row_offsets[r], c);
        for (uint32_t expert : rows[r]) {
            ASSERT_EQ(d.expert[c], expert);
            ASSERT_EQ(d.weight[c], 0.5f * static_cast<float>(c + 1));
            ASSERT_EQ(d.gather[d.place[c]], r);
            ASSERT_GE(d.place[c], d.expert_offsets[expert]);
            ASSERT_LT(d.place[c], d.expert_offsets[expert + 1]);
            places.push_back(d.place[c++]);
        }
    }
    ASSERT_EQ(d.row_offsets[rows.size()], c);
    ASSERT_EQ(d.choices, c);
    std::sort(places.begin(), places.end());
    for (uint32_t i = 0; i < c; i++)
        ASSERT_EQ(places[i], i); /* a permutation */
    ASSERT_EQ(d.expert_offsets[0], 0u);
    ASSERT_EQ(d.expert_offsets[d.experts], c);
    for (uint32_t e = 0; e < d.experts; e++) {
        ASSERT_LE(d.expert_offsets[e], d.expert_offsets[e + 1]);
        if (d.expert_offsets[e] < d.expert_offsets[e + 1])
            touched.push_back(e);
        for (uint32_t p = d.expert_offsets[e] + 1; p < d.expert_offsets[e + 1]; p++)
            ASSERT_LT(d.gather[p - 1], d.gather[p]) << "rows of expert " << e << " do not ascend";
    }
    ASSERT_EQ(std::vector<uint32_t>(d.touched, d.touched + d.touched_count), touched);
}

TEST(Dispatch, SmallExample)
{
    Dispatch dispatch(3, 6, 4);
    dispatch.fill({{2, 0}, {2, 3}, {0, 2}});
    expect_right(dispatch.d, {{2, 0}, {2, 3}, {0, 2}});
    EXPECT_EQ(std::vector<uint32_t>(dispatch.d.gather, dispatch.d.gather + 6),
              (std::vector<uint32_t>{0, 2, 0, 1, 2, 1}));
    EXPECT_EQ(std::vector<uint32_t>(dispatch.d.place, dispatch.d.place + 6),
              (std::vector<uint32_t>{2, 0, 3, 5, 1, 4}));
}

TEST(Dispatch, EmptyBatch)
{
    Dispatch dispatch(4, 8, 5);
    dispatch.fill({});
    expect_right(dispatch.d, {});
    EXPECT_EQ(dispatch.d.touched_count, 0u);
}

TEST(Dispatch, RowsWithoutAnyExpert)
{
    Dispatch dispatch(4, 8, 5);
    dispatch.fill({{}, {4}, {}, {}});
    expect_right(dispatch.d, {{}, {4}, {}, {}});
    dispatch.fill({{}, {}});
    expect_right(dispatch.d, {{}, {}});
}

TEST(Dispatch, AllRowsOnOneExpert)
{
    Dispatch dispatch(100, 100, 128);
    Rows rows(100, {127});
    dispatch.fill(rows);
    expect_right(dispatch.d, rows);
    EXPECT_EQ(dispatch.d.touched_count, 1u);
}

TEST(Dispatch, AFullerBatchLeavesNothingBehind)
{
    Dispatch dispatch(8, 32, 4);
    dispatch.fill(Rows(8, {0, 1, 2, 3}));
    expect_right(dispatch.d, Rows(8, {0, 1, 2, 3}));
    dispatch.fill({{3}});
    expect_right(dispatch.d, {{3}});
}

TEST(Dispatch, RandomRowsOfNoneToAllExperts)
{
    scratch::Random random(11);
    for (int round = 0; round < 300 && !testing::Test::HasFatalFailure(); round++) {
        uint32_t experts = 1 + random.below(40), count = random.below(50), choices = 0;
        Rows rows(count);
        for (auto &row : rows) {
            std::vector<uint32_t> all(experts);
            std::iota(all.begin(), all.end(), 0);
            uint32_t k = random.below(experts + 1);
            for (uint32_t i = 0; i < k; i++)
                std::swap(all[i], all[i + random.below(experts - i)]);
            row.assign(all.begin(), all.begin() + k);
            choices += k;
        }
        Dispatch dispatch(std::max(count, 1u), std::max(choices, 1u), experts); /* exactly enough */
        dispatch.fill(rows);
        expect_right(dispatch.d, rows);
    }
}

TEST(DispatchDeathTest, RefusesMoreThanItWasSizedFor)
{
    Dispatch dispatch(1, 2, 3);
    const uint32_t experts[] = {0, 1, 2}, outside[] = {3};
    const float weights[] = {1, 1, 1};
    EXPECT_DEATH(dispatch_add_row(&dispatch.d, experts, weights, 3), "choices_max");
    EXPECT_DEATH(dispatch_add_row(&dispatch.d, outside, weights, 1), "experts");
    dispatch_add_row(&dispatch.d, experts, weights, 1);
    EXPECT_DEATH(dispatch_add_row(&dispatch.d, experts, weights, 1), "rows_told");
}

TEST(Dispatch, ClosesWhatWasNeverOpened)
{
    struct dispatch d = {};
    dispatch_close(&d);
}

} // namespace
