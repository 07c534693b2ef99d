/* Puts the experts' outputs together: per token, the weighted sum over its choices in the token's
 * own order (sum = fma(weight, y, sum), from zero), then added to the residual. How outputs were
 * grouped by expert has no say. One thread sums one value; nothing is shared.
 *
 * Bound by bytes: each row of y is read once, the residual read and written once. Neighbouring
 * threads read neighbouring values, four choices in flight at a time; a block takes
 * COMBINE_THREADS values of one token, so that one token of 2048 values still fills 16 blocks. */
#include "engine/backend/cuda/cuda_ops.cuh"

#define COMBINE_THREADS 128

static __global__ void __launch_bounds__(COMBINE_THREADS)
    combine_kernel(struct combine_args args, const uint32_t *stopped)
{
    uint32_t i = blockIdx.y * COMBINE_THREADS + threadIdx.x;
    if (i >= args.width || (stopped && *stopped != 0))
        return;
    size_t row = blockIdx.x;
    uint32_t first = args.offsets[row], end = args.offsets[row + 1];
    if (first == end)
        return; /* nothing chosen: not even a negative zero changes its sign */
    float sum = 0.0f;
#pragma unroll 4
    for (uint32_t c = first; c < end; c++)
        sum = fmaf(args.weights[c], args.y[(size_t)args.places[c] * args.width + i], sum);
    args.out[row * args.width + i] += sum;
}

void cuda_combine(cudaStream_t stream, const struct combine_args *args, const uint32_t *stopped)
{
    cuda_launch(stream, combine_kernel, dim3(args->rows, cuda_parts(args->width, COMBINE_THREADS)),
                dim3(COMBINE_THREADS), 0, *args, stopped);
}
