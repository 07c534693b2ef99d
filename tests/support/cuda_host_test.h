/* What the tests of the double share: a fixture that begins and ends with a fresh machine, kernels
 * launched as a program launches them, and lists that go to the device and come back.
 *
 * The tests prove that the double tells right from wrong: kernels that are right give the right
 * numbers whatever the order of threads and streams, and the usual mistakes - a barrier, a wait or
 * a synchronisation left out, device memory touched by the host - show. */
#ifndef CUDA_HOST_TEST_H
#define CUDA_HOST_TEST_H

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <vector>

#include "tests/support/cuda_host/cuda_host.h"

#define OK(call) ASSERT_EQ(cudaSuccess, (call))

class CudaHost : public ::testing::Test {
  protected:
    void SetUp() override { cuda_host_reset(1); }
    void TearDown() override { cuda_host_reset(1); }
};

template <typename... E, typename... A>
cudaError_t launch(void (*kernel)(E...), dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                   A... args)
{
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    return cudaLaunchKernelEx(&config, kernel, E(args)...);
}

template <typename T> T *upload(const std::vector<T> &values)
{
    T *device = nullptr;
    EXPECT_EQ(cudaSuccess, cudaMalloc(&device, values.size() * sizeof(T)));
    EXPECT_EQ(cudaSuccess,
              cudaMemcpy(device, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
    return device;
}

template <typename T> std::vector<T> download(const T *device, size_t count)
{
    std::vector<T> values(count);
    EXPECT_EQ(cudaSuccess, cudaDeviceSynchronize());
    EXPECT_EQ(cudaSuccess,
              cudaMemcpy(values.data(), device, count * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
}

#endif
