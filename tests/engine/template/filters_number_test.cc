/* Numbers, lengths, defaults. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(FiltersNumber, AgreesWithJinja)
{
    check_cases("filters_number", 80);
}

} // namespace
