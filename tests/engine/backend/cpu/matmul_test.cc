/* y = W x against double precision, and the promise that a row's result depends on it alone. */
#include "tests/engine/backend/cpu/cpu_checks.h"

namespace {

std::vector<float> matmul(struct backend *b, const Matrix &w, const std::vector<float> &x,
                          uint32_t rows, const float *bias = nullptr)
{
    std::vector<float> out((size_t)rows * w.tensor.rows, NAN);
    b->ops->matmul(b, out.data(), x.data(), w.tensor, bias, rows, false);
    b->ops->sync(b);
    return out;
}

} // namespace

TEST(matmul, every_size_format_and_instruction_set_against_double)
{
    Noise noise(1);
    for (enum cpu_isa isa : machine_isas()) {
        Backend b = open_backend(isa, 2);
        for (enum dtype dtype : all_dtypes()) {
            for (uint32_t cols : odd_sizes()) {
                const uint32_t rows = 3, outputs = 13;
                Matrix w(noise, dtype, outputs, cols, 2);
                std::vector<float> x = noise.list((size_t)rows * cols), bias = noise.list(outputs);
                std::vector<float> y = matmul(b.get(), w, x, rows, bias.data());
                for (uint32_t r = 0; r < rows; r++) {
                    for (uint32_t o = 0; o < outputs; o++) {
                        double want = bias[o], magnitudes = std::fabs(bias[o]);
                        for (uint32_t k = 0; k < cols; k++) {
                            double product = (double)x[r * cols + k] * w.row(o)[k];
                            want += product;
                            magnitudes += std::fabs(product);
                        }
                        expect_sum_near(y[r * outputs + o], want, magnitudes, cpu_isa_name(isa));
                    }
                }
            }
        }
    }
}

namespace {

/* Every count of rows gives the rows' results of one-by-one calls, bit for bit. */
void expect_rows_independent(uint32_t cols, uint32_t outputs, const std::vector<uint32_t> &threads,
                             const std::vector<uint32_t> &row_counts)
{
    Noise noise(2);
    const uint32_t most = row_counts.back();
    for (enum cpu_isa isa : machine_isas()) {
        Backend alone = open_backend(isa, 1);
        for (enum dtype dtype : all_dtypes()) {
            Matrix w(noise, dtype, outputs, cols, 2);
            std::vector<float> x = noise.list((size_t)most * cols), want;
            for (uint32_t r = 0; r < most; r++) {
                std::vector<float> row(x.begin() + r * cols, x.begin() + (r + 1) * cols);
                std::vector<float> y = matmul(alone.get(), w, row, 1);
                want.insert(want.end(), y.begin(), y.end());
            }
            for (uint32_t count : threads) {
                Backend b = open_backend(isa, count);
                for (uint32_t rows : row_counts) {
                    std::vector<float> y = matmul(b.get(), w, x, rows);
                    ASSERT_TRUE(same_bits(y.data(), want.data(), y.size()))
                        << cpu_isa_name(isa) << " " << dtype_info(dtype)->name << " rows " << rows
                        << " threads " << count;
                }
            }
        }
    }
}

} // namespace

TEST(matmul, a_row_is_the_same_alone_and_in_any_company)
{
    std::vector<uint32_t> counts;
    for (uint32_t rows = 1; rows <= 17; rows++)
        counts.push_back(rows);
    for (uint32_t cols : {5u, 67u, 128u})
        expect_rows_independent(cols, 45, {1, 3}, counts);
}

TEST(matmul, a_row_is_the_same_on_any_number_of_threads)
{
    /* Large enough for several parts even with one row. */
    expect_rows_independent(321, 423, {1, 2, 3}, {1, 2, 5, 17});
}

TEST(matmul, an_output_does_not_depend_on_its_place_in_the_matrix)
{
    Noise noise(3);
    for (enum cpu_isa isa : machine_isas()) {
        Backend b = open_backend(isa, 2);
        for (enum dtype dtype : all_dtypes()) {
            const uint32_t cols = 130, outputs = 41;
            Matrix w(noise, dtype, outputs, cols, 2);
            std::vector<float> x = noise.list(3 * cols), want = matmul(b.get(), w, x, 3);
            for (uint32_t first = 0; first < outputs; first++) {
                Matrix slice = w;
                slice.tensor.data = (const uint8_t *)w.tensor.data +
                                    first * cols * (size_t)dtype_info(dtype)->block_bytes;
                slice.tensor.rows = outputs - first;
                std::vector<float> y = matmul(b.get(), slice, x, 3);
                for (uint32_t r = 0; r < 3; r++)
                    ASSERT_TRUE(same_bits(&y[r * (outputs - first)], &want[r * outputs + first],
                                          outputs - first))
                        << first;
            }
        }
    }
}

TEST(matmul, blocks_larger_than_the_cache_budget)
{
    Noise noise(4);
    Backend b = open_backend(CPU_BEST, 3);
    const uint32_t cols = 4099, outputs = 150, rows = 6; /* several blocks in a part */
    Matrix w(noise, DTYPE_F32, outputs, cols);
    std::vector<float> x = noise.list((size_t)rows * cols), y = matmul(b.get(), w, x, rows);
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t o = 0; o < outputs; o++) {
            double want = 0, magnitudes = 0;
            for (uint32_t k = 0; k < cols; k++) {
                want += (double)x[r * cols + k] * w.row(o)[k];
                magnitudes += std::fabs((double)x[r * cols + k] * w.row(o)[k]);
            }
            expect_sum_near(y[r * outputs + o], want, magnitudes, "large");
        }
    }
}

TEST(matmul, add_adds_the_same_product)
{
    Noise noise(5);
    for (enum cpu_isa isa : machine_isas()) {
        Backend b = open_backend(isa, 2);
        Matrix w(noise, DTYPE_BF16, 37, 65);
        std::vector<float> x = noise.list(5 * 65), bias = noise.list(37),
                           before = noise.list(5 * 37);
        std::vector<float> y = matmul(b.get(), w, x, 5, bias.data()), sum = before;
        b->ops->matmul(b.get(), sum.data(), x.data(), w.tensor, bias.data(), 5, true);
        for (size_t i = 0; i < sum.size(); i++)
            ASSERT_EQ(bits_of(sum[i]), bits_of(before[i] + y[i]));
    }
}

TEST(matmul, known_values)
{
    Backend b = open_backend(CPU_BEST, 1);
    float data[] = {1, 2, 3, 4, 5, 6}, x[] = {1, 10, 100}, y[2];
    struct tensor w = {data, DTYPE_F32, 2, 3};
    b->ops->matmul(b.get(), y, x, w, nullptr, 1, false);
    EXPECT_EQ(y[0], 321.0f);
    EXPECT_EQ(y[1], 654.0f);
}

TEST(matmul, nothing_to_do)
{
    Backend b = open_backend(CPU_BEST, 2);
    float data[] = {1, 2}, x[] = {1}, y[] = {7};
    struct tensor w = {data, DTYPE_F32, 1, 2}, no_outputs = {data, DTYPE_F32, 0, 2},
                  no_inputs = {data, DTYPE_F32, 1, 0};
    b->ops->matmul(b.get(), nullptr, nullptr, w, nullptr, 0, false);
    b->ops->matmul(b.get(), y, x, no_outputs, nullptr, 1, false);
    EXPECT_EQ(y[0], 7.0f);
    b->ops->matmul(b.get(), y, x, no_inputs, nullptr, 1, false);
    EXPECT_EQ(y[0], 0.0f);
}
