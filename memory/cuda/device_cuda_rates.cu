/* Measures what a copy over the link takes, as often as fits into a deadline and at least once, so
 * that a slow link, a fast one and the double of the tests, which has no speed at all, take the
 * same time. Warm-up first: the first copy of a process pays for mappings, the first kernel for
 * loading.
 *
 * Under load means: a kernel that does nothing but read device memory is always queued on the
 * compute stream. Copies and kernels then share the memory of the device and its fabric, not the
 * link, so `loaded` is what a copy gets in the middle of a decode step, whose kernels are bound by
 * the same reads. How much one kernel reads is found by doubling until it takes LOAD_NS: short
 * enough to stop when the deadline has come, long enough for its launch not to count.
 *
 * Bytes moved: 25 ms of the link (about 1 GiB on PCIe 5) each for idle and loaded. */
#include <stdint.h>

#include "memory/base/clock.h"
#include "memory/cuda/device_cuda_rates.cuh"
#include "memory/cuda_call.cuh"

#define IDLE_NS 15000000u
#define CALIBRATE_NS 10000000u
#define LOADED_NS 20000000u
#define LOAD_NS 400000u
#define LOAD_LEAST ((size_t)256 << 10)
#define LOAD_MOST ((size_t)512 << 20)
#define THREADS 256

/* Reads `vectors` of 16 bytes, going round in a buffer of `room` of them. The sum keeps the reads
 * from being left out; it is written where nobody looks. */
static __global__ void read_memory(const uint4 *from, size_t vectors, size_t room, uint32_t *sink)
{
    uint32_t sum = 0;
    size_t step = (size_t)gridDim.x * blockDim.x;
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < vectors; i += step) {
        uint4 v = from[i % room];
        sum += v.x ^ v.y ^ v.z ^ v.w;
    }
    if (sum == 0x9E3779B9u)
        *sink = sum;
}

struct load {
    uint4 *from;
    size_t room;  /* vectors */
    size_t bytes; /* that one launch reads */
    uint32_t *sink;
};

static void launch(const struct device_cuda_link *link, const struct load *load)
{
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(link->processors * 2);
    config.blockDim = dim3(THREADS);
    config.stream = link->compute;
    CUDA_CALL(cudaLaunchKernelEx(&config, read_memory, (const uint4 *)load->from,
                                 load->bytes / sizeof(uint4), load->room, load->sink));
}

/* Doubles what one launch reads until it takes long enough. */
static void calibrate(const struct device_cuda_link *link, struct load *load)
{
    uint64_t begin = clock_now_ns(), took;
    load->bytes = LOAD_LEAST;
    launch(link, load);
    CUDA_CALL(cudaStreamSynchronize(link->compute));
    do {
        uint64_t launched = clock_now_ns();
        launch(link, load);
        CUDA_CALL(cudaStreamSynchronize(link->compute));
        took = clock_now_ns() - launched;
        if (took >= LOAD_NS || load->bytes >= LOAD_MOST)
            return;
        load->bytes *= 2;
    } while (clock_now_ns() - begin + 2 * took < CALIBRATE_NS);
}

static void copy_once(const struct device_cuda_link *link, void *to)
{
    CUDA_CALL(cudaMemcpyAsync(to, link->pinned, link->bytes, cudaMemcpyHostToDevice, link->copy));
}

static double idle_rate(const struct device_cuda_link *link, void *to)
{
    copy_once(link, to);
    CUDA_CALL(cudaStreamSynchronize(link->copy));
    uint64_t begin = clock_now_ns(), now, copies = 0;
    do {
        copy_once(link, to); /* two in a row: the second begins when the first ends */
        copy_once(link, to);
        CUDA_CALL(cudaStreamSynchronize(link->copy));
        copies += 2;
        now = clock_now_ns();
    } while (now - begin < IDLE_NS);
    return now > begin ? (double)(copies * link->bytes) * 1e9 / (double)(now - begin) : 0;
}

/* Two launches are under way at any time, so the reading never stops between two copies. */
static double loaded_rate(const struct device_cuda_link *link, void *to, const struct load *load)
{
    cudaEvent_t read[2];
    for (int i = 0; i < 2; i++) {
        CUDA_CALL(cudaEventCreateWithFlags(&read[i], cudaEventDisableTiming));
        launch(link, load);
        CUDA_CALL(cudaEventRecord(read[i], link->compute));
    }
    uint64_t begin = clock_now_ns(), now, copies = 0;
    unsigned oldest = 0;
    do {
        copy_once(link, to);
        cudaError_t state;
        do {
            for (int i = 0; i < 2 && cudaEventQuery(read[oldest]) == cudaSuccess; i++) {
                launch(link, load);
                CUDA_CALL(cudaEventRecord(read[oldest], link->compute));
                oldest ^= 1;
            }
            state = cudaStreamQuery(link->copy);
        } while (state == cudaErrorNotReady);
        CUDA_CALL(state);
        copies++;
        now = clock_now_ns();
    } while (now - begin < LOADED_NS);
    CUDA_CALL(cudaStreamSynchronize(link->compute));
    (void)cudaGetLastError(); /* "not ready" is kept there */
    for (int i = 0; i < 2; i++)
        CUDA_CALL(cudaEventDestroy(read[i]));
    return now > begin ? (double)(copies * link->bytes) * 1e9 / (double)(now - begin) : 0;
}

cudaError_t device_cuda_kernel_image(void)
{
    struct cudaFuncAttributes attributes;
    return cudaFuncGetAttributes(&attributes, read_memory);
}

void device_cuda_measure(const struct device_cuda_link *link, double *idle, double *loaded)
{
    /* Larger than the second-level cache of any device, where there is so much room. */
    size_t room = (size_t)256 << 20;
    void *buffer = NULL;
    while (room >= LOAD_LEAST && cudaMalloc(&buffer, room + link->bytes + 4096) != cudaSuccess) {
        (void)cudaGetLastError();
        buffer = NULL;
        room /= 2;
    }
    *idle = *loaded = 0;
    if (!buffer)
        return;
    char *to = (char *)buffer + room;
    struct load load = {(uint4 *)buffer, room / sizeof(uint4), 0, (uint32_t *)(to + link->bytes)};
    *idle = idle_rate(link, to);
    calibrate(link, &load);
    *loaded = loaded_rate(link, to, &load);
    CUDA_CALL(cudaFree(buffer));
}
