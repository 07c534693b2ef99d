/* AVX-512 (F, BW, DQ, VL): sixteen lanes, tails by mask. A tile of 4 x 4 keeps sixteen
 * accumulators, four decoded weights and one activation in the 32 registers. The lanes of a sum are
 * added as halves (l and l + 8, then l and l + 4), then neighbours twice.
 *
 * This file alone is compiled for the instruction set; kernels.c asks the processor first. */
#include "engine/backend/cpu/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define VEC_LANES 16
#define VEC_TILE_X 4
#define VEC_PRODUCT_ROWS 6
#define VEC_TABLE kernels_avx512
#define VEC_INLINE static inline __attribute__((always_inline))

typedef __m512 vec;

VEC_INLINE __mmask16 first(size_t n)
{
    return (__mmask16)((1u << n) - 1);
}

VEC_INLINE vec vec_zero(void)
{
    return _mm512_setzero_ps();
}

VEC_INLINE vec vec_set1(float f)
{
    return _mm512_set1_ps(f);
}

VEC_INLINE vec vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

VEC_INLINE vec vec_load_part(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(first(n), p);
}

VEC_INLINE void vec_store(float *p, vec v)
{
    _mm512_storeu_ps(p, v);
}

VEC_INLINE void vec_store_part(float *p, vec v, size_t n)
{
    _mm512_mask_storeu_ps(p, first(n), v);
}

VEC_INLINE vec vec_keep(vec v, size_t n)
{
    return _mm512_maskz_mov_ps(first(n), v);
}

VEC_INLINE vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

VEC_INLINE vec vec_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}

VEC_INLINE vec vec_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

VEC_INLINE vec vec_div(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}

VEC_INLINE vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

VEC_INLINE vec vec_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}

VEC_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

VEC_INLINE __m128 quarter_sum(vec v)
{
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    return _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
}

VEC_INLINE float vec_sum(vec v)
{
    __m128 q = quarter_sum(v);
    q = _mm_hadd_ps(q, q);
    return _mm_cvtss_f32(_mm_hadd_ps(q, q));
}

VEC_INLINE void vec_sum4(float *sums, vec a, vec b, vec c, vec d)
{
    __m128 ab = _mm_hadd_ps(quarter_sum(a), quarter_sum(b));
    __m128 cd = _mm_hadd_ps(quarter_sum(c), quarter_sum(d));
    _mm_storeu_ps(sums, _mm_hadd_ps(ab, cd));
}

/* Two vectors to one: x's lanes l and l + 8 are added, l and l + 4, ..., y's likewise. */
VEC_INLINE vec add_halves(vec x, vec y)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x44), _mm512_shuffle_f32x4(x, y, 0xee));
}

VEC_INLINE vec add_quarters(vec x, vec y)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x88), _mm512_shuffle_f32x4(x, y, 0xdd));
}

VEC_INLINE vec add_neighbours(vec x, vec y)
{
    return _mm512_add_ps(_mm512_shuffle_ps(x, y, 0x88), _mm512_shuffle_ps(x, y, 0xdd));
}

/* The sums of sixteen vectors, in the tree of vec_sum, at the price of three of them: each step
 * adds the lanes of two vectors and leaves one. */
VEC_INLINE void vec_sum16(float *sums, vec acc[VEC_TILE_X][4])
{
    vec step[4];
    for (int i = 0; i < 4; i++) /* acc[i][0], [1], [2], [3], each four lanes */
        step[i] = add_quarters(add_halves(acc[i][0], acc[i][1]), add_halves(acc[i][2], acc[i][3]));
    vec sum = add_neighbours(add_neighbours(step[0], step[1]), add_neighbours(step[2], step[3]));
    const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    _mm512_storeu_ps(sums, _mm512_permutexvar_ps(order, sum));
}
#define VEC_SUM_TILE vec_sum16

/* p * 2^k, k + 1.5 * 2^23 being `shifted`, in two halves. */
VEC_INLINE vec vec_times_power_of_two(vec p, vec shifted)
{
    const __m512i bias = _mm512_set1_epi32(127);
    __m512i k = _mm512_sub_epi32(_mm512_castps_si512(shifted), _mm512_set1_epi32(0x4b400000));
    __m512i half = _mm512_srai_epi32(k, 1);
    __m512i rest = _mm512_sub_epi32(k, half);
    vec low = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(half, bias), 23));
    vec high = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(rest, bias), 23));
    return _mm512_mul_ps(_mm512_mul_ps(p, low), high);
}

VEC_INLINE vec load_f32(const uint8_t *row, size_t i)
{
    return _mm512_loadu_ps(row + 4 * i);
}

VEC_INLINE vec load_part_f32(const uint8_t *row, size_t i, size_t n)
{
    return _mm512_maskz_loadu_ps(first(n), row + 4 * i);
}

VEC_INLINE __m256i load_u16(const uint8_t *row, size_t i)
{
    return _mm256_loadu_si256((const __m256i_u *)(row + 2 * i));
}

VEC_INLINE __m256i load_part_u16(const uint8_t *row, size_t i, size_t n)
{
    return _mm256_maskz_loadu_epi16(first(n), row + 2 * i);
}

VEC_INLINE vec load_f16(const uint8_t *row, size_t i)
{
    return _mm512_cvtph_ps(load_u16(row, i));
}

VEC_INLINE vec load_part_f16(const uint8_t *row, size_t i, size_t n)
{
    return _mm512_cvtph_ps(load_part_u16(row, i, n));
}

VEC_INLINE vec widen_bf16(__m256i v)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
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
    _mm256_storeu_si256((__m256i_u *)p,
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

#include "engine/backend/cpu/kernels_vector.h"
#endif
