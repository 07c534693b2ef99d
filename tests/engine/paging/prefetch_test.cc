#include "engine/paging/prefetch.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace {

class Prefetch : public testing::Test {
protected:
    ~Prefetch() override { prefetch_close(p_); }
    void open(uint32_t layers, uint32_t experts, uint32_t ahead)
    {
        ASSERT_EQ(prefetch_open(&p_, layers, experts, ahead, nullptr), STATUS_OK);
    }
    void observe(uint32_t layer, const std::vector<uint32_t> &experts)
    {
        prefetch_observe(p_, layer, experts.data(), static_cast<uint32_t>(experts.size()));
    }
    std::vector<page_id> candidates(uint32_t layer, uint32_t max = 100)
    {
        std::vector<page_id> pages(max + 1, 12345);
        uint32_t n = prefetch_candidates(p_, layer, pages.data(), max);
        EXPECT_LE(n, max);
        EXPECT_EQ(pages[max], 12345u);
        pages.resize(n);
        return pages;
    }
    struct prefetch *p_ = nullptr;
};

using Pages = std::vector<page_id>;

TEST_F(Prefetch, KnowsNothingAtFirst)
{
    open(4, 8, 2);
    EXPECT_EQ(candidates(0), Pages());
}

TEST_F(Prefetch, NearestLayerFirstInTheOrderObserved)
{
    open(4, 8, 2);
    observe(1, {5, 2});
    observe(2, {7});
    observe(3, {0});
    EXPECT_EQ(candidates(0), (Pages{8 + 5, 8 + 2, 16 + 7}));
    EXPECT_EQ(candidates(1), (Pages{16 + 7, 24}));
}

TEST_F(Prefetch, TheRoundGoesOnAtLayerZero)
{
    open(4, 8, 2);
    observe(0, {3});
    observe(1, {6});
    EXPECT_EQ(candidates(3), (Pages{3, 8 + 6}));
    EXPECT_EQ(candidates(2), (Pages{3}));
}

TEST_F(Prefetch, OnlyTheLastRunCounts)
{
    open(3, 8, 1);
    observe(1, {1, 2, 3});
    observe(1, {4});
    EXPECT_EQ(candidates(0), (Pages{8 + 4}));
    observe(1, {});
    EXPECT_EQ(candidates(0), Pages());
}

TEST_F(Prefetch, NeverMoreThanAsked)
{
    open(3, 8, 2);
    observe(1, {1, 2, 3});
    observe(2, {4, 5});
    EXPECT_EQ(candidates(0, 4), (Pages{9, 10, 11, 20}));
    EXPECT_EQ(candidates(0, 2), (Pages{9, 10}));
    EXPECT_EQ(candidates(0, 0), Pages());
}

TEST_F(Prefetch, DoesNotGuessAfterAPrefillTouchedMostExperts)
{
    open(3, 8, 2);
    observe(1, {0, 1, 2, 3, 4});
    observe(2, {6});
    EXPECT_EQ(candidates(0), (Pages{16 + 6}));
    observe(1, {0, 1, 2, 3}); /* half is not most */
    EXPECT_EQ(candidates(0).size(), 5u);
}

/* Its own layer is never a candidate, not even by way of the round. */
TEST_F(Prefetch, LooksNoFurtherThanTheRoundIsLong)
{
    open(2, 4, 10);
    observe(0, {1});
    observe(1, {2});
    EXPECT_EQ(candidates(0), (Pages{4 + 2}));
    EXPECT_EQ(candidates(1), (Pages{1}));
}

} // namespace
