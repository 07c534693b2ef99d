/* The kind of IO that reads through a ring; see io_uring.c for how and io_ring.h for the ring. */
#ifndef MOERING_MEMORY_IO_URING_H
#define MOERING_MEMORY_IO_URING_H

#include "memory/io.h"
#include "memory/io_ring.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What one read call of a demand asks for, a multiple of any alignment; the last one of a run takes
 * what is left up to half as much again. README.md has the measurement. */
#define IO_PIECE_BYTES ((uint64_t)1 << 20)
#define IO_PIECE_BYTES_MAX (IO_PIECE_BYTES * 3 / 2)

struct io_uring_config {
    struct io_config io; /* `threads` and `pread_function` have no meaning here */
    uint32_t pieces;     /* read calls under way at once, at most */
    io_ring_open_function *ring_open;
};

/* UNSUPPORTED: the system refuses the ring, the error says why. NO_MEMORY; IO: the thread could not
 * be started. */
enum status io_uring_open(struct io **out, const struct io_uring_config *config,
                          struct error *error);

/* How many buffers the longest run is staged in: enough for `pieces` read calls under way and one
 * run that lands, for demands and the same again for prefetches that pause. 0 for 0 bytes. */
uint32_t io_uring_buffers(uint64_t run_bytes, uint32_t pieces);

#ifdef __cplusplus
}
#endif
#endif
