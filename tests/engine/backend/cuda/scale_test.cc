#include "tests/engine/backend/cuda/cuda_checks.h"

TEST(scale, multiplies_every_value)
{
    for (uint64_t seed : machine_seeds()) {
        restart_machine(seed);
        Noise noise((uint32_t)seed);
        Stream stream;
        for (uint32_t width : {1u, 31u, 128u, 511u, 512u, 513u, 2500u})
            for (uint32_t rows : {1u, 3u, 9u}) {
                std::vector<float> x = noise.list(rows * (size_t)width);
                DeviceList<float> device(x, 1);
                cuda_scale(stream, device, 0.375f, rows, width);
                std::vector<float> got = device.get(stream);
                for (size_t i = 0; i < x.size(); i++)
                    ASSERT_EQ(got[i], x[i] * 0.375f) << "width " << width << " value " << i;
            }
    }
}

TEST(scale, adds_with_a_factor_and_a_gate)
{
    for (uint64_t seed : machine_seeds()) {
        restart_machine(seed);
        Noise noise((uint32_t)seed);
        Stream stream;
        for (uint32_t width : {1u, 33u, 512u, 1300u})
            for (bool gated : {false, true}) {
                const uint32_t rows = 4;
                std::vector<float> x = noise.list(rows * (size_t)width),
                                   y = noise.list(rows * (size_t)width),
                                   gate = {-30.0f, -0.5f, 2.0f, 90.0f};
                DeviceList<float> device_x(x, 3), device_y(y, 1), device_gate(gate);
                cuda_add_scaled(stream, device_x, device_y, gated ? (float *)device_gate : nullptr,
                                0.25f, rows, width, nullptr);
                std::vector<float> got = device_x.get(stream);
                for (size_t i = 0; i < x.size(); i++) {
                    double weight = 0.25;
                    if (gated)
                        weight /= 1 + exp(-(double)gate[i / width]);
                    ASSERT_NEAR(got[i], x[i] + weight * y[i], 1e-6) << "width " << width;
                }
                /* A row depends on itself alone. */
                DeviceList<float> one(std::vector<float>(x.begin() + 2 * width,
                                                         x.begin() + 3 * width));
                cuda_add_scaled(stream, one, device_y + 2 * width,
                                gated ? device_gate + 2 : nullptr, 0.25f, 1, width, nullptr);
                ASSERT_TRUE(same_bits(one.get(stream).data(), &got[2 * width], width));
            }
    }
}

TEST(scale, a_stopped_layer_adds_nothing)
{
    restart_machine(1);
    Stream stream;
    Noise noise(1);
    std::vector<float> x = noise.list(600), y = noise.list(600);
    for (uint32_t stopped : {0u, 3u}) {
        DeviceList<float> device_x(x), device_y(y);
        DeviceList<uint32_t> word({stopped});
        cuda_add_scaled(stream, device_x, device_y, nullptr, 1.0f, 2, 300, word);
        std::vector<float> got = device_x.get(stream);
        for (size_t i = 0; i < x.size(); i++)
            ASSERT_EQ(got[i], stopped ? x[i] : x[i] + y[i]);
    }
}

TEST(scale, nothing_asked_for)
{
    restart_machine(1);
    Stream stream;
    cuda_scale(stream, nullptr, 2.0f, 0, 8);
    cuda_add_scaled(stream, nullptr, nullptr, nullptr, 2.0f, 0, 8, nullptr);
    stream.sync();
}
