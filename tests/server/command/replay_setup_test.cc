#include "server/command/replay_setup.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace {

const std::string trace_text =
    "{\"format\": \"moering-trace\", \"version\": 1, \"layers\": 1, \"experts\": 4, \"top_k\": 1, "
    "\"tokens\": 3, \"dtype\": \"u8\", \"requests\": [{\"tokens\": 2}, {\"tokens\": 1}]}\n";

class ReplaySetup : public testing::Test {
protected:
    ~ReplaySetup() override
    {
        replay_setup_close(&setup_);
        config_close(&config_);
    }
    enum status open(std::vector<const char *> words,
                     const std::string &ids = std::string("\0\1\2", 3))
    {
        std::string path = folder_.write("t.mtrace", trace_text + ids);
        words.insert(words.begin(), path.c_str());
        EXPECT_EQ(STATUS_OK, config_parse(&config_, CONFIG_REPLAY, static_cast<int>(words.size()),
                                          words.data(), nullptr, &error_))
            << error_.text;
        return replay_setup_open(&setup_, &config_, path.c_str(), &error_);
    }
    bool says(const char *part) const { return std::strstr(error_.text, part) != nullptr; }

    scratch::Folder folder_;
    struct config config_ = {};
    struct replay_setup setup_ = {};
    struct error error_ = {};
};

TEST_F(ReplaySetup, TakesItsValuesFromFlags)
{
    ASSERT_EQ(STATUS_OK,
              open({"--policy", "lfu", "--predictor", "previous", "--prefetch", "on", "--seed", "9",
                    "--page-bytes", "2MiB", "--link-gbps", "12.5", "--step-us", "700", "--batch",
                    "2", "--max-trace-tokens", "2"}))
        << error_.text;
    const struct replay_config &c = setup_.config;
    EXPECT_EQ(c.evict, EVICT_LFU);
    EXPECT_EQ(c.foresight, FORESIGHT_PREVIOUS);
    EXPECT_EQ(c.prefetch, PREFETCH_ON);
    EXPECT_EQ(c.seed, 9u);
    EXPECT_EQ(c.page_bytes, 2u << 20);
    EXPECT_EQ(c.link_gbps, 12.5);
    EXPECT_EQ(c.step_us, 700);
    EXPECT_EQ(setup_.schedule->steps, 1u);
    EXPECT_EQ(setup_.schedule->tokens, 2u);
}

TEST_F(ReplaySetup, HasDefaults)
{
    ASSERT_EQ(STATUS_OK, open({})) << error_.text;
    EXPECT_EQ(setup_.config.evict, EVICT_LEARNED);
    EXPECT_EQ(setup_.config.foresight, FORESIGHT_AUTO);
    EXPECT_EQ(setup_.config.prefetch, PREFETCH_OFF);
    EXPECT_EQ(setup_.config.page_bytes, REPLAY_SETUP_PAGE_BYTES);
    EXPECT_EQ(setup_.schedule->steps, 3u);
}

TEST_F(ReplaySetup, ChoicesOfFlagsAreThoseOfThePolicy)
{
    for (int kind = 0; kind < EVICT_KINDS; kind++) {
        ASSERT_EQ(STATUS_OK,
                  open({"--policy", evict_kind_name(static_cast<enum evict_kind>(kind))}));
        EXPECT_EQ(setup_.config.evict, kind);
        replay_setup_close(&setup_);
        config_close(&config_);
    }
    for (int kind = 0; kind < FORESIGHT_KINDS; kind++) {
        if (kind == FORESIGHT_LOOKAHEAD)
            continue; // refused without a column, below
        ASSERT_EQ(STATUS_OK,
                  open({"--prefetch", "on", "--predictor",
                        foresight_name(static_cast<enum foresight>(kind))}));
        EXPECT_EQ(setup_.config.foresight, kind);
        replay_setup_close(&setup_);
        config_close(&config_);
    }
}

TEST_F(ReplaySetup, RefusesBadValues)
{
    for (const char *wrong : {"0", "-1", "x", "", "65536", "1x", "99999999999999999999"}) {
        error_ = {};
        EXPECT_EQ(STATUS_INVALID, open({"--batch", wrong})) << wrong;
        EXPECT_TRUE(says("--batch: '")) << error_.text;
        EXPECT_EQ(setup_.trace, nullptr);
    }
    error_ = {};
    EXPECT_EQ(STATUS_INVALID, open({"--page-bytes", "0"}));
    EXPECT_TRUE(says("--page-bytes: 0 is not")) << error_.text;
    error_ = {};
    EXPECT_EQ(STATUS_INVALID, open({"--page-bytes", "5GiB"}));
    EXPECT_TRUE(says("--page-bytes: 5368709120")) << error_.text;
    error_ = {};
    EXPECT_EQ(STATUS_UNSUPPORTED, open({"--batch", "trace"}));
    EXPECT_TRUE(says("--batch trace")) << error_.text;
    error_ = {};
    EXPECT_EQ(STATUS_INVALID, open({"--predictor", "previous"}));
    EXPECT_TRUE(says("--predictor: only with --prefetch")) << error_.text;
    error_ = {};
    EXPECT_EQ(STATUS_INVALID, open({"--predictor", "lookahead", "--prefetch", "auto"}));
    EXPECT_TRUE(says("--predictor lookahead")) << error_.text;
    error_ = {};
    EXPECT_EQ(STATUS_INVALID, open({}, "\xff\xff\xff"));
    EXPECT_TRUE(says("no token in it chose an expert")) << error_.text;
}

TEST_F(ReplaySetup, SlotsOfARoom)
{
    uint32_t slots = 0;
    struct room room = {};
    auto ask = [&](const char *text) {
        error_ = {};
        EXPECT_EQ(STATUS_OK, room_parse("--x", text, &room, &error_)) << error_.text;
        return replay_setup_slots(&room, "--x", 80, 1000, &slots, &error_);
    };
    EXPECT_EQ(STATUS_OK, ask("7"));
    EXPECT_EQ(slots, 7u);
    EXPECT_EQ(STATUS_OK, ask("12.5%"));
    EXPECT_EQ(slots, 10u);
    EXPECT_EQ(STATUS_OK, ask("5KB"));
    EXPECT_EQ(slots, 5u);
    EXPECT_EQ(STATUS_OK, ask("999"));
    EXPECT_EQ(slots, 80u);
    for (const char *wrong : {"999B", "1%", "auto"}) {
        EXPECT_EQ(STATUS_INVALID, ask(wrong)) << wrong;
        EXPECT_TRUE(says("--x: ")) << error_.text;
    }
}

} // namespace
