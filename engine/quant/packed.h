/* Weights in the order in which a processor multiplies them: sixteen rows side by side.
 *
 * A block format stores a row's scale and codes together, so that a kernel which works on one row
 * at a time adds up lanes at the end and one that works on sixteen loads from sixteen places.
 * Packed, one vector load brings the same four codes of sixteen rows; each row is a lane, nothing
 * is added across lanes, and a stream over the weights is one stream.
 *
 * A block is a list of fields, each of units of 1, 2 or 4 bytes (packed_fields). A group of 16 rows
 * holds, field by field, block by block, unit by unit, that unit of row 0, of row 1, ...:
 *
 *     rows     [row r][block b][field f][unit u]
 *     packed   [group][field f][block b][unit u][row r of the group]
 *
 * The last group of a matrix has fewer rows and is laid out in the same way, so a matrix takes the
 * same bytes in both orders and group g begins where row 16 g began. Nothing is ever stored in
 * files so. */
#ifndef MOERING_ENGINE_QUANT_PACKED_H
#define MOERING_ENGINE_QUANT_PACKED_H

#include "engine/quant/dtype.h"

#ifdef __cplusplus
extern "C" {
#endif

#define PACKED_ROWS 16
#define PACKED_FIELDS_MAX 4

struct packed_field {
    uint32_t at;         /* in the block of a row, bytes */
    uint32_t unit_bytes; /* 1, 2, 4 */
    uint32_t units;
};
/* The fields of a block format in the order in which they lie in a group; *count <=
 * PACKED_FIELDS_MAX. NULL: a plain format, which is never packed.
 *
 *     Q8_0   d 2x1, codes 4x8            Q4_K  d, dmin 2x2, scales 4x3, codes 4x32
 *     Q4_0   d 2x1, codes 4x4            Q5_K  d, dmin 2x2, scales 4x3, high bits 4x8, codes 4x32
 *     Q4_1   d, m 2x2, codes 4x4         Q6_K  d 2x1, scales 4x4, high bits 4x16, codes 4x32
 *     Q5_0   d 2x1, high bits 4x1, 4x4   Q3_K  d 2x1, scales 4x3, high bits 4x8, codes 4x16
 *     Q5_1   d, m 2x2, high bits 4x1, 4x4   Q2_K  d, dmin 2x2, scales 4x4, codes 4x16
 *     IQ4_NL d 2x1, codes 4x4            MXFP4 exponent 1x1, codes 4x4 */
const struct packed_field *packed_fields(enum dtype dtype, uint32_t *count);
/* Bytes from the start of a group of `rows` rows to the field's first unit. */
size_t packed_field_offset(enum dtype dtype, uint32_t field, uint32_t rows, size_t cols);

/* Rows of `cols` values (a multiple of the block) to packed and back. `from` needs no alignment;
 * the two do not overlap. Any thread. */
void packed_pack(enum dtype dtype, const void *from, void *to, uint32_t rows, size_t cols);
void packed_unpack(enum dtype dtype, const void *from, void *to, uint32_t rows, size_t cols);
/* Row `row` of a packed matrix of `rows` rows, decoded. */
void packed_decode_row(enum dtype dtype, const void *packed, uint32_t rows, size_t cols,
                       uint32_t row, float *to);

#ifdef __cplusplus
}
#endif
#endif
