/* Part of packed_narrow.h: the block decoders, written once over a vector of LANES 32-bit lanes.
 *
 * A group of sixteen rows is GROUP_PARTS vectors wide. A decoder brings one part of 32 values of a
 * block: eight vectors of codes, vector k with values 4k .. 4k + 3 of each lane's row as its four
 * bytes. Codes come as they are stored, without the format's offset: the kernel takes offset * sum
 * of q from the sum, which is one operation for 32 values instead of eight. Q8_0 and IQ4_NL are
 * signed and come as the instruction set likes them (SIGNED_OFFSET).
 *
 * The layouts are those of engine/quant/block_32.c, block_256.c and packed.c. */

#define SUBS_MAX 16 /* sub-blocks of a block */
#define FIELD_DWORD (PACKED_ROWS * 4)
#define FIELD_HALF (PACKED_ROWS * 2)

/* Where the fields of a full group of sixteen rows begin. */
struct group {
    const uint8_t *field[PACKED_FIELDS_MAX];
};

/* What the kernels know of a format beside packed_format.h. All constants once one is inlined. */
struct format {
    enum dtype dtype;
    /* Eight vectors: values 32 s .. 32 s + 31 of a block. */
    void (*codes)(ivec *codes, const struct group *group, size_t block, uint32_t s, uint32_t part);
    /* One vector for each sub-block of a block; min only where the format has one. */
    void (*scales)(fvec *scale, fvec *min, const struct group *group, size_t block, uint32_t part);
};

VEC_INLINE enum range range_of(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_Q8_0:
    case DTYPE_IQ4_NL:
        return RANGE_SIGNED;
    case DTYPE_Q5_0:
    case DTYPE_Q5_1:
    case DTYPE_MXFP4:
    case DTYPE_Q5_K:
    case DTYPE_Q6_K:
        return RANGE_63;
    default:
        return RANGE_15;
    }
}

/* What codes are above the integers they stand for. */
VEC_INLINE int offset_of(enum dtype dtype)
{
    return range_of(dtype) == RANGE_SIGNED ? SIGNED_OFFSET : packed_offset(dtype);
}

/* The last field, which is most of the bytes, and its dwords in a block. */
VEC_INLINE uint32_t codes_field(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_Q5_0:
    case DTYPE_Q5_1:
    case DTYPE_Q2_K:
    case DTYPE_Q4_K:
        return 2;
    case DTYPE_Q3_K:
    case DTYPE_Q5_K:
    case DTYPE_Q6_K:
        return 3;
    default:
        return 1;
    }
}

VEC_INLINE uint32_t codes_dwords(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_Q8_0:
        return 8;
    case DTYPE_Q2_K:
    case DTYPE_Q3_K:
        return 16;
    case DTYPE_Q4_K:
    case DTYPE_Q5_K:
    case DTYPE_Q6_K:
        return 32;
    default:
        return 4;
    }
}

/* Sub-blocks in 32 values. */
VEC_INLINE uint32_t halves_of(enum dtype dtype)
{
    return packed_sub_values(dtype) == 16 ? 2 : 1;
}

VEC_INLINE ivec load_dword(const struct group *group, uint32_t field, size_t unit, uint32_t part)
{
    return iv_load(group->field[field] + unit * FIELD_DWORD + part * LANES * 4);
}

VEC_INLINE fvec load_half(const struct group *group, size_t unit, uint32_t part)
{
    return fv_load_f16(group->field[0] + unit * FIELD_HALF + part * LANES * 2);
}

VEC_INLINE ivec every_byte(uint32_t byte)
{
    return iv_set1((int32_t)(byte * 0x01010101u));
}

/* The bits that `mask` of every byte names once they are moved down. */
VEC_INLINE ivec bits(ivec v, uint32_t down, uint32_t mask)
{
    return iv_and(iv_shr_by(v, down), every_byte(mask));
}

/* Sixteen bytes of nibbles in each row: values 0 .. 15 the low ones, 16 .. 31 the high ones. */
VEC_INLINE void nibbles_32(ivec *codes, const struct group *group, uint32_t field, size_t block,
                           uint32_t part)
{
    for (uint32_t k = 0; k < 4; k++) {
        ivec v = load_dword(group, field, 4 * block + k, part);
        codes[k] = iv_and(v, every_byte(15));
        codes[4 + k] = iv_and(iv_shr(v, 4), every_byte(15));
    }
}

VEC_INLINE void codes_q8_0(ivec *codes, const struct group *group, size_t block, uint32_t s,
                           uint32_t part)
{
    for (uint32_t k = 0; k < 8; k++)
        codes[k] = signed_codes(load_dword(group, 1, 8 * block + k, part));
}

VEC_INLINE void codes_q4_0(ivec *codes, const struct group *group, size_t block, uint32_t s,
                         uint32_t part)
{
    nibbles_32(codes, group, 1, block, part);
}

VEC_INLINE void codes_q5_0(ivec *codes, const struct group *group, size_t block, uint32_t s,
                         uint32_t part)
{
    ivec fifth = load_dword(group, 1, block, part);
    nibbles_32(codes, group, 2, block, part);
    for (uint32_t k = 0; k < 8; k++)
        codes[k] = iv_or(codes[k], iv_spread_bits(fifth, k, 16));
}

VEC_INLINE void codes_iq4_nl(ivec *codes, const struct group *group, size_t block, uint32_t s,
                             uint32_t part)
{
    const ivec table = iv_table(block_32_iq4_nl);
    nibbles_32(codes, group, 1, block, part);
    for (uint32_t k = 0; k < 8; k++)
        codes[k] = signed_codes(iv_lookup(table, codes[k]));
}

VEC_INLINE void codes_mxfp4(ivec *codes, const struct group *group, size_t block, uint32_t s,
                            uint32_t part)
{
    const ivec offset = every_byte((uint32_t)packed_offset(DTYPE_MXFP4));
    const ivec table = iv_add8(iv_table(block_32_mxfp4), offset);
    nibbles_32(codes, group, 1, block, part);
    for (uint32_t k = 0; k < 8; k++)
        codes[k] = iv_lookup(table, codes[k]);
}

VEC_INLINE void codes_q2_k(ivec *codes, const struct group *group, size_t block, uint32_t s,
                           uint32_t part)
{
    for (uint32_t k = 0; k < 8; k++) {
        ivec v = load_dword(group, 2, 16 * block + s / 4 * 8 + k, part);
        codes[k] = bits(v, s % 4 * 2, 3);
    }
}

VEC_INLINE void codes_q3_k(ivec *codes, const struct group *group, size_t block, uint32_t s,
                           uint32_t part)
{
    for (uint32_t k = 0; k < 8; k++) {
        ivec v = load_dword(group, 3, 16 * block + s / 4 * 8 + k, part);
        ivec high = load_dword(group, 2, 8 * block + k, part);
        codes[k] = iv_or(bits(v, s % 4 * 2, 3), iv_shl(bits(high, s, 1), 2));
    }
}

VEC_INLINE void codes_q4_k(ivec *codes, const struct group *group, size_t block, uint32_t s,
                           uint32_t part)
{
    for (uint32_t k = 0; k < 8; k++)
        codes[k] = bits(load_dword(group, 2, 32 * block + s / 2 * 8 + k, part), s % 2 * 4, 15);
}

VEC_INLINE void codes_q5_k(ivec *codes, const struct group *group, size_t block, uint32_t s,
                           uint32_t part)
{
    for (uint32_t k = 0; k < 8; k++) {
        ivec v = load_dword(group, 3, 32 * block + s / 2 * 8 + k, part);
        ivec high = load_dword(group, 2, 8 * block + k, part);
        codes[k] = iv_or(bits(v, s % 2 * 4, 15), iv_shl(bits(high, s, 1), 4));
    }
}

VEC_INLINE void codes_q6_k(ivec *codes, const struct group *group, size_t block, uint32_t s,
                           uint32_t part)
{
    for (uint32_t k = 0; k < 8; k++) {
        ivec v = load_dword(group, 3, 32 * block + s / 4 * 16 + s % 2 * 8 + k, part);
        ivec high = load_dword(group, 2, 16 * block + s / 4 * 8 + k, part);
        codes[k] = iv_or(bits(v, s / 2 % 2 * 4, 15), iv_shl(bits(high, s % 4 * 2, 3), 4));
    }
}

#define codes_q4_1 codes_q4_0
#define codes_q5_1 codes_q5_0
