/* Streams, events and graphs: work is done in the order that waits enforce and in no other, so that
 * a wait left out shows. */
#include "tests/support/cuda_host_test.h"

#include <string>
#include <thread>

/* ---- streams and events ---- */

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

/* ---- graphs ---- */

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
