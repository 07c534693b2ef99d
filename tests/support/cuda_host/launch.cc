/* Launches: the limits that the real runtime checks at the call, and what a kernel is known by. */
#include "tests/support/cuda_host/launch.h"

#include <map>
#include <string.h>

#include "tests/support/cuda_host/block.h"
#include "tests/support/cuda_host/include/cuda_runtime.h"
#include "tests/support/cuda_host/stream.h"
#include "tests/support/cuda_host/symbol.h"

namespace cuda_host {

namespace {

struct kernel {
    size_t dynamic_shared_allowed = SHARED_BYTES;
    size_t static_shared_bytes = 0;
    std::vector<struct shared_range> static_shared;
};

struct kernel_table {
    std::map<const void *, std::shared_ptr<struct kernel>> known;
};

struct kernel_table *kernels(void)
{
    static struct kernel_table *state = new struct kernel_table;
    return state;
}

/* Lock held. */
std::shared_ptr<struct kernel> find(const void *function)
{
    std::shared_ptr<struct kernel> &kernel = kernels()->known[function];
    if (!kernel) {
        kernel = std::make_shared<struct kernel>();
        kernel->static_shared = symbol_statics(function);
        for (const struct shared_range &range : kernel->static_shared)
            kernel->static_shared_bytes += range.bytes;
        if (kernel->static_shared_bytes < SHARED_BYTES)
            kernel->dynamic_shared_allowed = SHARED_BYTES - kernel->static_shared_bytes;
    }
    return kernel;
}

cudaError_t check(const struct cudaLaunchConfig_t *config, const struct kernel *kernel)
{
    dim3 grid = config->gridDim, block = config->blockDim;
    uint64_t threads = (uint64_t)block.x * block.y * block.z;
    if (threads == 0 || threads > BLOCK_THREADS_MAX || block.z > BLOCK_Z_MAX || grid.x == 0 ||
        grid.x > 0x7fffffffu || grid.y == 0 || grid.y > GRID_YZ_MAX || grid.z == 0 ||
        grid.z > GRID_YZ_MAX)
        return cudaErrorInvalidConfiguration;
    if (kernel->static_shared_bytes > SHARED_BYTES)
        bug("a kernel declares %zu bytes of shared memory, more than %zu",
            kernel->static_shared_bytes, SHARED_BYTES);
    if (config->dynamicSmemBytes > kernel->dynamic_shared_allowed)
        return cudaErrorInvalidValue;
    for (unsigned i = 0; i < config->numAttrs; i++) {
        const struct cudaLaunchAttribute *attr = &config->attrs[i];
        if (attr->id == cudaLaunchAttributeCooperative && attr->val.cooperative)
            return cudaErrorNotSupported;
        if (attr->id == cudaLaunchAttributeClusterDimension &&
            (attr->val.clusterDim.x != 1 || attr->val.clusterDim.y != 1 ||
             attr->val.clusterDim.z != 1))
            return cudaErrorNotSupported;
    }
    return cudaSuccess;
}

cudaError_t submit(const struct cudaLaunchConfig_t *config, const void *function,
                   const std::shared_ptr<struct kernel> &kernel, std::function<void()> thread)
{
    auto queue = stream_find(config->stream);
    if (!queue)
        return cudaErrorInvalidResourceHandle;
    struct operation operation;
    dim3 grid = config->gridDim, block = config->blockDim;
    size_t bytes = config->dynamicSmemBytes;
    operation.run = [=] {
        struct grid_launch launch = {function,
                                     grid,
                                     block,
                                     bytes,
                                     thread,
                                     &kernel->static_shared,
                                     random_next(&runtime()->random)};
        runtime()->counters.kernels++;
        grid_run(&launch);
    };
    if (!queue->capture)
        runtime()->counters.launches++;
    return stream_submit(queue, std::move(operation));
}

} // namespace

void launch_reset(void) { kernels()->known.clear(); }

} // namespace cuda_host

using namespace cuda_host;

cudaError_t cuda_host_launch(const struct cudaLaunchConfig_t *config, const void *function,
                             std::function<void()> thread)
{
    struct api_call call("cudaLaunchKernelEx");
    if (call.error)
        return call.done(call.error);
    if (!config || !function)
        return call.done(cudaErrorInvalidDeviceFunction);
    auto kernel = find(function);
    cudaError_t result = check(config, kernel.get());
    if (result == cudaSuccess)
        result = submit(config, function, kernel, std::move(thread));
    stream_pass_time(&call.hold, false);
    return call.done(result);
}

cudaError_t cudaFuncSetAttribute(const void *function, enum cudaFuncAttribute attr, int value)
{
    struct api_call call("cudaFuncSetAttribute");
    if (call.error)
        return call.done(call.error);
    auto kernel = find(function);
    if (attr == cudaFuncAttributePreferredSharedMemoryCarveout)
        return call.done(value >= -1 && value <= 100 ? cudaSuccess : cudaErrorInvalidValue);
    if (attr != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
        (size_t)value + kernel->static_shared_bytes > SHARED_BYTES_OPTIN)
        return call.done(cudaErrorInvalidValue);
    kernel->dynamic_shared_allowed = (size_t)value;
    return call.done(cudaSuccess);
}

cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *attributes, const void *function)
{
    struct api_call call("cudaFuncGetAttributes");
    if (call.error)
        return call.done(call.error);
    if (!attributes || !function)
        return call.done(cudaErrorInvalidValue);
    auto kernel = find(function);
    memset(attributes, 0, sizeof *attributes);
    attributes->sharedSizeBytes = kernel->static_shared_bytes;
    attributes->maxThreadsPerBlock = BLOCK_THREADS_MAX;
    attributes->numRegs = 64;
    attributes->maxDynamicSharedSizeBytes = (int)kernel->dynamic_shared_allowed;
    return call.done(cudaSuccess);
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, const void *function,
                                                          int block_threads,
                                                          size_t dynamic_shared_bytes)
{
    struct api_call call("cudaOccupancyMaxActiveBlocksPerMultiprocessor");
    if (call.error)
        return call.done(call.error);
    if (!blocks || !function || block_threads < 1)
        return call.done(cudaErrorInvalidValue);
    auto kernel = find(function);
    size_t shared = kernel->static_shared_bytes + dynamic_shared_bytes + 1024; /* reserved */
    unsigned warps = ((unsigned)block_threads + 31) / 32;
    unsigned fit = SM_THREADS_MAX / (warps * 32);
    if (fit > SM_BLOCKS_MAX)
        fit = SM_BLOCKS_MAX;
    if (fit > SHARED_BYTES_SM / shared)
        fit = (unsigned)(SHARED_BYTES_SM / shared);
    bool launches = block_threads <= (int)BLOCK_THREADS_MAX &&
                    dynamic_shared_bytes <= kernel->dynamic_shared_allowed;
    *blocks = launches ? (int)fit : 0;
    return call.done(cudaSuccess);
}
