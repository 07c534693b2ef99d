/* The device language's atomics, memory hints and arithmetic. One device thread runs at a time, so
 * an atomic is a plain read and write. The fast approximations (__expf ...) are the exact functions
 * here: a test that compares with the scalar truth must allow for the device's error bounds. */
#ifndef CUDA_HOST_MATH_H
#define CUDA_HOST_MATH_H

#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#define CUDA_HOST_ATOMIC(name, type, result)                                                       \
    static inline type name(type *p, type v)                                                       \
    {                                                                                              \
        type old = *p;                                                                             \
        *p = (type)(result);                                                                       \
        return old;                                                                                \
    }
#define CUDA_HOST_INTEGER_ATOMICS(type)                                                            \
    CUDA_HOST_ATOMIC(atomicExch, type, v)                                                          \
    CUDA_HOST_ATOMIC(atomicMax, type, v > old ? v : old)                                           \
    CUDA_HOST_ATOMIC(atomicMin, type, v < old ? v : old)                                           \
    CUDA_HOST_ATOMIC(atomicAnd, type, old &v)                                                      \
    CUDA_HOST_ATOMIC(atomicOr, type, old | v)                                                      \
    CUDA_HOST_ATOMIC(atomicXor, type, old ^ v)                                                     \
    static inline type atomicCAS(type *p, type expected, type v)                                   \
    {                                                                                              \
        type old = *p;                                                                             \
        *p = old == expected ? v : old;                                                            \
        return old;                                                                                \
    }
CUDA_HOST_INTEGER_ATOMICS(int)
CUDA_HOST_INTEGER_ATOMICS(unsigned)
CUDA_HOST_INTEGER_ATOMICS(unsigned long long)
CUDA_HOST_ATOMIC(atomicAdd, unsigned, old + v)
CUDA_HOST_ATOMIC(atomicAdd, unsigned long long, old + v)
CUDA_HOST_ATOMIC(atomicAdd, float, old + v)
CUDA_HOST_ATOMIC(atomicAdd, double, old + v)
CUDA_HOST_ATOMIC(atomicExch, float, v)
CUDA_HOST_ATOMIC(atomicSub, unsigned, old - v)
/* int wraps on the device; the sanitizers know signed overflow only as an error. */
CUDA_HOST_ATOMIC(atomicAdd, int, (unsigned)old + (unsigned)v)
CUDA_HOST_ATOMIC(atomicSub, int, (unsigned)old - (unsigned)v)
#undef CUDA_HOST_INTEGER_ATOMICS
#undef CUDA_HOST_ATOMIC

static inline unsigned atomicInc(unsigned *p, unsigned limit)
{
    unsigned old = *p;
    *p = old >= limit ? 0 : old + 1;
    return old;
}

/* Caching hints: loads and stores like any other. */
template <typename T> static inline T __ldg(const T *p) { return *p; }
template <typename T> static inline T __ldca(const T *p) { return *p; }
template <typename T> static inline T __ldcg(const T *p) { return *p; }
template <typename T> static inline T __ldcs(const T *p) { return *p; }
template <typename T> static inline T __ldlu(const T *p) { return *p; }
template <typename T> static inline T __ldcv(const T *p) { return *p; }
template <typename T> static inline void __stwb(T *p, T v) { *p = v; }
template <typename T> static inline void __stcg(T *p, T v) { *p = v; }
template <typename T> static inline void __stcs(T *p, T v) { *p = v; }
template <typename T> static inline void __stwt(T *p, T v) { *p = v; }

static inline unsigned __float_as_uint(float f)
{
    unsigned u;
    memcpy(&u, &f, 4);
    return u;
}
static inline int __float_as_int(float f)
{
    int i;
    memcpy(&i, &f, 4);
    return i;
}
static inline float __uint_as_float(unsigned u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}
static inline float __int_as_float(int i)
{
    float f;
    memcpy(&f, &i, 4);
    return f;
}

/* Rounds to odd: a second rounding, to fewer bits, then gives what one rounding would have given.
 */
static inline float cuda_host_odd_float(double exact)
{
    float near = (float)exact;
    unsigned bits = __float_as_uint(near);
    if ((double)near == exact || !(fabs(exact) < 3.4e38) || (bits & 1u))
        return near;
    bool away = fabs((double)near) > fabs(exact);
    return __uint_as_float(away ? bits - 1u : bits + 1u);
}

static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __frcp_rn(float a) { return 1.0f / a; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline float __frsqrt_rn(float a) { return 1.0f / sqrtf(a); }
static inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
static inline float __saturatef(float a) { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; }
static inline int __float2int_rn(float a) { return (int)rintf(a); }
static inline int __float2int_rz(float a) { return (int)a; }
static inline unsigned __float2uint_rn(float a) { return (unsigned)rintf(a); }
static inline float __int2float_rn(int a) { return (float)a; }
static inline float __uint2float_rn(unsigned a) { return (float)a; }

/* Macros, because the C library declares functions of these names for itself. */
#define __expf(...) expf(__VA_ARGS__)
#define __logf(...) logf(__VA_ARGS__)
#define __log2f(...) log2f(__VA_ARGS__)
#define __powf(...) powf(__VA_ARGS__)
#define __sinf(...) sinf(__VA_ARGS__)
#define __cosf(...) cosf(__VA_ARGS__)
#define __tanhf(...) tanhf(__VA_ARGS__)
#define __exp10f(a) powf(10.0f, a)
#define __sincosf(...) sincosf(__VA_ARGS__)

#define CUDA_HOST_MIN_MAX(type)                                                                    \
    static inline type min(type a, type b) { return b < a ? b : a; }                               \
    static inline type max(type a, type b) { return a < b ? b : a; }
CUDA_HOST_MIN_MAX(int)
CUDA_HOST_MIN_MAX(unsigned)
CUDA_HOST_MIN_MAX(long)
CUDA_HOST_MIN_MAX(unsigned long)
CUDA_HOST_MIN_MAX(long long)
CUDA_HOST_MIN_MAX(unsigned long long)
#undef CUDA_HOST_MIN_MAX
static inline unsigned min(unsigned a, int b) { return min(a, (unsigned)b); }
static inline unsigned min(int a, unsigned b) { return min((unsigned)a, b); }
static inline unsigned max(unsigned a, int b) { return max(a, (unsigned)b); }
static inline unsigned max(int a, unsigned b) { return max((unsigned)a, b); }
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }

static inline int __popc(unsigned v) { return __builtin_popcount(v); }
static inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
static inline int __ffs(int v) { return __builtin_ffs(v); }
static inline int __ffsll(long long v) { return __builtin_ffsll(v); }
static inline int __clz(int v) { return v ? __builtin_clz((unsigned)v) : 32; }
static inline int __clzll(long long v) { return v ? __builtin_clzll((unsigned long long)v) : 64; }
static inline unsigned __brev(unsigned v)
{
    unsigned reversed = 0;
    for (int i = 0; i < 32; i++)
        reversed |= ((v >> i) & 1u) << (31 - i);
    return reversed;
}
static inline unsigned __umulhi(unsigned a, unsigned b)
{
    return (unsigned)(((uint64_t)a * b) >> 32);
}
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
static inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector)
{
    uint64_t bytes = ((uint64_t)y << 32) | x;
    unsigned result = 0;
    for (int i = 0; i < 4; i++)
        result |= (unsigned)((bytes >> (8 * ((selector >> (4 * i)) & 7))) & 0xff) << (8 * i);
    return result;
}

static inline long long clock64(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000000000LL + now.tv_nsec;
}

#endif
