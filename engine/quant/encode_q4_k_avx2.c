/* The search of encode_q4_k_search.h for processors with AVX2: a vector is the eight sub-blocks. */
#if defined(__x86_64__)
#include "engine/quant/encode_q4_k.h"

#include <immintrin.h>

#include "engine/quant/encode_q4_k_search.h"

static inline void q4_k_sums(const struct q4_k_lanes *b, const float *m, const float *inverse,
                             struct q4_k_codes *to)
{
    const __m256 min = _mm256_loadu_ps(m), factor = _mm256_loadu_ps(inverse);
    const __m256 zero = _mm256_setzero_ps(), top = _mm256_set1_ps(15.0f);
    const __m256 integers = _mm256_set1_ps(0x1.8p23f);
    __m256 q1 = zero, q2 = zero, qx = zero;
    for (int i = 0; i < Q4_K_LANE_VALUES; i++) {
        __m256 x = _mm256_load_ps(b->x[i]);
        __m256 q = _mm256_mul_ps(_mm256_add_ps(x, min), factor);
        q = _mm256_min_ps(_mm256_max_ps(q, zero), top);
        q = _mm256_sub_ps(_mm256_add_ps(q, integers), integers);
        __m256 wq = _mm256_mul_ps(_mm256_load_ps(b->w[i]), q);
        q1 = _mm256_add_ps(q1, wq); /* no fusing: the plain search does not */
        q2 = _mm256_add_ps(q2, _mm256_mul_ps(wq, q));
        qx = _mm256_add_ps(qx, _mm256_mul_ps(wq, x));
    }
    _mm256_storeu_ps(to->sum_q, q1);
    _mm256_storeu_ps(to->sum_qq, q2);
    _mm256_storeu_ps(to->sum_qx, qx);
}

void encode_q4_k_avx2(const float *from, uint8_t *to)
{
    q4_k_encode(from, to);
}
#endif
