/* Attention by tiles against the scalar backend: every size of tile, runs of several sequences in
 * one window, windows of attention, and the same bits whatever order threads run in. */
#include "tests/engine/backend/cuda/attention_checks.h"

namespace {

/* F32 differs from the truth by the order of sums alone. With F16, queries and weights are rounded
 * to eleven bits: scores of a few units move by some thousandths, and so do the weights. */
double tolerance_of(enum dtype dtype)
{
    return dtype == DTYPE_F16 ? 4e-3 : 4e-6;
}

void expect_truth(const PagedSequences &s, const RowList &rows, const std::vector<float> &q,
                  const AttentionRun &run, double tolerance)
{
    EXPECT_EQ(far_from(attend(cuda_attention_tiled, s, rows, q, run), s.truth(rows, q, run),
                       tolerance, s.shape.heads * s.shape.dim),
              "")
        << s.shape << ", dtype " << s.host.dtype << ", window " << run.window;
}

RowList prompt(uint32_t sequence, uint32_t begin, uint32_t end)
{
    RowList rows;
    for (uint32_t p = begin; p < end; p++)
        rows.push_back({sequence, p});
    return rows;
}

RowList joined(std::initializer_list<RowList> lists)
{
    RowList all;
    for (const RowList &list : lists)
        all.insert(all.end(), list.begin(), list.end());
    return all;
}

/* Queries whose product with a scale of 1/8 F16 holds exactly: multiples of 1/32 within 2. */
std::vector<float> exact_q(Noise &noise, size_t n)
{
    std::vector<float> q(n);
    for (float &x : q)
        x = ((float)noise.below(129) - 64.0f) / 32.0f;
    return q;
}

} // namespace

TEST(cuda_attention_prefill, against_the_processor_for_every_tile_and_grouping)
{
    restart_machine(1);
    Noise noise(1);
    const AttentionShape shapes[] = {{2, 2, 8},   {8, 1, 16}, {4, 2, 24}, {2, 1, 64}, {2, 1, 80},
                                     {3, 1, 96},  {2, 2, 128}, {1, 1, 192}, {1, 1, 256},
                                     {1, 1, 7},   {2, 1, 33},  {1, 1, 129}};
    const RowList rows = joined({prompt(0, 0, 71), {{1, 39}}, prompt(2, 5, 23)});
    for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
        for (AttentionShape shape : shapes) {
            PagedSequences s(noise, dtype, shape, {71, 40, 30}, 7);
            for (uint32_t window : {0u, 17u})
                expect_truth(s, rows, noise_q(noise, s, rows), {window}, tolerance_of(dtype));
        }
    }
}

/* With nothing lost to the rounding of queries only that of weights is left, 2^-11 of each. */
TEST(cuda_attention_prefill, positions_and_windows_around_the_edges_of_tiles)
{
    for (uint64_t seed : machine_seeds()) {
        restart_machine(seed);
        Noise noise((uint32_t)seed);
        for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
            PagedSequences s(noise, dtype, {1, 1, 64}, {200}, 3);
            for (uint32_t begin : {0u, 1u, 63u, 64u, 65u, 130u}) {
                RowList rows = prompt(0, begin, begin + 67);
                std::vector<float> q = exact_q(noise, rows.size() * 64);
                for (uint32_t window : {0u, 1u, 2u, 33u, 64u, 65u})
                    expect_truth(s, rows, q, {window}, dtype == DTYPE_F16 ? 5e-4 : 4e-6);
            }
        }
    }
}

TEST(cuda_attention_prefill, windows_of_many_sequences)
{
    for (uint64_t seed : machine_seeds()) {
        restart_machine(seed);
        Noise noise((uint32_t)seed);
        std::vector<uint32_t> lengths;
        RowList rows;
        for (uint32_t i = 0; i < 70; i++) {
            lengths.push_back(1 + noise.below(90));
            rows.push_back({i, lengths.back() - 1}); /* a decode row each */
        }
        lengths.push_back(80);
        rows.insert(rows.begin() + 37, {70, 60});
        rows.insert(rows.begin() + 38, {70, 61});
        RowList tail = prompt(70, 62, 80);
        rows.insert(rows.end(), tail.begin(), tail.end());
        for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
            PagedSequences s(noise, dtype, {2, 1, 16}, lengths, 3);
            expect_truth(s, rows, noise_q(noise, s, rows), {}, tolerance_of(dtype));
            expect_truth(s, rows, noise_q(noise, s, rows), {8}, tolerance_of(dtype));
        }
    }
}

TEST(cuda_attention_prefill, odd_numbers_of_rows)
{
    restart_machine(1);
    Noise noise(2);
    for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
        PagedSequences s(noise, dtype, {2, 1, 32}, {130}, 3);
        for (uint32_t count : {1u, 2u, 15u, 16u, 17u, 31u, 33u, 63u, 64u, 65u, 127u, 129u}) {
            RowList rows = prompt(0, 130 - count, 130);
            expect_truth(s, rows, noise_q(noise, s, rows), {}, tolerance_of(dtype));
        }
    }
}

/* So long that a window of rows has the fewest blocks of threads to its runs. */
TEST(cuda_attention_prefill, a_long_prompt)
{
    restart_machine(1);
    Noise noise(3);
    for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
        uint32_t length = dtype == DTYPE_F16 ? 64 * 33 : 32 * 33;
        PagedSequences s(noise, dtype, {1, 1, 8}, {length, 30}, 3);
        RowList rows = joined({prompt(1, 27, 30), prompt(0, 0, length), {{1, 29}}});
        expect_truth(s, rows, noise_q(noise, s, rows), {200}, tolerance_of(dtype));
    }
}

TEST(cuda_attention_prefill, agrees_with_row_by_row)
{
    restart_machine(1);
    Noise noise(9);
    for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
        PagedSequences s(noise, dtype, {4, 2, 32}, {170, 30}, 3);
        RowList rows = joined({prompt(1, 27, 30), prompt(0, 100, 170)});
        std::vector<float> q = noise_q(noise, s, rows);
        EXPECT_EQ(far_from(attend(cuda_attention_tiled, s, rows, q, {}),
                           attend(cuda_attention_rows, s, rows, q, {}), tolerance_of(dtype),
                           4 * 32),
                  "");
    }
}

TEST(cuda_attention_prefill, keys_of_no_alignment)
{
    restart_machine(2);
    Noise noise(4);
    for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
        PagedSequences s(noise, dtype, {2, 1, 64}, {70}, 3, dtype_info(dtype)->block_bytes);
        RowList rows = prompt(0, 0, 70);
        expect_truth(s, rows, noise_q(noise, s, rows), {}, tolerance_of(dtype));
    }
}

TEST(cuda_attention_prefill, the_same_bits_in_every_order_of_threads_and_blocks)
{
    const AttentionShape shape = {2, 1, 40};
    RowList rows = joined({prompt(1, 3, 20), prompt(0, 0, 100)});
    for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
        std::vector<float> want;
        for (uint64_t seed : machine_seeds()) {
            restart_machine(seed);
            Noise noise(5);
            std::vector<float> q = noise.list(rows.size() * shape.heads * shape.dim, 2.0f);
            PagedSequences s(noise, dtype, shape, {100, 20}, 10 + (uint32_t)seed);
            std::vector<float> y = attend(cuda_attention_tiled, s, rows, q, {});
            if (want.empty())
                want = y;
            EXPECT_TRUE(same_bits(y.data(), want.data(), y.size())) << "seed " << seed;
        }
    }
}

TEST(cuda_attention_prefill, a_captured_launch_serves_other_positions)
{
    restart_machine(5);
    Noise noise(6);
    PagedSequences s(noise, DTYPE_F16, {2, 1, 64}, {90, 80}, 3);
    RowList before = prompt(0, 0, 70), after = joined({prompt(1, 40, 80), prompt(0, 60, 90)});
    std::vector<float> q = noise_q(noise, s, before);
    Stream stream;
    DeviceBatch batch(s, before, q, {});
    cudaGraph_t graph;
    cudaGraphExec_t launchable;
    CUDA_CALL(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    cuda_attention_tiled(stream, &batch.args);
    CUDA_CALL(cudaStreamEndCapture(stream, &graph));
    CUDA_CALL(cudaGraphInstantiate(&launchable, graph, 0));
    for (const RowList &rows : {before, after}) {
        batch.positions.put(DeviceBatch::column(rows, false));
        batch.table_of.put(DeviceBatch::column(rows, true));
        CUDA_CALL(cudaGraphLaunch(launchable, stream));
        EXPECT_EQ(far_from(batch.out.get(stream), s.truth(rows, q, {}), tolerance_of(DTYPE_F16),
                           2 * 64),
                  "");
    }
    CUDA_CALL(cudaGraphExecDestroy(launchable));
    CUDA_CALL(cudaGraphDestroy(graph));
}

TEST(cuda_attention_prefill, huge_scores_do_not_overflow)
{
    restart_machine(6);
    Noise noise(7);
    for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
        PagedSequences s(noise, dtype, {1, 1, 64}, {100}, 1);
        RowList rows = prompt(0, 0, 100);
        /* F16: as large as queries times 1/8 may be */
        for (float f : attend(cuda_attention_tiled, s, rows, noise_q(noise, s, rows, 5e5f), {}))
            EXPECT_TRUE(std::isfinite(f));
    }
}

TEST(cuda_attention_prefill, no_rows)
{
    restart_machine(8);
    Noise noise(8);
    PagedSequences s(noise, DTYPE_F16, {4, 1, 8}, {20}, 1);
    EXPECT_TRUE(attend(cuda_attention_tiled, s, {}, {}, {}).empty());
}
