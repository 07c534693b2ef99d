/* Attention row by row against the scalar backend, and its independence of everything but the row:
 * company, blocks, scratch, context_max, the order in which threads run. */
#include "tests/engine/backend/cuda/attention_checks.h"

namespace {

const double TOLERANCE = 4e-6; /* of sums of values within [-1, 1] */

void expect_truth(const PagedSequences &s, const RowList &rows, const std::vector<float> &q,
                  const AttentionRun &run)
{
    EXPECT_EQ(far_from(attend(cuda_attention_rows, s, rows, q, run), s.truth(rows, q, run),
                       TOLERANCE, s.shape.heads * s.shape.dim),
              "")
        << s.shape << ", dtype " << s.host.dtype << ", window " << run.window;
}

} // namespace

TEST(cuda_attention, against_the_processor_for_every_grouping_format_and_window)
{
    restart_machine(1);
    Noise noise(1);
    const AttentionShape shapes[] = {{1, 1, 8},   {4, 4, 16}, {6, 2, 24},  {4, 2, 80},
                                     {12, 1, 64}, {5, 1, 96}, {8, 2, 128}, {2, 1, 256},
                                     {3, 3, 7},   {9, 1, 33}, {2, 2, 129}, {16, 2, 64}};
    const RowList rows = {{0, 0},  {2, 300}, {1, 0},   {1, 3},   {1, 15},
                          {1, 16}, {1, 39},  {2, 127}, {2, 128}, {2, 257}};
    for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
        for (AttentionShape shape : shapes) {
            PagedSequences s(noise, dtype, shape, {1, 40, 301}, 7);
            for (uint32_t window : {0u, 129u})
                expect_truth(s, rows, noise_q(noise, s, rows), {window});
        }
    }
}

TEST(cuda_attention, windows_and_positions_around_the_edges_of_parts)
{
    for (uint64_t seed : machine_seeds()) {
        restart_machine(seed);
        Noise noise((uint32_t)seed);
        PagedSequences s(noise, DTYPE_F16, {2, 1, 16}, {520}, 3);
        RowList rows;
        for (uint32_t position : {0u, 1u, 62u, 126u, 127u, 128u, 129u, 254u, 255u, 256u, 383u, 384u,
                                  385u, 511u, 512u, 519u})
            rows.push_back({0, position});
        std::vector<float> q = noise_q(noise, s, rows);
        for (uint32_t window : {1u, 2u, 16u, 127u, 128u, 130u, 257u, 519u, 520u, UINT32_MAX})
            expect_truth(s, rows, q, {window});
    }
}

TEST(cuda_attention, keys_of_no_alignment)
{
    restart_machine(2);
    Noise noise(2);
    for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
        PagedSequences s(noise, dtype, {4, 2, 64}, {150}, 3, dtype_info(dtype)->block_bytes);
        RowList rows = {{0, 149}, {0, 20}};
        expect_truth(s, rows, noise_q(noise, s, rows), {0});
    }
}

/* More parts than the threads that join them. */
TEST(cuda_attention, a_long_context)
{
    restart_machine(3);
    Noise noise(3);
    PagedSequences s(noise, DTYPE_F16, {1, 1, 8}, {33500}, 3);
    RowList rows = {{0, 33499}, {0, 4000}};
    expect_truth(s, rows, noise_q(noise, s, rows, 6.0f), {0});
}

/* So many that a block of threads takes several parts. */
TEST(cuda_attention, many_rows_of_many_heads)
{
    restart_machine(4);
    Noise noise(10);
    PagedSequences s(noise, DTYPE_F16, {16, 16, 16}, {400, 300}, 3);
    RowList rows;
    for (uint32_t i = 0; i < 50; i++)
        rows.push_back({i % 2, 299 - 5 * i});
    rows.push_back({0, 399});
    expect_truth(s, rows, noise_q(noise, s, rows), {0});
    expect_truth(s, rows, noise_q(noise, s, rows), {260});
}

TEST(cuda_attention, a_row_is_the_same_in_any_company_and_blocks_and_with_any_context_max)
{
    for (enum dtype dtype : {DTYPE_F32, DTYPE_F16}) {
        restart_machine(1);
        const AttentionShape shape = {6, 2, 40};
        Noise noise(4), again(4);
        std::vector<float> want;
        RowList rows;
        for (uint32_t position : {0u, 7u, 127u, 128u, 200u, 259u})
            rows.push_back({0, position}), rows.push_back({1, position / 2});
        std::vector<float> q = noise.list(rows.size() * shape.heads * shape.dim, 2.0f);
        again.list(q.size());
        size_t width = shape.heads * shape.dim;
        {
            PagedSequences s(noise, dtype, shape, {260, 130}, 1);
            for (size_t r = 0; r < rows.size(); r++) {
                std::vector<float> one(q.begin() + r * width, q.begin() + (r + 1) * width);
                std::vector<float> y = attend(cuda_attention_rows, s, {rows[r]}, one, {0});
                want.insert(want.end(), y.begin(), y.end());
            }
        }
        for (uint64_t seed : machine_seeds()) {
            restart_machine(seed);
            Noise same = again;
            PagedSequences moved(same, dtype, shape, {260, 130}, 99 + (uint32_t)seed);
            /* the last: more parts than a pass has room for, so that each row has its own */
            for (uint32_t context_max : {260u, 1000u, 128u * 4000}) {
                AttentionRun run = {0, context_max};
                std::vector<float> y = attend(cuda_attention_rows, moved, rows, q, run);
                EXPECT_TRUE(same_bits(y.data(), want.data(), y.size()))
                    << "context_max " << context_max << " seed " << seed;
            }
        }
    }
}

TEST(cuda_attention, a_captured_launch_serves_other_positions)
{
    restart_machine(5);
    Noise noise(5);
    PagedSequences s(noise, DTYPE_F16, {4, 1, 64}, {300, 200}, 3);
    RowList before = {{0, 3}, {1, 130}}, after = {{1, 199}, {0, 299}};
    std::vector<float> q = noise_q(noise, s, before);
    Stream stream;
    DeviceBatch batch(s, before, q, {});
    cudaGraph_t graph;
    cudaGraphExec_t launchable;
    CUDA_CALL(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    cuda_attention_rows(stream, &batch.args);
    CUDA_CALL(cudaStreamEndCapture(stream, &graph));
    CUDA_CALL(cudaGraphInstantiate(&launchable, graph, 0));
    for (const RowList &rows : {before, after}) {
        batch.positions.put(DeviceBatch::column(rows, false));
        batch.table_of.put(DeviceBatch::column(rows, true));
        CUDA_CALL(cudaGraphLaunch(launchable, stream));
        EXPECT_EQ(far_from(batch.out.get(stream), s.truth(rows, q, {}), TOLERANCE, 4 * 64), "");
    }
    CUDA_CALL(cudaGraphExecDestroy(launchable));
    CUDA_CALL(cudaGraphDestroy(graph));
}

TEST(cuda_attention, huge_scores_do_not_overflow)
{
    restart_machine(6);
    Noise noise(6);
    PagedSequences s(noise, DTYPE_F32, {1, 1, 8}, {400}, 1);
    RowList rows = {{0, 399}};
    for (float f : attend(cuda_attention_rows, s, rows, noise_q(noise, s, rows, 1e6f), {}))
        EXPECT_TRUE(std::isfinite(f));
}

TEST(cuda_attention, a_single_key_gives_its_value)
{
    restart_machine(7);
    Noise noise(7);
    PagedSequences s(noise, DTYPE_F32, {1, 1, 8}, {300}, 1);
    RowList rows = {{0, 0}, {0, 299}};
    std::vector<float> q = noise_q(noise, s, rows);
    std::vector<float> y = attend(cuda_attention_rows, s, rows, q, {1});
    const float *values = (const float *)s.value_bytes.data();
    EXPECT_TRUE(same_bits(y.data(), values + s.tables[0][0] * KV_BLOCK_TOKENS * 8, 8));
    size_t last = s.tables[0][299 / KV_BLOCK_TOKENS] * KV_BLOCK_TOKENS + 299 % KV_BLOCK_TOKENS;
    EXPECT_TRUE(same_bits(&y[8], values + last * 8, 8));
}

TEST(cuda_attention, no_rows)
{
    restart_machine(8);
    Noise noise(8);
    PagedSequences s(noise, DTYPE_F32, {4, 1, 8}, {20}, 1);
    EXPECT_TRUE(attend(cuda_attention_rows, s, {}, {}, {}).empty());
}

TEST(cuda_attention, scratch_that_suffices_for_the_longest_context_suffices_for_all)
{
    for (uint32_t rows : {1u, 3u, 8u, 64u, 5000u}) {
        size_t before = 0;
        for (uint32_t context_max = 1; context_max < 700000; context_max += 9973) {
            size_t bytes = cuda_attention_scratch(rows, 32, 128, context_max);
            EXPECT_GE(bytes, before);
            before = bytes;
        }
        EXPECT_GE(before, cuda_attention_scratch(rows - 1, 32, 128, 690000));
    }
    EXPECT_EQ(cuda_attention_scratch(0, 32, 128, 4096), 0u);
    /* bounded for a long prompt that goes row by row */
    EXPECT_LE(cuda_attention_scratch(16384, 32, 128, 16384), 80u << 20);
}

TEST(cuda_attention, what_it_cannot_do_is_a_callers_bug)
{
    struct cuda_attention_args args = {};
    args.rows = 1;
    args.heads = 3;
    args.kv = {nullptr, nullptr, DTYPE_F16, 2, 64};
    EXPECT_DEATH(cuda_attention_rows(nullptr, &args), "3 query heads do not divide among 2");
    args.kv = {nullptr, nullptr, DTYPE_F16, 1, 257};
    EXPECT_DEATH(cuda_attention_rows(nullptr, &args), "a head of 257 values");
    args.kv = {nullptr, nullptr, DTYPE_BF16, 1, 64};
    EXPECT_DEATH(cuda_attention_rows(nullptr, &args), "F32 or F16");
}
