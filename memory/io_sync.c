/* Reads inside submit, on the calling thread: one thread, one order, the same every time. For
 * debugging, and to tell a fault of the reading from a fault of the threading. Ends wait in a small
 * circle until they are polled. */
#include "memory/io.h"

#include <stdlib.h>
#include <unistd.h>

#include "memory/base/check.h"
#include "memory/pinned.h"

struct io_sync {
    struct io io;
    io_pread_function *pread_function;
    const struct io_files *files;
    struct pinned stage; /* of one page */
    uint32_t depth, head, count;
    struct io_done end[]; /* depth, a circle */
};

static void sync_submit(struct io *io, const struct io_request *request)
{
    struct io_sync *self = (struct io_sync *)io;
    CHECK(self->count < self->depth);
    struct io_reading reading;
    io_reading_begin(&reading, request, self->files, self->stage.base);
    io_read(&reading, self->pread_function);
    self->end[(self->head + self->count++) % self->depth] = reading.done;
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
    struct io_sync *self = (struct io_sync *)io;
    pinned_close(&self->stage);
    free(self);
}

static const struct io_ops sync_ops = {
    .name = "sync",
    .submit = sync_submit,
    .raise = sync_raise,
    .poll = sync_poll,
    .close = sync_close,
};

enum status io_sync_open(struct io **out, const struct io_config *config, struct error *error)
{
    CHECK(config->depth > 0);
    *out = NULL;
    struct io_sync *self = calloc(1, sizeof *self + config->depth * sizeof self->end[0]);
    if (!self)
        return error_set(error, STATUS_NO_MEMORY, "no memory for %u reads at once", config->depth);
    self->io.ops = &sync_ops;
    self->depth = config->depth;
    self->pread_function = config->pread_function ? config->pread_function : pread;
    self->files = config->files;
    enum status status =
        pinned_open(&self->stage, io_run_stage_bytes(self->files), "staging of reads", error);
    self->io.staging_bytes = self->stage.bytes;
    if (status) {
        sync_close(&self->io);
        return status;
    }
    *out = &self->io;
    return STATUS_OK;
}
