/* Every name opens; what the names mean is measured by tokenizer_pieces_test.cc. */
#include "engine/tokenizer/split_rules.h"

#include <gtest/gtest.h>

#include <cstring>

namespace {

TEST(SplitRules, EveryNameCompilesAndEndsInBytes)
{
    for (const char *name : {"default",
                             "gpt-2",
                             "olmo",
                             "mpt",
                             "starcoder",
                             "refact",
                             "command-r",
                             "smollm",
                             "falcon",
                             "dbrx",
                             "smaug-bpe",
                             "glm4",
                             "llama-bpe",
                             "llama3",
                             "qwen2",
                             "stablelm2",
                             "jais",
                             "jais-2",
                             "bailingmoe",
                             "llada-moe",
                             "seed-coder",
                             "tekken",
                             "gpt-4o",
                             "llama4",
                             "deepseek-llm",
                             "deepseek-coder",
                             "deepseek-v3",
                             "hunyuan-dense",
                             "deepseek-r1-qwen"}) {
        const struct split_rules *rules = split_rules_find(name, strlen(name));
        ASSERT_NE(nullptr, rules) << name;
        struct normalizer normalizer = {};
        struct pretokenizer pretokenizer = {};
        EXPECT_EQ(STATUS_OK, split_rules_apply(rules, &normalizer, &pretokenizer)) << name;
        ASSERT_GE(pretokenizer.count, 2u) << name;
        EXPECT_EQ(PRETOKENIZE_BYTE_LEVEL, pretokenizer.steps[pretokenizer.count - 1].kind);
        EXPECT_EQ(rules->nfc ? 1u : 0u, normalizer.count) << name;
        normalizer_close(&normalizer);
        pretokenizer_close(&pretokenizer);
    }
}

TEST(SplitRules, NamesAreFoundWholeAndNothingElse)
{
    EXPECT_EQ(nullptr, split_rules_find("qwen", 4));
    EXPECT_EQ(nullptr, split_rules_find("qwen22", 6));
    EXPECT_EQ(nullptr, split_rules_find("", 0));
    EXPECT_NE(nullptr, split_rules_find("qwen22", 5));
    EXPECT_TRUE(split_rules_find("tekken", 6)->ignore_merges);
    EXPECT_TRUE(split_rules_find("llama-bpe", 9)->adds_bos);
    EXPECT_FALSE(split_rules_find("qwen2", 5)->adds_bos);
}

} // namespace
