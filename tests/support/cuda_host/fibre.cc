/* See fibre.h. On x86-64 the switch saves the registers that a called function must keep, and no
 * more; elsewhere swapcontext() does it, at the price of two system calls. */
#include "tests/support/cuda_host/fibre.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

#if defined(__x86_64__)
/* void cuda_host_fibre_jump(void **stopped, void *continued) */
__asm__(".text\n"
        ".p2align 4\n"
        ".globl cuda_host_fibre_jump\n"
        ".type cuda_host_fibre_jump, @function\n"
        "cuda_host_fibre_jump:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    movq %rsp, (%rdi)\n"
        "    movq %rsi, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size cuda_host_fibre_jump, . - cuda_host_fibre_jump\n");
extern "C" void cuda_host_fibre_jump(void **stopped, void *continued);
#endif

namespace cuda_host {

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
const size_t STACK_BYTES = 256 << 10; /* instrumented frames are wide */
#else
const size_t STACK_BYTES = 128 << 10;
#endif

/* Where the stacks begin differs by a few cache lines from fibre to fibre: at equal places in their
 * pages the lanes of a warp would push each other out of the processor's first cache. */
const size_t STAGGER_BYTES = 320, STAGGERS = 64;

struct fibre *arriving; /* the fibre that a switch goes to; the runtime's lock is held */

/* On the far side of a switch. */
void arrive(struct fibre *self)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(self->fake_stack, nullptr, nullptr);
#endif
}

void begin()
{
    struct fibre *self = arriving;
    arrive(self);
    self->entry();
    abort();
}

/* Lays out the stack so that the first switch to it returns into begin(). */
void prepare(struct fibre *fibre, char *stack, size_t bytes)
{
#if defined(__x86_64__)
    const size_t saved = 6; /* registers that the switch pops */
    void **top = reinterpret_cast<void **>(stack + bytes) - 2 * (saved + 1);
    top[saved] = reinterpret_cast<void *>(begin); /* begin's own return address, above, is null */
    fibre->stopped = top;
#else
    if (getcontext(&fibre->stopped) != 0)
        abort();
    fibre->stopped.uc_stack.ss_sp = stack;
    fibre->stopped.uc_stack.ss_size = bytes;
    fibre->stopped.uc_link = nullptr;
    makecontext(&fibre->stopped, begin, 0);
#endif
}

} // namespace

struct fibre *fibre_open(void (*entry)())
{
    static size_t opened = 0; /* the runtime's lock is held */
    size_t page = (size_t)sysconf(_SC_PAGESIZE), stagger = opened++ % STAGGERS * STAGGER_BYTES;
    void *mapped = mmap(nullptr, STACK_BYTES + page, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (mapped == MAP_FAILED || mprotect(mapped, page, PROT_NONE) != 0) {
        perror("cuda_host: no memory for a fibre's stack");
        abort();
    }
    struct fibre *fibre = new struct fibre;
    char *stack = static_cast<char *>(mapped) + page;
    fibre->stack = stack;
    fibre->stack_bytes = STACK_BYTES;
    fibre->entry = entry;
    prepare(fibre, stack, STACK_BYTES - stagger);
#if defined(__SANITIZE_THREAD__)
    fibre->tsan = __tsan_create_fiber(0);
#endif
    return fibre;
}

void fibre_adopt(struct fibre *thread)
{
#if defined(__SANITIZE_ADDRESS__)
    static thread_local void *stack;
    static thread_local size_t stack_bytes;
    pthread_attr_t attr;
    if (!stack && pthread_getattr_np(pthread_self(), &attr) == 0) {
        pthread_attr_getstack(&attr, &stack, &stack_bytes);
        pthread_attr_destroy(&attr);
    }
    thread->stack = stack;
    thread->stack_bytes = stack_bytes;
#endif
#if defined(__SANITIZE_THREAD__)
    thread->tsan = __tsan_get_current_fiber();
#endif
    thread->fake_stack = nullptr;
}

void fibre_switch(struct fibre *from, struct fibre *to)
{
    arriving = to;
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->stack_bytes);
#endif
#if defined(__SANITIZE_THREAD__)
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
#if defined(__x86_64__)
    cuda_host_fibre_jump(&from->stopped, to->stopped);
#else
    swapcontext(&from->stopped, &to->stopped);
#endif
    arrive(from);
}

} // namespace cuda_host
