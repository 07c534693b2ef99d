/* str() and repr(). */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(ValueText, AgreesWithJinja)
{
    check_cases("value_text", 40);
}

} // namespace
