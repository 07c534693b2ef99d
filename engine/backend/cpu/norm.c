/* RMSNorm. The mean of squares is one sum of `width` values in the order of kernels.h; the rest is
 * one value at a time. Rows are shared out among the threads. */
#include "engine/backend/cpu/cpu_backend.h"

#include <math.h>

struct norm_job {
    const struct kernels *kernels;
    float *out;
    const float *x;
    const float *weight;
    size_t width;
    float eps;
    struct cpu_split split; /* rows */
};

static void norm_part(void *arg, uint32_t part, uint32_t worker)
{
    const struct norm_job *job = arg;
    size_t width = job->width;
    size_t end = cpu_split_end(&job->split, part);
    for (size_t r = cpu_split_begin(&job->split, part); r < end; r++) {
        const float *x = job->x + r * width;
        float mean = job->kernels->sum_squares(x, width) / (float)width;
        float factor = 1.0f / sqrtf(mean + job->eps);
        job->kernels->normalize(job->out + r * width, x, job->weight, factor, width);
    }
}

void cpu_rms_norm(struct backend *base, float *out, const float *x, const float *weight,
                  uint32_t rows, uint32_t width, float eps)
{
    struct cpu_backend *b = cpu_backend_of(base);
    struct norm_job job = {.kernels = b->kernels,
                           .out = out,
                           .x = x,
                           .weight = weight,
                           .width = width,
                           .eps = eps,
                           .split = cpu_split_rows(b, rows, 3 * (uint64_t)rows * width)};
    cpu_threads_run(b->threads, norm_part, &job, job.split.parts);
}
