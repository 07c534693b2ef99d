/* Order and members. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(FiltersSequence, AgreesWithJinja)
{
    check_cases("filters_sequence", 80);
}

} // namespace
