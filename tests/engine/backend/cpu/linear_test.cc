/* Matrices in blocks, through the operations: packed ones have the bits of packed_scalar however
 * the work is cut, exact ones those of the decoded matrix; and a walk through a list meets
 * everything once. */
#include "engine/backend/cpu/cpu_backend.h"

#include "tests/engine/backend/cpu/cpu_checks.h"

namespace {

Backend open_wide(enum cpu_isa isa, uint32_t threads, uint32_t rows_max, uint32_t cols_max,
                  bool exact = false, uint32_t experts_max = 1)
{
    return open_backend(cpu_backend_config{threads, isa, cols_max, 16, rows_max, cols_max,
                                           experts_max, exact});
}

/* All outputs for all rows, by the scalar table in one tile. */
std::vector<float> packed_truth(const struct tensor &w, const std::vector<float> &x, uint32_t rows)
{
    struct Aligned {
        alignas(64) uint8_t bytes[64];
    };
    std::vector<Aligned> memory(rows * packed_x_row_bytes(w.cols) / 64 + 1),
        scratch(PACKED_SCRATCH_BYTES(w.cols) / 64);
    struct packed_x q;
    packed_x_place(&q, memory.data(), rows, w.cols);
    for (uint32_t r = 0; r < rows; r++)
        packed_scalar.quantize(&q, r, &x[(size_t)r * w.cols]);
    std::vector<float> out((size_t)rows * w.rows);
    struct packed_tile tile = {};
    tile.w = (const uint8_t *)w.data;
    tile.w_rows = tile.outputs = w.rows;
    tile.x = q;
    tile.count = rows;
    tile.out = out.data();
    tile.out_stride = w.rows;
    tile.scratch = scratch.data();
    packed_scalar.dot[w.dtype](&tile);
    return out;
}

} // namespace

TEST(linear, packed_has_the_bits_of_the_scalar_table_in_every_shape_on_any_threads)
{
    for (enum dtype dtype : all_block_dtypes()) {
        Noise noise((uint32_t)dtype);
        for (auto [outputs, cols] :
             {std::pair<uint32_t, uint32_t>{1, 256}, {37, 512}, {130, 256}}) {
            const uint32_t most = 40;
            BlockMatrix w(noise, dtype, outputs, cols, true);
            std::vector<float> x = noise.list(most * cols), bias = noise.list(outputs);
            std::vector<float> want = packed_truth(w.tensor, x, most);
            for (enum cpu_isa isa : machine_isas()) {
                for (uint32_t threads : {1u, 2u, 3u}) {
                    Backend b = open_wide(isa, threads, most, cols);
                    for (uint32_t rows : {1u, 2u, 7u, 9u, 33u, most}) {
                        if (isa == CPU_SCALAR && rows > 9)
                            continue;
                        std::vector<float> y(rows * outputs, NAN), sum(rows * outputs, 3.0f);
                        b->ops->matmul(b.get(), y.data(), x.data(), w.tensor, nullptr, rows, false);
                        ASSERT_TRUE(same_bits(y.data(), want.data(), y.size()))
                            << dtype_info(dtype)->name << " " << cpu_isa_name(isa) << " rows "
                            << rows << " threads " << threads;
                        b->ops->matmul(b.get(), sum.data(), x.data(), w.tensor, bias.data(), rows,
                                       true);
                        for (size_t i = 0; i < sum.size(); i++)
                            ASSERT_EQ(bits_of(sum[i]),
                                      bits_of(3.0f + (want[i] + bias[i % outputs])));
                    }
                }
            }
        }
    }
}

/* Several row blocks, many parts, results that pass through scratch in several pieces. */
TEST(linear, packed_of_many_rows_and_outputs)
{
    Noise noise(3);
    const uint32_t outputs = 1045, cols = 1024, rows = 523;
    Backend b = open_wide(CPU_BEST, 3, rows, cols), alone = open_wide(CPU_BEST, 1, 1, cols);
    BlockMatrix w(noise, DTYPE_Q4_K, outputs, cols, true);
    std::vector<float> x = noise.list(rows * cols), bias = noise.list(outputs);
    std::vector<float> y(rows * outputs), biased(rows * outputs), one(outputs);
    b->ops->matmul(b.get(), y.data(), x.data(), w.tensor, nullptr, rows, false);
    b->ops->matmul(b.get(), biased.data(), x.data(), w.tensor, bias.data(), rows, false);
    for (uint32_t r = 0; r < rows; r += 29) {
        alone->ops->matmul(alone.get(), one.data(), &x[r * cols], w.tensor, nullptr, 1, false);
        ASSERT_TRUE(same_bits(one.data(), &y[r * outputs], outputs)) << r;
        for (uint32_t o = 0; o < outputs; o++)
            ASSERT_EQ(biased[r * outputs + o], y[r * outputs + o] + bias[o]);
    }
}

TEST(linear, packed_is_near_the_decoded_matrix)
{
    for (enum dtype dtype : all_block_dtypes()) {
        Noise noise(4);
        const uint32_t outputs = 20, cols = 1024;
        BlockMatrix w(noise, dtype, outputs, cols, true);
        std::vector<float> x = noise.list(cols), y(outputs);
        Backend b = open_wide(CPU_BEST, 1, 1, cols);
        b->ops->matmul(b.get(), y.data(), x.data(), w.tensor, nullptr, 1, false);
        for (uint32_t o = 0; o < outputs; o++) {
            double want = 0, squares = 0;
            for (uint32_t k = 0; k < cols; k++) {
                want += (double)x[k] * w.row(o)[k];
                squares += (double)w.row(o)[k] * w.row(o)[k];
            }
            /* Each x is off by at most 1/254 of its block's largest, evenly spread: six
             * deviations. */
            EXPECT_NEAR(y[o], want, 6 * std::sqrt(squares / 12) / 127) << dtype_info(dtype)->name;
        }
    }
}

TEST(linear, exact_has_the_bits_of_the_decoded_matrix_and_is_near_double)
{
    for (enum dtype dtype : all_block_dtypes()) {
        Noise noise((uint32_t)dtype);
        const uint32_t outputs = 53, cols = 512, most = 19;
        BlockMatrix w(noise, dtype, outputs, cols, false);
        struct tensor decoded = {w.values.data(), DTYPE_F32, outputs, cols, LAYOUT_ROWS};
        std::vector<float> x = noise.list(most * cols), bias = noise.list(outputs);
        for (enum cpu_isa isa : machine_isas()) {
            for (uint32_t threads : {1u, 3u}) {
                Backend b = open_wide(isa, threads, most, cols, true);
                for (uint32_t rows : {1u, 4u, most}) {
                    std::vector<float> y(rows * outputs), want(rows * outputs);
                    b->ops->matmul(b.get(), y.data(), x.data(), w.tensor, bias.data(), rows, false);
                    b->ops->matmul(b.get(), want.data(), x.data(), decoded, bias.data(), rows,
                                   false);
                    ASSERT_TRUE(same_bits(y.data(), want.data(), y.size()))
                        << dtype_info(dtype)->name << " " << cpu_isa_name(isa) << " rows " << rows;
                    for (uint32_t o = 0; o < outputs; o++) {
                        double sum = bias[o], magnitudes = std::fabs(bias[o]);
                        for (uint32_t k = 0; k < cols; k++) {
                            sum += (double)x[k] * w.row(o)[k];
                            magnitudes += std::fabs((double)x[k] * w.row(o)[k]);
                        }
                        expect_sum_near(y[o], sum, magnitudes, dtype_info(dtype)->name);
                    }
                }
            }
        }
    }
}

TEST(linear, several_matrices_at_once_are_each_as_alone)
{
    Noise noise(5);
    const uint32_t cols = 256, most = 25;
    BlockMatrix q(noise, DTYPE_Q4_0, 96, cols, true), k(noise, DTYPE_Q6_K, 33, cols, true),
        rows_of(noise, DTYPE_Q8_0, 40, cols, false);
    Matrix plain(noise, DTYPE_BF16, 17, cols);
    std::vector<float> x = noise.list(most * cols), bias = noise.list(33);
    for (enum cpu_isa isa : machine_isas()) {
        for (uint32_t threads : {1u, 2u, 3u}) {
            Backend b = open_wide(isa, threads, most, cols);
            for (uint32_t rows : {0u, 1u, 3u, most}) {
                const struct tensor tensors[] = {q.tensor, k.tensor, rows_of.tensor, plain.tensor};
                std::vector<float> out[4];
                struct matmul_out outs[4];
                for (int i = 0; i < 4; i++) {
                    out[i].resize(rows * tensors[i].rows);
                    outs[i] = {out[i].data(), tensors[i], i == 1 ? bias.data() : nullptr};
                }
                for (uint32_t count = 1; count <= 4; count++) {
                    for (auto &o : out)
                        o.assign(o.size(), NAN);
                    b->ops->matmuls(b.get(), x.data(), rows, outs, count);
                    for (uint32_t i = 0; i < count; i++) {
                        std::vector<float> want(out[i].size());
                        b->ops->matmul(b.get(), want.data(), x.data(), tensors[i], outs[i].bias,
                                       rows, false);
                        ASSERT_TRUE(same_bits(out[i].data(), want.data(), want.size()))
                            << cpu_isa_name(isa) << " matrix " << i << " of " << count;
                    }
                }
            }
        }
    }
}

TEST(linear, more_than_the_scratch_was_sized_for_is_a_callers_bug)
{
    Noise noise(6);
    Backend b = open_wide(CPU_BEST, 1, 2, 64), exact = open_wide(CPU_BEST, 1, 2, 64, true);
    BlockMatrix fits(noise, DTYPE_Q8_0, 4, 64, true), wide(noise, DTYPE_Q8_0, 4, 96, true),
        wide_rows(noise, DTYPE_Q8_0, 4, 96, false);
    std::vector<float> x(300), y(12);
    b->ops->matmul(b.get(), y.data(), x.data(), fits.tensor, nullptr, 2, false);
    EXPECT_DEATH(b->ops->matmul(b.get(), y.data(), x.data(), fits.tensor, nullptr, 3, false),
                 "exceed the scratch");
    EXPECT_DEATH(b->ops->matmul(b.get(), y.data(), x.data(), wide.tensor, nullptr, 1, false),
                 "exceed the scratch");
    EXPECT_DEATH(exact->ops->matmul(exact.get(), y.data(), x.data(), wide_rows.tensor, nullptr, 1,
                                    false),
                 "exceed the scratch");
}

TEST(linear, a_walk_meets_every_output_of_every_row_once)
{
    Noise noise(7);
#ifdef __SANITIZE_THREAD__
    const int rounds = 6; /* it counts, it shares nothing */
#else
    const int rounds = 60;
#endif
    for (uint32_t threads : {1u, 2u, 5u}) {
        Backend base = open_wide(CPU_BEST, threads, 700, 512, false, 9);
        struct cpu_backend *b = cpu_backend_of(base.get());
        for (int round = 0; round < rounds; round++) {
            uint32_t items = noise.below(10);
            std::vector<struct linear> list(items);
            std::vector<std::vector<uint32_t>> met(items);
            struct linear_list l = linear_list_begin(b);
            for (uint32_t i = 0; i < items; i++) {
                uint32_t outputs = noise.below(300), rows = noise.below(3) ? noise.below(700) : 0;
                bool packed = noise.below(2);
                list[i].w = {nullptr, packed ? DTYPE_Q4_0 : DTYPE_F32, outputs, 512,
                             packed ? LAYOUT_PACKED : LAYOUT_ROWS};
                list[i].count = rows;
                met[i].assign(outputs * rows, 0);
                linear_list_add(b, &l, &list[i], 1 + i % 2);
            }
            linear_list_cut(b, &l);
            for (uint32_t part = 0; part < l.split.parts; part++) {
                struct linear_walk walk = linear_walk_begin(&l, part);
                struct linear_block block;
                while (linear_walk_next(&l, &walk, &block)) {
                    ASSERT_EQ(block.first % PACKED_ROWS, 0u);
                    ASSERT_LE(block.count * PACKED_ROWS, (uint32_t)LINEAR_TILE_VALUES);
                    for (uint32_t r = block.row; r < block.row + block.count; r++)
                        for (uint32_t o = block.first; o < block.first + block.outputs; o++)
                            met[block.item][r * list[block.item].w.rows + o]++;
                }
            }
            for (auto &m : met)
                for (uint32_t times : m)
                    ASSERT_EQ(times, 1u);
        }
    }
}
