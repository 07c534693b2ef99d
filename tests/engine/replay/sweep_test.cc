#include "engine/replay/sweep.h"

#include <cstdlib>
#include <memory>
#include <sstream>

#include "tests/engine/replay/toy_trace.h"
#include "tests/support/scratch.h"

namespace {

std::string written(void (*write)(const struct sweep *, FILE *), const struct sweep &sweep)
{
    char *text = nullptr;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    write(&sweep, out);
    fclose(out);
    std::string s(text, bytes);
    free(text);
    return s;
}

std::vector<std::string> split(const std::string &text, char by)
{
    std::vector<std::string> out;
    std::istringstream in(text);
    for (std::string part; std::getline(in, part, by);)
        out.push_back(part);
    return out;
}

class Sweep : public testing::Test {
protected:
    void SetUp() override
    {
        scratch::Random random(3);
        std::vector<uint8_t> ids(200 * 2 * 2);
        for (uint8_t &id : ids)
            id = static_cast<uint8_t>(random.chance(50) ? random.below(4) : random.below(20));
        toy_.reset(new ToyTrace(2, 20, 2, {{200}}, ids));
        base_.page_bytes = 1000;
        base_.link_gbps = 1;
        base_.step_us = 10;
        const enum evict_kind kinds[] = {EVICT_LRU, EVICT_ROUND};
        struct error error = {};
        ASSERT_EQ(STATUS_OK,
                  sweep_run(&sweep_, toy_->lay_out(), "<toy>", kinds, 2, &base_, &error));
    }
    std::unique_ptr<ToyTrace> toy_;
    struct replay_config base_ = {};
    struct sweep sweep_;
};

TEST_F(Sweep, EveryRowIsTheReplayOfItsOwn)
{
    for (const struct sweep_row &row : {sweep_.row[2], sweep_.row[SWEEP_SIZES + 5]}) {
        struct replay_config c = base_;
        struct replay_result x;
        c.evict = row.evict;
        c.slots = sweep_slots(toy_->schedule, row.percent);
        c.belady = true;
        ASSERT_EQ(STATUS_OK, replay_run(toy_->schedule, &c, &x, nullptr));
        EXPECT_EQ(x.slots, row.result.slots);
        EXPECT_EQ(x.hits, row.result.hits);
        EXPECT_EQ(x.belady_hits, row.result.belady_hits);
        EXPECT_EQ(x.lru_hits, row.result.lru_hits);
        EXPECT_EQ(x.compulsory_misses, row.result.compulsory_misses);
        EXPECT_EQ(x.stall_us, row.result.stall_us);
    }
}

TEST_F(Sweep, SlotsAreSharesRoundedDown)
{
    EXPECT_EQ(sweep_slots(toy_->schedule, 12.5), 5u);
    EXPECT_EQ(sweep_slots(toy_->schedule, 37.5), 15u);
    EXPECT_EQ(sweep_slots(toy_->schedule, 1), 1u);
    EXPECT_EQ(sweep_slots(toy_->schedule, 7), 2u);
}

TEST_F(Sweep, WritesATable)
{
    auto lines = split(written(sweep_csv, sweep_), '\n');
    ASSERT_EQ(lines.size(), 1u + 2 * SWEEP_SIZES);
    auto names = split(lines[0], ',');
    for (const std::string &line : lines)
        EXPECT_EQ(split(line, ',').size(), names.size()) << line;
    EXPECT_EQ(names[5], "hit_rate");
    EXPECT_EQ(lines[1].substr(0, 8), "lru,5,2,");
    EXPECT_EQ(lines[SWEEP_SIZES + 7].substr(0, 12), "round,75,30,");
    EXPECT_NEAR(std::stod(split(lines[4], ',')[5]), replay_hit_rate(&sweep_.row[3].result), 1e-6);
}

TEST_F(Sweep, DrawsALineForEachPolicyAndTheBound)
{
    std::string svg = written(sweep_svg, sweep_);
    for (const char *part :
         {">lru</text>", ">round</text>", ">Belady's bound</text>", "&lt;toy&gt;"})
        EXPECT_NE(svg.find(part), std::string::npos) << part;
}

} // namespace
