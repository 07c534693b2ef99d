/* Rotary positions, rotate-half form, in place: the pair (x[i], x[i + d/2]) of every head turns
 * by position * inv_freq[i]. The angle is a product of two f32, as the reference implementations
 * form it, and grows with the position, so sine and cosine are the accurate ones with their full
 * reduction of large angles, never the fast intrinsics, whose error grows with the angle.
 *
 * A thread turns one pair number of ROPE_HEADS heads: the angle's sine and cosine serve all of
 * them, and their loads are in flight together, before the first store. Bound by bytes where rows
 * are many (x is read and written once); with one row it is the latency of a load and a store. */
#include "engine/backend/cuda/cuda_ops.cuh"

#define ROPE_HEADS 4
#define ROPE_THREADS 128

static __global__ void __launch_bounds__(ROPE_THREADS)
    rope_kernel(float *x, const uint32_t *positions, const float *inv_freq, uint32_t head_groups,
                uint32_t heads, uint32_t half_dim)
{
    uint32_t row = blockIdx.x / head_groups;
    uint32_t first = blockIdx.x % head_groups * ROPE_HEADS;
    uint32_t count = heads - first < ROPE_HEADS ? heads - first : ROPE_HEADS;
    float position = (float)positions[row];
    float *pairs = x + ((size_t)row * heads + first) * 2 * half_dim;
    for (uint32_t i = threadIdx.x; i < half_dim; i += blockDim.x) {
        float sine, cosine;
        sincosf(position * inv_freq[i], &sine, &cosine);
        float a[ROPE_HEADS], b[ROPE_HEADS];
#pragma unroll
        for (uint32_t h = 0; h < ROPE_HEADS; h++) {
            if (h < count) {
                a[h] = pairs[(size_t)h * 2 * half_dim + i];
                b[h] = pairs[(size_t)h * 2 * half_dim + half_dim + i];
            }
        }
#pragma unroll
        for (uint32_t h = 0; h < ROPE_HEADS; h++) {
            if (h < count) {
                pairs[(size_t)h * 2 * half_dim + i] = a[h] * cosine - b[h] * sine;
                pairs[(size_t)h * 2 * half_dim + half_dim + i] = b[h] * cosine + a[h] * sine;
            }
        }
    }
}

void cuda_rope(cudaStream_t stream, float *x, const uint32_t *positions, const float *inv_freq,
               uint32_t rows, uint32_t heads, uint32_t head_dim)
{
    CHECK_MSG(head_dim % 2 == 0, "head_dim %u is odd", head_dim);
    uint32_t half_dim = head_dim / 2, groups = cuda_parts(heads, ROPE_HEADS);
    if (half_dim == 0 || groups == 0)
        return;
    uint32_t threads = cuda_parts(half_dim, CUDA_WARP) * CUDA_WARP;
    cuda_launch(stream, rope_kernel, dim3(rows * groups),
                dim3(threads < ROPE_THREADS ? threads : ROPE_THREADS), 0, x, positions, inv_freq,
                groups, heads, half_dim);
}
