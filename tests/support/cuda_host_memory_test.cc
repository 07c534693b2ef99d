/* Device memory, its limits and its walls; failures on demand, devices that are not there, and what
 * is counted. */
#include "tests/support/cuda_host_test.h"

#include <cublas_v2.h>
#include <stdlib.h>

TEST_F(CudaHost, OutOfMemoryAndPinLimit)
{
    void *a, *b;
    size_t free_bytes, total;
    cuda_host_set_memory(1 << 20);
    cuda_host_set_pin_limit(1 << 20);
    EXPECT_EQ(cudaErrorMemoryAllocation, cudaMalloc(&a, (1 << 20) + 1));
    OK(cudaMalloc(&a, 600 << 10));
    EXPECT_EQ(cudaErrorMemoryAllocation, cudaMalloc(&b, 600 << 10));
    OK(cudaMemGetInfo(&free_bytes, &total));
    EXPECT_EQ((size_t)1 << 20, total);
    EXPECT_EQ((size_t)424 << 10, free_bytes);
    EXPECT_EQ((size_t)1, cuda_host_leaks().size());
    OK(cudaFree(a));
    OK(cudaMalloc(&b, 1 << 20));
    EXPECT_EQ((size_t)1 << 20, cuda_host_memory_used());
    EXPECT_EQ(cudaErrorInvalidValue, cudaFree(static_cast<char *>(b) + 256));
    EXPECT_EQ(cudaErrorMemoryAllocation, cudaMallocHost(&a, (1 << 20) + 1));
    void *pages = aligned_alloc(4096, 8192);
    OK(cudaHostRegister(pages, 8192, cudaHostRegisterPortable));
    EXPECT_EQ(cudaErrorHostMemoryAlreadyRegistered,
              cudaHostRegister(static_cast<char *>(pages) + 4096, 4096, 0));
    cudaPointerAttributes attributes;
    OK(cudaPointerGetAttributes(&attributes, static_cast<char *>(pages) + 5));
    EXPECT_EQ(cudaMemoryTypeHost, attributes.type);
    OK(cudaPointerGetAttributes(&attributes, b));
    EXPECT_EQ(cudaMemoryTypeDevice, attributes.type);
    OK(cudaPointerGetAttributes(&attributes, &total));
    EXPECT_EQ(cudaMemoryTypeUnregistered, attributes.type);
    OK(cudaHostUnregister(pages));
    EXPECT_EQ(cudaErrorHostMemoryNotRegistered, cudaHostUnregister(pages));
    free(pages);
}

TEST_F(CudaHost, CopiesOutsideAnAllocationAreRefused)
{
    unsigned char *device, host[64] = {};
    OK(cudaMalloc(&device, 60));
    EXPECT_EQ(cudaErrorInvalidValue, cudaMemcpy(device, host, 61, cudaMemcpyHostToDevice));
    EXPECT_EQ(cudaErrorInvalidValue, cudaMemcpy(device, host, 60, cudaMemcpyDeviceToHost));
    std::vector<unsigned char> fresh = download(device, 60);
    EXPECT_EQ(std::vector<unsigned char>(60, 0xff), fresh);
    for (unsigned char i = 0; i < 64; i++)
        host[i] = i;
    OK(cudaMemcpy2D(device, 12, host, 16, 10, 4, cudaMemcpyDefault));
    OK(cudaMemsetAsync(device + 48, 5, 12));
    std::vector<unsigned char> rows = download(device, 60);
    EXPECT_EQ(0x21, rows[2 * 12 + 1]);
    EXPECT_EQ(0xff, rows[2 * 12 + 10]);
    EXPECT_EQ(5, rows[59]);
    EXPECT_EQ(cudaErrorInvalidValue,
              cudaMemcpy2D(device, 17, host, 16, 10, 4, cudaMemcpyHostToDevice));
}

TEST_F(CudaHost, HostCannotTouchDeviceMemory)
{
    volatile unsigned *x = upload(std::vector<unsigned>{5});
    OK(cudaDeviceSynchronize());
#if !defined(__SANITIZE_THREAD__)
    ::testing::FLAGS_gtest_death_test_style = "fast";
    EXPECT_DEATH({ *x = 6; }, "");
    EXPECT_DEATH({ exit((int)*x); }, "");
#endif
    cuda_host_protect(false);
    EXPECT_EQ(5u, *x);
}

static __global__ void write_at(unsigned char *x, int place) { x[place] = 1; }

TEST_F(CudaHost, KernelOutsideItsAllocationIsCaught)
{
    unsigned char *x;
    OK(cudaMalloc(&x, 100));
    ::testing::FLAGS_gtest_death_test_style = "fast";
    for (int place : {-1, 100, 300})
        EXPECT_DEATH(
            {
                launch(write_at, 1, 1, 0, nullptr, x, place);
                cudaFree(x);
            },
            "AddressSanitizer|device memory was written");
    OK(launch(write_at, 1, 1, 0, nullptr, x, 99));
    OK(cudaFree(x));
}

#if defined(__SANITIZE_ADDRESS__)
static __global__ void write_shared(unsigned place)
{
    static_cast<unsigned char *>(cuda_host_dynamic_shared())[place] = 1;
}

TEST_F(CudaHost, KernelOutsideItsSharedMemoryIsCaught)
{
    OK(launch(write_shared, 1, 1, 100, nullptr, 99u));
    OK(cudaDeviceSynchronize());
    ::testing::FLAGS_gtest_death_test_style = "fast";
    EXPECT_DEATH(
        {
            launch(write_shared, 1, 1, 100, nullptr, 100u);
            cudaDeviceSynchronize();
        },
        "AddressSanitizer");
}
#endif

TEST_F(CudaHost, PlannedFailuresAndAbsentDevices)
{
    void *p;
    cudaStream_t stream;
    cublasHandle_t blas;
    cuda_host_fail("cudaMalloc", 2, cudaErrorMemoryAllocation);
    OK(cudaMalloc(&p, 16));
    void *kept = p;
    EXPECT_EQ(cudaErrorMemoryAllocation, cudaMalloc(&p, 16));
    OK(cudaMalloc(&p, 16));
    EXPECT_NE(kept, p);
    cuda_host_fail("cublasCreate", 1, CUBLAS_STATUS_ALLOC_FAILED);
    EXPECT_EQ(CUBLAS_STATUS_ALLOC_FAILED, cublasCreate(&blas));
    cuda_host_set_device_count(0);
    int count = 7;
    EXPECT_EQ(cudaErrorNoDevice, cudaGetDeviceCount(&count));
    EXPECT_EQ(0, count);
    EXPECT_EQ(cudaErrorNoDevice, cudaStreamCreate(&stream));
    EXPECT_EQ(CUBLAS_STATUS_NOT_INITIALIZED, cublasCreate(&blas));
    cuda_host_set_driver(false);
    EXPECT_EQ(cudaErrorInsufficientDriver, cudaGetDeviceCount(&count));
    OK(cudaDriverGetVersion(&count));
    EXPECT_EQ(0, count);
}

TEST_F(CudaHost, CountersSayWhatATokenCosts)
{
    unsigned char *x = upload(std::vector<unsigned char>(64, 1));
    struct cuda_host_counts before = cuda_host_counters();
    OK(launch(write_at, 1, 1, 0, nullptr, x, 0));
    download(x, 64);
    struct cuda_host_counts after = cuda_host_counters();
    EXPECT_EQ(before.launches + 1, after.launches);
    EXPECT_EQ(before.bytes_to_host + 64, after.bytes_to_host);
    EXPECT_EQ(before.bytes_to_device, after.bytes_to_device);
    EXPECT_EQ(before.synchronisations + 2, after.synchronisations);
}
