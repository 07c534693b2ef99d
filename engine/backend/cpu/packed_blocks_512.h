/* The block decoders in AVX-512: a block of sixteen packed rows as vectors of codes and of scales.
 *
 * A vector of codes is dword k of a sub-block of 32 values: bytes 4k .. 4k + 3 of each of the
 * sixteen rows, made by a load and at most four instructions from the units of the packed layout
 * (engine/quant/packed.h), whatever the row. Its codes are u + packed_offset, or u itself where
 * `is_signed`. A vector of scales is one f32 per row. All arguments but the place fold to
 * constants.
 *
 * A group of fewer than sixteen rows is copied with zeros into a full one first (block_group), so
 * that no decoder needs masks: that is once per matrix. A source, not an interface:
 * packed_avx512.c, packed_vnni.c and packed_amx.c include it. */
#include <immintrin.h>

#include "engine/backend/cpu/packed_format.h"

/* A full group: where each of its fields begins. */
struct group {
    const uint8_t *field[PACKED_FIELDS_MAX];
    uint32_t rows; /* of the matrix, before zeros were added */
};

PACKED_INLINE __m512i bytes_all(int value)
{
    return _mm512_set1_epi8((char)value);
}

PACKED_INLINE __m512i unit_at(const uint8_t *field, size_t unit)
{
    return _mm512_loadu_si512(field + unit * 64);
}

/* Bits [low, low + bits) of every byte, moved to bit `to`. */
PACKED_INLINE __m512i byte_bits(__m512i v, int low, int bits, int to)
{
    v = low > to   ? _mm512_srli_epi16(v, (unsigned)(low - to))
        : low < to ? _mm512_slli_epi16(v, (unsigned)(to - low))
                   : v;
    return _mm512_and_si512(v, bytes_all(((1 << bits) - 1) << to));
}

PACKED_INLINE __m512i nibbles(const uint8_t *codes, size_t unit, bool high)
{
    return byte_bits(unit_at(codes, unit), high ? 4 : 0, 4, 0);
}

/* One more bit, worth `value`, where byte & bit is not zero. */
PACKED_INLINE __m512i add_bit(__m512i codes, __m512i bytes, __m512i bit, int value)
{
    __mmask64 set = _mm512_test_epi8_mask(bytes, bit);
    return _mm512_mask_add_epi8(codes, set, codes, bytes_all(value));
}

/* Bits 4k .. 4k + 3 of each row's dword, worth 16, to the four bytes of the row. */
PACKED_INLINE __m512i add_fifth_bits(__m512i codes, __m512i bits, size_t k)
{
    const __m512i rows =
        _mm512_broadcast_i32x4(_mm_set_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0));
    __m512i byte = _mm512_shuffle_epi8(bits, _mm512_add_epi8(rows, bytes_all((int)k / 2)));
    return add_bit(codes, byte, _mm512_set1_epi32(k % 2 ? (int)0x80402010 : 0x08040201), 16);
}

PACKED_INLINE __m512i look_up(const int8_t *table, __m512i indices, int offset)
{
    __m512i values = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)table));
    return _mm512_shuffle_epi8(_mm512_add_epi8(values, bytes_all(offset)), indices);
}

/* Codes of formats of 32 values; block b, dword k. */
PACKED_INLINE __m512i codes_32(enum dtype dtype, const struct group *g, size_t b, size_t k,
                               int offset)
{
    const uint8_t *const *f = g->field;
    const size_t unit = 4 * b + k % 4;
    switch (dtype) {
    case DTYPE_Q8_0: return _mm512_xor_si512(unit_at(f[1], 8 * b + k), bytes_all(offset));
    case DTYPE_IQ4_NL: return look_up(block_32_iq4_nl, nibbles(f[1], unit, k >= 4), offset);
    case DTYPE_MXFP4: return look_up(block_32_mxfp4, nibbles(f[1], unit, k >= 4), offset);
    case DTYPE_Q5_0:
    case DTYPE_Q5_1: return add_fifth_bits(nibbles(f[2], unit, k >= 4), unit_at(f[1], b), k);
    default: return nibbles(f[1], unit, k >= 4);
    }
}

/* Codes of formats of 256 values; block b, sub-block 4 * half + quarter of it, dword k. */
PACKED_INLINE __m512i codes_256(enum dtype dtype, const struct group *g, size_t b, size_t half,
                                size_t quarter, size_t k)
{
    const uint8_t *const *f = g->field;
    const int two = 2 * (int)quarter; /* which bits, where codes have two of them in a byte */
    const size_t s = 4 * half + quarter, unit = 16 * b + 8 * half + k;
    switch (dtype) {
    case DTYPE_Q2_K: return byte_bits(unit_at(f[2], unit), two, 2, 0);
    case DTYPE_Q3_K:
        return add_bit(byte_bits(unit_at(f[3], unit), two, 2, 0), unit_at(f[2], 8 * b + k),
                       bytes_all(1 << s), 4);
    case DTYPE_Q4_K: return nibbles(f[2], 32 * b + s / 2 * 8 + k, quarter % 2);
    case DTYPE_Q5_K:
        return add_bit(nibbles(f[3], 32 * b + s / 2 * 8 + k, quarter % 2), unit_at(f[2], 8 * b + k),
                       bytes_all(1 << s), 16);
    default: /* Q6_K */
        return _mm512_or_si512(
            nibbles(f[3], 32 * b + 16 * half + quarter % 2 * 8 + k, quarter >= 2),
            byte_bits(unit_at(f[2], unit), two, 2, 4));
    }
}

/* Vector k of a sub-block of 32 values of block b: the only one of formats of 32, the `quarter`-th
 * of a half of those of 256. dtype, quarter, k and is_signed are constants. */
PACKED_INLINE __m512i block_codes(enum dtype dtype, const struct group *g, size_t b, size_t half,
                                  size_t quarter, size_t k, bool is_signed)
{
    if (dtype == DTYPE_Q8_0 || dtype == DTYPE_IQ4_NL || dtype == DTYPE_MXFP4)
        return codes_32(dtype, g, b, k, is_signed ? 0 : packed_offset(dtype));
    __m512i codes = packed_block_values(dtype) == 32 ? codes_32(dtype, g, b, k, 0)
                                                     : codes_256(dtype, g, b, half, quarter, k);
    if (is_signed && packed_offset(dtype))
        codes = _mm512_sub_epi8(codes, bytes_all(packed_offset(dtype)));
    return codes;
}

/* Unit `unit` of sixteen halves. */
PACKED_INLINE __m512 halves_at(const uint8_t *field, size_t unit)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(field + unit * 32)));
}

/* 2^(e - 128), see block_32_mxfp4_scale. */
PACKED_INLINE __m512 powers_at(const uint8_t *field, size_t unit)
{
    __m512i e = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(field + unit * 16)));
    __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, _mm512_set1_epi32(1)), 23);
    __m512i tiny = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
    __mmask16 is_tiny = _mm512_cmplt_epi32_mask(e, _mm512_set1_epi32(2));
    return _mm512_castsi512_ps(_mm512_mask_mov_epi32(normal, is_tiny, tiny));
}

/* The scale and the minimum of a block of 32 values. */
PACKED_INLINE __m512 block_scale(enum dtype dtype, const struct group *g, size_t b)
{
    if (dtype == DTYPE_MXFP4)
        return powers_at(g->field[0], b);
    return halves_at(g->field[0], packed_has_min(dtype) ? 2 * b : b);
}

PACKED_INLINE __m512 block_min(enum dtype dtype, const struct group *g, size_t b)
{
    return halves_at(g->field[0], 2 * b + 1);
}

/* d times byte j of every row's dword, for j = 0 .. 3; the bytes are signed and `less` is taken
 * away. */
PACKED_INLINE void scales_of_bytes(__m512 d, __m512i bytes, int less, float *to)
{
    for (unsigned j = 0; j < 4; j++) {
        __m512i top = _mm512_slli_epi32(bytes, 24 - 8 * j);
        __m512i value = _mm512_sub_epi32(_mm512_srai_epi32(top, 24), _mm512_set1_epi32(less));
        _mm512_store_ps(to + 16 * j, _mm512_mul_ps(d, _mm512_cvtepi32_ps(value)));
    }
}

PACKED_INLINE void scales_q4_k(const struct group *g, size_t b, size_t half, float *scale,
                               float *min)
{
    const __m512 d = halves_at(g->field[0], 2 * b), dmin = halves_at(g->field[0], 2 * b + 1);
    const __m512 less = _mm512_xor_ps(dmin, _mm512_set1_ps(-0.0f));
    __m512i low = unit_at(g->field[1], 3 * b), middle = unit_at(g->field[1], 3 * b + 1);
    if (half == 0) {
        scales_of_bytes(d, byte_bits(low, 0, 6, 0), 0, scale);
        scales_of_bytes(less, byte_bits(middle, 0, 6, 0), 0, min);
    } else {
        __m512i high = unit_at(g->field[1], 3 * b + 2);
        low = _mm512_or_si512(byte_bits(high, 0, 4, 0), byte_bits(low, 6, 2, 4));
        middle = _mm512_or_si512(byte_bits(high, 4, 4, 0), byte_bits(middle, 6, 2, 4));
        scales_of_bytes(d, low, 0, scale);
        scales_of_bytes(less, middle, 0, min);
    }
}

PACKED_INLINE void scales_q3_k(const struct group *g, size_t b, size_t half, float *scale)
{
    const __m512 d = halves_at(g->field[0], b);
    const __m512i top = unit_at(g->field[1], 3 * b + 2);
    for (size_t i = 0; i < 2; i++) {
        __m512i low = unit_at(g->field[1], 3 * b + i), scales;
        if (half == 0)
            scales = _mm512_or_si512(byte_bits(low, 0, 4, 0), byte_bits(top, 2 * (int)i, 2, 4));
        else
            scales = _mm512_or_si512(byte_bits(low, 4, 4, 0), byte_bits(top, 2 * (int)i + 4, 2, 4));
        scales_of_bytes(d, scales, 32, scale + 64 * i);
    }
}

/* The scales of half a block of 256 values, and the minimums: [sub-block][16 rows], 64-byte
 * aligned. */
PACKED_INLINE void block_scales(enum dtype dtype, const struct group *g, size_t b, size_t half,
                                float *scale, float *min)
{
    const uint8_t *const *f = g->field;
    if (dtype == DTYPE_Q4_K || dtype == DTYPE_Q5_K) {
        scales_q4_k(g, b, half, scale, min);
    } else if (dtype == DTYPE_Q3_K) {
        scales_q3_k(g, b, half, scale);
    } else if (dtype == DTYPE_Q6_K) {
        for (size_t i = 0; i < 2; i++)
            scales_of_bytes(halves_at(f[0], b), unit_at(f[1], 4 * b + 2 * half + i), 0,
                            scale + 64 * i);
    } else { /* Q2_K */
        const __m512 less = _mm512_xor_ps(halves_at(f[0], 2 * b + 1), _mm512_set1_ps(-0.0f));
        for (size_t i = 0; i < 2; i++) {
            __m512i both = unit_at(f[1], 4 * b + 2 * half + i);
            scales_of_bytes(halves_at(f[0], 2 * b), byte_bits(both, 0, 4, 0), 0, scale + 64 * i);
            scales_of_bytes(less, byte_bits(both, 4, 4, 0), 0, min + 64 * i);
        }
    }
}

/* The group that begins with row `first` of the matrix; a short one through `wide`, of
 * 16 * 34 / 32 * cols bytes. */
PACKED_INLINE struct group block_group(enum dtype dtype, const struct packed_tile *tile,
                                       uint32_t first, uint8_t *wide)
{
    const size_t blocks = tile->x.cols / packed_block_values(dtype);
    struct group g = {.rows = packed_group_rows(tile, first)};
    const uint8_t *from = tile->w + first * (blocks * packed_block_bytes(dtype));
    uint32_t count;
    const struct packed_field *fields = packed_fields(dtype, &count);
    for (uint32_t i = 0; i < count; i++) {
        const size_t units = blocks * fields[i].units, row = fields[i].unit_bytes;
        g.field[i] = g.rows == PACKED_ROWS ? from : wide;
        for (size_t u = 0; g.rows < PACKED_ROWS && u < units; u++, wide += PACKED_ROWS * row) {
            memset(wide, 0, PACKED_ROWS * row);
            memcpy(wide, from + u * g.rows * row, g.rows * row);
        }
        from += units * row * g.rows;
    }
    return g;
}
