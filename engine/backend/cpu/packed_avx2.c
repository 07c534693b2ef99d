/* Packed kernels in AVX2 (with FMA and F16C): eight rows to a vector.
 *
 * Products are made by vpmaddubsw, unsigned codes with signed x, and their pairs summed in 16 bits,
 * which saturate: |q| is at most 127, so
 *
 *     codes up to 15   a pair is at most 3810: the 8 pairs that a half of a lane takes from 32
 *                      values make 30480, and one vpmaddwd at the end brings them to 32 bits
 *     codes up to 63   a pair is at most 16002: two may be added, 32004, then vpmaddwd
 *     signed codes     |code| with the code's sign given to x: a pair is at most 2 * 128 * 127,
 *                      32512, and vpmaddwd's at once. x has no -128, so its sign can be turned.
 *
 * and no sum saturates. This file alone is compiled for the instruction set. */
#if defined(__x86_64__)
#include "engine/backend/cpu/packed_avx2.h"

#define SIGNED_OFFSET 0 /* signed codes are multiplied as they are */

VEC_INLINE ivec signed_codes(ivec codes)
{
    return codes;
}

VEC_INLINE ivec sum_begin(enum range range, ivec start)
{
    return range == RANGE_15 ? _mm256_setzero_si256() : start;
}

VEC_INLINE ivec pair_sums(ivec sums16)
{
    return _mm256_madd_epi16(sums16, _mm256_set1_epi16(1));
}

VEC_INLINE ivec signed_products(ivec w, ivec x)
{
    return pair_sums(_mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w)));
}

VEC_INLINE ivec sum_step(enum range range, ivec sum, ivec first, ivec second, xpair x)
{
    if (range == RANGE_SIGNED)
        return _mm256_add_epi32(sum, _mm256_add_epi32(signed_products(first, x.first),
                                                      signed_products(second, x.second)));
    ivec a = _mm256_maddubs_epi16(first, x.first), b = _mm256_maddubs_epi16(second, x.second);
    if (range == RANGE_15)
        return _mm256_add_epi16(sum, _mm256_add_epi16(a, b));
    return _mm256_add_epi32(sum, pair_sums(_mm256_add_epi16(a, b)));
}

VEC_INLINE ivec sum_end(enum range range, ivec sum, ivec start)
{
    return range == RANGE_15 ? _mm256_add_epi32(pair_sums(sum), start) : sum;
}

#define PACKED_TABLE packed_avx2
#define PACKED_NAME "avx2"
#define PACKED_ROWS_FULL 32
#include "engine/backend/cpu/packed_narrow.h"
#endif
