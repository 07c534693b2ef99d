/* Packed kernels in NEON with the dot products of Armv8.2 (SDOT): a lane takes four products of
 * bytes at once, which is how packed codes lie; the dword of x is named by its lane. */
#if defined(__aarch64__)
#pragma GCC target("arch=armv8.2-a+dotprod")
#include "engine/backend/cpu/packed_neon.h"

VEC_INLINE ivec sum_step(enum range range, ivec sum, ivec first, ivec second, xpair x)
{
    sum = vdotq_lane_s32(sum, signed_of(first), x, 0);
    return vdotq_lane_s32(sum, signed_of(second), x, 1);
}

#define PACKED_TABLE packed_dotprod_neon
#define PACKED_NAME "neon-dotprod"
#define PACKED_ROWS_FULL 32
#include "engine/backend/cpu/packed_narrow.h"
#endif
