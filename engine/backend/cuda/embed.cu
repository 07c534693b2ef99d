/* Token embeddings: rows of a table, decoded to f32. Decoding is exact, so nothing is summed and
 * every value stands alone.
 *
 * Bound by bytes: a row is read once in its format and written once in f32, a few kilobytes per
 * token and once per step. Neighbouring threads take neighbouring values, one value per load: a
 * warp still asks for whole sectors, rows of any alignment and length take the same path, and
 * what wider loads would save is far below the cost of the launch.
 *
 * Tokens are device memory: that each is below table.rows was checked before they were uploaded. */
#include "engine/backend/cuda/cuda_ops.cuh"

#define EMBED_THREADS 256
#define EMBED_PART 1024 /* values of a row that a block decodes */

template <enum dtype D>
static __global__ void __launch_bounds__(EMBED_THREADS)
    embed_kernel(float *__restrict__ out, const uint8_t *__restrict__ table, const uint32_t *tokens,
                 size_t row_bytes, uint32_t cols)
{
    size_t row = blockIdx.x;
    const uint8_t *from = table + tokens[row] * row_bytes;
    float *to = out + row * cols;
    uint32_t begin = blockIdx.y * EMBED_PART;
    uint32_t end = cols - begin < EMBED_PART ? cols : begin + EMBED_PART;
#pragma unroll 4
    for (uint32_t i = begin + threadIdx.x; i < end; i += EMBED_THREADS)
        to[i] = cuda_format<D>::load(from, i);
}

void cuda_embed(cudaStream_t stream, float *out, struct tensor table, const uint32_t *tokens,
                uint32_t rows)
{
    uint64_t row_bytes;
    CHECK(dtype_bytes(table.dtype, table.cols, &row_bytes));
    const uint8_t *data = static_cast<const uint8_t *>(table.data);
    cuda_with_format(table.dtype, [&](auto format) {
        cuda_launch(stream, embed_kernel<decltype(format)::value>,
                    dim3(rows, cuda_parts(table.cols, EMBED_PART)), dim3(EMBED_THREADS), 0, out,
                    data, tokens, (size_t)row_bytes, table.cols);
    });
}
