/* Which tables of kernels this machine can run. Asks the processor (and, through the compiler's
 * run-time check, whether the system saves the wide registers) each time; only open() calls it. */
#include "engine/backend/cpu/kernels.h"

const struct kernels *kernels_find(enum cpu_isa isa)
{
    switch (isa) {
    case CPU_SCALAR:
        return &kernels_scalar;
#if defined(__x86_64__)
    case CPU_AVX2: /* every processor with AVX2 has F16C */
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
            return &kernels_avx2;
        return NULL;
    case CPU_AVX512:
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
            __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
            __builtin_cpu_supports("fma"))
            return &kernels_avx512;
        return NULL;
#elif defined(__aarch64__)
    case CPU_NEON: /* every processor of that architecture */
        return &kernels_neon;
#endif
    default:
        return NULL;
    }
}
