/* Filters that give texts. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(FiltersText, AgreesWithJinja)
{
    check_cases("filters_text", 60);
}

} // namespace
