/* Attention of query rows over paged keys and values, in one pass (online softmax: Milakov and
 * Gimelshein 2018; by tiles: Dao et al. 2022).
 *
 * The unit of work is a tile: neighbouring rows of one sequence with query heads that read one kv
 * head. Keys are taken in blocks of KEYS that begin at multiples of it. A block meets all queries
 * of the tile while it is in cache and is forgotten: no memory grows with the context, and a key is
 * read from memory once for a tile of queries.
 *
 * What happens to one query is fixed by its own position alone. For each block that it sees, in
 * rising order, with s the scores of the keys it may see there:
 *
 *     s     = scale * (q . k), a dot product of kernels.h
 *     m'    = the larger of m and s
 *     sum   = exp(m - m') * sum + sum of exp(s - m')         the latter in the order of kernels.h
 *     out   = exp(m - m') * out, then += exp(s - m') * v, key by key in rising order
 *
 * and out / sum in the end. Queries share loads, never sums, and a key that some of a tile may see
 * and others not is left out for these, not multiplied by zero. So chunked prefill, batching,
 * threads and the place of blocks change no bit. */
#include "engine/backend/cpu/cpu_backend.h"

#include <float.h>
#include <string.h>

#include "memory/base/check.h"

#define KEYS 64           /* in a block */
#define DIMS 256          /* dimensions of keys or values in scratch, at most */
#define QUERIES 128       /* of a tile, at most */
#define QUERIES_MIN 16    /* enough to hide the reading of keys */
#define TILE_VALUES 16384 /* queries x head_dim of a tile, at most */
#define BUNCH 6           /* queries that meet a value together where their last keys differ */

struct scratch {
    float keys[KEYS * DIMS];   /* decoded: [key][head_dim] */
    float values[KEYS * DIMS]; /* decoded: [key][dims] */
    float scores[QUERIES * KEYS];
    float q[TILE_VALUES];      /* [query][head_dim] */
    float out[TILE_VALUES];
    float max[QUERIES], sum[QUERIES];
    float factor[QUERIES];     /* of what was summed up before this block */
    uint32_t begin[QUERIES], end[QUERIES]; /* positions attended to */
};

struct attention_job {
    const struct cpu_backend *b;
    const struct attention_args *args;
    const struct kernels_of_format *format; /* of keys and values */
    size_t dim_bytes;       /* of one key */
    size_t value_bytes;     /* of one number */
    uint32_t group;         /* query heads per kv head */
    uint32_t chunk;         /* query heads per tile at most */
    uint32_t chunks;        /* tiles per (rows, kv head) */
    struct cpu_split split; /* runs of rows x kv heads x chunks */
};

struct tile {
    const struct attention_job *job;
    struct scratch *scratch;
    const uint32_t *blocks; /* of the sequence */
    uint32_t kv_head;
    uint32_t queries;
    bool decoded; /* there are several queries, and keys and values are not f32 */
};

size_t cpu_attention_scratch_bytes(void)
{
    return sizeof(struct scratch);
}

static size_t key_offset(const struct tile *t, uint32_t position)
{
    const struct attention_args *args = t->job->args;
    size_t head = (size_t)t->blocks[position / KV_BLOCK_TOKENS] * args->kv.kv_heads + t->kv_head;
    return (head * KV_BLOCK_TOKENS + position % KV_BLOCK_TOKENS) * t->job->dim_bytes;
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* scores[query][key - at] = q . k for the keys [from, to) of the block, a run of a KV block at a
 * time, where they lie or decoded: that is exact, so the sums are the same. */
static void score_block(const struct tile *t, uint32_t first, uint32_t last, uint32_t at,
                        uint32_t from, uint32_t to)
{
    struct scratch *s = t->scratch;
    const struct attention_job *job = t->job;
    uint32_t dim = job->args->kv.head_dim;
    bool decode = t->decoded && dim <= DIMS;
    struct kernel_dots d = {.to_stride = KEYS,
                            .x = s->q + first * dim,
                            .x_stride = dim,
                            .x_rows = last - first,
                            .n = dim};
    for (uint32_t key = from, next; key < to; key = next) {
        next = smaller(to, (key / KV_BLOCK_TOKENS + 1) * KV_BLOCK_TOKENS);
        d.w = (const uint8_t *)job->args->kv.keys + key_offset(t, key);
        d.w_stride_bytes = job->dim_bytes;
        d.w_rows = next - key;
        d.to = s->scores + first * KEYS + (key - at);
        if (!decode)
            job->format->dots(&d);
        for (uint32_t k = key; decode && k < next; k++)
            job->format->decode(s->keys + (k - from) * dim, d.w + (k - key) * job->dim_bytes, dim);
    }
    if (!decode)
        return;
    d.w = (const uint8_t *)s->keys;
    d.w_stride_bytes = dim * sizeof *s->keys;
    d.w_rows = to - from;
    d.to = s->scores + first * KEYS + (from - at);
    job->b->kernels->format[DTYPE_F32].dots(&d);
}

/* Scores to weights for queries [first, last); all their factors are one call of exp. A query that
 * sees nothing of the block keeps its state: factor 1. */
static void weigh_block(const struct tile *t, uint32_t first, uint32_t last, uint32_t at)
{
    const struct kernels *kernels = t->job->b->kernels;
    struct scratch *s = t->scratch;
    size_t dim = t->job->args->kv.head_dim;
    for (uint32_t i = first; i < last; i++) {
        uint32_t begin = larger(s->begin[i], at), end = smaller(s->end[i], at + KEYS);
        s->factor[i] = 0.0f;
        if (begin >= end)
            continue;
        float *scores = s->scores + i * KEYS + (begin - at);
        float max = kernels->scale_max(scores, t->job->args->scale, end - begin);
        if (max > s->max[i]) {
            s->factor[i] = s->max[i] - max;
            s->max[i] = max;
        }
    }
    kernels->exp(s->factor + first, last - first);
    for (uint32_t i = first; i < last; i++) {
        uint32_t begin = larger(s->begin[i], at), end = smaller(s->end[i], at + KEYS);
        if (begin >= end)
            continue;
        if (s->factor[i] != 1.0f) {
            kernels->scale(s->out + i * dim, s->factor[i], dim);
            s->sum[i] *= s->factor[i];
        }
        s->sum[i] += kernels->exp_sum(s->scores + i * KEYS + (begin - at), s->max[i], end - begin);
    }
}

/* out += weights of `count` queries x values of the keys [from, to), dimensions [d, d + dims): in
 * scratch, or where they lie, a run of a KV block at a time. */
static void add_values(const struct tile *t, uint32_t first, uint32_t count, uint32_t at,
                       uint32_t from, uint32_t to, uint32_t d, uint32_t dims)
{
    struct scratch *s = t->scratch;
    const struct attention_job *job = t->job;
    uint32_t dim = job->args->kv.head_dim;
    for (uint32_t key = from, next; key < to; key = next) {
        float *out = s->out + first * dim + d;
        const float *weights = s->scores + first * KEYS + (key - at);
        const uint8_t *here = job->args->kv.values;
        here += key_offset(t, key) + d * job->value_bytes;
        next = t->decoded ? to : smaller(to, (key / KV_BLOCK_TOKENS + 1) * KV_BLOCK_TOKENS);
        if (count == 1 && !t->decoded) {
            job->format->accumulate(out, here, job->dim_bytes, weights, next - key, dims);
            continue;
        }
        struct kernel_product p = {
            .c = out,
            .a = weights,
            .b = t->decoded ? s->values + (key - at) * DIMS : (const float *)here,
            .c_stride = dim,
            .a_stride = KEYS,
            .b_stride = t->decoded ? DIMS : dim,
            .rows = count,
            .depth = next - key,
            .cols = dims};
        job->b->kernels->product(&p);
    }
}

/* The values of the block for queries [first, last), bunch by bunch: what all of a bunch see
 * together, what comes before and after for each alone, in the order of the keys. */
static void add_block(const struct tile *t, uint32_t first, uint32_t last, uint32_t at, uint32_t d,
                      uint32_t dims)
{
    const struct scratch *s = t->scratch;
    for (uint32_t i = first, count; i < last; i += count) {
        uint32_t begin[BUNCH], end[BUNCH], all_begin = at, all_end = at + KEYS;
        count = smaller(last - i, BUNCH);
        for (uint32_t j = 0; j < count; j++) {
            begin[j] = larger(s->begin[i + j], at);
            end[j] = smaller(s->end[i + j], at + KEYS);
            all_begin = larger(all_begin, begin[j]);
            all_end = smaller(all_end, end[j]);
        }
        bool together = all_begin < all_end;
        for (uint32_t j = 0; j < count; j++)
            add_values(t, i + j, 1, at, begin[j], together ? all_begin : end[j], d, dims);
        if (!together)
            continue;
        add_values(t, i, count, at, all_begin, all_end, d, dims);
        for (uint32_t j = 0; j < count; j++)
            add_values(t, i + j, 1, at, all_end, end[j], d, dims);
    }
}

/* Values of the keys [from, to) to scratch, dimensions [d, d + dims). */
static void decode_values(const struct tile *t, uint32_t at, uint32_t from, uint32_t to, uint32_t d,
                          uint32_t dims)
{
    const struct attention_job *job = t->job;
    const uint8_t *values = job->args->kv.values;
    for (uint32_t key = from; key < to; key++)
        job->format->decode(t->scratch->values + (key - at) * DIMS,
                            values + key_offset(t, key) + d * job->value_bytes, dims);
}

static void attend_block(const struct tile *t, uint32_t at)
{
    const struct scratch *s = t->scratch;
    uint32_t dim = t->job->args->kv.head_dim;
    uint32_t first = t->queries, last = 0, from = at + KEYS, to = at;
    for (uint32_t i = 0; i < t->queries; i++) { /* who sees any of it */
        uint32_t begin = larger(s->begin[i], at), end = smaller(s->end[i], at + KEYS);
        if (begin >= end)
            continue;
        first = smaller(first, i);
        last = i + 1;
        from = smaller(from, begin);
        to = larger(to, end);
    }
    if (first >= last)
        return;
    score_block(t, first, last, at, from, to);
    weigh_block(t, first, last, at);
    for (uint32_t d = 0; d < dim; d += DIMS) {
        uint32_t dims = smaller(dim - d, DIMS);
        if (t->decoded)
            decode_values(t, at, from, to, d, dims);
        add_block(t, first, last, at, d, dims);
    }
}

/* Query (row, head) is query row * heads + head of the tile. */
static void attend(struct tile *t, uint32_t row, uint32_t rows, uint32_t head, uint32_t heads)
{
    const struct attention_args *args = t->job->args;
    const struct kernels *kernels = t->job->b->kernels;
    struct scratch *s = t->scratch;
    size_t dim = args->kv.head_dim, stride = (size_t)args->heads * dim;
    uint32_t from = UINT32_MAX, to = 0;
    t->queries = rows * heads;
    t->decoded = t->queries > 1 && args->kv.dtype != DTYPE_F32;
    for (uint32_t i = 0; i < t->queries; i++) {
        s->end[i] = args->places[row + i / heads].position + 1;
        s->begin[i] =
            args->window > 0 && s->end[i] > args->window ? s->end[i] - args->window : 0;
        s->max[i] = -FLT_MAX; /* below any score; its exponential is 0 */
        s->sum[i] = 0.0f;
        from = smaller(from, s->begin[i]);
        to = larger(to, s->end[i]);
    }
    for (uint32_t r = 0; r < rows; r++)
        memcpy(s->q + r * heads * dim, args->q + (row + r) * stride + head * dim,
               heads * dim * sizeof *s->q);
    memset(s->out, 0, t->queries * dim * sizeof *s->out);
    for (uint32_t at = from / KEYS * KEYS; at < to; at += KEYS)
        attend_block(t, at);
    for (uint32_t i = 0; i < t->queries; i++)
        kernels->scale(s->out + i * dim, 1.0f / s->sum[i], dim);
    for (uint32_t r = 0; r < rows; r++)
        memcpy(args->out + (row + r) * stride + head * dim, s->out + r * heads * dim,
               heads * dim * sizeof *s->out);
}

static void attention_part(void *arg, uint32_t part, uint32_t worker)
{
    const struct attention_job *job = arg;
    const struct attention_args *args = job->args;
    const uint32_t *runs = job->b->runs;
    uint64_t end = cpu_split_end(&job->split, part);
    for (uint64_t u = cpu_split_begin(&job->split, part); u < end; u++) {
        uint32_t first = (uint32_t)(u % job->chunks) * job->chunk; /* head within the group */
        uint32_t kv_head = (uint32_t)(u / job->chunks % args->kv.kv_heads);
        size_t run = u / job->chunks / args->kv.kv_heads;
        struct tile t = {.job = job,
                         .scratch = cpu_scratch(job->b, worker),
                         .blocks = args->places[runs[run]].blocks,
                         .kv_head = kv_head};
        attend(&t, runs[run], runs[run + 1] - runs[run], kv_head * job->group + first,
               smaller(job->group - first, job->chunk));
    }
}

/* Cuts the rows into runs of one sequence, each short enough for a tile; returns their number. */
static uint32_t cut_runs(const struct attention_args *args, uint32_t rows_max, uint32_t *runs)
{
    uint32_t count = 0;
    for (uint32_t r = 0; r < args->rows; r++) {
        if (r == 0 || r - runs[count - 1] == rows_max ||
            args->places[r].blocks != args->places[r - 1].blocks)
            runs[count++] = r;
    }
    runs[count] = args->rows;
    return count;
}

static void check_args(const struct cpu_backend *b, const struct attention_args *args)
{
    CHECK_MSG(args->kv.kv_heads > 0 && args->heads % args->kv.kv_heads == 0,
              "%u query heads do not divide among %u kv heads", args->heads, args->kv.kv_heads);
    CHECK_MSG(args->kv.head_dim > 0 && args->kv.head_dim <= TILE_VALUES, "head_dim %u",
              args->kv.head_dim);
    CHECK_MSG(args->rows <= b->config.rows_max, "%u rows exceed the scratch for %u", args->rows,
              b->config.rows_max);
    for (uint32_t r = 0; r < args->rows; r++)
        CHECK_MSG(args->places[r].position < b->config.context_max,
                  "position %u is outside a context of %u", args->places[r].position,
                  b->config.context_max);
}

void cpu_attention(struct backend *base, const struct attention_args *args)
{
    struct cpu_backend *b = cpu_backend_of(base);
    check_args(b, args);
    if (args->rows == 0 || args->heads == 0)
        return;
    uint32_t group = args->heads / args->kv.kv_heads, threads = cpu_threads_count(b->threads);
    uint32_t queries = smaller(QUERIES, TILE_VALUES / args->kv.head_dim);
    /* Large tiles read keys seldom; but each thread wants several tiles. */
    while (queries > QUERIES_MIN &&
           (uint64_t)args->rows * args->heads / queries < 4 * (uint64_t)threads)
        queries /= 2;
    uint32_t chunk = smaller(group, queries);
    uint32_t runs = cut_runs(args, queries / chunk, b->runs);
    /* Still too few: heads of a group read their keys apart, from shared cache. */
    while (chunk > 1 &&
           (uint64_t)runs * args->kv.kv_heads * ((group + chunk - 1) / chunk) < threads)
        chunk = (chunk + 1) / 2;
    struct attention_job job = {
        .b = b,
        .args = args,
        .format = &b->kernels->format[args->kv.dtype],
        .dim_bytes = args->kv.head_dim * (size_t)dtype_info(args->kv.dtype)->block_bytes,
        .value_bytes = dtype_info(args->kv.dtype)->block_bytes,
        .group = group,
        .chunk = chunk,
        .chunks = (group + chunk - 1) / chunk,
    };
    uint64_t keys = 0;
    for (uint32_t r = 0; r < args->rows; r++)
        keys += args->places[r].position + 1;
    uint64_t cost = 2 * cpu_cost_f32(keys * args->heads * args->kv.head_dim) +
                    2 * keys / args->rows * runs * args->kv.kv_heads * job.dim_bytes;
    job.split =
        cpu_split_make(threads, (uint64_t)runs * args->kv.kv_heads * job.chunks, 1, cost);
    cpu_threads_run(b->threads, attention_part, &job, job.split.parts);
}
