#include "clients/cli/cli.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace {

struct Parsed {
    struct cli_options o = {};
    int code;
    std::vector<std::string> words;

    explicit Parsed(std::vector<std::string> args) : words(std::move(args))
    {
        words.insert(words.begin(), "moering-client");
        std::vector<char *> argv;
        for (auto &w : words)
            argv.push_back(&w[0]);
        argv.push_back(nullptr);
        testing::internal::CaptureStderr();
        code = cli_options_parse(&o, (int)words.size(), argv.data());
        testing::internal::GetCapturedStderr();
    }
    ~Parsed() { cli_options_close(&o); }
};

TEST(cli_options, a_whole_request)
{
    Parsed p({"generate", "--connect", "h:1", "-p", "hello", "-n", "7", "--temperature", "0",
              "--seed", "18446744073709551615", "--stop", "a", "--stop", "b",
              "--stop-token-ids", "1,2", "--priority", "-3", "--timeout", "1.5", "--json"});
    ASSERT_EQ(CLI_OK, p.code);
    EXPECT_STREQ("generate", p.o.command);
    EXPECT_STREQ("h:1", p.o.connect);
    EXPECT_STREQ("hello", p.o.text);
    EXPECT_TRUE(p.o.has_max_tokens && p.o.has_temperature && p.o.has_seed && p.o.json);
    EXPECT_EQ(7u, p.o.max_tokens);
    EXPECT_EQ(0.0f, p.o.temperature);
    EXPECT_EQ(UINT64_MAX, p.o.seed);
    EXPECT_EQ(2u, p.o.stop_count);
    EXPECT_EQ(2u, p.o.stop_tokens.count);
    EXPECT_EQ(-3, p.o.priority);
    EXPECT_EQ(1500u, p.o.timeout_ms);
    EXPECT_FALSE(p.o.has_top_p);
}

TEST(cli_options, flags_may_come_first)
{
    Parsed p({"--connect", "h:1", "stats"});
    EXPECT_EQ(CLI_OK, p.code);
    EXPECT_STREQ("stats", p.o.command);
}

TEST(cli_options, wrong_values_are_usage_errors)
{
    const std::vector<std::vector<std::string>> cases = {
        {"generate", "-n", "x"},        {"generate", "-n", "-1"},
        {"generate", "--top-p", "nan"}, {"generate", "--seed", "18446744073709551616"},
        {"generate", "--timeout", "0"}, {"generate", "--timeout", "-1"},
        {"generate", "--tokens", "1,"}, {"generate", "--tokens", ""},
        {"generate", "--priority", "2147483648"}, {"generate", "--unknown"},
        {"generate", "more", "words"},  {"generate", "-n"},
    };
    for (auto &words : cases)
        EXPECT_EQ(CLI_USAGE, Parsed(words).code) << words.back();
}

TEST(cli_options, ids)
{
    struct cli_ids ids = {};
    ASSERT_TRUE(cli_parse_ids("0,7,4294967295", &ids));
    ASSERT_EQ(3u, ids.count);
    EXPECT_EQ(4294967295u, ids.ids[2]);
    for (const char *wrong : {"", ",", "1,,2", "4294967296", "1 2", "x", "-1"})
        EXPECT_FALSE(cli_parse_ids(wrong, &ids)) << wrong;
    EXPECT_EQ(3u, ids.count); /* a refused list leaves the old one */
    free(ids.ids);
}

} // namespace
