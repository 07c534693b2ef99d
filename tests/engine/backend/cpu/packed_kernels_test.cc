/* Which tables there are, and how rows of activations lie. */
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/backend/cpu/packed_kernels.h"

TEST(packed_kernels, the_scalar_table_is_everywhere_and_first)
{
    EXPECT_EQ(packed_kernels_find(CPU_SCALAR), &packed_scalar);
    EXPECT_EQ(packed_kernels_at(0), &packed_scalar);
}

TEST(packed_kernels, the_best_table_is_the_last_that_the_machine_has)
{
    const struct packed_kernels *last = nullptr;
    std::vector<std::string> names;
    for (uint32_t i = 0; packed_kernels_at(i); i++) {
        last = packed_kernels_at(i);
        for (const std::string &name : names)
            EXPECT_NE(name, last->name);
        names.push_back(last->name);
    }
    EXPECT_EQ(packed_kernels_find(CPU_BEST), last);
    for (int isa = 0; isa < CPU_ISA_COUNT; isa++)
        EXPECT_NE(packed_kernels_find((enum cpu_isa)isa), nullptr);
}

TEST(packed_kernels, rows_lie_apart_aligned_and_inside)
{
    for (uint32_t rows : {1u, 2u, 3u, 17u}) {
        for (size_t cols : {32, 64, 96, 160, 2048}) {
            std::vector<uint8_t> memory(rows * packed_x_row_bytes(cols) + 64);
            uint8_t *start = memory.data() + (64 - (uintptr_t)memory.data() % 64) % 64;
            struct packed_x x;
            packed_x_place(&x, start, rows, cols);
            EXPECT_EQ(x.cols, cols);
            size_t blocks = rows * cols / 32;
            uint8_t *begins[] = {(uint8_t *)x.q, (uint8_t *)x.scale, (uint8_t *)x.sum32,
                                 (uint8_t *)x.sum16, (uint8_t *)x.count};
            size_t bytes[] = {blocks * 32, blocks * 4, blocks * 4, blocks * 8, blocks * 4};
            uint8_t *end = start;
            for (int i = 0; i < 5; i++) {
                EXPECT_EQ((uintptr_t)begins[i] % 64, 0u);
                EXPECT_GE(begins[i], end);
                end = begins[i] + bytes[i];
            }
            EXPECT_LE(end, start + rows * packed_x_row_bytes(cols));
        }
    }
}
