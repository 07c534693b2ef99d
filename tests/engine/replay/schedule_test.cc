#include "engine/replay/schedule.h"

#include <algorithm>
#include <map>

#include "tests/engine/replay/toy_trace.h"
#include "tests/support/scratch.h"

namespace {

constexpr uint8_t NONE = 255;

std::vector<uint32_t> run_of(const struct schedule *s, uint32_t run)
{
    return {s->pages + s->run_start[run], s->pages + s->run_start[run + 1]};
}

std::vector<uint32_t> tokens_of(const struct schedule *s, uint32_t step)
{
    return {s->token + s->step_start[step], s->token + s->step_start[step + 1]};
}

std::vector<std::vector<uint32_t>> steps_of(const struct schedule *s)
{
    std::vector<std::vector<uint32_t>> out;
    for (uint32_t i = 0; i < s->steps; i++)
        out.push_back(tokens_of(s, i));
    return out;
}

std::vector<uint8_t> random_ids(uint64_t seed, uint32_t count, uint32_t experts)
{
    scratch::Random random(seed);
    std::vector<uint8_t> ids(count);
    for (uint8_t &id : ids)
        id = static_cast<uint8_t>(random.below(experts));
    return ids;
}

TEST(Schedule, OneRequestAtATimeKeepsTheStoredOrder)
{
    ToyTrace toy(2, 4, 2, {{1}, {2}}, {3, 1, 0, 2, NONE, NONE, 2, NONE, 1, 1, 0, 3});
    struct schedule *s = toy.lay_out();
    ASSERT_EQ(s->steps, 3u);
    EXPECT_EQ(s->rows_of, nullptr);
    EXPECT_EQ(run_of(s, 0), (std::vector<uint32_t>{3, 1}));
    EXPECT_EQ(run_of(s, 1), (std::vector<uint32_t>{4, 6}));
    EXPECT_EQ(run_of(s, 2), std::vector<uint32_t>{}); // no expert: a dense layer
    EXPECT_EQ(run_of(s, 3), std::vector<uint32_t>{6});
    EXPECT_EQ(run_of(s, 4), std::vector<uint32_t>{1}); // named twice, asked for once
    EXPECT_EQ(run_of(s, 5), (std::vector<uint32_t>{4, 7}));
    EXPECT_EQ(s->requests, 8u);
    EXPECT_EQ(s->distinct_max, 2u);
}

TEST(Schedule, BatchesJoinTheirRows)
{
    ToyTrace toy(1, 4, 2, {{1}, {1}, {1}}, {3, 1, 0, 3, 3, 2});
    struct schedule *s = toy.lay_out(3);
    ASSERT_EQ(s->steps, 1u);
    EXPECT_EQ(run_of(s, 0), (std::vector<uint32_t>{0, 1, 2, 3}));
    EXPECT_EQ(std::vector<uint16_t>(s->rows_of, s->rows_of + 4),
              (std::vector<uint16_t>{1, 1, 1, 3}));
    EXPECT_EQ(s->rows_max, 3u);
}

TEST(Schedule, TheNextRequestEntersWhenOneEnds)
{
    // Requests begin at tokens 0, 3, 4 and 6; one is empty.
    ToyTrace toy(1, 4, 1, {{3}, {1}, {0}, {2}, {1}}, random_ids(1, 7, 4));
    using Steps = std::vector<std::vector<uint32_t>>;
    EXPECT_EQ(steps_of(toy.lay_out(2)), (Steps{{0, 3}, {1, 4}, {2, 5}, {6}}));
    EXPECT_EQ(steps_of(toy.lay_out(9)), (Steps{{0, 3, 4, 6}, {1, 5}, {2}}));
    struct schedule_config config = {};
    config.batch = 2;
    config.tokens_max = 3;
    EXPECT_EQ(steps_of(toy.lay_out(config)), (Steps{{0, 3}, {1}}));
}

TEST(Schedule, PromptsGoInChunks)
{
    ToyTrace toy(1, 4, 1, {{6, 5}, {2, 0}}, random_ids(2, 8, 4));
    struct schedule_config config = {};
    config.batch = 2;
    config.chunk = 2;
    using Steps = std::vector<std::vector<uint32_t>>;
    struct schedule *s = toy.lay_out(config);
    EXPECT_EQ(steps_of(s), (Steps{{0, 1, 6}, {2, 3, 7}, {4}, {5}}));
    EXPECT_EQ(std::vector<uint8_t>(s->prefill, s->prefill + 4),
              (std::vector<uint8_t>{1, 1, 1, 0}));
    config.chunk = 0;
    EXPECT_EQ(steps_of(toy.lay_out(config)), (Steps{{0, 1, 2, 3, 4, 6}, {5, 7}}));
}

TEST(Schedule, RecordedStepsAreTakenFromTheTrace)
{
    std::vector<uint8_t> steps = {5, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0};
    ToyTrace toy(1, 4, 1, {{3, 1}, {2}}, {0, 1, 2, 3, 1},
                 "{\"name\": \"step\", \"dtype\": \"u32\", \"width\": 1}", steps);
    using Steps = std::vector<std::vector<uint32_t>>;
    struct schedule *s = toy.lay_out(SCHEDULE_BATCH_TRACE);
    EXPECT_EQ(steps_of(s), (Steps{{0}, {1, 3}, {2, 4}}));
    EXPECT_EQ(std::vector<uint8_t>(s->prefill, s->prefill + 3), (std::vector<uint8_t>{1, 0, 0}));
    EXPECT_EQ(run_of(s, 1), (std::vector<uint32_t>{1, 3}));
}

TEST(Schedule, WithoutRecordedStepsTheyCannotBeAskedFor)
{
    ToyTrace toy(1, 4, 1, {{1}}, {0});
    struct schedule_config config = {};
    struct schedule *s = nullptr;
    struct error error = {};
    EXPECT_EQ(STATUS_UNSUPPORTED, schedule_open(&s, toy.trace, &config, &error));
    EXPECT_STREQ(error.text,
                 "--batch trace: toy.mtrace has no column 'step'; give a number");
}

/* How often each page is asked for. */
std::map<uint32_t, int> counts(const struct schedule *s)
{
    std::map<uint32_t, int> out;
    for (uint32_t i = 0; i < s->requests; i++)
        out[s->pages[i]]++;
    return out;
}

TEST(Schedule, ShufflingTokensKeepsThemWhole)
{
    const uint32_t tokens = 300;
    std::vector<uint8_t> ids; // both layers of a token name the same expert
    for (uint8_t id : random_ids(3, tokens, 16))
        ids.insert(ids.end(), {id, id});
    ToyTrace toy(2, 16, 1, {{tokens}}, ids);
    auto before = counts(toy.lay_out());
    std::vector<uint32_t> plain(toy.schedule->pages, toy.schedule->pages + 2 * tokens);
    struct schedule_config config = {};
    config.batch = 1;
    config.shuffle = SHUFFLE_TOKENS;
    config.seed = 4;
    struct schedule *s = toy.lay_out(config);
    EXPECT_EQ(counts(s), before);
    std::vector<uint32_t> shuffled(s->pages, s->pages + 2 * tokens);
    EXPECT_NE(shuffled, plain);
    for (uint32_t i = 0; i < tokens; i++)
        EXPECT_EQ(s->pages[2 * i] + 16, s->pages[2 * i + 1]);
    s = toy.lay_out(config);
    EXPECT_EQ(std::vector<uint32_t>(s->pages, s->pages + 2 * tokens), shuffled); // same seed
    config.seed = 5;
    s = toy.lay_out(config);
    EXPECT_NE(std::vector<uint32_t>(s->pages, s->pages + 2 * tokens), shuffled);
}

TEST(Schedule, ShufflingLayersTakesThemApart)
{
    const uint32_t tokens = 300;
    std::vector<uint8_t> ids;
    for (uint8_t id : random_ids(6, tokens, 16))
        ids.insert(ids.end(), {id, id});
    ToyTrace toy(2, 16, 1, {{tokens}}, ids);
    auto before = counts(toy.lay_out());
    struct schedule_config config = {};
    config.batch = 1;
    config.shuffle = SHUFFLE_LAYERS;
    struct schedule *s = toy.lay_out(config);
    EXPECT_EQ(counts(s), before);
    int together = 0;
    for (uint32_t i = 0; i < tokens; i++)
        together += s->pages[2 * i] + 16 == s->pages[2 * i + 1];
    EXPECT_LT(together, 60); // by chance about 1 in 16
}

TEST(Schedule, AnEmptyTraceHasNoSteps)
{
    ToyTrace toy(2, 4, 1, {{0}}, {});
    EXPECT_EQ(toy.lay_out(4)->steps, 0u);
    EXPECT_EQ(toy.schedule->requests, 0u);
    schedule_close(nullptr);
}

} // namespace
