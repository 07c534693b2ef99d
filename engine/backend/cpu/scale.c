/* Rows multiplied and added up: the multipliers that some architectures put on embeddings, logits
 * and residuals, and the gate of a shared expert. One value at a time, rows shared out among the
 * threads.
 *
 * x += factor * sigmoid(gate) * y: the two factors are multiplied first, then with y, each product
 * rounded. */
#include "engine/backend/cpu/cpu_backend.h"

struct scale_job {
    const struct kernels *kernels;
    float *x;
    const float *y;    /* NULL: x is scaled */
    const float *gate; /* [rows] or NULL */
    float factor;
    size_t width;
    struct cpu_split split; /* rows */
};

static float row_factor(const struct scale_job *job, size_t r)
{
    if (!job->gate)
        return job->factor;
    float e = -job->gate[r];
    job->kernels->exp(&e, 1);
    return job->factor * (1.0f / (1.0f + e));
}

static void scale_part(void *arg, uint32_t part, uint32_t worker)
{
    const struct scale_job *job = arg;
    size_t end = cpu_split_end(&job->split, part);
    for (size_t r = cpu_split_begin(&job->split, part); r < end; r++) {
        float *x = job->x + r * job->width;
        if (job->y)
            job->kernels->add_scaled(x, job->y + r * job->width, row_factor(job, r), job->width);
        else
            job->kernels->scale(x, job->factor, job->width);
    }
}

static void run(struct cpu_backend *b, struct scale_job *job, uint32_t rows)
{
    job->kernels = b->kernels;
    job->split = cpu_split_rows(b, rows, 4 * (uint64_t)rows * job->width);
    cpu_threads_run(b->threads, scale_part, job, job->split.parts);
}

void cpu_scale(struct backend *base, float *x, float factor, uint32_t rows, uint32_t width)
{
    struct scale_job job = {.x = x, .factor = factor, .width = width};
    run(cpu_backend_of(base), &job, rows);
}

void cpu_add_scaled(struct backend *base, float *x, const float *y, const float *gate, float factor,
                    uint32_t rows, uint32_t width)
{
    struct scale_job job = {.x = x, .y = y, .gate = gate, .factor = factor, .width = width};
    run(cpu_backend_of(base), &job, rows);
}
