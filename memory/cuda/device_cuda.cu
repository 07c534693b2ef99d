/* A CUDA device as a place for slots: plain allocations, copies on a stream of their own, fences on
 * the stream of kernels.
 *
 * Streams. Copies go over `copying`, of the highest priority, kernels over `computing`, of the
 * normal one; both are non-blocking, so neither waits for the legacy stream. All that ties them is
 * fences: a copy into a slot that kernels may still read waits, on the device, for the fence that
 * was marked after them. Nothing else may be taken for granted: two streams have no order.
 *
 * Copies. Started copies stand in a queue of jobs, in order. A copy from memory that pin() has
 * page-locked is one transfer. Any other goes through two page-locked staging buffers in pieces,
 * each buffer filled again when the event behind its transfer is done, so that filling one overlaps
 * the transfer of the other. (Left to the runtime, a copy from pageable memory would block the
 * engine's thread until its fence is reached.) A staged copy that finds both buffers busy goes on
 * at the next call; what was started after it stands behind it, which keeps the ends in order. When
 * the last transfer of a job is queued, an event is recorded: its ticket.
 *
 * Fences. Marking number n records event n % FENCES on the compute stream. Numbers are reached in
 * order because a stream runs in order. For a number whose event has been recorded anew the oldest
 * number that still has one stands in: it is larger, so it is reached later, and whoever waits for
 * it never goes too early. A wait that the copy stream was given before stays what it was: it is
 * for the record of that time, not for what the event records later.
 *
 * Waiting. CUDA gives no descriptor that wakes a poll(2), and a blocking wait for an event has no
 * timeout and cannot feed the staging buffers. So a wait asks, yields for SPIN_NS, about the rest
 * of a transfer that is nearly there or of a short kernel, and sleeps SLEEP_NS between questions
 * from then on (some 70 us with the kernel's timer slack): at most a tenth of the copy of a page,
 * and three percent of a core. A wait for a fence, which may be long, sleeps in the driver after
 * its spin.
 *
 * One thread at a time, the engine's; the device is made current in each call. Errors: memory that
 * is not there is NULL; anything else that fails after open has cost results already and stops the
 * process (cuda_call.cuh). */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/bytes.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "memory/cuda/device_cuda_pins.cuh"
#include "memory/cuda/device_cuda_rates.cuh"
#include "memory/cuda_call.cuh"
#include "memory/device_cuda.h"

#define JOBS 32     /* copies and fills that are not done */
#define FENCES 1024 /* more than the slots of a step that are given back one by one */
#define STAGES 2
#define SPIN_NS 50000u
#define SLEEP_NS 20000
#define STAGE_BYTES ((size_t)16 << 20)
#define ALIGNMENT 4096u

struct allocation {
    void *base; /* as given, aligned */
    void *raw;  /* as CUDA gave it */
    struct allocation *next;
};

struct job {
    uint8_t *to;
    const uint8_t *from; /* NULL: a fill */
    size_t bytes, issued;
    uint64_t after;
    bool staged;
    uint8_t byte;
};

struct stage {
    uint8_t *bytes;
    cudaEvent_t free; /* recorded behind the transfer out of it */
};

struct device_cuda {
    struct device device;
    int ordinal;
    cudaStream_t copying, computing;
    struct allocation *allocations;
    struct device_cuda_pins pins;

    /* Jobs in the order of their start; job j stands in job[j % JOBS] and ends with its event. */
    struct job job[JOBS];
    cudaEvent_t ended_event[JOBS];
    uint64_t started, issued, ended;
    uint64_t ticket[JOBS]; /* the number of copies up to this job */
    uint64_t copies, copies_ended;

    cudaEvent_t fence_event[FENCES];
    uint64_t marked, reached;
    uint64_t waited; /* the newest fence that the copy stream waits for */

    struct stage stage[STAGES];
    size_t stage_bytes;
    unsigned turn; /* the stage that is filled next */
    bool measure;
    struct device_rates rates;
};

static struct device_cuda *enter(struct device *device)
{
    struct device_cuda *self = (struct device_cuda *)device;
    CUDA_CALL(cudaSetDevice(self->ordinal));
    return self;
}

static bool is_done(cudaEvent_t event)
{
    cudaError_t state = cudaEventQuery(event);
    if (state == cudaErrorNotReady) {
        (void)cudaGetLastError(); /* it is kept there, and is no error */
        return false;
    }
    CUDA_CALL(state);
    return true;
}

/* --- Fences --------------------------------------------------------------------------------- */

/* The number whose event tells of `fence`: itself, or the oldest that still has one. */
static uint64_t stand_in(const struct device_cuda *self, uint64_t fence)
{
    CHECK_MSG(fence <= self->marked, "fence %llu of %llu marked", (unsigned long long)fence,
              (unsigned long long)self->marked);
    return fence + FENCES > self->marked ? fence : self->marked - FENCES + 1;
}

static uint64_t cuda_fence(struct device *device)
{
    struct device_cuda *self = enter(device);
    self->marked++;
    CUDA_CALL(cudaEventRecord(self->fence_event[self->marked % FENCES], self->computing));
    return self->marked;
}

static bool cuda_reached(struct device *device, uint64_t fence, bool wait)
{
    struct device_cuda *self = enter(device);
    if (fence <= self->reached)
        return true;
    uint64_t number = stand_in(self, fence);
    cudaEvent_t event = self->fence_event[number % FENCES];
    bool done = is_done(event);
    if (!done && wait) {
        for (uint64_t begin = clock_now_ns(); !done && clock_now_ns() - begin < SPIN_NS;) {
            sched_yield();
            done = is_done(event);
        }
        if (!done)
            CUDA_CALL(cudaEventSynchronize(event));
        done = true;
    }
    if (done)
        self->reached = number;
    return done;
}

/* What is queued on the copy stream from now on comes after the fence. */
static void order_after(struct device_cuda *self, uint64_t fence)
{
    if (fence <= self->reached || fence <= self->waited)
        return;
    uint64_t number = stand_in(self, fence);
    CUDA_CALL(cudaStreamWaitEvent(self->copying, self->fence_event[number % FENCES], 0));
    self->waited = number;
}

/* --- Copies --------------------------------------------------------------------------------- */

/* Queues as much of a staged copy as there are buffers for. True: all of it is queued. */
static bool issue_pieces(struct device_cuda *self, struct job *job)
{
    while (job->issued < job->bytes) {
        struct stage *stage = &self->stage[self->turn];
        if (!is_done(stage->free))
            return false;
        size_t left = job->bytes - job->issued;
        size_t piece = left < self->stage_bytes ? left : self->stage_bytes;
        memcpy(stage->bytes, job->from + job->issued, piece);
        CUDA_CALL(cudaMemcpyAsync(job->to + job->issued, stage->bytes, piece,
                                  cudaMemcpyHostToDevice, self->copying));
        CUDA_CALL(cudaEventRecord(stage->free, self->copying));
        job->issued += piece;
        self->turn = (self->turn + 1) % STAGES;
    }
    return true;
}

/* True: the job is queued whole. */
static bool issue(struct device_cuda *self, struct job *job)
{
    order_after(self, job->after);
    if (!job->from)
        CUDA_CALL(cudaMemsetAsync(job->to, job->byte, job->bytes, self->copying));
    else if (job->staged)
        return issue_pieces(self, job);
    else
        CUDA_CALL(cudaMemcpyAsync(job->to, job->from, job->bytes, cudaMemcpyHostToDevice,
                                  self->copying));
    return true;
}

/* Queues what can be, in order, and takes in what has ended. */
static void pump(struct device_cuda *self)
{
    while (self->issued < self->started) {
        uint64_t next = self->issued + 1;
        if (!issue(self, &self->job[next % JOBS]))
            break;
        CUDA_CALL(cudaEventRecord(self->ended_event[next % JOBS], self->copying));
        self->issued = next;
    }
    while (self->ended < self->issued && is_done(self->ended_event[(self->ended + 1) % JOBS])) {
        self->ended++;
        self->copies_ended = self->ticket[self->ended % JOBS];
    }
}

/* The time for one more question, or a rest before it. */
static void rest(uint64_t begin_ns)
{
    struct timespec nap = {0, SLEEP_NS};
    if (clock_now_ns() - begin_ns < SPIN_NS)
        sched_yield();
    else
        nanosleep(&nap, NULL);
}

/* Until every job is done. */
static void drain(struct device_cuda *self)
{
    pump(self);
    for (uint64_t begin = clock_now_ns(); self->ended < self->started; pump(self))
        rest(begin);
}

/* There is room for it. */
static void start(struct device_cuda *self, const struct job *job)
{
    uint64_t number = ++self->started;
    self->job[number % JOBS] = *job;
    if (job->from)
        self->copies++;
    self->ticket[number % JOBS] = self->copies;
    pump(self);
}

static uint64_t cuda_copy(struct device *device, void *to, const void *from, size_t bytes,
                          uint64_t after)
{
    struct device_cuda *self = enter(device);
    if (self->started - self->ended == JOBS)
        pump(self);
    if (self->started - self->ended == JOBS)
        return 0;
    struct job job = {};
    job.to = (uint8_t *)to;
    job.from = (const uint8_t *)from;
    job.bytes = bytes;
    job.after = after;
    job.staged = !device_cuda_pins_hold(&self->pins, from, bytes);
    start(self, &job);
    return self->copies;
}

static void cuda_fill(struct device *device, void *to, uint8_t byte, size_t bytes, uint64_t after)
{
    struct device_cuda *self = enter(device);
    for (uint64_t begin = clock_now_ns(); self->started - self->ended == JOBS; pump(self))
        rest(begin);
    struct job job = {};
    job.to = (uint8_t *)to;
    job.byte = byte;
    job.bytes = bytes;
    job.after = after;
    start(self, &job);
}

static uint64_t cuda_poll(struct device *device, uint64_t seen, uint64_t wait_ns)
{
    struct device_cuda *self = enter(device);
    pump(self);
    if (wait_ns == 0 || self->copies_ended > seen)
        return self->copies_ended;
    uint64_t begin = clock_now_ns();
    while (self->copies_ended <= seen && self->copies_ended < self->copies &&
           clock_now_ns() - begin < wait_ns) {
        rest(begin);
        pump(self);
    }
    return self->copies_ended;
}

/* --- Memory --------------------------------------------------------------------------------- */

/* cudaMalloc, where lack of memory is an answer. */
static void *take(size_t bytes)
{
    void *memory = NULL;
    cudaError_t error = cudaMalloc(&memory, bytes);
    if (error == cudaErrorMemoryAllocation) {
        (void)cudaGetLastError();
        return NULL;
    }
    CUDA_CALL(error);
    return memory;
}

static void *cuda_alloc(struct device *device, size_t bytes)
{
    struct device_cuda *self = enter(device);
    if (bytes == 0 || bytes > SIZE_MAX - ALIGNMENT)
        return NULL;
    struct allocation *allocation = (struct allocation *)malloc(sizeof *allocation);
    if (!allocation)
        return NULL;
    allocation->raw = take(bytes);
    if ((uintptr_t)allocation->raw % ALIGNMENT != 0) { /* small ones are aligned to 256 only */
        CUDA_CALL(cudaFree(allocation->raw));
        allocation->raw = take(bytes + ALIGNMENT);
    }
    if (!allocation->raw) {
        free(allocation);
        return NULL;
    }
    allocation->base = (void *)bytes_align_up((uintptr_t)allocation->raw, ALIGNMENT);
    allocation->next = self->allocations;
    self->allocations = allocation;
    return allocation->base;
}

/* Fills may still be queued, and kernels that were launched before may still read. */
static void cuda_release(struct device *device, void *memory)
{
    struct device_cuda *self = enter(device);
    struct allocation **at = &self->allocations;
    while (*at && (*at)->base != memory)
        at = &(*at)->next;
    struct allocation *allocation = *at;
    CHECK_MSG(allocation, "%p is nothing that this device gave", memory);
    drain(self);
    CUDA_CALL(cudaStreamSynchronize(self->computing));
    CUDA_CALL(cudaFree(allocation->raw));
    *at = allocation->next;
    free(allocation);
}

/* The rate of the staged path: some copies from ordinary memory, through a small piece of device
 * memory, where there is one. */
static void measure_staged(struct device_cuda *self)
{
    const uint64_t enough_ns = 15000000;
    size_t bytes = self->stage_bytes * STAGES;
    uint8_t *from = (uint8_t *)malloc(bytes);
    void *to = from ? cuda_alloc(&self->device, bytes) : NULL;
    if (to) {
        memset(from, 1, bytes);
        drain(self);
        uint64_t begin = clock_now_ns(), now, moved = 0;
        do {
            cuda_copy(&self->device, to, from, bytes, 0);
            drain(self);
            moved += bytes;
            now = clock_now_ns();
        } while (now - begin < enough_ns);
        self->rates.staged = now > begin ? (double)moved * 1e9 / (double)(now - begin) : 0;
        cuda_release(&self->device, to);
    }
    free(from);
}

static bool cuda_pin(struct device *device, void *base, size_t bytes)
{
    struct device_cuda *self = enter(device);
    if (device_cuda_pins_add(&self->pins, base, bytes))
        return true;
    if (self->measure && self->rates.staged == 0)
        measure_staged(self);
    return false;
}

static void cuda_unpin(struct device *device, void *base)
{
    struct device_cuda *self = enter(device);
    drain(self);
    device_cuda_pins_remove(&self->pins, base);
}

static struct device_rates cuda_rates(struct device *device)
{
    return ((struct device_cuda *)device)->rates;
}

/* --- Opening and closing --------------------------------------------------------------------- */

/* Of a device that was opened in part, too. */
static void close_parts(struct device_cuda *self)
{
    while (self->allocations)
        cuda_release(&self->device, self->allocations->base);
    device_cuda_pins_close(&self->pins);
    for (struct stage &stage : self->stage) {
        if (stage.free)
            CUDA_CALL(cudaEventDestroy(stage.free));
        if (stage.bytes)
            CUDA_CALL(cudaFreeHost(stage.bytes));
    }
    for (cudaEvent_t event : self->fence_event)
        if (event)
            CUDA_CALL(cudaEventDestroy(event));
    for (cudaEvent_t event : self->ended_event)
        if (event)
            CUDA_CALL(cudaEventDestroy(event));
    if (self->copying)
        CUDA_CALL(cudaStreamDestroy(self->copying));
    if (self->computing)
        CUDA_CALL(cudaStreamDestroy(self->computing));
    free(self);
}

static void cuda_close(struct device *device)
{
    struct device_cuda *self = enter(device);
    drain(self);
    CUDA_CALL(cudaStreamSynchronize(self->computing));
    close_parts(self);
}

static const struct device_ops cuda_ops = {
    "cuda",      /* name */
    false,       /* host_visible */
    cuda_alloc,  cuda_release, cuda_pin,   cuda_unpin,   cuda_copy,  cuda_fill,
    cuda_poll,   cuda_fence,   cuda_reached, cuda_rates, cuda_close,
};

/* What a machine answers that cannot run this, as a sentence. */
static enum status refuse(struct error *error, const char *call, cudaError_t cause)
{
    (void)cudaGetLastError();
    enum status status =
        cause == cudaErrorMemoryAllocation ? STATUS_NO_MEMORY : STATUS_UNSUPPORTED;
    return error_set(error, status, "%s: %s (%s); %s", call, cudaGetErrorString(cause),
                     cudaGetErrorName(cause), cuda_call_advice(cause));
}

uint32_t device_cuda_count(struct error *why)
{
    int count = 0;
    cudaError_t cause = cudaGetDeviceCount(&count);
    if (cause == cudaSuccess && count > 0)
        return (uint32_t)count;
    (void)cudaGetLastError();
    if (cause == cudaErrorInsufficientDriver)
        error_set(why, STATUS_UNSUPPORTED,
                  "no NVIDIA driver, or one that is older than this program's CUDA %d.%d",
                  CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10);
    else if (cause == cudaSuccess || cause == cudaErrorNoDevice)
        error_set(why, STATUS_NOT_FOUND, "the driver finds no CUDA device");
    else
        refuse(why, "cudaGetDeviceCount", cause);
    return 0;
}

static enum status check_ordinal(uint32_t ordinal, struct error *error)
{
    struct error why = {};
    uint32_t count = device_cuda_count(&why);
    if (count == 0)
        return error_set(error, STATUS_NOT_FOUND, "there is no CUDA device %u: %s", ordinal,
                         why.text);
    if (ordinal >= count)
        return error_set(error, STATUS_NOT_FOUND,
                         "there is no CUDA device %u; this machine has %u, the last is cuda:%u",
                         ordinal, count, count - 1);
    return STATUS_OK;
}

#define TRY(call)                                                                                  \
    do {                                                                                           \
        cudaError_t try_error = (call);                                                            \
        if (try_error != cudaSuccess)                                                              \
            return refuse(error, #call, try_error);                                                \
    } while (0)

static enum status open_parts(struct device_cuda *self, struct error *error)
{
    const unsigned blocking = cudaEventDisableTiming | cudaEventBlockingSync;
    int least, greatest;
    TRY(cudaSetDevice(self->ordinal));
    TRY(cudaFree(NULL)); /* makes the context */
    TRY(device_cuda_kernel_image());
    TRY(cudaDeviceGetStreamPriorityRange(&least, &greatest));
    TRY(cudaStreamCreateWithPriority(&self->copying, cudaStreamNonBlocking, greatest));
    TRY(cudaStreamCreateWithPriority(&self->computing, cudaStreamNonBlocking, least));
    for (cudaEvent_t &event : self->ended_event)
        TRY(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    for (cudaEvent_t &event : self->fence_event)
        TRY(cudaEventCreateWithFlags(&event, blocking));
    for (struct stage &stage : self->stage) {
        void *bytes;
        TRY(cudaEventCreateWithFlags(&stage.free, cudaEventDisableTiming));
        TRY(cudaHostAlloc(&bytes, self->stage_bytes, cudaHostAllocPortable));
        stage.bytes = (uint8_t *)bytes;
    }
    return STATUS_OK;
}

static void measure(struct device_cuda *self)
{
    struct device_cuda_link link = {};
    link.copy = self->copying;
    link.compute = self->computing;
    link.pinned = self->stage[0].bytes;
    link.bytes = self->stage_bytes;
    int processors;
    CUDA_CALL(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, self->ordinal));
    link.processors = (uint32_t)processors;
    device_cuda_measure(&link, &self->rates.idle, &self->rates.loaded);
}

enum status device_cuda_open(struct device **out, const struct device_cuda_config *config,
                             struct error *error)
{
    *out = NULL;
    enum status status = check_ordinal(config->ordinal, error);
    if (status)
        return status;
    struct device_cuda *self = (struct device_cuda *)calloc(1, sizeof *self);
    if (!self)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a CUDA device");
    self->device.ops = &cuda_ops;
    self->ordinal = (int)config->ordinal;
    self->stage_bytes = config->stage_bytes ? config->stage_bytes : STAGE_BYTES;
    self->measure = config->measure;
    status = open_parts(self, error);
    if (status) {
        error_prefix(error, "cannot use cuda:%u", config->ordinal);
        close_parts(self);
        return status;
    }
    if (config->measure)
        measure(self);
    *out = &self->device;
    return STATUS_OK;
}

void device_cuda_describe(struct device *device, struct device_cuda_info *out)
{
    struct device_cuda *self = enter(device);
    struct cudaDeviceProp properties;
    size_t free_bytes, total_bytes;
    CUDA_CALL(cudaGetDeviceProperties(&properties, self->ordinal));
    CUDA_CALL(cudaMemGetInfo(&free_bytes, &total_bytes));
    *out = {};
    snprintf(out->name, sizeof out->name, "%.127s", properties.name);
    out->major = (uint32_t)properties.major;
    out->minor = (uint32_t)properties.minor;
    out->processors = (uint32_t)properties.multiProcessorCount;
    out->total_bytes = total_bytes;
    out->free_bytes = free_bytes;
}

void *device_cuda_stream(struct device *device)
{
    return ((struct device_cuda *)device)->computing;
}
