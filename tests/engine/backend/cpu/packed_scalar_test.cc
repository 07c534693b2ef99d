/* The scalar table: the checks of every table, and that it is the truth, against double precision
 * over weights decoded by engine/quant. */
#include "tests/engine/backend/cpu/packed_checks.h"

const char *PackedTest::table()
{
    return "scalar";
}

TEST_F(PackedTest, against_decoded_weights_in_double_precision)
{
    for (enum dtype dtype : block_dtypes()) {
        PackedMatrix w(random, dtype, 19, 512);
        PackedRows x(random, kernels, 2, w.cols);
        std::vector<float> out = packed_dot(kernels, w, x, 0, w.rows, nullptr, 2);
        std::vector<float> row(w.cols);
        for (uint32_t o = 0; o < w.rows; o++) {
            packed_decode_row(dtype, w.packed, w.rows, w.cols, o, row.data());
            for (uint32_t r = 0; r < 2; r++) {
                double want = 0, magnitudes = 0;
                for (size_t i = 0; i < w.cols; i++) {
                    double q = (double)x.x.q[r * w.cols + i] * x.x.scale[(r * w.cols + i) / 32];
                    want += q * row[i];
                    magnitudes += std::fabs(q * row[i]);
                }
                /* q d and the minimum's part are added apart: their magnitudes count, too. */
                EXPECT_NEAR(out[r * (w.rows + 1) + o], want, 4e-6 * magnitudes + 1e-30)
                    << dtype_info(dtype)->name << " " << o;
            }
        }
    }
}

TEST_F(PackedTest, quantized_rows_are_within_half_a_step)
{
    PackedRows x(random, kernels, 7, 1024);
    for (size_t i = 0; i < x.values.size(); i++) {
        float step = x.x.scale[i / 32];
        ASSERT_NEAR((float)x.x.q[i] * step, x.values[i], 0.5001f * step) << i;
        ASSERT_LE(std::abs((int)x.x.q[i]), 127);
    }
    for (size_t b = 0; b < x.values.size() / 16; b++) {
        int sum = std::accumulate(x.x.q + 16 * b, x.x.q + 16 * b + 16, 0);
        ASSERT_EQ(x.x.count[b], sum);
        ASSERT_EQ(x.x.sum16[b], x.x.scale[b / 2] * (float)sum);
    }
}
