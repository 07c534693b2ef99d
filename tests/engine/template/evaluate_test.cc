/* Undefined values, names, calls. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(Evaluate, AgreesWithJinja)
{
    check_cases("evaluate", 140);
}

} // namespace
