/* Picks the search compiled for this machine, and keeps what is no number away from it.
 *
 * One thread of a Xeon that others use too encodes 70 to 80 million values a second with AVX2, 25
 * without. Most of it is the eleven passes of the search. */
#include "engine/quant/encode_q4_k.h"

#include "engine/quant/encode_q4_k_search.h"

static inline void q4_k_sums(const struct q4_k_lanes *b, const float *m, const float *inverse,
                             struct q4_k_codes *to)
{
    for (int l = 0; l < Q4_K_LANES; l++) {
        float q1 = 0, q2 = 0, qx = 0;
        for (int i = 0; i < Q4_K_LANE_VALUES; i++) {
            float x = b->x[i][l], q = q4_k_code((x + m[l]) * inverse[l]), wq = b->w[i][l] * q;
            q1 += wq;
            q2 += wq * q;
            qx += wq * x;
        }
        to->sum_q[l] = q1;
        to->sum_qq[l] = q2;
        to->sum_qx[l] = qx;
    }
}

void encode_q4_k_plain(const float *from, uint8_t *to)
{
    q4_k_encode(from, to);
}

static void encode_not_finite(uint8_t *to)
{
    const uint16_t nan = 0x7e00;
    memset(to, 0, Q4_K_BYTES);
    memcpy(to, &nan, sizeof nan);
}

void encode_q4_k(const float *from, uint8_t *to, size_t blocks)
{
    void (*encode)(const float *from, uint8_t *to) = encode_q4_k_plain;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        encode = encode_q4_k_avx2;
#endif
    for (size_t b = 0; b < blocks; b++, from += BLOCK_256_VALUES, to += Q4_K_BYTES) {
        bool finite = true;
        for (int i = 0; i < BLOCK_256_VALUES; i++)
            finite &= fabsf(from[i]) <= FLT_MAX;
        if (finite)
            encode(from, to);
        else
            encode_not_finite(to);
    }
}
