/* See runtime.h. Here: the lock around every call, planned failures, last errors, the controls. */
#include "tests/support/cuda_host/runtime.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/cuda_host/cublas.h"
#include "tests/support/cuda_host/graph.h"
#include "tests/support/cuda_host/launch.h"
#include "tests/support/cuda_host/memory.h"
#include "tests/support/cuda_host/stream.h"

namespace cuda_host {

thread_local bool in_host_function = false;

namespace {

thread_local cudaError_t last_error = cudaSuccess;

cudaError_t refusal(unsigned flags)
{
    struct runtime_state *rt = runtime();
    if (in_host_function)
        return cudaErrorNotPermitted;
    if (!(flags & API_NEEDS_NO_DEVICE)) {
        if (!rt->driver)
            return cudaErrorInsufficientDriver;
        if (rt->device_count == 0)
            return cudaErrorNoDevice;
    }
    if (flags & API_UNSAFE_IN_CAPTURE && capture_refuses_unsafe())
        return cudaErrorStreamCaptureUnsupported;
    return cudaSuccess;
}

} // namespace

struct runtime_state *runtime(void)
{
    static struct runtime_state *state = [] {
        struct runtime_state *rt = new struct runtime_state;
        const char *seed = getenv("CUDA_HOST_SEED");
        random_init(&rt->random, seed ? strtoull(seed, nullptr, 10) : 0);
        return rt;
    }();
    return state;
}

int planned_failure_due(const char *function)
{
    auto planned = runtime()->failures.find(function);
    if (planned == runtime()->failures.end())
        return 0;
    for (struct planned_failure &failure : planned->second)
        if (failure.nth > 0 && --failure.nth == 0)
            return failure.error;
    return 0;
}

api_call::api_call(const char *function, unsigned flags) : error(cudaSuccess), hold(runtime()->lock)
{
    error = (cudaError_t)planned_failure_due(function);
    planned = error != cudaSuccess;
    if (!planned)
        error = refusal(flags);
}

api_call::~api_call() { memory_close(); }

cudaError_t api_call::done(cudaError_t result)
{
    if (result != cudaSuccess && result != cudaErrorNotReady)
        last_error = result;
    return result;
}

void bug(const char *format, ...)
{
    va_list args;
    fprintf(stderr, "cuda_host: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    fflush(stderr);
    abort();
}

} // namespace cuda_host

using namespace cuda_host;

cudaError_t cudaPeekAtLastError(void) { return last_error; }

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = last_error;
    last_error = cudaSuccess;
    return error;
}

void cuda_host_reset(uint64_t seed)
{
    struct runtime_state *rt = runtime();
    std::unique_lock<std::mutex> hold(rt->lock);
    graph_reset();
    cublas_reset();
    stream_reset();
    memory_reset();
    launch_reset();
    rt->device_count = 1;
    rt->driver = true;
    rt->protect = true;
    rt->memory_capacity = (size_t)1 << 30;
    rt->pin_limit = SIZE_MAX;
    rt->failures.clear();
    rt->counters = {};
    rt->captures.clear();
    random_init(&rt->random, seed);
    last_error = cudaSuccess;
}

void cuda_host_set_device_count(int count)
{
    std::unique_lock<std::mutex> hold(runtime()->lock);
    runtime()->device_count = count;
}

void cuda_host_set_driver(bool present)
{
    std::unique_lock<std::mutex> hold(runtime()->lock);
    runtime()->driver = present;
}

void cuda_host_set_memory(size_t bytes)
{
    std::unique_lock<std::mutex> hold(runtime()->lock);
    runtime()->memory_capacity = bytes;
}

void cuda_host_set_pin_limit(size_t bytes)
{
    std::unique_lock<std::mutex> hold(runtime()->lock);
    runtime()->pin_limit = bytes;
}

void cuda_host_protect(bool on)
{
    std::unique_lock<std::mutex> hold(runtime()->lock);
    runtime()->protect = on;
    if (on)
        memory_close();
    else
        memory_open();
}

void cuda_host_fail(const char *function, int nth, int error)
{
    std::unique_lock<std::mutex> hold(runtime()->lock);
    runtime()->failures[function].push_back({nth, error});
}

struct cuda_host_counts cuda_host_counters(void)
{
    std::unique_lock<std::mutex> hold(runtime()->lock);
    return runtime()->counters;
}

std::vector<std::string> cuda_host_leaks(void)
{
    std::unique_lock<std::mutex> hold(runtime()->lock);
    std::vector<std::string> leaks;
    stream_leaks(&leaks);
    graph_leaks(&leaks);
    cublas_leaks(&leaks);
    memory_leaks(&leaks);
    return leaks;
}
