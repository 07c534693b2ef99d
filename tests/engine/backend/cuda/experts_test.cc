/* Experts of few rows against the scalar backend, and independence of the company of rows. */
#include "tests/engine/backend/cuda/experts_checks.h"

namespace {

class ExpertsTest : public testing::TestWithParam<uint64_t> {
protected:
    void SetUp() override { restart_machine(GetParam()); }
};

/* Rooms for a grid larger than the work, as a step has them that does not know its routing. */
struct Room {
    uint32_t experts = 0, rows_each = 0;
};

std::vector<float> run(const Step &step, Room room = {}, size_t skip_x = 0)
{
    Stream stream;
    DeviceList<float> x(step.x, skip_x), hidden(step.gather.size() * step.shape.width);
    DeviceList<float> out(std::vector<float>(step.gather.size() * step.shape.hidden, -7.0f));
    DeviceList<uint32_t> gather(step.gather);
    DeviceList<uint32_t> count(std::vector<uint32_t>{(uint32_t)step.experts.size()});
    DeviceList<struct cuda_expert> experts(step.experts);
    struct cuda_experts_args args = {};
    args.out = out;
    args.x = x;
    args.gather = gather;
    args.experts = experts;
    args.count = count;
    args.count_max = (uint32_t)step.experts.size() + room.experts;
    args.rows_each_max = step.rows_each_max + room.rows_each;
    args.shape = step.shape;
    args.hidden = hidden;
    cuda_experts_few(stream, &args);
    return out.get(stream);
}

void expect_truth(const Step &step, const std::vector<float> &got, const std::string &what)
{
    Backend scalar = scalar_backend(step.shape);
    for (size_t e = 0; e < step.experts.size(); e++) {
        std::vector<float> want = step.truth(scalar.get(), e);
        const float *have = got.data() + (size_t)step.experts[e].begin * step.shape.hidden;
        for (size_t i = 0; i < want.size(); i++)
            ASSERT_NEAR(have[i], want[i], 1e-5 * (1 + std::fabs(want[i])))
                << what << " expert " << e << " value " << i;
    }
}

std::string text_of(const struct cuda_expert_shape &s)
{
    return std::string(dtype_info(s.gate)->name) + " " + dtype_info(s.up)->name + " " +
           dtype_info(s.down)->name + " " + std::to_string(s.hidden) + "x" +
           std::to_string(s.width);
}

} // namespace

TEST_P(ExpertsTest, every_size_and_format)
{
    Noise noise((uint32_t)GetParam());
    for (enum dtype dtype : all_dtypes()) {
        for (uint32_t hidden : {1u, 2u, 31u, 64u, 127u}) {
            for (uint32_t width : {hidden == 64 ? 8u : 1u, 33u}) {
                struct cuda_expert_shape shape = {hidden, width, dtype, dtype, dtype};
                std::vector<Page> pages = make_pages(noise, shape, 2);
                Step step(shape, pages, noise.list(5 * hidden), {{0, 1, 4}, {2}});
                expect_truth(step, run(step), text_of(shape));
            }
        }
    }
}

TEST_P(ExpertsTest, rows_longer_than_a_warp_reads_at_once)
{
    Noise noise((uint32_t)GetParam() + 5);
    for (enum dtype dtype : all_dtypes()) {
        for (uint32_t size : {256u, 520u, 1032u, 771u}) {
            for (bool long_width : {false, true}) {
                struct cuda_expert_shape shape = {long_width ? 9 : size, long_width ? size : 9,
                                                  dtype, dtype, dtype};
                std::vector<Page> pages = make_pages(noise, shape, 2);
                Step step(shape, pages, noise.list(4 * shape.hidden), {{3}, {0, 2}});
                expect_truth(step, run(step), text_of(shape));
            }
        }
    }
}

TEST_P(ExpertsTest, formats_may_differ_within_one_expert)
{
    Noise noise((uint32_t)GetParam() + 10);
    for (enum dtype gate : all_dtypes()) {
        for (enum dtype up : all_dtypes()) {
            for (enum dtype down : all_dtypes()) {
                for (uint32_t size : {40u, 33u}) {
                    struct cuda_expert_shape shape = {size, size - 16, gate, up, down};
                    std::vector<Page> pages = make_pages(noise, shape, 2);
                    Step step(shape, pages, noise.list(4 * size), deal({1, 3}, 4));
                    expect_truth(step, run(step), text_of(shape));
                }
            }
        }
    }
}

TEST_P(ExpertsTest, one_to_forty_rows_of_an_expert)
{
    Noise noise((uint32_t)GetParam() + 20);
    struct cuda_expert_shape shape = {16, 9, DTYPE_BF16, DTYPE_BF16, DTYPE_F16};
    std::vector<Page> pages = make_pages(noise, shape, 3);
    std::vector<float> x = noise.list(40 * 16);
    for (uint32_t rows = 1; rows <= 40; rows++) {
        Step step(shape, pages, x, deal({rows, 1, (rows * 7) % 11}, 40));
        expect_truth(step, run(step), std::to_string(rows) + " rows");
    }
}

/* Alone the row takes the kernel of few registers, in company the other, in groups of 1, 2, 4 and
 * 8; with room for more experts than there are and for more rows of each, grids differ too. */
TEST_P(ExpertsTest, a_row_is_the_same_alone_and_in_any_company)
{
    Noise noise((uint32_t)GetParam() + 30);
    const uint32_t most = 9;
    for (enum dtype dtype : all_dtypes()) {
        for (bool whole : {false, true}) { /* of chunks of eight, or read one by one */
            uint32_t hidden = whole ? 264 : 37, width = whole ? 8 : 9;
            struct cuda_expert_shape shape = {hidden, width, dtype, dtype, dtype};
            std::vector<Page> pages = make_pages(noise, shape, 2);
            std::vector<float> x = noise.list((size_t)most * shape.hidden);
            std::vector<std::vector<float>> want;
            for (uint32_t r = 0; r < most; r++)
                want.push_back(run(Step(shape, pages, x, {{r}})));
            for (uint32_t rows : {2u, 3u, 5u, most}) {
                std::vector<uint32_t> mine(rows);
                for (uint32_t &row : mine)
                    row = noise.below(most);
                Step step(shape, pages, x, {mine, {0, 1}});
                std::vector<float> got = run(step, {noise.below(3), noise.below(40)});
                for (uint32_t r = 0; r < rows; r++)
                    ASSERT_TRUE(same_bits(&got[(size_t)r * shape.hidden], want[mine[r]].data(),
                                          shape.hidden))
                        << text_of(shape) << " row " << r << " of " << rows;
            }
        }
    }
}

TEST_P(ExpertsTest, alignment_does_not_change_a_bit)
{
    Noise noise((uint32_t)GetParam() + 40);
    for (enum dtype dtype : all_dtypes()) {
        struct cuda_expert_shape shape = {264, 40, dtype, dtype, dtype};
        size_t skip = dtype_info(dtype)->block_bytes;
        Noise same_a(9), same_b(9);
        std::vector<Page> pages = make_pages(same_a, shape, 2);
        std::vector<Page> moved = make_pages(same_b, shape, 2, skip);
        std::vector<float> x = noise.list(6 * shape.hidden);
        for (uint32_t rows : {1u, 6u}) {
            std::vector<std::vector<uint32_t>> rows_of = deal({rows, 1}, 6);
            Step step(shape, pages, x, rows_of);
            std::vector<float> want = run(step), far = run(Step(shape, moved, x, rows_of));
            EXPECT_TRUE(same_bits(want.data(), far.data(), want.size())) << text_of(shape);
            std::vector<float> shifted = run(step, {}, 1);
            EXPECT_TRUE(same_bits(want.data(), shifted.data(), want.size())) << text_of(shape);
        }
    }
}

TEST_P(ExpertsTest, the_count_on_the_device_decides)
{
    Noise noise((uint32_t)GetParam() + 50);
    struct cuda_expert_shape shape = {16, 24, DTYPE_F16, DTYPE_F16, DTYPE_F16};
    std::vector<Page> pages = make_pages(noise, shape, 3);
    Step step(shape, pages, noise.list(4 * 16), deal({2, 1, 2}, 4));
    std::vector<float> all = run(step);
    Step two = step, none = step;
    two.experts.pop_back();
    std::vector<float> got = run(two, {1, 0});
    EXPECT_TRUE(same_bits(got.data(), all.data(), 3 * 16));
    for (size_t i = 3 * 16; i < got.size(); i++)
        EXPECT_EQ(got[i], -7.0f);
    none.experts.clear();
    for (float f : run(none, {3, 0}))
        EXPECT_EQ(f, -7.0f);
    EXPECT_EQ(run(none, {0, 0}).size(), all.size()); /* a grid of nothing is not launched */
}

TEST_P(ExpertsTest, places_between_those_of_the_experts_are_left_alone)
{
    Noise noise((uint32_t)GetParam() + 60);
    struct cuda_expert_shape shape = {16, 8, DTYPE_BF16, DTYPE_BF16, DTYPE_BF16};
    std::vector<Page> pages = make_pages(noise, shape, 3);
    Step step(shape, pages, noise.list(9 * 16), deal({3, 2, 4}, 9)), part = step;
    std::vector<float> all = run(step);
    part.experts.erase(part.experts.begin() + 1);
    std::vector<float> got = run(part);
    for (size_t i = 0; i < got.size(); i++) {
        bool between = i / 16 >= 3 && i / 16 < 5;
        EXPECT_EQ(bits_of(got[i]), bits_of(between ? -7.0f : all[i])) << i;
    }
}

INSTANTIATE_TEST_SUITE_P(orders, ExpertsTest, testing::ValuesIn(machine_seeds()));
