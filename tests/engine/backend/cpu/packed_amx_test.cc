/* The amx table, see packed_checks.h. */
#include "tests/engine/backend/cpu/packed_checks.h"

const char *PackedTest::table()
{
    return "amx";
}
