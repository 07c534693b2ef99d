#include "clients/bench/dataset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

namespace {

dataset_config config(dataset_kind kind, uint32_t count)
{
    dataset_config c = {};
    c.kind = kind;
    c.count = count;
    c.input_len = 100;
    c.output_len = 20;
    c.prefix_len = 30;
    c.suffix_len = 5;
    c.prefix_count = 3;
    c.prefix_output_len = 9;
    c.trace_speed = 1;
    return c;
}

struct Data : dataset {
    explicit Data(const dataset_config &c)
    {
        fault why = {};
        EXPECT_TRUE(dataset_open(this, &c, &why)) << why.text;
    }
    ~Data() { dataset_close(this); }
};

size_t words(const std::string &text)
{
    return (size_t)std::count(text.begin(), text.end(), ' ') + 1;
}

TEST(dataset, random_words)
{
    Data d(config(DATASET_RANDOM, 50));
    ASSERT_EQ(50u, d.count);
    std::set<std::string> seen;
    for (uint32_t i = 0; i < d.count; i++) {
        const prompt &p = d.prompts[i];
        ASSERT_TRUE(p.text && !p.ids);
        EXPECT_EQ(p.text_bytes, strlen(p.text));
        EXPECT_EQ(100u, words(p.text));
        EXPECT_EQ(100u, p.input_tokens);
        EXPECT_EQ(20u, p.output_tokens);
        seen.insert(p.text);
    }
    EXPECT_EQ(50u, seen.size());
    EXPECT_FALSE(d.timed);
}

TEST(dataset, random_ids_stay_below_the_vocabulary)
{
    auto c = config(DATASET_RANDOM, 20);
    c.vocabulary = 7;
    Data d(c);
    std::set<uint32_t> seen;
    for (uint32_t i = 0; i < d.count; i++) {
        ASSERT_TRUE(!d.prompts[i].text && d.prompts[i].id_count == 100);
        seen.insert(d.prompts[i].ids, d.prompts[i].ids + 100);
    }
    EXPECT_EQ(7u, seen.size());
    EXPECT_EQ(6u, *seen.rbegin());
}

TEST(dataset, lengths_fill_their_range)
{
    auto c = config(DATASET_RANDOM, 2000);
    c.range_ratio = 0.25;
    Data d(c);
    std::set<uint32_t> in, out;
    for (uint32_t i = 0; i < d.count; i++) {
        in.insert(d.prompts[i].input_tokens);
        out.insert(d.prompts[i].output_tokens);
    }
    EXPECT_EQ(75u, *in.begin());
    EXPECT_EQ(125u, *in.rbegin());
    EXPECT_EQ(15u, *out.begin());
    EXPECT_EQ(25u, *out.rbegin());
}

TEST(dataset, the_seed_decides)
{
    auto c = config(DATASET_RANDOM, 3);
    Data a(c), b(c);
    c.seed = 1;
    Data other(c);
    EXPECT_STREQ(a.prompts[2].text, b.prompts[2].text);
    EXPECT_STRNE(a.prompts[2].text, other.prompts[2].text);
}

TEST(dataset, prefixes_are_shared_and_ends_are_not)
{
    auto c = config(DATASET_PREFIX_REPETITION, 30);
    c.vocabulary = 1000;
    Data d(c);
    std::set<std::vector<uint32_t>> beginnings, ends;
    for (uint32_t i = 0; i < d.count; i++) {
        const prompt &p = d.prompts[i];
        ASSERT_EQ(35u, p.id_count);
        EXPECT_EQ(9u, p.output_tokens);
        beginnings.insert(std::vector<uint32_t>(p.ids, p.ids + 30));
        ends.insert(std::vector<uint32_t>(p.ids + 30, p.ids + 35));
    }
    EXPECT_EQ(3u, beginnings.size());
    EXPECT_EQ(30u, ends.size());
    c.vocabulary = 0;
    Data text(c);
    EXPECT_EQ(35u, words(text.prompts[0].text));
}

TEST(dataset, kinds_have_names)
{
    dataset_kind kind;
    for (int i = 0; i <= DATASET_TRACE; i++) {
        ASSERT_TRUE(dataset_kind_parse(dataset_kind_name((dataset_kind)i), &kind));
        EXPECT_EQ(i, (int)kind);
    }
    EXPECT_FALSE(dataset_kind_parse("sonnet", &kind));
}

} // namespace
