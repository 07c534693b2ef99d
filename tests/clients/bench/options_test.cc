#include "clients/bench/options.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

struct Parsed : options {
    fault why = {};
    bool ok;
    std::vector<std::string> words;
    explicit Parsed(std::vector<std::string> given) : words(std::move(given))
    {
        std::vector<char *> argv = {const_cast<char *>("moering-bench")};
        for (auto &w : words)
            argv.push_back(&w[0]);
        ok = options_parse(this, (int)argv.size(), argv.data(), &why);
    }
};

TEST(options, defaults)
{
    unsetenv("MOERING_API_KEY");
    Parsed o({});
    ASSERT_TRUE(o.ok) << o.why.text;
    EXPECT_EQ(BACKEND_OPENAI, o.backend);
    EXPECT_STREQ("127.0.0.1", o.host);
    EXPECT_EQ(DATASET_RANDOM, o.dataset.kind);
    EXPECT_EQ(1000u, o.dataset.count);
    EXPECT_EQ(1024u, o.dataset.input_len);
    EXPECT_EQ(128u, o.dataset.output_len);
    EXPECT_TRUE(std::isinf(o.arrivals.rate));
    EXPECT_EQ(1, o.arrivals.burstiness);
    EXPECT_EQ(0u, o.max_concurrency);
    EXPECT_EQ(1u, o.percentiles.count);
    EXPECT_EQ(99, o.percentiles.rank[0]);
    EXPECT_EQ(nullptr, o.api_key);
    EXPECT_EQ(CACHE_UNKNOWN, o.cache);
    for (bool shown : o.shown)
        EXPECT_TRUE(shown);
}

TEST(options, values)
{
    Parsed o({"--backend=openai-chat", "--request-rate", "2.5", "--burstiness", "0.5",
              "--percentile-metrics", "ttft,e2el", "--metric-percentiles", "50,99.9", "--goodput",
              "ttft:200", "tpot:50.5", "--max-concurrency", "7", "--ignore-eos", "--temperature",
              "0", "--metadata", "a=b", "c=d=e", "--num-warmups", "2", "--seed", "9"});
    ASSERT_TRUE(o.ok) << o.why.text;
    EXPECT_EQ(BACKEND_OPENAI_CHAT, o.backend);
    EXPECT_EQ(2.5, o.arrivals.rate);
    EXPECT_EQ(0.5, o.arrivals.burstiness);
    EXPECT_TRUE(o.shown[LATENCY_TTFT] && o.shown[LATENCY_E2EL]);
    EXPECT_FALSE(o.shown[LATENCY_TPOT] || o.shown[LATENCY_ITL]);
    EXPECT_EQ(2u, o.percentiles.count);
    EXPECT_EQ(99.9, o.percentiles.rank[1]);
    EXPECT_TRUE(o.has_goodput && o.has_goal[LATENCY_TTFT] && o.has_goal[LATENCY_TPOT]);
    EXPECT_FALSE(o.has_goal[LATENCY_E2EL]);
    EXPECT_EQ(50.5, o.goal_ms[LATENCY_TPOT]);
    EXPECT_EQ(7u, o.max_concurrency);
    EXPECT_TRUE(o.has_temperature && o.temperature == 0 && o.ignore_eos);
    EXPECT_EQ(2u, o.metadata_count);
    EXPECT_STREQ("c=d=e", o.metadata[1]);
    EXPECT_EQ(CACHE_WARM, o.cache);
    EXPECT_EQ(9u, o.dataset.seed);
    EXPECT_EQ(9u, o.arrivals.seed);
}

TEST(options, sweeps)
{
    Parsed c({"--sweep-concurrency", "1,2,16"});
    ASSERT_TRUE(c.ok);
    EXPECT_EQ(SWEEP_CONCURRENCY, c.sweep);
    EXPECT_EQ(3u, c.point_count);
    EXPECT_EQ(16, c.points[2]);
    Parsed r({"--sweep-request-rate", "0.5,inf"});
    ASSERT_TRUE(r.ok);
    EXPECT_EQ(0.5, r.points[0]);
    EXPECT_TRUE(std::isinf(r.points[1]));
}

TEST(options, the_key_comes_from_the_environment)
{
    setenv("MOERING_API_KEY", "secret", 1);
    EXPECT_STREQ("secret", Parsed({}).api_key);
    EXPECT_STREQ("other", Parsed({"--api-key", "other"}).api_key);
    EXPECT_STREQ("the key in --api-key is not a word of printable ASCII",
                 Parsed({"--api-key", "two words"}).why.text);
    setenv("MOERING_API_KEY", "a\nb", 1);
    EXPECT_STREQ("the key in MOERING_API_KEY is not a word of printable ASCII",
                 Parsed({}).why.text);
    setenv("MOERING_API_KEY", "", 1);
    EXPECT_EQ(nullptr, Parsed({}).api_key);
    unsetenv("MOERING_API_KEY");
}

TEST(options, help)
{
    EXPECT_TRUE(Parsed({"--help"}).help);
    EXPECT_TRUE(Parsed({"-h", "--nonsense"}).help);
    EXPECT_TRUE(Parsed({"--version", "--nonsense"}).version);
}

TEST(options, every_flag_is_in_the_help)
{
    char *text = nullptr;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    options_help(out);
    fclose(out);
    for (const char *flag :
         {"--backend", "--base-url", "--host", "--port", "--endpoint", "--model", "--api-key",
          "--cacert", "--insecure", "--metrics-url", "--dataset-name", "--dataset-path",
          "--num-prompts", "--seed", "--random-input-len", "--random-output-len",
          "--random-range-ratio", "--random-vocab-size", "--sharegpt-output-len",
          "--custom-output-len", "--trace-speed", "--prefix-repetition-prefix-len",
          "--prefix-repetition-suffix-len", "--prefix-repetition-num-prefixes",
          "--prefix-repetition-output-len", "--no-progress", "--version",
          "--request-rate", "--burstiness", "--max-concurrency", "--ramp-up-strategy",
          "--ramp-up-start-rps", "--ramp-up-end-rps", "--sweep-concurrency", "--sweep-request-rate",
          "--num-warmups", "--cache-state", "--streams-per-connection", "--ignore-eos",
          "--temperature", "--extra-body", "--timeout", "--ready-check-timeout-sec",
          "--percentile-metrics", "--metric-percentiles", "--goodput", "--save-result",
          "--save-detailed", "--result-dir", "--result-filename", "--label", "--metadata", "--html",
          "--disable-tqdm", "--help"})
        EXPECT_NE(nullptr, strstr(text, flag)) << flag;
    free(text);
}

TEST(options, refusals)
{
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
        {{"--request-rat", "1"}, "unknown flag '--request-rat'; did you mean '--request-rate'?"},
        {{"words"}, "unexpected word 'words'"},
        {{"--ignore-eos=1"}, "--ignore-eos takes no value"},
        {{"--seed"}, "--seed needs a value"},
        {{"--seed", "-1"}, "'-1' is no value for --seed"},
        {{"--port", "65536"}, "'65536' is no value for --port"},
        {{"--request-rate", "0"},
         "'0' is no value for --request-rate: it takes a number above 0, or inf"},
        {{"--request-rate", "nan"},
         "'nan' is no value for --request-rate: it takes a number above 0, or inf"},
        {{"--random-range-ratio", "1.5"}, "'1.5' is no value for --random-range-ratio"},
        {{"--goodput", "itl:5"},
         "'itl:5' is no value for --goodput: it takes ttft:MS, tpot:MS and e2el:MS"},
        {{"--goodput", "ttft:"},
         "'ttft:' is no value for --goodput: it takes ttft:MS, tpot:MS and e2el:MS"},
        {{"--metric-percentiles", "50,,99"}, "'50,,99' is no value for --metric-percentiles"},
        {{"--metric-percentiles", "101"}, "'101' is no value for --metric-percentiles"},
        {{"--percentile-metrics", "tttf"},
         "'tttf' is no value for --percentile-metrics: it takes some of ttft,tpot,itl,e2el"},
        {{"--sweep-concurrency", "1,0"}, "'1,0' is no value for --sweep-concurrency"},
        {{"--dataset-name", "sharegpt"}, "--dataset-name sharegpt needs --dataset-path"},
        {{"--dataset-path", "x"}, "--dataset-name random takes no --dataset-path"},
        {{"--burstiness", "2"}, "--burstiness has no effect without a finite --request-rate"},
        {{"--ramp-up-strategy", "linear"},
         "--ramp-up-strategy needs --ramp-up-start-rps and --ramp-up-end-rps"},
        {{"--ramp-up-start-rps", "1"},
         "--ramp-up-start-rps and --ramp-up-end-rps need --ramp-up-strategy"},
        {{"--dataset-name", "trace", "--dataset-path", "x", "--request-rate", "1"},
         "a trace says itself when its requests are sent: no other rate"},
        {{"--backend", "moering", "--endpoint", "/x"}, "--backend moering has no --endpoint"},
        {{"--backend", "vllm"},
         "'vllm' is no value for --backend: it takes openai, openai-chat or moering"},
        {{"--base-url", "ftp://x"},
         "--base-url 'ftp://x': the scheme is none of http, https, grpc, grpcs"},
        {{"--metrics-url", "http://"},
         "--metrics-url 'http://' is not [SCHEME://]HOST[:PORT][/PREFIX]"},
        {{"--base-url", "x", "--port", "1"}, "--base-url takes no --host and no --port"},
        {{"--cache-state", "cold", "--num-warmups", "1"},
         "--cache-state cold excludes --num-warmups"},
        {{"--result-dir", "x"},
         "--result-dir, --result-filename and --save-detailed need --save-result"},
        {{"--backend", "openai-chat", "--random-vocab-size", "5"},
         "--random-vocab-size: a chat's messages are texts, not token ids"},
        {{"--streams-per-connection", "5"},
         "--streams-per-connection is of --backend moering alone"},
    };
    for (const auto &c : cases) {
        Parsed o(c.first);
        EXPECT_FALSE(o.ok);
        EXPECT_EQ(c.second, o.why.text);
    }
}

} // namespace
