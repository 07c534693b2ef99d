/* Q4_K from f32: which scales and codes represent 256 values best (encode_q4_k_search.h says how).
 * Layout: block_256.c. */
#ifndef MOERING_ENGINE_QUANT_ENCODE_Q4_K_H
#define MOERING_ENGINE_QUANT_ENCODE_Q4_K_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* `blocks` blocks of 256 values into 144 bytes each; the same bytes on every machine. A block with
 * a NaN or an infinity gets d = NaN and decodes to NaN everywhere; values beyond the range of the
 * scales saturate. Pure functions: any thread. */
void encode_q4_k(const float *from, uint8_t *to, size_t blocks);

/* What it is made of, for finite values: for any machine, and for those with AVX2. */
void encode_q4_k_plain(const float *from, uint8_t *to);
#if defined(__x86_64__)
void encode_q4_k_avx2(const float *from, uint8_t *to);
#endif

#ifdef __cplusplus
}
#endif
#endif
