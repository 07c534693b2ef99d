/* How bytes of storage reach a slot. A kind of IO is a const table of operations; io_thread reads
 * on a pool of threads, io_sync inside submit. Tests bring kinds of their own through
 * memory_config.custom_io.
 *
 * An io reads whole pages: one request is all parts of one page. It has no order and no priorities
 * of its own: copy.c hands it no more requests than may be under way at once. */
#ifndef MOERING_MEMORY_IO_H
#define MOERING_MEMORY_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "memory/store.h"

#ifdef __cplusplus
extern "C" {
#endif

struct io;

struct io_request {
    uint32_t tag;              /* comes back in io_done */
    page_id page;
    const struct store *store; /* sealed */
    uint8_t *slot;             /* where the page goes; written until the request is done */
};

/* `cause` of a read that found the file shorter than it was when the store opened it. */
#define IO_END_OF_FILE (-1)

struct io_done {
    uint32_t tag;
    int cause;       /* 0: the whole page was read; else an errno or IO_END_OF_FILE */
    uint32_t part;   /* which part failed, and at which byte of its file */
    uint32_t reads;  /* read calls made */
    uint64_t offset;
    uint64_t bytes;  /* read, also by a request that failed later */
};

struct io_ops {
    const char *name; /* "thread", "sync" */
    /* Never waits for other requests and never fails; the caller keeps within the depth that the io
     * was opened with. */
    void (*submit)(struct io *io, const struct io_request *request);
    /* The next completed request, in any order; waits up to wait_ns for one (UINT64_MAX: without
     * end). False: none. */
    bool (*poll)(struct io *io, struct io_done *done, uint64_t wait_ns);
    /* Nothing is under way. */
    void (*close)(struct io *io);
};

struct io {
    const struct io_ops *ops; /* first member of every kind of io */
};

/* NO_MEMORY; IO: no thread could be started. `depth`: requests under way at once, at most. */
enum status io_thread_open(struct io **out, uint32_t threads, uint32_t depth, struct error *error);
enum status io_sync_open(struct io **out, uint32_t depth, struct error *error);
static inline void io_close(struct io *io)
{
    if (io)
        io->ops->close(io);
}

/* pread(2), or a test's idea of it. */
typedef ssize_t io_pread_function(int fd, void *to, size_t bytes, off_t offset);
/* Reads a page with blocking calls, on the calling thread: short reads are continued, EINTR is
 * repeated, EAGAIN is repeated with pauses for about 100 ms. */
void io_read(const struct io_request *request, io_pread_function *pread_function,
             struct io_done *done);

#ifdef __cplusplus
}
#endif
#endif
