/* out[i] = x[rows[i]]: rows copied together, bit for bit. Bound by bytes: each row is read and
 * written once, neighbouring threads taking neighbouring values, GATHER_PART of a row to a block,
 * so that even a few rows spread over many blocks. */
#include "engine/backend/cuda/cuda_ops.cuh"

#define GATHER_THREADS 256
#define GATHER_PART 1024 /* values of a row that a block copies */

static __global__ void __launch_bounds__(GATHER_THREADS)
    gather_kernel(float *__restrict__ out, const float *__restrict__ x, const uint32_t *rows,
                  uint32_t width)
{
    const float *from = x + (size_t)rows[blockIdx.x] * width;
    float *to = out + (size_t)blockIdx.x * width;
    uint32_t begin = blockIdx.y * GATHER_PART;
    uint32_t end = width - begin < GATHER_PART ? width : begin + GATHER_PART;
#pragma unroll 4
    for (uint32_t i = begin + threadIdx.x; i < end; i += GATHER_THREADS)
        to[i] = from[i];
}

void cuda_gather(cudaStream_t stream, float *out, const float *x, const uint32_t *rows,
                 uint32_t count, uint32_t width)
{
    cuda_launch(stream, gather_kernel, dim3(count, cuda_parts(width, GATHER_PART)),
                dim3(GATHER_THREADS), 0, out, x, rows, width);
}
