/* Fresh memory costs on its first touch: the kernel clears it, and on a virtual machine the host
 * has to find it first (0.3 to 2 seconds for each GiB, README.md). A ring that is read into before
 * it was touched pays that inside each of its first misses; one that is touched inside open makes
 * the first token wait for memory that it does not need. So a thread touches it from behind, at the
 * lowest priority: while a model loads, a processor is mostly waiting for storage. What is needed
 * sooner is touched by its read, as without this.
 *
 * The kernel does it by MADV_POPULATE_WRITE, which changes no byte and so may meet reads that write
 * there. Kernels before 5.14 have none: then nothing is touched early. In pieces, because a piece
 * holds the address space's lock for reading, and what else maps memory waits for it.
 *
 * The stretches and the flag `stop` are all that is shared. */
#include "memory/touch.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "memory/base/bytes.h"
#include "memory/base/clock.h"
#include "memory/base/log.h"

#define TOUCH_PIECE_BYTES (4 * BYTES_MIB)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

struct touch {
    pthread_t thread;
    bool joined;
    atomic_bool stop;
    uint32_t count;
    struct touch_stretch stretch[];
};

/* How many bytes were touched before it was stopped or refused; *cause: why, 0: it was not. */
static uint64_t touch_all(struct touch *touch, int *cause)
{
    uint64_t bytes = 0;
    *cause = 0;
    for (uint32_t i = 0; i < touch->count; i++) {
        const struct touch_stretch *stretch = &touch->stretch[i];
        for (uint64_t at = 0; at < stretch->bytes; at += TOUCH_PIECE_BYTES) {
            uint64_t left = stretch->bytes - at;
            uint64_t piece = left < TOUCH_PIECE_BYTES ? left : TOUCH_PIECE_BYTES;
            if (atomic_load(&touch->stop))
                return bytes;
            if (madvise(stretch->base + at, piece, MADV_POPULATE_WRITE) != 0) {
                *cause = errno;
                return bytes;
            }
            bytes += piece;
        }
    }
    return bytes;
}

static void *run(void *arg)
{
    struct touch *touch = arg;
    char text[32], unknown[64];
    int cause;
    struct sched_param lowest = {.sched_priority = 0};
    pthread_setname_np(pthread_self(), "moering-touch"); /* what top -H shows */
    pthread_setschedparam(pthread_self(), SCHED_IDLE, &lowest); /* a wish */
    uint64_t begin = clock_now_ns(), bytes = touch_all(touch, &cause);
    double seconds = (double)(clock_now_ns() - begin) / 1e9;
    if (cause && cause != EINVAL)
        log_warn("memory: the system refuses to back more than %s of the slots: %s",
                 bytes_format(bytes, text, sizeof text),
                 strerror_r(cause, unknown, sizeof unknown));
    else if (bytes > 0)
        log_info("memory: %s of slots touched in %.1f s, %.2f s for each GiB",
                 bytes_format(bytes, text, sizeof text), seconds,
                 seconds * (double)BYTES_GIB / (double)bytes);
    return NULL;
}

enum status touch_start(struct touch **out, const struct touch_stretch *stretches, uint32_t count,
                        struct error *error)
{
    *out = NULL;
    struct touch *touch = calloc(1, sizeof *touch + count * sizeof touch->stretch[0]);
    if (!touch)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a list of %u stretches", count);
    atomic_init(&touch->stop, false);
    touch->count = count;
    if (count > 0)
        memcpy(touch->stretch, stretches, count * sizeof *stretches);
    sigset_t all, before; /* signals are the main thread's */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int cause = pthread_create(&touch->thread, NULL, run, touch);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (cause) {
        free(touch);
        return error_set(error, STATUS_IO, "cannot start a thread to touch memory: %s",
                         strerror(cause));
    }
    *out = touch;
    return STATUS_OK;
}

void touch_wait(struct touch *touch)
{
    pthread_join(touch->thread, NULL);
    touch->joined = true;
}

void touch_stop(struct touch *touch)
{
    if (!touch)
        return;
    atomic_store(&touch->stop, true);
    if (!touch->joined)
        touch_wait(touch);
    free(touch);
}
