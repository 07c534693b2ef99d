/* The vocabulary of packed_narrow.h in NEON: four lanes, four parts of a group. packed_neon.c,
 * packed_dotprod_neon.c and packed_i8mm_neon.c include it and add how products are summed. Codes of
 * any range are multiplied as signed bytes. A source, not an interface. */
#include <arm_neon.h>
#include <math.h>
#include <string.h>

#include "engine/backend/cpu/packed_format.h"

#define VEC_INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")
#define LANES 4
#define GROUP_PARTS (PACKED_ROWS / LANES)
#define SIGNED_OFFSET 0

typedef int32x4_t ivec; /* 32-bit lanes, or the bytes in them */
typedef float32x4_t fvec;
typedef int8x8_t xpair; /* two dwords of a row of x */

enum range { RANGE_15, RANGE_63, RANGE_SIGNED };

VEC_INLINE ivec of_bytes(uint8x16_t v)
{
    return vreinterpretq_s32_u8(v);
}

VEC_INLINE uint8x16_t bytes_of(ivec v)
{
    return vreinterpretq_u8_s32(v);
}

VEC_INLINE int8x16_t signed_of(ivec v)
{
    return vreinterpretq_s8_s32(v);
}

VEC_INLINE ivec signed_codes(ivec codes)
{
    return codes;
}

VEC_INLINE ivec iv_load(const void *p)
{
    return of_bytes(vld1q_u8(p));
}

VEC_INLINE void iv_store(void *p, ivec v)
{
    vst1q_u8(p, bytes_of(v));
}

VEC_INLINE ivec iv_load_u8(const void *p)
{
    uint32_t four;
    memcpy(&four, p, sizeof four);
    uint16x8_t wide = vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(four)));
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(wide)));
}

VEC_INLINE ivec iv_set1(int32_t v)
{
    return vdupq_n_s32(v);
}

VEC_INLINE ivec iv_and(ivec a, ivec b)
{
    return vandq_s32(a, b);
}

VEC_INLINE ivec iv_or(ivec a, ivec b)
{
    return vorrq_s32(a, b);
}

VEC_INLINE ivec iv_sub(ivec a, ivec b)
{
    return vsubq_s32(a, b);
}

VEC_INLINE ivec iv_add8(ivec a, ivec b)
{
    return of_bytes(vaddq_u8(bytes_of(a), bytes_of(b)));
}

VEC_INLINE ivec iv_sub8(ivec a, ivec b)
{
    return of_bytes(vsubq_u8(bytes_of(a), bytes_of(b)));
}

VEC_INLINE ivec iv_max(ivec a, ivec b)
{
    return vmaxq_s32(a, b);
}

VEC_INLINE ivec iv_equal(ivec a, ivec b)
{
    return vreinterpretq_s32_u32(vceqq_s32(a, b));
}

VEC_INLINE ivec iv_shl(ivec v, int n)
{
    return vshlq_s32(v, vdupq_n_s32(n));
}

/* n need not be a constant. */
VEC_INLINE ivec iv_shr_by(ivec v, uint32_t n)
{
    return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(v), vdupq_n_s32(-(int32_t)n)));
}

VEC_INLINE ivec iv_shr(ivec v, int n)
{
    return iv_shr_by(v, (uint32_t)n);
}

VEC_INLINE ivec iv_sar(ivec v, int n)
{
    return vshlq_s32(v, vdupq_n_s32(-n));
}

VEC_INLINE ivec iv_table(const int8_t *table)
{
    return vreinterpretq_s32_s8(vld1q_s8(table));
}

/* Each byte of v, 0 .. 15, by the table. */
VEC_INLINE ivec iv_lookup(ivec table, ivec v)
{
    return of_bytes(vqtbl1q_u8(bytes_of(table), bytes_of(v)));
}

/* Bits 4k .. 4k + 3 of each lane to its four bytes, as `value`. */
VEC_INLINE ivec iv_spread_bits(ivec v, uint32_t k, uint32_t value)
{
    static const uint8_t first_bytes[16] = {0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12};
    const ivec bit = iv_set1((int32_t)(k % 2 ? 0x80402010u : 0x08040201u));
    uint8x16_t from = vaddq_u8(vld1q_u8(first_bytes), vdupq_n_u8((uint8_t)(k / 2)));
    uint8x16_t set = vtstq_u8(vqtbl1q_u8(bytes_of(v), from), bytes_of(bit));
    return of_bytes(vandq_u8(set, vdupq_n_u8((uint8_t)value)));
}

/* first * count[0] + second * count[1] in every lane. */
VEC_INLINE ivec iv_weigh_counts(const int16_t *count, int first, int second)
{
    return vdupq_n_s32(first * count[0] + second * count[1]);
}

VEC_INLINE xpair x_pair(const int8_t *q)
{
    return vld1_s8(q);
}

VEC_INLINE fvec fv_zero(void)
{
    return vdupq_n_f32(0);
}

VEC_INLINE fvec fv_set1(float f)
{
    return vdupq_n_f32(f);
}

VEC_INLINE fvec fv_load(const float *p)
{
    return vld1q_f32(p);
}

VEC_INLINE void fv_store(float *p, fvec v)
{
    vst1q_f32(p, v);
}

VEC_INLINE fvec fv_load_f16(const void *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}

VEC_INLINE fvec fv_of_int(ivec v)
{
    return vcvtq_f32_s32(v);
}

VEC_INLINE fvec fv_of_bits(ivec v)
{
    return vreinterpretq_f32_s32(v);
}

VEC_INLINE fvec fv_negate(fvec v)
{
    return vnegq_f32(v);
}

VEC_INLINE fvec fv_mul(fvec a, fvec b)
{
    return vmulq_f32(a, b);
}

VEC_INLINE fvec fv_fma(fvec a, fvec b, fvec c)
{
    return vfmaq_f32(c, a, b);
}

/* The bits of the largest magnitude of a block of x: NaN above infinity above the rest. */
VEC_INLINE uint32_t largest_magnitude(const float *from)
{
    uint32x4_t max = vdupq_n_u32(0);
    for (uint32_t i = 0; i < ACTIVATION_BLOCK; i += LANES)
        max = vmaxq_u32(max, vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(from + i))));
    return vmaxvq_u32(max);
}

/* Four of x / scale to nearest, ties to even, within 127: a subnormal scale is coarse. */
VEC_INLINE int16x4_t quantized(const float *from, fvec scale)
{
    fvec f = vdivq_f32(vld1q_f32(from), scale);
    f = vmaxq_f32(vminq_f32(f, vdupq_n_f32(127)), vdupq_n_f32(-127));
    return vmovn_s32(vcvtnq_s32_f32(f));
}

VEC_INLINE void quantize_block(const float *from, float scale, int8_t *q, int16_t *count)
{
    const fvec divisor = vdupq_n_f32(scale);
    for (uint32_t half = 0; half < 2; half++, from += 16) {
        int16x8_t a = vcombine_s16(quantized(from, divisor), quantized(from + 4, divisor));
        int16x8_t b = vcombine_s16(quantized(from + 8, divisor), quantized(from + 12, divisor));
        vst1q_s8(q + 16 * half, vcombine_s8(vmovn_s16(a), vmovn_s16(b)));
        count[half] = vaddvq_s16(vaddq_s16(a, b));
    }
}

VEC_INLINE ivec sum_begin(enum range range, ivec start)
{
    return start;
}

VEC_INLINE ivec sum_end(enum range range, ivec sum, ivec start)
{
    return sum;
}
