/* Puts the experts' outputs together: per token, the weighted sum over its choices in the token's
 * own order, then added to the residual. The order of experts in the batch has no say. */
#include "engine/backend/cpu/cpu_backend.h"

#include <string.h>

#define CHUNK 256 /* values summed at a time, on the stack */

struct combine_job {
    const struct kernels *kernels;
    const struct combine_args *args;
    struct cpu_split split; /* rows */
};

static void combine_row(const struct kernels *kernels, const struct combine_args *args, size_t r)
{
    uint32_t first = args->offsets[r], end = args->offsets[r + 1];
    size_t width = args->width;
    if (first == end)
        return; /* nothing chosen: not even a negative zero changes its sign */
    for (size_t begin = 0; begin < width; begin += CHUNK) {
        size_t n = width - begin < CHUNK ? width - begin : CHUNK;
        float sum[CHUNK];
        memset(sum, 0, n * sizeof *sum);
        for (uint32_t c = first; c < end; c++) {
            const float *y = args->y + args->places[c] * width + begin;
            kernels->format[DTYPE_F32].accumulate(sum, (const uint8_t *)y, 0, &args->weights[c], 1,
                                                  n);
        }
        kernels->add(args->out + r * width + begin, sum, n);
    }
}

static void combine_part(void *arg, uint32_t part, uint32_t worker)
{
    const struct combine_job *job = arg;
    size_t end = cpu_split_end(&job->split, part);
    for (size_t r = cpu_split_begin(&job->split, part); r < end; r++)
        combine_row(job->kernels, job->args, r);
}

void cpu_combine(struct backend *base, const struct combine_args *args)
{
    struct cpu_backend *b = cpu_backend_of(base);
    if (args->rows == 0)
        return;
    uint64_t choices = args->offsets[args->rows] - args->offsets[0];
    uint64_t cost = (choices + args->rows) * args->width * sizeof(float);
    struct combine_job job = {.kernels = b->kernels,
                              .args = args,
                              .split = cpu_split_rows(b, args->rows, cost)};
    cpu_threads_run(b->threads, combine_part, &job, job.split.parts);
}
