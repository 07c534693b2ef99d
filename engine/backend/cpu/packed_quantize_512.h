/* Activations to 8 bits in AVX-512, a block in two vectors: the bits of packed_scalar's, because
 * division, rounding and the sums of integers leave no choice. A source, not an interface:
 * packed_avx512.c, packed_vnni.c and packed_amx.c include it. */
#include <immintrin.h>

#include "engine/backend/cpu/packed_format.h"

/* Sums of the sixteen bytes of each half. */
PACKED_INLINE void count_halves(__m256i q, int16_t *count)
{
    __m256i pairs = _mm256_maddubs_epi16(_mm256_set1_epi8(1), q);
    __m256i fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    __m256i eights = _mm256_hadd_epi32(fours, fours);
    __m256i all = _mm256_hadd_epi32(eights, eights);
    count[0] = (int16_t)_mm256_cvtsi256_si32(all);
    count[1] = (int16_t)_mm_cvtsi128_si32(_mm256_extracti128_si256(all, 1));
}

PACKED_INLINE __m128i quantize_16(__m512 x, __m512 scale, __mmask16 divide)
{
    const __m512 most = _mm512_set1_ps(127.0f), least = _mm512_set1_ps(-127.0f);
    __m512 f = _mm512_maskz_div_ps(divide, x, scale);
    f = _mm512_max_ps(_mm512_min_ps(f, most), least);
    return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(f));
}

/* Magnitudes compare as their bits do, NaN above all. */
static void quantize(const struct packed_x *x, uint32_t row, const float *from)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    const size_t blocks = x->cols / ACTIVATION_BLOCK;
    for (size_t b = 0; b < blocks; b++, from += ACTIVATION_BLOCK) {
        const size_t at = row * blocks + b;
        __m512 low = _mm512_loadu_ps(from), high = _mm512_loadu_ps(from + 16);
        __m512i bits = _mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(low), magnitude),
                                        _mm512_and_si512(_mm512_castps_si512(high), magnitude));
        const uint32_t max_bits = _mm512_reduce_max_epu32(bits);
        const bool finite = max_bits < 0x7f800000u;
        float max;
        memcpy(&max, &max_bits, sizeof max);
        const float scale = finite ? max / 127.0f : __builtin_nanf("");
        const __mmask16 divide = finite && scale > 0 ? 0xffff : 0;
        const __m512 scales = _mm512_set1_ps(scale);
        __m256i q = _mm256_set_m128i(quantize_16(high, scales, divide),
                                     quantize_16(low, scales, divide));
        _mm256_storeu_si256((__m256i *)(x->q + at * ACTIVATION_BLOCK), q);
        int16_t *count = x->count + 2 * at;
        count_halves(q, count);
        x->scale[at] = scale;
        x->sum32[at] = scale * (float)(count[0] + count[1]);
        x->sum16[2 * at] = scale * (float)count[0];
        x->sum16[2 * at + 1] = scale * (float)count[1];
    }
}
