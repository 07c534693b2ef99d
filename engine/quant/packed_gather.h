/* One field of a group of rows, from where it lies in the rows to where it lies packed: the loop in
 * which packing spends its time, plain and for AVX-512. Both give the same bytes. Private to
 * packed.c. */
#ifndef MOERING_ENGINE_QUANT_PACKED_GATHER_H
#define MOERING_ENGINE_QUANT_PACKED_GATHER_H

#include "engine/quant/packed.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PACKED_CACHE_LINE 64

struct packed_gather {
    const uint8_t *from; /* the field in the first block of row 0 */
    size_t stride;       /* bytes from row to row */
    uint32_t rows, block_bytes, unit_bytes, units;
    size_t blocks;
    uint8_t *to;
    /* The next group, brought into the cache meanwhile, a share with each block; NULL: none. */
    const uint8_t *next_from, *next_to;
};

/* Sixteen rows are sixteen streams and as many as there are fields go out: more than a processor
 * follows by itself. The group lies in one piece, so that it can be told. */
static inline void packed_gather_next(const struct packed_gather *g, size_t block)
{
    if (!g->next_from)
        return;
    size_t share = (size_t)g->rows * g->block_bytes;
    for (size_t at = block * share; at < (block + 1) * share; at += PACKED_CACHE_LINE) {
        __builtin_prefetch(g->next_from + at, 0);
        __builtin_prefetch(g->next_to + at, 1);
    }
}

void packed_gather_plain(const struct packed_gather *g);
#if defined(__x86_64__)
/* What packed_gather_avx512 can do: sixteen rows, and units of four bytes by fours. */
static inline bool packed_gather_avx512_can(const struct packed_gather *g)
{
    return g->rows == PACKED_ROWS && g->unit_bytes == 4 && g->units % 4 == 0;
}
void packed_gather_avx512(const struct packed_gather *g);
#endif

#ifdef __cplusplus
}
#endif
#endif
