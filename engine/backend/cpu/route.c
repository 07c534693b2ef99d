/* From router scores to choices (router.h), rows shared out among the threads: one row is a
 * microsecond, a prompt's rows are half a millisecond in every layer. */
#include "engine/backend/cpu/cpu_backend.h"

#define COST_PER_EXPERT 150 /* an exponential and a place in the list: 10 ns */

struct route_job {
    const struct router *router;
    const float *scores;
    uint32_t *chosen;
    float *weights;
    struct cpu_split split; /* rows */
};

static void route_part(void *arg, uint32_t part, uint32_t worker)
{
    const struct route_job *job = arg;
    size_t experts = job->router->experts, top_k = job->router->top_k;
    size_t end = cpu_split_end(&job->split, part);
    for (size_t r = cpu_split_begin(&job->split, part); r < end; r++)
        router_choose(job->router, job->scores + r * experts, job->chosen + r * top_k,
                      job->weights + r * top_k);
}

void cpu_route(struct backend *base, const struct router *router, const float *scores,
               uint32_t rows, uint32_t *chosen, float *weights)
{
    struct cpu_backend *b = cpu_backend_of(base);
    struct route_job job = {
        .router = router, .scores = scores, .chosen = chosen, .weights = weights};
    job.split = cpu_split_rows(b, rows, (uint64_t)rows * router->experts * COST_PER_EXPERT);
    cpu_threads_run(b->threads, route_part, &job, job.split.parts);
}
