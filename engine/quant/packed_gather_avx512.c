/* A transpose of 16 rows x 4 dwords at a time: vector k takes the rows k, k + 4, k + 8, k + 12 into
 * its four lanes, and a transpose of 4 x 4 dwords inside the lanes, two steps of unpacking, leaves
 * each dword of the sixteen rows in one vector, in the order of the rows. 16 loads, 8 shuffles and
 * 4 stores for 256 bytes.
 *
 * Compiled for AVX-512 and called only where the processor has it. Pure functions: any thread. */
#if defined(__x86_64__)
#include "engine/quant/packed_gather.h"

#include <immintrin.h>

static inline __m512i every_fourth_row(const uint8_t *from, size_t stride)
{
    __m128i lane[4];
    for (int i = 0; i < 4; i++)
        lane[i] = _mm_loadu_si128((const void *)(from + (size_t)(4 * i) * stride));
    __m512i v = _mm512_castsi128_si512(lane[0]);
    v = _mm512_inserti32x4(v, lane[1], 1);
    v = _mm512_inserti32x4(v, lane[2], 2);
    return _mm512_inserti32x4(v, lane[3], 3);
}

void packed_gather_avx512(const struct packed_gather *g)
{
    const uint8_t *block = g->from;
    uint8_t *to = g->to;
    size_t stride = g->stride;
    for (size_t b = 0; b < g->blocks; b++, block += g->block_bytes) {
        packed_gather_next(g, b);
        for (uint32_t u = 0; u < g->units; u += 4, to += 4 * 64) {
            const uint8_t *from = block + 4 * u;
            __m512i r0 = every_fourth_row(from, stride);
            __m512i r1 = every_fourth_row(from + stride, stride);
            __m512i r2 = every_fourth_row(from + 2 * stride, stride);
            __m512i r3 = every_fourth_row(from + 3 * stride, stride);
            __m512i low01 = _mm512_unpacklo_epi32(r0, r1), high01 = _mm512_unpackhi_epi32(r0, r1);
            __m512i low23 = _mm512_unpacklo_epi32(r2, r3), high23 = _mm512_unpackhi_epi32(r2, r3);
            _mm512_storeu_si512(to, _mm512_unpacklo_epi64(low01, low23));
            _mm512_storeu_si512(to + 64, _mm512_unpackhi_epi64(low01, low23));
            _mm512_storeu_si512(to + 128, _mm512_unpacklo_epi64(high01, high23));
            _mm512_storeu_si512(to + 192, _mm512_unpackhi_epi64(high01, high23));
        }
    }
}
#endif
