/* Attributes, items, slices, paths. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(Subscript, AgreesWithJinja)
{
    check_cases("subscript", 80);
}

TEST(Subscript, ExtremeSlices)
{
    EXPECT_EQ("cba",
              rendered("{{ 'abc'[9223372036854775807:-9223372036854775807 - 1:-1] }}").output);
    EXPECT_EQ("a", rendered("{{ 'abc'[::9223372036854775807] }}").output);
    EXPECT_EQ("c", rendered("{{ 'abc'[::-9223372036854775807 - 1] }}").output);
    EXPECT_EQ("[3]", rendered("{{ [1, 2, 3][::-9223372036854775807] }}").output);
    EXPECT_EQ("range(9, -1, -1)", rendered("{{ range(10)[::-1] }}").output);
}

} // namespace
