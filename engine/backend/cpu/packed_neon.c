/* Packed kernels in the NEON that every 64-bit Arm processor has: four rows to a vector. Products
 * of bytes are made in 16 bits, where |code| is at most 128 and |q| at most 127, so a product is at
 * most 16256 and the sum of a pair, 32512, does not overflow. */
#if defined(__aarch64__)
#include "engine/backend/cpu/packed_neon.h"

/* Each lane's four bytes of w times the four bytes of x, which stand in x twice. */
VEC_INLINE ivec add_products(ivec sum, ivec w, int8x8_t x)
{
    int16x8_t low = vmull_s8(vget_low_s8(signed_of(w)), x);
    int16x8_t high = vmull_s8(vget_high_s8(signed_of(w)), x);
    return vpadalq_s16(sum, vpaddq_s16(low, high));
}

VEC_INLINE ivec sum_step(enum range range, ivec sum, ivec first, ivec second, xpair x)
{
    int32x2_t dwords = vreinterpret_s32_s8(x);
    sum = add_products(sum, first, vreinterpret_s8_s32(vdup_lane_s32(dwords, 0)));
    return add_products(sum, second, vreinterpret_s8_s32(vdup_lane_s32(dwords, 1)));
}

#define PACKED_TABLE packed_neon
#define PACKED_NAME "neon"
#define PACKED_ROWS_FULL 32
#include "engine/backend/cpu/packed_narrow.h"
#endif
