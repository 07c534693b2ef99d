/* The plain gather of every shape of field that formats have, against its definition. (What
 * packed.c makes of full groups is the plain one only on machines without AVX-512.) */
#include "tests/engine/quant/packed_gather_checks.h"

TEST(packed_gather, plain)
{
    for (uint32_t rows = 1; rows <= PACKED_ROWS; rows++) {
        for (uint32_t unit_bytes : {1u, 2u, 4u})
            for (uint32_t units : {1u, 2u, 3u, 4u, 8u})
                check_gather(packed_gather_plain, rows, unit_bytes, units);
    }
}
