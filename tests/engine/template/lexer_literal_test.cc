/* Numbers and strings of sources. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(LexerLiteral, AgreesWithJinja)
{
    check_cases("lexer_literal", 40);
}

TEST(LexerLiteral, IntegersBeyond63BitsAreRefused)
{
    EXPECT_EQ("9223372036854775807", rendered("{{ 9223372036854775807 }}").output);
    EXPECT_EQ("test, line 1: integer larger than 63 bits",
              rendered("{{ 9223372036854775808 }}").error);
}

TEST(LexerLiteral, CharactersByNameAreOutsideTheSubset)
{
    EXPECT_EQ(STATUS_UNSUPPORTED, rendered(R"({{ "\N{DEGREE SIGN}" }})").status);
}

TEST(LexerLiteral, RealsOfAnyLength)
{
    EXPECT_EQ("1.0", rendered("{{ 1." + std::string(5000, '0') + " }}").output);
}

} // namespace
