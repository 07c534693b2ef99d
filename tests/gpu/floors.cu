/* The measures of floors.h. Each runs once to warm up (mappings, modules, clocks) and then some
 * times between two events; the median counts, so that one disturbed repetition does not.
 *
 * Reading is done as device_cuda_rates.cu does it, but for as many bytes as no cache holds: 16
 * bytes a thread at a time, the sum written where nobody looks. GEMM operands are random:
 * multiplying zeros draws less power, and clocks rise above what real work gets. */
#include "tests/gpu/floors.h"

#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"
#include "memory/cuda_call.cuh"

#define REPEATS 7
#define THREADS 256
#define LAUNCHES 256

static __global__ void read_all(const uint4 *from, size_t vectors, uint32_t *sink)
{
    uint32_t sum = 0;
    size_t step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < vectors; i += step) {
        uint4 v = from[i];
        sum += v.x ^ v.y ^ v.z ^ v.w;
    }
    if (sum == 0x9E3779B9u)
        *sink = sum;
}

static __global__ void nothing(uint32_t *sink)
{
    if (sink == NULL)
        return;
}

/* Numbers within +-1, by a hash of their place. */
static __global__ void fill(__nv_bfloat16 *out, size_t count, uint32_t seed)
{
    size_t step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        uint32_t x = (uint32_t)i * 2654435761u + seed;
        x = (x ^ x >> 16) * 0x7FEB352Du;
        x = (x ^ x >> 15) * 0x846CA68Bu;
        out[i] = __float2bfloat16((float)(x >> 8) / 8388608.0f - 1.0f);
    }
}

template <typename... Parameters, typename... Arguments>
static void launch(cudaStream_t stream, void (*kernel)(Parameters...), unsigned blocks,
                   unsigned threads, Arguments... arguments)
{
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(blocks);
    config.blockDim = dim3(threads);
    config.stream = stream;
    CUDA_CALL(cudaLaunchKernelEx(&config, kernel, arguments...));
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median time in ns of what `work` asks of the stream. */
template <typename Work> static double median_ns(cudaStream_t stream, Work work)
{
    double ns[REPEATS];
    cudaEvent_t begin, end;
    CUDA_CALL(cudaEventCreate(&begin));
    CUDA_CALL(cudaEventCreate(&end));
    work();
    for (int i = 0; i < REPEATS; i++) {
        float ms = 0;
        CUDA_CALL(cudaEventRecord(begin, stream));
        work();
        CUDA_CALL(cudaEventRecord(end, stream));
        CUDA_CALL(cudaEventSynchronize(end));
        CUDA_CALL(cudaEventElapsedTime(&ms, begin, end));
        ns[i] = (double)ms * 1e6;
    }
    CUDA_CALL(cudaEventDestroy(begin));
    CUDA_CALL(cudaEventDestroy(end));
    qsort(ns, REPEATS, sizeof *ns, compare);
    return ns[REPEATS / 2] > 0 ? ns[REPEATS / 2] : 1;
}

void floors_measure(struct floors *out, size_t probe_bytes, size_t piece_bytes)
{
    int device = 0;
    cudaDeviceProp properties;
    cudaStream_t stream;
    uint8_t *memory = NULL, *pinned = NULL;
    memset(out, 0, sizeof *out);
    piece_bytes = (piece_bytes < probe_bytes ? piece_bytes : probe_bytes) & ~(size_t)15;
    size_t pieces = probe_bytes / piece_bytes, bytes = pieces * piece_bytes;
    CUDA_CALL(cudaGetDevice(&device));
    CUDA_CALL(cudaGetDeviceProperties(&properties, device));
    snprintf(out->device, sizeof out->device, "%s", properties.name);
    CUDA_CALL(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CUDA_CALL(cudaMalloc((void **)&memory, bytes + 16));
    CUDA_CALL(cudaHostAlloc((void **)&pinned, bytes, cudaHostAllocDefault));
    memset(pinned, 1, bytes);
    double ns = median_ns(stream, [&] {
        for (size_t i = 0; i < pieces; i++)
            CUDA_CALL(cudaMemcpyAsync(memory + i * piece_bytes, pinned + i * piece_bytes,
                                      piece_bytes, cudaMemcpyHostToDevice, stream));
    });
    out->copy_bytes_per_s = (double)bytes * 1e9 / ns;
    unsigned blocks = (unsigned)properties.multiProcessorCount * 8;
    ns = median_ns(stream, [&] {
        launch(stream, read_all, blocks, THREADS, (const uint4 *)memory, bytes / sizeof(uint4),
               (uint32_t *)(memory + bytes));
    });
    out->read_bytes_per_s = (double)bytes * 1e9 / ns;
    ns = median_ns(stream, [&] {
        for (int i = 0; i < LAUNCHES; i++)
            launch(stream, nothing, 1, 32, (uint32_t *)NULL);
    });
    out->launch_ns = ns / LAUNCHES;
    CUDA_CALL(cudaStreamSynchronize(stream));
    CUDA_CALL(cudaFreeHost(pinned));
    CUDA_CALL(cudaFree(memory));
    CUDA_CALL(cudaStreamDestroy(stream));
}

double floors_gemm(uint32_t m, uint32_t n, uint32_t k)
{
    cudaStream_t stream;
    cublasHandle_t handle;
    __nv_bfloat16 *values = NULL;
    size_t a = (size_t)m * k, b = (size_t)n * k, c = (size_t)m * n;
    if (cudaMalloc((void **)&values, (a + b + c) * sizeof *values) != cudaSuccess) {
        (void)cudaGetLastError();
        return 0;
    }
    CUDA_CALL(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    CHECK(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS);
    CHECK(cublasSetStream(handle, stream) == CUBLAS_STATUS_SUCCESS);
    launch(stream, fill, 1024, THREADS, values, a + b, 1u);
    float one = 1, zero = 0;
    double ns = median_ns(stream, [&] { /* column-major: c^T [n][m] = b^T' a */
        CHECK(cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, (int)n, (int)m, (int)k, &one,
                           values + a, CUDA_R_16BF, (int)k, values, CUDA_R_16BF, (int)k, &zero,
                           values + a + b, CUDA_R_16BF, (int)n, CUBLAS_COMPUTE_32F,
                           CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
    });
    CUDA_CALL(cudaStreamSynchronize(stream));
    cublasDestroy(handle);
    CUDA_CALL(cudaStreamDestroy(stream));
    CUDA_CALL(cudaFree(values));
    return 2.0 * m * n * k * 1e9 / ns;
}
