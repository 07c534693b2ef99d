/* The vocabulary of packed_narrow.h in AVX2: eight lanes, two parts of a group. packed_avx2.c and
 * packed_vnni_avx2.c include it and add how products are summed. A source, not an interface. */
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "engine/backend/cpu/packed_format.h"

#define VEC_INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#define LANES 8
#define GROUP_PARTS (PACKED_ROWS / LANES)

typedef __m256i ivec; /* 32-bit lanes, or the bytes in them */
typedef __m256 fvec;

/* Two dwords of a row of x, each in every lane. */
typedef struct {
    ivec first, second;
} xpair;

/* The codes of a format: at most 15, at most 63, or signed bytes. */
enum range { RANGE_15, RANGE_63, RANGE_SIGNED };

VEC_INLINE ivec iv_load(const void *p)
{
    return _mm256_loadu_si256((const __m256i_u *)p);
}

VEC_INLINE void iv_store(void *p, ivec v)
{
    _mm256_storeu_si256((__m256i_u *)p, v);
}

VEC_INLINE ivec iv_load_u8(const void *p)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i_u *)p));
}

VEC_INLINE ivec iv_set1(int32_t v)
{
    return _mm256_set1_epi32(v);
}

VEC_INLINE ivec iv_and(ivec a, ivec b)
{
    return _mm256_and_si256(a, b);
}

VEC_INLINE ivec iv_or(ivec a, ivec b)
{
    return _mm256_or_si256(a, b);
}

VEC_INLINE ivec iv_sub(ivec a, ivec b)
{
    return _mm256_sub_epi32(a, b);
}

VEC_INLINE ivec iv_add8(ivec a, ivec b)
{
    return _mm256_add_epi8(a, b);
}

VEC_INLINE ivec iv_sub8(ivec a, ivec b)
{
    return _mm256_sub_epi8(a, b);
}

VEC_INLINE ivec iv_max(ivec a, ivec b)
{
    return _mm256_max_epi32(a, b);
}

VEC_INLINE ivec iv_equal(ivec a, ivec b)
{
    return _mm256_cmpeq_epi32(a, b);
}

VEC_INLINE ivec iv_shl(ivec v, int n)
{
    return _mm256_slli_epi32(v, n);
}

VEC_INLINE ivec iv_shr(ivec v, int n)
{
    return _mm256_srli_epi32(v, n);
}

/* n need not be a constant. */
VEC_INLINE ivec iv_shr_by(ivec v, uint32_t n)
{
    return _mm256_srlv_epi32(v, iv_set1((int32_t)n));
}

VEC_INLINE ivec iv_sar(ivec v, int n)
{
    return _mm256_srai_epi32(v, n);
}

VEC_INLINE ivec iv_table(const int8_t *table)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i_u *)table));
}

/* Each byte of v, 0 .. 15, by the table. */
VEC_INLINE ivec iv_lookup(ivec table, ivec v)
{
    return _mm256_shuffle_epi8(table, v);
}

/* Bits 4k .. 4k + 3 of each lane to its four bytes, as `value`. */
VEC_INLINE ivec iv_spread_bits(ivec v, uint32_t k, uint32_t value)
{
    const ivec first_bytes = _mm256_set_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0, 0x0c0c0c0c,
                                              0x08080808, 0x04040404, 0);
    const ivec bit = iv_set1((int32_t)(k % 2 ? 0x80402010u : 0x08040201u));
    ivec byte = _mm256_shuffle_epi8(v, iv_add8(first_bytes, _mm256_set1_epi8((char)(k / 2))));
    ivec set = _mm256_cmpeq_epi8(iv_and(byte, bit), bit);
    return iv_and(set, _mm256_set1_epi8((char)value));
}

/* Four bytes in every lane. Read as a float, because two neighbouring loads of integers are merged
 * into one of 64 bits that must be taken apart again, at six instructions for two. */
VEC_INLINE ivec broadcast_dword(const void *p)
{
    typedef float unaligned __attribute__((aligned(1), may_alias));
    return _mm256_castps_si256(_mm256_set1_ps(*(const unaligned *)p));
}

/* first * count[0] + second * count[1] in every lane. */
VEC_INLINE ivec iv_weigh_counts(const int16_t *count, int first, int second)
{
    uint32_t weights = ((uint32_t)first & 0xffffu) | (uint32_t)second << 16;
    return _mm256_madd_epi16(broadcast_dword(count), iv_set1((int32_t)weights));
}

VEC_INLINE xpair x_pair(const int8_t *q)
{
    return (xpair){broadcast_dword(q), broadcast_dword(q + 4)};
}

VEC_INLINE fvec fv_zero(void)
{
    return _mm256_setzero_ps();
}

VEC_INLINE fvec fv_set1(float f)
{
    return _mm256_set1_ps(f);
}

VEC_INLINE fvec fv_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

VEC_INLINE void fv_store(float *p, fvec v)
{
    _mm256_storeu_ps(p, v);
}

VEC_INLINE fvec fv_load_f16(const void *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)p));
}

VEC_INLINE fvec fv_of_int(ivec v)
{
    return _mm256_cvtepi32_ps(v);
}

VEC_INLINE fvec fv_of_bits(ivec v)
{
    return _mm256_castsi256_ps(v);
}

VEC_INLINE fvec fv_negate(fvec v)
{
    return _mm256_xor_ps(v, _mm256_set1_ps(-0.0f));
}

VEC_INLINE fvec fv_mul(fvec a, fvec b)
{
    return _mm256_mul_ps(a, b);
}

VEC_INLINE fvec fv_fma(fvec a, fvec b, fvec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* The bits of the largest magnitude of a block of x: NaN above infinity above the rest. */
VEC_INLINE uint32_t largest_magnitude(const float *from)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i max = _mm256_setzero_si256();
    for (uint32_t i = 0; i < ACTIVATION_BLOCK; i += LANES)
        max = _mm256_max_epi32(max, _mm256_and_si256(iv_load(from + i), magnitude));
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(max), _mm256_extracti128_si256(max, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(m);
}

/* x / scale to nearest, ties to even, within 127: a subnormal scale is coarse. */
VEC_INLINE __m256i quantized(const float *from, fvec scale)
{
    fvec f = _mm256_div_ps(_mm256_loadu_ps(from), scale);
    f = _mm256_max_ps(_mm256_min_ps(f, _mm256_set1_ps(127.0f)), _mm256_set1_ps(-127.0f));
    return _mm256_cvtps_epi32(f);
}

VEC_INLINE void quantize_block(const float *from, float scale, int8_t *q, int16_t *count)
{
    const fvec divisor = _mm256_set1_ps(scale);
    __m256i a = quantized(from, divisor), b = quantized(from + 8, divisor);
    __m256i c = quantized(from + 16, divisor), d = quantized(from + 24, divisor);
    /* Packing works on halves of vectors: what comes out is a b c d by halves, then in order. */
    __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    iv_store(q, bytes);
    __m256i sums = _mm256_hadd_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    sum = _mm_hadd_epi32(sum, sum);
    count[0] = (int16_t)_mm_cvtsi128_si32(sum);
    count[1] = (int16_t)_mm_extract_epi32(sum, 1);
}
