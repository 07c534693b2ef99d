/* Truth, equality, order, membership. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(ValueCompare, AgreesWithJinja)
{
    check_cases("value_compare", 80);
}

} // namespace
