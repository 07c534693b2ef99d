/* What the .cu files share: launching, shared memory, reading weights, sums over a warp and a
 * block. The sources are CUDA C++ and, with the host double of the tests, plain C++ as well, so
 * launches are calls (no <<<>>>) and nothing here needs an extension that g++ lacks. */
#ifndef MOERING_ENGINE_BACKEND_CUDA_CUDA_COMMON_CUH
#define MOERING_ENGINE_BACKEND_CUDA_CUDA_COMMON_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>
#include <utility>

#include "engine/backend/backend.h"
#include "memory/base/check.h"
#include "memory/cuda_call.cuh"

/* Rows that one kernel of our own takes at a time: each weight is read once for all of them. */
#define CUDA_FEW_ROWS 8
#define CUDA_WARP 32

/* Dynamic shared memory of the block, as `type name[]`; 32-byte aligned, as tiles of tensor cores
 * want it. Ends with a semicolon of the caller's. */
#ifdef CUDA_HOST_DOUBLE
#define CUDA_DYNAMIC_SHARED(type, name)                                                            \
    type *name = static_cast<type *>(cuda_host_dynamic_shared())
#else
#define CUDA_DYNAMIC_SHARED(type, name)                                                            \
    extern __shared__ __align__(32) unsigned char cuda_dynamic_shared_bytes[];                     \
    type *name = reinterpret_cast<type *>(cuda_dynamic_shared_bytes)
#endif

/* Launches `kernel` and checks that the launch was legal. Empty grids are not launched. */
template <typename... Parameters, typename... Arguments>
inline void cuda_launch(cudaStream_t stream, void (*kernel)(Parameters...), dim3 grid, dim3 block,
                        size_t shared_bytes, Arguments &&...arguments)
{
    if (grid.x == 0 || grid.y == 0 || grid.z == 0)
        return;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared_bytes;
    config.stream = stream;
    CUDA_CALL(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
}

/* What runs on the device. The tests of these sources include this header as plain C++ too. */
#if defined(__CUDACC__) || defined(CUDA_HOST_DOUBLE)

/* How one number format is read. `load` decodes value i of a row that begins at `row`; `load8`
 * eight of them from a multiple of eight, where row is aligned to 16 bytes. */
template <enum dtype D> struct cuda_format;

template <> struct cuda_format<DTYPE_F32> {
    typedef float element;
    static __device__ __forceinline__ float load(const void *row, uint32_t i)
    {
        return static_cast<const float *>(row)[i];
    }
    static __device__ __forceinline__ void load8(const void *row, uint32_t i, float out[8])
    {
        const float4 *p = reinterpret_cast<const float4 *>(static_cast<const float *>(row) + i);
        float4 a = p[0], b = p[1];
        out[0] = a.x, out[1] = a.y, out[2] = a.z, out[3] = a.w;
        out[4] = b.x, out[5] = b.y, out[6] = b.z, out[7] = b.w;
    }
};

template <> struct cuda_format<DTYPE_F16> {
    typedef __half element;
    static __device__ __forceinline__ float load(const void *row, uint32_t i)
    {
        return __half2float(static_cast<const __half *>(row)[i]);
    }
    static __device__ __forceinline__ void load8(const void *row, uint32_t i, float out[8])
    {
        uint4 bits = *reinterpret_cast<const uint4 *>(static_cast<const __half *>(row) + i);
        uint32_t word[4] = {bits.x, bits.y, bits.z, bits.w};
        for (int j = 0; j < 4; j++) {
            out[2 * j] = __half2float(__ushort_as_half((unsigned short)(word[j] & 0xFFFF)));
            out[2 * j + 1] = __half2float(__ushort_as_half((unsigned short)(word[j] >> 16)));
        }
    }
};

template <> struct cuda_format<DTYPE_BF16> {
    typedef __nv_bfloat16 element;
    static __device__ __forceinline__ float load(const void *row, uint32_t i)
    {
        return __bfloat162float(static_cast<const __nv_bfloat16 *>(row)[i]);
    }
    static __device__ __forceinline__ void load8(const void *row, uint32_t i, float out[8])
    {
        uint4 bits = *reinterpret_cast<const uint4 *>(static_cast<const __nv_bfloat16 *>(row) + i);
        uint32_t word[4] = {bits.x, bits.y, bits.z, bits.w};
        for (int j = 0; j < 4; j++) { /* bf16 is the upper half of f32 */
            out[2 * j] = __uint_as_float(word[j] << 16);
            out[2 * j + 1] = __uint_as_float(word[j] & 0xFFFF0000u);
        }
    }
};

/* Calls f(std::integral_constant<enum dtype, D>) for the format at hand. */
template <typename F> inline void cuda_with_format(enum dtype dtype, F &&f)
{
    switch (dtype) {
    case DTYPE_F32:
        f(std::integral_constant<enum dtype, DTYPE_F32>());
        return;
    case DTYPE_F16:
        f(std::integral_constant<enum dtype, DTYPE_F16>());
        return;
    case DTYPE_BF16:
        f(std::integral_constant<enum dtype, DTYPE_BF16>());
        return;
    default:
        CHECK_MSG(false, "no CUDA kernel reads dtype %d", (int)dtype);
    }
}

/* The sum of `value` over the 32 lanes, in every lane, always added in the same order. */
static __device__ __forceinline__ float cuda_warp_sum(float value)
{
    for (int apart = CUDA_WARP / 2; apart > 0; apart /= 2)
        value += __shfl_xor_sync(0xFFFFFFFFu, value, apart);
    return value;
}

static __device__ __forceinline__ float cuda_warp_max(float value)
{
    for (int apart = CUDA_WARP / 2; apart > 0; apart /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xFFFFFFFFu, value, apart));
    return value;
}

static __device__ __forceinline__ float cuda_silu(float x)
{
    return x / (1.0f + expf(-x));
}

#endif

/* How many parts of `part` cover n: blocks of a grid. */
static inline uint32_t cuda_parts(uint32_t n, uint32_t part)
{
    return n / part + (n % part != 0);
}

/* A cuBLAS call that must succeed, as CUDA_CALL. For sources that see cublas_v2.h. */
#define CUDA_BLAS_CALL(call)                                                                       \
    do {                                                                                           \
        cublasStatus_t cuda_blas_status = (call);                                                  \
        if (cuda_blas_status != CUBLAS_STATUS_SUCCESS) {                                           \
            log_error("%s:%d: %s: %s; see nvidia-smi and the kernel log; --device cpu runs "       \
                      "without the GPU",                                                           \
                      __FILE__, __LINE__, #call, cublasGetStatusString(cuda_blas_status));         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
