/* A gather of one field against its definition, byte by byte. */
#ifndef MOERING_TESTS_ENGINE_QUANT_PACKED_GATHER_CHECKS_H
#define MOERING_TESTS_ENGINE_QUANT_PACKED_GATHER_CHECKS_H

#include "engine/quant/packed_gather.h"
#include "tests/support/scratch.h"

#include <gtest/gtest.h>

#include <vector>

/* Blocks with `before` bytes ahead of the field; the rows end where the last block does. */
inline void check_gather(void (*gather)(const struct packed_gather *), uint32_t rows,
                         uint32_t unit_bytes, uint32_t units)
{
    for (size_t blocks : {1u, 2u, 7u}) {
        for (uint32_t before : {0u, 1u, 2u}) {
            for (bool next : {false, true}) {
                uint32_t bytes = unit_bytes * units, block_bytes = before + bytes;
                size_t size = rows * blocks * block_bytes, packed = rows * blocks * bytes;
                std::vector<uint8_t> from = scratch::noise(rows + units + before, 2 * size);
                std::vector<uint8_t> to(size + packed, 0xa5), want(size + packed, 0xa5);
                size_t at = 0;
                for (size_t b = 0; b < blocks; b++)
                    for (uint32_t u = 0; u < units; u++)
                        for (uint32_t r = 0; r < rows; r++)
                            for (uint32_t i = 0; i < unit_bytes; i++)
                                want[at++] = from[(r * blocks + b) * block_bytes + before +
                                                  u * unit_bytes + i];
                if (!next)
                    from.resize(size); /* a sanitizer sees reads behind it */
                from.shrink_to_fit();
                struct packed_gather g = {};
                g.from = from.data() + before;
                g.stride = blocks * block_bytes;
                g.rows = rows;
                g.block_bytes = block_bytes;
                g.unit_bytes = unit_bytes;
                g.units = units;
                g.blocks = blocks;
                g.to = to.data();
                g.next_from = next ? from.data() + size : nullptr;
                g.next_to = next ? to.data() + packed : nullptr;
                gather(&g);
                ASSERT_EQ(to, want) << rows << " rows, " << units << " x " << unit_bytes << ", "
                                    << blocks << " blocks, " << before << " before";
            }
        }
    }
}

#endif
