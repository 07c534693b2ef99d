/* The runtime interface with its C++ face, and the device language, as nvcc gives it to a .cu. */
#ifndef CUDA_HOST_RUNTIME_H
#define CUDA_HOST_RUNTIME_H

#include <functional>
#include <tuple>
#include <utility>

#include "cuda_host_device.h"
#include "cuda_runtime_api.h"

/* Checks the launch and queues it: every thread of every block calls `thread` once. */
cudaError_t cuda_host_launch(const struct cudaLaunchConfig_t *config, const void *kernel,
                             std::function<void()> thread);

template <typename... Expected, typename... Actual>
static inline cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config,
                                             void (*kernel)(Expected...), Actual &&...arguments)
{
    std::tuple<Expected...> kept{std::forward<Actual>(arguments)...};
    return cuda_host_launch(config, reinterpret_cast<const void *>(kernel),
                            [kernel, kept] { std::apply(kernel, kept); });
}

template <typename T> static inline cudaError_t cudaMalloc(T **pointer, size_t size)
{
    return ::cudaMalloc(reinterpret_cast<void **>(pointer), size);
}

template <typename T>
static inline cudaError_t cudaMallocHost(T **pointer, size_t size, unsigned flags = 0)
{
    return ::cudaHostAlloc(reinterpret_cast<void **>(pointer), size, flags);
}

template <typename T>
static inline cudaError_t cudaHostAlloc(T **pointer, size_t size, unsigned flags)
{
    return ::cudaHostAlloc(reinterpret_cast<void **>(pointer), size, flags);
}

template <typename T>
static inline cudaError_t cudaHostGetDevicePointer(T **device, void *host, unsigned flags)
{
    return ::cudaHostGetDevicePointer(reinterpret_cast<void **>(device), host, flags);
}

template <typename... A>
static inline cudaError_t cudaFuncSetAttribute(void (*kernel)(A...), enum cudaFuncAttribute attr,
                                               int value)
{
    return ::cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel), attr, value);
}

template <typename... A>
static inline cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attributes,
                                                void (*kernel)(A...))
{
    return ::cudaFuncGetAttributes(attributes, reinterpret_cast<const void *>(kernel));
}

template <typename... A>
static inline cudaError_t
cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, void (*kernel)(A...), int block_threads,
                                              size_t dynamic_shared_bytes)
{
    return ::cudaOccupancyMaxActiveBlocksPerMultiprocessor(
        blocks, reinterpret_cast<const void *>(kernel), block_threads, dynamic_shared_bytes);
}

#endif
