/* Formats whose blocks hold 256 values in sub-blocks of 16 or 32: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K.
 * Their layouts are drawn in block_256.c. Callers use dtype_decode; the unpacking of the 6-bit
 * scales is shared with the kernels. */
#ifndef MOERING_ENGINE_QUANT_BLOCK_256_H
#define MOERING_ENGINE_QUANT_BLOCK_256_H

#include "engine/quant/dtype.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BLOCK_256_VALUES 256

/* The twelve bytes of scales of Q4_K and Q5_K: eight scales and eight minimums, 0 .. 63 each. */
void block_256_scales_q4_k(const uint8_t *packed, uint8_t *scale, uint8_t *min);
/* Those of Q3_K: sixteen scales, -32 .. 31. */
void block_256_scales_q3_k(const uint8_t *packed, int8_t *scale);

/* `blocks` blocks of one of the formats above, from unaligned bytes. */
void block_256_decode(enum dtype dtype, const uint8_t *from, float *to, size_t blocks);

#ifdef __cplusplus
}
#endif
#endif
