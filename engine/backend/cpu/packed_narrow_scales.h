/* Part of packed_narrow.h: the scales and minimums of a block, one part of a group at a time. What
 * the twelve bytes of scales of Q3_K, Q4_K and Q5_K mean is drawn in engine/quant/block_256.c; here
 * four bytes of each row are unpacked at once. */

VEC_INLINE void scales_d(fvec *scale, fvec *min, const struct group *group, size_t block,
                         uint32_t part)
{
    scale[0] = load_half(group, block, part);
}

VEC_INLINE void scales_d_m(fvec *scale, fvec *min, const struct group *group, size_t block,
                           uint32_t part)
{
    scale[0] = load_half(group, 2 * block, part);
    min[0] = load_half(group, 2 * block + 1, part);
}

/* block_32_mxfp4_scale in every lane. */
VEC_INLINE void scales_mxfp4(fvec *scale, fvec *min, const struct group *group, size_t block,
                             uint32_t part)
{
    const ivec one = iv_set1(1);
    ivec e = iv_load_u8(group->field[0] + block * PACKED_ROWS + part * LANES);
    ivec zeros = iv_and(iv_equal(e, iv_set1(0)), iv_set1(0x00200000));
    ivec ones = iv_and(iv_equal(e, one), iv_set1(0x00400000));
    ivec normal = iv_shl(iv_sub(iv_max(e, one), one), 23);
    scale[0] = fv_of_bits(iv_or(normal, iv_or(zeros, ones)));
}

/* factor * byte i of each lane, i = 0 .. 3. */
VEC_INLINE void four_scales(fvec *scale, fvec factor, ivec bytes)
{
    const ivec mask = iv_set1(255);
    scale[0] = fv_mul(factor, fv_of_int(iv_and(bytes, mask)));
    scale[1] = fv_mul(factor, fv_of_int(iv_and(iv_shr(bytes, 8), mask)));
    scale[2] = fv_mul(factor, fv_of_int(iv_and(iv_shr(bytes, 16), mask)));
    scale[3] = fv_mul(factor, fv_of_int(iv_shr(bytes, 24)));
}

/* The same of signed bytes. */
VEC_INLINE void four_signed_scales(fvec *scale, fvec factor, ivec bytes)
{
    scale[0] = fv_mul(factor, fv_of_int(iv_sar(iv_shl(bytes, 24), 24)));
    scale[1] = fv_mul(factor, fv_of_int(iv_sar(iv_shl(bytes, 16), 24)));
    scale[2] = fv_mul(factor, fv_of_int(iv_sar(iv_shl(bytes, 8), 24)));
    scale[3] = fv_mul(factor, fv_of_int(iv_sar(bytes, 24)));
}

/* Minimums are subtracted: their factor is -dmin, which is exact. */
VEC_INLINE void scales_q2_k(fvec *scale, fvec *min, const struct group *group, size_t block,
                            uint32_t part)
{
    fvec d = load_half(group, 2 * block, part);
    fvec dmin = fv_negate(load_half(group, 2 * block + 1, part));
    for (uint32_t i = 0; i < 4; i++) {
        ivec v = load_dword(group, 1, 4 * block + i, part);
        four_scales(scale + 4 * i, d, bits(v, 0, 15));
        four_scales(min + 4 * i, dmin, bits(v, 4, 15));
    }
}

VEC_INLINE void scales_q3_k(fvec *scale, fvec *min, const struct group *group, size_t block,
                            uint32_t part)
{
    fvec d = load_half(group, block, part);
    ivec low[2] = {load_dword(group, 1, 3 * block, part),
                   load_dword(group, 1, 3 * block + 1, part)};
    ivec high = load_dword(group, 1, 3 * block + 2, part);
    UNROLL for (uint32_t i = 0; i < 4; i++) {
        ivec six = iv_or(bits(low[i % 2], i / 2 * 4, 15), iv_shl(bits(high, 2 * i, 3), 4));
        four_signed_scales(scale + 4 * i, d, iv_sub8(six, every_byte(32)));
    }
}

VEC_INLINE void scales_q4_k(fvec *scale, fvec *min, const struct group *group, size_t block,
                            uint32_t part)
{
    fvec d = load_half(group, 2 * block, part);
    fvec dmin = fv_negate(load_half(group, 2 * block + 1, part));
    ivec low = load_dword(group, 1, 3 * block, part);
    ivec middle = load_dword(group, 1, 3 * block + 1, part);
    ivec high = load_dword(group, 1, 3 * block + 2, part);
    four_scales(scale, d, bits(low, 0, 63));
    four_scales(min, dmin, bits(middle, 0, 63));
    four_scales(scale + 4, d, iv_or(bits(high, 0, 15), bits(low, 2, 48)));
    four_scales(min + 4, dmin, iv_or(bits(high, 4, 15), bits(middle, 2, 48)));
}

VEC_INLINE void scales_q6_k(fvec *scale, fvec *min, const struct group *group, size_t block,
                            uint32_t part)
{
    fvec d = load_half(group, block, part);
    for (uint32_t i = 0; i < 4; i++)
        four_signed_scales(scale + 4 * i, d, load_dword(group, 1, 4 * block + i, part));
}

#define scales_q8_0 scales_d
#define scales_q4_0 scales_d
#define scales_q4_1 scales_d_m
#define scales_q5_0 scales_d
#define scales_q5_1 scales_d_m
#define scales_iq4_nl scales_d
#define scales_q5_k scales_q4_k
