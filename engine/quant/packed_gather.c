/* Copies units one by one. With the bytes of a unit and the rows of a full group known to the
 * compiler that is two instructions each, sixteen times without a branch.
 *
 * Pure functions: any thread. */
#include "engine/quant/packed_gather.h"

static inline __attribute__((always_inline)) void
gather_units(const struct packed_gather *g, uint32_t rows, size_t unit_bytes)
{
    const uint8_t *block = g->from;
    uint8_t *to = g->to;
    for (size_t b = 0; b < g->blocks; b++, block += g->block_bytes) {
        packed_gather_next(g, b);
        for (uint32_t u = 0; u < g->units; u++, to += rows * unit_bytes) {
            for (uint32_t r = 0; r < rows; r++)
                memcpy(to + r * unit_bytes, block + r * g->stride + u * unit_bytes, unit_bytes);
        }
    }
}

void packed_gather_plain(const struct packed_gather *g)
{
    bool full = g->rows == PACKED_ROWS;
    switch (g->unit_bytes) {
    case 1: full ? gather_units(g, PACKED_ROWS, 1) : gather_units(g, g->rows, 1); break;
    case 2: full ? gather_units(g, PACKED_ROWS, 2) : gather_units(g, g->rows, 2); break;
    default: full ? gather_units(g, PACKED_ROWS, 4) : gather_units(g, g->rows, 4); break;
    }
}
