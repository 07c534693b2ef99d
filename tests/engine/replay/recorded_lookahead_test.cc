#include "engine/replay/recorded_lookahead.h"

#include "tests/engine/replay/toy_trace.h"

namespace {

/* 3 layers, 4 experts, 2 tokens; distance 1 is recorded with two names a row. */
class RecordedLookahead : public testing::Test {
protected:
    ~RecordedLookahead() override { recorded_lookahead_close(lookahead_); }
    void open(uint32_t batch)
    {
        ASSERT_EQ(STATUS_OK, recorded_lookahead_open(&lookahead_, toy_.lay_out(batch), 4, nullptr));
        ASSERT_NE(lookahead_, nullptr);
    }
    std::vector<float> ask(uint32_t step, uint32_t layer, uint32_t distance)
    {
        const float *score = recorded_lookahead_ask(lookahead_, step, layer, distance);
        return score ? std::vector<float>(score, score + 4) : std::vector<float>();
    }

    ToyTrace toy_{3, 4, 1, {{1}, {1}}, {0, 1, 2, 3, 2, 1},
                  "{\"name\": \"lookahead\", \"dtype\": \"u8\", \"width\": 2, \"layers\": 2, "
                  "\"distance\": 1}",
                  {1, 3, 2, 255, 3, 0, 3, 2}};
    struct recorded_lookahead *lookahead_ = nullptr;
};

TEST_F(RecordedLookahead, OneRowScoresByPlace)
{
    open(1);
    EXPECT_EQ(ask(0, 0, 1), (std::vector<float>{0, 2, 0, 1}));
    EXPECT_EQ(ask(0, 1, 1), (std::vector<float>{0, 0, 2, 0})); // one name is missing
    EXPECT_EQ(ask(1, 1, 1), (std::vector<float>{0, 0, 1, 2}));
}

TEST_F(RecordedLookahead, RowsAddUp)
{
    open(2);
    EXPECT_EQ(ask(0, 0, 1), (std::vector<float>{1, 2, 0, 3}));
}

TEST_F(RecordedLookahead, SaysNothingThatWasNotRecorded)
{
    open(1);
    EXPECT_TRUE(ask(0, 2, 1).empty()); // beyond the last layer
    EXPECT_TRUE(ask(0, 0, 2).empty());
    EXPECT_TRUE(ask(0, 0, 0).empty());
    EXPECT_TRUE(ask(0, 0, 5).empty());
}

TEST_F(RecordedLookahead, GoesWithTheTokenWhenTokensAreShuffled)
{
    struct schedule_config config = {};
    config.batch = 1;
    config.shuffle = SHUFFLE_TOKENS;
    for (config.seed = 0; config.seed < 8; config.seed++) {
        struct schedule *s = toy_.lay_out(config);
        ASSERT_EQ(STATUS_OK, recorded_lookahead_open(&lookahead_, s, 1, nullptr));
        bool first = s->pages[0] == 0; // the first token kept its place
        EXPECT_EQ(ask(0, 0, 1), first ? (std::vector<float>{0, 2, 0, 1})
                                      : (std::vector<float>{1, 0, 0, 2}));
        recorded_lookahead_close(lookahead_);
        lookahead_ = nullptr;
    }
}

TEST_F(RecordedLookahead, IsNotThereWithoutAColumn)
{
    ToyTrace plain(2, 4, 1, {{1}}, {0, 1});
    struct recorded_lookahead *none = nullptr;
    EXPECT_EQ(STATUS_OK, recorded_lookahead_open(&none, plain.lay_out(), 4, nullptr));
    EXPECT_EQ(none, nullptr);
    EXPECT_EQ(STATUS_OK, recorded_lookahead_open(&none, toy_.lay_out(), 0, nullptr));
    EXPECT_EQ(none, nullptr);
}

} // namespace
