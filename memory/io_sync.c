/* Reads inside submit, on the calling thread: one thread, one order, the same every time. For
 * debugging, and to tell a fault of the reading from a fault of the threading. Ends wait in a small
 * circle until they are polled. */
#include "memory/io.h"

#include <stdlib.h>
#include <unistd.h>

#include "memory/base/check.h"

struct io_sync {
    struct io io;
    uint32_t depth, head, count;
    struct io_done end[]; /* depth, a circle */
};

static void sync_submit(struct io *io, const struct io_request *request)
{
    struct io_sync *self = (struct io_sync *)io;
    CHECK(self->count < self->depth);
    io_read(request, pread, &self->end[(self->head + self->count++) % self->depth]);
}

static void sync_raise(struct io *io, uint32_t tag)
{
    (void)io, (void)tag; /* what was submitted has ended */
}

static bool sync_poll(struct io *io, struct io_done *done, uint64_t wait_ns)
{
    (void)wait_ns; /* what was submitted has ended */
    struct io_sync *self = (struct io_sync *)io;
    if (self->count == 0)
        return false;
    *done = self->end[self->head];
    self->head = (self->head + 1) % self->depth;
    self->count--;
    return true;
}

static void sync_close(struct io *io)
{
    free(io);
}

static const struct io_ops sync_ops = {
    .name = "sync",
    .submit = sync_submit,
    .raise = sync_raise,
    .poll = sync_poll,
    .close = sync_close,
};

enum status io_sync_open(struct io **out, uint32_t depth, struct error *error)
{
    CHECK(depth > 0);
    *out = NULL;
    struct io_sync *self = calloc(1, sizeof *self + depth * sizeof self->end[0]);
    if (!self)
        return error_set(error, STATUS_NO_MEMORY, "no memory for %u reads at once", depth);
    self->io.ops = &sync_ops;
    self->depth = depth;
    *out = &self->io;
    return STATUS_OK;
}
