/* Multiplying and adding value by value: what some architectures do to embeddings, branches and
 * logits, and how the shared expert joins the residual stream:
 * x[r][i] += factor * sigmoid(gate[r]) * y[r][i] is one rounding for the weight of a row and one
 * for the addition (fma); nothing is summed.
 *
 * Bound by bytes: x is read and written once, y read once. Neighbouring threads take neighbouring
 * values; a block takes SCALE_PART values of a row, so that one row of 2048 fills four. An addition
 * to x is one that a stopped layer leaves out (cuda_ops.cuh). */
#include "engine/backend/cuda/cuda_ops.cuh"

#define SCALE_THREADS 128
#define SCALE_PART 512 /* values of a row that a block takes */

static __global__ void __launch_bounds__(SCALE_THREADS)
    scale_kernel(float *x, float factor, uint32_t width)
{
    float *row = x + (size_t)blockIdx.x * width;
    uint32_t begin = blockIdx.y * SCALE_PART;
    uint32_t end = width - begin < SCALE_PART ? width : begin + SCALE_PART;
#pragma unroll 4
    for (uint32_t i = begin + threadIdx.x; i < end; i += SCALE_THREADS)
        row[i] *= factor;
}

static __global__ void __launch_bounds__(SCALE_THREADS)
    add_scaled_kernel(float *x, const float *__restrict__ y, const float *gate, float factor,
                      uint32_t width, const uint32_t *stopped)
{
    if (stopped && *stopped != 0)
        return;
    float *to = x + (size_t)blockIdx.x * width;
    const float *from = y + (size_t)blockIdx.x * width;
    float weight = gate ? factor / (1.0f + expf(-gate[blockIdx.x])) : factor;
    uint32_t begin = blockIdx.y * SCALE_PART;
    uint32_t end = width - begin < SCALE_PART ? width : begin + SCALE_PART;
#pragma unroll 4
    for (uint32_t i = begin + threadIdx.x; i < end; i += SCALE_THREADS)
        to[i] = fmaf(weight, from[i], to[i]);
}

void cuda_scale(cudaStream_t stream, float *x, float factor, uint32_t rows, uint32_t width)
{
    cuda_launch(stream, scale_kernel, dim3(rows, cuda_parts(width, SCALE_PART)),
                dim3(SCALE_THREADS), 0, x, factor, width);
}

void cuda_add_scaled(cudaStream_t stream, float *x, const float *y, const float *gate,
                     float factor, uint32_t rows, uint32_t width, const uint32_t *stopped)
{
    cuda_launch(stream, add_scaled_kernel, dim3(rows, cuda_parts(width, SCALE_PART)),
                dim3(SCALE_THREADS), 0, x, y, gate, factor, width, stopped);
}
