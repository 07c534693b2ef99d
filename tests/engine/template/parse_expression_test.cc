/* Ranks of operators, targets, arguments, filters and tests that do not exist. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(ParseExpression, AgreesWithJinja)
{
    check_cases("parse_expression", 100);
}

TEST(ParseExpression, WhatIsOutsideTheSubsetIsNamed)
{
    EXPECT_EQ("test, line 2: the filter 'pprint'", rendered("\n{{ 1|pprint }}").error);
    EXPECT_EQ("test, line 1: the test 'escaped'", rendered("{{ 1 is escaped }}").error);
    EXPECT_EQ("test, line 1: the function 'cycler'", rendered("{{ cycler(1) }}").error);
    for (const char *source :
         {"{{ 1|pprint }}", "{{ 1 is escaped }}", "{{ lipsum() }}", "{{ f(*a) }}"})
        EXPECT_EQ(STATUS_UNSUPPORTED, rendered(source).status) << source;
}

TEST(ParseExpression, DeepNestingIsRefused)
{
    std::string minus(100000, '-'), nots;
    for (int i = 0; i < 100000; i++)
        nots += "not ";
    for (const std::string &source : {"{{ " + minus + "1 }}", "{{ " + nots + "1 }}"})
        EXPECT_EQ("test, line 1: nested deeper than 800", rendered(source).error);
}

TEST(ParseExpression, ManyNamedArgumentsAreRefused)
{
    std::string source = "{{ dict(";
    for (int i = 0; i < 101; i++)
        source += "a" + std::to_string(i) + "=1,";
    EXPECT_EQ("test, line 1: more than 100 named arguments", rendered(source + ") }}").error);
}

} // namespace
