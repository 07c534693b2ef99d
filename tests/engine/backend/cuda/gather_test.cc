#include "tests/engine/backend/cuda/cuda_checks.h"

TEST(gather, rows_are_copied_bit_for_bit)
{
    for (uint64_t seed : machine_seeds()) {
        restart_machine(seed);
        Noise noise((uint32_t)seed);
        Stream stream;
        for (uint32_t width : {1u, 2u, 31u, 33u, 127u, 1024u, 1025u, 2500u}) {
            const std::vector<uint32_t> rows = {4, 0, 0, 2, 5};
            std::vector<float> x = noise.list(6 * (size_t)width);
            x[0] = -0.0f, x[x.size() - 1] = NAN;
            DeviceList<float> device_x(x, 1), out(rows.size() * width);
            DeviceList<uint32_t> device_rows(rows);
            cuda_gather(stream, out, device_x, device_rows, (uint32_t)rows.size(), width);
            std::vector<float> got = out.get(stream);
            for (size_t i = 0; i < rows.size(); i++)
                ASSERT_TRUE(same_bits(&got[i * width], &x[(size_t)rows[i] * width], width))
                    << "width " << width << " row " << i;
        }
    }
}

TEST(gather, nothing_asked_for)
{
    restart_machine(1);
    Stream stream;
    cuda_gather(stream, nullptr, nullptr, nullptr, 0, 8);
    cuda_gather(stream, nullptr, nullptr, nullptr, 3, 0);
    stream.sync();
}
