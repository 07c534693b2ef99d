/* Methods of mappings and lists. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(Methods, AgreesWithJinja)
{
    check_cases("methods", 30);
}

TEST(Methods, AppendAndPopChangeTheirList)
{
    check_cases("methods_mutable", 10);
}

TEST(Methods, WhatPythonHasAndTheSubsetHasNotIsNamed)
{
    EXPECT_EQ("test, line 1: the method 'zfill' of a string is outside the subset",
              rendered("{{ 'a'.zfill(3) }}").error);
    EXPECT_EQ("test, line 1: 'nothing' is undefined", rendered("{{ 'a'.nothing() }}").error);
}

} // namespace
