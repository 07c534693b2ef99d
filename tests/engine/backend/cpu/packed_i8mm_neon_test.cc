/* The neon-i8mm table, see packed_checks.h. */
#include "tests/engine/backend/cpu/packed_checks.h"

const char *PackedTest::table()
{
    return "neon-i8mm";
}
