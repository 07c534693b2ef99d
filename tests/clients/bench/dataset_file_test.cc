#include <gtest/gtest.h>

#include <set>
#include <string>

#include "clients/bench/dataset.h"
#include "tests/support/scratch.h"

namespace {

struct Loaded : dataset {
    fault why = {};
    bool ok;
    scratch::Folder folder;
    Loaded(dataset_kind kind, const std::string &text, uint32_t wanted = 0, uint32_t length = 0)
    {
        dataset_config c = {};
        std::string path = folder.write("data", text);
        c.kind = kind;
        c.path = path.c_str();
        c.count = wanted;
        c.sharegpt_output_len = length;
        c.custom_output_len = 33;
        c.trace_speed = 2;
        ok = dataset_open(this, &c, &why);
    }
    ~Loaded() { dataset_close(this); }
    std::string refusal() const
    {
        std::string text = why.text;
        size_t at = text.find("/data");
        return at == std::string::npos ? text : text.substr(at + 1);
    }
};

const char sharegpt[] =
    "[{\"id\":\"a\",\"conversations\":[{\"from\":\"system\",\"value\":\"s\"},"
    "{\"from\":\"human\",\"value\":\"0123456789abcdefg\"},"
    "{\"from\":\"gpt\",\"value\":\"0123456789abcdef\"}]},"
    "{\"conversations\":[{\"from\":\"user\",\"value\":\"another long question\"},"
    "{\"from\":\"gpt\",\"value\":\"another long answer \"}]},"
    "{\"conversations\":[{\"from\":\"human\",\"value\":\"not too short\"},"
    "{\"from\":\"gpt\",\"value\":\"x\"}]},"
    "{\"conversations\":[{\"from\":\"human\",\"value\":\"a question without an answer\"}]},"
    "{\"conversations\":[]},{}, 5]";

TEST(dataset_file, sharegpt)
{
    Loaded d(DATASET_SHAREGPT, sharegpt);
    ASSERT_TRUE(d.ok) << d.why.text;
    ASSERT_EQ(2u, d.count);
    int first = strcmp(d.prompts[0].text, "0123456789abcdefg") == 0 ? 0 : 1;
    EXPECT_EQ(5u, d.prompts[first].input_tokens);
    EXPECT_EQ(4u, d.prompts[first].output_tokens);
    EXPECT_STREQ("another long question", d.prompts[1 - first].text);
    EXPECT_EQ(5u, d.prompts[1 - first].output_tokens);
    Loaded fixed(DATASET_SHAREGPT, sharegpt, 0, 50);
    ASSERT_EQ(3u, fixed.count) << "a fixed length lets short answers in";
    EXPECT_EQ(50u, fixed.prompts[0].output_tokens);
}

TEST(dataset_file, files_begin_anew_when_more_is_wanted)
{
    Loaded d(DATASET_SHAREGPT, sharegpt, 5);
    ASSERT_EQ(5u, d.count);
    EXPECT_EQ(2u, d.distinct);
    EXPECT_STREQ(d.prompts[0].text, d.prompts[2].text);
    EXPECT_STREQ(d.prompts[0].text, d.prompts[4].text);
    EXPECT_NE(d.prompts[0].text, d.prompts[2].text);
    EXPECT_STRNE(d.prompts[0].text, d.prompts[1].text);
    EXPECT_EQ(1u, Loaded(DATASET_SHAREGPT, sharegpt, 1).count);
}

TEST(dataset_file, custom_lines)
{
    Loaded d(DATASET_CUSTOM,
             "{\"prompt\":\"12345678\",\"output_tokens\":7}\n\n{\"prompt\":\"x\"}\n");
    ASSERT_TRUE(d.ok) << d.why.text;
    ASSERT_EQ(2u, d.count);
    std::set<std::pair<uint32_t, uint32_t>> lengths;
    for (uint32_t i = 0; i < 2; i++)
        lengths.insert({d.prompts[i].input_tokens, d.prompts[i].output_tokens});
    EXPECT_EQ((std::set<std::pair<uint32_t, uint32_t>>{{2, 7}, {1, 33}}), lengths);
}

TEST(dataset_file, a_trace_keeps_its_times)
{
    Loaded d(DATASET_TRACE, "{\"timestamp\":1000,\"input_length\":3,\"output_length\":4}\n"
                            "{\"timestamp\":1500.5,\"prompt\":\"abcd\",\"output_tokens\":5}\n"
                            "{\"timestamp\":3000,\"input_length\":2,\"output_length\":6}\n", 4);
    ASSERT_TRUE(d.ok) << d.why.text;
    EXPECT_TRUE(d.timed);
    ASSERT_EQ(4u, d.count);
    EXPECT_EQ(0u, d.prompts[0].at_ns);
    EXPECT_EQ(250250000u, d.prompts[1].at_ns) << "twice as fast";
    EXPECT_EQ(1000000000u, d.prompts[2].at_ns);
    EXPECT_EQ(1500000000u, d.prompts[3].at_ns) << "again, after a mean gap";
    EXPECT_STREQ(d.prompts[0].text, d.prompts[3].text);
    EXPECT_STREQ("abcd", d.prompts[1].text);
    EXPECT_EQ(6u, d.prompts[2].output_tokens);
}

TEST(dataset_file, equal_hashes_are_equal_beginnings)
{
    Loaded d(DATASET_TRACE,
             "{\"timestamp\":0,\"input_length\":1030,\"output_length\":1,\"hash_ids\":[1,2,3]}\n"
             "{\"timestamp\":1,\"input_length\":1024,\"output_length\":1,\"hash_ids\":[1,9]}\n"
             "{\"timestamp\":2,\"input_length\":600,\"output_length\":1,\"hash_ids\":[1]}\n");
    ASSERT_TRUE(d.ok) << d.why.text;
    std::string a = d.prompts[0].text, b = d.prompts[1].text, c = d.prompts[2].text;
    size_t common = 0;
    while (a[common] == b[common])
        common++;
    size_t block = 0, words = 0;
    while (words < 512)
        words += a[block++] == ' ';
    EXPECT_GE(common, block - 1);
    EXPECT_LT(common, block + 60);
    EXPECT_EQ(a.substr(0, block), c.substr(0, block));
    EXPECT_EQ(1030u, d.prompts[0].input_tokens);
    EXPECT_EQ(600u, d.prompts[2].input_tokens);
}

TEST(dataset_file, refusals_name_file_and_line)
{
    EXPECT_EQ("data:2: no text 'prompt'",
              Loaded(DATASET_CUSTOM, "{\"prompt\":\"a\"}\n{\"Prompt\":\"a\"}\n").refusal());
    EXPECT_EQ("data:1: 'output_tokens' is not a whole number of 1 or more",
              Loaded(DATASET_CUSTOM, "{\"prompt\":\"a\",\"output_tokens\":0.5}").refusal());
    EXPECT_EQ("data:1: not a JSON object", Loaded(DATASET_CUSTOM, "[1]").refusal());
    EXPECT_EQ("data:1: 'timestamp' is not a number of milliseconds",
              Loaded(DATASET_TRACE, "{}").refusal());
    EXPECT_EQ("data:1: no whole 'output_length' of 1 or more",
              Loaded(DATASET_TRACE, "{\"timestamp\":0,\"output_length\":0}").refusal());
    EXPECT_EQ("data:1: neither a 'prompt' nor a whole 'input_length' of 1 or more",
              Loaded(DATASET_TRACE, "{\"timestamp\":0,\"output_length\":2}").refusal());
    EXPECT_EQ("data: request 2 is earlier than the one before it",
              Loaded(DATASET_TRACE, "{\"timestamp\":5,\"output_length\":2,\"input_length\":1}\n"
                                    "{\"timestamp\":4,\"output_length\":2,\"input_length\":1}")
                  .refusal());
    EXPECT_EQ("data: not a list of conversations", Loaded(DATASET_SHAREGPT, "{}").refusal());
    EXPECT_EQ("data: no prompt in it can be used", Loaded(DATASET_SHAREGPT, "[]").refusal());
    EXPECT_EQ("data: no prompt in it can be used", Loaded(DATASET_CUSTOM, "\n").refusal());
    EXPECT_FALSE(Loaded(DATASET_SHAREGPT, "[{").ok);
    dataset_config c = {};
    c.kind = DATASET_CUSTOM;
    c.path = "/nowhere/at/all";
    dataset d;
    fault why = {};
    EXPECT_FALSE(dataset_open(&d, &c, &why));
    EXPECT_STREQ("/nowhere/at/all: cannot be opened", why.text);
    dataset_close(&d);
}

} // namespace
