/* What the kernels of every instruction set must know of a block format, as functions that fold to
 * constants where the format is one; and the parts of a tile. Private to packed_*.c.
 *
 * A kernel sees a format as integers u of 16 rows with a scale, and perhaps a minimum, per
 * sub-block (packed_kernels.h). Where an instruction wants unsigned bytes, codes are u +
 * packed_offset: not negative, and what is too much in a sum is the offset times the sum of q, an
 * integer as well. */
#ifndef MOERING_ENGINE_BACKEND_CPU_PACKED_FORMAT_H
#define MOERING_ENGINE_BACKEND_CPU_PACKED_FORMAT_H

#include "engine/backend/cpu/packed_kernels.h"
#include "engine/quant/block_256.h"
#include "engine/quant/block_32.h"

/* Every block format: X(name, dtype). */
#define PACKED_FORMATS(X)                                                                          \
    X(q8_0, DTYPE_Q8_0)                                                                            \
    X(q4_0, DTYPE_Q4_0)                                                                            \
    X(q4_1, DTYPE_Q4_1)                                                                            \
    X(q5_0, DTYPE_Q5_0)                                                                            \
    X(q5_1, DTYPE_Q5_1)                                                                            \
    X(iq4_nl, DTYPE_IQ4_NL)                                                                        \
    X(mxfp4, DTYPE_MXFP4)                                                                          \
    X(q2_k, DTYPE_Q2_K)                                                                            \
    X(q3_k, DTYPE_Q3_K)                                                                            \
    X(q4_k, DTYPE_Q4_K)                                                                            \
    X(q5_k, DTYPE_Q5_K)                                                                            \
    X(q6_k, DTYPE_Q6_K)

#define PACKED_INLINE static inline __attribute__((always_inline))

PACKED_INLINE size_t packed_block_values(enum dtype dtype)
{
    return dtype >= DTYPE_Q2_K ? BLOCK_256_VALUES : BLOCK_32_VALUES;
}

/* Bytes of field `field` in a block of one row, 0 past the last field; as packed_fields has
 * them. */
PACKED_INLINE size_t packed_field_bytes(enum dtype dtype, uint32_t field)
{
    static const uint8_t bytes[DTYPE_COUNT][PACKED_FIELDS_MAX] = {
        [DTYPE_Q8_0] = {2, 32},          [DTYPE_Q4_0] = {2, 16},
        [DTYPE_Q4_1] = {4, 16},          [DTYPE_Q5_0] = {2, 4, 16},
        [DTYPE_Q5_1] = {4, 4, 16},       [DTYPE_IQ4_NL] = {2, 16},
        [DTYPE_MXFP4] = {1, 16},         [DTYPE_Q2_K] = {4, 16, 64},
        [DTYPE_Q3_K] = {2, 12, 32, 64},  [DTYPE_Q4_K] = {4, 12, 128},
        [DTYPE_Q5_K] = {4, 12, 32, 128}, [DTYPE_Q6_K] = {2, 16, 64, 128},
    };
    return bytes[dtype][field];
}

PACKED_INLINE size_t packed_block_bytes(enum dtype dtype)
{
    return packed_field_bytes(dtype, 0) + packed_field_bytes(dtype, 1) +
           packed_field_bytes(dtype, 2) + packed_field_bytes(dtype, 3);
}

/* Values that share a scale. */
PACKED_INLINE size_t packed_sub_values(enum dtype dtype)
{
    return dtype == DTYPE_Q2_K || dtype == DTYPE_Q3_K || dtype == DTYPE_Q6_K ? 16 : 32;
}

PACKED_INLINE bool packed_has_min(enum dtype dtype)
{
    return dtype == DTYPE_Q4_1 || dtype == DTYPE_Q5_1 || dtype == DTYPE_Q2_K ||
           dtype == DTYPE_Q4_K || dtype == DTYPE_Q5_K;
}

/* What unsigned codes are above u. */
PACKED_INLINE int packed_offset(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_Q8_0: return 128;
    case DTYPE_Q4_0: return 8;
    case DTYPE_Q5_0: return 16;
    case DTYPE_IQ4_NL: return 128;
    case DTYPE_MXFP4: return 12;
    case DTYPE_Q3_K: return 4;
    case DTYPE_Q6_K: return 32;
    default: return 0;
    }
}

/* Rows of the group that begins with row `first` of the matrix. */
PACKED_INLINE uint32_t packed_group_rows(const struct packed_tile *tile, uint32_t first)
{
    return tile->w_rows - first < PACKED_ROWS ? tile->w_rows - first : PACKED_ROWS;
}

/* The tile's i-th row of activations. */
PACKED_INLINE size_t packed_tile_row(const struct packed_tile *tile, uint32_t i)
{
    return tile->rows ? tile->rows[i] : i;
}

#endif
