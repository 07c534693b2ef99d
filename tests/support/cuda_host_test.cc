/* Proves that the double tells right from wrong: kernels that are right give the right numbers
 * whatever the order of threads and streams, and the usual mistakes - a barrier, a wait or a
 * synchronisation left out, device memory touched by the host - show. */
#include "tests/support/cuda_host/cuda_host.h"

#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <gtest/gtest.h>
#include <math.h>
#include <mma.h>
#include <set>
#include <stdlib.h>
#include <string>
#include <thread>
#include <vector>

#include "engine/quant/dtype.h"

#define OK(call) ASSERT_EQ(cudaSuccess, (call))

static const unsigned FULL = 0xffffffffu;

template <typename... E, typename... A>
static cudaError_t launch(void (*kernel)(E...), dim3 grid, dim3 block, size_t shared,
                          cudaStream_t stream, A... args)
{
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    return cudaLaunchKernelEx(&config, kernel, E(args)...);
}

class CudaHost : public ::testing::Test {
  protected:
    void SetUp() override { cuda_host_reset(1); }
    void TearDown() override { cuda_host_reset(1); }
};

template <typename T> static T *upload(const std::vector<T> &values)
{
    T *device = nullptr;
    EXPECT_EQ(cudaSuccess, cudaMalloc(&device, values.size() * sizeof(T)));
    EXPECT_EQ(cudaSuccess,
              cudaMemcpy(device, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
    return device;
}

template <typename T> static std::vector<T> download(const T *device, size_t count)
{
    std::vector<T> values(count);
    EXPECT_EQ(cudaSuccess, cudaDeviceSynchronize());
    EXPECT_EQ(cudaSuccess,
              cudaMemcpy(values.data(), device, count * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
}

/* --- Threads of a block ------------------------------------------------------------------------
 */

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

/* --- Streams -----------------------------------------------------------------------------------
 */

static __global__ void add_one(const unsigned *x, unsigned *y, unsigned n)
{
    for (unsigned i = threadIdx.x; i < n; i += blockDim.x)
        y[i] = x[i] + 1;
}

/* Copies on one stream, computes on another; returns whether the bytes that come back are right. */
static bool copy_then_compute(uint64_t seed, bool waits)
{
    const unsigned n = 64;
    cuda_host_reset(seed);
    cudaStream_t copies, computes;
    cudaEvent_t copied;
    unsigned *host, *x, *y;
    EXPECT_EQ(cudaSuccess, cudaStreamCreateWithFlags(&copies, cudaStreamNonBlocking));
    EXPECT_EQ(cudaSuccess, cudaStreamCreateWithFlags(&computes, cudaStreamNonBlocking));
    EXPECT_EQ(cudaSuccess, cudaEventCreateWithFlags(&copied, cudaEventDisableTiming));
    EXPECT_EQ(cudaSuccess, cudaMallocHost(&host, n * 4));
    EXPECT_EQ(cudaSuccess, cudaMalloc(&x, n * 4));
    EXPECT_EQ(cudaSuccess, cudaMalloc(&y, n * 4));
    for (unsigned i = 0; i < n; i++)
        host[i] = i;
    cudaMemcpyAsync(x, host, n * 4, cudaMemcpyHostToDevice, copies);
    cudaEventRecord(copied, copies);
    if (waits)
        cudaStreamWaitEvent(computes, copied);
    launch(add_one, 1, 32, 0, computes, x, y, n);
    std::vector<unsigned> back(n);
    cudaMemcpyAsync(back.data(), y, n * 4, cudaMemcpyDeviceToHost, computes);
    for (unsigned i = 0; i < n; i++)
        if (back[i] != i + 1)
            return false;
    return true;
}

TEST_F(CudaHost, MissingStreamWaitShows)
{
    unsigned wrong = 0, wrong_with = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        wrong += !copy_then_compute(seed, false);
        wrong_with += !copy_then_compute(seed, true);
    }
    EXPECT_GT(wrong, 0u);
    EXPECT_LT(wrong, 50u);
    EXPECT_EQ(0u, wrong_with);
}

TEST_F(CudaHost, PinnedSourceReusedTooEarlyShows)
{
    unsigned late = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        cuda_host_reset(seed);
        unsigned *pinned, *device, pageable = 7;
        cudaStream_t stream;
        OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
        OK(cudaMallocHost(&pinned, 4));
        OK(cudaMalloc(&device, 8));
        *pinned = 7;
        OK(cudaMemcpyAsync(device, pinned, 4, cudaMemcpyHostToDevice, stream));
        OK(cudaMemcpyAsync(device + 1, &pageable, 4, cudaMemcpyHostToDevice, stream));
        *pinned = pageable = 8;
        OK(cudaStreamSynchronize(stream));
        std::vector<unsigned> back = download(device, 2);
        late += back[0] == 8;
        EXPECT_EQ(7u, back[1]) << "ordinary memory is read at the call";
    }
    EXPECT_GT(late, 0u);
    EXPECT_LT(late, 20u);
}

TEST_F(CudaHost, PollingSucceedsLate)
{
    unsigned late = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        cuda_host_reset(seed);
        cudaStream_t stream;
        cudaEvent_t never, done;
        OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
        OK(cudaEventCreateWithFlags(&never, cudaEventDisableTiming));
        OK(cudaEventCreate(&done));
        OK(cudaEventQuery(never));
        OK(cudaStreamWaitEvent(stream, never));
        unsigned *x = upload(std::vector<unsigned>(8, 1));
        OK(launch(add_one, 1, 32, 0, stream, x, x, 8u));
        OK(cudaEventRecord(done, stream));
        unsigned polls = 0;
        cudaError_t state;
        while ((state = cudaEventQuery(done)) == cudaErrorNotReady && polls < 1000)
            polls++;
        OK(state);
        OK(cudaGetLastError());
        late += polls > 0;
        OK(cudaStreamQuery(stream));
    }
    EXPECT_GT(late, 0u);
}

static __global__ void accumulate(unsigned *x, unsigned factor) { *x = *x * 10 + factor; }

TEST_F(CudaHost, LegacyStreamFollowsBlockingStreams)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        cuda_host_reset(seed);
        cudaStream_t one, two;
        OK(cudaStreamCreate(&one));
        OK(cudaStreamCreate(&two));
        unsigned *x = upload(std::vector<unsigned>{0});
        OK(launch(accumulate, 1, 1, 0, one, x, 1u));
        OK(launch(accumulate, 1, 1, 0, nullptr, x, 2u));
        OK(launch(accumulate, 1, 1, 0, two, x, 3u));
        OK(cudaStreamSynchronize(two));
        EXPECT_EQ(123u, download(x, 1)[0]);
    }
}

static void append(void *text) { *static_cast<std::string *>(text) += "h"; }
static void call_runtime(void *error)
{
    int device;
    *static_cast<cudaError_t *>(error) = cudaGetDevice(&device);
}

TEST_F(CudaHost, HostFunctionsRunInOrderAndMayNotCall)
{
    cudaStream_t stream;
    std::string text;
    cudaError_t error = cudaSuccess;
    OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    OK(cudaLaunchHostFunc(stream, append, &text));
    OK(cudaLaunchHostFunc(stream, call_runtime, &error));
    EXPECT_EQ("", text) << "enqueueing never calls back";
    OK(cudaStreamSynchronize(stream));
    EXPECT_EQ("h", text);
    EXPECT_EQ(cudaErrorNotPermitted, error);
    OK(cudaStreamDestroy(stream));
}

TEST_F(CudaHost, EventsTakeTime)
{
    cudaEvent_t start, end;
    float ms = -1.0f;
    OK(cudaEventCreate(&start));
    OK(cudaEventCreate(&end));
    EXPECT_EQ(cudaErrorInvalidResourceHandle, cudaEventElapsedTime(&ms, start, end));
    unsigned *x = upload(std::vector<unsigned>(1000, 1));
    OK(cudaEventRecord(start));
    for (int i = 0; i < 20; i++)
        OK(launch(add_one, 1, 32, 0, nullptr, x, x, 1000u));
    OK(cudaEventRecord(end));
    OK(cudaEventSynchronize(end));
    OK(cudaEventElapsedTime(&ms, start, end));
    EXPECT_GT(ms, 0.0f);
    EXPECT_EQ((size_t)3, cuda_host_leaks().size());
}

/* Two threads with a stream each share the double; each sees its own work done. */
TEST_F(CudaHost, ThreadsShareTheDevice)
{
    auto work = [](unsigned digit) {
        cudaStream_t stream;
        unsigned *x, *host, calls = 0;
        EXPECT_EQ(cudaSuccess, cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
        EXPECT_EQ(cudaSuccess, cudaMalloc(&x, 4));
        EXPECT_EQ(cudaSuccess, cudaMallocHost(&host, 4));
        auto count = [](void *n) { ++*static_cast<unsigned *>(n); };
        for (unsigned round = 1; round <= 50; round++) {
            cudaMemsetAsync(x, 0, 4, stream);
            launch(accumulate, 1, 1, 0, stream, x, digit);
            launch(accumulate, 1, 1, 0, stream, x, digit);
            cudaMemcpyAsync(host, x, 4, cudaMemcpyDeviceToHost, stream);
            cudaLaunchHostFunc(stream, count, &calls);
            EXPECT_EQ(cudaSuccess, cudaStreamSynchronize(stream));
            EXPECT_EQ(11 * digit, *host);
            EXPECT_EQ(round, calls);
        }
        EXPECT_EQ(cudaSuccess, cudaFree(x));
        EXPECT_EQ(cudaSuccess, cudaFreeHost(host));
        EXPECT_EQ(cudaSuccess, cudaStreamDestroy(stream));
    };
    std::thread one(work, 1), two(work, 2);
    one.join();
    two.join();
    EXPECT_EQ((size_t)0, cuda_host_leaks().size());
    EXPECT_EQ((uint64_t)200, cuda_host_counters().kernels);
}

/* --- Graphs ------------------------------------------------------------------------------------
 */

TEST_F(CudaHost, GraphReplaysWithForkAndJoin)
{
    for (uint64_t seed = 0; seed < 10; seed++) {
        cuda_host_reset(seed);
        cudaStream_t main, side;
        cudaEvent_t fork, join;
        cudaGraph_t graph;
        cudaGraphExec_t exec;
        OK(cudaStreamCreateWithFlags(&main, cudaStreamNonBlocking));
        OK(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking));
        OK(cudaEventCreateWithFlags(&fork, cudaEventDisableTiming));
        OK(cudaEventCreateWithFlags(&join, cudaEventDisableTiming));
        unsigned *x = upload(std::vector<unsigned>{0}), *y = upload(std::vector<unsigned>{0});
        OK(cudaStreamBeginCapture(main, cudaStreamCaptureModeGlobal));
        OK(launch(accumulate, 1, 1, 0, main, x, 1u));
        OK(cudaEventRecord(fork, main));
        OK(cudaStreamWaitEvent(side, fork));
        OK(cudaMemcpyAsync(y, x, 4, cudaMemcpyDeviceToDevice, side));
        OK(launch(accumulate, 1, 1, 0, side, y, 2u));
        OK(cudaEventRecord(join, side));
        OK(cudaStreamWaitEvent(main, join));
        OK(launch(accumulate, 1, 1, 0, main, x, 3u));
        OK(cudaStreamEndCapture(main, &graph));
        size_t nodes = 0;
        OK(cudaGraphGetNodes(graph, nullptr, &nodes));
        EXPECT_EQ((size_t)4, nodes);
        OK(cudaGraphInstantiate(&exec, graph, 0));
        OK(cudaGraphDestroy(graph));
        EXPECT_EQ((uint64_t)0, cuda_host_counters().kernels);
        OK(cudaGraphLaunch(exec, main));
        OK(cudaGraphLaunch(exec, main));
        OK(cudaStreamSynchronize(main));
        EXPECT_EQ(1313u, download(x, 1)[0]);
        EXPECT_EQ(1312u, download(y, 1)[0]);
        EXPECT_EQ((uint64_t)6, cuda_host_counters().kernels);
        EXPECT_EQ((uint64_t)2, cuda_host_counters().graph_launches);
        EXPECT_EQ((uint64_t)0, cuda_host_counters().launches);
        OK(cudaGraphExecDestroy(exec));
    }
}

TEST_F(CudaHost, CaptureRefusesWhatTheRuntimeRefuses)
{
    cudaStream_t main, side;
    cudaEvent_t event;
    cudaGraph_t graph;
    unsigned *x = upload(std::vector<unsigned>{0}), *more;
    OK(cudaStreamCreateWithFlags(&main, cudaStreamNonBlocking));
    OK(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking));
    OK(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    auto ends_with = [&](cudaError_t inner, cudaError_t expected) {
        cudaStreamCaptureStatus status;
        EXPECT_EQ(expected, inner);
        EXPECT_EQ(cudaSuccess, cudaStreamIsCapturing(main, &status));
        EXPECT_EQ(cudaStreamCaptureStatusInvalidated, status);
        EXPECT_EQ(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(main, &graph));
        EXPECT_EQ(nullptr, graph);
        cudaGetLastError();
    };
    auto begin = [&] { return cudaStreamBeginCapture(main, cudaStreamCaptureModeGlobal); };
    OK(begin());
    ends_with(cudaMalloc(&more, 4), cudaErrorStreamCaptureUnsupported);
    OK(begin());
    ends_with(cudaStreamSynchronize(main), cudaErrorStreamCaptureUnsupported);
    OK(begin());
    ends_with(cudaDeviceSynchronize(), cudaErrorStreamCaptureUnsupported);
    OK(begin());
    ends_with(launch(accumulate, 1, 1, 0, nullptr, x, 1u), cudaErrorStreamCaptureImplicit);
    OK(cudaEventRecord(event, side));
    OK(begin());
    ends_with(cudaStreamWaitEvent(main, event), cudaErrorStreamCaptureIsolation);
    OK(begin());
    OK(cudaEventRecord(event, main));
    OK(cudaStreamWaitEvent(side, event));
    OK(launch(accumulate, 1, 1, 0, side, x, 1u));
    EXPECT_EQ(cudaErrorStreamCaptureUnjoined, cudaStreamEndCapture(main, &graph));
    OK(launch(accumulate, 1, 1, 0, side, x, 1u));
    EXPECT_EQ(1u, download(x, 1)[0]) << "what was captured and thrown away never runs";
}

/* --- Memory and errors -------------------------------------------------------------------------
 */

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
    unsigned *x = upload(std::vector<unsigned>(16, 1));
    struct cuda_host_counts before = cuda_host_counters();
    OK(launch(add_one, 1, 32, 0, nullptr, x, x, 16u));
    download(x, 16);
    struct cuda_host_counts after = cuda_host_counters();
    EXPECT_EQ(before.launches + 1, after.launches);
    EXPECT_EQ(before.bytes_to_host + 64, after.bytes_to_host);
    EXPECT_EQ(before.bytes_to_device, after.bytes_to_device);
    EXPECT_EQ(before.synchronisations + 2, after.synchronisations);
}

/* --- Numbers -----------------------------------------------------------------------------------
 */

TEST_F(CudaHost, SmallFloatsAreBitExact)
{
    for (unsigned bits = 0; bits < 65536; bits++) {
        __half h = __ushort_as_half((unsigned short)bits);
        __nv_bfloat16 b = __ushort_as_bfloat16((unsigned short)bits);
        float fh = __half2float(h), fb = __bfloat162float(b);
        float th = f16_to_f32((uint16_t)bits), tb = bf16_to_f32((uint16_t)bits);
        ASSERT_EQ(isnan(th), isnan(fh)) << bits;
        ASSERT_EQ(isnan(tb), isnan(fb)) << bits;
        if (!isnan(th)) {
            ASSERT_EQ(__float_as_uint(th), __float_as_uint(fh)) << bits;
            ASSERT_EQ(bits, __half_as_ushort(__float2half_rn(fh)));
        }
        if (!isnan(tb)) {
            ASSERT_EQ(__float_as_uint(tb), __float_as_uint(fb)) << bits;
            ASSERT_EQ(bits, __bfloat16_as_ushort(__float2bfloat16_rn(fb)));
        }
    }
    for (unsigned high = 0; high < 65536; high++)
        for (unsigned low :
             {0u, 1u, 0xfffu, 0x1000u, 0x1001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
            float f = __uint_as_float(high << 16 | low);
            unsigned short h = __half_as_ushort(__float2half_rn(f));
            unsigned short b = __bfloat16_as_ushort(__float2bfloat16_rn(f));
            if (isnan(f)) {
                ASSERT_EQ(0x7fff, h);
                ASSERT_EQ(0x7fff, b);
            } else {
                ASSERT_EQ(f32_to_f16(f), h) << f;
                ASSERT_EQ(f32_to_bf16(f), b) << f;
            }
        }
}

/* One rounding: 1 + 2^-11 is a tie that goes down, and the smallest step above it goes up. */
TEST_F(CudaHost, FusedHalvesRoundOnce)
{
    __half one = __float2half_rn(1.0f), step = __float2half_rn(0x1p-11f);
    EXPECT_EQ(0x3c00, __half_as_ushort(__hfma(one, step, one)));
    EXPECT_EQ(0x3c01, __half_as_ushort(__double2half(1.0 + 0x1p-11 + 0x1p-40)));
    EXPECT_EQ(0x3c00, __half_as_ushort(__double2half(1.0 + 0x1p-11 - 0x1p-40)));
    EXPECT_EQ(0x3f80, __bfloat16_as_ushort(__double2bfloat16(1.0 + 0x1p-8 - 0x1p-50)));
    EXPECT_EQ(0x3f81, __bfloat16_as_ushort(__double2bfloat16(1.0 + 0x1p-8 + 0x1p-50)));
}

template <typename T, typename LayoutB>
static __global__ void tile_product(const T *a, const T *b, float *c, unsigned tiles)
{
    using namespace nvcuda::wmma;
    fragment<matrix_a, 16, 16, 16, T, row_major> fa;
    fragment<matrix_b, 16, 16, 16, T, LayoutB> fb;
    fragment<accumulator, 16, 16, 16, float> fc;
    bool rows = std::is_same<LayoutB, row_major>::value;
    fill_fragment(fc, 0.0f);
    for (unsigned t = 0; t < tiles; t++) {
        load_matrix_sync(fa, a + t * 16, 16 * tiles);
        load_matrix_sync(fb, b + (rows ? t * 16 * 16 : t * 16), rows ? 16 : 16 * tiles);
        mma_sync(fc, fa, fb, fc);
    }
    for (int e = 0; e < fc.num_elements; e++)
        fc.x[e] = 2.0f * fc.x[e] + 1.0f;
    store_matrix_sync(c, fc, 16, mem_row_major);
}

template <typename T, typename LayoutB> static void check_tiles(void)
{
    const unsigned tiles = 3, k = 16 * tiles;
    std::vector<T> a(16 * k), b(16 * k);
    for (unsigned i = 0; i < 16 * k; i++) {
        a[i] = T((float)((i * 37) % 19) * 0.25f - 2.0f);
        b[i] = T((float)((i * 53) % 23) * 0.125f - 1.0f);
    }
    T *da = upload(a), *db = upload(b);
    float *dc = upload(std::vector<float>(256, 0.0f));
    EXPECT_EQ(cudaSuccess, launch(tile_product<T, LayoutB>, 1, 32, 0, nullptr, da, db, dc, tiles));
    std::vector<float> c = download(dc, 256);
    bool rows = std::is_same<LayoutB, nvcuda::wmma::row_major>::value;
    for (unsigned i = 0; i < 16; i++)
        for (unsigned j = 0; j < 16; j++) {
            float sum = 0.0f;
            for (unsigned l = 0; l < k; l++)
                sum += (float)a[i * k + l] * (float)b[rows ? l * 16 + j : j * k + l];
            EXPECT_EQ(2.0f * sum + 1.0f, c[i * 16 + j]) << i << "," << j;
        }
}

TEST_F(CudaHost, MatrixTilesAgainstLoops)
{
    check_tiles<__half, nvcuda::wmma::row_major>();
    check_tiles<__half, nvcuda::wmma::col_major>();
    check_tiles<__nv_bfloat16, nvcuda::wmma::row_major>();
    check_tiles<__nv_bfloat16, nvcuda::wmma::col_major>();
}

/* --- cuBLAS ------------------------------------------------------------------------------------
 */

static float value_at(unsigned seed, unsigned i)
{
    return (float)((i * 31 + seed * 17) % 29) * 0.125f - 1.5f;
}

template <typename T> static std::vector<T> matrix(unsigned seed, size_t count)
{
    std::vector<T> values(count);
    for (size_t i = 0; i < count; i++)
        values[i] = T(value_at(seed, (unsigned)i));
    return values;
}

template <typename T> struct blas_type;
template <> struct blas_type<float> {
    static const cudaDataType value = CUDA_R_32F;
};
template <> struct blas_type<__half> {
    static const cudaDataType value = CUDA_R_16F;
};
template <> struct blas_type<__nv_bfloat16> {
    static const cudaDataType value = CUDA_R_16BF;
};

template <typename T, typename R>
static void check_gemm(cublasHandle_t blas, bool ta, bool tb, int m, int n, int k, float beta)
{
    int lda = (ta ? k : m) + 3, ldb = (tb ? n : k) + 1, ldc = m + 2;
    std::vector<T> a = matrix<T>(1, (size_t)lda * (ta ? m : k)),
                   b = matrix<T>(2, (size_t)ldb * (tb ? k : n));
    std::vector<R> c = matrix<R>(3, (size_t)ldc * n);
    T *da = upload(a), *db = upload(b);
    R *dc = upload(c);
    float alpha = 0.5f;
    ASSERT_EQ(CUBLAS_STATUS_SUCCESS,
              cublasGemmEx(blas, ta ? CUBLAS_OP_T : CUBLAS_OP_N, tb ? CUBLAS_OP_T : CUBLAS_OP_N, m,
                           n, k, &alpha, da, blas_type<T>::value, lda, db, blas_type<T>::value, ldb,
                           &beta, dc, blas_type<R>::value, ldc, CUBLAS_COMPUTE_32F,
                           CUBLAS_GEMM_DEFAULT));
    std::vector<R> result = download(dc, c.size());
    for (int j = 0; j < n; j++) {
        for (int i = 0; i < m; i++) {
            float sum = 0.0f;
            for (int l = 0; l < k; l++)
                sum += (float)a[ta ? i * lda + l : l * lda + i] *
                       (float)b[tb ? l * ldb + j : j * ldb + l];
            R expected = R(alpha * sum + beta * (float)c[j * ldc + i]);
            ASSERT_EQ((float)expected, (float)result[j * ldc + i]) << i << "," << j;
        }
        for (int i = m; i < ldc; i++)
            ASSERT_EQ((float)c[j * ldc + i], (float)result[j * ldc + i]) << "between columns";
    }
    OK(cudaFree(da));
    OK(cudaFree(db));
    OK(cudaFree(dc));
}

TEST_F(CudaHost, CublasLayoutsAgainstLoops)
{
    cublasHandle_t blas;
    cudaStream_t stream;
    ASSERT_EQ(CUBLAS_STATUS_SUCCESS, cublasCreate(&blas));
    OK(cudaStreamCreate(&stream));
    ASSERT_EQ(CUBLAS_STATUS_SUCCESS, cublasSetStream(blas, stream));
    for (int layout = 0; layout < 4; layout++)
        for (float beta : {0.0f, 0.5f}) {
            check_gemm<float, float>(blas, layout & 1, layout & 2, 5, 7, 9, beta);
            check_gemm<__half, float>(blas, layout & 1, layout & 2, 33, 2, 17, beta);
            check_gemm<__nv_bfloat16, __nv_bfloat16>(blas, layout & 1, layout & 2, 1, 31, 8, beta);
        }
    EXPECT_EQ(CUBLAS_STATUS_SUCCESS, cublasDestroy(blas));
    OK(cudaStreamDestroy(stream));
    EXPECT_EQ((size_t)0, cuda_host_leaks().size());
}

TEST_F(CudaHost, CublasGroupsAndRefusals)
{
    cublasHandle_t blas;
    ASSERT_EQ(CUBLAS_STATUS_SUCCESS, cublasCreate(&blas));
    const int m[] = {3, 4}, n[] = {2, 5}, k[] = {8, 8}, sizes[] = {2, 1};
    cublasOperation_t plain[] = {CUBLAS_OP_N, CUBLAS_OP_N};
    float one[] = {1.0f, 2.0f}, zero[] = {0.0f, 0.0f};
    std::vector<__half> a = matrix<__half>(4, 32), b = matrix<__half>(5, 40);
    __half *da = upload(a), *db = upload(b), *dc = upload(std::vector<__half>(3 * 32));
    const void **as = upload(std::vector<const void *>{da, da, da});
    const void **bs = upload(std::vector<const void *>{db, db, db});
    void **cs = upload(std::vector<void *>{dc, dc + 32, dc + 64});
    auto grouped = [&](cudaDataType type) {
        return cublasGemmGroupedBatchedEx(blas, plain, plain, m, n, k, one, as, CUDA_R_16F, m, bs,
                                          CUDA_R_16F, k, zero, cs, type, m, 2, sizes,
                                          CUBLAS_COMPUTE_32F);
    };
    EXPECT_EQ(CUBLAS_STATUS_NOT_SUPPORTED, grouped(CUDA_R_32F));
    ASSERT_EQ(CUBLAS_STATUS_SUCCESS, grouped(CUDA_R_16F));
    std::vector<__half> c = download(dc, 96);
    for (int p = 0; p < 3; p++) {
        int g = p / 2;
        for (int i = 0; i < m[g]; i++)
            for (int j = 0; j < n[g]; j++) {
                float sum = 0.0f;
                for (int l = 0; l < k[g]; l++)
                    sum += (float)a[l * m[g] + i] * (float)b[j * k[g] + l];
                EXPECT_EQ((float)__half(one[g] * sum), (float)c[p * 32 + j * m[g] + i]);
            }
    }
    float scale = 1.0f;
    auto types = [&](cudaDataType at, cudaDataType bt, cudaDataType ct, int lda) {
        return cublasGemmEx(blas, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &scale, da, at, lda, db, bt, 4,
                            &scale, dc, ct, 4, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    };
    EXPECT_EQ(CUBLAS_STATUS_NOT_SUPPORTED, types(CUDA_R_16F, CUDA_R_16BF, CUDA_R_32F, 4));
    EXPECT_EQ(CUBLAS_STATUS_NOT_SUPPORTED, types(CUDA_R_16BF, CUDA_R_16BF, CUDA_R_16F, 4));
    EXPECT_EQ(CUBLAS_STATUS_INVALID_VALUE, types(CUDA_R_16F, CUDA_R_16F, CUDA_R_16F, 3));
    EXPECT_EQ(CUBLAS_STATUS_SUCCESS, types(CUDA_R_16F, CUDA_R_16F, CUDA_R_16F, 4));
    OK(cudaDeviceSynchronize());
}
