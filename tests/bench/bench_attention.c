/* What the CPU backend does between its matrices, as one JSON object on stdout: attention of a
 * prompt (GFLOP/s), of single rows over long contexts (GB/s of keys and values, beside the rate at
 * which the same threads read memory), the small operations at one and at many rows, and a
 * fork-join in which every thread takes part (the machine must have as many processors free). Best
 * of a few passes in a bounded time each, as in bench_kernels.c.
 *
 * Usage: bench_attention [threads, default 1] [longest context, default 8192] */
#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/backend/backend.h"
#include "engine/backend/cpu/cpu_threads.h"
#include "memory/base/check.h"
#include "memory/base/clock.h"
#include "server/bench/machine_rates.h"

#define PASS_NS_MAX 200000000u /* per figure */
#define PROMPT_ROWS 512
#define WIDTH 2048 /* of the small operations */
#define TOP_K 8
#define EXPERTS 64

struct bench {
    struct backend *b;
    uint32_t threads;
    uint32_t context;
    uint32_t *blocks;
    struct row_place *places; /* of PROMPT_ROWS */
    float *x, *y, *weight, *many; /* many: [PROMPT_ROWS * TOP_K][WIDTH] */
    uint32_t *offsets, *rows;
};

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

/* ---- attention ---- */

struct attention_pass {
    struct backend *b;
    struct attention_args args;
};

static void run_attention(void *arg)
{
    const struct attention_pass *pass = arg;
    pass->b->ops->attention(pass->b, &pass->args);
}

/* Rows at the last positions of a sequence of `keys`. */
static double attention_seconds(struct bench *bench, struct kv_layer kv, uint32_t heads,
                                uint32_t rows, uint32_t keys)
{
    for (uint32_t r = 0; r < rows; r++)
        bench->places[r] = (struct row_place){bench->blocks, keys - rows + r};
    struct attention_pass pass = {.b = bench->b,
                                  .args = {.out = bench->y,
                                           .q = bench->x,
                                           .kv = kv,
                                           .places = bench->places,
                                           .rows = rows,
                                           .heads = heads,
                                           .scale = 1.0f / sqrtf((float)kv.head_dim)}};
    return best_pass(run_attention, &pass);
}

static void bench_shape(struct bench *bench, enum dtype dtype, uint32_t heads, uint32_t kv_heads,
                        const char *separator)
{
    const uint32_t dim = 128;
    size_t values = ((size_t)bench->context + KV_BLOCK_TOKENS) * kv_heads * dim;
    size_t bytes = values * dtype_info(dtype)->block_bytes;
    struct kv_layer kv = {bench->b->ops->alloc(bench->b, bytes),
                          bench->b->ops->alloc(bench->b, bytes), dtype, kv_heads, dim};
    CHECK_MSG(kv.keys && kv.values, "no memory for keys and values of %zu bytes", bytes);
    float row[WIDTH];
    for (uint32_t i = 0; i < WIDTH; i++)
        row[i] = (float)(i % 19) * 0.05f - 0.45f;
    for (uint32_t p = 0; p < bench->context; p++) {
        struct row_place place = {bench->blocks, p};
        bench->b->ops->kv_write(bench->b, kv, row, row, &place, 1);
    }
    printf("%s\n    {\"kv\": \"%s\", \"heads\": %" PRIu32 ", \"kv_heads\": %" PRIu32
           ", \"head_dim\": %" PRIu32,
           separator, dtype_info(dtype)->name, heads, kv_heads, dim);
    double flops = 4.0 * heads * dim * PROMPT_ROWS * (PROMPT_ROWS + 1) / 2;
    double s = attention_seconds(bench, kv, heads, PROMPT_ROWS, PROMPT_ROWS);
    printf(", \"prompt_gflop_per_s\": %.1f, \"prompt_ms\": %.3f", flops / s * 1e-9, s * 1e3);
    flops = 4.0 * heads * dim * PROMPT_ROWS * (bench->context - PROMPT_ROWS / 2.0);
    s = attention_seconds(bench, kv, heads, PROMPT_ROWS, bench->context);
    printf(", \"prompt_at_end_gflop_per_s\": %.1f", flops / s * 1e-9);
    for (uint32_t keys = 512; keys <= bench->context; keys *= 4) {
        s = attention_seconds(bench, kv, heads, 1, keys);
        double read = 2.0 * keys * kv_heads * dim * dtype_info(dtype)->block_bytes;
        printf(", \"one_row_%" PRIu32 "_us\": %.1f, \"one_row_%" PRIu32 "_gb_per_s\": %.2f", keys,
               s * 1e6, keys, read / s * 1e-9);
    }
    printf("}");
    fflush(stdout);
    bench->b->ops->release(bench->b, kv.keys);
    bench->b->ops->release(bench->b, kv.values);
}

/* ---- the small operations ---- */

struct small {
    struct bench *bench;
    uint32_t rows;
};

static void run_norm(void *arg)
{
    const struct small *s = arg;
    s->bench->b->ops->rms_norm(s->bench->b, s->bench->y, s->bench->x, s->bench->weight, s->rows,
                               WIDTH, 1e-5f);
}

static void run_rope(void *arg)
{
    const struct small *s = arg;
    s->bench->b->ops->rope(s->bench->b, s->bench->y, s->bench->places, s->bench->weight, s->rows,
                           WIDTH / 128, 128);
}

static void run_route(void *arg)
{
    const struct small *s = arg;
    struct router router = {ROUTER_SOFTMAX, EXPERTS, TOP_K};
    s->bench->b->ops->route(s->bench->b, &router, s->bench->x, s->rows, s->bench->rows,
                            s->bench->y);
}

static void run_combine(void *arg)
{
    const struct small *s = arg;
    struct combine_args args = {.out = s->bench->y,
                                .y = s->bench->many,
                                .offsets = s->bench->offsets,
                                .places = s->bench->rows,
                                .weights = s->bench->weight,
                                .rows = s->rows,
                                .width = WIDTH};
    s->bench->b->ops->combine(s->bench->b, &args);
}

static void run_kv_write(void *arg)
{
    const struct small *s = arg;
    struct kv_layer kv = {s->bench->many, s->bench->many + (size_t)PROMPT_ROWS * WIDTH, DTYPE_F32,
                          WIDTH / 128, 128};
    s->bench->b->ops->kv_write(s->bench->b, kv, s->bench->x, s->bench->x, s->bench->places,
                               s->rows);
}

static void bench_small(struct bench *bench)
{
    static const struct {
        const char *name;
        void (*run)(void *arg);
    } ops[] = {{"rms_norm", run_norm},
               {"rope", run_rope},
               {"kv_write", run_kv_write},
               {"route", run_route},
               {"combine", run_combine}};
    for (uint32_t r = 0; r < PROMPT_ROWS; r++)
        bench->places[r].position = r;
    printf(",\n  \"small_us\": {");
    for (unsigned i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        struct small one = {bench, 1}, many = {bench, PROMPT_ROWS};
        for (uint32_t c = 0; c < PROMPT_ROWS * TOP_K; c++)
            bench->rows[c] = c;
        double few = best_pass(ops[i].run, &one) * 1e6;
        printf("%s\"%s\": [%.2f, %.1f]", i ? ", " : "", ops[i].name, few,
               best_pass(ops[i].run, &many) * 1e6);
    }
    printf("}");
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Each thread has come: what a fork-join costs when all take part. */
static void meet(void *arg, uint32_t part, uint32_t worker)
{
    atomic_uint *missing = arg;
    atomic_fetch_sub(missing, 1);
    while (atomic_load(missing) > 0)
        ;
}

static void bench_fork_join(uint32_t threads)
{
    struct cpu_threads *pool;
    struct error error = {0};
    CHECK_MSG(cpu_threads_open(&pool, threads, &error) == STATUS_OK, "%s", error.text);
    enum { runs = 5001 };
    uint64_t ns[runs];
    for (uint32_t i = 0; i < runs; i++) {
        atomic_uint missing = threads;
        uint64_t begin = clock_now_ns();
        cpu_threads_run(pool, meet, &missing, threads);
        ns[i] = clock_now_ns() - begin;
        for (uint64_t until = begin + 5000; clock_now_ns() < until;)
            ; /* what the caller does alone between two operations */
    }
    qsort(ns, runs, sizeof ns[0], by_value);
    printf(",\n  \"fork_join_ns\": {\"median\": %" PRIu64 ", \"p90\": %" PRIu64 "}", ns[runs / 2],
           ns[runs / 10 * 9]);
    cpu_threads_close(pool);
}

static void open_arrays(struct bench *bench)
{
    struct backend *b = bench->b;
    uint32_t blocks = bench->context / KV_BLOCK_TOKENS + 1;
    bench->blocks = b->ops->alloc(b, blocks * sizeof(uint32_t));
    bench->places = b->ops->alloc(b, PROMPT_ROWS * sizeof *bench->places);
    bench->x = b->ops->alloc(b, sizeof(float) * PROMPT_ROWS * 2 * WIDTH);
    bench->y = b->ops->alloc(b, sizeof(float) * PROMPT_ROWS * 2 * WIDTH);
    bench->weight = b->ops->alloc(b, sizeof(float) * PROMPT_ROWS * TOP_K);
    bench->many = b->ops->alloc(b, sizeof(float) * PROMPT_ROWS * TOP_K * WIDTH);
    bench->offsets = b->ops->alloc(b, sizeof(uint32_t) * (PROMPT_ROWS + 1));
    bench->rows = b->ops->alloc(b, sizeof(uint32_t) * PROMPT_ROWS * TOP_K);
    CHECK(bench->blocks && bench->places && bench->x && bench->y && bench->weight && bench->many &&
          bench->offsets && bench->rows);
    for (uint32_t i = 0; i < blocks; i++)
        bench->blocks[i] = i; /* in order: what a lone sequence gets */
    for (size_t i = 0; i < (size_t)PROMPT_ROWS * 2 * WIDTH; i++)
        bench->x[i] = (float)(i % 17) * 0.125f - 1.0f;
    for (uint32_t i = 0; i < PROMPT_ROWS * TOP_K; i++)
        bench->weight[i] = 1.0f / (float)(1 + i % 64);
    for (uint32_t r = 0; r <= PROMPT_ROWS; r++)
        bench->offsets[r] = r * TOP_K;
    for (uint32_t r = 0; r < PROMPT_ROWS; r++)
        bench->places[r] = (struct row_place){bench->blocks, r};
}

static void close_arrays(struct bench *bench)
{
    void *all[] = {bench->blocks, bench->places, bench->x,       bench->y,
                   bench->weight, bench->many,   bench->offsets, bench->rows};
    for (unsigned i = 0; i < sizeof all / sizeof all[0]; i++)
        bench->b->ops->release(bench->b, all[i]);
}

int main(int argc, char **argv)
{
    struct bench bench = {.threads = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1,
                          .context = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 8192};
    if (bench.threads == 0 || bench.threads > CPU_THREADS_MAX || bench.context < PROMPT_ROWS ||
        bench.context > 131072) {
        fprintf(stderr, "usage: bench_attention [threads 1..%d] [longest context %d..131072]\n",
                CPU_THREADS_MAX, PROMPT_ROWS);
        return 2;
    }
    struct cpu_backend_config config = {.threads = bench.threads,
                                        .isa = CPU_BEST,
                                        .context_max = bench.context,
                                        .rows_max = PROMPT_ROWS};
    struct error error = {0};
    CHECK_MSG(cpu_backend_open(&bench.b, &config, &error) == STATUS_OK, "%s", error.text);
    open_arrays(&bench);
    printf("{\"bench\": \"attention\", \"threads\": %" PRIu32 ", \"isa\": \"%s\",\n"
           "  \"memory_read_gb_per_s\": %.2f,\n  \"attention\": [",
           bench.threads, cpu_isa_name(cpu_backend_isa(bench.b)),
           machine_memory_rate((const uint8_t *)bench.many,
                            sizeof(float) * PROMPT_ROWS * TOP_K * WIDTH, bench.threads) *
               1e-9);
    bench_shape(&bench, DTYPE_F32, 16, 16, "");
    bench_shape(&bench, DTYPE_F16, 16, 16, ",");
    bench_shape(&bench, DTYPE_F32, 32, 4, ",");
    printf("]");
    bench_small(&bench);
    bench_fork_join(bench.threads);
    printf("}\n");
    close_arrays(&bench);
    backend_close(bench.b);
    return 0;
}
