/* The double has no speed, so what is tested is that measuring ends in time, leaves nothing and
 * tells what it could measure. */
#include "memory/cuda/device_cuda_rates.cuh"

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "memory/base/clock.h"
#include "tests/support/cuda_host/cuda_host.h"

namespace {

class DeviceCudaRates : public testing::Test {
protected:
    DeviceCudaRates()
    {
        cuda_host_reset(1);
        link_.bytes = 65536;
        link_.processors = 4;
        EXPECT_EQ(cudaStreamCreateWithFlags(&link_.copy, cudaStreamNonBlocking), cudaSuccess);
        EXPECT_EQ(cudaStreamCreateWithFlags(&link_.compute, cudaStreamNonBlocking), cudaSuccess);
        EXPECT_EQ(cudaHostAlloc(&link_.pinned, link_.bytes, cudaHostAllocDefault), cudaSuccess);
    }
    ~DeviceCudaRates() override
    {
        EXPECT_EQ(cuda_host_memory_used(), 0u);
        EXPECT_EQ(cudaFreeHost(link_.pinned), cudaSuccess);
        EXPECT_EQ(cudaStreamDestroy(link_.copy), cudaSuccess);
        EXPECT_EQ(cudaStreamDestroy(link_.compute), cudaSuccess);
        EXPECT_EQ(cuda_host_leaks(), std::vector<std::string>());
    }
    struct device_cuda_link link_ = {};
    double idle_ = -1, loaded_ = -1;
};

TEST_F(DeviceCudaRates, MeasuresWithAndWithoutLoad)
{
    uint64_t begin = clock_now_ns();
    device_cuda_measure(&link_, &idle_, &loaded_);
    EXPECT_LT(clock_now_ns() - begin, 10000000000u); /* 50 ms, on a machine that is busy */
    EXPECT_GT(idle_, 0);
    EXPECT_GT(loaded_, 0);
    struct cuda_host_counts counts = cuda_host_counters();
    EXPECT_GE(counts.kernels, 4u) << "there was load";
    EXPECT_GE(counts.bytes_to_device, 4 * link_.bytes);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess) << "a question is no error";
}

TEST_F(DeviceCudaRates, ALittleRoomIsEnough)
{
    cuda_host_set_memory(1 << 20);
    device_cuda_measure(&link_, &idle_, &loaded_);
    EXPECT_GT(idle_, 0);
    EXPECT_GT(loaded_, 0);
}

TEST_F(DeviceCudaRates, NoRoomIsNoFigure)
{
    cuda_host_set_memory(100000);
    device_cuda_measure(&link_, &idle_, &loaded_);
    EXPECT_EQ(idle_, 0);
    EXPECT_EQ(loaded_, 0);
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
}

TEST_F(DeviceCudaRates, TheBuildHasItsCode)
{
    EXPECT_EQ(device_cuda_kernel_image(), cudaSuccess);
    cuda_host_fail("cudaFuncGetAttributes", 1, cudaErrorNoKernelImageForDevice);
    EXPECT_EQ(device_cuda_kernel_image(), cudaErrorNoKernelImageForDevice);
}

} // namespace
