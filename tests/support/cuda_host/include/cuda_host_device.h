/* The device language as plain C++: qualifiers, indices, barriers and warp collectives. Atomics and
 * arithmetic are in cuda_host_math.h.
 *
 * A thread of a block is a fibre (../fibre.h). It runs until it meets a collective, so everything
 * else in a kernel is ordinary code at ordinary speed. The index variables are plain globals that
 * the scheduler sets whenever it switches: one block runs at a time, on one thread at a time. */
#ifndef CUDA_HOST_DEVICE_H
#define CUDA_HOST_DEVICE_H

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cuda_host_math.h"
#include "vector_types.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
/* Blocks run one after another, so one copy of a block's shared memory serves them all. */
#define __shared__ static

extern uint3 threadIdx;
extern uint3 blockIdx;
extern dim3 blockDim;
extern dim3 gridDim;
static const int warpSize = 32;

/* What lanes do together; the last to arrive does it for all of them. */
enum cuda_host_meeting {
    CUDA_HOST_SYNC,
    CUDA_HOST_SHUFFLE,
    CUDA_HOST_BALLOT,
    CUDA_HOST_MATCH_ANY,
    CUDA_HOST_ADD,
    CUDA_HOST_MIN_UNSIGNED,
    CUDA_HOST_MAX_UNSIGNED,
    CUDA_HOST_MIN_SIGNED,
    CUDA_HOST_MAX_SIGNED,
    CUDA_HOST_AND,
    CUDA_HOST_OR,
    CUDA_HOST_XOR,
    CUDA_HOST_MMA,
};
/* Deposits `value`, waits for the lanes of `mask`, returns this lane's share: for a shuffle the
 * value of lane `source`, otherwise the reduction over `mask`. */
uint64_t cuda_host_meet(unsigned mask, enum cuda_host_meeting meeting, uint64_t value,
                        unsigned source, int line);
struct cuda_host_votes {
    unsigned all, any, count;
};
/* The barrier of the block; `line` tells one barrier from another. */
struct cuda_host_votes cuda_host_barrier(int predicate, int line);
unsigned cuda_host_lane(void);
/* The block's dynamic shared memory, aligned to 16 bytes and more. */
void *cuda_host_dynamic_shared(void);
/* Lets the other threads of the block run. */
void cuda_host_yield(void);
[[noreturn]] void cuda_host_trap(void);

static inline void __syncthreads(int line = __builtin_LINE()) { cuda_host_barrier(0, line); }
static inline int __syncthreads_or(int predicate, int line = __builtin_LINE())
{
    return (int)cuda_host_barrier(predicate, line).any;
}
static inline int __syncthreads_and(int predicate, int line = __builtin_LINE())
{
    return (int)cuda_host_barrier(predicate, line).all;
}
static inline int __syncthreads_count(int predicate, int line = __builtin_LINE())
{
    return (int)cuda_host_barrier(predicate, line).count;
}

static inline void __syncwarp(unsigned mask = 0xffffffffu, int line = __builtin_LINE())
{
    cuda_host_meet(mask, CUDA_HOST_SYNC, 0, 0, line);
}

template <typename T>
static inline T cuda_host_shuffle(unsigned mask, T value, unsigned source, int line)
{
    static_assert(sizeof(T) <= sizeof(uint64_t), "a shuffle moves up to eight bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = cuda_host_meet(mask, CUDA_HOST_SHUFFLE, bits, source, line);
    T result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

/* A source outside the lane's segment of `width` lanes is the lane itself. */
template <typename T>
static inline T __shfl_sync(unsigned mask, T value, int source, int width = 32,
                            int line = __builtin_LINE())
{
    unsigned segment = cuda_host_lane() & ~(unsigned)(width - 1);
    return cuda_host_shuffle(mask, value, segment | ((unsigned)source & (unsigned)(width - 1)),
                             line);
}

template <typename T>
static inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                                int line = __builtin_LINE())
{
    unsigned lane = cuda_host_lane(), source = lane ^ (unsigned)lane_mask;
    unsigned last = lane | (unsigned)(width - 1);
    return cuda_host_shuffle(mask, value, source <= last ? source : lane, line);
}

template <typename T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                                 int line = __builtin_LINE())
{
    unsigned lane = cuda_host_lane(), last = lane | (unsigned)(width - 1);
    return cuda_host_shuffle(mask, value, lane + delta <= last ? lane + delta : lane, line);
}

template <typename T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                               int line = __builtin_LINE())
{
    unsigned lane = cuda_host_lane(), first = lane & ~(unsigned)(width - 1);
    return cuda_host_shuffle(mask, value, lane >= first + delta ? lane - delta : lane, line);
}

static inline unsigned __ballot_sync(unsigned mask, int predicate, int line = __builtin_LINE())
{
    return (unsigned)cuda_host_meet(mask, CUDA_HOST_BALLOT, predicate != 0, 0, line);
}
static inline int __any_sync(unsigned mask, int predicate, int line = __builtin_LINE())
{
    return cuda_host_meet(mask, CUDA_HOST_BALLOT, predicate != 0, 0, line) != 0;
}
static inline int __all_sync(unsigned mask, int predicate, int line = __builtin_LINE())
{
    return cuda_host_meet(mask, CUDA_HOST_BALLOT, predicate != 0, 0, line) == mask;
}
template <typename T>
static inline unsigned __match_any_sync(unsigned mask, T value, int line = __builtin_LINE())
{
    static_assert(sizeof(T) <= sizeof(uint64_t), "a match compares up to eight bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    return (unsigned)cuda_host_meet(mask, CUDA_HOST_MATCH_ANY, bits, 0, line);
}

#define CUDA_HOST_REDUCE(name, type, meeting)                                                      \
    static inline type __reduce_##name##_sync(unsigned mask, type value,                           \
                                              int line = __builtin_LINE())                         \
    {                                                                                              \
        return (type)cuda_host_meet(mask, meeting, (uint64_t)value, 0, line);                      \
    }
CUDA_HOST_REDUCE(add, unsigned, CUDA_HOST_ADD)
CUDA_HOST_REDUCE(add, int, CUDA_HOST_ADD)
CUDA_HOST_REDUCE(min, unsigned, CUDA_HOST_MIN_UNSIGNED)
CUDA_HOST_REDUCE(min, int, CUDA_HOST_MIN_SIGNED)
CUDA_HOST_REDUCE(max, unsigned, CUDA_HOST_MAX_UNSIGNED)
CUDA_HOST_REDUCE(max, int, CUDA_HOST_MAX_SIGNED)
CUDA_HOST_REDUCE(and, unsigned, CUDA_HOST_AND)
CUDA_HOST_REDUCE(or, unsigned, CUDA_HOST_OR)
CUDA_HOST_REDUCE(xor, unsigned, CUDA_HOST_XOR)
#undef CUDA_HOST_REDUCE

/* No two lanes ever run at once: a mask built from this would name the caller alone. */
static inline unsigned __activemask(void) { return 1u << cuda_host_lane(); }

static inline void __threadfence(void) {}
static inline void __threadfence_block(void) {}
static inline void __threadfence_system(void) {}
static inline void __nanosleep(unsigned) { cuda_host_yield(); }
static inline void __trap(void) { cuda_host_trap(); }
static inline void cudaGridDependencySynchronize(void) {}
static inline void cudaTriggerProgrammaticLaunchCompletion(void) {}

#endif
