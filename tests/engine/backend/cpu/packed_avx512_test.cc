/* The avx512 table, see packed_checks.h. */
#include "tests/engine/backend/cpu/packed_checks.h"

const char *PackedTest::table()
{
    return "avx512";
}
