/* RMSNorm. The mean of squares is one sum in an order that the width alone decides: value i
 * belongs to lane i mod L of the row's lanes, each lane adds its values in rising order (fma),
 * the 32 lanes of a warp are added as the tree of cuda_warp_sum, and the warps as a second such
 * tree. A row has L = 32 lanes up to NORM_NARROW values (the norms of single heads: many short
 * rows, eight to a block) and L = 256 beyond (a block per row).
 *
 * Bound by bytes where rows are many: x is read from memory once (the second reading, to scale
 * it, finds it in cache), out is written once. With one row it is the latency of a load, two
 * trees and a store. In place is allowed: a thread writes only what it alone read, and after the
 * sum. */
#include "engine/backend/cuda/cuda_ops.cuh"

#define NORM_THREADS 256
#define NORM_WARPS (NORM_THREADS / CUDA_WARP)
#define NORM_AT_ONCE 4  /* values of a thread on their way at a time */
#define NORM_NARROW 512 /* values up to which a warp takes a row */

/* The sum over all lanes of a row, in each of them. Called by whole blocks where LANES > 32. */
template <int LANES> static __device__ __forceinline__ float row_sum(float value)
{
    value = cuda_warp_sum(value);
    if constexpr (LANES > CUDA_WARP) {
        __shared__ float of_warp[NORM_WARPS];
        uint32_t lane = threadIdx.x % CUDA_WARP;
        if (lane == 0)
            of_warp[threadIdx.x / CUDA_WARP] = value;
        __syncthreads();
        value = cuda_warp_sum(lane < NORM_WARPS ? of_warp[lane] : 0.0f);
    }
    return value;
}

/* Values i, i + LANES, ...: all are read before the first is written, since out may be x and the
 * compiler cannot know that no other is overwritten. */
template <int LANES>
static __device__ __forceinline__ void scale_values(float *to, const float *from,
                                                    const float *weight, float factor, uint32_t i,
                                                    uint32_t width)
{
    float value[NORM_AT_ONCE];
#pragma unroll
    for (uint32_t j = 0; j < NORM_AT_ONCE; j++) {
        if (i + j * LANES < width)
            value[j] = from[i + j * LANES] * factor * weight[i + j * LANES];
    }
#pragma unroll
    for (uint32_t j = 0; j < NORM_AT_ONCE; j++) {
        if (i + j * LANES < width)
            to[i + j * LANES] = value[j];
    }
}

template <int LANES>
static __global__ void __launch_bounds__(NORM_THREADS)
    norm_kernel(float *out, const float *x, const float *weight, uint32_t rows, uint32_t width,
                float eps)
{
    size_t row = blockIdx.x * (size_t)(NORM_THREADS / LANES) + threadIdx.x / LANES;
    if (row >= rows) /* whole warps, and never where the block waits: LANES is the block there */
        return;
    const float *from = x + row * width;
    float *to = out + row * width;
    float squares = 0.0f;
#pragma unroll 8
    for (uint32_t i = threadIdx.x % LANES; i < width; i += LANES)
        squares = fmaf(from[i], from[i], squares);
    float factor = 1.0f / sqrtf(row_sum<LANES>(squares) / (float)width + eps);
    for (uint32_t i = threadIdx.x % LANES; i < width; i += LANES * NORM_AT_ONCE)
        scale_values<LANES>(to, from, weight, factor, i, width);
}

void cuda_rms_norm(cudaStream_t stream, float *out, const float *x, const float *weight,
                   uint32_t rows, uint32_t width, float eps)
{
    if (width <= NORM_NARROW) {
        cuda_launch(stream, norm_kernel<CUDA_WARP>, dim3(cuda_parts(rows, NORM_WARPS)),
                    dim3(NORM_THREADS), 0, out, x, weight, rows, width, eps);
    } else {
        cuda_launch(stream, norm_kernel<NORM_THREADS>, dim3(rows), dim3(NORM_THREADS), 0, out, x,
                    weight, rows, width, eps);
    }
}
