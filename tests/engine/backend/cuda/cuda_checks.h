/* What the tests of the CUDA backend share: a stream and lists in device memory that close
 * themselves, and the seeds to try. Written against the CUDA runtime alone, so that the same tests
 * run on a GPU and on the host double, where each seed is another order of threads and streams. The
 * processor's scalar backend (cpu_checks.h) is the truth to compare with. */
#ifndef MOERING_TESTS_ENGINE_BACKEND_CUDA_CUDA_CHECKS_H
#define MOERING_TESTS_ENGINE_BACKEND_CUDA_CUDA_CHECKS_H

#include <initializer_list>

#include "engine/backend/cuda/cuda_ops.cuh"
#include "tests/engine/backend/cpu/cpu_checks.h"
#ifdef CUDA_HOST_DOUBLE
#include "tests/support/cuda_host/cuda_host.h"
#endif

/* Orders to try: one on a GPU, which has its own. */
inline std::vector<uint64_t> machine_seeds()
{
#ifdef CUDA_HOST_DOUBLE
    return {1, 2, 3};
#else
    return {1};
#endif
}

/* Begins again with this order; nothing of the device may be in use. */
inline void restart_machine(uint64_t seed)
{
#ifdef CUDA_HOST_DOUBLE
    cuda_host_reset(seed);
#else
    (void)seed;
#endif
}

struct Stream {
    cudaStream_t stream = nullptr;
    Stream() { CUDA_CALL(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)); }
    ~Stream() { CUDA_CALL(cudaStreamDestroy(stream)); }
    Stream(const Stream &) = delete;
    Stream &operator=(const Stream &) = delete;
    operator cudaStream_t() const { return stream; }
    void sync() const { CUDA_CALL(cudaStreamSynchronize(stream)); }
};

/* n values in device memory, ending where their allocation ends, so that a step beyond is seen;
 * `skip` values lie before them, to misalign them. */
template <typename T> struct DeviceList {
    T *base = nullptr, *data;
    size_t n;
    explicit DeviceList(const std::vector<T> &host, size_t skip = 0) : DeviceList(host.size(), skip)
    {
        put(host);
    }
    DeviceList(std::initializer_list<T> list) : DeviceList(std::vector<T>(list)) {}
    explicit DeviceList(size_t count, size_t skip = 0) : n(count)
    {
        if (n + skip > 0)
            CUDA_CALL(cudaMalloc(reinterpret_cast<void **>(&base), (n + skip) * sizeof(T)));
        data = base + skip;
        put(std::vector<T>(n));
    }
    ~DeviceList() { CUDA_CALL(cudaFree(base)); }
    DeviceList(const DeviceList &) = delete;
    DeviceList &operator=(const DeviceList &) = delete;
    operator T *() const { return data; }
    void put(const std::vector<T> &host)
    {
        if (n > 0)
            CUDA_CALL(cudaMemcpy(data, host.data(), n * sizeof(T), cudaMemcpyHostToDevice));
        CUDA_CALL(cudaDeviceSynchronize()); /* the copy may still be on its way to the device */
    }
    /* The values after everything that the stream was asked for. */
    std::vector<T> get(cudaStream_t stream) const
    {
        std::vector<T> host(n);
        CUDA_CALL(cudaStreamSynchronize(stream));
        if (n > 0)
            CUDA_CALL(cudaMemcpy(host.data(), data, n * sizeof(T), cudaMemcpyDeviceToHost));
        return host;
    }
};

/* A matrix of cpu_checks.h on the device too; its `skip` elements before the first misalign it. */
struct DeviceMatrix {
    Matrix host;
    DeviceList<uint8_t> bytes;
    struct tensor tensor; /* in device memory */
    DeviceMatrix(Noise &noise, enum dtype dtype, uint32_t rows, uint32_t cols, size_t skip = 0,
                 float scale = 1.0f)
        : host(noise, dtype, rows, cols, 0, scale),
          bytes(host.raw, skip * dtype_info(dtype)->block_bytes),
          tensor{bytes, dtype, rows, cols, LAYOUT_ROWS}
    {
    }
};

#endif
