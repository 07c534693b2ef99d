/* Threads of a block: barriers, warp collectives and shared memory are right in every order that
 * is drawn, and what a kernel may not do with them is reported. */
#include "tests/support/cuda_host_test.h"

#include <set>

static const unsigned FULL = 0xffffffffu;

static __global__ void sum_by_shuffles(const unsigned *x, unsigned n, unsigned *out)
{
    __shared__ unsigned part[32];
    unsigned sum = 0;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        sum += x[i];
    for (int offset = 16; offset; offset >>= 1)
        sum += __shfl_down_sync(FULL, sum, (unsigned)offset);
    if (threadIdx.x % 32 == 0)
        part[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (unsigned w = 1; w < blockDim.x / 32; w++)
            sum += part[w];
        atomicAdd(out, sum);
    }
}

/* `barriers` false: the one that the sums need is left out. */
template <bool barriers>
static __global__ void sum_by_shared_memory(const unsigned *x, unsigned n, unsigned *out)
{
    unsigned *part = static_cast<unsigned *>(cuda_host_dynamic_shared());
    unsigned t = threadIdx.x;
    part[t] = t < n ? x[t] : 0;
    __syncthreads();
    for (unsigned width = blockDim.x / 2; width; width /= 2) {
        if (t < width)
            part[t] += part[t + width];
        if (barriers)
            __syncthreads();
    }
    if (t == 0)
        *out = part[0];
}

TEST_F(CudaHost, BlockSumsOnOddSizes)
{
    for (unsigned n : {0u, 1u, 2u, 31u, 33u, 127u, 1000u}) {
        std::vector<unsigned> x(n + 1);
        unsigned sum = 0;
        for (unsigned i = 0; i < n; i++)
            sum += x[i] = i * 7 + 3;
        unsigned *device = upload(x), *out = upload(std::vector<unsigned>{0});
        OK(launch(sum_by_shuffles, 3, 96, 0, nullptr, device, n, out));
        EXPECT_EQ(sum, download(out, 1)[0]) << n;
        OK(launch(sum_by_shared_memory<true>, 1, 1024, 4096, nullptr, device, n, out));
        EXPECT_EQ(sum, download(out, 1)[0]) << n;
        OK(cudaFree(device));
        OK(cudaFree(out));
    }
    EXPECT_EQ((size_t)0, cuda_host_leaks().size());
}

TEST_F(CudaHost, MissingBarrierShows)
{
    unsigned wrong = 0, wrong_with = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        cuda_host_reset(seed);
        std::vector<unsigned> x(256, 1);
        unsigned *device = upload(x), *out = upload(std::vector<unsigned>{0});
        OK(launch(sum_by_shared_memory<false>, 1, 256, 1024, nullptr, device, 256u, out));
        wrong += download(out, 1)[0] != 256;
        OK(launch(sum_by_shared_memory<true>, 1, 256, 1024, nullptr, device, 256u, out));
        wrong_with += download(out, 1)[0] != 256;
    }
    EXPECT_GT(wrong, 0u);
    EXPECT_EQ(0u, wrong_with);
}

static __global__ void warp_collectives(unsigned *out)
{
    unsigned lane = threadIdx.x % 32, failed = 0;
    unsigned xored = __shfl_xor_sync(FULL, lane, 5);
    failed |= (unsigned)(xored != (lane ^ 5)) << 0;
    failed |= (unsigned)(__shfl_sync(FULL, lane, 3, 8) != (lane & 24) + 3) << 1;
    failed |= (unsigned)(__shfl_up_sync(FULL, lane, 2, 16) != (lane % 16 < 2 ? lane : lane - 2))
              << 2;
    unsigned down = __shfl_down_sync(FULL, lane, 3, 16);
    failed |= (unsigned)(down != (lane % 16 > 12 ? lane : lane + 3)) << 3;
    failed |= (unsigned)(__ballot_sync(FULL, lane % 3 == 0) != 0x49249249u) << 4;
    failed |= (unsigned)(!__any_sync(FULL, lane == 7) || __any_sync(FULL, lane == 32)) << 5;
    failed |= (unsigned)(!__all_sync(FULL, lane < 32) || __all_sync(FULL, lane > 0)) << 6;
    failed |= (unsigned)(__reduce_add_sync(FULL, lane) != 496) << 7;
    failed |= (unsigned)(__reduce_max_sync(FULL, (int)lane - 40) != -9) << 8;
    failed |= (unsigned)(__reduce_min_sync(FULL, lane + 2) != 2) << 9;
    unsigned mine = lane < 16 ? 0xffffu : 0xffff0000u; /* two groups that do not meet */
    unsigned rounds = lane < 16 ? 3 : 5, sum = 0;
    for (unsigned i = 0; i < rounds; i++)
        sum += __shfl_xor_sync(mine, lane, 1);
    failed |= (unsigned)(sum != rounds * (lane ^ 1)) << 10;
    double d = __shfl_sync(FULL, 0.25 + lane, 31);
    failed |= (unsigned)(d != 31.25) << 11;
    failed |= (unsigned)(__match_any_sync(FULL, lane / 4) != 0xfu << (lane / 4 * 4)) << 12;
    failed |= (unsigned)(__syncthreads_count(threadIdx.x % 5 == 0) != 26) << 13;
    failed |= (unsigned)(__syncthreads_or(threadIdx.x == 77) != 1) << 14;
    failed |= (unsigned)(__syncthreads_and(threadIdx.x != 77) != 0) << 15;
    atomicOr(out, failed);
}

TEST_F(CudaHost, WarpCollectives)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        cuda_host_reset(seed);
        unsigned *out = upload(std::vector<unsigned>{0});
        OK(launch(warp_collectives, 2, 128, 0, nullptr, out));
        EXPECT_EQ(0u, download(out, 1)[0]) << "seed " << seed;
    }
}

static __global__ void note_indices(unsigned *seen, unsigned *order, unsigned *count)
{
    unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    seen[block * blockDim.x * blockDim.y * blockDim.z + thread]++;
    order[atomicAdd(count, 1u)] = block * 1000 + thread;
}

TEST_F(CudaHost, EveryThreadOnceInADrawnOrder)
{
    std::set<std::vector<unsigned>> orders;
    for (uint64_t seed = 0; seed < 8; seed++) {
        cuda_host_reset(seed);
        unsigned threads = 24 * 105;
        unsigned *seen = upload(std::vector<unsigned>(threads, 0));
        unsigned *order = upload(std::vector<unsigned>(threads, 0));
        unsigned *count = upload(std::vector<unsigned>{0});
        OK(launch(note_indices, dim3(2, 3, 4), dim3(7, 5, 3), 0, nullptr, seen, order, count));
        EXPECT_EQ(std::vector<unsigned>(threads, 1), download(seen, threads));
        orders.insert(download(order, threads));
    }
    EXPECT_GT(orders.size(), (size_t)6);
}

template <unsigned size> static __global__ void read_fresh_shared(unsigned *out)
{
    __shared__ unsigned kept[size];
    unsigned *dynamic = static_cast<unsigned *>(cuda_host_dynamic_shared());
    if (threadIdx.x < size)
        atomicAdd(out, (unsigned)(kept[threadIdx.x] == 0xffffffffu &&
                                  dynamic[threadIdx.x] == 0xffffffffu));
    __syncthreads();
    kept[threadIdx.x % size] = dynamic[threadIdx.x] = 1;
}

TEST_F(CudaHost, SharedMemoryHoldsGarbageAtTheStart)
{
    unsigned *out = upload(std::vector<unsigned>{0});
    OK(launch(read_fresh_shared<32>, 5, 64, 256, nullptr, out));
    OK(launch(read_fresh_shared<16>, 5, 64, 256, nullptr, out));
    EXPECT_EQ(5u * 48, download(out, 1)[0]);
    cudaFuncAttributes attributes;
    OK(cudaFuncGetAttributes(&attributes, read_fresh_shared<16>));
    EXPECT_EQ((size_t)64, attributes.sharedSizeBytes);
}

static __global__ void some_miss_the_barrier(unsigned *)
{
    __syncthreads();
    if (threadIdx.x < 40)
        __syncthreads();
}
static __global__ void two_barriers(unsigned *)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
}
static __global__ void lanes_that_left(unsigned *out)
{
    if (threadIdx.x % 32 >= 16)
        return;
    *out = __shfl_xor_sync(FULL, 1u, 1);
}
static __global__ void left_out_of_the_mask(unsigned *) { __syncwarp(1u); }
static __global__ void waits_for_the_other_half(unsigned *)
{
    if (threadIdx.x < 16)
        __syncwarp();
    else
        __syncthreads();
}
static __global__ void traps(unsigned *) { __trap(); }
static __global__ void returns_before_barriers(unsigned *out)
{
    if (threadIdx.x >= 40)
        return;
    __syncthreads();
    atomicAdd(out, 1u);
    __syncthreads();
}

TEST_F(CudaHost, IllegalCollectivesAreReported)
{
    struct {
        void (*kernel)(unsigned *);
        const char *message;
    } cases[] = {
        {some_miss_the_barrier, "some_miss_the_barrier.*barrier"},
        {two_barriers, "two_barriers.*others at the one of line"},
        {lanes_that_left, "lanes_that_left.*"},
        {left_out_of_the_mask, "leaves the caller out"},
        {waits_for_the_other_half, "no thread of the block can go on"},
        {traps, "traps.*__trap"},
    };
    ::testing::FLAGS_gtest_death_test_style = "fast";
    for (const auto &c : cases)
        EXPECT_DEATH(
            {
                if (launch(c.kernel, 1, 64, 0, nullptr, nullptr) == cudaSuccess)
                    cudaDeviceSynchronize();
            },
            c.message);
    unsigned *out = upload(std::vector<unsigned>{0});
    OK(launch(returns_before_barriers, 1, 64, 0, nullptr, out));
    EXPECT_EQ(40u, download(out, 1)[0]);
}

TEST_F(CudaHost, LaunchLimits)
{
    unsigned *out = upload(std::vector<unsigned>{0});
    auto with = [&](dim3 grid, dim3 block, size_t shared) {
        return launch(sum_by_shared_memory<true>, grid, block, shared, nullptr, out, 0u, out);
    };
    EXPECT_EQ(cudaErrorInvalidConfiguration, with(1, 0, 4096));
    EXPECT_EQ(cudaErrorInvalidConfiguration, cudaGetLastError());
    EXPECT_EQ(cudaSuccess, cudaGetLastError());
    EXPECT_EQ(cudaErrorInvalidConfiguration, with(0, 32, 4096));
    EXPECT_EQ(cudaErrorInvalidConfiguration, with(1, dim3(1025), 8192));
    EXPECT_EQ(cudaErrorInvalidConfiguration, with(dim3(1, 65536), 32, 4096));
    EXPECT_EQ(cudaErrorInvalidConfiguration, with(1, dim3(1, 1, 65), 4096));
    EXPECT_EQ(cudaErrorInvalidValue, with(1, 32, (48 << 10) + 1));
    auto kernel = sum_by_shared_memory<true>;
    EXPECT_EQ(cudaErrorInvalidValue,
              cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 228 << 10));
    OK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, 227 << 10));
    EXPECT_EQ(cudaSuccess, with(1, 32, 227 << 10));
    int blocks = 0;
    OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, 256, 100 << 10));
    EXPECT_EQ(2, blocks);
    OK(cudaDeviceSynchronize());
}
