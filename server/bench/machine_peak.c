/* Each loop keeps enough independent sums under way to hide the latency of its instruction (12
 * vectors: at most 5 cycles times 2 units), so what limits it is how many a cycle the processor
 * can start. Each loop is a function compiled for its instructions by attribute and called only
 * where the processor has them. Results go into a sum that is returned, and inputs come from
 * memory, so that no compiler can leave the work out. */
#include "server/bench/machine_peak.h"

#include <stdatomic.h>

#include "engine/backend/cpu/cpu_threads.h"
#include "memory/base/clock.h"

#define SUMS 12
#define UNROLLED _Pragma("GCC unroll 12") /* the sums live in registers then */
#define ROUNDS 20000u
#define MEASURE_NS 100000000u

/* Tells the compiler that a vector in a register is looked at and may be another one afterwards. */
#if defined(__x86_64__)
#define COMPUTED(vector) __asm__ volatile("" : "+v"(vector))
#elif defined(__aarch64__)
#define COMPUTED(vector) __asm__ volatile("" : "+w"(vector))
#else
#define COMPUTED(vector) __asm__ volatile("" : "+m"(vector))
#endif

typedef int32_t (*peak_loop)(uint32_t rounds, const uint8_t *bytes);

struct peak_kind {
    enum machine_arithmetic arithmetic;
    enum cpu_isa isa;
    const char *instructions;
    bool (*have)(void);
    peak_loop loop;
    double ops_per_round;
};

static bool always(void)
{
    return true;
}

/* ---- any processor ---- */

typedef float f32x4 __attribute__((vector_size(16)));
typedef uint16_t u16x8 __attribute__((vector_size(16)));

static int32_t f32_plain(uint32_t rounds, const uint8_t *bytes)
{
    f32x4 sums[SUMS] = {{0}}, a = {(float)bytes[0] * 0.001f, 0.5f, 0.25f, 0.125f}, b = a + a;
    for (uint32_t r = 0; r < rounds; r++)
        UNROLLED
        for (int i = 0; i < SUMS; i++) {
            sums[i] = sums[i] * a + b;
            COMPUTED(sums[i]);
        }
    float total = 0;
    for (int i = 0; i < SUMS; i++)
        total += sums[i][0] + sums[i][3];
    return (int32_t)total;
}

static int32_t int8_plain(uint32_t rounds, const uint8_t *bytes)
{
    u16x8 sums[SUMS] = {{0}}, a = {bytes[0], 1, 2, 3, 4, 5, 6, 7}, b = a + a;
    for (uint32_t r = 0; r < rounds; r++)
        UNROLLED
        for (int i = 0; i < SUMS; i++) {
            COMPUTED(a);
            sums[i] += a * b;
        }
    int32_t total = 0;
    for (int i = 0; i < SUMS; i++)
        total ^= sums[i][0] ^ sums[i][7];
    return total;
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool have_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static bool have_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
}

static bool have_vnni(void)
{
    return have_avx512() && __builtin_cpu_supports("avx512vnni");
}

static bool have_avx_vnni(void)
{
    unsigned a, b, c, d;
    return have_avx2() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4);
}

/* The tile registers need the system's leave as well, which is then the process's for good. */
static bool have_amx(void)
{
    enum { REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 }; /* arch_prctl(2) */
    unsigned a, b, c, d;
    return have_vnni() && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & 1u << 24) &&
           (d & 1u << 25) && syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

__attribute__((target("avx2,fma"))) static int32_t f32_avx2(uint32_t rounds, const uint8_t *bytes)
{
    __m256 sums[SUMS], a = _mm256_set1_ps((float)bytes[0] * 0.001f), b = _mm256_set1_ps(0.5f);
    for (int i = 0; i < SUMS; i++)
        sums[i] = _mm256_set1_ps((float)i);
    for (uint32_t r = 0; r < rounds; r++)
        UNROLLED
        for (int i = 0; i < SUMS; i++) {
            sums[i] = _mm256_fmadd_ps(sums[i], a, b);
            COMPUTED(sums[i]);
        }
    for (int i = 1; i < SUMS; i++)
        sums[0] = _mm256_add_ps(sums[0], sums[i]);
    return _mm256_movemask_ps(sums[0]);
}

__attribute__((target("avx512f"))) static int32_t f32_avx512(uint32_t rounds, const uint8_t *bytes)
{
    __m512 sums[SUMS], a = _mm512_set1_ps((float)bytes[0] * 0.001f), b = _mm512_set1_ps(0.5f);
    for (int i = 0; i < SUMS; i++)
        sums[i] = _mm512_set1_ps((float)i);
    for (uint32_t r = 0; r < rounds; r++)
        UNROLLED
        for (int i = 0; i < SUMS; i++) {
            sums[i] = _mm512_fmadd_ps(sums[i], a, b);
            COMPUTED(sums[i]);
        }
    for (int i = 1; i < SUMS; i++)
        sums[0] = _mm512_add_ps(sums[0], sums[i]);
    return (int32_t)_mm512_reduce_add_ps(sums[0]);
}

__attribute__((target("avx2"))) static int32_t int8_avx2(uint32_t rounds, const uint8_t *bytes)
{
    __m256i sums[SUMS], a = _mm256_set1_epi8((char)bytes[0]), b = _mm256_set1_epi8((char)bytes[1]);
    __m256i ones = _mm256_set1_epi16(1);
    for (int i = 0; i < SUMS; i++)
        sums[i] = _mm256_set1_epi32(i);
    for (uint32_t r = 0; r < rounds; r++)
        UNROLLED
        for (int i = 0; i < SUMS; i++) {
            COMPUTED(a); /* each product is computed */
            __m256i pairs = _mm256_maddubs_epi16(a, b);
            sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(pairs, ones));
        }
    for (int i = 1; i < SUMS; i++)
        sums[0] = _mm256_add_epi32(sums[0], sums[i]);
    return _mm256_extract_epi32(sums[0], 0);
}

__attribute__((target("avx512f,avx512bw"))) static int32_t int8_avx512(uint32_t rounds,
                                                                       const uint8_t *bytes)
{
    __m512i sums[SUMS], a = _mm512_set1_epi8((char)bytes[0]), b = _mm512_set1_epi8((char)bytes[1]);
    __m512i ones = _mm512_set1_epi16(1);
    for (int i = 0; i < SUMS; i++)
        sums[i] = _mm512_set1_epi32(i);
    for (uint32_t r = 0; r < rounds; r++)
        UNROLLED
        for (int i = 0; i < SUMS; i++) {
            COMPUTED(a);
            __m512i pairs = _mm512_maddubs_epi16(a, b);
            sums[i] = _mm512_add_epi32(sums[i], _mm512_madd_epi16(pairs, ones));
        }
    for (int i = 1; i < SUMS; i++)
        sums[0] = _mm512_add_epi32(sums[0], sums[i]);
    return _mm512_reduce_add_epi32(sums[0]);
}

__attribute__((target("avxvnni"))) static int32_t int8_avx_vnni(uint32_t rounds,
                                                                const uint8_t *bytes)
{
    __m256i sums[SUMS], a = _mm256_set1_epi8((char)bytes[0]), b = _mm256_set1_epi8((char)bytes[1]);
    for (int i = 0; i < SUMS; i++)
        sums[i] = _mm256_set1_epi32(i);
    for (uint32_t r = 0; r < rounds; r++)
        UNROLLED
        for (int i = 0; i < SUMS; i++) {
            sums[i] = _mm256_dpbusd_avx_epi32(sums[i], a, b);
            COMPUTED(sums[i]);
        }
    for (int i = 1; i < SUMS; i++)
        sums[0] = _mm256_add_epi32(sums[0], sums[i]);
    return _mm256_extract_epi32(sums[0], 0);
}

__attribute__((target("avx512f,avx512vnni"))) static int32_t int8_vnni(uint32_t rounds,
                                                                       const uint8_t *bytes)
{
    __m512i sums[SUMS], a = _mm512_set1_epi8((char)bytes[0]), b = _mm512_set1_epi8((char)bytes[1]);
    for (int i = 0; i < SUMS; i++)
        sums[i] = _mm512_set1_epi32(i);
    for (uint32_t r = 0; r < rounds; r++)
        UNROLLED
        for (int i = 0; i < SUMS; i++) {
            sums[i] = _mm512_dpbusd_epi32(sums[i], a, b);
            COMPUTED(sums[i]);
        }
    for (int i = 1; i < SUMS; i++)
        sums[0] = _mm512_add_epi32(sums[0], sums[i]);
    return _mm512_reduce_add_epi32(sums[0]);
}

struct tile_shape {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

/* Four sums of 16 x 16, from two tiles by two: 64 products deep each. */
__attribute__((target("amx-tile,amx-int8"))) static int32_t int8_amx(uint32_t rounds,
                                                                     const uint8_t *bytes)
{
    struct tile_shape shape = {.palette = 1};
    uint8_t data[16 * 64];
    for (unsigned i = 0; i < sizeof data; i++)
        data[i] = bytes[i & 1];
    for (unsigned t = 0; t < 8; t++) {
        shape.row_bytes[t] = 64;
        shape.rows[t] = 16;
    }
    _tile_loadconfig(&shape);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, data, 64);
    _tile_loadd(5, data, 64);
    _tile_loadd(6, data, 64);
    _tile_loadd(7, data, 64);
    for (uint32_t r = 0; r < rounds; r++) {
        _tile_dpbssd(0, 4, 6);
        _tile_dpbssd(1, 4, 7);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
    }
    _tile_stored(3, data, 64);
    _tile_release();
    return data[0];
}
#elif defined(__aarch64__)
#include <arm_neon.h>
#include <sys/auxv.h>

static bool have_dotprod(void)
{
    return getauxval(AT_HWCAP) & (1u << 20); /* HWCAP_ASIMDDP */
}

static int32_t f32_neon(uint32_t rounds, const uint8_t *bytes)
{
    float32x4_t sums[SUMS], a = vdupq_n_f32((float)bytes[0] * 0.001f), b = vdupq_n_f32(0.5f);
    for (int i = 0; i < SUMS; i++)
        sums[i] = vdupq_n_f32((float)i);
    for (uint32_t r = 0; r < rounds; r++)
        UNROLLED
        for (int i = 0; i < SUMS; i++) {
            sums[i] = vfmaq_f32(sums[i], a, b);
            COMPUTED(sums[i]);
        }
    for (int i = 1; i < SUMS; i++)
        sums[0] = vaddq_f32(sums[0], sums[i]);
    return (int32_t)vaddvq_f32(sums[0]);
}

__attribute__((target("arch=armv8.2-a+dotprod"))) static int32_t int8_dotprod(uint32_t rounds,
                                                                              const uint8_t *bytes)
{
    int32x4_t sums[SUMS];
    int8x16_t a = vdupq_n_s8((int8_t)bytes[0]), b = vdupq_n_s8((int8_t)bytes[1]);
    for (int i = 0; i < SUMS; i++)
        sums[i] = vdupq_n_s32(i);
    for (uint32_t r = 0; r < rounds; r++)
        UNROLLED
        for (int i = 0; i < SUMS; i++) {
            sums[i] = vdotq_s32(sums[i], a, b);
            COMPUTED(sums[i]);
        }
    for (int i = 1; i < SUMS; i++)
        sums[0] = vaddq_s32(sums[0], sums[i]);
    return vaddvq_s32(sums[0]);
}
#endif

/* ---- which ---- */

/* Best last. */
static const struct peak_kind kinds[] = {
    {MACHINE_F32, CPU_SCALAR, "plain", always, f32_plain, SUMS * 4 * 2},
    {MACHINE_INT8, CPU_SCALAR, "plain", always, int8_plain, SUMS * 8 * 2},
#if defined(__x86_64__)
    {MACHINE_F32, CPU_AVX2, "avx2", have_avx2, f32_avx2, SUMS * 8 * 2},
    {MACHINE_F32, CPU_AVX512, "avx512", have_avx512, f32_avx512, SUMS * 16 * 2},
    {MACHINE_INT8, CPU_AVX2, "avx2", have_avx2, int8_avx2, SUMS * 32 * 2},
    {MACHINE_INT8, CPU_AVX2, "avx-vnni", have_avx_vnni, int8_avx_vnni, SUMS * 32 * 2},
    {MACHINE_INT8, CPU_AVX512, "avx512", have_avx512, int8_avx512, SUMS * 64 * 2},
    {MACHINE_INT8, CPU_AVX512, "avx512-vnni", have_vnni, int8_vnni, SUMS * 64 * 2},
    {MACHINE_INT8, CPU_AVX512, "amx-int8", have_amx, int8_amx, 4.0 * 16 * 16 * 64 * 2},
#elif defined(__aarch64__)
    {MACHINE_F32, CPU_SCALAR, "neon", always, f32_neon, SUMS * 4 * 2},
    {MACHINE_INT8, CPU_SCALAR, "neon-dotprod", have_dotprod, int8_dotprod, SUMS * 16 * 2},
#endif
};

struct peak_job {
    peak_loop loop;
    _Atomic int32_t sink; /* so that the sums are wanted */
    uint8_t bytes[64];
};

static void run_part(void *arg, uint32_t part, uint32_t worker)
{
    (void)part;
    (void)worker;
    struct peak_job *job = arg;
    atomic_store_explicit(&job->sink, job->loop(ROUNDS, job->bytes), memory_order_relaxed);
}

enum status machine_peak_measure(enum machine_arithmetic arithmetic, enum cpu_isa isa,
                                 uint32_t threads, struct machine_peak *out, struct error *error)
{
    const struct peak_kind *kind = NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].arithmetic == arithmetic && kinds[i].isa <= isa && kinds[i].have())
            kind = &kinds[i];
    struct cpu_threads *pool;
    enum status status = cpu_threads_open(&pool, threads, error);
    if (status != STATUS_OK)
        return status;
    struct peak_job job = {.loop = kind->loop, .bytes = {3, 5}};
    uint32_t parts = cpu_threads_count(pool);
    uint64_t begin = clock_now_ns(), best = UINT64_MAX;
    do {
        uint64_t t = clock_now_ns();
        cpu_threads_run(pool, run_part, &job, parts);
        t = clock_now_ns() - t;
        best = t < best ? t : best;
    } while (clock_now_ns() - begin < MEASURE_NS);
    cpu_threads_close(pool);
    *out = (struct machine_peak){kind->instructions,
                                 kind->ops_per_round * ROUNDS * parts * 1e9 / (double)best};
    return STATUS_OK;
}
