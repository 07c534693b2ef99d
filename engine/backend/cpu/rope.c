/* Rotary positions, rotate-half form: the pair (x[i], x[i + d/2]) of every head turns by
 * position * inv_freq[i]. The angle is a product of two f32, as the reference implementations form
 * it, and the C library's sine and cosine are taken once per row for all heads. */
#include "engine/backend/cpu/cpu_backend.h"

#include <math.h>

#include "memory/base/check.h"

#define PAIRS 64          /* angles worked on at a time, on the stack */
#define COST_PER_ANGLE 64 /* of sine and cosine, in multiplications */

struct rope_job {
    float *x;
    const struct row_place *places;
    const float *inv_freq;
    size_t heads;
    size_t head_dim;
    struct cpu_split split; /* rows */
};

static void turn(float *a, float *b, const float *cosines, const float *sines, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float x = a[i], y = b[i];
        a[i] = x * cosines[i] - y * sines[i];
        b[i] = y * cosines[i] + x * sines[i];
    }
}

static void rope_row(const struct rope_job *job, size_t r)
{
    size_t half = job->head_dim / 2;
    float *row = job->x + r * job->heads * job->head_dim;
    float position = (float)job->places[r].position;
    for (size_t begin = 0; begin < half; begin += PAIRS) {
        size_t n = half - begin < PAIRS ? half - begin : PAIRS;
        float cosines[PAIRS], sines[PAIRS];
        for (size_t i = 0; i < n; i++) {
            float angle = position * job->inv_freq[begin + i];
            cosines[i] = cosf(angle);
            sines[i] = sinf(angle);
        }
        for (size_t h = 0; h < job->heads; h++) {
            float *head = row + h * job->head_dim + begin;
            turn(head, head + half, cosines, sines, n);
        }
    }
}

static void rope_part(void *arg, uint32_t part, uint32_t worker)
{
    const struct rope_job *job = arg;
    for (size_t r = cpu_split_begin(&job->split, part); r < cpu_split_end(&job->split, part); r++)
        rope_row(job, r);
}

void cpu_rope(struct backend *base, float *x, const struct row_place *places, const float *inv_freq,
              uint32_t rows, uint32_t heads, uint32_t head_dim)
{
    struct cpu_backend *b = cpu_backend_of(base);
    CHECK_MSG(head_dim % 2 == 0, "head_dim %u is odd", head_dim);
    uint64_t cost = (uint64_t)head_dim / 2 * (COST_PER_ANGLE + 4 * (uint64_t)heads);
    struct rope_job job = {.x = x,
                           .places = places,
                           .inv_freq = inv_freq,
                           .heads = heads,
                           .head_dim = head_dim,
                           .split = cpu_split_work(b, rows, cost, 1)};
    cpu_threads_run(b->threads, rope_part, &job, job.split.parts);
}
