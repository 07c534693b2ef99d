#include "tests/engine/backend/cpu/cpu_checks.h"

#include <algorithm>

TEST(combine, weighted_sums_against_double)
{
    Noise noise(1);
    for (enum cpu_isa isa : machine_isas()) {
        Backend b = open_backend(isa, 2);
        for (uint32_t width : {1u, 7u, 64u, 255u, 256u, 257u, 700u}) {
            const std::vector<uint32_t> offsets = {0, 2, 2, 5, 6}, places = {5, 0, 3, 1, 2, 4};
            std::vector<float> y = noise.list(6 * width), weights = noise.list(6),
                               before = noise.list(4 * width), out = before;
            struct combine_args args = {out.data(),     y.data(), offsets.data(), places.data(),
                                        weights.data(), 4,        width};
            b->ops->combine(b.get(), &args);
            for (uint32_t r = 0; r < 4; r++) {
                for (uint32_t i = 0; i < width; i++) {
                    double want = before[r * width + i], magnitudes = std::fabs(want);
                    for (uint32_t c = offsets[r]; c < offsets[r + 1]; c++) {
                        double term = (double)weights[c] * y[places[c] * width + i];
                        want += term;
                        magnitudes += std::fabs(term);
                    }
                    expect_sum_near(out[r * width + i], want, magnitudes, cpu_isa_name(isa));
                }
            }
            EXPECT_TRUE(same_bits(&out[width], &before[width], width)) << "a row without choices";
        }
    }
}

/* The grouping by expert, which the rest of the batch decides, moves rows of y only. */
TEST(combine, a_row_is_the_same_wherever_its_outputs_lie_and_on_any_threads)
{
    Noise noise(2);
    const uint32_t rows = 33, top = 4, width = 515;
    std::vector<uint32_t> offsets, straight(rows * top), shuffled;
    for (uint32_t r = 0; r <= rows; r++)
        offsets.push_back(r * top);
    for (uint32_t c = 0; c < rows * top; c++)
        straight[c] = c;
    shuffled = straight;
    std::shuffle(shuffled.begin(), shuffled.end(), noise.engine);
    std::vector<float> y = noise.list(rows * top * width), moved(y.size()),
                       weights = noise.list(rows * top), before = noise.list(rows * width);
    for (uint32_t c = 0; c < rows * top; c++)
        std::copy_n(&y[c * width], width, &moved[shuffled[c] * width]);
    for (enum cpu_isa isa : machine_isas()) {
        std::vector<float> want = before;
        Backend alone = open_backend(isa, 1);
        for (uint32_t r = 0; r < rows; r++) {
            struct combine_args args = {&want[r * width], y.data(),       &offsets[r],
                                        straight.data(),  weights.data(), 1,
                                        width};
            alone->ops->combine(alone.get(), &args);
        }
        for (uint32_t threads : {1u, 2u, 3u}) {
            Backend b = open_backend(isa, threads);
            std::vector<float> out = before;
            struct combine_args args = {out.data(),      moved.data(),   offsets.data(),
                                        shuffled.data(), weights.data(), rows,
                                        width};
            b->ops->combine(b.get(), &args);
            EXPECT_TRUE(same_bits(out.data(), want.data(), out.size())) << threads;
        }
    }
}

TEST(combine, no_rows)
{
    Backend b = open_backend(CPU_BEST, 2);
    struct combine_args args = {};
    args.width = 8;
    b->ops->combine(b.get(), &args);
}
