#include "server/bench/machine_peak.h"

#include <gtest/gtest.h>

#include <cstring>

namespace {

TEST(machine_peak, every_instruction_set_has_one)
{
    for (enum cpu_isa isa : {CPU_SCALAR, CPU_AVX2, CPU_AVX512, CPU_BEST})
        for (enum machine_arithmetic a : {MACHINE_F32, MACHINE_INT8}) {
            struct machine_peak peak = {};
            struct error error = {};
            ASSERT_EQ(STATUS_OK, machine_peak_measure(a, isa, 1, &peak, &error)) << error.text;
            EXPECT_GT(peak.ops_per_s, 1e8) << peak.instructions;
            EXPECT_LT(peak.ops_per_s, 1e14) << peak.instructions;
            if (isa == CPU_SCALAR) {
                EXPECT_EQ(nullptr, strstr(peak.instructions, "avx"));
            }
        }
}

} // namespace
