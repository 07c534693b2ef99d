/* range, dict, namespace, raise_exception, strftime_now. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(Functions, AgreesWithJinja)
{
    check_cases("functions", 35);
}

TEST(Functions, RaisedWordsReachTheCallerWhole)
{
    EXPECT_EQ("test, line 2: roles must alternate",
              rendered("\n{{ raise_exception('roles must alternate') }}").error);
    std::string longest = rendered("{{ raise_exception('\u00e9' * 500) }}").error;
    EXPECT_LT(longest.size(), 400u);
    EXPECT_TRUE(utf8_valid(text_of(longest.data(), longest.size())));
}

TEST(Functions, FormatsOfTimesAreBounded)
{
    EXPECT_EQ(STATUS_INVALID, rendered("{{ strftime_now('%c' * 100) }}").status);
    EXPECT_EQ(STATUS_INVALID, rendered("{{ strftime_now('%400Y%400Y') }}").status);
    EXPECT_EQ(STATUS_INVALID, rendered("{{ strftime_now('a\\0b') }}").status);
}

TEST(Functions, ARequestsVariableWins)
{
    EXPECT_EQ("7", rendered("{{ range }}", "{\"range\": 7}").output);
}

} // namespace
