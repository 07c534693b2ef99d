/* Fibres: stacks that take turns on one thread. This file owns the stacks (mapped, with a guard
 * page below), the switch, and what the sanitizers must hear of it. A fibre never ends: whoever
 * runs out of work is parked and resumed with new work.
 *
 * The switch is a call that returns on another stack. That matters: a processor predicts where a
 * return goes from the calls it has seen, and a switch that leaves by a jump instead throws off
 * every return after it, which costs several times the switch itself. */
#ifndef CUDA_HOST_FIBRE_H
#define CUDA_HOST_FIBRE_H

#include <stddef.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace cuda_host {

struct fibre {
#if defined(__x86_64__)
    void *stopped = nullptr; /* its stack pointer while it does not run */
#else
    ucontext_t stopped;
#endif
    const void *stack = nullptr; /* lowest byte */
    size_t stack_bytes = 0;
    void (*entry)() = nullptr;
    void *fake_stack = nullptr; /* AddressSanitizer's, while stopped */
    void *tsan = nullptr;       /* ThreadSanitizer's name for it */
};

/* A new fibre that will call `entry` (which never returns) at the first switch to it. */
struct fibre *fibre_open(void (*entry)());
/* Makes `thread` stand for the stack of the calling thread. */
void fibre_adopt(struct fibre *thread);
/* Stops `from`, which must be the running one, and continues `to`. */
void fibre_switch(struct fibre *from, struct fibre *to);

} // namespace cuda_host

#endif
