/* The checks every table of kernels must pass, against double precision; each instruction set's
 * test program instantiates them by including this file after naming its own. */
#ifndef MOERING_TESTS_ENGINE_BACKEND_CPU_KERNELS_CHECKS_H
#define MOERING_TESTS_ENGINE_BACKEND_CPU_KERNELS_CHECKS_H

#include <algorithm>
#include <limits>

#include "tests/engine/backend/cpu/cpu_checks.h"

class KernelsTest : public testing::Test {
protected:
    static enum cpu_isa isa(); /* defined by the including test */
    const struct kernels *kernels = nullptr;
    void SetUp() override
    {
        kernels = kernels_find(isa());
        if (!kernels)
            GTEST_SKIP() << "this machine has no " << cpu_isa_name(isa());
    }
    float dot_alone(const Matrix &w, uint32_t row, const float *x) const
    {
        size_t stride = w.tensor.cols * (size_t)dtype_info(w.tensor.dtype)->block_bytes;
        const float *xs[1] = {x};
        float sums[KERNEL_TILE_X_MAX * KERNEL_TILE_W];
        struct kernel_tile tile = {(const uint8_t *)w.tensor.data + row * stride, stride, 1, 1, xs,
                                   w.tensor.cols};
        kernels->format[w.tensor.dtype].dot(sums, &tile);
        return sums[0];
    }
    /* Exactly sized copies, so that the sanitizer sees a step past the end. */
    static std::vector<float> exact(const std::vector<float> &v) { return std::vector<float>(v); }
    double exp_error_ulp(float x) const
    {
        float y = x;
        kernels->exp(&y, 1);
        double want = std::exp((double)x);
        double ulp = std::ldexp(1.0, std::max(std::ilogb(want), -126) - 23);
        return std::fabs((double)y - want) / ulp;
    }
};

TEST_F(KernelsTest, dot_of_every_size_format_and_misalignment)
{
    Noise noise(1);
    for (enum dtype dtype : all_dtypes()) {
        for (uint32_t n : odd_sizes()) {
            for (size_t misalign : {0, 1, 2, 6}) {
                Matrix w(noise, dtype, 1, n, misalign);
                std::vector<float> x = noise.list(n);
                double want = 0, magnitudes = 0;
                for (uint32_t i = 0; i < n; i++) {
                    want += (double)x[i] * w.values[i];
                    magnitudes += std::fabs((double)x[i] * w.values[i]);
                }
                expect_sum_near(dot_alone(w, 0, x.data()), want, magnitudes,
                                std::string(dtype_info(dtype)->name) + " n=" + std::to_string(n));
            }
        }
    }
}

TEST_F(KernelsTest, dot_is_bit_identical_in_every_tile_shape)
{
    Noise noise(2);
    ASSERT_LE(kernels->tile_x, (uint32_t)KERNEL_TILE_X_MAX);
    for (enum dtype dtype : all_dtypes()) {
        for (uint32_t n : odd_sizes()) {
            Matrix w(noise, dtype, KERNEL_TILE_W, n, 2);
            std::vector<float> x = noise.list((size_t)kernels->tile_x * n);
            size_t stride = n * (size_t)dtype_info(dtype)->block_bytes;
            for (uint32_t x_rows = 1; x_rows <= kernels->tile_x; x_rows++) {
                for (uint32_t w_rows = 1; w_rows <= KERNEL_TILE_W; w_rows++) {
                    const float *xs[KERNEL_TILE_X_MAX];
                    for (uint32_t i = 0; i < x_rows; i++)
                        xs[i] = x.data() + (x_rows - 1 - i) * n;
                    float sums[KERNEL_TILE_X_MAX * KERNEL_TILE_W];
                    struct kernel_tile tile = {(const uint8_t *)w.tensor.data, stride, w_rows,
                                               x_rows, xs, n};
                    kernels->format[dtype].dot(sums, &tile);
                    for (uint32_t i = 0; i < x_rows; i++)
                        for (uint32_t j = 0; j < w_rows; j++)
                            ASSERT_EQ(bits_of(sums[i * KERNEL_TILE_W + j]),
                                      bits_of(dot_alone(w, j, xs[i])))
                                << dtype_info(dtype)->name << " n=" << n << " " << x_rows << "x"
                                << w_rows << " at " << i << "," << j;
                }
            }
        }
    }
}

TEST_F(KernelsTest, dot_of_nothing_is_zero)
{
    Noise noise(3);
    for (enum dtype dtype : all_dtypes()) {
        Matrix w(noise, dtype, 1, 0);
        float x = 1;
        EXPECT_EQ(bits_of(dot_alone(w, 0, &x)), 0u);
    }
}

TEST_F(KernelsTest, decode_is_exact)
{
    Noise noise(4);
    for (enum dtype dtype : all_dtypes()) {
        for (uint32_t n : odd_sizes()) {
            Matrix w(noise, dtype, 1, n, 1);
            std::vector<float> got(n);
            kernels->format[dtype].decode(got.data(), (const uint8_t *)w.tensor.data, n);
            EXPECT_TRUE(same_bits(got.data(), w.values.data(), n)) << n;
        }
    }
}

TEST_F(KernelsTest, decode_and_encode_of_all_halves_agree_with_the_definition)
{
    std::vector<uint16_t> halves(65536), back(65536);
    for (uint32_t i = 0; i < 65536; i++)
        halves[i] = (uint16_t)i;
    std::vector<float> got(65536), want(65536);
    for (enum dtype dtype : {DTYPE_F16, DTYPE_BF16}) {
        kernels->format[dtype].decode(got.data(), (const uint8_t *)halves.data(), 65536);
        dtype_decode(dtype, halves.data(), want.data(), 65536);
        EXPECT_TRUE(same_bits(got.data(), want.data(), 65536)) << dtype_info(dtype)->name;
    }
    /* bf16 values, widened, are floats of every exponent, subnormals and NaNs included. */
    kernels->encode_f16((uint8_t *)back.data(), want.data(), 65536);
    for (uint32_t i = 0; i < 65536; i++)
        ASSERT_EQ(back[i], f32_to_f16(want[i])) << i;
}

TEST_F(KernelsTest, encode_f16_of_odd_sizes_stays_inside)
{
    Noise noise(5);
    for (uint32_t n : odd_sizes()) {
        std::vector<float> x = noise.list(n, 3.0f);
        std::vector<uint8_t> got(2 * n + 1), want(2 * n + 1);
        kernels->encode_f16(got.data() + 1, x.data(), n);
        dtype_encode(DTYPE_F16, x.data(), want.data() + 1, n);
        EXPECT_EQ(got, want) << n;
    }
}

TEST_F(KernelsTest, accumulate_adds_rows_in_order_however_they_are_grouped)
{
    Noise noise(6);
    for (enum dtype dtype : all_dtypes()) {
        for (uint32_t n : odd_sizes()) {
            const uint32_t count = 5;
            Matrix rows(noise, dtype, count, n, 2);
            std::vector<float> weights = noise.list(count), start = noise.list(n), all = start,
                               steps = start;
            const uint8_t *data = (const uint8_t *)rows.tensor.data;
            size_t stride = n * (size_t)dtype_info(dtype)->block_bytes;
            kernels->format[dtype].accumulate(all.data(), data, stride, weights.data(), count, n);
            for (uint32_t r = 0; r < count; r++)
                kernels->format[dtype].accumulate(steps.data(), data + r * stride, stride,
                                                  &weights[r], 1, n);
            EXPECT_TRUE(same_bits(all.data(), steps.data(), n)) << n;
            for (uint32_t i = 0; i < n; i++) {
                double want = start[i], magnitudes = std::fabs(start[i]);
                for (uint32_t r = 0; r < count; r++) {
                    want += (double)weights[r] * rows.row(r)[i];
                    magnitudes += std::fabs((double)weights[r] * rows.row(r)[i]);
                }
                expect_sum_near(all[i], want, magnitudes, "accumulate");
            }
        }
    }
}

TEST_F(KernelsTest, exp_is_accurate_to_2_ulp)
{
    double worst = 0;
    for (float x = -103.9f; x < 88.7f; x += 0.00137f)
        worst = std::max(worst, exp_error_ulp(x));
    for (float x = -1.0f; x < 1.0f; x += 0.0000317f)
        worst = std::max(worst, exp_error_ulp(x));
    EXPECT_LE(worst, 2.0);
    RecordProperty("worst_ulp", std::to_string(worst));
    printf("exp: worst error %.3f ulp\n", worst);
}

TEST_F(KernelsTest, exp_of_special_values)
{
    const float inf = std::numeric_limits<float>::infinity();
    std::vector<float> x = {0.0f, -0.0f, inf, -inf, 89.0f, 1e30f, -104.0f, -1e30f, NAN};
    kernels->exp(x.data(), x.size());
    EXPECT_EQ(x[0], 1.0f);
    EXPECT_EQ(x[1], 1.0f);
    EXPECT_EQ(x[2], inf);
    EXPECT_EQ(x[3], 0.0f);
    EXPECT_EQ(x[4], inf);
    EXPECT_EQ(x[5], inf);
    EXPECT_EQ(x[6], 0.0f);
    EXPECT_EQ(x[7], 0.0f);
    EXPECT_TRUE(std::isnan(x[8]));
}

TEST_F(KernelsTest, functions_of_one_value_do_not_depend_on_its_place)
{
    Noise noise(7);
    for (uint32_t n : odd_sizes()) {
        std::vector<float> x = noise.list(n, 20.0f), up = noise.list(n), e = x, s = x;
        kernels->exp(e.data(), n);
        kernels->silu_mul(s.data(), up.data(), n);
        for (uint32_t i = 0; i < n; i++) {
            float one = x[i], silu = x[i];
            kernels->exp(&one, 1);
            kernels->silu_mul(&silu, &up[i], 1);
            ASSERT_EQ(bits_of(one), bits_of(e[i])) << n << " " << i;
            ASSERT_EQ(bits_of(silu), bits_of(s[i])) << n << " " << i;
        }
    }
}

TEST_F(KernelsTest, silu_mul_known_values)
{
    for (float g = -80.0f; g < 80.0f; g += 0.37f) {
        float gate = g, up = 1.5f;
        kernels->silu_mul(&gate, &up, 1);
        double want = g / (1.0 + std::exp(-(double)g)) * 1.5;
        ASSERT_NEAR(gate, want, 1e-6 * std::fabs(want)) << g;
    }
    std::vector<float> gate = {0.0f, 1e30f, -1e30f}, up = {5.0f, 1.0f, 1.0f};
    kernels->silu_mul(gate.data(), up.data(), 3);
    EXPECT_EQ(gate[0], 0.0f);
    EXPECT_EQ(gate[1], 1e30f);
    EXPECT_EQ(gate[2], 0.0f);
}

TEST_F(KernelsTest, scale_max_and_exp_sum_against_double)
{
    Noise noise(8);
    for (uint32_t n : odd_sizes()) {
        std::vector<float> x = noise.list(n, 9.0f), e = x;
        float max = kernels->scale_max(e.data(), 0.37f, n);
        for (uint32_t i = 0; i < n; i++)
            ASSERT_EQ(e[i], x[i] * 0.37f);
        ASSERT_EQ(max, *std::max_element(e.begin(), e.end()));
        float sum = kernels->exp_sum(e.data(), max, n);
        double total = 0;
        for (uint32_t i = 0; i < n; i++) {
            double want = std::exp((double)(x[i] * 0.37f) - max);
            total += want;
            ASSERT_NEAR(e[i], want, 1e-6 * want + 1e-12) << n << " " << i;
        }
        ASSERT_NEAR(sum, total, 1e-6 * total) << n;
    }
}

TEST_F(KernelsTest, exp_sum_of_equal_scores_is_exact)
{
    for (uint32_t n : odd_sizes()) {
        std::vector<float> x(n, -1234.5f);
        float max = kernels->scale_max(x.data(), 0.125f, n);
        EXPECT_EQ(kernels->exp_sum(x.data(), max, n), (float)n);
        for (float f : x)
            EXPECT_EQ(f, 1.0f);
    }
}

TEST_F(KernelsTest, a_nan_among_scores_is_seen)
{
    for (uint32_t n : odd_sizes()) {
        for (uint32_t at : {0u, n / 2, n - 1}) {
            std::vector<float> x(n, 1.0f);
            x[at] = NAN;
            float max = kernels->scale_max(x.data(), 1.0f, n);
            EXPECT_TRUE(std::isnan(kernels->exp_sum(x.data(), max, n))) << n << " " << at;
        }
    }
}

TEST_F(KernelsTest, dots_are_the_dot_products_of_each_with_each)
{
    Noise noise(10);
    for (enum dtype dtype : all_dtypes()) {
        for (uint32_t n : {0u, 1u, 7u, 33u, 128u}) {
            for (uint32_t w_rows : {1u, 3u, 4u, 16u, 18u}) {
                const uint32_t most = 9;
                const size_t x_stride = n + 3, to_stride = w_rows + 2;
                Matrix w(noise, dtype, w_rows, n, 2);
                std::vector<float> x = noise.list(most * x_stride);
                for (uint32_t x_rows = 0; x_rows <= most; x_rows++) {
                    std::vector<float> to(most * to_stride, 7.0f);
                    struct kernel_dots d = {
                        to.data(), x.data(), (const uint8_t *)w.tensor.data, to_stride, x_stride,
                        n * (size_t)dtype_info(dtype)->block_bytes, x_rows, w_rows, n};
                    kernels->format[dtype].dots(&d);
                    for (uint32_t i = 0; i < most; i++)
                        for (uint32_t j = 0; j < to_stride; j++)
                            ASSERT_EQ(bits_of(to[i * to_stride + j]),
                                      bits_of(i < x_rows && j < w_rows
                                                  ? dot_alone(w, j, &x[i * x_stride])
                                                  : 7.0f));
                }
            }
        }
    }
}

TEST_F(KernelsTest, product_against_double_and_the_same_in_every_shape)
{
    Noise noise(11);
    for (uint32_t cols : {1u, 7u, 16u, 33u, 64u, 129u}) {
        for (uint32_t depth : {0u, 1u, 16u, 37u}) {
            const uint32_t most = 15;
            const size_t a_stride = depth + 2, b_stride = cols + 1, c_stride = cols + 3;
            std::vector<float> a = noise.list(most * a_stride + 1), start(most * c_stride);
            std::vector<float> b = noise.list(depth * b_stride + 1);
            start = noise.list(start.size());
            std::vector<float> alone = start; /* one element at a time, one step at a time */
            for (uint32_t i = 0; i < most; i++)
                for (uint32_t j = 0; j < cols; j++)
                    for (uint32_t k = 0; k < depth; k++) {
                        struct kernel_product p = {&alone[i * c_stride + j], &a[i * a_stride + k],
                                                   &b[k * b_stride + j], 1, 1, 1, 1, 1, 1};
                        kernels->product(&p);
                    }
            for (uint32_t rows = 1; rows <= most; rows++) {
                std::vector<float> c = start;
                struct kernel_product p = {c.data(), a.data(), b.data(), c_stride, a_stride,
                                           b_stride, rows,     depth,    cols};
                kernels->product(&p);
                for (uint32_t i = 0; i < most; i++)
                    ASSERT_TRUE(same_bits(&c[i * c_stride],
                                          &(i < rows ? alone : start)[i * c_stride], c_stride))
                        << rows << "x" << depth << "x" << cols << " row " << i;
            }
            for (uint32_t j = 0; j < cols; j++) {
                double want = start[j], magnitudes = std::fabs(start[j]);
                for (uint32_t k = 0; k < depth; k++) {
                    want += (double)a[k] * b[k * b_stride + j];
                    magnitudes += std::fabs((double)a[k] * b[k * b_stride + j]);
                }
                expect_sum_near(alone[j], want, magnitudes, "product");
            }
        }
    }
}

TEST_F(KernelsTest, rotate_and_add_scaled)
{
    Noise noise(12);
    for (uint32_t n : odd_sizes()) {
        std::vector<float> a = noise.list(n), b = noise.list(n), c = noise.list(n),
                           s = noise.list(n), x = a, y = b, z = a;
        kernels->rotate(x.data(), y.data(), c.data(), s.data(), n);
        kernels->add_scaled(z.data(), b.data(), 0.7f, n);
        for (uint32_t i = 0; i < n; i++) {
            ASSERT_EQ(x[i], a[i] * c[i] - b[i] * s[i]);
            ASSERT_EQ(y[i], b[i] * c[i] + a[i] * s[i]);
            ASSERT_EQ(z[i], a[i] + b[i] * 0.7f);
        }
    }
}

TEST_F(KernelsTest, sum_squares_normalize_scale_add)
{
    Noise noise(9);
    for (uint32_t n : odd_sizes()) {
        std::vector<float> x = noise.list(n), w = noise.list(n), out(n), s = x, a = x;
        double want = 0;
        for (float f : x)
            want += (double)f * f;
        expect_sum_near(kernels->sum_squares(x.data(), n), want, want, "sum_squares");
        kernels->normalize(out.data(), x.data(), w.data(), 1.7f, n);
        kernels->scale(s.data(), -3.1f, n);
        kernels->add(a.data(), w.data(), n);
        for (uint32_t i = 0; i < n; i++) {
            ASSERT_EQ(out[i], x[i] * 1.7f * w[i]);
            ASSERT_EQ(s[i], x[i] * -3.1f);
            ASSERT_EQ(a[i], x[i] + w[i]);
        }
        kernels->normalize(x.data(), x.data(), w.data(), 1.7f, n); /* in place */
        EXPECT_TRUE(same_bits(x.data(), out.data(), n));
    }
    EXPECT_EQ(kernels->sum_squares(nullptr, 0), 0.0f);
}

#endif
