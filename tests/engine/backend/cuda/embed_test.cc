#include "tests/engine/backend/cuda/cuda_checks.h"

/* Decoding is exact, so every bit must be there, whatever the alignment of the table. */
TEST(embed, rows_of_every_format_size_and_alignment)
{
    for (uint64_t seed : machine_seeds()) {
        restart_machine(seed);
        Noise noise((uint32_t)seed);
        Stream stream;
        for (enum dtype dtype : all_dtypes()) {
            for (uint32_t cols : {1u, 2u, 31u, 33u, 127u, 1024u, 1025u, 2100u}) {
                for (size_t skip : {0u, 1u}) {
                    const uint32_t words = 7;
                    DeviceMatrix table(noise, dtype, words, cols, skip);
                    const std::vector<uint32_t> tokens = {6, 0, 3, 3, 1};
                    DeviceList<uint32_t> device_tokens(tokens);
                    DeviceList<float> out(tokens.size() * cols);
                    cuda_embed(stream, out, table.tensor, device_tokens, (uint32_t)tokens.size());
                    std::vector<float> got = out.get(stream);
                    for (size_t r = 0; r < tokens.size(); r++)
                        ASSERT_TRUE(same_bits(&got[r * cols], table.host.row(tokens[r]), cols))
                            << dtype_info(dtype)->name << " cols " << cols << " row " << r;
                }
            }
        }
    }
}

TEST(embed, nothing_asked_for)
{
    restart_machine(1);
    Noise noise(1);
    Stream stream;
    DeviceMatrix table(noise, DTYPE_BF16, 3, 5);
    cuda_embed(stream, nullptr, table.tensor, nullptr, 0);
    stream.sync();
}
