#include "tests/engine/backend/cuda/cuda_checks.h"

/* One output in the order that matmul.cu states, in plain loops. */
static float dot_in_order(const float *w, const float *x, uint32_t cols)
{
    float lane[128] = {};
    for (uint32_t i = 0; i < cols; i++)
        lane[i / 8 % 128] = std::fmaf(x[i], w[i], lane[i / 8 % 128]);
    for (uint32_t warp = 0; warp < 4; warp++) {
        for (uint32_t apart = 16; apart > 0; apart /= 2) {
            for (uint32_t l = 0; l < apart; l++)
                lane[warp * 32 + l] += lane[warp * 32 + l + apart];
        }
    }
    return (lane[0] + lane[32]) + (lane[64] + lane[96]);
}

static std::string described(const struct tensor &w, uint32_t rows)
{
    return std::string(dtype_info(w.dtype)->name) + " " + std::to_string(w.rows) + " x " +
           std::to_string(w.cols) + ", " + std::to_string(rows) + " rows";
}

/* Every bit of every output, x `x_skip` and W `w_skip` elements off a multiple of 256 bytes. */
static void expect_in_order(Noise &noise, enum dtype dtype, uint32_t outputs, uint32_t cols,
                            uint32_t rows, size_t w_skip, size_t x_skip)
{
    Stream stream;
    DeviceMatrix w(noise, dtype, outputs, cols, w_skip);
    std::vector<float> x = noise.list((size_t)rows * cols);
    DeviceList<float> device_x(x, x_skip), out((size_t)rows * outputs);
    cuda_matmul_few(stream, out, device_x, w.tensor, nullptr, rows, false, nullptr);
    std::vector<float> got = out.get(stream);
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t o = 0; o < outputs; o++)
            ASSERT_EQ(got[(size_t)r * outputs + o],
                      dot_in_order(w.host.row(o), &x[(size_t)r * cols], cols))
                << described(w.tensor, rows) << ", row " << r << " output " << o << ", skips "
                << w_skip << " " << x_skip;
    }
}

/* Rows, company, tile shape and alignment are in no sum: all give the bits of the one order. */
TEST(matmul, few_rows_add_in_the_one_order)
{
    for (uint64_t seed : machine_seeds()) {
        restart_machine(seed);
        Noise noise((uint32_t)seed);
        for (enum dtype dtype : all_dtypes()) {
            for (uint32_t cols : {1u, 2u, 4u, 8u, 31u, 33u, 127u, 1020u, 1024u, 1025u, 3080u}) {
                uint32_t rows = 1 + noise.below(10), outputs = 1 + noise.below(9);
                ASSERT_NO_FATAL_FAILURE(
                    expect_in_order(noise, dtype, outputs, cols, rows, 0, 0));
                ASSERT_NO_FATAL_FAILURE(
                    expect_in_order(noise, dtype, outputs, cols, rows, 1, noise.below(2)));
                ASSERT_NO_FATAL_FAILURE(
                    expect_in_order(noise, dtype, outputs, cols, rows, 0, 1));
            }
        }
    }
}

TEST(matmul, every_count_of_rows)
{
    restart_machine(4);
    Noise noise(4);
    for (enum dtype dtype : all_dtypes()) {
        for (uint32_t rows : {1u, 2u, 3u, 4u, 5u, 7u, 8u, 9u, 16u, 17u, 33u})
            ASSERT_NO_FATAL_FAILURE(expect_in_order(noise, dtype, 3, 264, rows, 0, 0));
    }
}

/* Enough outputs for blocks of several, and some left over. */
TEST(matmul, many_outputs)
{
    restart_machine(5);
    Noise noise(5);
    for (enum dtype dtype : all_dtypes()) {
        for (uint32_t rows : {1u, 2u, 3u, 7u})
            ASSERT_NO_FATAL_FAILURE(expect_in_order(noise, dtype, 1027, 40, rows, 0, 0));
    }
    ASSERT_NO_FATAL_FAILURE(expect_in_order(noise, DTYPE_BF16, 1025, 1033, 3, 0, 0));
    ASSERT_NO_FATAL_FAILURE(expect_in_order(noise, DTYPE_F16, 1024, 2056, 1, 0, 0));
}

TEST(matmul, few_rows_against_double)
{
    restart_machine(6);
    Noise noise(6);
    Stream stream;
    for (enum dtype dtype : all_dtypes()) {
        const uint32_t outputs = 5, cols = 2049, rows = 3;
        DeviceMatrix w(noise, dtype, outputs, cols);
        std::vector<float> x = noise.list(rows * cols), bias = noise.list(outputs),
                           before = noise.list(rows * outputs);
        for (bool add : {false, true}) {
            for (bool with_bias : {false, true}) {
                DeviceList<float> device_x(x), device_bias(bias), out(before);
                cuda_matmul_few(stream, out, device_x, w.tensor,
                                with_bias ? device_bias.data : nullptr, rows, add, nullptr);
                std::vector<float> got = out.get(stream);
                for (uint32_t r = 0; r < rows; r++) {
                    for (uint32_t o = 0; o < outputs; o++) {
                        double b = with_bias ? bias[o] : 0;
                        double old = add ? before[r * outputs + o] : 0;
                        double want = b + old, magnitudes = std::fabs(b) + std::fabs(old);
                        for (uint32_t i = 0; i < cols; i++) {
                            double term = (double)x[r * cols + i] * w.host.row(o)[i];
                            want += term;
                            magnitudes += std::fabs(term);
                        }
                        expect_sum_near(got[r * outputs + o], want, magnitudes,
                                        described(w.tensor, rows));
                    }
                }
            }
        }
    }
}

/* Only additions are held back: what is written anew is written anew by the second run as well. */
TEST(matmul, few_rows_where_stopped_additions_leave_x_alone)
{
    restart_machine(7);
    Noise noise(7);
    Stream stream;
    DeviceMatrix w(noise, DTYPE_BF16, 4, 64);
    std::vector<float> before = noise.list(2 * 4);
    DeviceList<float> x(noise.list(2 * 64)), out(before);
    DeviceList<uint32_t> stopped({3});
    cuda_matmul_few(stream, out, x, w.tensor, nullptr, 2, true, stopped);
    std::vector<float> got = out.get(stream);
    EXPECT_TRUE(same_bits(got.data(), before.data(), got.size()));
    stopped.put({0});
    cuda_matmul_few(stream, out, x, w.tensor, nullptr, 2, true, stopped);
    EXPECT_NE(out.get(stream), before);
    stopped.put({3});
    cuda_matmul_few(stream, out, x, w.tensor, nullptr, 2, false, stopped);
    EXPECT_EQ(out.get(stream)[0],
              dot_in_order(w.host.row(0), x.get(stream).data(), 64));
}

TEST(matmul, few_rows_of_nothing)
{
    restart_machine(8);
    Noise noise(8);
    Stream stream;
    DeviceMatrix w(noise, DTYPE_F16, 3, 8), no_outputs(noise, DTYPE_F16, 0, 8),
        no_cols(noise, DTYPE_F16, 3, 0);
    cuda_matmul_few(stream, nullptr, nullptr, w.tensor, nullptr, 0, false, nullptr);
    cuda_matmul_few(stream, nullptr, nullptr, no_outputs.tensor, nullptr, 2, false, nullptr);
    DeviceList<float> out(std::vector<float>(6, 7.0f)), bias({1, 2, 3});
    cuda_matmul_few(stream, out, nullptr, no_cols.tensor, bias, 2, false, nullptr);
    EXPECT_EQ(out.get(stream), (std::vector<float>{1, 2, 3, 1, 2, 3}));
}

/* ---- many rows ---- */

/* A handle and the scratch of one call. */
struct Gemm {
    Stream stream;
    DeviceList<uint16_t> half;
    DeviceList<float> sum;
    DeviceList<uint32_t> stopped;
    struct cuda_gemm gemm;
    Gemm(size_t x_values, size_t outputs) : half(x_values), sum(outputs), stopped(1), gemm()
    {
        CUDA_BLAS_CALL(cublasCreate(&gemm.handle));
        CUDA_BLAS_CALL(cublasSetStream(gemm.handle, stream));
        gemm.stream = stream;
        gemm.half = half;
        gemm.sum = sum;
        gemm.stopped = stopped;
    }
    ~Gemm() { cublasDestroy(gemm.handle); }
};

/* The truth: x in the format of the weights, then exact sums. A product of TF32 would be seen. */
static void expect_many_near(Noise &noise, enum dtype dtype, uint32_t outputs, uint32_t cols,
                             uint32_t rows, bool add, bool with_bias, size_t x_skip)
{
    DeviceMatrix w(noise, dtype, outputs, cols);
    std::vector<float> x = noise.list((size_t)rows * cols), bias = noise.list(outputs),
                       before = noise.list((size_t)rows * outputs), rounded(x.size());
    std::vector<uint8_t> raw(x.size() * dtype_info(dtype)->block_bytes);
    dtype_encode(dtype, x.data(), raw.data(), x.size());
    dtype_decode(dtype, raw.data(), rounded.data(), x.size());
    Gemm g(x.size(), (size_t)rows * outputs);
    DeviceList<float> device_x(x, x_skip), device_bias(bias), out(before);
    cuda_matmul_many(&g.gemm, out, device_x, w.tensor, with_bias ? device_bias.data : nullptr, rows,
                     add);
    std::vector<float> got = out.get(g.stream);
    for (size_t n = 0; n < got.size(); n++) {
        size_t r = n / outputs, o = n % outputs;
        double b = with_bias ? bias[o] : 0, old = add ? before[n] : 0;
        double want = b + old, magnitudes = std::fabs(b) + std::fabs(old);
        for (uint32_t i = 0; i < cols; i++) {
            double term = (double)rounded[r * cols + i] * w.host.row((uint32_t)o)[i];
            want += term;
            magnitudes += std::fabs(term);
        }
        expect_sum_near(got[n], want, magnitudes, described(w.tensor, rows));
    }
}

TEST(matmul, many_rows_against_double)
{
    for (uint64_t seed : machine_seeds()) {
        restart_machine(seed);
        Noise noise((uint32_t)seed);
        for (enum dtype dtype : all_dtypes()) {
            for (uint32_t cols : {1u, 2u, 31u, 33u, 127u, 128u}) {
                for (uint32_t rows : {1u, 9u, 33u})
                    expect_many_near(noise, dtype, 1 + noise.below(70), cols, rows,
                                     noise.below(2) == 1, noise.below(2) == 1, noise.below(2));
            }
            expect_many_near(noise, dtype, 2049, 8, 3, true, true, 0);
            expect_many_near(noise, dtype, 2047, 8, 3, false, true, 0);
        }
    }
}

TEST(matmul, many_rows_where_stopped_additions_leave_x_alone)
{
    restart_machine(9);
    Noise noise(9);
    DeviceMatrix w(noise, DTYPE_BF16, 4, 64);
    Gemm g(16 * 64, 16 * 4);
    std::vector<float> before = noise.list(16 * 4);
    DeviceList<float> x(noise.list(16 * 64)), out(before), bias({1, 2, 3, 4});
    g.stopped.put({1});
    cuda_matmul_many(&g.gemm, out, x, w.tensor, bias, 16, true);
    std::vector<float> got = out.get(g.stream);
    EXPECT_TRUE(same_bits(got.data(), before.data(), got.size()));
    g.stopped.put({0});
    cuda_matmul_many(&g.gemm, out, x, w.tensor, bias, 16, true);
    EXPECT_NE(out.get(g.stream), before);
}

TEST(matmul, many_rows_of_nothing)
{
    restart_machine(10);
    Noise noise(10);
    Gemm g(0, 6);
    DeviceMatrix w(noise, DTYPE_F16, 3, 8), no_outputs(noise, DTYPE_F16, 0, 8),
        no_cols(noise, DTYPE_F16, 3, 0);
    cuda_matmul_many(&g.gemm, nullptr, nullptr, w.tensor, nullptr, 0, false);
    cuda_matmul_many(&g.gemm, nullptr, nullptr, no_outputs.tensor, nullptr, 2, false);
    DeviceList<float> out(std::vector<float>(6, 7.0f)), bias({1, 2, 3});
    cuda_matmul_many(&g.gemm, out, nullptr, no_cols.tensor, bias, 2, true);
    EXPECT_EQ(out.get(g.stream), (std::vector<float>{8, 9, 10, 8, 9, 10}));
}
