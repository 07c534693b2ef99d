/* The neon table, see kernels_checks.h. */
#include "tests/engine/backend/cpu/kernels_checks.h"

enum cpu_isa KernelsTest::isa()
{
    return CPU_NEON;
}
