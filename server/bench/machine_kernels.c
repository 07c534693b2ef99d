/* Each thread has a matrix and activations of its own, small enough for its second-level cache, and
 * multiplies them over and over. All values are zero: what they are changes no instruction. */
#include "server/bench/machine_kernels.h"

#include <stdlib.h>
#include <string.h>

#include "engine/backend/cpu/cpu_threads.h"
#include "engine/backend/cpu/kernels.h"
#include "engine/backend/cpu/packed_kernels.h"
#include "memory/base/clock.h"

#define COLS 2048u
#define OUTPUTS 128u
#define MEASURE_NS 100000000u
#define ALIGN 64

struct kernel_job {
    const struct packed_kernels *packed; /* NULL: plain */
    const struct kernels *plain;
    enum dtype dtype;
    uint32_t rows;
    size_t row_bytes, part_bytes;        /* of weights; of all that a thread has */
    uint8_t *memory;                     /* [threads][part_bytes] */
};

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* Weights, activations, outputs, scratch: one behind the other. */
static void run_packed(const struct kernel_job *job, uint8_t *at)
{
    struct packed_tile tile = {
        .w = at, .w_rows = OUTPUTS, .outputs = OUTPUTS, .count = job->rows, .out_stride = OUTPUTS};
    at += aligned(OUTPUTS * job->row_bytes);
    packed_x_place(&tile.x, at, job->rows, COLS);
    at += aligned(job->rows * packed_x_row_bytes(COLS));
    tile.out = (float *)at;
    at += aligned(job->rows * OUTPUTS * sizeof(float));
    tile.scratch = at;
    job->packed->dot[job->dtype](&tile);
}

static void run_plain(const struct kernel_job *job, uint8_t *at)
{
    const float *x[KERNEL_TILE_X_MAX];
    float sums[KERNEL_TILE_X_MAX * KERNEL_TILE_W];
    const float *values = (const float *)(at + aligned(OUTPUTS * job->row_bytes));
    for (uint32_t first = 0; first < job->rows; first += job->plain->tile_x) {
        uint32_t left = job->rows - first;
        struct kernel_tile tile = {
            .w_stride_bytes = job->row_bytes, .w_rows = KERNEL_TILE_W, .x = x, .n = COLS};
        tile.x_rows = left < job->plain->tile_x ? left : job->plain->tile_x;
        for (uint32_t i = 0; i < tile.x_rows; i++)
            x[i] = values + (size_t)(first + i) * COLS;
        for (uint32_t w = 0; w < OUTPUTS; w += KERNEL_TILE_W) {
            tile.w = at + w * job->row_bytes;
            job->plain->format[job->dtype].dot(sums, &tile);
        }
    }
}

static void run_part(void *arg, uint32_t part, uint32_t worker)
{
    const struct kernel_job *job = arg;
    uint8_t *at = job->memory + worker * job->part_bytes;
    (void)part;
    if (job->packed)
        run_packed(job, at);
    else
        run_plain(job, at);
}

static const struct kernels *best_plain(enum cpu_isa isa)
{
    const struct kernels *found = NULL;
    for (enum cpu_isa i = CPU_SCALAR; i < CPU_ISA_COUNT && i <= isa; i++)
        if (kernels_find(i))
            found = kernels_find(i);
    return found;
}

static enum status choose(struct kernel_job *job, enum cpu_isa isa, struct error *error)
{
    uint64_t row_bytes = 0;
    job->plain = best_plain(isa);
    if (!dtype_is_plain(job->dtype)) {
        job->packed = packed_kernels_find(isa);
        if (!job->packed || !job->packed->dot[job->dtype])
            return error_set(error, STATUS_UNSUPPORTED, "no kernel multiplies %s",
                             dtype_info(job->dtype)->name);
    }
    dtype_bytes(job->dtype, COLS, &row_bytes);
    job->row_bytes = row_bytes;
    job->part_bytes = aligned(OUTPUTS * row_bytes) + aligned(job->rows * OUTPUTS * sizeof(float)) +
                      aligned(job->rows * packed_x_row_bytes(COLS)) +
                      aligned(job->rows * COLS * sizeof(float)) +
                      aligned(PACKED_SCRATCH_BYTES(COLS));
    return STATUS_OK;
}

enum status machine_kernel_measure(enum dtype dtype, uint32_t rows, enum cpu_isa isa,
                                   uint32_t threads, struct machine_kernel *out,
                                   struct error *error)
{
    struct kernel_job job = {.dtype = dtype, .rows = rows};
    struct cpu_threads *pool = NULL;
    enum status status = choose(&job, isa, error);
    if (status == STATUS_OK)
        status = cpu_threads_open(&pool, threads, error);
    if (status != STATUS_OK)
        return status;
    uint32_t count = cpu_threads_count(pool);
    job.memory = aligned_alloc(ALIGN, count * job.part_bytes);
    if (!job.memory) {
        cpu_threads_close(pool);
        return error_set(error, STATUS_NO_MEMORY, "out of memory");
    }
    memset(job.memory, 0, count * job.part_bytes);
    const uint32_t parts = count * 8; /* so that waking the workers costs little */
    uint64_t begin = clock_now_ns(), best = UINT64_MAX;
    do {
        uint64_t t = clock_now_ns();
        cpu_threads_run(pool, run_part, &job, parts);
        t = clock_now_ns() - t;
        best = t < best ? t : best;
    } while (clock_now_ns() - begin < MEASURE_NS);
    double ops = 2.0 * COLS * OUTPUTS * rows * parts;
    *out = (struct machine_kernel){job.packed ? job.packed->name : "plain",
                                   ops * 1e9 / (double)best};
    cpu_threads_close(pool);
    free(job.memory);
    return STATUS_OK;
}
