/* Which tables of packed kernels this machine can run, and how rows of 8-bit activations lie.
 *
 * Asks the processor each time; only open() and tests call it. AMX besides needs the system's
 * leave: its tile registers are 8 KiB which every switch of threads would have to save, so Linux
 * hands them out on request, to a whole process and for good. Where the leave is not given (an old
 * kernel, a sandbox, an alternate signal stack too small for the larger frame), the table below AMX
 * serves. */
#include "engine/backend/cpu/packed_kernels.h"

#include "memory/base/check.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool have_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool have_avx_vnni(void)
{
    const unsigned avx_vnni = 1u << 4; /* asked by cpuid: not every compiler knows the name */
    unsigned a, b, c, d;
    return have_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & avx_vnni);
}

static bool have_avx512(void)
{
    return have_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

static bool have_vnni(void)
{
    return have_avx512() && __builtin_cpu_supports("avx512vnni");
}

static bool have_amx(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* arch_prctl(2) */
    const unsigned tile = 1u << 24, int8 = 1u << 25;
    unsigned a, b, c, d;
    if (!have_vnni() || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & tile) || !(d & int8))
        return false;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}
#endif

#if defined(__aarch64__)
#include <sys/auxv.h>

static bool have_dotprod(void)
{
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
}

static bool have_i8mm(void)
{
    return have_dotprod() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM);
}
#endif

static bool always(void)
{
    return true;
}

/* Best last. */
static const struct {
    enum cpu_isa isa;
    bool (*have)(void);
    const struct packed_kernels *table;
} tables[] = {
    {CPU_SCALAR, always, &packed_scalar},
#if defined(__x86_64__)
    {CPU_AVX2, have_avx2, &packed_avx2},
    {CPU_AVX2, have_avx_vnni, &packed_vnni_avx2},
    {CPU_AVX512, have_avx512, &packed_avx512},
    {CPU_AVX512, have_vnni, &packed_vnni},
    {CPU_AVX512, have_amx, &packed_amx},
#elif defined(__aarch64__)
    {CPU_NEON, always, &packed_neon},
    {CPU_NEON, have_dotprod, &packed_dotprod_neon},
    {CPU_NEON, have_i8mm, &packed_i8mm_neon},
#endif
};
#define TABLES (sizeof tables / sizeof tables[0])

const struct packed_kernels *packed_kernels_find(enum cpu_isa isa)
{
    for (size_t i = TABLES; i-- > 0;) {
        if (tables[i].isa <= isa && tables[i].have())
            return tables[i].table;
    }
    return NULL;
}

const struct packed_kernels *packed_kernels_at(uint32_t i)
{
    for (size_t t = 0; t < TABLES; t++) {
        if (tables[t].have() && i-- == 0)
            return tables[t].table;
    }
    return NULL;
}

static size_t aligned(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

size_t packed_x_row_bytes(size_t cols)
{
    const size_t blocks = cols / ACTIVATION_BLOCK;
    return aligned(cols) + 2 * aligned(blocks * sizeof(float)) +
           aligned(2 * blocks * sizeof(float)) + aligned(2 * blocks * sizeof(int16_t));
}

void packed_x_place(struct packed_x *x, void *memory, uint32_t rows, size_t cols)
{
    CHECK_MSG(cols % ACTIVATION_BLOCK == 0, "%zu columns", cols);
    const size_t blocks = rows * (cols / ACTIVATION_BLOCK);
    uint8_t *at = memory;
    x->cols = cols;
    x->q = (int8_t *)at;
    at += aligned(blocks * ACTIVATION_BLOCK);
    x->scale = (float *)at;
    at += aligned(blocks * sizeof(float));
    x->sum32 = (float *)at;
    at += aligned(blocks * sizeof(float));
    x->sum16 = (float *)at;
    at += aligned(2 * blocks * sizeof(float));
    x->count = (int16_t *)at;
}
