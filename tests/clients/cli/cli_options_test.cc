#include "clients/cli/cli.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

namespace {

struct Parsed {
    struct cli_options o = {};
    int code;
    std::string said;
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
        said = testing::internal::GetCapturedStderr();
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

TEST(cli_options, tls_and_keys)
{
    unsetenv("MOERING_API_KEY");
    Parsed p({"health", "--tls", "--ca", "x.pem", "--api-key", "k"});
    ASSERT_EQ(CLI_OK, p.code) << p.said;
    EXPECT_TRUE(p.o.tls);
    EXPECT_STREQ("x.pem", p.o.ca_file);
    EXPECT_STREQ("k", p.o.api_key);
    Parsed none({"health", "--insecure"});
    EXPECT_TRUE(none.o.insecure && !none.o.tls && !none.o.ca_file && !none.o.api_key);
    EXPECT_EQ(CLI_USAGE, Parsed({"health", "--insecure", "--ca", "x.pem"}).code);
    setenv("MOERING_API_KEY", "v", 1);
    EXPECT_STREQ("v", Parsed({"health"}).o.api_key);
    EXPECT_STREQ("k", Parsed({"health", "--api-key", "k"}).o.api_key);
    setenv("MOERING_API_KEY", "", 1);
    EXPECT_EQ(nullptr, Parsed({"health"}).o.api_key);
    unsetenv("MOERING_API_KEY");
}

TEST(cli_options, a_budget)
{
    Parsed p({"budget", "--device-experts", "25%", "--kv-cache-bytes=4GiB"});
    ASSERT_EQ(CLI_OK, p.code) << p.said;
    EXPECT_STREQ("25%", p.o.device_experts);
    EXPECT_STREQ("4GiB", p.o.kv_cache_bytes);
    EXPECT_EQ(nullptr, p.o.host_experts);
    EXPECT_EQ(CLI_USAGE, Parsed({"budget", "-p", "x"}).code);
    EXPECT_EQ(CLI_USAGE, Parsed({"stats", "--device-experts", "1"}).code);
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

TEST(cli_options, values_may_hang_on_their_flags)
{
    Parsed p({"generate", "--seed=7", "-n5", "--prompt=", "--stop=a=b", "--", "-x"});
    EXPECT_EQ(CLI_USAGE, p.code);
    EXPECT_EQ("moering-client: unexpected word '-x'\n", p.said);
    EXPECT_EQ(7u, p.o.seed);
    EXPECT_EQ(5u, p.o.max_tokens);
    EXPECT_STREQ("", p.o.text);
    EXPECT_STREQ("a=b", p.o.stops[0]);
    Parsed dash({"generate", "--json", "--", "-x"});
    EXPECT_EQ(CLI_OK, dash.code) << dash.said;
    EXPECT_STREQ("-x", dash.o.text);
}

TEST(cli_options, unknown_words_name_the_nearest)
{
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
        {{"generate", "--temprature", "0", "x"},
         "unknown flag '--temprature'; did you mean '--temperature'?"},
        {{"generate", "--temp", "0"}, "unknown flag '--temp'; did you mean '--temperature'?"},
        {{"generate", "--max-token=4"}, "unknown flag '--max-token'; did you mean '--max-tokens'?"},
        {{"generate", "-seed", "4"}, "unknown flag '-seed'; did you mean '--seed'?"},
        {{"generate", "--stop-token-ids-that-nobody-has"},
         "unknown flag '--stop-token-ids-that-nobody-has'; did you mean '--stop-token-ids'?"},
        {{"generat", "x"}, "unknown command 'generat'; did you mean 'generate'?"},
        {{"detoknize"}, "unknown command 'detoknize'; did you mean 'detokenize'?"},
        {{"--connect", "h:1", "state", "x", "y"}, "unknown command 'state'; did you mean 'stats'?"},
    };
    for (auto &c : cases) {
        Parsed p(c.first);
        EXPECT_EQ(CLI_USAGE, p.code) << c.second;
        EXPECT_EQ("moering-client: " + c.second + "\n", p.said);
    }
}

TEST(cli_options, what_has_no_use_is_refused_by_name)
{
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
        {{"stats", "-p", "hi"}, "stats takes no -p"},
        {{"stats", "-phi"}, "stats takes no -p"},
        {{"--prompt=hi", "stats"}, "stats takes no --prompt"},
        {{"tokenize", "--temperature", "0"}, "tokenize takes no --temperature"},
        {{"detokenize", "--tokens", "1", "--no-special"}, "detokenize takes no --no-special"},
        {{"health", "--model", "m"}, "health takes no --model"},
        {{"generate", "--service", "s"}, "generate takes no --service"},
        {{"generate", "--pieces"}, "generate takes no --pieces"},
        {{"generate", "--logprobs"}, "--logprobs shows only with --json"},
        {{"generate", "--top-logprobs=2"}, "--top-logprobs shows only with --json"},
        {{"generate", "--tokens", "1", "text"}, "the prompt is a text or --tokens, not both"},
        {{"generate", "-p", "a", "b"}, "unexpected word 'b'"},
        {{"stats", "b"}, "unexpected word 'b'"},
        {{"stats", "--json=1"}, "--json takes no value"},
        {{"stats", "--connect"}, "--connect needs a value"},
        {{"generate", "-n"}, "-n needs a value"},
        {{"generate", "-nx"}, "'x' is no value for -n"},
        {{"generate", "--seed=x"}, "'x' is no value for --seed"},
    };
    for (auto &c : cases) {
        Parsed p(c.first);
        EXPECT_EQ(CLI_USAGE, p.code) << c.second;
        EXPECT_EQ("moering-client: " + c.second + "\n", p.said);
    }
    for (auto &words : std::vector<std::vector<std::string>>{
             {"generate", "--logprobs", "--json"}, {"tokenize", "--pieces"},
             {"detokenize", "--tokens", "1", "--keep-special"}, {"health", "--service", "s"}}) {
        Parsed p(words);
        EXPECT_EQ(CLI_OK, p.code) << p.said;
    }
}

TEST(cli_options, help_and_nothing)
{
    for (auto &words : std::vector<std::vector<std::string>>{
             {"help"}, {"--help"}, {"-h"}, {"stats", "--help"}, {"generate", "-p", "x", "-h"}}) {
        Parsed p(words);
        EXPECT_EQ(CLI_OK, p.code);
        EXPECT_STREQ("help", p.o.command);
    }
    for (auto &words : std::vector<std::vector<std::string>>{{"version"}, {"top", "--version"}}) {
        Parsed p(words);
        EXPECT_EQ(CLI_OK, p.code);
        EXPECT_STREQ("version", p.o.command);
    }
    Parsed p({});
    EXPECT_EQ(CLI_OK, p.code);
    EXPECT_STREQ("", p.o.command);
}

TEST(cli_options, every_flag_is_in_the_help)
{
    char *text = nullptr;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    cli_help(out);
    fclose(out);
    for (const char *flag :
         {"--connect", "--tls", "--ca", "--insecure", "--api-key", "--timeout", "--wait", "--json",
          "-p --prompt", "--text", "--tokens", "-n --max-tokens", "--min-tokens", "--temperature",
          "--top-k", "--top-p", "--min-p", "--repetition-penalty", "--presence-penalty",
          "--frequency-penalty", "--seed", "--stop ", "--stop-token-ids", "--include-stop",
          "--ignore-eos", "--no-special", "--keep-special", "--echo", "--logprobs",
          "--top-logprobs", "--priority", "--request-id", "--model", "--pieces", "--service",
          "--device-experts", "--host-experts", "--kv-cache-bytes", "--system", "--interval",
          "--once", "-h --help", "--version"})
        EXPECT_NE(nullptr, strstr(text, flag)) << flag;
    free(text);
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
