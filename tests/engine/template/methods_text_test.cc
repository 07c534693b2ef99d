/* Methods of strings. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(MethodsText, AgreesWithJinja)
{
    check_cases("methods_text", 100);
}

} // namespace
