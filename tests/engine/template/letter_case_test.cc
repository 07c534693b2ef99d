/* Case by the full mappings of Unicode. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(LetterCase, AgreesWithJinja)
{
    check_cases("letter_case", 50);
}

} // namespace
