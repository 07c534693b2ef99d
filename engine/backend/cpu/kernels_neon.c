/* NEON, as every 64-bit Arm processor has it: four lanes, tails through a small buffer of zeros. A
 * tile of 4 activation rows x 4 weight rows keeps sixteen accumulators, four decoded weights and
 * one activation in the 32 registers. The lanes of a sum are added as neighbours, twice. */
#include "engine/backend/cpu/kernels.h"

#if defined(__aarch64__)
#include <arm_neon.h>
#include <string.h>

#define VEC_LANES 4
#define VEC_TILE_X 4
#define VEC_PRODUCT_ROWS 6
#define VEC_TABLE kernels_neon
#define VEC_INLINE static inline __attribute__((always_inline))

typedef float32x4_t vec;

VEC_INLINE vec vec_zero(void)
{
    return vdupq_n_f32(0);
}

VEC_INLINE vec vec_set1(float f)
{
    return vdupq_n_f32(f);
}

VEC_INLINE vec vec_load(const float *p)
{
    return vld1q_f32(p);
}

VEC_INLINE vec vec_load_part(const float *p, size_t n)
{
    float padded[VEC_LANES] = {0};
    memcpy(padded, p, n * sizeof *p);
    return vld1q_f32(padded);
}

VEC_INLINE void vec_store(float *p, vec v)
{
    vst1q_f32(p, v);
}

VEC_INLINE void vec_store_part(float *p, vec v, size_t n)
{
    float lane[VEC_LANES];
    vst1q_f32(lane, v);
    memcpy(p, lane, n * sizeof *p);
}

VEC_INLINE vec vec_keep(vec v, size_t n)
{
    static const uint32_t window[2 * VEC_LANES] = {~0u, ~0u, ~0u, ~0u};
    uint32x4_t mask = vld1q_u32(window + VEC_LANES - n);
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), mask));
}

VEC_INLINE vec vec_add(vec a, vec b)
{
    return vaddq_f32(a, b);
}

VEC_INLINE vec vec_sub(vec a, vec b)
{
    return vsubq_f32(a, b);
}

VEC_INLINE vec vec_mul(vec a, vec b)
{
    return vmulq_f32(a, b);
}

VEC_INLINE vec vec_div(vec a, vec b)
{
    return vdivq_f32(a, b);
}

VEC_INLINE vec vec_max(vec a, vec b)
{
    return vmaxq_f32(a, b);
}

VEC_INLINE vec vec_min(vec a, vec b)
{
    return vminq_f32(a, b);
}

VEC_INLINE vec vec_fma(vec a, vec b, vec c)
{
    return vfmaq_f32(c, a, b);
}

VEC_INLINE float vec_sum(vec v)
{
    v = vpaddq_f32(v, v);
    return vgetq_lane_f32(vpaddq_f32(v, v), 0);
}

VEC_INLINE void vec_sum4(float *sums, vec a, vec b, vec c, vec d)
{
    vst1q_f32(sums, vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d)));
}

/* Rows become columns: neighbouring lanes, then halves. */
VEC_INLINE void vec_transpose(vec v[VEC_LANES])
{
    float64x2_t even01 = vreinterpretq_f64_f32(vtrn1q_f32(v[0], v[1]));
    float64x2_t odd01 = vreinterpretq_f64_f32(vtrn2q_f32(v[0], v[1]));
    float64x2_t even23 = vreinterpretq_f64_f32(vtrn1q_f32(v[2], v[3]));
    float64x2_t odd23 = vreinterpretq_f64_f32(vtrn2q_f32(v[2], v[3]));
    v[0] = vreinterpretq_f32_f64(vzip1q_f64(even01, even23));
    v[1] = vreinterpretq_f32_f64(vzip1q_f64(odd01, odd23));
    v[2] = vreinterpretq_f32_f64(vzip2q_f64(even01, even23));
    v[3] = vreinterpretq_f32_f64(vzip2q_f64(odd01, odd23));
}

/* p * 2^k, k + 1.5 * 2^23 being `shifted`, in two halves. */
VEC_INLINE vec vec_times_power_of_two(vec p, vec shifted)
{
    const int32x4_t bias = vdupq_n_s32(127);
    int32x4_t k = vsubq_s32(vreinterpretq_s32_f32(shifted), vdupq_n_s32(0x4b400000));
    int32x4_t half = vshrq_n_s32(k, 1);
    int32x4_t rest = vsubq_s32(k, half);
    vec low = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(half, bias), 23));
    vec high = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(rest, bias), 23));
    return vmulq_f32(vmulq_f32(p, low), high);
}

VEC_INLINE vec load_f32(const uint8_t *row, size_t i)
{
    return vreinterpretq_f32_u8(vld1q_u8(row + 4 * i));
}

VEC_INLINE vec load_part_f32(const uint8_t *row, size_t i, size_t n)
{
    float padded[VEC_LANES] = {0};
    memcpy(padded, row + 4 * i, 4 * n);
    return vld1q_f32(padded);
}

VEC_INLINE uint16x4_t load_u16(const uint8_t *row, size_t i)
{
    return vreinterpret_u16_u8(vld1_u8(row + 2 * i));
}

VEC_INLINE uint16x4_t load_part_u16(const uint8_t *row, size_t i, size_t n)
{
    uint16_t padded[VEC_LANES] = {0};
    memcpy(padded, row + 2 * i, 2 * n);
    return vld1_u16(padded);
}

VEC_INLINE vec widen_f16(uint16x4_t v)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(v));
}

VEC_INLINE vec load_f16(const uint8_t *row, size_t i)
{
    return widen_f16(load_u16(row, i));
}

VEC_INLINE vec load_part_f16(const uint8_t *row, size_t i, size_t n)
{
    return widen_f16(load_part_u16(row, i, n));
}

VEC_INLINE vec widen_bf16(uint16x4_t v)
{
    return vreinterpretq_f32_u32(vshll_n_u16(v, 16));
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
    vst1_u8(p, vreinterpret_u8_f16(vcvt_f16_f32(v)));
}

#include "engine/backend/cpu/kernels_vector.h"
#endif
