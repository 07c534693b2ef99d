#include "tests/engine/backend/cuda/cuda_checks.h"

static std::vector<float> frequencies(uint32_t head_dim, double base = 10000)
{
    std::vector<float> f(head_dim / 2);
    for (uint32_t i = 0; i < head_dim / 2; i++)
        f[i] = (float)std::pow(base, -2.0 * i / head_dim);
    return f;
}

TEST(rope, pairs_turn_by_the_angle)
{
    for (uint64_t seed : machine_seeds()) {
        restart_machine(seed);
        Noise noise((uint32_t)seed);
        Stream stream;
        const std::vector<uint32_t> positions = {0, 1, 7, 1000, 131071, 1u << 20};
        const uint32_t rows = (uint32_t)positions.size();
        DeviceList<uint32_t> device_positions(positions);
        for (uint32_t head_dim : {2u, 4u, 62u, 64u, 66u, 128u, 256u, 258u}) {
            for (uint32_t heads : {1u, 3u, 4u, 9u}) {
                std::vector<float> inv = frequencies(head_dim);
                std::vector<float> x = noise.list((size_t)rows * heads * head_dim);
                DeviceList<float> y(x, 1), device_inv(inv);
                cuda_rope(stream, y, device_positions, device_inv, rows, heads, head_dim);
                std::vector<float> got = y.get(stream);
                uint32_t half_dim = head_dim / 2;
                for (size_t n = 0; n < (size_t)rows * heads * half_dim; n++) {
                    size_t i = n % half_dim, head = n / half_dim, at = head * head_dim + i;
                    float angle = (float)positions[head / heads] * inv[i]; /* f32 by contract */
                    double c = std::cos((double)angle), s = std::sin((double)angle);
                    double a = x[at], b = x[at + half_dim];
                    ASSERT_NEAR(got[at], a * c - b * s, 4e-7) << head_dim << " pair " << i;
                    ASSERT_NEAR(got[at + half_dim], b * c + a * s, 4e-7)
                        << head_dim << " pair " << i;
                }
            }
        }
    }
}

TEST(rope, a_row_is_the_same_alone_and_in_company)
{
    restart_machine(2);
    Noise noise(2);
    Stream stream;
    const uint32_t rows = 9, heads = 5, head_dim = 128, width = heads * head_dim;
    std::vector<uint32_t> positions(rows);
    for (uint32_t &p : positions)
        p = noise.below(40000);
    std::vector<float> x = noise.list((size_t)rows * width);
    DeviceList<uint32_t> device_positions(positions);
    DeviceList<float> together(x), alone(x), inv(frequencies(head_dim));
    cuda_rope(stream, together, device_positions, inv, rows, heads, head_dim);
    for (uint32_t r = 0; r < rows; r++)
        cuda_rope(stream, alone + (size_t)r * width, device_positions + r, inv, 1, heads, head_dim);
    std::vector<float> a = together.get(stream), b = alone.get(stream);
    EXPECT_TRUE(same_bits(a.data(), b.data(), a.size()));
}

TEST(rope, nothing_to_turn)
{
    restart_machine(1);
    Stream stream;
    cuda_rope(stream, nullptr, nullptr, nullptr, 0, 4, 64);
    cuda_rope(stream, nullptr, nullptr, nullptr, 4, 0, 64);
    stream.sync();
}
