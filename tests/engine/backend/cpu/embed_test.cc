#include "tests/engine/backend/cpu/cpu_checks.h"

TEST(embed, rows_of_the_table_exactly)
{
    Noise noise(1);
    for (enum cpu_isa isa : machine_isas()) {
        Backend b = open_backend(isa, 1);
        for (enum dtype dtype : all_dtypes()) {
            for (uint32_t cols : odd_sizes()) {
                Matrix table(noise, dtype, 9, cols, 2);
                const std::vector<uint32_t> tokens = {8, 0, 3, 3};
                std::vector<float> out(tokens.size() * cols);
                b->ops->embed(b.get(), out.data(), table.tensor, tokens.data(), 4);
                for (size_t r = 0; r < tokens.size(); r++)
                    ASSERT_TRUE(same_bits(&out[r * cols], table.row(tokens[r]), cols));
            }
        }
    }
}

TEST(embed, no_rows_and_no_such_row)
{
    Noise noise(2);
    Backend b = open_backend(CPU_BEST, 1);
    Matrix table(noise, DTYPE_BF16, 9, 4);
    b->ops->embed(b.get(), nullptr, table.tensor, nullptr, 0);
    uint32_t token = 9;
    float out[4];
    EXPECT_DEATH(b->ops->embed(b.get(), out, table.tensor, &token, 1), "token 9 of a table of 9");
}

TEST(embed, block_formats_in_rows_and_packed)
{
    for (enum dtype dtype : all_block_dtypes()) {
        Noise noise(3);
        Backend b = open_backend(CPU_BEST, 3);
        for (bool packed : {false, true}) {
            const uint32_t cols = 512, most = 60;
            BlockMatrix table(noise, dtype, 35, cols, packed);
            std::vector<uint32_t> tokens(most);
            for (uint32_t &token : tokens)
                token = noise.below(35);
            std::vector<float> out(most * cols);
            b->ops->embed(b.get(), out.data(), table.tensor, tokens.data(), most);
            for (uint32_t r = 0; r < most; r++)
                ASSERT_TRUE(same_bits(&out[r * cols], table.row(tokens[r]), cols))
                    << dtype_info(dtype)->name << " " << packed;
        }
    }
}
