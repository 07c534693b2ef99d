/* Half precision: rounding to nearest even, subnormals kept both ways, a NaN written as 0x7fff as
 * the device writes it. Arithmetic is done in float and rounded once, which for + - * / of halves
 * is the correctly rounded result; the fused forms round the exact product and sum once as well. */
#ifndef CUDA_HOST_FP16_H
#define CUDA_HOST_FP16_H

#include "cuda_host_math.h"
#include "vector_types.h"

static inline unsigned short cuda_host_f32_to_f16(float value)
{
    unsigned bits = __float_as_uint(value), sign = (bits >> 16) & 0x8000u;
    bits &= 0x7fffffffu;
    if (bits > 0x7f800000u)
        return 0x7fff;
    if (bits >= 0x477ff000u) /* at and above the middle between the largest half and 2^16 */
        return (unsigned short)(sign | 0x7c00u);
    if (bits < 0x38800000u) { /* subnormal: the sum with 0.5 rounds at the place of 2^-24 */
        float scaled = __uint_as_float(bits) + 0.5f;
        return (unsigned short)(sign | (__float_as_uint(scaled) - 0x3f000000u));
    }
    bits += 0xfffu + ((bits >> 13) & 1u);
    return (unsigned short)(sign | ((bits >> 13) - (112u << 10)));
}

static inline float cuda_host_f16_to_f32(unsigned short half)
{
    unsigned sign = (unsigned)(half & 0x8000u) << 16, bits = (unsigned)(half & 0x7fffu) << 13;
    if (bits >= 0x7c00u << 13)
        return __uint_as_float(sign | 0x7f800000u | bits);
    float scaled = __uint_as_float(bits) * 0x1p112f; /* moves the exponent, subnormals too */
    return __uint_as_float(sign | __float_as_uint(scaled));
}

struct __half_raw {
    unsigned short x;
};

struct __half {
    unsigned short x;
    __half() = default;
    __half(const __half_raw &raw) : x(raw.x) {}
    __half(float f) : x(cuda_host_f32_to_f16(f)) {}
    __half(double d) : x(cuda_host_f32_to_f16(cuda_host_odd_float(d))) {}
    __half(int i) : x(cuda_host_f32_to_f16((float)i)) {}
    operator float() const { return cuda_host_f16_to_f32(x); }
    operator __half_raw() const { return __half_raw{x}; }
};
typedef __half half;

struct alignas(4) __half2 {
    __half x, y;
    __half2() = default;
    __half2(const __half &a, const __half &b) : x(a), y(b) {}
};
typedef __half2 half2;

#define CUDA_HOST_SMALL_FLOAT_ARITHMETIC(type)                                                     \
    static inline type operator+(const type &a, const type &b)                                     \
    {                                                                                              \
        return type((float)a + (float)b);                                                          \
    }                                                                                              \
    static inline type operator-(const type &a, const type &b)                                     \
    {                                                                                              \
        return type((float)a - (float)b);                                                          \
    }                                                                                              \
    static inline type operator*(const type &a, const type &b)                                     \
    {                                                                                              \
        return type((float)a * (float)b);                                                          \
    }                                                                                              \
    static inline type operator/(const type &a, const type &b)                                     \
    {                                                                                              \
        return type((float)a / (float)b);                                                          \
    }                                                                                              \
    static inline type operator-(const type &a) { return type(-(float)a); }                        \
    static inline type &operator+=(type &a, const type &b) { return a = a + b; }                   \
    static inline type &operator-=(type &a, const type &b) { return a = a - b; }                   \
    static inline type &operator*=(type &a, const type &b) { return a = a * b; }                   \
    static inline bool operator==(const type &a, const type &b) { return (float)a == (float)b; }   \
    static inline bool operator!=(const type &a, const type &b) { return (float)a != (float)b; }   \
    static inline bool operator<(const type &a, const type &b) { return (float)a < (float)b; }     \
    static inline bool operator>(const type &a, const type &b) { return (float)a > (float)b; }     \
    static inline bool operator<=(const type &a, const type &b) { return (float)a <= (float)b; }   \
    static inline bool operator>=(const type &a, const type &b) { return (float)a >= (float)b; }   \
    static inline type __hadd(type a, type b) { return a + b; }                                    \
    static inline type __hsub(type a, type b) { return a - b; }                                    \
    static inline type __hmul(type a, type b) { return a * b; }                                    \
    static inline type __hdiv(type a, type b) { return a / b; }                                    \
    static inline type __hneg(type a) { return -a; }                                               \
    static inline type __hmax(type a, type b) { return type(fmaxf((float)a, (float)b)); }          \
    static inline type __hmin(type a, type b) { return type(fminf((float)a, (float)b)); }          \
    static inline bool __hisnan(type a) { return (float)a != (float)a; }                           \
    static inline bool __hgt(type a, type b) { return a > b; }                                     \
    static inline bool __hlt(type a, type b) { return a < b; }                                     \
    static inline type##2 __hadd2(type##2 a, type##2 b) { return type##2(a.x + b.x, a.y + b.y); }  \
    static inline type##2 __hsub2(type##2 a, type##2 b) { return type##2(a.x - b.x, a.y - b.y); }  \
    static inline type##2 __hmul2(type##2 a, type##2 b) { return type##2(a.x * b.x, a.y * b.y); }  \
    static inline type __hfma(type a, type b, type c)                                              \
    {                                                                                              \
        return type((double)(float)a * (double)(float)b + (double)(float)c);                       \
    }                                                                                              \
    static inline type##2 __hfma2(type##2 a, type##2 b, type##2 c)                                 \
    {                                                                                              \
        return type##2(__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y));                              \
    }

CUDA_HOST_SMALL_FLOAT_ARITHMETIC(__half)

static inline float __half2float(__half h) { return cuda_host_f16_to_f32(h.x); }
static inline __half __ushort_as_half(unsigned short x) { return __half(__half_raw{x}); }
static inline unsigned short __half_as_ushort(__half h) { return h.x; }
static inline __half __short_as_half(short x) { return __ushort_as_half((unsigned short)x); }
static inline short __half_as_short(__half h) { return (short)h.x; }
static inline __half __float2half_rn(float f) { return __half(f); }
static inline __half __float2half(float f) { return __half(f); }
static inline __half __double2half(double d) { return __half(d); }
static inline __half __int2half_rn(int i) { return __half(i); }
static inline __half2 __floats2half2_rn(float a, float b) { return __half2(__half(a), __half(b)); }
static inline __half2 __float2half2_rn(float f) { return __half2(__half(f), __half(f)); }
static inline __half2 __float22half2_rn(float2 f) { return __floats2half2_rn(f.x, f.y); }
static inline float2 __half22float2(__half2 h) { return make_float2((float)h.x, (float)h.y); }
static inline __half2 __halves2half2(__half a, __half b) { return __half2(a, b); }
static inline __half2 __half2half2(__half h) { return __half2(h, h); }
static inline __half2 make_half2(__half a, __half b) { return __half2(a, b); }
static inline __half __low2half(__half2 h) { return h.x; }
static inline __half __high2half(__half2 h) { return h.y; }
static inline float __low2float(__half2 h) { return (float)h.x; }
static inline float __high2float(__half2 h) { return (float)h.y; }

#endif
