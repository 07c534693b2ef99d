/* The kernel's ring, io_uring. The only file that knows liburing.
 *
 * Who waits here is woken through an eventfd: a read of it is always under way in the ring beside
 * the others, so its end wakes the waiter like any end, and a wake that comes before the wait is
 * not lost.
 *
 * Containers often forbid io_uring (a seccomp filter answers EPERM or ENOSYS, the system's own
 * switch kernel.io_uring_disabled EPERM), so opening one is the first thing tried and never taken
 * for granted. One thread, the reader's, calls everything but wake. */
#include "memory/io_ring.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "memory/base/check.h"

#define WAKE UINT64_MAX /* user_data of the read of the eventfd */
#define SHORT_OF_MEMORY_PAUSE_NS 1000000
/* A registered buffer is no longer than this (the kernel's limit). */
#define BUFFER_BYTES_MAX ((uint64_t)1 << 30)

struct uring_ring {
    struct io_ring ring;
    struct io_uring uring;
    bool made;
    bool registered; /* the buffers */
    uint32_t depth, under_way;
    int event;
    uint64_t event_value;
};

/* A place for one more read; there is one, since the ring is deep enough. */
static struct io_uring_sqe *take_entry(struct uring_ring *self)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&self->uring);
    CHECK(entry);
    return entry;
}

static void watch_event(struct uring_ring *self)
{
    struct io_uring_sqe *entry = take_entry(self);
    io_uring_prep_read(entry, self->event, &self->event_value, sizeof self->event_value, 0);
    entry->user_data = WAKE;
}

static void uring_read(struct io_ring *ring, const struct io_ring_read *read)
{
    struct uring_ring *self = (struct uring_ring *)ring;
    CHECK(self->under_way < self->depth);
    struct io_uring_sqe *entry = take_entry(self);
    if (self->registered && read->buffer != IO_RING_NO_BUFFER)
        io_uring_prep_read_fixed(entry, (int)read->file, read->to, read->bytes, read->offset,
                                 (int)read->buffer);
    else
        io_uring_prep_read(entry, (int)read->file, read->to, read->bytes, read->offset);
    entry->flags |= IOSQE_FIXED_FILE;
    entry->user_data = read->tag;
    self->under_way++;
}

/* Hands over what was put in and waits. The kernel may be out of memory for requests for a moment:
 * what it has not taken stays in the ring for the next time. */
static void enter(struct uring_ring *self, uint64_t wait_ns)
{
    struct io_uring_cqe *first;
    struct __kernel_timespec limit = {.tv_sec = (long long)(wait_ns / 1000000000u),
                                      .tv_nsec = (long long)(wait_ns % 1000000000u)};
    int n = wait_ns == 0 ? io_uring_submit(&self->uring)
            : wait_ns == UINT64_MAX
                ? io_uring_submit_and_wait(&self->uring, 1)
                : io_uring_submit_and_wait_timeout(&self->uring, &first, 1, &limit, NULL);
    if (n >= 0 || n == -ETIME || n == -EINTR)
        return;
    CHECK_MSG(n == -EAGAIN || n == -EBUSY || n == -ENOMEM, "io_uring: %s", strerror(-n));
    nanosleep(&(struct timespec){.tv_nsec = SHORT_OF_MEMORY_PAUSE_NS}, NULL);
}

static uint32_t uring_wait(struct io_ring *ring, struct io_ring_end *ends, uint32_t max,
                           uint64_t wait_ns)
{
    struct uring_ring *self = (struct uring_ring *)ring;
    struct io_uring_cqe *end;
    uint32_t n = 0;
    if (io_uring_cq_ready(&self->uring) > 0)
        wait_ns = 0;
    enter(self, wait_ns);
    while (n < max && io_uring_peek_cqe(&self->uring, &end) == 0) {
        uint64_t tag = end->user_data;
        int32_t result = end->res;
        io_uring_cqe_seen(&self->uring, end);
        if (tag == WAKE) {
            watch_event(self);
            continue;
        }
        ends[n++] = (struct io_ring_end){.tag = (uint32_t)tag, .result = result};
        self->under_way--;
    }
    return n;
}

static void uring_wake(struct io_ring *ring)
{
    const struct uring_ring *self = (const struct uring_ring *)ring;
    uint64_t one = 1;
    ssize_t n;
    do
        n = write(self->event, &one, sizeof one);
    while (n < 0 && errno == EINTR);
}

static void uring_close(struct io_ring *ring)
{
    struct uring_ring *self = (struct uring_ring *)ring;
    if (self->made)
        io_uring_queue_exit(&self->uring); /* ends the read of the eventfd too */
    if (self->event >= 0)
        close(self->event);
    free(self);
}

static const struct io_ring_ops uring_ring_ops = {
    .read = uring_read,
    .wait = uring_wait,
    .wake = uring_wake,
    .close = uring_close,
};

static int register_files(struct uring_ring *self, const struct io_files *files)
{
    int *fds = calloc((size_t)files->count + 1, sizeof *fds);
    if (!fds)
        return -ENOMEM;
    for (uint32_t i = 0; i < files->count; i++)
        fds[i] = files->at[i].fd;
    int answer = files->count ? io_uring_register_files(&self->uring, fds, files->count) : 0;
    free(fds);
    return answer;
}

/* False: refused; they can be used all the same. */
static bool register_buffers(struct uring_ring *self, const struct io_ring_config *config)
{
    if (config->buffers == 0 || config->buffer_bytes > BUFFER_BYTES_MAX)
        return false;
    struct iovec *buffers = calloc(config->buffers, sizeof *buffers);
    if (!buffers)
        return false;
    for (uint32_t i = 0; i < config->buffers; i++)
        buffers[i] = (struct iovec){.iov_base = config->memory + i * config->buffer_bytes,
                                    .iov_len = config->buffer_bytes};
    int answer = io_uring_register_buffers(&self->uring, buffers, config->buffers);
    free(buffers);
    return answer == 0;
}

enum status io_uring_ring_open(struct io_ring **out, const struct io_ring_config *config,
                               struct error *error)
{
    CHECK(config->depth > 0);
    *out = NULL;
    enum status status = STATUS_UNSUPPORTED;
    struct uring_ring *self = calloc(1, sizeof *self);
    if (!self)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a ring of reads");
    self->ring.ops = &uring_ring_ops;
    self->depth = config->depth;
    self->event = eventfd(0, EFD_CLOEXEC);
    int answer = self->event < 0 ? -errno : 0;
    if (answer == 0)
        answer = io_uring_queue_init(config->depth + 1, &self->uring, 0);
    self->made = answer == 0;
    if (answer == 0)
        answer = register_files(self, config->files);
    if (answer < 0) {
        if (answer == -ENOMEM)
            status = STATUS_NO_MEMORY;
        error_set(error, status, "the system refuses io_uring: %s%s", strerror(-answer),
                  answer == -EPERM || answer == -ENOSYS
                      ? " (a container's seccomp filter, or kernel.io_uring_disabled)"
                      : "");
        goto fail;
    }
    self->registered = register_buffers(self, config);
    watch_event(self);
    *out = &self->ring;
    return STATUS_OK;
fail:
    uring_close(&self->ring);
    return status;
}
