/* The table of AVX-512 without VNNI (F, BW, DQ, VL): bytes are multiplied in pairs (vpmaddubsw),
 * whose sums have 16 bits and saturate.
 *
 * Codes of up to six bits cannot: 2 * 63 * 127 = 16002. Those of eight are multiplied as
 * magnitudes, their signs given to q: 2 * 128 * 127 = 32512 is below 32767 just so, and there is no
 * offset then.
 *
 * This file alone is compiled for the instruction set; packed_kernels.c asks the processor
 * first. */
#include "engine/backend/cpu/packed_kernels.h"

#if defined(__x86_64__)
#include "engine/backend/cpu/packed_format.h"

#include <immintrin.h>

PACKED_INLINE int dot_offset(enum dtype dtype)
{
    return packed_offset(dtype) == 128 ? 0 : packed_offset(dtype);
}

/* offset: -dot_offset in every 16 bits. part: which 16 values, of formats of 16. */
PACKED_INLINE __m512i dot_start(enum dtype dtype, __m512i offset, size_t part, const int16_t *count)
{
    if (!dot_offset(dtype))
        return _mm512_setzero_si512();
    int32_t both;
    memcpy(&both, count, sizeof both);
    if (packed_sub_values(dtype) == 16) /* the other half's count times nothing */
        offset = _mm512_maskz_mov_epi16(part ? 0xaaaaaaaa : 0x55555555, offset);
    return _mm512_madd_epi16(offset, _mm512_set1_epi32(both));
}

PACKED_INLINE __m512i dot_bytes(enum dtype dtype, __m512i sum, __m512i codes, __m512i q)
{
    if (packed_offset(dtype) == 128) {
        __mmask64 negative = ~_mm512_movepi8_mask(codes); /* of code - 128 */
        codes = _mm512_abs_epi8(_mm512_xor_si512(codes, _mm512_set1_epi8(-128)));
        q = _mm512_mask_sub_epi8(q, negative, _mm512_setzero_si512(), q);
    }
    __m512i pairs = _mm512_maddubs_epi16(codes, q);
    return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}

#define PACKED_TABLE packed_avx512
#define PACKED_NAME "avx512"
#define DOT_WIDE
#define ROWS_FEW 1
#include "engine/backend/cpu/packed_rows_512.h"
#endif
