/* White space control, comments, raw blocks; where a source ends too soon. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(Lexer, AgreesWithJinja)
{
    check_cases("lexer", 60);
}

TEST(Lexer, SentencesNameTheLine)
{
    EXPECT_EQ("test, line 3: the comment has no end", rendered("a\n\n{# b").error);
    EXPECT_EQ("test, line 2: a string has no end", rendered("\n{{ 'a }}").error);
    EXPECT_EQ("test, line 1: unexpected ')'", rendered("{{ ) }}").error);
    EXPECT_EQ("test, line 2: unexpected byte 195", rendered("\n{{ \u00e9 }}").error);
}

TEST(Lexer, ManyBracketsAreRefusedNotOverrun)
{
    std::string deep = "{{ " + std::string(1000, '[') + std::string(1000, ']') + " }}";
    EXPECT_EQ("test, line 1: more than 200 brackets inside each other", rendered(deep).error);
}

TEST(Lexer, NulBytesAreText)
{
    std::string source("a\0b{{ 1 }}\0", 11);
    EXPECT_EQ(std::string("a\0b1\0", 5), rendered(source).output);
    EXPECT_EQ("test, line 1: unexpected byte 0", rendered(std::string("{{ \0 }}", 7)).error);
}

} // namespace
