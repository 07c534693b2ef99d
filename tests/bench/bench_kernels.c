/* How fast the CPU backend's kernels are, beside what bounds them, as one JSON object on stdout.
 *
 * For each instruction set of this machine and each number format: a matmul of one row over a
 * matrix far larger than the cache (GB/s of weights read, the decode case) and one of many rows
 * (GFLOP/s, the prefill case). The bound of the first is measured here too: the rate at which the
 * same threads read memory and do nothing else with it. Each figure is the best of a few passes in
 * a bounded time, because on a shared machine the slow passes measure the neighbours.
 *
 * Usage: bench_kernels [threads, default 1] [matrix MiB, default 256] */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/backend/backend.h"
#include "engine/backend/cpu/cpu_threads.h"
#include "engine/backend/cpu/kernels.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "tests/bench/memory_rate.h"

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
    for (int d = 0; d < DTYPE_COUNT; d++) {
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
    size_t y_values = outputs > (size_t)MANY_ROWS * MANY_OUTPUTS ? outputs
                                                                 : (size_t)MANY_ROWS * MANY_OUTPUTS;
    bench.weights = memory->ops->alloc(memory, bench.bytes);
    bench.x = memory->ops->alloc(memory, sizeof(float) * MANY_ROWS * COLS);
    bench.y = memory->ops->alloc(memory, sizeof(float) * y_values);
    CHECK_MSG(bench.weights && bench.x && bench.y, "no memory for a matrix of %zu MiB", mib);
    fill(&bench);
    for (size_t i = 0; i < (size_t)MANY_ROWS * COLS; i++)
        bench.x[i] = (float)(i % 17) * 0.125f - 1.0f;

    printf("{\"bench\": \"kernels\", \"threads\": %" PRIu32 ", \"matrix_mib\": %zu, \"cols\": %d, "
           "\"many_rows\": %d,\n  \"memory_read_gb_per_s\": %.2f,\n  \"kernels\": [",
           bench.threads, mib, COLS, MANY_ROWS, memory_read_rate(bench.weights, bench.bytes, bench.threads) * 1e-9);
    const char *separator = "";
    for (int isa = 0; isa < CPU_ISA_COUNT; isa++) {
        if (!kernels_find((enum cpu_isa)isa))
            continue;
        bench_isa(&bench, (enum cpu_isa)isa, separator);
        separator = ",";
    }
    printf("]}\n");
    memory->ops->release(memory, bench.weights);
    memory->ops->release(memory, bench.x);
    memory->ops->release(memory, bench.y);
    backend_close(memory);
    return 0;
}
