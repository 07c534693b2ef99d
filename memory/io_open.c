/* The choice between kinds of IO.
 *
 * Past the page cache, since it would hold in its own order what the tiers hold already, and be the
 * first to be charged where a container limits memory. Then through the kernel's ring; where that
 * is forbidden, on threads. Where the file system has no direct reads everything comes through the
 * page cache, and copying from there is work that threads share, so they are chosen over the ring.
 * What was asked for by name is never replaced: it is done or refused.
 *
 * The thread that opens the memory. */
#include "memory/io_open.h"

#include <stdio.h>
#include <string.h>

#include "memory/base/bytes.h"
#include "memory/io_probe.h"
#include "memory/io_uring.h"


uint32_t io_open_depth(uint32_t asked, uint32_t queue_depth)
{
    if (asked)
        return asked;
    return queue_depth > IO_DEPTH_LEAST / 2 ? queue_depth * 2 : IO_DEPTH_LEAST;
}

static enum status open_files(struct io_opened *out, const struct io_choice *choice,
                              struct error *error)
{
    bool direct = choice->direct == DIRECT_ON ||
                  (choice->direct == DIRECT_AUTO && choice->kind != IO_SYNC);
    enum status status = io_files_open(&out->files, choice->store, direct, error);
    if (status == STATUS_OK && choice->direct == DIRECT_ON && out->files.why_not[0])
        status = error_set(error, STATUS_UNSUPPORTED, "%s", out->files.why_not);
    return status;
}

static enum status open_uring(struct io_opened *out, const struct io_choice *choice,
                              struct error *error)
{
    io_ring_open_function *ring_open = choice->ring_open ? choice->ring_open : io_uring_ring_open;
    struct io_probe probe = {.depth = choice->queue_depth};
    enum status status = STATUS_OK;
    if (choice->queue_depth == 0)
        status = io_probe_run(&probe, &out->files, IO_PIECE_BYTES, ring_open, error);
    if (status)
        return status;
    struct io_uring_config config = {
        .io = {.files = &out->files, .depth = io_open_depth(choice->depth, probe.depth)},
        .pieces = probe.depth,
        .ring_open = ring_open,
    };
    out->told.depth = config.io.depth;
    out->told.queue_depth = probe.depth;
    out->told.probed_rate = probe.rate;
    return io_uring_open(&out->io, &config, error);
}

static enum status open_threads(struct io_opened *out, const struct io_choice *choice,
                                struct error *error)
{
    struct io_config config = {.files = &out->files,
                               .threads = choice->threads ? choice->threads : IO_OPEN_THREADS};
    config.depth = io_open_depth(choice->depth, config.threads);
    out->told.depth = config.depth;
    out->told.queue_depth = config.threads;
    out->told.probed_rate = 0;
    return io_thread_open(&out->io, &config, error);
}

static enum status open_sync(struct io_opened *out, const struct io_choice *choice,
                             struct error *error)
{
    struct io_config config = {.files = &out->files, .depth = io_open_depth(choice->depth, 1)};
    out->told.depth = config.depth;
    out->told.queue_depth = 1;
    return io_sync_open(&out->io, &config, error);
}

/* The ring if it lets itself be opened, else threads and a note why. */
static enum status open_best(struct io_opened *out, const struct io_choice *choice,
                             struct error *error)
{
    struct error refusal = {{0}};
    if (out->files.count > 0 && out->files.direct < out->files.count)
        return open_threads(out, choice, error);
    enum status status = open_uring(out, choice, &refusal);
    if (status == STATUS_OK)
        return status;
    snprintf(out->told.note, sizeof out->told.note, "%.300s", refusal.text);
    return open_threads(out, choice, error);
}

static void describe(struct io_opened *out)
{
    const struct io_files *files = &out->files;
    bool direct = files->count > 0 && files->direct == files->count;
    snprintf(out->told.name, sizeof out->told.name, "%s%s", out->io->ops->name,
             direct ? "+direct" : "");
    if (files->why_not[0])
        snprintf(out->told.note, sizeof out->told.note, "%s", files->why_not);
    out->told.staging_bytes = out->io->staging_bytes;
}

uint64_t io_open_staging_bytes(const struct io_choice *choice)
{
    struct io_files files = {.store = choice->store, .count = store_files(choice->store)};
    uint64_t longest = io_run_stage_bytes(&files);
    uint32_t pieces = choice->queue_depth ? choice->queue_depth : IO_PROBE_DEPTH_MAX;
    uint32_t threads = choice->threads ? choice->threads : IO_OPEN_THREADS;
    uint32_t buffers = io_uring_buffers(longest, pieces);
    if (choice->kind == IO_THREAD || buffers < 2 * threads)
        buffers = 2 * threads;
    return (choice->kind == IO_SYNC ? 1 : buffers) * bytes_align_up(longest, IO_FILES_ALIGN_MAX);
}

enum status io_open(struct io_opened *out, const struct io_choice *choice, struct error *error)
{
    *out = (struct io_opened){0};
    enum status status = open_files(out, choice, error);
    if (status)
        goto fail;
    switch (choice->kind) {
    case IO_AUTO:
        status = open_best(out, choice, error);
        break;
    case IO_URING:
        status = open_uring(out, choice, error);
        break;
    case IO_THREAD:
        status = open_threads(out, choice, error);
        break;
    case IO_SYNC:
        status = open_sync(out, choice, error);
        break;
    }
    if (status)
        goto fail;
    describe(out);
    return STATUS_OK;
fail:
    io_opened_close(out);
    return status;
}

void io_opened_close(struct io_opened *opened)
{
    io_close(opened->io);
    io_files_close(&opened->files);
    *opened = (struct io_opened){0};
}
