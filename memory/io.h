/* How bytes of storage reach a slot. A kind of IO is a const table of operations: io_uring hands
 * reads to the kernel from one thread, io_thread makes them on a pool of threads, io_sync inside
 * submit. Tests bring kinds of their own through memory_config.custom_io; io_open.h chooses.
 *
 * An io reads whole pages: one request is all parts of one page, in runs (io_run.h). copy.c decides
 * what is read and in which order, and hands over no more requests than may be under way at once.
 * What an io owes to the urgency of those: a read that was guessed gives way to those that are
 * needed. It begins only while no demand is under way, and when one comes it pauses after
 * IO_CHUNK_BYTES at the most (as often as reads of the kind are under way at once), until there is
 * none or until it is raised to a demand itself. */
#ifndef MOERING_MEMORY_IO_H
#define MOERING_MEMORY_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "memory/io_files.h"
#include "memory/io_run.h"
#include "memory/store.h"

#ifdef __cplusplus
extern "C" {
#endif

struct io;

/* The most that one read call of a prefetch asks for: what a demand may have to wait for. A
 * demand's calls are as long as the system takes them. README.md has the measurement. */
#define IO_CHUNK_BYTES ((uint64_t)512 << 10)

/* Pages being read at once where nobody says: half of them, what prefetch has, is still some. */
#define IO_DEPTH_LEAST 8

/* How often in a row a read answers EAGAIN until it has failed. */
#define IO_AGAIN_MAX 50

struct io_request {
    uint32_t tag;              /* comes back in io_done; no two requests under way share one */
    page_id page;
    bool demand;               /* needed now; false: guessed, so it gives way */
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
    uint64_t bytes;  /* of the page: read, also by a request that failed later */
    uint64_t rounding_bytes; /* read besides: roundings of direct reads, gaps between parts */
};

struct io_ops {
    const char *name; /* "thread", "sync" */
    /* Never waits for other requests and never fails; the caller keeps within the depth that the io
     * was opened with. */
    void (*submit)(struct io *io, const struct io_request *request);
    /* From prefetch to demand, for good: the request of this tag stops giving way at once, and
     * others begin to. Its end has not been polled; it may have come. */
    void (*raise)(struct io *io, uint32_t tag);
    /* The next completed request, in any order; waits up to wait_ns for one (UINT64_MAX: without
     * end). False: none. Each request ends: what pauses goes on when the demands have ended. */
    bool (*poll)(struct io *io, struct io_done *done, uint64_t wait_ns);
    /* Nothing is under way. */
    void (*close)(struct io *io);
};

struct io {
    const struct io_ops *ops; /* first member of every kind of io */
    uint64_t staging_bytes;   /* memory that it stages reads in */
};

/* pread(2), or a test's idea of it. */
typedef ssize_t io_pread_function(int fd, void *to, size_t bytes, off_t offset);

/* What an io is opened with. */
struct io_config {
    const struct io_files *files; /* of the sealed store, its landing set; lent until close */
    uint32_t depth;               /* requests under way at once, at most, pausing ones included */
    uint32_t threads;             /* io_thread */
    io_pread_function *pread_function; /* NULL: pread */
};

/* NO_MEMORY; IO: no thread could be started. */
enum status io_thread_open(struct io **out, const struct io_config *config, struct error *error);
/* A request has ended when submit returns, so there is nothing that could pause or be raised. */
enum status io_sync_open(struct io **out, const struct io_config *config, struct error *error);
static inline void io_close(struct io *io)
{
    if (io)
        io->ops->close(io);
}

/* Where the read of a page stands between two read calls. Owns nothing. */
struct io_reading {
    struct io_request request;
    struct io_done done;
    const struct io_files *files;
    uint8_t *stage;      /* for the runs that are staged; lent until the read has ended */
    struct io_runs runs;
    uint32_t run;        /* the one being read */
    uint64_t have;       /* bytes of it */
    uint32_t again;      /* EAGAIN, in a row */
};

/* Stands before the first byte of the page. `stage`: io_run_stage_bytes of the files, aligned as
 * they are; may be NULL where that is 0. */
void io_reading_begin(struct io_reading *reading, const struct io_request *request,
                      const struct io_files *files, uint8_t *stage);
/* One read call of at most `bytes` > 0 (a multiple of the alignment), which never crosses the end
 * of a run, on the calling thread: short reads are continued by the next step, EINTR is repeated by
 * it, EAGAIN too, after a pause, for about 100 ms. A run that is complete lands. False: that was
 * the last step, and `done` tells how it ended. */
bool io_reading_step(struct io_reading *reading, io_pread_function *pread_function, uint64_t bytes);
/* All steps of a page, each as long as can be. */
void io_read(struct io_reading *reading, io_pread_function *pread_function);

#ifdef __cplusplus
}
#endif
#endif
