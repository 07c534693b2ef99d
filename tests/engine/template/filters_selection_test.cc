/* map, select and their like. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(FiltersSelection, AgreesWithJinja)
{
    check_cases("filters_selection", 50);
}

} // namespace
