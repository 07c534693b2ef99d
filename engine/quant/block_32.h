/* Formats whose blocks hold 32 values: Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, IQ4_NL, MXFP4. Their layouts
 * are drawn in block_32.c. Callers use dtype_decode and dtype_encode; the constants are for
 * kernels, which must multiply by the same numbers. */
#ifndef MOERING_ENGINE_QUANT_BLOCK_32_H
#define MOERING_ENGINE_QUANT_BLOCK_32_H

#include "engine/quant/dtype.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BLOCK_32_VALUES 32

/* What the sixteen codes of IQ4_NL mean, in units of d. */
extern const int8_t block_32_iq4_nl[16];
/* What the sixteen codes of MXFP4 mean, in halves: 0, 0.5, 1, 1.5, 2, 3, 4, 6 and these negated. */
extern const int8_t block_32_mxfp4[16];

/* What a half in block_32_mxfp4 counts: 2^(e - 127) / 2, exact for every e: subnormal for 0 and 1.
 * The standard keeps e = 255 for NaN. Nobody writes it, and we read it as the formula says: 2^127,
 * so that code 0 stays 0 and what is too large for f32 is infinite. */
static inline float block_32_mxfp4_scale(uint8_t e)
{
    uint32_t u = e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* `blocks` blocks of one of the formats above, from unaligned bytes. */
void block_32_decode(enum dtype dtype, const uint8_t *from, float *to, size_t blocks);
/* Q8_0 and Q4_0; what they do with NaN and infinity: beside them. */
void block_32_encode(enum dtype dtype, const float *from, uint8_t *to, size_t blocks);

#ifdef __cplusplus
}
#endif
#endif
