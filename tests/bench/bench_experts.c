/* The matrices of one layer of the shape of OLMoE-1B-7B (hidden 2048, 64 experts of width 1024, top
 * 8) through the CPU backend's operations, as one JSON object on stdout: for each format one row,
 * 16 rows and 512 rows of the experts and of q, k and v. Rates are those of the weights' bytes
 * (GB/s, beside the rate at which the same threads read memory) and of the multiplications (Gop/s,
 * two each). Rows choose experts at random; several layers take turns, so that weights come from
 * memory. Best of a few passes in a bounded time each, as in bench_kernels.c.
 *
 * Usage: bench_experts [threads, default 1] [layers, default 4] [format ...] */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/backend/backend.h"
#include "engine/backend/cpu/cpu_threads.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "server/bench/machine_rates.h"

#define HIDDEN 2048
#define WIDTH 1024
#define EXPERTS 64
#define TOP_K 8
#define ROWS_MAX 512
#define PASSES 24
#define PASS_NS_MAX 400000000u /* of all passes of one figure */

struct bench {
    struct backend *b;
    enum dtype dtype;
    enum weight_layout layout;
    uint32_t layers;
    uint8_t *weights; /* [layers][EXPERTS][3][bytes of a matrix] */
    size_t matrix_bytes;
    float *x, *y;
    uint32_t *gather; /* [EXPERTS][ROWS_MAX] */
    uint32_t count[EXPERTS];
    uint32_t state; /* of the random numbers */
};

static uint32_t random_below(struct bench *bench, uint32_t n)
{
    bench->state = bench->state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)(bench->state >> 8) * n >> 24);
}

static void choose(struct bench *bench, uint32_t rows)
{
    memset(bench->count, 0, sizeof bench->count);
    for (uint32_t r = 0; r < rows; r++) {
        uint64_t taken = 0;
        for (uint32_t k = 0; k < TOP_K;) {
            uint32_t e = random_below(bench, EXPERTS);
            if (taken >> e & 1)
                continue;
            taken |= (uint64_t)1 << e;
            bench->gather[e * ROWS_MAX + bench->count[e]++] = r;
            k++;
        }
    }
}

static struct tensor matrix(const struct bench *bench, uint32_t layer, uint32_t number,
                            uint32_t rows, uint32_t cols)
{
    const uint8_t *at =
        bench->weights + ((size_t)layer * 3 * EXPERTS + number) * bench->matrix_bytes;
    return (struct tensor){at, bench->dtype, rows, cols, bench->layout};
}

/* One call over all chosen experts; returns how many there are. */
static uint32_t run_experts(struct bench *bench, uint32_t layer)
{
    struct expert_args args[EXPERTS];
    uint32_t n = 0;
    float *out = bench->y;
    for (uint32_t e = 0; e < EXPERTS; e++) {
        if (bench->count[e] == 0)
            continue;
        args[n++] = (struct expert_args){.out = out,
                                         .x = bench->x,
                                         .gather = bench->gather + e * ROWS_MAX,
                                         .rows = bench->count[e],
                                         .gate = matrix(bench, layer, 3 * e, WIDTH, HIDDEN),
                                         .up = matrix(bench, layer, 3 * e + 1, WIDTH, HIDDEN),
                                         .down = matrix(bench, layer, 3 * e + 2, HIDDEN, WIDTH)};
        out += (size_t)bench->count[e] * HIDDEN;
    }
    bench->b->ops->experts(bench->b, args, n);
    return n;
}

/* q, k and v: each as large as two matrices of an expert. */
static void run_matmuls(struct bench *bench, uint32_t layer, uint32_t rows)
{
    struct matmul_out outs[3];
    for (uint32_t i = 0; i < 3; i++)
        outs[i] = (struct matmul_out){bench->y + (size_t)i * ROWS_MAX * HIDDEN,
                                      matrix(bench, layer, 2 * i, HIDDEN, HIDDEN), NULL};
    bench->b->ops->matmuls(bench->b, bench->x, rows, outs, 3);
}

static void bench_rows(struct bench *bench, uint32_t rows)
{
    double experts_rate = 0, experts_ops = 0, qkv_rate = 0, qkv_ops = 0;
    uint64_t begin = clock_now_ns();
    for (uint32_t pass = 0; pass < PASSES && clock_now_ns() - begin < PASS_NS_MAX; pass++) {
        choose(bench, rows);
        uint64_t t = clock_now_ns();
        double matrices = 3.0 * run_experts(bench, pass % bench->layers);
        double ns = (double)(clock_now_ns() - t);
        double rate = matrices * (double)bench->matrix_bytes / ns;
        double ops = 6.0 * rows * TOP_K * WIDTH * HIDDEN / ns;
        experts_rate = rate > experts_rate ? rate : experts_rate;
        experts_ops = ops > experts_ops ? ops : experts_ops;
        t = clock_now_ns();
        run_matmuls(bench, (pass + 1) % bench->layers, rows);
        ns = (double)(clock_now_ns() - t);
        rate = 6.0 * (double)bench->matrix_bytes / ns;
        ops = 6.0 * rows * HIDDEN * HIDDEN / ns;
        qkv_rate = rate > qkv_rate ? rate : qkv_rate;
        qkv_ops = ops > qkv_ops ? ops : qkv_ops;
    }
    printf(", \"rows_%" PRIu32 "\": {\"experts_gb_per_s\": %.2f, \"experts_gop_per_s\": %.1f, "
           "\"qkv_gb_per_s\": %.2f, \"qkv_gop_per_s\": %.1f}",
           rows, experts_rate, experts_ops, qkv_rate, qkv_ops);
    fflush(stdout);
}

/* Bytes of 0x1c are small finite scales in every format. */
static void bench_format(struct bench *bench, enum dtype dtype, uint32_t threads,
                         const char *separator)
{
    uint64_t bytes;
    CHECK(dtype_bytes(dtype, (uint64_t)WIDTH * HIDDEN, &bytes));
    bench->dtype = dtype;
    bench->matrix_bytes = bytes;
    CHECK(bench->b->ops->layout(bench->b, dtype, &bench->layout));
    size_t all = (size_t)bench->layers * 3 * EXPERTS * bench->matrix_bytes;
    bench->weights = bench->b->ops->alloc(bench->b, all);
    CHECK_MSG(bench->weights, "no memory for weights of %zu bytes", all);
    memset(bench->weights, 0x1c, all);
    printf("%s\n    {\"format\": \"%s\", \"memory_read_gb_per_s\": %.2f", separator,
           dtype_info(dtype)->name, machine_memory_rate(bench->weights, all, threads) * 1e-9);
    bench_rows(bench, 1);
    bench_rows(bench, 16);
    bench_rows(bench, ROWS_MAX);
    printf("}");
    bench->b->ops->release(bench->b, bench->weights);
}

int main(int argc, char **argv)
{
    uint32_t threads = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1;
    struct bench bench = {.layers = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 4,
                          .state = 1};
    if (threads == 0 || threads > CPU_THREADS_MAX || bench.layers == 0 || bench.layers > 64) {
        fprintf(stderr, "usage: bench_experts [threads 1..%d] [layers 1..64] [format ...]\n",
                CPU_THREADS_MAX);
        return 2;
    }
    struct cpu_backend_config config = {.threads = threads,
                                        .isa = CPU_BEST,
                                        .expert_width_max = WIDTH,
                                        .context_max = 1,
                                        .rows_max = ROWS_MAX,
                                        .cols_max = HIDDEN,
                                        .experts_max = EXPERTS};
    struct error error = {0};
    CHECK_MSG(cpu_backend_open(&bench.b, &config, &error) == STATUS_OK, "%s", error.text);
    bench.x = bench.b->ops->alloc(bench.b, sizeof(float) * ROWS_MAX * HIDDEN);
    bench.y = bench.b->ops->alloc(bench.b, sizeof(float) * ROWS_MAX * TOP_K * HIDDEN);
    bench.gather = bench.b->ops->alloc(bench.b, sizeof(uint32_t) * EXPERTS * ROWS_MAX);
    CHECK(bench.x && bench.y && bench.gather);
    for (size_t i = 0; i < (size_t)ROWS_MAX * HIDDEN; i++)
        bench.x[i] = (float)(i % 17) * 0.125f - 1.0f;
    static const char *const usual[] = {"q4_0", "q8_0", "q4_k", "bf16"};
    printf("{\"bench\": \"experts\", \"threads\": %" PRIu32 ", \"isa\": \"%s\",\n  \"formats\": [",
           threads, cpu_isa_name(cpu_backend_isa(bench.b)));
    for (int i = 0; i < (argc > 3 ? argc - 3 : 4); i++) {
        enum dtype dtype;
        const char *name = argc > 3 ? argv[3 + i] : usual[i];
        CHECK_MSG(dtype_parse_any(name, &dtype), "no format %s", name);
        bench_format(&bench, dtype, threads, i ? "," : "");
    }
    printf("]}\n");
    bench.b->ops->release(bench.b, bench.x);
    bench.b->ops->release(bench.b, bench.y);
    bench.b->ops->release(bench.b, bench.gather);
    backend_close(bench.b);
    return 0;
}
