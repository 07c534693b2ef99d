#include "engine/tokenizer/pattern.h"

#include <gtest/gtest.h>

#include <string>

namespace {

std::string find_all(const std::string &regex, const std::string &text, bool literal = false)
{
    struct pattern pattern = {};
    struct pattern_scratch scratch = {};
    struct span_list finds = {};
    struct error error = {};
    enum status status = literal ? pattern_open_literal(&pattern, regex.data(), regex.size())
                                 : pattern_open_regex(&pattern, regex.data(), regex.size(), &error);
    std::string out;
    if (status == STATUS_OK)
        status = pattern_find_all(&pattern, &scratch, text.data(), text.size(), &finds, &error);
    for (uint32_t i = 0; i < finds.count; i++)
        out += "[" + text.substr(finds.at[i].begin, finds.at[i].end - finds.at[i].begin) + "]";
    if (status != STATUS_OK)
        out = std::string(status_name(status)) + ": " + error.text;
    span_list_reset(&finds);
    pattern_scratch_reset(&scratch);
    pattern_close(&pattern);
    return out;
}

std::string translated(const std::string &regex)
{
    struct text out = {};
    struct error error = {};
    enum status status = pattern_translate(regex.data(), regex.size(), &out, &error);
    std::string result = status == STATUS_OK ? std::string(out.data ? out.data : "", out.bytes)
                                             : std::string(status_name(status)) + ": " + error.text;
    text_reset(&out);
    return result;
}

TEST(Pattern, FindsLiteralsWithoutOverlap)
{
    EXPECT_EQ("[aa][aa]", find_all("aa", "aaaaa", true));
    EXPECT_EQ("[.]", find_all(".", "a.b", true));
    EXPECT_EQ("", find_all("x", "", true));
}

TEST(Pattern, FindsExpressions)
{
    EXPECT_EQ("[ab][c]", find_all("\\p{L}{1,2}", "abc1"));
    EXPECT_EQ("['S]['re]", find_all("(?i:'s|'re)", "it'S we're"));
    EXPECT_EQ("[é][中]", find_all("[^\\s]", "é 中"));
}

TEST(Pattern, EmptyFindsCountUnlessTheyTouchTheLast)
{
    EXPECT_EQ("[][a][]", find_all("a*", "bab").substr(0, 7));
    EXPECT_EQ("[][]", find_all("(?=k)", "kak"));
    EXPECT_EQ("[][][]", find_all("x*", "é中"));
}

TEST(Pattern, SpacesAndWordsAreThoseOfUnicode)
{
    EXPECT_EQ("[\xE1\xA0\x8E]", find_all("\\S", "\xE1\xA0\x8E")) << "U+180E is no space";
    EXPECT_EQ("[\xC2\x85]", find_all("\\s", "\xC2\x85"));
    EXPECT_EQ("[e\xCC\x81_1]", find_all("\\w+", "e\xCC\x81_1-")) << "marks are of the word";
    EXPECT_EQ("[\xC2\xBD]", find_all("\\w", "\xC2\xBD")) << "so are fractions";
    EXPECT_EQ("[F][0]", find_all("\\h", "zF0"));
}

TEST(Pattern, AnchorsWorkLineByLine)
{
    EXPECT_EQ("[a][b]", find_all("^\\w", "a\nb"));
    EXPECT_EQ("[a][b]", find_all("\\w$", "a\nb"));
}

TEST(Pattern, TranslatesWhatDiffers)
{
    const std::string space = "\\p{Z}\\x{9}-\\x{D}\\x{85}";
    EXPECT_EQ("[" + space + "]+(?![^" + space + "])", translated("\\s+(?!\\S)"));
    EXPECT_EQ("[^" + space + "\\p{L}]", translated("[^\\s\\p{L}]"));
    EXPECT_EQ("\\p{N}+\\[\\\\]", translated("\\p{N}+\\[\\\\]"));
    EXPECT_EQ("[]a]b", translated("[]a]b"));
    EXPECT_EQ("[[:alpha:]-]", translated("[[:alpha:]-]"));
    EXPECT_EQ("\\x{2581}", translated("\\u2581"));
}

TEST(Pattern, RefusesWhatCannotBeKept)
{
    for (const char *regex :
         {"\\p{N}{1,3}+", "[a[bc]]", "[a&&b]", "[\\S]", "[^\\W]", "\\R", "\\X", "\\K", "\\G",
             "\\bx",
          "(?m:.)", "(?<name>a)", "(?x)a", "(?#c)", "(*ACCEPT)", "\\g<1>", "\\k<n>", ""}) {
        std::string answer = find_all(regex, "a");
        EXPECT_EQ(0u, answer.find("UNSUPPORTED: ")) << regex << " gave " << answer;
    }
    for (const char *regex : {"(", "a)", "[a", "*a", "\\", "a{2,1}", "\\p{Nope}", "\\u12"}) {
        std::string answer = find_all(regex, "a");
        EXPECT_EQ(0u, answer.find("INVALID: ")) << regex << " gave " << answer;
    }
    EXPECT_EQ(0u, find_all(std::string(70000, 'a'), "a").find("INVALID: "));
}

TEST(Pattern, AHostileExpressionEndsInAnError)
{
    std::string answer = find_all("(a|aa|aaa)+(?=[xy])", std::string(60, 'a') + "b");
    EXPECT_EQ(0u, answer.find("INVALID: ")) << answer;
}

TEST(Pattern, LongRunsStayWithinTheLimits)
{
    std::string spaces(300000, ' ');
    EXPECT_EQ("[" + spaces.substr(1) + "]", find_all("\\s*[\\r\\n]+|\\s+(?!\\S)", spaces + "x"));
}

} // namespace
