/* One expert, out = down(silu(gate x) * up x), over the rows routed to it.
 *
 * Two passes with a barrier between. The first computes gate and up side by side, tile by tile, and
 * writes their product to scratch, so that neither of the two wide intermediate matrices exists;
 * the second is an ordinary matmul of the scratch with down. The activation is a function of one
 * value at a time, equal wherever the value stands in a vector, so tiles of any shape agree. */
#include "engine/backend/cpu/cpu_backend.h"

#include "memory/base/check.h"

#define PART_ALIGN 16

struct expert_job {
    const struct kernels *kernels;
    const struct expert_args *args;
    float *hidden;          /* [rows][f] */
    size_t gate_row_bytes;
    size_t up_row_bytes;
    size_t block;           /* values of f in a block */
    struct cpu_split split; /* f */
};

/* hidden[row .. + x_rows][o .. + w_rows] from the activation rows in gate->x. */
static void hidden_tile(const struct expert_job *job, struct kernel_tile *gate,
                        struct kernel_tile *up, size_t row, size_t o)
{
    const struct expert_args *args = job->args;
    float g[KERNEL_TILE_X_MAX * KERNEL_TILE_W] = {0};
    float u[KERNEL_TILE_X_MAX * KERNEL_TILE_W] = {0};
    gate->w = (const uint8_t *)args->gate.data + o * job->gate_row_bytes;
    up->w = (const uint8_t *)args->up.data + o * job->up_row_bytes;
    job->kernels->format[args->gate.dtype].dot(g, gate);
    job->kernels->format[args->up.dtype].dot(u, up);
    job->kernels->silu_mul(g, u, (size_t)gate->x_rows * KERNEL_TILE_W);
    for (uint32_t i = 0; i < gate->x_rows; i++) {
        float *to = job->hidden + (row + i) * args->gate.rows + o;
        for (uint32_t j = 0; j < gate->w_rows; j++)
            to[j] = g[i * KERNEL_TILE_W + j];
    }
}

static void hidden_block(const struct expert_job *job, size_t begin, size_t end)
{
    const struct expert_args *args = job->args;
    const float *x[KERNEL_TILE_X_MAX];
    struct kernel_tile gate = {
        .w_stride_bytes = job->gate_row_bytes, .x = x, .n = args->gate.cols};
    struct kernel_tile up = {.w_stride_bytes = job->up_row_bytes, .x = x, .n = args->up.cols};
    for (uint32_t row = 0; row < args->rows; row += gate.x_rows) {
        uint32_t left = args->rows - row;
        gate.x_rows = left < job->kernels->tile_x ? left : job->kernels->tile_x;
        up.x_rows = gate.x_rows;
        for (uint32_t i = 0; i < gate.x_rows; i++)
            x[i] = args->x + (size_t)args->gather[row + i] * args->gate.cols;
        for (size_t o = begin; o < end; o += gate.w_rows) {
            gate.w_rows = end - o < KERNEL_TILE_W ? (uint32_t)(end - o) : KERNEL_TILE_W;
            up.w_rows = gate.w_rows;
            hidden_tile(job, &gate, &up, row, o);
        }
    }
}

static void hidden_part(void *arg, uint32_t part, uint32_t worker)
{
    const struct expert_job *job = arg;
    size_t end = cpu_split_end(&job->split, part);
    for (size_t o = cpu_split_begin(&job->split, part); o < end; o += job->block)
        hidden_block(job, o, end - o < job->block ? end : o + job->block);
}

void cpu_expert(struct backend *base, const struct expert_args *args)
{
    struct cpu_backend *b = cpu_backend_of(base);
    uint64_t gate_row_bytes, up_row_bytes;
    CHECK(args->gate.rows == args->up.rows && args->gate.cols == args->up.cols &&
          args->down.cols == args->gate.rows);
    CHECK_MSG(args->rows <= b->config.rows_max && args->gate.rows <= b->config.expert_width_max,
              "%u rows of expert width %u exceed the scratch for %u of %u", args->rows,
              args->gate.rows, b->config.rows_max, b->config.expert_width_max);
    CHECK(dtype_bytes(args->gate.dtype, args->gate.cols, &gate_row_bytes));
    CHECK(dtype_bytes(args->up.dtype, args->up.cols, &up_row_bytes));
    if (args->rows == 0)
        return;
    uint64_t cost = 2 * (uint64_t)args->gate.cols * args->rows;
    struct expert_job job = {.kernels = b->kernels,
                             .args = args,
                             .hidden = b->hidden,
                             .gate_row_bytes = gate_row_bytes,
                             .up_row_bytes = up_row_bytes,
                             .block = cpu_matmul_block(gate_row_bytes + up_row_bytes),
                             .split = cpu_split_work(b, args->gate.rows, cost, PART_ALIGN)};
    cpu_threads_run(b->threads, hidden_part, &job, job.split.parts);
    cpu_matmul(base, args->out, b->hidden, args->down, NULL, args->rows, false);
}
