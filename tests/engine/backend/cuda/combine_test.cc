#include "tests/engine/backend/cuda/cuda_checks.h"

#include <algorithm>

TEST(combine, weighted_sums_against_double)
{
    for (uint64_t seed : machine_seeds()) {
        restart_machine(seed);
        Noise noise((uint32_t)seed);
        Stream stream;
        for (uint32_t width : {1u, 2u, 31u, 33u, 127u, 128u, 129u, 700u}) {
            const std::vector<uint32_t> offsets = {0, 2, 2, 5, 11},
                                        places = {5, 0, 3, 1, 2, 4, 6, 7, 8, 9, 10};
            std::vector<float> y = noise.list(11 * width), weights = noise.list(11),
                               before = noise.list(4 * width);
            before[width] = -0.0f; /* of the row without choices */
            DeviceList<float> out(before), device_y(y), device_weights(weights);
            DeviceList<uint32_t> device_offsets(offsets), device_places(places), stopped(1);
            struct combine_args args = {out,   device_y, device_offsets, device_places,
                                        device_weights, 4, width};
            cuda_combine(stream, &args, stopped);
            std::vector<float> got = out.get(stream);
            for (uint32_t r = 0; r < 4; r++) {
                for (uint32_t i = 0; i < width; i++) {
                    float sum = 0; /* the stated order, so the stated bits */
                    for (uint32_t c = offsets[r]; c < offsets[r + 1]; c++)
                        sum = std::fmaf(weights[c], y[places[c] * width + i], sum);
                    ASSERT_EQ(got[r * width + i], before[r * width + i] + sum);
                }
            }
            EXPECT_TRUE(same_bits(&got[width], &before[width], width)) << "a row without choices";
        }
    }
}

/* The grouping by expert, which the rest of the batch decides, moves rows of y only. */
TEST(combine, a_row_is_the_same_alone_and_wherever_its_outputs_lie)
{
    restart_machine(3);
    Noise noise(2);
    Stream stream;
    const uint32_t rows = 17, top = 4, width = 259;
    std::vector<uint32_t> offsets, straight(rows * top), shuffled;
    for (uint32_t r = 0; r <= rows; r++)
        offsets.push_back(r * top);
    for (uint32_t c = 0; c < rows * top; c++)
        straight[c] = c;
    shuffled = straight;
    std::shuffle(shuffled.begin(), shuffled.end(), noise.engine);
    std::vector<float> y = noise.list(rows * top * width), moved(y.size()),
                       before = noise.list(rows * width);
    for (uint32_t c = 0; c < rows * top; c++)
        std::copy_n(&y[c * width], width, &moved[shuffled[c] * width]);
    DeviceList<float> alone(before), together(before), device_y(y), device_moved(moved),
        weights(noise.list(rows * top));
    DeviceList<uint32_t> device_offsets(offsets), device_straight(straight),
        device_shuffled(shuffled);
    for (uint32_t r = 0; r < rows; r++) {
        struct combine_args args = {alone + (size_t)r * width, device_y, device_offsets + r,
                                    device_straight, weights, 1, width};
        cuda_combine(stream, &args, nullptr);
    }
    struct combine_args args = {together, device_moved, device_offsets, device_shuffled, weights,
                                rows, width};
    cuda_combine(stream, &args, nullptr);
    std::vector<float> a = alone.get(stream), b = together.get(stream);
    EXPECT_TRUE(same_bits(a.data(), b.data(), a.size()));
}

/* What the outputs are then is garbage, which must not reach the residual. */
TEST(combine, where_stopped_the_residual_is_left_alone)
{
    restart_machine(1);
    Stream stream;
    std::vector<float> before = {1, -0.0f, 3};
    DeviceList<float> out(before), y({NAN, NAN, NAN}), weights({1});
    DeviceList<uint32_t> offsets({0, 1}), places({0}), stopped({4});
    struct combine_args args = {out, y, offsets, places, weights, 1, 3};
    cuda_combine(stream, &args, stopped);
    std::vector<float> got = out.get(stream);
    EXPECT_TRUE(same_bits(got.data(), before.data(), 3));
    stopped.put({0});
    cuda_combine(stream, &args, stopped);
    EXPECT_TRUE(std::isnan(out.get(stream)[0]));
}

TEST(combine, nothing_asked_for)
{
    restart_machine(1);
    Stream stream;
    struct combine_args args = {};
    args.width = 8;
    cuda_combine(stream, &args, nullptr);
    stream.sync();
}
