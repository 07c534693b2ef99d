/* Which kind of IO reads a store: what was asked for, or the best that the system lets. */
#ifndef MOERING_MEMORY_IO_OPEN_H
#define MOERING_MEMORY_IO_OPEN_H

#include "memory/io.h"
#include "memory/io_ring.h"
#include "memory/memory.h"

#ifdef __cplusplus
extern "C" {
#endif

#define IO_OPEN_THREADS 2

struct io_choice {
    const struct store *store; /* sealed, its landing set; lent until close */
    enum io_kind kind;
    enum direct_reads direct;
    uint32_t threads, depth, queue_depth; /* as memory_config's; 0 likewise */
    io_ring_open_function *ring_open;     /* NULL: the kernel's */
};

struct io_opened {
    struct io *io;
    struct io_files files;
    struct memory_reading told;
};

/* UNSUPPORTED: IO_URING or DIRECT_ON is refused. NO_MEMORY; IO: no thread could be started. */
enum status io_open(struct io_opened *out, const struct io_choice *choice, struct error *error);
/* The most that any kind would stage reads in, as if every file were read directly: for a budget
 * that is made before anything is opened. 0: no pages. */
uint64_t io_open_staging_bytes(const struct io_choice *choice);
/* Pages being read at once, where `asked` is 0: prefetch has half of the places (copy.c), so with
 * these either half keeps every thread, or every place in the ring, busy, also while all of the
 * other pause. */
uint32_t io_open_depth(uint32_t asked, uint32_t queue_depth);
/* Accepts a zeroed one. */
void io_opened_close(struct io_opened *opened);

#ifdef __cplusplus
}
#endif
#endif
