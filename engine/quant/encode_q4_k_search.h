/* The search for the scales and codes of a block of Q4_K, included by one file per instruction set.
 *
 * A sub-block of 32 values x is to become s * q - m with codes q = 0 .. 15 and s, m >= 0, so that
 * the weighted squared error is least. A value's weight is |x| + rms(x): errors of large values
 * cost more, as they do in what is computed with them.
 *
 *  1. Eight candidates: the range from min(x, 0) to max(x) spans 12.5, 13, .. 16 steps. Each gives
 *     codes by rounding, cut off at 15. For fixed codes the best s and m solve a system of two
 *     linear equations, and their error follows from the same sums without another pass. The best
 *     one stays.
 *  2. s and m have to be multiples, 0 .. 63, of d and dmin, which are the largest s and m over 63.
 *  3. A step that was rounded to its multiple wants other codes and another minimum. Of the
 *     multiple and its two neighbours, each with its own codes and the minimum best for them, the
 *     best one stays; then the codes are those nearest.
 *
 * The relative error of normally distributed values is 0.0714 (rms). Tried and left: no search
 * 0.0753; twenty-one candidates without the third step 0.0716; nine pairs of scale and minimum in
 * the third step, a pass over the values each, 0.0708.
 *
 * A lane is a sub-block: the eight of a block are searched side by side, nothing is added across
 * lanes and nothing is fused, so that any width of vectors gives the same bytes.
 *
 * An includer defines q4_k_sums. */
#ifndef MOERING_ENGINE_QUANT_ENCODE_Q4_K_SEARCH_H
#define MOERING_ENGINE_QUANT_ENCODE_Q4_K_SEARCH_H

#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/quant/block_256.h"

#define Q4_K_BYTES 144
#define Q4_K_LANES 8
#define Q4_K_LANE_VALUES 32
#define Q4_K_CANDIDATES 8
#define EACH_LANE for (int l = 0; l < Q4_K_LANES; l++)

/* More than 63 * 15 * 65504, the largest a block can say, and so little that no sum overflows. */
#define Q4_K_LARGEST 0x1p26f

struct q4_k_lanes { /* at a multiple of 32 bytes */
    float x[Q4_K_LANE_VALUES][Q4_K_LANES], w[Q4_K_LANE_VALUES][Q4_K_LANES];
    float sum_w[Q4_K_LANES], sum_x[Q4_K_LANES], sum_xx[Q4_K_LANES]; /* weighted */
};
/* Sums over the codes of a candidate: w q, w q q, w q x. */
struct q4_k_codes {
    float sum_q[Q4_K_LANES], sum_qq[Q4_K_LANES], sum_qx[Q4_K_LANES];
};

/* Lanes outside where nothing branches inside: in that order compilers make vectors. */
static inline void q4_k_load(struct q4_k_lanes *b, const float *from)
{
    float rms[Q4_K_LANES];
    for (int l = 0; l < Q4_K_LANES; l++) {
        for (int i = 0; i < Q4_K_LANE_VALUES; i++) {
            float x = from[l * Q4_K_LANE_VALUES + i];
            x = x > Q4_K_LARGEST ? Q4_K_LARGEST : x;
            b->x[i][l] = x < -Q4_K_LARGEST ? -Q4_K_LARGEST : x;
        }
    }
    EACH_LANE {
        float sum = 0;
        for (int i = 0; i < Q4_K_LANE_VALUES; i++)
            sum += b->x[i][l] * b->x[i][l];
        rms[l] = sum / Q4_K_LANE_VALUES;
    }
    EACH_LANE rms[l] = sqrtf(rms[l]);
    EACH_LANE {
        float w1 = 0, wx = 0, wxx = 0;
        for (int i = 0; i < Q4_K_LANE_VALUES; i++) {
            float x = b->x[i][l], w = rms[l] + fabsf(x);
            b->w[i][l] = w;
            w1 += w;
            wx += w * x;
            wxx += w * x * x;
        }
        b->sum_w[l] = w1;
        b->sum_x[l] = wx;
        b->sum_xx[l] = wxx;
    }
}

/* The code nearest to v, which is no NaN: adding 1.5 * 2^23 rounds to an integer, ties to even. */
static inline float q4_k_code(float v)
{
    v = v < 0.0f ? 0.0f : v;
    v = v > 15.0f ? 15.0f : v;
    return (v + 0x1.8p23f) - 0x1.8p23f;
}

/* With the codes nearest to (x + m) * inverse. Nearly all of the time is spent here, and compilers
 * make no vectors of it: each file that includes this one has its own. */
static inline void q4_k_sums(const struct q4_k_lanes *b, const float *m, const float *inverse,
                             struct q4_k_codes *to);

/* The weighted squared error of lane l with step s and minimum m. */
static inline float q4_k_error(const struct q4_k_lanes *b, const struct q4_k_codes *c, int l,
                               float s, float m)
{
    return b->sum_xx[l] + s * (s * c->sum_qq[l] - 2 * c->sum_qx[l]) +
           m * (2 * b->sum_x[l] + m * b->sum_w[l] - 2 * s * c->sum_q[l]);
}

/* Step 1. */
static inline void q4_k_search(const struct q4_k_lanes *b, float *step, float *min)
{
    float low[Q4_K_LANES] = {0}, range[Q4_K_LANES], start[Q4_K_LANES], best[Q4_K_LANES];
    memcpy(range, b->x[0], sizeof range);
    for (int i = 0; i < Q4_K_LANE_VALUES; i++) {
        EACH_LANE {
            low[l] = b->x[i][l] < low[l] ? b->x[i][l] : low[l];
            range[l] = b->x[i][l] > range[l] ? b->x[i][l] : range[l];
        }
    }
    EACH_LANE {
        range[l] -= low[l];
        min[l] = start[l] = -low[l];
        step[l] = range[l] / 15.0f;
        best[l] = FLT_MAX;
    }
    for (int k = 0; k < Q4_K_CANDIDATES; k++) {
        struct q4_k_codes c;
        float inverse[Q4_K_LANES];
        EACH_LANE inverse[l] = range[l] > 0 ? (12.5f + 0.5f * (float)k) / range[l] : 0;
        q4_k_sums(b, start, inverse, &c);
        EACH_LANE {
            float ww = b->sum_w[l] * c.sum_qq[l], det = ww - c.sum_q[l] * c.sum_q[l];
            float s = (b->sum_w[l] * c.sum_qx[l] - b->sum_x[l] * c.sum_q[l]) / det;
            float m = (c.sum_q[l] * c.sum_qx[l] - c.sum_qq[l] * b->sum_x[l]) / det;
            bool alone = !(det > 1e-5f * ww) || m < 0; /* equal codes, or a minimum of wrong sign */
            s = alone ? c.sum_qx[l] / c.sum_qq[l] : s;
            m = alone ? 0 : m;
            float error = q4_k_error(b, &c, l, s, m);
            bool better = error < best[l] && s >= 0; /* no NaN is */
            best[l] = better ? error : best[l];
            step[l] = better ? s : step[l];
            min[l] = better ? m : min[l];
        }
    }
}

/* The nearest multiple of `unit`, 0 .. 63; of a unit of 0: 0. */
static inline float q4_k_multiple(float v, float unit)
{
    float n = unit > 0 ? v / unit : 0;
    n = n > 63.0f ? 63.0f : n;
    n = n < 0.0f ? 0.0f : n;
    return (n + 0x1.8p23f) - 0x1.8p23f;
}

/* Step 3, from values to multiples, in place. */
static inline void q4_k_settle(const struct q4_k_lanes *b, float d, float dmin, float *step,
                               float *min)
{
    float scale[Q4_K_LANES], offset[Q4_K_LANES], best[Q4_K_LANES];
    EACH_LANE {
        scale[l] = step[l] = q4_k_multiple(step[l], d);
        min[l] = q4_k_multiple(min[l], dmin);
        offset[l] = dmin * min[l];
        best[l] = FLT_MAX;
    }
    for (int k = 0; k < 3; k++) { /* the multiple itself first: of equals it stays */
        struct q4_k_codes c;
        float tried[Q4_K_LANES], inverse[Q4_K_LANES];
        EACH_LANE {
            tried[l] = scale[l] + (k == 0 ? 0.0f : k == 1 ? -1.0f : 1.0f);
            tried[l] = tried[l] < 0 ? 0 : tried[l];
            tried[l] = tried[l] > 63.0f ? 63.0f : tried[l];
            inverse[l] = d * tried[l] > 0 ? 1.0f / (d * tried[l]) : 0;
        }
        q4_k_sums(b, offset, inverse, &c);
        EACH_LANE {
            float s = d * tried[l], m = (s * c.sum_q[l] - b->sum_x[l]) / b->sum_w[l];
            m = q4_k_multiple(m, dmin);
            float error = q4_k_error(b, &c, l, s, dmin * m);
            bool better = error < best[l];
            best[l] = better ? error : best[l];
            step[l] = better ? tried[l] : step[l];
            min[l] = better ? m : min[l];
        }
    }
}

static inline uint16_t q4_k_unit(const float *values)
{
    float max = 0;
    EACH_LANE max = values[l] > max ? values[l] : max;
    uint16_t h = f32_to_f16(max / 63.0f);
    return h > 0x7bff ? 0x7bff : h;
}

static inline void q4_k_store(const struct q4_k_lanes *b, uint16_t d_half, uint16_t dmin_half,
                              const float *scale, const float *min, uint8_t *to)
{
    float d = f16_to_f32(d_half), dmin = f16_to_f32(dmin_half);
    uint8_t codes[Q4_K_LANE_VALUES][Q4_K_LANES], scales[Q4_K_LANES], mins[Q4_K_LANES];
    float inverse[Q4_K_LANES], offset[Q4_K_LANES];
    EACH_LANE {
        inverse[l] = d * scale[l] > 0 ? 1.0f / (d * scale[l]) : 0;
        offset[l] = dmin * min[l];
        scales[l] = (uint8_t)scale[l];
        mins[l] = (uint8_t)min[l];
    }
    for (int i = 0; i < Q4_K_LANE_VALUES; i++)
        EACH_LANE codes[i][l] = (uint8_t)(int)q4_k_code((b->x[i][l] + offset[l]) * inverse[l]);
    memcpy(to, &d_half, sizeof d_half);
    memcpy(to + 2, &dmin_half, sizeof dmin_half);
    for (int l = 0; l < 4; l++) { /* as block_256_scales_q4_k reads them */
        to[4 + l] = (uint8_t)(scales[l] | scales[4 + l] >> 4 << 6);
        to[8 + l] = (uint8_t)(mins[l] | mins[4 + l] >> 4 << 6);
        to[12 + l] = (uint8_t)((scales[4 + l] & 15) | (mins[4 + l] & 15) << 4);
        for (int i = 0; i < Q4_K_LANE_VALUES; i++)
            to[16 + 32 * l + i] = (uint8_t)(codes[i][2 * l] | codes[i][2 * l + 1] << 4);
    }
}

static inline void q4_k_encode(const float *from, uint8_t *to)
{
    struct q4_k_lanes b __attribute__((aligned(64)));
    float step[Q4_K_LANES], min[Q4_K_LANES];
    q4_k_load(&b, from);
    q4_k_search(&b, step, min);
    uint16_t d = q4_k_unit(step), dmin = q4_k_unit(min);
    q4_k_settle(&b, f16_to_f32(d), f16_to_f32(dmin), step, min);
    q4_k_store(&b, d, dmin, step, min, to);
}

#undef EACH_LANE
#endif
