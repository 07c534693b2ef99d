/* Attention of query rows over paged keys and values.
 *
 * The unit of work is one row with up to CPU_ATTENTION_HEADS query heads that read one kv head, so
 * that each key and value is fetched once for the group. Per head the order is fixed: scores in key
 * order into a list that starts at the first key attended to; softmax over the list (kernels.h);
 * values added in key order; one multiplication by 1 / sum. Where a block lies, how many heads
 * share the unit and which thread has it do not enter, so chunked prefill and batching change no
 * bit. */
#include "engine/backend/cpu/cpu_backend.h"

#include <string.h>

#include "memory/base/check.h"

struct attention_job {
    const struct cpu_backend *b;
    const struct attention_args *args;
    const struct kernels_of_format *format; /* of keys and values */
    size_t dim_bytes;       /* of one key */
    uint32_t group;         /* query heads per kv head */
    uint32_t chunk;         /* query heads per unit at most */
    uint32_t chunks;        /* units per (row, kv head) */
    struct cpu_split split; /* rows x kv heads x chunks */
};

/* One row, one kv head, a few of its query heads. */
struct attention_unit {
    struct row_place place;
    uint32_t kv_head;
    uint32_t heads;
    uint32_t begin; /* positions attended to: begin .. end - 1 */
    uint32_t end;
    const float *q; /* [heads][head_dim] */
    float *out;
};

static size_t key_offset(const struct attention_job *job, const struct attention_unit *unit,
                         uint32_t position)
{
    size_t block = unit->place.blocks[position / KV_BLOCK_TOKENS];
    size_t token = position % KV_BLOCK_TOKENS;
    size_t head = block * job->args->kv.kv_heads + unit->kv_head;
    return (head * KV_BLOCK_TOKENS + token) * job->dim_bytes;
}

/* Positions of `position`'s block that are still to do. */
static uint32_t run_in_block(const struct attention_unit *unit, uint32_t position)
{
    uint32_t in_block = KV_BLOCK_TOKENS - position % KV_BLOCK_TOKENS;
    return unit->end - position < in_block ? unit->end - position : in_block;
}

/* scores[h][p - begin] = q[h] . key p, for `count` keys of one block. */
static void score_run(const struct attention_job *job, const struct attention_unit *unit,
                      float *scores, uint32_t position, uint32_t count)
{
    size_t dim = job->args->kv.head_dim;
    const uint8_t *keys = (const uint8_t *)job->args->kv.keys + key_offset(job, unit, position);
    const float *q[CPU_ATTENTION_HEADS];
    float sums[KERNEL_TILE_X_MAX * KERNEL_TILE_W];
    struct kernel_tile tile = {.w_stride_bytes = job->dim_bytes, .n = dim};
    for (uint32_t h = 0; h < unit->heads; h++)
        q[h] = unit->q + h * dim;
    for (uint32_t t = 0; t < count; t += tile.w_rows) {
        tile.w_rows = count - t < KERNEL_TILE_W ? count - t : KERNEL_TILE_W;
        tile.w = keys + t * job->dim_bytes;
        for (uint32_t h = 0; h < unit->heads; h += tile.x_rows) {
            uint32_t left = unit->heads - h;
            tile.x = q + h;
            tile.x_rows = left < job->b->kernels->tile_x ? left : job->b->kernels->tile_x;
            job->format->dot(sums, &tile);
            for (uint32_t i = 0; i < tile.x_rows; i++) {
                float *to = scores + (h + i) * job->b->scores_stride + position - unit->begin + t;
                memcpy(to, sums + i * KERNEL_TILE_W, tile.w_rows * sizeof *to);
            }
        }
    }
}

static void attend(const struct attention_job *job, const struct attention_unit *unit,
                   float *scores)
{
    const struct kernels *kernels = job->b->kernels;
    size_t dim = job->args->kv.head_dim, stride = job->b->scores_stride;
    float sums[CPU_ATTENTION_HEADS];
    for (uint32_t p = unit->begin; p < unit->end; p += run_in_block(unit, p))
        score_run(job, unit, scores, p, run_in_block(unit, p));
    for (uint32_t h = 0; h < unit->heads; h++)
        sums[h] = kernels->softmax(scores + h * stride, job->args->scale, unit->end - unit->begin);
    memset(unit->out, 0, unit->heads * dim * sizeof *unit->out);
    for (uint32_t p = unit->begin; p < unit->end; p += run_in_block(unit, p)) {
        const uint8_t *values =
            (const uint8_t *)job->args->kv.values + key_offset(job, unit, p);
        for (uint32_t h = 0; h < unit->heads; h++)
            job->format->accumulate(unit->out + h * dim, values, job->dim_bytes,
                                    scores + h * stride + p - unit->begin, run_in_block(unit, p),
                                    dim);
    }
    for (uint32_t h = 0; h < unit->heads; h++)
        kernels->scale(unit->out + h * dim, 1.0f / sums[h], dim);
}

static void attention_part(void *arg, uint32_t part, uint32_t worker)
{
    const struct attention_job *job = arg;
    const struct attention_args *args = job->args;
    size_t dim = args->kv.head_dim;
    float *scores = job->b->scores + (size_t)worker * CPU_ATTENTION_HEADS * job->b->scores_stride;
    uint32_t end = cpu_split_end(&job->split, part);
    for (uint32_t u = cpu_split_begin(&job->split, part); u < end; u++) {
        uint32_t first = u % job->chunks * job->chunk; /* head within the group */
        uint32_t kv_head = u / job->chunks % args->kv.kv_heads;
        size_t row = u / job->chunks / args->kv.kv_heads;
        size_t at = (row * args->heads + (size_t)kv_head * job->group + first) * dim;
        struct attention_unit unit = {
            .place = args->places[row],
            .kv_head = kv_head,
            .heads = job->group - first < job->chunk ? job->group - first : job->chunk,
            .end = args->places[row].position + 1,
            .q = args->q + at,
            .out = args->out + at,
        };
        if (args->window > 0 && unit.end > args->window)
            unit.begin = unit.end - args->window;
        attend(job, &unit, scores);
    }
}

void cpu_attention(struct backend *base, const struct attention_args *args)
{
    struct cpu_backend *b = cpu_backend_of(base);
    CHECK_MSG(args->kv.kv_heads > 0 && args->heads % args->kv.kv_heads == 0,
              "%u query heads do not divide among %u kv heads", args->heads, args->kv.kv_heads);
    uint64_t keys = 0;
    for (uint32_t r = 0; r < args->rows; r++) {
        CHECK_MSG(args->places[r].position < b->config.context_max,
                  "position %u is outside a context of %u", args->places[r].position,
                  b->config.context_max);
        keys += args->places[r].position + 1;
    }
    if (args->rows == 0 || args->heads == 0)
        return;
    uint32_t group = args->heads / args->kv.kv_heads;
    uint32_t chunk = group < CPU_ATTENTION_HEADS ? group : CPU_ATTENTION_HEADS;
    uint32_t chunks = (group + chunk - 1) / chunk;
    uint64_t cost = 2 * keys / args->rows * args->kv.head_dim * chunk;
    struct attention_job job = {
        .b = b,
        .args = args,
        .format = &b->kernels->format[args->kv.dtype],
        .dim_bytes = args->kv.head_dim * (size_t)dtype_info(args->kv.dtype)->block_bytes,
        .group = group,
        .chunk = chunk,
        .chunks = chunks,
        .split = cpu_split_work(b, args->rows * args->kv.kv_heads * chunks, cost, 1),
    };
    cpu_threads_run(b->threads, attention_part, &job, job.split.parts);
}
