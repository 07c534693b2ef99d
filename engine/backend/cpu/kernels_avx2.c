/* AVX2 with FMA and F16C: eight lanes, tails by a mask made of a sliding window over ones and
 * zeros. A tile of 2 activation rows x 4 weight rows keeps eight accumulators, four decoded weights
 * and one activation in the 16 registers. The lanes of a sum are added as l and l + 4, then
 * neighbours twice.
 *
 * This file alone is compiled for the instruction set; kernels.c asks the processor first. */
#include "engine/backend/cpu/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define VEC_LANES 8
#define VEC_TILE_X 2
#define VEC_PRODUCT_ROWS 3
#define VEC_TABLE kernels_avx2
#define VEC_INLINE static inline __attribute__((always_inline))

typedef __m256 vec;

VEC_INLINE __m256i first(size_t n)
{
    static const int32_t window[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i_u *)(window + 8 - n));
}

VEC_INLINE vec vec_zero(void)
{
    return _mm256_setzero_ps();
}

VEC_INLINE vec vec_set1(float f)
{
    return _mm256_set1_ps(f);
}

VEC_INLINE vec vec_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

VEC_INLINE vec vec_load_part(const float *p, size_t n)
{
    return _mm256_maskload_ps(p, first(n));
}

VEC_INLINE void vec_store(float *p, vec v)
{
    _mm256_storeu_ps(p, v);
}

VEC_INLINE void vec_store_part(float *p, vec v, size_t n)
{
    _mm256_maskstore_ps(p, first(n), v);
}

VEC_INLINE vec vec_keep(vec v, size_t n)
{
    return _mm256_and_ps(v, _mm256_castsi256_ps(first(n)));
}

VEC_INLINE vec vec_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

VEC_INLINE vec vec_sub(vec a, vec b)
{
    return _mm256_sub_ps(a, b);
}

VEC_INLINE vec vec_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}

VEC_INLINE vec vec_div(vec a, vec b)
{
    return _mm256_div_ps(a, b);
}

VEC_INLINE vec vec_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

VEC_INLINE vec vec_min(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}

VEC_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

VEC_INLINE __m128 half_sum(vec v)
{
    return _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
}

VEC_INLINE float vec_sum(vec v)
{
    __m128 h = half_sum(v);
    h = _mm_hadd_ps(h, h);
    return _mm_cvtss_f32(_mm_hadd_ps(h, h));
}

VEC_INLINE void vec_sum4(float *sums, vec a, vec b, vec c, vec d)
{
    __m128 ab = _mm_hadd_ps(half_sum(a), half_sum(b));
    __m128 cd = _mm_hadd_ps(half_sum(c), half_sum(d));
    _mm_storeu_ps(sums, _mm_hadd_ps(ab, cd));
}

/* p * 2^k, k + 1.5 * 2^23 being `shifted`, in two halves. */
VEC_INLINE vec vec_times_power_of_two(vec p, vec shifted)
{
    const __m256i bias = _mm256_set1_epi32(127);
    __m256i k = _mm256_sub_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(0x4b400000));
    __m256i half = _mm256_srai_epi32(k, 1);
    __m256i rest = _mm256_sub_epi32(k, half);
    vec low = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    vec high = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(p, low), high);
}

VEC_INLINE vec load_f32(const uint8_t *row, size_t i)
{
    return _mm256_castsi256_ps(_mm256_loadu_si256((const __m256i_u *)(row + 4 * i)));
}

VEC_INLINE vec load_part_f32(const uint8_t *row, size_t i, size_t n)
{
    float padded[VEC_LANES] = {0};
    memcpy(padded, row + 4 * i, 4 * n);
    return _mm256_loadu_ps(padded);
}

VEC_INLINE __m128i load_u16(const uint8_t *row, size_t i)
{
    return _mm_loadu_si128((const __m128i_u *)(row + 2 * i));
}

VEC_INLINE __m128i load_part_u16(const uint8_t *row, size_t i, size_t n)
{
    uint16_t padded[VEC_LANES] = {0};
    memcpy(padded, row + 2 * i, 2 * n);
    return _mm_loadu_si128((const __m128i_u *)padded);
}

VEC_INLINE vec load_f16(const uint8_t *row, size_t i)
{
    return _mm256_cvtph_ps(load_u16(row, i));
}

VEC_INLINE vec load_part_f16(const uint8_t *row, size_t i, size_t n)
{
    return _mm256_cvtph_ps(load_part_u16(row, i, n));
}

VEC_INLINE vec widen_bf16(__m128i v)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
}

VEC_INLINE vec load_bf16(const uint8_t *row, size_t i)
{
    return widen_bf16(load_u16(row, i));
}

VEC_INLINE vec load_part_bf16(const uint8_t *row, size_t i, size_t n)
{
    return widen_bf16(load_part_u16(row, i, n));
}

VEC_INLINE void vec_store_f16(uint8_t *p, vec v)
{
    _mm_storeu_si128((__m128i_u *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

#include "engine/backend/cpu/kernels_vector.h"
#endif
