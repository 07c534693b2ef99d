#include "tests/engine/backend/cpu/cpu_checks.h"

TEST(scale, multiplies_every_value_once)
{
    Noise noise(1);
    for (enum cpu_isa isa : machine_isas()) {
        for (uint32_t threads : {1u, 3u}) {
            Backend b = open_backend(isa, threads);
            for (uint32_t width : odd_sizes()) {
                const uint32_t rows = 40;
                std::vector<float> x = noise.list(rows * width), y = x;
                b->ops->scale(b.get(), y.data(), 0.3f, rows, width);
                for (size_t i = 0; i < x.size(); i++)
                    ASSERT_EQ(y[i], x[i] * 0.3f);
            }
            b->ops->scale(b.get(), nullptr, 2.0f, 0, 8);
        }
    }
}

TEST(scale, add_scaled_with_and_without_a_gate)
{
    Noise noise(2);
    for (enum cpu_isa isa : machine_isas()) {
        for (uint32_t threads : {1u, 3u}) {
            Backend b = open_backend(isa, threads);
            for (uint32_t width : odd_sizes()) {
                const uint32_t rows = 40;
                std::vector<float> x = noise.list(rows * width), y = noise.list(rows * width),
                                   gate = noise.list(rows, 8.0f), plain = x, gated = x;
                b->ops->add_scaled(b.get(), plain.data(), y.data(), nullptr, 0.22f, rows, width);
                b->ops->add_scaled(b.get(), gated.data(), y.data(), gate.data(), 1.5f, rows, width);
                for (uint32_t r = 0; r < rows; r++) {
                    double sigmoid = 1 / (1 + std::exp(-(double)gate[r]));
                    for (uint32_t i = 0; i < width; i++) {
                        size_t at = r * width + i;
                        ASSERT_EQ(plain[at], x[at] + y[at] * 0.22f);
                        ASSERT_NEAR(gated[at], x[at] + 1.5 * sigmoid * y[at], 1e-6);
                    }
                }
            }
        }
    }
}

TEST(scale, a_gated_row_is_the_same_alone)
{
    Noise noise(3);
    const uint32_t rows = 70, width = 900; /* enough for several parts */
    std::vector<float> x = noise.list(rows * width), y = noise.list(rows * width),
                       gate = noise.list(rows, 8.0f), all = x, one = x;
    Backend b = open_backend(CPU_BEST, 3);
    b->ops->add_scaled(b.get(), all.data(), y.data(), gate.data(), 1.0f, rows, width);
    for (uint32_t r = 0; r < rows; r++)
        b->ops->add_scaled(b.get(), &one[r * width], &y[r * width], &gate[r], 1.0f, 1, width);
    EXPECT_TRUE(same_bits(all.data(), one.data(), all.size()));
}
