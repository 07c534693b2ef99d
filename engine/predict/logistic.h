/* Fast exp and log for probabilities, written so that loops over them become vector code. Relative
 * errors below 3e-5: far under what an online estimate is worth. Used by learners in this
 * folder. */
#ifndef MOERING_ENGINE_PREDICT_LOGISTIC_H
#define MOERING_ENGINE_PREDICT_LOGISTIC_H

#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LOGISTIC_P_MIN 5e-4f /* probabilities are kept inside, so that logits stay within +-7.6 */
#define LOGISTIC_P_MAX (1.0f - 5e-4f)

static inline float logistic_bits_float(int32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline int32_t logistic_float_bits(float f)
{
    int32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float logistic_clamp(float p)
{
    p = p < LOGISTIC_P_MIN ? LOGISTIC_P_MIN : p;
    return p > LOGISTIC_P_MAX ? LOGISTIC_P_MAX : p;
}

/* e^x for -80 <= x <= 80: 2^i by the exponent field, 2^f by a polynomial on [-1/2, 1/2]. */
static inline float logistic_exp(float x)
{
    float t = x * 1.44269504f;
    float shifted = t + 12582912.0f; /* 1.5 * 2^23: rounds to an integer in the low bits */
    float f = t - (shifted - 12582912.0f);
    int32_t i = logistic_float_bits(shifted) - 0x4B400000;
    float p =
        1.0f + f * (0.69314718f +
                    f * (0.24022651f + f * (0.05550411f + f * (0.00961813f + f * 0.0013333f))));
    return p * logistic_bits_float((i + 127) * (1 << 23));
}

/* 1 / (1 + e^-z). */
static inline float logistic_sigmoid(float z)
{
    z = z < -30.0f ? -30.0f : z;
    z = z > 30.0f ? 30.0f : z;
    return 1.0f / (1.0f + logistic_exp(-z));
}

/* ln x for normal x > 0: exponent + a series in (m - 1) / (m + 1). */
static inline float logistic_log(float x)
{
    int32_t bits = logistic_float_bits(x);
    int32_t e = ((bits - 0x3F3504F3) >> 23); /* so that the mantissa lies in [sqrt(1/2), sqrt 2) */
    float m = logistic_bits_float(bits - e * (1 << 23));
    float r = (m - 1.0f) / (m + 1.0f), s = r * r;
    return (float)e * 0.69314718f +
           2.0f * r * (1.0f + s * (0.33333333f + s * (0.2f + s * 0.142857f)));
}

/* ln(p / (1 - p)), p clamped. */
static inline float logistic_logit(float p)
{
    p = logistic_clamp(p);
    return logistic_log(p / (1.0f - p));
}

#ifdef __cplusplus
}
#endif
#endif
