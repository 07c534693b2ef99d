/* Rotary positions, rotate-half form: the pair (x[i], x[i + d/2]) of every head turns by
 * position * inv_freq[i]. The angle is a product of two f32, as the reference implementations form
 * it, and its sine and cosine are the C library's.
 *
 * Those cost more than the turning, and all layers of a step turn q and k by the same angles: they
 * are kept from call to call. The table knows the frequencies and the positions it was made of and
 * compares them, so whoever calls need not say that a step has ended. */
#include "engine/backend/cpu/cpu_backend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

#define TABLE_PAIRS 128   /* kept for a row; of larger heads the rest is worked out each time */
#define PAIRS 64          /* worked out at a time, on the stack */
#define COST_PER_ANGLE 400 /* sine and cosine: 25 ns */

struct rope_table {
    uint32_t rows_max;
    uint32_t rows, pairs;          /* what is there */
    uint32_t *positions;           /* [rows_max] */
    float *turns;                  /* [rows_max][2][TABLE_PAIRS]: cosines, sines */
    float inv_freq[TABLE_PAIRS];
};

uint64_t cpu_rope_table_bytes(uint32_t rows_max)
{
    return sizeof(struct rope_table) +
           rows_max * (sizeof(uint32_t) + 2 * TABLE_PAIRS * (uint64_t)sizeof(float));
}

struct rope_table *cpu_rope_table_open(uint32_t rows_max)
{
    struct rope_table *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->rows_max = rows_max;
    t->positions = calloc((size_t)rows_max + 1, sizeof *t->positions);
    t->turns = calloc((size_t)rows_max + 1, 2 * TABLE_PAIRS * sizeof *t->turns);
    if (t->positions && t->turns)
        return t;
    cpu_rope_table_close(t);
    return NULL;
}

void cpu_rope_table_close(struct rope_table *t)
{
    if (!t)
        return;
    free(t->positions);
    free(t->turns);
    free(t);
}

struct rope_job {
    const struct kernels *kernels;
    struct rope_table *table;
    float *x;
    const struct row_place *places;
    const float *inv_freq;
    size_t heads;
    size_t head_dim;
    size_t kept;            /* pairs that the table holds */
    bool known;             /* it holds those of these rows */
    struct cpu_split split; /* rows */
};

static void work_out(float *cosines, float *sines, uint32_t position, const float *inv_freq,
                     size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float angle = (float)position * inv_freq[i];
        cosines[i] = cosf(angle);
        sines[i] = sinf(angle);
    }
}

/* Pairs [begin, begin + n) of all heads of a row. */
static void turn_heads(const struct rope_job *job, float *row, size_t begin, size_t n,
                       const float *cosines, const float *sines)
{
    size_t half = job->head_dim / 2;
    for (size_t h = 0; h < job->heads; h++) {
        float *head = row + h * job->head_dim + begin;
        job->kernels->rotate(head, head + half, cosines, sines, n);
    }
}

static void rope_row(const struct rope_job *job, size_t r)
{
    size_t half = job->head_dim / 2;
    float *row = job->x + r * job->heads * job->head_dim;
    float *kept = job->table->turns + r * 2 * TABLE_PAIRS;
    uint32_t position = job->places[r].position;
    if (!job->known)
        work_out(kept, kept + TABLE_PAIRS, position, job->inv_freq, job->kept);
    turn_heads(job, row, 0, job->kept, kept, kept + TABLE_PAIRS);
    for (size_t begin = job->kept; begin < half; begin += PAIRS) {
        size_t n = half - begin < PAIRS ? half - begin : PAIRS;
        float cosines[PAIRS], sines[PAIRS];
        work_out(cosines, sines, position, job->inv_freq + begin, n);
        turn_heads(job, row, begin, n, cosines, sines);
    }
}

static void rope_part(void *arg, uint32_t part, uint32_t worker)
{
    const struct rope_job *job = arg;
    size_t end = cpu_split_end(&job->split, part);
    for (size_t r = cpu_split_begin(&job->split, part); r < end; r++)
        rope_row(job, r);
}

/* Does the table hold these rows' turns? Makes it say so for the next time. */
static bool table_known(struct rope_table *t, const struct rope_job *job, uint32_t rows)
{
    bool known = rows <= t->rows && job->kept == t->pairs &&
                 memcmp(t->inv_freq, job->inv_freq, job->kept * sizeof *t->inv_freq) == 0;
    for (uint32_t r = 0; r < rows; r++) {
        known = known && t->positions[r] == job->places[r].position;
        t->positions[r] = job->places[r].position;
    }
    if (known)
        return true;
    t->rows = rows;
    t->pairs = (uint32_t)job->kept;
    memcpy(t->inv_freq, job->inv_freq, job->kept * sizeof *t->inv_freq);
    return false;
}

void cpu_rope(struct backend *base, float *x, const struct row_place *places, const float *inv_freq,
              uint32_t rows, uint32_t heads, uint32_t head_dim)
{
    struct cpu_backend *b = cpu_backend_of(base);
    CHECK_MSG(head_dim % 2 == 0, "head_dim %u is odd", head_dim);
    CHECK_MSG(rows <= b->config.rows_max, "%u rows exceed the table for %u", rows,
              b->config.rows_max);
    struct rope_job job = {.kernels = b->kernels,
                           .table = b->rope_table,
                           .x = x,
                           .places = places,
                           .inv_freq = inv_freq,
                           .heads = heads,
                           .head_dim = head_dim,
                           .kept = head_dim / 2 < TABLE_PAIRS ? head_dim / 2 : TABLE_PAIRS};
    job.known = table_known(b->rope_table, &job, rows);
    uint64_t angles = (uint64_t)rows * (head_dim / 2 - (job.known ? job.kept : 0));
    job.split = cpu_split_rows(b, rows, angles * COST_PER_ANGLE +
                                            (uint64_t)rows * heads * head_dim * 4);
    cpu_threads_run(b->threads, rope_part, &job, job.split.parts);
}
