#include "server/bench/machine_kernels.h"

#include <gtest/gtest.h>

namespace {

TEST(machine_kernels, plain_and_packed_formats_are_timed)
{
    for (enum dtype dtype : {DTYPE_F32, DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_K})
        for (enum cpu_isa isa : {CPU_SCALAR, CPU_BEST})
            for (uint32_t rows : {1u, 9u}) {
                struct machine_kernel kernel = {};
                struct error error = {};
                ASSERT_EQ(STATUS_OK,
                          machine_kernel_measure(dtype, rows, isa, 1, &kernel, &error))
                    << error.text;
                EXPECT_GT(kernel.ops_per_s, 1e6) << kernel.table;
                EXPECT_LT(kernel.ops_per_s, 1e14) << kernel.table;
            }
}

} // namespace
