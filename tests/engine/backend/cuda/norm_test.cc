#include "tests/engine/backend/cuda/cuda_checks.h"

TEST(norm, every_width_against_double)
{
    for (uint64_t seed : machine_seeds()) {
        restart_machine(seed);
        Noise noise((uint32_t)seed);
        Stream stream;
        for (uint32_t width : {1u, 2u, 31u, 33u, 127u, 512u, 513u, 1025u, 2048u, 4099u}) {
            const uint32_t rows = 9; /* more than a block of narrow ones */
            std::vector<float> x = noise.list((size_t)rows * width), w = noise.list(width);
            DeviceList<float> device_x(x), device_w(w), out(x.size());
            cuda_rms_norm(stream, out, device_x, device_w, rows, width, 1e-6f);
            std::vector<float> got = out.get(stream);
            for (uint32_t r = 0; r < rows; r++) {
                double squares = 0;
                for (uint32_t i = 0; i < width; i++)
                    squares += (double)x[r * width + i] * x[r * width + i];
                double factor = 1 / std::sqrt(squares / width + (double)1e-6f);
                for (uint32_t i = 0; i < width; i++) {
                    double want = x[r * width + i] * factor * w[i];
                    ASSERT_NEAR(got[r * width + i], want, 1e-6 * std::fabs(want) + 1e-30)
                        << "width " << width << " row " << r << " value " << i;
                }
            }
        }
    }
}

TEST(norm, a_row_is_the_same_alone_in_any_company_and_in_place)
{
    for (uint64_t seed : machine_seeds()) {
        restart_machine(seed);
        Noise noise((uint32_t)seed);
        Stream stream;
        for (uint32_t width : {33u, 512u, 1027u}) {
            const uint32_t most = 17;
            std::vector<float> x = noise.list((size_t)most * width);
            DeviceList<float> device_x(x), w(noise.list(width)), alone(x.size());
            for (uint32_t r = 0; r < most; r++)
                cuda_rms_norm(stream, alone + (size_t)r * width, device_x + (size_t)r * width, w, 1,
                              width, 1e-5f);
            std::vector<float> want = alone.get(stream);
            for (uint32_t rows : {2u, 7u, 8u, 9u, 17u}) {
                DeviceList<float> y(std::vector<float>(x.begin(), x.begin() + rows * width), 1);
                cuda_rms_norm(stream, y, y, w, rows, width, 1e-5f);
                std::vector<float> got = y.get(stream);
                ASSERT_TRUE(same_bits(got.data(), want.data(), got.size()))
                    << "width " << width << " rows " << rows;
            }
        }
    }
}

/* Which lane has a value and how lanes are added is a promise to ourselves: the same formula in
 * plain loops gives the same mean of squares but for the rounding of the last steps. */
TEST(norm, the_order_of_the_sum_is_the_one_stated)
{
    restart_machine(1);
    Noise noise(5);
    Stream stream;
    for (uint32_t width : {129u, 512u, 513u, 2050u}) {
        uint32_t lanes = width <= 512 ? 32 : 256;
        std::vector<float> x = noise.list(width, 100.0f), of(lanes, 0.0f);
        for (uint32_t i = 0; i < width; i++)
            of[i % lanes] = std::fmaf(x[i], x[i], of[i % lanes]);
        for (uint32_t warp = 0; warp < lanes / 32; warp++) {
            for (uint32_t apart = 16; apart > 0; apart /= 2) {
                for (uint32_t l = 0; l < apart; l++)
                    of[warp * 32 + l] += of[warp * 32 + l + apart];
            }
        }
        for (uint32_t apart = lanes / 64; apart > 0; apart /= 2) {
            for (uint32_t w = 0; w < apart; w++)
                of[w * 32] += of[(w + apart) * 32];
        }
        float factor = 1.0f / std::sqrt(of[0] / (float)width + 1e-6f);
        DeviceList<float> device_x(x), ones(std::vector<float>(width, 1.0f)), out(width);
        cuda_rms_norm(stream, out, device_x, ones, 1, width, 1e-6f);
        std::vector<float> got = out.get(stream);
        for (uint32_t i = 0; i < width; i++)
            ASSERT_EQ(got[i], x[i] * factor) << "width " << width << " value " << i;
    }
}

TEST(norm, known_values_and_nothing)
{
    restart_machine(1);
    Stream stream;
    DeviceList<float> x({3, -3, 3, -3}), w({1, 2, 3, 4}), y(4), zero(4);
    cuda_rms_norm(stream, y, x, w, 1, 4, 0.0f);
    std::vector<float> got = y.get(stream);
    for (int i = 0; i < 4; i++)
        EXPECT_NEAR(got[i], (i % 2 ? -1 : 1) * (i + 1), 1e-6);
    cuda_rms_norm(stream, y, zero, w, 1, 4, 1e-6f);
    for (float f : y.get(stream))
        EXPECT_EQ(f, 0.0f);
    cuda_rms_norm(stream, nullptr, nullptr, w, 0, 4, 1e-6f);
    cuda_rms_norm(stream, nullptr, nullptr, w, 3, 0, 1e-6f);
    stream.sync();
}
