/* y = W x in two ways: kernels of our own for few rows, cuBLAS for many.
 *
 * Few rows are bound by reading W once: 2 bytes of weight meet at most CUDA_FEW_ROWS
 * multiplications each, and HBM is the only thing that a step of decoding waits for. A block of
 * 128 threads computes O outputs for R rows. The sum of one output has an order that cols alone
 * decides: value i belongs to lane (i / 8) mod 128, for a lane reads 16 bytes of a 2-byte format
 * at a time; each lane adds its values in rising order (fma); the 32 lanes of a warp are added as
 * a tree (l with l + 16, and so on), then the four warps as (0 + 1) + (2 + 3). Neither R nor O
 * nor the alignment is in it, so a row has the same result alone and in company, and so has a
 * matrix whose rows cannot be read 16 bytes at a time: that path reads value by value, in the
 * same order.
 *
 * Why this shape. A thread needs the same places of x for all O outputs, so x is never shared
 * between threads and goes from cache straight to registers: no shared memory to fill before the
 * first weight can be asked for, and no barrier but the one of the last four sums. O = 4 reads x
 * a quarter as often as one output at a time would, which keeps eight rows of x within what the
 * first-level cache gives, and puts four 16-byte loads of each thread in flight: the 16 warps
 * that an SM holds at eight rows (111 registers) are then 32 KiB, enough to keep HBM busy.
 * Matrices of few outputs (a router, a small projection) take O = 1, where more blocks matter
 * more. More rows than R pass one after the other; the passes over the same weights are
 * neighbouring blocks, so that the second finds them in the L2 cache.
 *
 * The sums of a thread are R * O; a tree for each would cost five shuffles per sum. `fold_sums`
 * lets half the lanes give away half of the sums in each round, as many shuffles in all as there
 * are sums, and adds exactly the same pairs.
 *
 * Many rows are bound by arithmetic and go to cuBLAS on tensor cores: x is rounded to the 2-byte
 * format of the weights first (f16 has no numbers beyond 65504: such an x becomes infinite), sums
 * are f32. f32 weights use f32 arithmetic, not TF32. Which sums cuBLAS forms depends on the
 * number of rows, so this is not for --deterministic. */
#include <limits.h>

#include "engine/backend/cuda/cuda_ops.cuh"

#define MATMUL_THREADS 128
#define MATMUL_WARPS (MATMUL_THREADS / CUDA_WARP)
#define MATMUL_CHUNK 8                                /* values that a lane reads at a time */
#define MATMUL_STEP (MATMUL_THREADS * MATMUL_CHUNK)   /* values that a block reads at a time */
#define MATMUL_WIDE 4                                 /* outputs of a block, if W has many */
#define MATMUL_WIDE_OUTPUTS 1024                      /* many */
#define EACH_THREADS 256 /* of kernels that do something to each value */
#define EACH_VALUES 8    /* that a thread takes of them */

struct few_args {
    float *out;
    const float *x;
    const uint8_t *w;
    const float *bias;
    const uint32_t *stopped;
    size_t row_bytes;
    uint32_t rows, cols, outputs;
    uint32_t passes;    /* of R rows */
    uint32_t fast_cols; /* values of a row that may be read 16 bytes at a time: all or none */
    bool add;
};

/* sums[o * R + r] += W[o][i .. i + 7] . x[r][i .. i + 7] */
template <enum dtype D, int R, int O>
static __device__ __forceinline__ void add_chunk(float sums[O * R], const uint8_t *const w[O],
                                                 const float *const x[R], uint32_t i)
{
    float weight[O][MATMUL_CHUNK];
#pragma unroll
    for (int o = 0; o < O; o++)
        cuda_format<D>::load8(w[o], i, weight[o]);
#pragma unroll
    for (int r = 0; r < R; r++) {
        float value[MATMUL_CHUNK];
        cuda_format<DTYPE_F32>::load8(x[r], i, value);
#pragma unroll
        for (int o = 0; o < O; o++) {
#pragma unroll
            for (int j = 0; j < MATMUL_CHUNK; j++)
                sums[o * R + r] = fmaf(value[j], weight[o][j], sums[o * R + r]);
        }
    }
}

/* The same for the values [begin, end), one at a time. */
template <enum dtype D, int R, int O>
static __device__ __forceinline__ void add_values(float sums[O * R], const uint8_t *const w[O],
                                                  const float *const x[R], uint32_t begin,
                                                  uint32_t end)
{
#pragma unroll 1
    for (uint32_t i = begin; i < end; i++) {
        float weight[O];
#pragma unroll
        for (int o = 0; o < O; o++)
            weight[o] = cuda_format<D>::load(w[o], i);
#pragma unroll
        for (int r = 0; r < R; r++) {
            float value = x[r][i];
#pragma unroll
            for (int o = 0; o < O; o++)
                sums[o * R + r] = fmaf(value, weight[o], sums[o * R + r]);
        }
    }
}

/* N sums (a power of two, at most 32) over the 32 lanes, each as the tree of cuda_warp_sum: in
 * every round a lane keeps half of the sums that it has left and gives the other half to its
 * partner; then the one sum that is left to it is added as usual. A lane returns the sum of number
 * lane / (32 / N). */
template <int N> static __device__ __forceinline__ float fold_sums(float sums[N], uint32_t lane)
{
    int apart = CUDA_WARP / 2;
#pragma unroll
    for (int keep = N / 2; keep > 0; keep /= 2) {
        bool upper = (lane & (uint32_t)apart) != 0;
#pragma unroll
        for (int k = 0; k < keep; k++) {
            float mine = upper ? sums[k + keep] : sums[k];
            float theirs = upper ? sums[k] : sums[k + keep];
            sums[k] = mine + __shfl_xor_sync(0xFFFFFFFFu, theirs, apart);
        }
        apart /= 2;
    }
#pragma unroll
    for (; apart > 0; apart /= 2)
        sums[0] += __shfl_xor_sync(0xFFFFFFFFu, sums[0], apart);
    return sums[0];
}

/* Rows beyond the last and outputs beyond the last repeat the last, and are not stored. */
template <enum dtype D, int R, int O>
static __global__ void __launch_bounds__(MATMUL_THREADS) matmul_few_kernel(struct few_args a)
{
    uint32_t row = blockIdx.x % a.passes * R, output = blockIdx.x / a.passes * O;
    const uint8_t *w[O];
    const float *x[R];
#pragma unroll
    for (int o = 0; o < O; o++)
        w[o] = a.w + min(output + o, a.outputs - 1) * a.row_bytes;
#pragma unroll
    for (int r = 0; r < R; r++)
        x[r] = a.x + min(row + r, a.rows - 1) * (size_t)a.cols;

    float sums[O * R] = {};
    uint32_t i = threadIdx.x * MATMUL_CHUNK;
#pragma unroll(R * O <= 8 ? 2 : 1)
    for (; i + MATMUL_CHUNK <= a.fast_cols; i += MATMUL_STEP)
        add_chunk<D, R, O>(sums, w, x, i);
    for (; i < a.cols; i += MATMUL_STEP)
        add_values<D, R, O>(sums, w, x, i, min(i + MATMUL_CHUNK, a.cols));

    __shared__ float of_warp[MATMUL_WARPS][O * R];
    uint32_t lane = threadIdx.x % CUDA_WARP, per_sum = CUDA_WARP / (O * R);
    float sum = fold_sums<O * R>(sums, lane);
    if (lane % per_sum == 0)
        of_warp[threadIdx.x / CUDA_WARP][lane / per_sum] = sum;
    __syncthreads();

    uint32_t n = threadIdx.x, r = row + n % R, o = output + n / R;
    if (n >= O * R || r >= a.rows || o >= a.outputs)
        return;
    float y = (of_warp[0][n] + of_warp[1][n]) + (of_warp[2][n] + of_warp[3][n]);
    if (a.bias)
        y += a.bias[o];
    float *out = a.out + (size_t)r * a.outputs + o;
    if (!a.add)
        *out = y;
    else if (!a.stopped || *a.stopped == 0)
        *out += y;
}

template <enum dtype D, int R> static void launch_few(cudaStream_t stream, struct few_args a)
{
    uint64_t wide = a.outputs >= MATMUL_WIDE_OUTPUTS ? MATMUL_WIDE : 1;
    a.passes = cuda_parts(a.rows, R);
    uint64_t blocks = (a.outputs + wide - 1) / wide * a.passes;
    CHECK_MSG(blocks <= INT_MAX, "%u rows for %u outputs", a.rows, a.outputs);
    if (wide > 1)
        cuda_launch(stream, matmul_few_kernel<D, R, MATMUL_WIDE>, dim3((uint32_t)blocks),
                    dim3(MATMUL_THREADS), 0, a);
    else
        cuda_launch(stream, matmul_few_kernel<D, R, 1>, dim3((uint32_t)blocks),
                    dim3(MATMUL_THREADS), 0, a);
}

void cuda_matmul_few(cudaStream_t stream, float *out, const float *x, struct tensor w,
                     const float *bias, uint32_t rows, bool add, const uint32_t *stopped)
{
    uint64_t row_bytes;
    CHECK(dtype_bytes(w.dtype, w.cols, &row_bytes) && w.cols <= INT_MAX);
    if (rows == 0 || w.rows == 0)
        return;
    bool fast = (uintptr_t)w.data % 16 == 0 && row_bytes % 16 == 0 && (uintptr_t)x % 16 == 0 &&
                w.cols % 4 == 0;
    struct few_args a = {out,  x,      static_cast<const uint8_t *>(w.data), bias, stopped,
                         (size_t)row_bytes, rows, w.cols, w.rows, 0, fast ? w.cols : 0, add};
    cuda_with_format(w.dtype, [&](auto format) {
        constexpr enum dtype d = decltype(format)::value;
        static_assert(CUDA_FEW_ROWS == 8, "the last is CUDA_FEW_ROWS");
        if (rows == 1)
            launch_few<d, 1>(stream, a);
        else if (rows == 2)
            launch_few<d, 2>(stream, a);
        else if (rows <= 4)
            launch_few<d, 4>(stream, a);
        else
            launch_few<d, CUDA_FEW_ROWS>(stream, a);
    });
}

/* ---- many rows ---- */

static __device__ __forceinline__ uint16_t round_to(__half, float f)
{
    return __half_as_ushort(__float2half_rn(f));
}

static __device__ __forceinline__ uint16_t round_to(__nv_bfloat16, float f)
{
    return __bfloat16_as_ushort(__float2bfloat16_rn(f));
}

/* to[i] = from[i] in a 2-byte format, to the nearest, ties to even. `to` is aligned to 16 bytes;
 * `fast`: from is, too. Bound by bytes: 4 read and 2 written for each value. */
template <enum dtype D>
static __global__ void __launch_bounds__(EACH_THREADS)
    round_kernel(uint16_t *__restrict__ to, const float *__restrict__ from, size_t count, bool fast)
{
    typedef typename cuda_format<D>::element element;
    size_t i = ((size_t)blockIdx.x * EACH_THREADS + threadIdx.x) * EACH_VALUES;
    if (fast && i + EACH_VALUES <= count) {
        float value[EACH_VALUES];
        uint32_t word[EACH_VALUES / 2];
        cuda_format<DTYPE_F32>::load8(from + i, 0, value);
#pragma unroll
        for (int j = 0; j < EACH_VALUES / 2; j++)
            word[j] = round_to(element(), value[2 * j]) |
                      (uint32_t)round_to(element(), value[2 * j + 1]) << 16;
        *reinterpret_cast<uint4 *>(to + i) = make_uint4(word[0], word[1], word[2], word[3]);
        return;
    }
    for (size_t end = i + EACH_VALUES; i < end && i < count; i++)
        to[i] = round_to(element(), from[i]);
}

/* out[r][o] (+)= y[r][o] (+ bias[o]); y may be out. Where an addition is stopped, nothing. */
static __global__ void __launch_bounds__(EACH_THREADS)
    finish_kernel(float *out, const float *y, const float *bias, uint32_t outputs, bool add,
                  const uint32_t *stopped)
{
    if (add && stopped && *stopped != 0)
        return;
    size_t row = (size_t)blockIdx.x * outputs;
    uint32_t begin = blockIdx.y * (EACH_THREADS * EACH_VALUES) + threadIdx.x;
    float sum[EACH_VALUES];
#pragma unroll
    for (uint32_t j = 0; j < EACH_VALUES; j++) {
        uint32_t o = begin + j * EACH_THREADS;
        if (o >= outputs)
            continue;
        sum[j] = y[row + o];
        if (bias)
            sum[j] += bias[o];
        if (add)
            sum[j] = out[row + o] + sum[j];
    }
#pragma unroll
    for (uint32_t j = 0; j < EACH_VALUES; j++) {
        if (begin + j * EACH_THREADS < outputs)
            out[row + begin + j * EACH_THREADS] = sum[j];
    }
}

/* x in the format of w: x itself, or its rounded copy in gemm->half. */
static const void *round_x(const struct cuda_gemm *gemm, const float *x, size_t count,
                           enum dtype dtype)
{
    if (dtype == DTYPE_F32)
        return x;
    uint16_t *to = static_cast<uint16_t *>(gemm->half);
    CHECK((uintptr_t)to % 16 == 0);
    bool fast = (uintptr_t)x % 16 == 0;
    size_t of_block = EACH_THREADS * EACH_VALUES, blocks = (count + of_block - 1) / of_block;
    CHECK_MSG(blocks <= INT_MAX, "%zu values of x", count);
    if (dtype == DTYPE_F16)
        cuda_launch(gemm->stream, round_kernel<DTYPE_F16>, dim3((uint32_t)blocks),
                    dim3(EACH_THREADS), 0, to, x, count, fast);
    else
        cuda_launch(gemm->stream, round_kernel<DTYPE_BF16>, dim3((uint32_t)blocks),
                    dim3(EACH_THREADS), 0, to, x, count, fast);
    return to;
}

static cudaDataType_t blas_type(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_F32:
        return CUDA_R_32F;
    case DTYPE_F16:
        return CUDA_R_16F;
    case DTYPE_BF16:
        return CUDA_R_16BF;
    default:
        CHECK_MSG(false, "cuBLAS reads no dtype %d", (int)dtype);
        return CUDA_R_32F;
    }
}

/* cuBLAS counts columns first: a row-major W [outputs][cols] is its cols x outputs matrix, to be
 * transposed; x [rows][cols] is its cols x rows; and its outputs x rows is our [rows][outputs]. */
void cuda_matmul_many(const struct cuda_gemm *gemm, float *out, const float *x, struct tensor w,
                      const float *bias, uint32_t rows, bool add)
{
    CHECK_MSG(rows <= INT_MAX && w.rows <= INT_MAX && w.cols <= INT_MAX,
              "%u rows for a matrix of %u x %u", rows, w.rows, w.cols);
    if (rows == 0 || w.rows == 0)
        return;
    float *y = add ? gemm->sum : out;
    if (w.cols == 0) {
        CUDA_CALL(cudaMemsetAsync(y, 0, (size_t)rows * w.rows * sizeof *y, gemm->stream));
    } else {
        const float one = 1.0f, zero = 0.0f;
        cudaDataType_t type = blas_type(w.dtype);
        const void *from = round_x(gemm, x, (size_t)rows * w.cols, w.dtype);
        CUDA_BLAS_CALL(cublasGemmEx(gemm->handle, CUBLAS_OP_T, CUBLAS_OP_N, (int)w.rows, (int)rows,
                                    (int)w.cols, &one, w.data, type, (int)w.cols, from, type,
                                    (int)w.cols, &zero, y, CUDA_R_32F, (int)w.rows,
                                    CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
    }
    if (add || bias)
        cuda_launch(gemm->stream, finish_kernel,
                    dim3(rows, cuda_parts(w.rows, EACH_THREADS * EACH_VALUES)), dim3(EACH_THREADS),
                    0, out, static_cast<const float *>(y), bias, w.rows, add, gemm->stopped);
}
