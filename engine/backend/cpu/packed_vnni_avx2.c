/* Packed kernels in AVX2 with AVX-VNNI, the dot products of processors that have them without
 * AVX-512: vpdpbusd adds four products of unsigned codes and signed x to 32 bits, where nothing can
 * saturate. Signed codes are made unsigned by adding 128.
 *
 * This file alone is compiled for the instruction set. */
#if defined(__x86_64__)
#pragma GCC target("avxvnni")
#include "engine/backend/cpu/packed_avx2.h"

#define SIGNED_OFFSET 128

VEC_INLINE ivec signed_codes(ivec codes)
{
    return _mm256_xor_si256(codes, _mm256_set1_epi8((char)0x80));
}

VEC_INLINE ivec sum_begin(enum range range, ivec start)
{
    return start;
}

VEC_INLINE ivec sum_step(enum range range, ivec sum, ivec first, ivec second, xpair x)
{
    sum = _mm256_dpbusd_avx_epi32(sum, first, x.first);
    return _mm256_dpbusd_avx_epi32(sum, second, x.second);
}

VEC_INLINE ivec sum_end(enum range range, ivec sum, ivec start)
{
    return sum;
}

#define PACKED_TABLE packed_vnni_avx2
#define PACKED_NAME "avx2-vnni"
#define PACKED_ROWS_FULL 32
#include "engine/backend/cpu/packed_narrow.h"
#endif
