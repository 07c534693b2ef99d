/* Packed kernels in NEON with the matrix products of Armv8.6 (SMMLA) beside SDOT: two rows of
 * codes, eight bytes each, times two rows of x are four sums, twice the work of an SDOT. Codes that
 * were unpacked are stored as pairs of rows; the sums come as a matrix of 2 x 2 and are put back
 * into rows of lanes once per sub-block. Rows of x that have no partner are multiplied twice. */
#if defined(__aarch64__)
#pragma GCC target("arch=armv8.2-a+dotprod+i8mm")
#include "engine/backend/cpu/packed_neon.h"

VEC_INLINE ivec sum_step(enum range range, ivec sum, ivec first, ivec second, xpair x)
{
    sum = vdotq_lane_s32(sum, signed_of(first), x, 0);
    return vdotq_lane_s32(sum, signed_of(second), x, 1);
}

#define MATRIX_PRODUCTS

/* Four rows of codes, dwords k and k + 1: rows 0 and 1, then rows 2 and 3. */
VEC_INLINE void pair_rows(ivec *first, ivec *second)
{
    ivec low = vzip1q_s32(*first, *second);
    *second = vzip2q_s32(*first, *second);
    *first = low;
}

/* sum, 2 x 2: rows of codes by rows of x. */
VEC_INLINE ivec matrix_step(ivec sum, ivec w, xpair a, xpair b)
{
    return vmmlaq_s32(sum, signed_of(w), vcombine_s8(a, b));
}

/* Rows of x as matrices of sums hold them, from the sums' beginnings and back to lanes of rows. */
VEC_INLINE void matrix_begin(ivec *a, ivec *b)
{
    *a = *b = vzip1q_s32(*a, *b);
}

VEC_INLINE void matrix_end(ivec *a, ivec *b)
{
    ivec first = vuzp1q_s32(*a, *b);
    *b = vuzp2q_s32(*a, *b);
    *a = first;
}

#define PACKED_TABLE packed_i8mm_neon
#define PACKED_NAME "neon-i8mm"
#define PACKED_ROWS_FULL 32
#include "engine/backend/cpu/packed_narrow.h"
#endif
