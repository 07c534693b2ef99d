/* str.format. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(TextFormat, Fields)
{
    EXPECT_EQ("a1 b", rendered("{{ 'a{} {}'.format(1, 'b') }}").output);
    EXPECT_EQ("b a", rendered("{{ '{1} {0}'.format('a', 'b') }}").output);
    EXPECT_EQ("x=1 {", rendered("{{ 'x={v} {{'.format(v=1) }}").output);
    EXPECT_EQ("'a' a", rendered("{{ '{0!r} {0!s}'.format('a') }}").output);
}

TEST(TextFormat, Refusals)
{
    for (const char *format :
         {"{", "}", "{0", "{1}", "{x}", "{}{0}", "{:>4}", "{0.a}", "{0[1]}", "{!a}"})
        EXPECT_EQ(STATUS_INVALID, rendered(std::string("{{ '") + format + "'.format(1) }}").status)
            << format;
}

} // namespace
