/* How many reads storage wants under way at once: measured when a model is opened. */
#ifndef MOERING_MEMORY_IO_PROBE_H
#define MOERING_MEMORY_IO_PROBE_H

#include <stdint.h>

#include "memory/io_ring.h"

#ifdef __cplusplus
extern "C" {
#endif

#define IO_PROBE_DEPTHS 5 /* 1, 2, 4, 8, 16 */
#define IO_PROBE_DEPTH_MAX 16
/* The most that all depths together may read and take. */
#define IO_PROBE_BYTES ((uint64_t)64 << 20)
#define IO_PROBE_NS 300000000u
/* Models with less than this are not probed: reading them whole takes about as long. */
#define IO_PROBE_MODEL_BYTES ((uint64_t)256 << 20)
/* The least that is taken, and what is taken where nothing is probed. Whole parts are read at
 * nearly full rate at any depth while the reader has a processor to itself; with four under way
 * storage does not run dry while one lands, nor while the reader waits some milliseconds for a busy
 * processor. */
#define IO_PROBE_DEPTH_LEAST 4

/* Short parts want more of them under way: this many bytes, whatever an idle moment measured. */
#define IO_PROBE_UNDER_WAY_BYTES ((uint64_t)2 << 20)

struct io_probe {
    uint32_t depth; /* the least within 5 % of the best rate, IO_PROBE_DEPTH_LEAST or more */
    double rate;    /* bytes per second, the best up to that depth; 0: not probed */
    double rates[IO_PROBE_DEPTHS];
};

/* Reads pieces of the store's own pages, `piece_bytes` (a multiple of the alignment) or a part
 * where that is less, at random through a ring. A file that cannot be read directly is not probed,
 * since its rate would be the page cache's; neither is a store of less than IO_PROBE_MODEL_BYTES,
 * nor one whose reads fail: whoever reads these pages next is told. Then the depth is
 * IO_PROBE_DEPTH_LEAST. UNSUPPORTED, NO_MEMORY: the ring's. */
enum status io_probe_run(struct io_probe *probe, const struct io_files *files, uint64_t piece_bytes,
                         io_ring_open_function *ring_open, struct error *error);
/* The least depth within 5 % of the best of these rates (0: not measured). Pure. */
uint32_t io_probe_choose(const double rates[IO_PROBE_DEPTHS]);

#ifdef __cplusplus
}
#endif
#endif
