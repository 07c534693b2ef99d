/* Operators on all kinds of values. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(Arithmetic, AgreesWithJinja)
{
    check_cases("arithmetic", 90);
}

TEST(Arithmetic, IntegersBeyond63BitsFail)
{
    for (const char *e :
         {"9223372036854775807 + 1", "-9223372036854775807 - 2", "4611686018427387904 * 2",
          "2 ** 63", "10 ** 19", "(-9223372036854775807 - 1) // -1", "-(-9223372036854775807 - 1)",
          "(-9223372036854775807 - 1)|abs"})
        EXPECT_EQ("test, line 1: an integer larger than 63 bits",
                  rendered("{{ " + std::string(e) + " }}").error) << e;
    EXPECT_EQ("0", rendered("{{ (-9223372036854775807 - 1) % -1 }}").output);
}

TEST(Arithmetic, RepeatingIsBounded)
{
    EXPECT_EQ(STATUS_INVALID, rendered("{{ 'ab' * 9223372036854775807 }}").status);
    EXPECT_EQ(STATUS_INVALID, rendered("{{ ([1] * 9223372036854775807)|length }}").status);
}

} // namespace
