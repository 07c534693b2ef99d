#include "tests/engine/backend/cpu/cpu_checks.h"

TEST(norm, every_width_against_double)
{
    Noise noise(1);
    for (enum cpu_isa isa : machine_isas()) {
        Backend b = open_backend(isa, 2);
        for (uint32_t width : odd_sizes()) {
            const uint32_t rows = 5;
            std::vector<float> x = noise.list(rows * width), w = noise.list(width), y(rows * width);
            b->ops->rms_norm(b.get(), y.data(), x.data(), w.data(), rows, width, 1e-6f);
            for (uint32_t r = 0; r < rows; r++) {
                double squares = 0;
                for (uint32_t i = 0; i < width; i++)
                    squares += (double)x[r * width + i] * x[r * width + i];
                double factor = 1 / std::sqrt(squares / width + (double)1e-6f);
                for (uint32_t i = 0; i < width; i++) {
                    double want = x[r * width + i] * factor * w[i];
                    ASSERT_NEAR(y[r * width + i], want, 1e-6 * std::fabs(want))
                        << cpu_isa_name(isa) << " width " << width;
                }
            }
        }
    }
}

TEST(norm, a_row_is_the_same_alone_in_any_company_on_any_threads_and_in_place)
{
    Noise noise(2);
    for (enum cpu_isa isa : machine_isas()) {
        Backend alone = open_backend(isa, 1);
        const uint32_t width = 8195, most = 17; /* wide enough to be shared out */
        std::vector<float> x = noise.list((size_t)most * width), w = noise.list(width);
        std::vector<float> want(x.size());
        for (uint32_t r = 0; r < most; r++)
            alone->ops->rms_norm(alone.get(), &want[r * width], &x[r * width], w.data(), 1, width,
                                 1e-5f);
        for (uint32_t threads : {1u, 2u, 3u}) {
            Backend b = open_backend(isa, threads);
            for (uint32_t rows = 1; rows <= most; rows++) {
                std::vector<float> y(x.begin(), x.begin() + rows * width);
                b->ops->rms_norm(b.get(), y.data(), y.data(), w.data(), rows, width, 1e-5f);
                ASSERT_TRUE(same_bits(y.data(), want.data(), y.size()))
                    << cpu_isa_name(isa) << " rows " << rows << " threads " << threads;
            }
        }
    }
}

TEST(norm, known_values)
{
    Backend b = open_backend(CPU_BEST, 1);
    float x[] = {3, -3, 3, -3}, w[] = {1, 2, 3, 4}, y[4], zero[] = {0, 0, 0, 0};
    b->ops->rms_norm(b.get(), y, x, w, 1, 4, 0.0f);
    for (int i = 0; i < 4; i++)
        EXPECT_NEAR(y[i], (i % 2 ? -1 : 1) * w[i], 1e-6);
    b->ops->rms_norm(b.get(), y, zero, w, 1, 4, 1e-6f);
    for (float f : y)
        EXPECT_EQ(f, 0.0f);
    b->ops->rms_norm(b.get(), nullptr, nullptr, w, 0, 4, 1e-6f);
}
