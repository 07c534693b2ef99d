#include "engine/batch/batch.h"

#include <gtest/gtest.h>

#include <vector>

namespace {

class Batch : public testing::Test {
protected:
    Batch() { EXPECT_EQ(batch_open(&b, 8, 3, nullptr), STATUS_OK); }
    ~Batch() override { batch_close(&b); }
    struct batch b;
};

TEST_F(Batch, LaysItemsOutRowByRow)
{
    const uint32_t first[] = {5, 6, 7}, second[] = {9}, blocks_a[] = {0}, blocks_b[] = {1};
    batch_reset(&b);
    batch_add(&b, first, 3, 20, blocks_a);
    batch_add(&b, second, 1, 0, blocks_b);
    EXPECT_EQ(b.items, 2u);
    EXPECT_EQ(b.rows, 4u);
    EXPECT_EQ(std::vector<uint32_t>(b.tokens, b.tokens + 4), (std::vector<uint32_t>{5, 6, 7, 9}));
    EXPECT_EQ(std::vector<uint32_t>(b.item, b.item + 4), (std::vector<uint32_t>{0, 0, 0, 1}));
    for (uint32_t r = 0; r < 3; r++) {
        EXPECT_EQ(b.places[r].position, 20 + r);
        EXPECT_EQ(b.places[r].blocks, blocks_a);
    }
    EXPECT_EQ(b.places[3].position, 0u);
    EXPECT_EQ(b.places[3].blocks, blocks_b);
}

TEST_F(Batch, EveryStepBeginsWithoutUsageAndBlame)
{
    const uint32_t token = 1;
    batch_reset(&b);
    batch_add(&b, &token, 1, 0, nullptr);
    EXPECT_FALSE(b.failed[0]);
    b.failed[0] = true;
    b.usage[0].hits = 7;
    batch_reset(&b);
    EXPECT_EQ(b.rows, 0u);
    EXPECT_EQ(b.items, 0u);
    batch_add(&b, &token, 1, 0, nullptr);
    EXPECT_EQ(b.usage[0].hits, 0u);
    EXPECT_FALSE(b.failed[0]);
}

TEST_F(Batch, TakesExactlyWhatItWasSizedFor)
{
    const uint32_t tokens[8] = {};
    batch_reset(&b);
    batch_add(&b, tokens, 6, 0, nullptr);
    batch_add(&b, tokens, 1, 0, nullptr);
    EXPECT_DEATH(batch_add(&b, tokens, 2, 0, nullptr), "rows_max");
    batch_add(&b, tokens, 1, 0, nullptr);
    EXPECT_DEATH(batch_add(&b, tokens, 0, 0, nullptr), "items_max");
}

TEST(BatchClose, AcceptsAZeroedOne)
{
    struct batch b = {};
    batch_close(&b);
}

} // namespace
