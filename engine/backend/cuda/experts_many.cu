/* The experts of a step of many rows: out = down(silu(gate x) * up x), by cuBLAS.
 *
 * Rows of x are gathered by expert and rounded to the format of the weights in one kernel, so that
 * an expert is three matrix products over neighbouring rows; the products of all gates are asked
 * for first, then those of all ups, so that each change of format is one kernel as well. Sums are
 * f32 and leave as f32: silu(gate) * up is rounded once, on its way into down.
 *
 * One call of cuBLAS per expert and matrix. Its grouped call would be one launch for all, but gives
 * results in the format of the weights only (a rounding of gate, up and out that this way has not)
 * and reads its matrices' addresses from device memory, one more upload per layer. The loop costs a
 * launch of a few microseconds per product, which hides behind the product from some tens of rows
 * on: reading 2048 x 1024 weights of 2 bytes alone takes about one.
 *
 * Bound by the products; around them 4 bytes are read and 2 written per gathered value, 8 read and
 * 2 written per hidden value, all in order. Sums depend on how many rows share an expert, as cuBLAS
 * chooses its kernels by shape.
 *
 * Buffers: half [places][max(hidden, width)] of 2 bytes holds first the gathered rows, then the
 * hidden ones; gate and up [places][width] f32. Weights of f32 are not rounded for: their gathered
 * rows lie in `out`, which down overwrites, and their hidden ones in `gate`. args->hidden is not
 * used, `gate` may be the same memory. Places between those of the experts of a call are not
 * touched. */
#include "engine/backend/cuda/cuda_ops.cuh"

#include <limits.h>

#define MANY_THREADS 256
#define MANY_VALUES 4 /* of one thread at a time */
#define MANY_TILE (MANY_THREADS * MANY_VALUES)

struct many_job {
    const struct cuda_gemm *gemm;
    const struct cuda_experts_args *args;
    const struct cuda_expert *experts; /* host */
    uint32_t count;
    const struct cuda_experts_scratch *scratch;
};

/* ---- device ---- */

static __device__ __forceinline__ void put(float *to, float f)
{
    *to = f;
}

static __device__ __forceinline__ void put(__half *to, float f)
{
    *to = __float2half_rn(f);
}

static __device__ __forceinline__ void put(__nv_bfloat16 *to, float f)
{
    *to = __float2bfloat16_rn(f);
}

static __device__ __forceinline__ uint32_t bits(__half, float f)
{
    return __half_as_ushort(__float2half_rn(f));
}

static __device__ __forceinline__ uint32_t bits(__nv_bfloat16, float f)
{
    return __bfloat16_as_ushort(__float2bfloat16_rn(f));
}

/* Four neighbours, where `to` is aligned to all of them. */
static __device__ __forceinline__ void put4(float *to, float4 f)
{
    *reinterpret_cast<float4 *>(to) = f;
}

template <typename Element>
static __device__ __forceinline__ void put4(Element *to, float4 f)
{
    Element as = Element();
    *reinterpret_cast<uint2 *>(to) = make_uint2(bits(as, f.x) | bits(as, f.y) << 16,
                                                bits(as, f.z) | bits(as, f.w) << 16);
}

static __device__ __forceinline__ float gated(float gate, float up)
{
    return cuda_silu(gate) * up;
}

/* ---- kernels ---- */

/* to[p] = x[gather[p]] for places p = begin + blockIdx.x. ALIGNED: by fours. */
template <enum dtype D, bool ALIGNED>
static __global__ void __launch_bounds__(MANY_THREADS)
    gather_kernel(typename cuda_format<D>::element *__restrict__ to, const float *__restrict__ x,
                  const uint32_t *__restrict__ gather, uint32_t begin, uint32_t cols)
{
    size_t place = (size_t)begin + blockIdx.x;
    const float *from = x + (size_t)gather[place] * cols;
    to += place * cols;
    if constexpr (ALIGNED) {
        for (uint32_t i = threadIdx.x * MANY_VALUES; i < cols; i += MANY_TILE)
            put4(to + i, *reinterpret_cast<const float4 *>(from + i));
    } else {
        for (uint32_t i = threadIdx.x; i < cols; i += MANY_THREADS)
            put(to + i, from[i]);
    }
}

/* to[i] = silu(gate[i]) * up[i], i < n; to may be gate. ALIGNED: by fours. */
template <enum dtype D, bool ALIGNED>
static __global__ void __launch_bounds__(MANY_THREADS)
    gate_kernel(typename cuda_format<D>::element *to, const float *gate, const float *up, size_t n)
{
    if constexpr (ALIGNED) {
        size_t i = ((size_t)blockIdx.x * MANY_THREADS + threadIdx.x) * MANY_VALUES;
        if (i >= n)
            return;
        float4 g = *reinterpret_cast<const float4 *>(gate + i);
        float4 u = *reinterpret_cast<const float4 *>(up + i);
        put4(to + i, make_float4(gated(g.x, u.x), gated(g.y, u.y), gated(g.z, u.z),
                                 gated(g.w, u.w)));
    } else {
        size_t begin = (size_t)blockIdx.x * MANY_TILE, end = begin + MANY_TILE;
        for (size_t i = begin + threadIdx.x; i < end && i < n; i += MANY_THREADS)
            put(to + i, gated(gate[i], up[i]));
    }
}

/* ---- launchers ---- */

static bool aligned(const void *a, const void *b, size_t values)
{
    return values % MANY_VALUES == 0 && ((uintptr_t)a | (uintptr_t)b) % 16 == 0;
}

/* Calls f(begin, end) for each run of places that belong to experts of the call. */
template <typename F> static void each_run(const struct many_job &job, F &&f)
{
    for (uint32_t i = 0, next; i < job.count; i = next) {
        uint32_t end = job.experts[i].end;
        for (next = i + 1; next < job.count && job.experts[next].begin == end; next++)
            end = job.experts[next].end;
        if (job.experts[i].begin < end)
            f(job.experts[i].begin, end);
    }
}

/* The buffer that holds the input of a product with weights of this format. */
static void *input_of(const struct many_job &job, enum dtype dtype, float *where_f32)
{
    return dtype == DTYPE_F32 ? where_f32 : job.scratch->half;
}

/* Rows of x by place, in the format of weights that are about to read them. */
static void gather_rows(const struct many_job &job, enum dtype dtype)
{
    const struct cuda_experts_args *args = job.args;
    uint32_t cols = args->shape.hidden;
    cuda_with_format(dtype, [&](auto format) {
        constexpr enum dtype D = decltype(format)::value;
        typedef typename cuda_format<D>::element element;
        element *to = static_cast<element *>(input_of(job, D, args->out));
        auto *kernel = aligned(to, args->x, cols) ? gather_kernel<D, true>
                                                  : gather_kernel<D, false>;
        each_run(job, [&](uint32_t begin, uint32_t end) {
            cuda_launch(job.gemm->stream, kernel, dim3(end - begin), dim3(MANY_THREADS), 0, to,
                        args->x, args->gather, begin, cols);
        });
    });
}

/* The hidden rows in the format of down. */
static void gate_rows(const struct many_job &job, enum dtype dtype)
{
    size_t width = job.args->shape.width;
    cuda_with_format(dtype, [&](auto format) {
        constexpr enum dtype D = decltype(format)::value;
        typedef typename cuda_format<D>::element element;
        element *base = static_cast<element *>(input_of(job, D, job.scratch->gate));
        each_run(job, [&](uint32_t begin, uint32_t end) {
            size_t at = begin * width, n = (end - begin) * width;
            element *to = base + at;
            const float *gate = job.scratch->gate + at, *up = job.scratch->up + at;
            bool fast = (uintptr_t)to % sizeof(uint2) == 0 && aligned(gate, up, n) &&
                        (D != DTYPE_F32 || aligned(to, gate, n));
            CHECK_MSG(n / MANY_TILE < INT_MAX, "%zu values between the halves of experts", n);
            cuda_launch(job.gemm->stream, fast ? gate_kernel<D, true> : gate_kernel<D, false>,
                        dim3((uint32_t)((n + MANY_TILE - 1) / MANY_TILE)), dim3(MANY_THREADS), 0,
                        to, gate, up, n);
        });
    });
}

/* One of the three products of all experts. */
struct many_product {
    float *out;            /* [places][outputs] */
    const void *x;         /* [places][cols], in the format of the weights */
    enum dtype dtype;
    uint32_t outputs, cols;
    const uint8_t *cuda_expert::*weights; /* [outputs][cols] */
};

/* out[p] = W x[p] for the places of each expert. cuBLAS counts columns first: to it our rows are
 * columns, and W is to be transposed. */
static void multiply(const struct many_job &job, const struct many_product &p)
{
    cudaDataType_t type = p.dtype == DTYPE_F32   ? CUDA_R_32F
                          : p.dtype == DTYPE_F16 ? CUDA_R_16F
                                                 : CUDA_R_16BF;
    size_t row_bytes = (size_t)p.cols * (p.dtype == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t));
    const float one = 1.0f, zero = 0.0f;
    for (uint32_t i = 0; i < job.count; i++) {
        const struct cuda_expert &expert = job.experts[i];
        if (expert.begin == expert.end)
            continue;
        const uint8_t *x = static_cast<const uint8_t *>(p.x) + expert.begin * row_bytes;
        float *out = p.out + (size_t)expert.begin * p.outputs;
        CUDA_BLAS_CALL(cublasGemmEx(
            job.gemm->handle, CUBLAS_OP_T, CUBLAS_OP_N, (int)p.outputs,
            (int)(expert.end - expert.begin), (int)p.cols, &one, expert.*p.weights, type,
            (int)p.cols, x, type, (int)p.cols, &zero, out, CUDA_R_32F, (int)p.outputs,
            CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
    }
}

void cuda_experts_many(const struct cuda_gemm *gemm, const struct cuda_experts_args *args,
                       const struct cuda_expert *host_experts, uint32_t count,
                       const struct cuda_experts_scratch *scratch)
{
    const struct many_job job = {gemm, args, host_experts, count, scratch};
    const struct cuda_expert_shape *shape = &args->shape;
    CHECK_MSG(shape->hidden > 0 && shape->width > 0 && shape->hidden <= INT_MAX &&
                  shape->width <= INT_MAX,
              "experts of %u x %u", shape->hidden, shape->width);
    gather_rows(job, shape->gate);
    multiply(job, {scratch->gate, input_of(job, shape->gate, args->out), shape->gate, shape->width,
                   shape->hidden, &cuda_expert::gate});
    if (shape->up != shape->gate)
        gather_rows(job, shape->up);
    multiply(job, {scratch->up, input_of(job, shape->up, args->out), shape->up, shape->width,
                   shape->hidden, &cuda_expert::up});
    gate_rows(job, shape->down);
    multiply(job, {args->out, input_of(job, shape->down, scratch->gate), shape->down,
                   shape->hidden, shape->width, &cuda_expert::down});
}
