/* Regular expressions: random ones against PCRE2 on random texts, and what is refused. */
#include "engine/grammar/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "fixtures.h"
#include "tests/support/scratch.h"

using namespace fixtures;
using scratch::Random;

namespace
{

std::string random_regex(Random &r, int depth)
{
    static const char *const atoms[] = {"a",
                                        "b",
                                        "c",
                                        ".",
                                        "[ab]",
                                        "[^a]",
                                        "\\d",
                                        "\\w",
                                        "[^\\w]",
                                        "\\.",
                                        "x",
                                        "[a-c\\-]",
                                        "\\x61",
                                        "\\s",
                                        "\xC3\xA9",
                                        "[\xC3\xA0-\xC3\xBF]",
                                        "[\xE4\xB8\x80-\xE9\xBE\xA5x]",
                                        "\\D",
                                        "[\\]^]"};
    static const char *const quantifiers[] = {"*",     "+",    "?",  "{2}",
                                              "{1,3}", "{2,}", "*?", "{0,2}?"};
    std::string out;
    for (uint32_t n = 1 + r.below(3); n > 0; n--) {
        if (depth > 0 && r.chance(40))
            out += (r.chance(50) ? "(" : "(?:") + random_regex(r, depth - 1) +
                   (r.chance(50) ? "|" + random_regex(r, depth - 1) : "") + ")";
        else
            out += atoms[r.below(19)];
        if (r.chance(40))
            out += quantifiers[r.below(8)];
    }
    return out;
}

std::string random_text(Random &r)
{
    static const char *const pieces[] = {
        "a", "b", "c", "x", "1", ".", "-", " ", "\n", "\xC3\xA9", "_", "\xE4\xB8\xAD", "]", "^"};
    std::string text;
    for (uint32_t n = r.below(7); n > 0; n--)
        text += pieces[r.below(14)];
    return text;
}

bool pcre2_matches(const std::string &pattern, const std::string &text)
{
    int code;
    PCRE2_SIZE at;
    std::string whole = "^(?:" + pattern + ")\\z";
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)whole.data(), whole.size(),
                                         PCRE2_UTF | PCRE2_ALT_BSUX, &code, &at, nullptr);
    EXPECT_TRUE(compiled) << pattern;
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(compiled, nullptr);
    int found = pcre2_match(compiled, (PCRE2_SPTR)text.data(), text.size(), 0, 0, match, nullptr);
    pcre2_match_data_free(match);
    pcre2_code_free(compiled);
    return found >= 0;
}

TEST(Regex, AgreesWithPcre2)
{
    Random r(17);
    uint32_t taken_texts = 0;
    for (int round = 0; round < 400; round++) {
        std::string pattern = random_regex(r, 2);
        Opened g = regex(pattern);
        ASSERT_EQ(STATUS_OK, g.status) << pattern << ": " << g.error;
        for (int i = 0; i < 15; i++) {
            std::string text = random_text(r);
            bool expected = pcre2_matches(pattern, text);
            taken_texts += expected;
            EXPECT_EQ(expected, matches(g.get(), text)) << pattern << " on '" << text << "'";
        }
    }
    EXPECT_GT(taken_texts, 300u);
}

TEST(Regex, AnchorsEscapesAndClasses)
{
    const struct {
        const char *pattern;
        std::string text;
        bool matches;
    } cases[] = {
        {"^abc$", "abc", true},
        {"^a|b$", "a", true},
        {"^a|b$", "b", true},
        {"", "", true},
        {"", "a", false},
        {"a||b", "", true},
        {"\\u00e9", "\xC3\xA9", true},
        {"\\u{1F600}", "\xF0\x9F\x98\x80", true},
        {"\\ud83d\\ude00", "\xF0\x9F\x98\x80", true},
        {"\\cJ", "\n", true},
        {"\\0", std::string(1, '\0'), true},
        {"[\\b]", "\b", true},
        {"[\\w-x]", "-", true},
        {"[]a]", "a]", false},
        {"[^]", "\n", true},
        {".", "\n", false},
        {".", "\xE2\x80\xA8", false},
        {"\\s", "\xC2\xA0", true},
        {"\\S", "\xE2\x80\x83", false},
        {"a{,2}", "a{,2}", true},
        {"{", "{", true},
        {"a{2", "a{2", true},
        {"(?<name>a)+", "aa", true},
        {"[a-]", "-", true},
        {"\\/\\-\\\"", "/-\"", true},
        {".", "\xC3", false},
        {".", "\xED\xA0\x80", false},
        {".", "\xF0\x9F\x98\x80", true},
        {"a{3}{2}", "aaaaaa", false},
    };
    for (const auto &c : cases) {
        Opened g = regex(c.pattern);
        if (g.status == STATUS_OK)
            EXPECT_EQ(c.matches, matches(g.get(), c.text)) << c.pattern << " on " << c.text;
        else
            EXPECT_FALSE(c.matches) << c.pattern << ": " << g.error;
    }
}

TEST(Regex, Refusals)
{
    const struct {
        const char *pattern;
        enum status status;
        const char *says;
    } cases[] = {
        {"(?=a)b", STATUS_UNSUPPORTED, "look-around"},
        {"(?<!a)b", STATUS_UNSUPPORTED, "look-around"},
        {"(a)\\1", STATUS_UNSUPPORTED, "back-reference"},
        {"\\bword", STATUS_UNSUPPORTED, "word boundary"},
        {"\\p{L}", STATUS_UNSUPPORTED, "\\p"},
        {"a^b", STATUS_UNSUPPORTED, "anchor"},
        {"(a$)", STATUS_UNSUPPORTED, "anchor"},
        {"(a", STATUS_INVALID, "not closed"},
        {"a)", STATUS_INVALID, "not opened"},
        {"[a", STATUS_INVALID, "not closed"},
        {"*a", STATUS_INVALID, "nothing to repeat"},
        {"a**", STATUS_INVALID, "quantifier"}, {"a{3}{2}", STATUS_INVALID, "quantifier"},
        {"a{3,2}", STATUS_INVALID, "repetition"},
        {"[b-a]", STATUS_INVALID, "range"},
        {"\\", STATUS_INVALID, "backslash"},
        {"\\q", STATUS_INVALID, "escape"},
        {"\\ud800", STATUS_INVALID, "surrogate"},
        {"\\x4", STATUS_INVALID, "\\x"},
        {"\xFF", STATUS_INVALID, "UTF-8"},
        {"[]", STATUS_INVALID, "no text"},
        {"(?i)a", STATUS_INVALID, "group"},
        {"a{99999999}", STATUS_NO_MEMORY, "repetitions"},
        {"(a{1000}){1000}", STATUS_NO_MEMORY, "large"},
        {"((((.{9}){9}){9}){9}){9}{9}", STATUS_INVALID, ""},
        {"((((.{30}){30}){30}){30}){30}", STATUS_NO_MEMORY, "large"},
    };
    for (const auto &c : cases) {
        Opened g = regex(c.pattern);
        EXPECT_NE(STATUS_OK, g.status) << c.pattern;
        if (*c.says) {
            EXPECT_EQ(c.status, g.status) << c.pattern << ": " << g.error;
            EXPECT_NE(std::string::npos, g.error.find(c.says)) << c.pattern << ": " << g.error;
        }
    }
    EXPECT_EQ(STATUS_UNSUPPORTED, regex(std::string(5000, '(') + std::string(5000, ')')).status);
    EXPECT_EQ(STATUS_OK, regex("((){1000000}){1000000}").status);
}

} // namespace
