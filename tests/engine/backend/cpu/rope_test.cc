#include "tests/engine/backend/cpu/cpu_checks.h"

namespace {

std::vector<float> frequencies(uint32_t dim)
{
    std::vector<float> f(dim / 2);
    for (uint32_t i = 0; i < dim / 2; i++)
        f[i] = std::pow(10000.0f, -2.0f * (float)i / (float)dim);
    return f;
}

} // namespace

TEST(rope, rotate_half_against_double)
{
    Noise noise(1);
    Backend b = open_backend(CPU_BEST, 2);
    for (uint32_t dim : {2u, 6u, 64u, 128u, 130u, 258u}) {
        const uint32_t heads = 3;
        const std::vector<uint32_t> positions = {0, 1, 17, 4095, 100000};
        std::vector<float> inv = frequencies(dim);
        std::vector<float> x = noise.list(positions.size() * heads * dim), y = x;
        std::vector<struct row_place> places;
        for (uint32_t p : positions)
            places.push_back({nullptr, p});
        b->ops->rope(b.get(), y.data(), places.data(), inv.data(), (uint32_t)positions.size(),
                     heads, dim);
        for (size_t r = 0; r < positions.size(); r++) {
            for (uint32_t h = 0; h < heads; h++) {
                size_t at = (r * heads + h) * dim;
                for (uint32_t i = 0; i < dim / 2; i++) {
                    double angle = (float)positions[r] * inv[i]; /* f32 by contract */
                    double a = x[at + i], c = x[at + i + dim / 2];
                    ASSERT_NEAR(y[at + i], a * std::cos(angle) - c * std::sin(angle), 3e-7);
                    ASSERT_NEAR(y[at + i + dim / 2], c * std::cos(angle) + a * std::sin(angle),
                                3e-7);
                }
            }
        }
    }
}

TEST(rope, position_zero_changes_nothing)
{
    Noise noise(2);
    Backend b = open_backend(CPU_BEST, 1);
    std::vector<float> inv = frequencies(64), x = noise.list(64), y = x;
    struct row_place place = {nullptr, 0};
    b->ops->rope(b.get(), y.data(), &place, inv.data(), 1, 1, 64);
    EXPECT_TRUE(same_bits(x.data(), y.data(), 64));
    b->ops->rope(b.get(), nullptr, nullptr, inv.data(), 0, 1, 64);
}

TEST(rope, a_row_is_the_same_alone_in_any_company_and_on_any_threads)
{
    Noise noise(3);
    const uint32_t heads = 32, dim = 128, most = 17, width = heads * dim;
    std::vector<float> inv = frequencies(dim), x = noise.list((size_t)most * width), want = x;
    std::vector<struct row_place> places;
    for (uint32_t r = 0; r < most; r++)
        places.push_back({nullptr, 31 * r});
    Backend alone = open_backend(CPU_BEST, 1);
    for (uint32_t r = 0; r < most; r++)
        alone->ops->rope(alone.get(), &want[r * width], &places[r], inv.data(), 1, heads, dim);
    for (uint32_t threads : {1u, 2u, 3u}) {
        Backend b = open_backend(CPU_BEST, threads);
        for (uint32_t rows = 1; rows <= most; rows++) {
            std::vector<float> y(x.begin(), x.begin() + rows * width);
            b->ops->rope(b.get(), y.data(), places.data(), inv.data(), rows, heads, dim);
            ASSERT_TRUE(same_bits(y.data(), want.data(), y.size())) << rows << " " << threads;
        }
    }
}

/* Angles are kept between calls: other positions, frequencies, fewer or more rows, other dims. */
TEST(rope, what_was_turned_before_does_not_matter)
{
    Noise noise(4);
    Backend b = open_backend(CPU_BEST, 2);
    std::vector<float> slow = frequencies(128), fast = slow;
    fast[5] *= 2;
    for (int round = 0; round < 200; round++) {
        const uint32_t rows = 1 + noise.below(6), dim = noise.below(3) ? 128 : 64, heads = 2;
        const std::vector<float> &inv = noise.below(3) ? slow : fast;
        std::vector<float> x = noise.list(rows * heads * dim), y = x;
        std::vector<struct row_place> places;
        for (uint32_t r = 0; r < rows; r++)
            places.push_back({nullptr, r + noise.below(2)});
        b->ops->rope(b.get(), y.data(), places.data(), inv.data(), rows, heads, dim);
        Backend fresh = open_backend(CPU_BEST, 1);
        fresh->ops->rope(fresh.get(), x.data(), places.data(), inv.data(), rows, heads, dim);
        ASSERT_TRUE(same_bits(x.data(), y.data(), y.size())) << round;
    }
}
