/* Experts of many rows: against a double precision sum that rounds where the contract says so (rows
 * of x to the format of gate and up, hidden values to that of down), and against the scalar backend
 * where nothing is rounded. */
#include "tests/engine/backend/cuda/experts_checks.h"

namespace {

class ExpertsManyTest : public testing::TestWithParam<uint64_t> {
protected:
    void SetUp() override { restart_machine(GetParam()); }
};

/* The outputs of all places; -7 where nothing was written. */
std::vector<float> run(const Step &step, size_t skip_x = 0)
{
    Stream stream;
    size_t places = step.gather.size(), hidden = step.shape.hidden, width = step.shape.width;
    DeviceList<float> x(step.x, skip_x), gate(places * width), up(places * width);
    DeviceList<uint16_t> two_bytes(places * std::max(hidden, width));
    DeviceList<float> out(std::vector<float>(places * hidden, -7.0f));
    DeviceList<uint32_t> gather(step.gather);
    struct cuda_experts_args args = {};
    args.out = out;
    args.x = x;
    args.gather = gather;
    args.rows_each_max = step.rows_each_max;
    args.shape = step.shape;
    struct cuda_experts_scratch scratch = {two_bytes, gate, up};
    struct cuda_gemm gemm = {};
    gemm.stream = stream;
    CUDA_BLAS_CALL(cublasCreate(&gemm.handle));
    CUDA_BLAS_CALL(cublasSetStream(gemm.handle, stream));
    cuda_experts_many(&gemm, &args, step.experts.data(), (uint32_t)step.experts.size(), &scratch);
    std::vector<float> got = out.get(stream);
    CUDA_BLAS_CALL(cublasDestroy(gemm.handle));
    return got;
}

double rounded(enum dtype dtype, double value)
{
    float f = (float)value;
    uint16_t coded;
    if (dtype == DTYPE_F32)
        return f;
    dtype_encode(dtype, &f, &coded, 1);
    dtype_decode(dtype, &coded, &f, 1);
    return f;
}

/* Half the distance between neighbours, relative to the value. */
double half_ulp(enum dtype dtype)
{
    return dtype == DTYPE_F32 ? 0x1p-24 : dtype == DTYPE_F16 ? 0x1p-11 : 0x1p-8;
}

/* One row of one expert. A hidden value that lies between two of down's format may be rounded
 * either way when its sum differs in the last bits: `slack` is what one such value can do, plus the
 * error of f32 sums. */
struct Answer {
    std::vector<double> out, slack;
    Answer(const Step &step, const Page &page, const float *x)
        : out(step.shape.hidden), slack(step.shape.hidden)
    {
        const struct cuda_expert_shape &s = step.shape;
        std::vector<double> hidden(s.width);
        for (uint32_t i = 0; i < s.width; i++) {
            double g = 0, u = 0;
            for (uint32_t k = 0; k < s.hidden; k++) {
                g += page.gate.row(i)[k] * rounded(s.gate, x[k]);
                u += page.up.row(i)[k] * rounded(s.up, x[k]);
            }
            hidden[i] = rounded(s.down, g / (1 + std::exp(-g)) * u);
        }
        for (uint32_t o = 0; o < s.hidden; o++) {
            double largest = 0, magnitudes = 0;
            for (uint32_t i = 0; i < s.width; i++) {
                double term = hidden[i] * page.down.row(o)[i];
                out[o] += term;
                magnitudes += std::fabs(term);
                largest = std::max(largest, std::fabs(term));
            }
            slack[o] = 1e-5 * magnitudes + 4 * half_ulp(s.down) * largest + 1e-7;
        }
    }
};

void expect_answers(const Step &step, const std::vector<float> &got, const std::string &what)
{
    for (size_t e = 0; e < step.experts.size(); e++) {
        for (uint32_t p = step.experts[e].begin; p < step.experts[e].end; p++) {
            Answer want(step, (*step.pages)[e],
                        step.x.data() + (size_t)step.gather[p] * step.shape.hidden);
            for (uint32_t o = 0; o < step.shape.hidden; o++)
                ASSERT_NEAR(got[(size_t)p * step.shape.hidden + o], want.out[o], want.slack[o])
                    << what << " expert " << e << " place " << p << " output " << o;
        }
    }
}

} // namespace

TEST_P(ExpertsManyTest, every_format_and_mixture)
{
    Noise noise((uint32_t)GetParam());
    for (enum dtype gate : all_dtypes()) {
        for (enum dtype up : all_dtypes()) {
            for (enum dtype down : all_dtypes()) {
                struct cuda_expert_shape shape = {24, 33, gate, up, down};
                std::vector<Page> pages = make_pages(noise, shape, 3);
                Step step(shape, pages, noise.list(20 * 24), deal({9, 1, 12}, 20));
                expect_answers(step, run(step), "mixture");
            }
        }
    }
}

TEST_P(ExpertsManyTest, odd_sizes)
{
    Noise noise((uint32_t)GetParam() + 10);
    for (enum dtype dtype : all_dtypes()) {
        for (uint32_t hidden : {1u, 2u, 31u, 64u, 127u}) {
            for (uint32_t width : {1u, 33u, 64u}) {
                struct cuda_expert_shape shape = {hidden, width, dtype, dtype, dtype};
                std::vector<Page> pages = make_pages(noise, shape, 2);
                Step step(shape, pages, noise.list(11 * (size_t)hidden), deal({10, 3}, 11));
                expect_answers(step, run(step), std::to_string(hidden) + "x" +
                                                    std::to_string(width));
            }
        }
    }
}

TEST_P(ExpertsManyTest, one_to_forty_rows_of_an_expert_in_f32_as_the_scalar_backend)
{
    Noise noise((uint32_t)GetParam() + 20);
    struct cuda_expert_shape shape = {20, 12, DTYPE_F32, DTYPE_F32, DTYPE_F32};
    std::vector<Page> pages = make_pages(noise, shape, 3);
    Backend scalar = scalar_backend(shape);
    std::vector<float> x = noise.list(40 * 20);
    for (uint32_t rows = 1; rows <= 40; rows++) {
        Step step(shape, pages, x, deal({rows, 0, (rows * 7) % 41}, 40));
        std::vector<float> got = run(step);
        for (size_t e = 0; e < step.experts.size(); e++) {
            std::vector<float> want = step.truth(scalar.get(), e);
            const float *have = got.data() + (size_t)step.experts[e].begin * shape.hidden;
            for (size_t i = 0; i < want.size(); i++)
                ASSERT_NEAR(have[i], want[i], 1e-5 * (1 + std::fabs(want[i]))) << rows;
        }
    }
}

TEST_P(ExpertsManyTest, places_between_those_of_the_experts_are_left_alone)
{
    Noise noise((uint32_t)GetParam() + 30);
    for (enum dtype dtype : all_dtypes()) {
        struct cuda_expert_shape shape = {16, 10, dtype, dtype, dtype};
        std::vector<Page> pages = make_pages(noise, shape, 3);
        Step step(shape, pages, noise.list(20 * 16), deal({9, 5, 10}, 20));
        std::vector<float> all = run(step);
        Step part = step;
        part.experts.erase(part.experts.begin() + 1);
        for (uint32_t p = 9; p < 14; p++)
            part.gather[p] = UINT32_MAX; /* nobody's: not to be followed */
        std::vector<float> got = run(part);
        for (size_t i = 0; i < got.size(); i++) {
            bool between = i / 16 >= 9 && i / 16 < 14;
            ASSERT_NEAR(got[i], between ? -7.0f : all[i], 1e-6) << i;
        }
    }
}

TEST_P(ExpertsManyTest, x_at_any_address_and_experts_in_any_order)
{
    Noise noise((uint32_t)GetParam() + 40);
    for (enum dtype dtype : all_dtypes()) {
        struct cuda_expert_shape shape = {32, 24, dtype, dtype, dtype};
        std::vector<Page> pages = make_pages(noise, shape, 2);
        Step step(shape, pages, noise.list(12 * 32), deal({9, 10}, 12));
        expect_answers(step, run(step, 1), "x moved");
        std::vector<float> want = run(step);
        std::swap(step.experts[0], step.experts[1]);
        std::vector<float> got = run(step);
        for (size_t i = 0; i < got.size(); i++)
            ASSERT_NEAR(got[i], want[i], 1e-6) << i;
    }
}

TEST_P(ExpertsManyTest, no_experts_are_no_work)
{
    Noise noise((uint32_t)GetParam() + 50);
    struct cuda_expert_shape shape = {8, 8, DTYPE_BF16, DTYPE_BF16, DTYPE_BF16};
    std::vector<Page> pages = make_pages(noise, shape, 1);
    Step step(shape, pages, noise.list(8), {{0}});
    step.experts.clear();
    for (float f : run(step))
        EXPECT_EQ(f, -7.0f);
}

INSTANTIATE_TEST_SUITE_P(orders, ExpertsManyTest, testing::ValuesIn(machine_seeds()));
