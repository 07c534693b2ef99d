/* Part of kernels_vector.h: what is done with activations, which are always f32: exp and what is
 * made of it, norms, and the small arithmetic between matrices. */
#include <string.h>

#include "engine/backend/cpu/kernels.h"

static void encode_f16(uint8_t *to, const float *from, size_t n)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store_f16(to + 2 * i, vec_load(from + i));
    if (i < n) {
        uint8_t tail[2 * VEC_LANES];
        vec_store_f16(tail, vec_load_part(from + i, n - i));
        memcpy(to + 2 * i, tail, 2 * (n - i));
    }
}

/* As exp_one of kernels_scalar.c, where it is explained. */
VEC_INLINE vec exp_vec(vec x)
{
    const vec magic = vec_set1(12582912.0f);
    x = vec_max(vec_set1(-104.0f), x); /* NaN in the second place stays */
    x = vec_min(vec_set1(89.0f), x);
    vec shifted = vec_fma(x, vec_set1(1.44269504088896341f), magic);
    vec k = vec_sub(shifted, magic);
    vec r = vec_fma(k, vec_set1(-0.693359375f), x);
    r = vec_fma(k, vec_set1(2.12194440e-4f), r);
    vec p = vec_set1(1.0f / 5040.0f);
    p = vec_fma(p, r, vec_set1(1.0f / 720.0f));
    p = vec_fma(p, r, vec_set1(1.0f / 120.0f));
    p = vec_fma(p, r, vec_set1(1.0f / 24.0f));
    p = vec_fma(p, r, vec_set1(1.0f / 6.0f));
    p = vec_fma(p, r, vec_set1(0.5f));
    p = vec_fma(p, r, vec_set1(1.0f));
    p = vec_fma(p, r, vec_set1(1.0f));
    return vec_times_power_of_two(p, shifted);
}

static void exp_all(float *x, size_t n)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store(x + i, exp_vec(vec_load(x + i)));
    if (i < n)
        vec_store_part(x + i, exp_vec(vec_load_part(x + i, n - i)), n - i);
}

static float sum_squares(const float *x, size_t n)
{
    vec sum = vec_zero();
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        vec value = vec_load(x + i);
        sum = vec_fma(value, value, sum);
    }
    if (i < n) {
        vec value = vec_load_part(x + i, n - i);
        sum = vec_fma(value, value, sum);
    }
    return vec_sum(sum);
}

static void normalize(float *out, const float *x, const float *weight, float factor, size_t n)
{
    const vec f = vec_set1(factor);
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store(out + i, vec_mul(vec_mul(vec_load(x + i), f), vec_load(weight + i)));
    for (; i < n; i++)
        out[i] = x[i] * factor * weight[i];
}

static void scale_all(float *x, float factor, size_t n)
{
    const vec f = vec_set1(factor);
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store(x + i, vec_mul(vec_load(x + i), f));
    for (; i < n; i++)
        x[i] *= factor;
}

static void add_all(float *to, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store(to + i, vec_add(vec_load(to + i), vec_load(x + i)));
    for (; i < n; i++)
        to[i] += x[i];
}

/* Rounded twice, tail and body alike. */
static void add_scaled(float *to, const float *x, float factor, size_t n)
{
    const vec f = vec_set1(factor);
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store(to + i, vec_add(vec_load(to + i), vec_mul(vec_load(x + i), f)));
    for (; i < n; i++)
        to[i] += x[i] * factor;
}

/* Which of equal values is the largest does not matter, so neither does the order. */
static float max_of(const float *x, size_t n)
{
    float max = x[0];
    size_t i = 0;
    if (n >= VEC_LANES) {
        vec m = vec_load(x);
        for (i = VEC_LANES; i + VEC_LANES <= n; i += VEC_LANES)
            m = vec_max(m, vec_load(x + i));
        float lane[VEC_LANES];
        vec_store(lane, m);
        for (uint32_t l = 0; l < VEC_LANES; l++)
            max = lane[l] > max ? lane[l] : max;
    }
    for (; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

static float scale_max(float *x, float scale, size_t n)
{
    scale_all(x, scale, n);
    return max_of(x, n);
}

static float exp_sum(float *x, float max, size_t n)
{
    const vec m = vec_set1(max);
    vec sum = vec_zero();
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        vec e = exp_vec(vec_sub(vec_load(x + i), m));
        vec_store(x + i, e);
        sum = vec_add(sum, e);
    }
    if (i < n) {
        vec e = vec_keep(exp_vec(vec_sub(vec_load_part(x + i, n - i), m)), n - i);
        vec_store_part(x + i, e, n - i);
        sum = vec_add(sum, e);
    }
    return vec_sum(sum);
}

static void rotate(float *a, float *b, const float *cosines, const float *sines, size_t n)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES) {
        vec x = vec_load(a + i), y = vec_load(b + i);
        vec c = vec_load(cosines + i), s = vec_load(sines + i);
        vec_store(a + i, vec_sub(vec_mul(x, c), vec_mul(y, s)));
        vec_store(b + i, vec_add(vec_mul(y, c), vec_mul(x, s)));
    }
    for (; i < n; i++) {
        float x = a[i], y = b[i];
        a[i] = x * cosines[i] - y * sines[i];
        b[i] = y * cosines[i] + x * sines[i];
    }
}

VEC_INLINE vec silu_mul_vec(vec gate, vec up)
{
    vec e = exp_vec(vec_sub(vec_zero(), gate));
    return vec_mul(vec_div(gate, vec_add(vec_set1(1.0f), e)), up);
}

static void silu_mul(float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + VEC_LANES <= n; i += VEC_LANES)
        vec_store(gate + i, silu_mul_vec(vec_load(gate + i), vec_load(up + i)));
    if (i < n)
        vec_store_part(gate + i,
                       silu_mul_vec(vec_load_part(gate + i, n - i), vec_load_part(up + i, n - i)),
                       n - i);
}
