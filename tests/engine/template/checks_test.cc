/* What stands behind `is`. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(Checks, AgreesWithJinja)
{
    check_cases("checks", 200);
}

} // namespace
