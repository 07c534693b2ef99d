/* A ring of reads: they are queued, handed over together and end in any order. io_uring_ring is the
 * kernel's; tests bring one of their own. One thread, the reader's, calls everything but `wake`. */
#ifndef MOERING_MEMORY_IO_RING_H
#define MOERING_MEMORY_IO_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/base/status.h"
#include "memory/io_files.h"

#ifdef __cplusplus
extern "C" {
#endif

struct io_ring;

#define IO_RING_NO_BUFFER UINT32_MAX

struct io_ring_read {
    uint32_t tag;    /* comes back in io_ring_end; below the depth, no two under way share one */
    uint32_t file;   /* of the io_files */
    uint64_t offset;
    uint32_t bytes;
    uint32_t buffer; /* the one of the ring that `to` lies in, or IO_RING_NO_BUFFER */
    uint8_t *to;
};

struct io_ring_end {
    uint32_t tag;
    int32_t result; /* bytes read, 0 at the end of the file, or -errno */
};

struct io_ring_ops {
    /* Puts a read into the ring; the next wait hands it over. At most as many are under way as the
     * ring is deep. */
    void (*read)(struct io_ring *ring, const struct io_ring_read *read);
    /* Hands over what was put in, and takes out ends, at most `max`. Waits up to wait_ns for the
     * first (UINT64_MAX: without end), or until the ring is woken. Returns how many. */
    uint32_t (*wait)(struct io_ring *ring, struct io_ring_end *ends, uint32_t max,
                     uint64_t wait_ns);
    /* From any thread: the wait that runs, or else the next one, ends at once. */
    void (*wake)(struct io_ring *ring);
    /* Nothing is under way. */
    void (*close)(struct io_ring *ring);
};

struct io_ring {
    const struct io_ring_ops *ops; /* first member of every kind of ring */
};

/* What a ring is opened with; all of it lent. */
struct io_ring_config {
    const struct io_files *files;
    uint32_t depth;        /* reads under way at once, at most */
    uint8_t *memory;       /* `buffers` buffers of buffer_bytes, one behind the other */
    uint32_t buffers;
    uint64_t buffer_bytes;
};

/* UNSUPPORTED: the system has no such ring or forbids it; the error says why. NO_MEMORY. */
typedef enum status io_ring_open_function(struct io_ring **out, const struct io_ring_config *config,
                                          struct error *error);
/* The kernel's. Buffers and files are registered with it; where the limit of locked memory is too
 * low for the buffers they are used unregistered, which costs the kernel some time for each
 * read. */
enum status io_uring_ring_open(struct io_ring **out, const struct io_ring_config *config,
                               struct error *error);

static inline void io_ring_close(struct io_ring *ring)
{
    if (ring)
        ring->ops->close(ring);
}

#ifdef __cplusplus
}
#endif
#endif
