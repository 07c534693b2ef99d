/* One launch on the CPU: blocks one after another, the threads of a block as fibres.
 *
 * A thread runs until it meets a collective. At a warp's collective it leaves its value and the
 * next lane runs; the last lane to arrive computes every lane's result, so a shuffle costs one
 * switch per lane. At the block's barrier the last thread to arrive releases all. A thread that
 * ends hands its fibre to the next one that has not begun: a kernel without collectives is a loop.
 *
 * Which lane, which warp and which block comes next is drawn from the seed. A kernel whose threads
 * can never all go on stops the program with one report: kernel, block, who waits where. */
#ifndef CUDA_HOST_BLOCK_H
#define CUDA_HOST_BLOCK_H

#include <functional>
#include <stddef.h>
#include <stdint.h>
#include <vector>

#include "tests/support/cuda_host/include/vector_types.h"

namespace cuda_host {

/* A stretch of bytes that holds garbage when a block begins. */
struct shared_range {
    void *base;
    size_t bytes;
};

struct grid_launch {
    const void *kernel;
    dim3 grid, block;
    size_t dynamic_shared_bytes;
    std::function<void()> thread;
    const std::vector<struct shared_range> *static_shared;
    uint64_t seed;
};

/* Runs every thread of every block. One launch at a time; the caller holds the runtime's lock. */
void grid_run(const struct grid_launch *launch);

} // namespace cuda_host

#endif
