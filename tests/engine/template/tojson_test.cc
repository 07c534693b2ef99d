/* json.dumps with its options. */
#include "template_fixture.h"

using namespace templates;

namespace {

TEST(Tojson, AgreesWithJinja)
{
    check_cases("tojson", 40);
}

} // namespace
