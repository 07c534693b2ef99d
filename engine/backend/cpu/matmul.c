/* y = W x for a batch of rows. Threads share out the outputs (weight rows), so each weight is read
 * by one thread; within a part, a block of weight rows that fits the second-level cache meets all
 * activation rows, a tile of them at a time, before the next block is read. With one row this is a
 * plain stream over the weights at the speed of memory; with many, each weight read from memory is
 * used once per row and each one read from cache once per tile.
 *
 * How outputs are cut into parts, blocks and tiles changes no result: every output is one dot
 * product, computed whole by one kernel call in the order stated in kernels.h. */
#include "engine/backend/cpu/cpu_backend.h"

#include "memory/base/check.h"

#define WEIGHT_BLOCK_BYTES 262144 /* of weights kept in the second-level cache */
#define PART_ALIGN 16             /* outputs: a cache line, so that threads do not share one */

struct matmul_job {
    const struct kernels *kernels;
    void (*dot)(float *sums, const struct kernel_tile *tile);
    float *out;
    const float *x;
    const uint8_t *w;
    size_t row_bytes;
    size_t cols;
    size_t outputs;
    size_t block; /* outputs in a block */
    const float *bias;
    uint32_t rows;
    bool add;
    struct cpu_split split; /* outputs */
};

/* Puts a tile's sums at out[.. i][o + j]. */
static void store_tile(const struct matmul_job *job, const float *sums, size_t row, uint32_t x_rows,
                       size_t o, uint32_t w_rows)
{
    for (uint32_t i = 0; i < x_rows; i++) {
        float *out = job->out + (row + i) * job->outputs + o;
        for (uint32_t j = 0; j < w_rows; j++) {
            float y = sums[i * KERNEL_TILE_W + j];
            if (job->bias)
                y += job->bias[o + j];
            out[j] = job->add ? out[j] + y : y;
        }
    }
}

/* All activation rows against the weight rows [begin, end). */
static void matmul_block(const struct matmul_job *job, size_t begin, size_t end)
{
    const float *x[KERNEL_TILE_X_MAX];
    float sums[KERNEL_TILE_X_MAX * KERNEL_TILE_W];
    struct kernel_tile tile = {.w_stride_bytes = job->row_bytes, .x = x, .n = job->cols};
    for (uint32_t row = 0; row < job->rows; row += tile.x_rows) {
        uint32_t left = job->rows - row;
        tile.x_rows = left < job->kernels->tile_x ? left : job->kernels->tile_x;
        for (uint32_t i = 0; i < tile.x_rows; i++)
            x[i] = job->x + ((size_t)row + i) * job->cols;
        for (size_t o = begin; o < end; o += tile.w_rows) {
            tile.w_rows = end - o < KERNEL_TILE_W ? (uint32_t)(end - o) : KERNEL_TILE_W;
            tile.w = job->w + o * job->row_bytes;
            job->dot(sums, &tile);
            store_tile(job, sums, row, tile.x_rows, o, tile.w_rows);
        }
    }
}

static void matmul_part(void *arg, uint32_t part, uint32_t worker)
{
    const struct matmul_job *job = arg;
    size_t end = cpu_split_end(&job->split, part);
    for (size_t o = cpu_split_begin(&job->split, part); o < end; o += job->block)
        matmul_block(job, o, end - o < job->block ? end : o + job->block);
}

size_t cpu_matmul_block(size_t row_bytes)
{
    size_t fit = row_bytes > 0 ? WEIGHT_BLOCK_BYTES / row_bytes : WEIGHT_BLOCK_BYTES;
    return fit < PART_ALIGN ? PART_ALIGN : fit / KERNEL_TILE_W * KERNEL_TILE_W;
}

void cpu_matmul(struct backend *base, float *out, const float *x, struct tensor w,
                const float *bias, uint32_t rows, bool add)
{
    struct cpu_backend *b = cpu_backend_of(base);
    uint64_t row_bytes;
    CHECK(dtype_bytes(w.dtype, w.cols, &row_bytes));
    if (rows == 0)
        return;
    struct matmul_job job = {
        .kernels = b->kernels,
        .dot = b->kernels->format[w.dtype].dot,
        .out = out,
        .x = x,
        .w = w.data,
        .row_bytes = row_bytes,
        .cols = w.cols,
        .outputs = w.rows,
        .block = cpu_matmul_block(row_bytes),
        .bias = bias,
        .rows = rows,
        .add = add,
        .split = cpu_split_work(b, w.rows, (uint64_t)w.cols * rows, PART_ALIGN),
    };
    cpu_threads_run(b->threads, matmul_part, &job, job.split.parts);
}
