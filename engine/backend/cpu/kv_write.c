/* Stores new keys and values where attention will look for them: [block][kv_head][token][dim],
 * rounded to f16 where the layer keeps f16. Many rows are shared out among the threads; each has a
 * token of its own, so none writes where another does, even within a block. */
#include "engine/backend/cpu/cpu_backend.h"

#include <string.h>

#include "memory/base/check.h"

struct kv_write_job {
    const struct kernels *kernels;
    struct kv_layer kv;
    const float *k, *v;
    const struct row_place *places;
    struct cpu_split split; /* rows */
};

static void store(const struct kernels *kernels, enum dtype dtype, uint8_t *to, const float *from,
                  size_t n)
{
    if (dtype == DTYPE_F16)
        kernels->encode_f16(to, from, n);
    else
        memcpy(to, from, n * sizeof *from);
}

static void write_row(const struct kv_write_job *job, size_t r)
{
    const struct kv_layer *kv = &job->kv;
    const struct row_place *place = &job->places[r];
    size_t dim = kv->head_dim, dim_bytes = dim * dtype_info(kv->dtype)->block_bytes;
    size_t block = place->blocks[place->position / KV_BLOCK_TOKENS];
    size_t token = place->position % KV_BLOCK_TOKENS;
    for (size_t h = 0; h < kv->kv_heads; h++) {
        size_t at = ((block * kv->kv_heads + h) * KV_BLOCK_TOKENS + token) * dim_bytes;
        size_t from = (r * kv->kv_heads + h) * dim;
        store(job->kernels, kv->dtype, (uint8_t *)kv->keys + at, job->k + from, dim);
        store(job->kernels, kv->dtype, (uint8_t *)kv->values + at, job->v + from, dim);
    }
}

static void kv_write_part(void *arg, uint32_t part, uint32_t worker)
{
    const struct kv_write_job *job = arg;
    size_t end = cpu_split_end(&job->split, part);
    for (size_t r = cpu_split_begin(&job->split, part); r < end; r++)
        write_row(job, r);
}

void cpu_kv_write(struct backend *base, struct kv_layer kv, const float *k, const float *v,
                  const struct row_place *places, uint32_t rows)
{
    struct cpu_backend *b = cpu_backend_of(base);
    CHECK_MSG(kv.dtype == DTYPE_F32 || kv.dtype == DTYPE_F16, "KV of format %s is not supported",
              dtype_info(kv.dtype)->name);
    struct kv_write_job job = {.kernels = b->kernels, .kv = kv, .k = k, .v = v, .places = places};
    job.split = cpu_split_rows(b, rows, 8 * (uint64_t)rows * kv.kv_heads * kv.head_dim);
    cpu_threads_run(b->threads, kv_write_part, &job, job.split.parts);
}
