/* Part of packed_narrow.h: the micro-kernels, over a format's decoder or over codes that were
 * decoded before. Every loop over parts, rows and vectors of codes has a constant end once inlined,
 * and is unrolled, so that what it indexes lives in registers. */

#define ROWS_MAX 4 /* of x at once */

/* One row of x. */
struct x_row {
    const int8_t *q;
    const float *scale;
    const float *sum;     /* of the format's sub-blocks */
    const int16_t *count;
};

/* A group decoded: per 32 values eight times PACKED_ROWS dwords, per sub-block PACKED_ROWS
 * scales. */
struct unpacked {
    uint8_t *codes;
    float *scale;
    float *min;
};

/* -offset * (sum of q over a sub-block), in every lane: where the sum of code * q starts. */
VEC_INLINE ivec correction(const struct format *f, const struct x_row *x, size_t block,
                           uint32_t half)
{
    const int offset = offset_of(f->dtype);
    const bool both = halves_of(f->dtype) == 1;
    if (offset == 0)
        return iv_set1(0);
    return iv_weigh_counts(x->count + 2 * block, both || half == 0 ? -offset : 0,
                           both || half == 1 ? -offset : 0);
}

/* What the header of packed_kernels.h calls the two lines: one sub-block into the sum of a row. */
VEC_INLINE fvec accumulate(const struct format *f, fvec acc, ivec sum, fvec scale, fvec min,
                           const struct x_row *x, size_t block, size_t sub)
{
    acc = fv_fma(fv_of_int(sum), fv_mul(scale, fv_set1(x->scale[block])), acc);
    if (packed_has_min(f->dtype))
        acc = fv_fma(min, fv_set1(x->sum[sub]), acc);
    return acc;
}

/* 32 values of one part of a group with one row. `at` is the block of x, scale and min the first of
 * these values' sub-blocks. */
VEC_INLINE fvec add_block(const struct format *f, fvec acc, const ivec *codes, const fvec *scale,
                          const fvec *min, const struct x_row *x, size_t at)
{
    const uint32_t halves = halves_of(f->dtype), pairs = 4 / halves;
    UNROLL for (uint32_t h = 0; h < halves; h++) {
        ivec start = correction(f, x, at, h), sum = sum_begin(range_of(f->dtype), start);
        UNROLL for (uint32_t k = h * pairs; k < (h + 1) * pairs; k++)
            sum = sum_step(range_of(f->dtype), sum, codes[2 * k], codes[2 * k + 1],
                           x_pair(x->q + 32 * at + 8 * k));
        acc = accumulate(f, acc, sum_end(range_of(f->dtype), sum, start), scale[h],
                         packed_has_min(f->dtype) ? min[h] : scale[h], x, at, halves * at + h);
    }
    return acc;
}

/* A few rows are a stream over the weights, and the processor's own prefetching ends at each page:
 * ask for the codes that are so far ahead, past the end of a field those of the next or of the next
 * group. A hint, so past the end of the matrix it does nothing. */
#define PREFETCH_BYTES 4096

/* While the 32 values with number `at` of a group are used: as many bytes as their codes have. */
VEC_INLINE void prefetch_codes(const struct format *f, const struct group *group, size_t at)
{
    const uint32_t lines = codes_dwords(f->dtype) / (uint32_t)(packed_block_values(f->dtype) / 32);
    const uint8_t *codes = group->field[codes_field(f->dtype)] + at * lines * FIELD_DWORD;
    UNROLL for (uint32_t i = 0; i < lines; i++)
        __builtin_prefetch(codes + PREFETCH_BYTES + i * FIELD_DWORD);
}

/* `rows` rows over a group as it lies. sums: [rows][PACKED_ROWS]. */
VEC_INLINE void dot_direct(const struct format *f, const struct group *group, size_t cols,
                           const struct x_row *x, const uint32_t rows, float *sums)
{
    const size_t values = packed_block_values(f->dtype);
    const uint32_t steps = (uint32_t)values / 32, halves = halves_of(f->dtype);
    fvec acc[ROWS_MAX][GROUP_PARTS];
    UNROLL for (uint32_t r = 0; r < rows; r++)
        UNROLL for (uint32_t p = 0; p < GROUP_PARTS; p++)
            acc[r][p] = fv_zero();
    for (size_t b = 0; b < cols / values; b++) {
        fvec scale[GROUP_PARTS][SUBS_MAX], min[GROUP_PARTS][SUBS_MAX];
        UNROLL for (uint32_t p = 0; p < GROUP_PARTS; p++)
            f->scales(scale[p], min[p], group, b, p);
        for (uint32_t s = 0; s < steps; s++) {
            prefetch_codes(f, group, b * steps + s);
            UNROLL for (uint32_t p = 0; p < GROUP_PARTS; p++) {
                ivec codes[8];
                f->codes(codes, group, b, s, p);
                UNROLL for (uint32_t r = 0; r < rows; r++)
                    acc[r][p] = add_block(f, acc[r][p], codes, &scale[p][s * halves],
                                          &min[p][s * halves], &x[r], b * steps + s);
            }
        }
    }
    UNROLL for (uint32_t r = 0; r < rows; r++)
        UNROLL for (uint32_t p = 0; p < GROUP_PARTS; p++)
            fv_store(sums + r * PACKED_ROWS + p * LANES, acc[r][p]);
}

#if !defined(MATRIX_PRODUCTS)
VEC_INLINE void pair_rows(ivec *first, ivec *second)
{
}
#endif

/* Decodes a group once for many rows. */
VEC_INLINE void unpack(const struct format *f, const struct group *group, size_t cols,
                       const struct unpacked *to)
{
    const size_t values = packed_block_values(f->dtype);
    const uint32_t steps = (uint32_t)values / 32, subs = steps * halves_of(f->dtype);
    for (size_t b = 0; b < cols / values; b++) {
        UNROLL for (uint32_t p = 0; p < GROUP_PARTS; p++) {
            fvec scale[SUBS_MAX], min[SUBS_MAX];
            f->scales(scale, min, group, b, p);
            for (uint32_t i = 0; i < subs; i++) {
                size_t at = (b * subs + i) * PACKED_ROWS + p * LANES;
                fv_store(to->scale + at, scale[i]);
                if (packed_has_min(f->dtype))
                    fv_store(to->min + at, min[i]);
            }
        }
        for (uint32_t s = 0; s < steps; s++) {
            uint8_t *at = to->codes + (b * steps + s) * 8 * FIELD_DWORD;
            UNROLL for (uint32_t p = 0; p < GROUP_PARTS; p++) {
                ivec codes[8];
                f->codes(codes, group, b, s, p);
                UNROLL for (uint32_t k = 0; k < 8; k += 2)
                    pair_rows(&codes[k], &codes[k + 1]);
                UNROLL for (uint32_t k = 0; k < 8; k++)
                    iv_store(at + k * FIELD_DWORD + p * LANES * 4, codes[k]);
            }
        }
    }
}

#if defined(MATRIX_PRODUCTS)
/* As below, for two rows of x at a time. A row without a partner is its own. */
VEC_INLINE void add_products_of(const struct format *f, ivec sum[ROWS_MAX][GROUP_PARTS],
                                ivec w[GROUP_PARTS][2], const struct x_row *x, const uint32_t rows,
                                size_t at)
{
    UNROLL for (uint32_t r = 0; r < rows; r += 2) {
        xpair a = x_pair(x[r].q + at), b = x_pair(x[r + 1 < rows ? r + 1 : r].q + at);
        UNROLL for (uint32_t p = 0; p < GROUP_PARTS; p++) {
            sum[r][p] = matrix_step(sum[r][p], w[p][0], a, b);
            sum[r + 1][p] = matrix_step(sum[r + 1][p], w[p][1], a, b);
        }
    }
}

VEC_INLINE void begin_products(ivec sum[ROWS_MAX][GROUP_PARTS], const uint32_t rows)
{
    UNROLL for (uint32_t r = 0; r < rows; r += 2) {
        UNROLL for (uint32_t p = 0; p < GROUP_PARTS; p++) {
            sum[r + 1][p] = r + 1 < rows ? sum[r + 1][p] : sum[r][p];
            matrix_begin(&sum[r][p], &sum[r + 1][p]);
        }
    }
}

VEC_INLINE void end_products(ivec sum[ROWS_MAX][GROUP_PARTS], const uint32_t rows)
{
    UNROLL for (uint32_t r = 0; r < rows; r += 2)
        UNROLL for (uint32_t p = 0; p < GROUP_PARTS; p++)
            matrix_end(&sum[r][p], &sum[r + 1][p]);
}
#else
/* Eight values of each row of x, from `at`, times two vectors of codes of each part. */
VEC_INLINE void add_products_of(const struct format *f, ivec sum[ROWS_MAX][GROUP_PARTS],
                                ivec w[GROUP_PARTS][2], const struct x_row *x, const uint32_t rows,
                                size_t at)
{
    UNROLL for (uint32_t r = 0; r < rows; r++) {
        xpair pair = x_pair(x[r].q + at);
        UNROLL for (uint32_t p = 0; p < GROUP_PARTS; p++)
            sum[r][p] = sum_step(range_of(f->dtype), sum[r][p], w[p][0], w[p][1], pair);
    }
}

VEC_INLINE void begin_products(ivec sum[ROWS_MAX][GROUP_PARTS], const uint32_t rows)
{
}

VEC_INLINE void end_products(ivec sum[ROWS_MAX][GROUP_PARTS], const uint32_t rows)
{
}
#endif

/* The sums of one sub-block: pairs [first, first + pairs) of vectors of codes at `codes`. */
VEC_INLINE void sum_codes(const struct format *f, ivec sum[ROWS_MAX][GROUP_PARTS],
                          const uint8_t *codes, const struct x_row *x, const uint32_t rows,
                          size_t block, const uint32_t first, const uint32_t pairs)
{
    begin_products(sum, rows);
    UNROLL for (uint32_t k = first; k < first + pairs; k++) {
        ivec w[GROUP_PARTS][2];
        UNROLL for (uint32_t p = 0; p < GROUP_PARTS; p++) {
            w[p][0] = iv_load(codes + 2 * k * FIELD_DWORD + p * LANES * 4);
            w[p][1] = iv_load(codes + (2 * k + 1) * FIELD_DWORD + p * LANES * 4);
        }
        add_products_of(f, sum, w, x, rows, 32 * block + 8 * k);
    }
    end_products(sum, rows);
}

/* `rows` rows over a decoded group. Of what lies at `next`, `next_lines` cache lines are fetched
 * with every 32 values. */
VEC_INLINE void dot_unpacked(const struct format *f, const struct unpacked *w, size_t cols,
                             const struct x_row *x, const uint32_t rows, float *sums,
                             const uint8_t *next, size_t next_lines)
{
    const uint32_t halves = halves_of(f->dtype), pairs = 4 / halves;
    fvec acc[ROWS_MAX][GROUP_PARTS];
    UNROLL for (uint32_t r = 0; r < rows; r++)
        UNROLL for (uint32_t p = 0; p < GROUP_PARTS; p++)
            acc[r][p] = fv_zero();
    for (size_t b = 0; b < cols / 32; b++) {
        for (size_t i = b * next_lines; i < (b + 1) * next_lines; i++)
            __builtin_prefetch(next + i * 64, 0, 2);
        UNROLL for (uint32_t h = 0; h < halves; h++) {
            ivec sum[ROWS_MAX][GROUP_PARTS], start[ROWS_MAX];
            UNROLL for (uint32_t r = 0; r < rows; r++) {
                start[r] = correction(f, &x[r], b, h);
                UNROLL for (uint32_t p = 0; p < GROUP_PARTS; p++)
                    sum[r][p] = sum_begin(range_of(f->dtype), start[r]);
            }
            sum_codes(f, sum, w->codes + b * 8 * FIELD_DWORD, x, rows, b, h * pairs, pairs);
            size_t sub = b * halves + h;
            UNROLL for (uint32_t p = 0; p < GROUP_PARTS; p++) {
                size_t at = sub * PACKED_ROWS + p * LANES;
                fvec scale = fv_load(w->scale + at);
                fvec min = packed_has_min(f->dtype) ? fv_load(w->min + at) : scale;
                UNROLL for (uint32_t r = 0; r < rows; r++)
                    acc[r][p] = accumulate(f, acc[r][p],
                                           sum_end(range_of(f->dtype), sum[r][p], start[r]), scale,
                                           min, &x[r], b, sub);
            }
        }
    }
    UNROLL for (uint32_t r = 0; r < rows; r++)
        UNROLL for (uint32_t p = 0; p < GROUP_PARTS; p++)
            fv_store(sums + r * PACKED_ROWS + p * LANES, acc[r][p]);
}
