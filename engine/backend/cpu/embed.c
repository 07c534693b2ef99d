/* Token embeddings: rows of a table, decoded from whatever format and layout it is in (a table that
 * is also the head lies as the head wants it). Many rows are shared out among the threads. */
#include "engine/backend/cpu/cpu_backend.h"

#include "memory/base/check.h"

struct embed_job {
    const struct kernels *kernels;
    struct tensor table;
    size_t row_bytes;
    const uint32_t *tokens;
    float *out;
    struct cpu_split split; /* rows */
};

static void embed_row(const struct embed_job *job, size_t r)
{
    const struct tensor *t = &job->table;
    const uint8_t *row = (const uint8_t *)t->data + job->tokens[r] * job->row_bytes;
    float *out = job->out + r * t->cols;
    if (t->layout == LAYOUT_PACKED)
        packed_decode_row(t->dtype, t->data, t->rows, t->cols, job->tokens[r], out);
    else if (dtype_is_plain(t->dtype))
        job->kernels->format[t->dtype].decode(out, row, t->cols);
    else
        dtype_decode(t->dtype, row, out, t->cols);
}

static void embed_part(void *arg, uint32_t part, uint32_t worker)
{
    const struct embed_job *job = arg;
    size_t end = cpu_split_end(&job->split, part);
    for (size_t r = cpu_split_begin(&job->split, part); r < end; r++)
        embed_row(job, r);
}

void cpu_embed(struct backend *base, float *out, struct tensor table, const uint32_t *tokens,
               uint32_t rows)
{
    struct cpu_backend *b = cpu_backend_of(base);
    uint64_t row_bytes, cost = (dtype_is_plain(table.dtype) ? 4 : 40) * (uint64_t)table.cols;
    CHECK(dtype_bytes(table.dtype, table.cols, &row_bytes));
    for (uint32_t r = 0; r < rows; r++)
        CHECK_MSG(tokens[r] < table.rows, "token %u of a table of %u", tokens[r], table.rows);
    struct embed_job job = {.kernels = b->kernels,
                            .table = table,
                            .row_bytes = row_bytes,
                            .tokens = tokens,
                            .out = out,
                            .split = cpu_split_rows(b, rows, rows * cost)};
    cpu_threads_run(b->threads, embed_part, &job, job.split.parts);
}
