/* How arguments meet parameters. */
#include "engine/template/arguments.h"

#include "template_fixture.h"

using namespace templates;

namespace {

const char *const parameters[] = {"one", "two", NULL};

TEST(Arguments, PositionalThenNamed)
{
    TestRun run;
    ASSERT_TRUE(run.tries([](struct run *r) {
        struct value positional[] = {value_integer(1)}, bound[2];
        struct named_value named[] = {{words("two"), value_integer(2)}};
        struct arguments both = {positional, named, 1, 1}, none = {NULL, NULL, 0, 0};
        arguments_bind(r, "f", &both, parameters, 2, bound);
        EXPECT_EQ(1, bound[0].integer);
        EXPECT_EQ(2, bound[1].integer);
        arguments_bind(r, "f", &none, parameters, 0, bound);
        EXPECT_FALSE(value_given(bound[0]) || value_given(bound[1]));
        EXPECT_EQ(5, argument_integer(r, "f", bound[0], 5));
        EXPECT_TRUE(argument_truth(bound[0], true));
    }));
}

TEST(Arguments, WhatDoesNotFitIsNamed)
{
    EXPECT_EQ("test, line 1: trim takes at most 1 arguments, not 2",
              rendered("{{ 'a'|trim(1, 2) }}").error);
    EXPECT_EQ("test, line 1: trim has no argument 'x'", rendered("{{ 'a'|trim(x=2) }}").error);
    EXPECT_EQ("test, line 1: trim is given twice the argument 'chars'",
              rendered("{{ 'a'|trim('b', chars='c') }}").error);
    EXPECT_EQ("test, line 1: replace lacks the argument 'new'",
              rendered("{{ 'a'|replace('b') }}").error);
    EXPECT_EQ("test, line 1: split() needs an integer, not a string",
              rendered("{{ 'a'.split('b', 'c') }}").error);
}

} // namespace
