/* Statements: their grammar, and what is refused. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(Parser, AgreesWithJinja)
{
    check_cases("parser", 70);
}

TEST(Parser, TagsOutsideTheSubsetAreNamed)
{
    for (const char *tag : {"include 'x'", "import 'x' as y", "extends 'x'", "block b", "call f()",
                            "with a=1", "autoescape true"}) {
        Rendered r = rendered(std::string("a\n{% ") + tag + " %}");
        EXPECT_EQ(STATUS_UNSUPPORTED, r.status) << tag;
        EXPECT_EQ(0u, r.error.find("test, line 2: the tag '")) << r.error;
    }
    EXPECT_EQ(STATUS_UNSUPPORTED, rendered("{% for a in b recursive %}{% endfor %}").status);
    EXPECT_EQ("test, line 1: unexpected tag 'nonsense'", rendered("{% nonsense %}").error);
}

TEST(Parser, SentencesSayWhatWasExpected)
{
    EXPECT_EQ("test, line 2: the template ends before 'endif'", rendered("{% if a %}\nb").error);
    EXPECT_EQ("test, line 1: expected '%}', not 'x'", rendered("{% if a %}{% endif x %}").error);
    EXPECT_EQ("test, line 1: expected an expression, not '%}'",
              rendered("{% if %}{% endif %}").error);
    EXPECT_EQ("test, line 1: 'break' outside a loop", rendered("{% break %}").error);
}

TEST(Parser, DeepBlocksAreRefused)
{
    std::string source;
    for (int i = 0; i < 10000; i++)
        source += "{% if 1 %}";
    EXPECT_EQ("test, line 1: nested deeper than 800", rendered(source).error);
}

TEST(Parser, GuardedFiltersFailWhenReached)
{
    Rendered r = rendered("{% if true %}\n{{ 1|from_json }}{% endif %}");
    EXPECT_EQ(STATUS_UNSUPPORTED, r.status);
    EXPECT_EQ("test, line 2: the filter 'from_json'", r.error);
}

} // namespace
