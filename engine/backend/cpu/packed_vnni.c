/* The table of AVX-512 with VNNI: four products of bytes and their sum in one instruction.
 *
 * vpdpbusd wants one side unsigned. Codes are that, with an offset; the sums then begin with
 * -offset times the sum of q, from the two counts of 16 that go with a block (vpdpwssd). Sums are
 * exact in 32 bits: 32 * 255 * 127 < 2^20.
 *
 * This file alone is compiled for the instruction set; packed_kernels.c asks the processor
 * first. */
#include "engine/backend/cpu/packed_kernels.h"

#if defined(__x86_64__)
#include "engine/backend/cpu/packed_format.h"

#include <immintrin.h>

PACKED_INLINE int dot_offset(enum dtype dtype)
{
    return packed_offset(dtype);
}

/* offset: -dot_offset in every 16 bits. part: which 16 values, of formats of 16. */
PACKED_INLINE __m512i dot_start(enum dtype dtype, __m512i offset, size_t part, const int16_t *count)
{
    if (!packed_offset(dtype))
        return _mm512_setzero_si512();
    int32_t both;
    memcpy(&both, count, sizeof both);
    if (packed_sub_values(dtype) == 16) /* the other half's count times nothing */
        offset = _mm512_maskz_mov_epi16(part ? 0xaaaaaaaa : 0x55555555, offset);
    return _mm512_dpwssd_epi32(_mm512_setzero_si512(), offset, _mm512_set1_epi32(both));
}

PACKED_INLINE __m512i dot_bytes(enum dtype dtype, __m512i sum, __m512i codes, __m512i q)
{
    return _mm512_dpbusd_epi32(sum, codes, q);
}

#define PACKED_TABLE packed_vnni
#define PACKED_NAME "avx512-vnni"
#define ROWS_FEW 4
#include "engine/backend/cpu/packed_rows_512.h"
#endif
