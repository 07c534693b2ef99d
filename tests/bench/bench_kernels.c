/* How fast the CPU backend's kernels are, beside what bounds them, as one JSON object on stdout.
 *
 * For each instruction set of this machine and each plain number format: a matmul of one row over a
 * matrix far larger than the cache (GB/s of weights read, the decode case) and one of many rows
 * (GFLOP/s, the prefill case). For each table of packed kernels and each block format: the same
 * with 1, 2, 8 and 16 rows (GB/s) and 64 and 512 (Gop/s, two operations a product), over matrices
 * that come from memory, as experts do. The bounds are measured here too: the rate at which the
 * same threads read memory and do nothing else with it, and the rate of the table's multiplying
 * instruction alone. Each figure is the best of a few passes in a bounded time, because on a shared
 * machine the slow passes measure the neighbours.
 *
 * Usage: bench_kernels [threads, default 1] [matrix MiB, default 256] */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/backend/backend.h"
#include "engine/backend/cpu/cpu_threads.h"
#include "engine/backend/cpu/kernels.h"
#include "engine/backend/cpu/packed_kernels.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "server/bench/machine_rates.h"

#define COLS 2048
#define MANY_ROWS 64
#define MANY_OUTPUTS 2048
#define PASS_NS_MAX 150000000u /* per figure */

struct bench {
    uint32_t threads;
    size_t bytes;     /* of the large matrix */
    uint8_t *weights; /* small numbers in any format; see fill() */
    float *x;
    float *y;
};

/* Bytes 0x3c20 are about 1 in f16 and 0.01 in bf16, 0x3c203c20 is 0.0098 in f32: all ordinary. */
static void fill(struct bench *bench)
{
    for (size_t i = 0; i + 2 <= bench->bytes; i += 2) {
        bench->weights[i] = 0x20;
        bench->weights[i + 1] = 0x3c;
    }
}

/* Seconds of the best pass of `run`. */
static double best_pass(void (*run)(void *arg), void *arg)
{
    uint64_t begin = clock_now_ns(), best = UINT64_MAX;
    do {
        uint64_t t = clock_now_ns();
        run(arg);
        t = clock_now_ns() - t;
        best = t < best ? t : best;
    } while (clock_now_ns() - begin < PASS_NS_MAX);
    return (double)(best > 0 ? best : 1) * 1e-9;
}

struct matmul_pass {
    struct backend *backend;
    struct tensor w;
    const struct bench *bench;
    uint32_t rows;
};

static void run_matmul(void *arg)
{
    const struct matmul_pass *pass = arg;
    pass->backend->ops->matmul(pass->backend, pass->bench->y, pass->bench->x, pass->w, NULL,
                               pass->rows, false);
}

static void bench_isa(const struct bench *bench, enum cpu_isa isa, const char *separator)
{
    struct cpu_backend_config config = {.threads = bench->threads, .isa = isa};
    struct backend *backend;
    struct error error = {0};
    CHECK_MSG(cpu_backend_open(&backend, &config, &error) == STATUS_OK, "%s", error.text);
    for (int d = 0; dtype_is_plain((enum dtype)d); d++) {
        const struct dtype_info *info = dtype_info((enum dtype)d);
        size_t row_bytes = (size_t)COLS / info->block_values * info->block_bytes;
        struct matmul_pass one = {
            .backend = backend,
            .bench = bench,
            .rows = 1,
            .w = {bench->weights, (enum dtype)d, (uint32_t)(bench->bytes / row_bytes), COLS}};
        struct matmul_pass many = one;
        many.rows = MANY_ROWS;
        many.w.rows = MANY_OUTPUTS;
        double gb = (double)one.w.rows * (double)row_bytes / best_pass(run_matmul, &one) * 1e-9;
        double gflop = 2.0 * MANY_ROWS * MANY_OUTPUTS * COLS / best_pass(run_matmul, &many) * 1e-9;
        printf("%s\n    {\"isa\": \"%s\", \"dtype\": \"%s\", \"one_row_gb_per_s\": %.2f, "
               "\"many_rows_gflop_per_s\": %.2f}",
               d == 0 ? separator : ",", cpu_isa_name(isa), info->name, gb, gflop);
        fflush(stdout);
    }
    backend_close(backend);
}

/* ---- packed formats ---- */

#define PACKED_OUTPUTS 1024 /* of a matrix: an expert's */
#define PACKED_PART 256     /* outputs of one tile */
#define PACKED_ROWS_MAX 512
#define PEAK_TURNS 20000

struct packed_pass {
    const struct packed_kernels *kernels;
    struct cpu_threads *pool;
    const struct bench *bench;
    enum dtype dtype;
    uint32_t rows;
    struct packed_x x;
    uint8_t *scratch; /* [threads] */
    size_t matrix_bytes, at; /* where in the weights the next matrix begins */
};

static void packed_part(void *arg, uint32_t part, uint32_t worker)
{
    const struct packed_pass *pass = arg;
    struct packed_tile tile = {
        .w = pass->bench->weights + pass->at,
        .w_rows = PACKED_OUTPUTS,
        .first = part * PACKED_PART,
        .outputs = PACKED_PART,
        .x = pass->x,
        .count = pass->rows,
        .out = pass->bench->y + part * PACKED_PART,
        .out_stride = PACKED_OUTPUTS,
        .scratch = pass->scratch + worker * PACKED_SCRATCH_BYTES(COLS),
    };
    pass->kernels->dot[pass->dtype](&tile);
}

/* One matrix after the other, so that each comes from memory. */
static void run_packed(void *arg)
{
    struct packed_pass *pass = arg;
    pass->at += pass->matrix_bytes;
    if (pass->at + pass->matrix_bytes > pass->bench->bytes)
        pass->at = 0;
    cpu_threads_run(pass->pool, packed_part, pass, PACKED_OUTPUTS / PACKED_PART);
}

static void bench_format(struct packed_pass *pass, double peak, const char *separator)
{
    static const uint32_t rows[] = {1, 2, 8, 16, 64, 512};
    const struct dtype_info *info = dtype_info(pass->dtype);
    pass->matrix_bytes = (size_t)PACKED_OUTPUTS * COLS / info->block_values * info->block_bytes;
    printf("%s\n    {\"table\": \"%s\", \"dtype\": \"%s\"", separator, pass->kernels->name,
           info->name);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        pass->rows = rows[i];
        double seconds = best_pass(run_packed, pass);
        if (rows[i] < 64)
            printf(", \"rows_%u_gb_per_s\": %.2f", rows[i],
                   (double)pass->matrix_bytes / seconds * 1e-9);
        else
            printf(", \"rows_%u_gop_per_s\": %.0f", rows[i],
                   2.0 * rows[i] * PACKED_OUTPUTS * COLS / seconds * 1e-9);
    }
    printf(", \"peak_gop_per_s\": %.0f}", peak);
    fflush(stdout);
}

/* Products of bytes and their sums, operands in registers: operations of PEAK_TURNS turns, which is
 * all that a table could do. 0: not known how. */
#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx2"))) static double turns_avx2(void)
{
    __m256i sum[8], one = _mm256_set1_epi16(1), u = _mm256_set1_epi8(3), q = _mm256_set1_epi8(5);
    for (int i = 0; i < 8; i++)
        sum[i] = _mm256_setzero_si256();
    for (int t = 0; t < PEAK_TURNS; t++) {
        for (int i = 0; i < 8; i++) {
            __asm__("" : "+x"(u));
            sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(_mm256_maddubs_epi16(u, q), one));
        }
    }
    for (int i = 0; i < 8; i++)
        __asm__ volatile("" : : "x"(sum[i]));
    return 2.0 * 32 * 8 * PEAK_TURNS;
}

__attribute__((target("avx512f,avx512bw"))) static double turns_avx512(void)
{
    __m512i sum[8], one = _mm512_set1_epi16(1), u = _mm512_set1_epi8(3), q = _mm512_set1_epi8(5);
    for (int i = 0; i < 8; i++)
        sum[i] = _mm512_setzero_si512();
    for (int t = 0; t < PEAK_TURNS; t++) {
        for (int i = 0; i < 8; i++) {
            __asm__("" : "+v"(u));
            sum[i] = _mm512_add_epi32(sum[i], _mm512_madd_epi16(_mm512_maddubs_epi16(u, q), one));
        }
    }
    for (int i = 0; i < 8; i++)
        __asm__ volatile("" : : "v"(sum[i]));
    return 2.0 * 64 * 8 * PEAK_TURNS;
}

__attribute__((target("avxvnni"))) static double turns_avx_vnni(void)
{
    __m256i sum[12], u = _mm256_set1_epi8(3), q = _mm256_set1_epi8(5);
    for (int i = 0; i < 12; i++)
        sum[i] = _mm256_setzero_si256();
    for (int t = 0; t < PEAK_TURNS; t++) {
        for (int i = 0; i < 12; i++)
            sum[i] = _mm256_dpbusd_avx_epi32(sum[i], u, q);
    }
    for (int i = 0; i < 12; i++)
        __asm__ volatile("" : : "x"(sum[i]));
    return 2.0 * 32 * 12 * PEAK_TURNS;
}

__attribute__((target("avx512f,avx512vnni"))) static double turns_vnni(void)
{
    __m512i sum[12], u = _mm512_set1_epi8(3), q = _mm512_set1_epi8(5);
    for (int i = 0; i < 12; i++)
        sum[i] = _mm512_setzero_si512();
    for (int t = 0; t < PEAK_TURNS; t++) {
        for (int i = 0; i < 12; i++)
            sum[i] = _mm512_dpbusd_epi32(sum[i], u, q);
    }
    for (int i = 0; i < 12; i++)
        __asm__ volatile("" : : "v"(sum[i]));
    return 2.0 * 64 * 12 * PEAK_TURNS;
}

/* Tiles of full depth, 64 bytes a row. */
static double turns_amx(void)
{
    uint8_t config[64] __attribute__((aligned(64))) = {1};
    for (int t = 0; t < 8; t++) {
        config[16 + 2 * t] = 64; /* bytes of a row, 16 bits */
        config[48 + t] = 16;     /* rows */
    }
    __asm__ volatile("ldtilecfg %0\n\ttilezero %%tmm6\n\ttilezero %%tmm7" : : "m"(config));
    for (int t = 0; t < PEAK_TURNS / 16; t++)
        __asm__ volatile("tdpbssd %tmm7, %tmm6, %tmm0\n\ttdpbssd %tmm7, %tmm6, %tmm1\n\t"
                         "tdpbssd %tmm7, %tmm6, %tmm2\n\ttdpbssd %tmm7, %tmm6, %tmm3");
    __asm__ volatile("tilerelease");
    return 2.0 * 16 * 16 * 64 * 4 * (PEAK_TURNS / 16);
}

static double turns_of(const char *table)
{
    return strcmp(table, "avx2") == 0          ? turns_avx2()
           : strcmp(table, "avx2-vnni") == 0   ? turns_avx_vnni()
           : strcmp(table, "avx512") == 0      ? turns_avx512()
           : strcmp(table, "avx512-vnni") == 0 ? turns_vnni()
           : strcmp(table, "amx") == 0         ? turns_amx()
                                               : 0;
}
#else
static double turns_of(const char *table)
{
    return 0;
}
#endif

struct peak_pass {
    struct cpu_threads *pool;
    const char *table;
    double operations; /* of one part */
};

static void peak_part(void *arg, uint32_t part, uint32_t worker)
{
    struct peak_pass *pass = arg;
    double operations = turns_of(pass->table);
    if (part == 0)
        pass->operations = operations;
}

static void run_peak(void *arg)
{
    struct peak_pass *pass = arg;
    cpu_threads_run(pass->pool, peak_part, pass, cpu_threads_count(pass->pool));
}

/* Every table but the scalar one, which would take minutes. */
static void bench_packed(const struct bench *bench)
{
    struct packed_pass pass = {.bench = bench};
    struct error error = {0};
    CHECK_MSG(cpu_threads_open(&pass.pool, bench->threads, &error) == STATUS_OK, "%s", error.text);
    void *rows = aligned_alloc(64, PACKED_ROWS_MAX * packed_x_row_bytes(COLS));
    pass.scratch = aligned_alloc(64, bench->threads * PACKED_SCRATCH_BYTES(COLS));
    CHECK_MSG(rows && pass.scratch, "no memory for %d rows", PACKED_ROWS_MAX);
    packed_x_place(&pass.x, rows, PACKED_ROWS_MAX, COLS);
    for (uint32_t r = 0; r < PACKED_ROWS_MAX; r++)
        packed_scalar.quantize(&pass.x, r, bench->x + r % MANY_ROWS * COLS);
    const char *separator = "";
    for (uint32_t t = 1; (pass.kernels = packed_kernels_at(t)); t++) {
        struct peak_pass peak = {.pool = pass.pool, .table = pass.kernels->name};
        double seconds = best_pass(run_peak, &peak);
        double rate = peak.operations * bench->threads / seconds * 1e-9;
        for (int d = 0; d < DTYPE_COUNT; d++) {
            pass.dtype = (enum dtype)d;
            if (dtype_is_plain(pass.dtype))
                continue;
            bench_format(&pass, rate, separator);
            separator = ",";
        }
    }
    free(rows);
    free(pass.scratch);
    cpu_threads_close(pass.pool);
}

int main(int argc, char **argv)
{
    struct bench bench = {.threads = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1};
    size_t mib = argc > 2 ? strtoul(argv[2], NULL, 10) : 256;
    if (bench.threads == 0 || bench.threads > CPU_THREADS_MAX || mib < 32 || mib > 4096) {
        fprintf(stderr, "usage: bench_kernels [threads 1..%d] [matrix MiB 32..4096]\n",
                CPU_THREADS_MAX);
        return 2;
    }
    bench.bytes = mib << 20;
    struct cpu_backend_config config = {.threads = 1, .isa = CPU_SCALAR};
    struct backend *memory; /* for its alloc: the memory that weights really lie in */
    struct error error = {0};
    CHECK_MSG(cpu_backend_open(&memory, &config, &error) == STATUS_OK, "%s", error.text);
    size_t outputs = bench.bytes / (2 * COLS);
    size_t y_values =
        (size_t)PACKED_ROWS_MAX * PACKED_OUTPUTS; /* more than MANY_ROWS x MANY_OUTPUTS */
    y_values = outputs > y_values ? outputs : y_values;
    bench.weights = memory->ops->alloc(memory, bench.bytes);
    bench.x = memory->ops->alloc(memory, sizeof(float) * MANY_ROWS * COLS);
    bench.y = memory->ops->alloc(memory, sizeof(float) * y_values);
    CHECK_MSG(bench.weights && bench.x && bench.y, "no memory for a matrix of %zu MiB", mib);
    fill(&bench);
    for (size_t i = 0; i < (size_t)MANY_ROWS * COLS; i++)
        bench.x[i] = (float)(i % 17) * 0.125f - 1.0f;

    printf("{\"bench\": \"kernels\", \"threads\": %" PRIu32 ", \"matrix_mib\": %zu, \"cols\": %d, "
           "\"many_rows\": %d,\n  \"memory_read_gb_per_s\": %.2f,\n  \"kernels\": [",
           bench.threads, mib, COLS, MANY_ROWS,
           machine_memory_rate(bench.weights, bench.bytes, bench.threads) * 1e-9);
    const char *separator = "";
    for (int isa = 0; isa < CPU_ISA_COUNT; isa++) {
        if (!kernels_find((enum cpu_isa)isa))
            continue;
        bench_isa(&bench, (enum cpu_isa)isa, separator);
        separator = ",";
    }
    printf("],\n  \"packed\": [");
    bench_packed(&bench);
    printf("]}\n");
    memory->ops->release(memory, bench.weights);
    memory->ops->release(memory, bench.x);
    memory->ops->release(memory, bench.y);
    backend_close(memory);
    return 0;
}
