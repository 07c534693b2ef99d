#include "engine/tokenizer/added_tokens.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace {

struct Token {
    std::string text;
    bool single_word, lstrip, rstrip, special;
};

/* "text" for text, "<id>text" for a token. */
std::string split(const std::vector<Token> &tokens, const std::string &text,
                  bool parse_special = true)
{
    struct added_tokens set = {};
    struct added_segments segments = {};
    for (uint32_t id = 0; id < tokens.size(); id++) {
        struct added_token token = {};
        token.id = id;
        token.single_word = tokens[id].single_word;
        token.lstrip = tokens[id].lstrip;
        token.rstrip = tokens[id].rstrip;
        token.special = tokens[id].special;
        EXPECT_EQ(STATUS_OK, added_tokens_add(&set, &token, tokens[id].text.data(),
                                              tokens[id].text.size()));
    }
    added_tokens_build(&set);
    EXPECT_EQ(STATUS_OK, added_tokens_split(&set, text.data(), text.size(), parse_special,
        &segments));
    std::string out;
    for (uint32_t i = 0; i < segments.count; i++) {
        const struct added_segment &s = segments.at[i];
        out += out.empty() ? "" : "|";
        if (s.id != TOKEN_NONE)
            out += "<" + std::to_string(s.id) + ">";
        out += text.substr(s.begin, s.end - s.begin);
    }
    added_segments_reset(&segments);
    added_tokens_close(&set);
    return out;
}

TEST(AddedTokens, LeftmostAndThereTheLongest)
{
    std::vector<Token> tokens = {{"ab"}, {"abcd"}, {"bcde"}, {"b"}};
    EXPECT_EQ("<1>abcd|e", split(tokens, "abcde"));
    EXPECT_EQ("<0>ab|c", split(tokens, "abc"));
    EXPECT_EQ("x|<2>bcde", split(tokens, "xbcde"));
    EXPECT_EQ("<3>b|<3>b|c|<0>ab", split(tokens, "bbcab"));
    EXPECT_EQ("", split(tokens, ""));
    EXPECT_EQ("xyz", split(tokens, "xyz"));
    EXPECT_EQ("plain", split({}, "plain"));
}

TEST(AddedTokens, BytesOfEveryValue)
{
    EXPECT_EQ("é|<0>中|a|<1>\xF0\x9F\x98\x80", split({{"中"}, {"\xF0\x9F\x98\x80"}},
        "é中a\xF0\x9F\x98\x80"));
    EXPECT_EQ(std::string("a|<0>\0|b", 8), split({{std::string(1, '\0')}}, std::string("a\0b", 3)));
}

TEST(AddedTokens, SpecialOnesAreTextUnlessParsed)
{
    std::vector<Token> tokens = {{"<s>", false, false, false, true}, {"  "}};
    EXPECT_EQ("a|<0><s>|<1>  |b", split(tokens, "a<s>  b"));
    EXPECT_EQ("a<s>|<1>  |b", split(tokens, "a<s>  b", false));
}

TEST(AddedTokens, SpacesGoWithTheToken)
{
    EXPECT_EQ("a|<0>  [M]| b", split({{"[M]", false, true}}, "a  [M] b"));
    EXPECT_EQ("a |<0>[M] \n|b", split({{"[M]", false, false, true}}, "a [M] \nb"));
    EXPECT_EQ("a|<0> [M] |<0>[M] |b", split({{"[M]", false, true, true}}, "a [M] [M] b"));
}

TEST(AddedTokens, SingleWordsStandAlone)
{
    std::vector<Token> tokens = {{"cat", true}};
    EXPECT_EQ("<0>cat", split(tokens, "cat"));
    EXPECT_EQ("a |<0>cat|.", split(tokens, "a cat."));
    EXPECT_EQ("cats bobcat écaté", split(tokens, "cats bobcat écaté"));
}

TEST(AddedTokens, OfEqualTextsTheLowestIdStays)
{
    EXPECT_EQ("<0>x", split({{"x"}, {"x"}}, "x"));
}

} // namespace
