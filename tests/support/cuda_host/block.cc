/* See block.h. The state of the block that is running is one object: threadIdx and the collectives
 * are free functions in the device language and must find it without being handed anything. */
#include "tests/support/cuda_host/block.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cuda_host/fibre.h"
#include "tests/support/cuda_host/include/cuda_host_device.h"
#include "tests/support/cuda_host/include/mma.h"
#include "tests/support/cuda_host/random.h"
#include "tests/support/cuda_host/symbol.h"
#include "tests/support/cuda_host/warp.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(base, bytes) ((void)(base), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(base, bytes) ((void)(base), (void)(bytes))
#endif

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace cuda_host {

namespace {

const unsigned WARPS_MAX = 32;
const size_t DYNAMIC_SHARED_MAX = 227 << 10;

struct running_block {
    const struct grid_launch *launch = nullptr;
    struct warp warps[WARPS_MAX];
    unsigned warp_count = 0;
    uint32_t ready_warps = 0;    /* those with a ready lane */
    unsigned alive = 0;          /* threads that have not returned */
    unsigned warp = 0, lane = 0; /* the thread that runs */

    unsigned arrived = 0; /* at the barrier */
    int barrier_line = 0;
    struct cuda_host_votes counting = {}, counted = {}; /* this barrier's, the last one's */
    unsigned left_after_barrier = 0; /* threads that returned having met a barrier before */

    struct random random;
    struct fibre caller;
    struct fibre *current = nullptr;
    struct fibre *parked[WARPS_MAX * 32]; /* fibres without a thread */
    unsigned parked_count = 0;
    unsigned char *dynamic_shared = nullptr;
};

struct running_block now;

void describe_warp(unsigned index)
{
    const struct warp *w = &now.warps[index];
    fprintf(stderr, "  warp %u: returned %08x, at the barrier %08x, in a warp collective %08x",
            index, w->exited, w->at_barrier, w->met);
    for (unsigned lane = 0; lane < 32; lane++)
        if (w->met >> lane & 1) {
            fprintf(stderr, " (lane %u: %s of mask %08x, line %d)", lane,
                    warp_meeting_name(w->deposits[lane].meeting), w->deposits[lane].mask,
                    w->deposits[lane].line);
            break;
        }
    fprintf(stderr, "\n");
}

[[noreturn]] void report(const char *format, ...) __attribute__((format(printf, 1, 2)));
[[noreturn]] void report(const char *format, ...)
{
    va_list args;
    fprintf(stderr, "cuda_host: kernel %s, block (%u,%u,%u), thread (%u,%u,%u): ",
            symbol_name(now.launch->kernel).c_str(), blockIdx.x, blockIdx.y, blockIdx.z,
            threadIdx.x, threadIdx.y, threadIdx.z);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    for (unsigned i = 0; i < now.warp_count; i++)
        describe_warp(i);
    fflush(stderr);
    abort();
}

inline void make_ready(unsigned index, uint32_t lanes)
{
    now.warps[index].ready |= lanes;
    now.ready_warps |= lanes ? 1u << index : 0;
}

/* Makes (warp, lane) the thread that runs. */
void set_thread(unsigned warp, unsigned lane)
{
    unsigned linear = warp * 32 + lane;
    now.warp = warp;
    now.lane = lane;
    if (blockDim.y == 1 && blockDim.z == 1) {
        threadIdx.x = linear;
        threadIdx.y = threadIdx.z = 0;
        return;
    }
    threadIdx.x = linear % blockDim.x;
    threadIdx.y = linear / blockDim.x % blockDim.y;
    threadIdx.z = linear / (blockDim.x * blockDim.y);
}

/* Draws the next thread and takes it out of the ready ones: the present warp while it has ready
 * lanes, now and then and otherwise another. False: nobody is ready. */
bool pick(bool other_warp)
{
    if (!now.ready_warps)
        return false;
    unsigned index = now.warp;
    if (other_warp || !now.warps[index].ready)
        index = warp_draw(now.ready_warps, random_next(&now.random));
    struct warp *w = &now.warps[index];
    unsigned lane = warp_draw(w->ready, w->order);
    w->ready &= ~(1u << lane);
    if (!w->ready)
        now.ready_warps &= ~(1u << index);
    set_thread(index, lane);
    return true;
}

void release_barrier()
{
    now.counted = now.counting;
    now.counting = {1, 0, 0};
    now.arrived = 0;
    for (unsigned i = 0; i < now.warp_count; i++) {
        struct warp *w = &now.warps[i];
        uint32_t released = w->at_barrier;
        w->at_barrier = 0;
        w->order = random_next(&now.random);
        make_ready(i, released);
    }
}

/* The running thread has returned. */
void thread_exit()
{
    struct warp *w = &now.warps[now.warp];
    uint32_t bit = 1u << now.lane;
    w->exited |= bit;
    now.alive--;
    if (w->met && warp_waits_for(w, bit))
        report("returned while lanes of its warp wait for it");
    if (w->passed & bit)
        now.left_after_barrier++;
    if (!now.arrived)
        return;
    if (w->passed & bit)
        report("returned after an earlier barrier; others wait at the one of line %d",
               now.barrier_line);
    if (now.arrived == now.alive)
        release_barrier();
}

void fibre_body();

/* The running thread stops here; the thread that pick() chose goes on. */
void continue_picked()
{
    struct fibre *self = now.current, **slot = &now.warps[now.warp].fibres[now.lane];
    if (!*slot) {
        *slot = now.parked_count ? now.parked[--now.parked_count] : fibre_open(fibre_body);
    }
    if (*slot == self)
        return;
    now.current = *slot;
    fibre_switch(self, now.current);
}

[[noreturn]] void report_stuck()
{
    report("no thread of the block can go on: %u of %u wait at the barrier of line %d", now.arrived,
           now.alive, now.barrier_line);
}

void wait_for_turn(bool other_warp)
{
    if (!pick(other_warp))
        report_stuck();
    continue_picked();
}

void fibre_body()
{
    for (;;) {
        now.launch->thread();
        struct fibre *self = now.current;
        now.warps[now.warp].fibres[now.lane] = nullptr;
        thread_exit();
        if (!pick(false)) {
            if (now.alive)
                report_stuck();
            now.parked[now.parked_count++] = self;
            now.current = &now.caller;
            fibre_switch(self, &now.caller);
            continue;
        }
        struct fibre **slot = &now.warps[now.warp].fibres[now.lane];
        if (!*slot) {
            *slot = self; /* not begun: it runs here */
            continue;
        }
        now.parked[now.parked_count++] = self;
        now.current = *slot;
        fibre_switch(self, now.current);
    }
}

void block_run(const struct grid_launch *launch)
{
    unsigned threads = launch->block.x * launch->block.y * launch->block.z;
    now.warp_count = (threads + 31) / 32;
    now.alive = threads;
    now.ready_warps = 0;
    now.arrived = 0;
    now.counting = {1, 0, 0};
    now.left_after_barrier = 0;
    for (unsigned i = 0; i < now.warp_count; i++) {
        unsigned lanes = threads - i * 32 < 32 ? threads - i * 32 : 32;
        warp_init(&now.warps[i], lanes == 32 ? ~0u : (1u << lanes) - 1, random_next(&now.random));
        make_ready(i, now.warps[i].exists);
    }
    memset(now.dynamic_shared, 0xff, launch->dynamic_shared_bytes);
    for (const struct shared_range &range : *launch->static_shared)
        memset(range.base, 0xff, range.bytes);
    now.current = &now.caller;
    pick(true);
    continue_picked();
}

} // namespace

void grid_run(const struct grid_launch *launch)
{
    if (!now.dynamic_shared)
        now.dynamic_shared = static_cast<unsigned char *>(aligned_alloc(1024, DYNAMIC_SHARED_MAX));
    now.launch = launch;
    gridDim = launch->grid;
    blockDim = launch->block;
    random_init(&now.random, launch->seed);
    fibre_adopt(&now.caller);
    size_t bytes = launch->dynamic_shared_bytes;
    ASAN_POISON_MEMORY_REGION(now.dynamic_shared, DYNAMIC_SHARED_MAX);
    ASAN_UNPOISON_MEMORY_REGION(now.dynamic_shared, bytes);
    uint64_t blocks = (uint64_t)gridDim.x * gridDim.y * gridDim.z;
    uint64_t first = random_next(&now.random) % blocks;
    bool backwards = random_next(&now.random) & 1;
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t block = (first + (backwards ? blocks - i : i)) % blocks;
        blockIdx.x = (unsigned)(block % gridDim.x);
        blockIdx.y = (unsigned)(block / gridDim.x % gridDim.y);
        blockIdx.z = (unsigned)(block / ((uint64_t)gridDim.x * gridDim.y));
        block_run(launch);
    }
    now.launch = nullptr;
}

} // namespace cuda_host

using namespace cuda_host;

uint64_t cuda_host_meet(unsigned mask, enum cuda_host_meeting meeting, uint64_t value,
                        unsigned source, int line)
{
    struct warp *w = &now.warps[now.warp];
    uint32_t bit = 1u << now.lane;
    struct warp_deposit *mine = &w->deposits[now.lane];
    if (!(mask & bit))
        report("line %d: a warp collective whose mask %08x leaves the caller out", line, mask);
    if (mask & (w->exited | ~w->exists))
        report(
            "line %d: a warp collective of mask %08x with lanes that have returned or never were",
            line, mask);
    *mine = {mask, meeting, source, line, value};
    w->met |= bit;
    if ((w->met & mask) != mask) {
        wait_for_turn(false);
        return mine->value;
    }
    if (!warp_complete(w, mask, meeting))
        report("line %d: lanes of mask %08x meet in different collectives", line, mask);
    w->met &= ~mask;
    uint32_t dice = random_next(&now.random);
    w->order = dice;
    if (dice >> 28 != 0) {
        make_ready(now.warp, mask & ~bit);
        return mine->value;
    }
    make_ready(now.warp, mask);
    wait_for_turn(true);
    return mine->value;
}

struct cuda_host_votes cuda_host_barrier(int predicate, int line)
{
    struct warp *w = &now.warps[now.warp];
    uint32_t bit = 1u << now.lane;
    if (now.left_after_barrier)
        report("waits at the barrier of line %d; %u threads have met an earlier one and returned",
               line, now.left_after_barrier);
    if (now.arrived && now.barrier_line != line)
        report("waits at the barrier of line %d, others at the one of line %d", line,
               now.barrier_line);
    now.barrier_line = line;
    now.arrived++;
    now.counting.all &= predicate != 0;
    now.counting.any |= predicate != 0;
    now.counting.count += predicate != 0;
    w->passed |= bit;
    w->at_barrier |= bit;
    if (now.arrived == now.alive)
        release_barrier();
    wait_for_turn(true);
    return now.counted;
}

unsigned cuda_host_lane(void) { return now.lane; }

void *cuda_host_dynamic_shared(void) { return now.dynamic_shared; }

void cuda_host_yield(void)
{
    make_ready(now.warp, 1u << now.lane);
    wait_for_turn(true);
}

void cuda_host_trap(void) { report("__trap()"); }

void cuda_host_tile_refused(const void *pointer, unsigned stride)
{
    report("a matrix tile at %p with stride %u: the address must be a multiple of 32 bytes, the "
           "stride one of 16 bytes",
           pointer, stride);
}
