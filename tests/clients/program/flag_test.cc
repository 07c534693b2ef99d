#include "clients/program/flag.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace {

const flag some[] = {
    {"seed", 's', FLAG_VALUE, 1, 0},
    {"seeds", 0, FLAG_VALUES, 2, 0},
    {"json", 'j', FLAG_SWITCH, 3, 0},
    {"temperature", 0, FLAG_VALUE, 4, 0},
};
const flag_table table = {some, 4};

/* The flag that begins the words, what it took, and where reading stopped. */
struct Taken {
    fault why = {};
    flag_found found = {};
    flag_words at = {};
    bool ok;
    std::vector<std::string> words;
    std::vector<char *> argv;

    explicit Taken(std::vector<std::string> given) : words(std::move(given))
    {
        for (auto &w : words)
            argv.push_back(&w[0]);
        at = {(int)argv.size(), argv.data(), 0};
        ok = flag_take(&table, &at, &found, &why);
    }
};

TEST(flag, four_ways_to_give_a_value)
{
    const std::vector<std::pair<std::vector<std::string>, int>> ways = {
        {{"--seed", "7"}, 1}, {{"--seed=7"}, 0}, {{"-s", "7"}, 1}, {{"-s7"}, 0}};
    for (auto &way : ways) {
        Taken t(way.first);
        ASSERT_TRUE(t.ok) << t.why.text;
        EXPECT_EQ(1, t.found.flag->id);
        EXPECT_STREQ("7", t.found.value);
        EXPECT_EQ(way.second, t.at.at) << "the last word used";
    }
    Taken empty({"--seed=", "7"});
    EXPECT_STREQ("", empty.found.value);
    EXPECT_EQ(0, empty.at.at);
    Taken negative({"--seed", "-3"});
    EXPECT_STREQ("-3", negative.found.value) << "a value is whatever stands there";
}

TEST(flag, switches_take_none)
{
    Taken t({"--json", "7"});
    ASSERT_TRUE(t.ok);
    EXPECT_EQ(nullptr, t.found.value);
    EXPECT_EQ(0, t.at.at);
    EXPECT_FALSE(flag_take_more(&t.at, &t.found));
    EXPECT_STREQ("--json takes no value", Taken({"--json=1"}).why.text);
    EXPECT_STREQ("-j takes no value", Taken({"-j1"}).why.text);
}

TEST(flag, several_values_up_to_the_next_flag)
{
    Taken t({"--seeds", "1", "2", "3", "-j"});
    ASSERT_TRUE(t.ok);
    std::string got = t.found.value;
    while (flag_take_more(&t.at, &t.found))
        got += t.found.value;
    EXPECT_EQ("123", got);
    EXPECT_EQ(3, t.at.at);
    Taken one({"--seed", "1", "2"});
    EXPECT_FALSE(flag_take_more(&one.at, &one.found)) << "this flag takes one";
}

TEST(flag, refusals_name_the_word_and_the_nearest_flag)
{
    const std::vector<std::pair<std::vector<std::string>, std::string>> cases = {
        {{"--seed"}, "--seed needs a value"},
        {{"-s"}, "-s needs a value"},
        {{"--see=1"}, "unknown flag '--see'; did you mean '--seed'?"},
        {{"--temprature", "1"}, "unknown flag '--temprature'; did you mean '--temperature'?"},
        {{"--temp"}, "unknown flag '--temp'; did you mean '--temperature'?"},
        {{"-json"}, "-j takes no value"}, /* the rest hangs on it */
        {{"--" + std::string(300, 'x')},
         "unknown flag '--" + std::string(98, 'x') + "'; did you mean '--seed'?"},
    };
    for (auto &c : cases) {
        Taken t(c.first);
        EXPECT_FALSE(t.ok);
        EXPECT_EQ(c.second, t.why.text);
    }
    Taken t({"-s7"});
    EXPECT_FALSE(flag_refuse_value(&t.found, nullptr, &t.why));
    EXPECT_STREQ("'7' is no value for -s", t.why.text);
    t.why = {};
    flag_refuse_value(&t.found, "8 or 9", &t.why);
    EXPECT_STREQ("'7' is no value for -s: it takes 8 or 9", t.why.text);
}

TEST(flag, what_begins_a_flag)
{
    EXPECT_TRUE(flag_begins("-x") && flag_begins("--x") && flag_begins("---"));
    EXPECT_FALSE(flag_begins("-") || flag_begins("--") || flag_begins("x") || flag_begins(""));
}

TEST(flag, distances)
{
    EXPECT_EQ(0u, flag_distance("seed", "seed"));
    EXPECT_EQ(0u, flag_distance("se", "seed")) << "it begins the name";
    EXPECT_EQ(1u, flag_distance("sed", "seed"));
    EXPECT_EQ(2u, flag_distance("esed", "seed")) << "two changed";
    EXPECT_EQ(4u, flag_distance("json", "seed"));
    EXPECT_EQ(3u, flag_distance("kitten", "sitting"));
}

} // namespace
