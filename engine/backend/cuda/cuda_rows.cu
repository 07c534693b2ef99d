/* What a step is, on the device: tokens, positions and block tables, uploaded once at its beginning
 * so that no operation carries a host pointer. The arrays have fixed addresses, since captured
 * graphs name them; there are two layouts, one for the few rows of decoding, whose arrays are
 * neighbours and travel in one copy, and one for the many rows of a prompt.
 *
 * A row's table_of is the place where its sequence's block table begins in `tables` (a stride of
 * 1), so tables of any length lie packed and the copy is as long as the step needs. */
#include "engine/backend/cuda/cuda_state.cuh"

#include <string.h>

static uint32_t blocks_for(uint32_t positions)
{
    return (positions + KV_BLOCK_TOKENS - 1) / KV_BLOCK_TOKENS;
}

static size_t tables_max(const struct cuda_backend_config *c)
{
    return (size_t)c->places_max * blocks_for(c->context_max);
}

size_t cuda_step_host_words(const struct cuda_backend_config *c)
{
    uint32_t stride = c->rows_max > CUDA_RESIDENT_ROWS ? c->rows_max : CUDA_RESIDENT_ROWS;
    return 3 * (size_t)stride + tables_max(c);
}

size_t cuda_step_words(const struct cuda_backend_config *c)
{
    return 3 * (size_t)CUDA_RESIDENT_ROWS + tables_max(c) + cuda_step_host_words(c);
}

/* Where the arrays of a step of so many rows lie. */
static uint32_t *layout(struct cuda_backend *b, uint32_t rows, uint32_t *stride)
{
    bool few = rows <= CUDA_RESIDENT_ROWS;
    uint32_t *base = few ? b->step : b->step + 3 * (size_t)CUDA_RESIDENT_ROWS +
                                         tables_max(&b->config);
    *stride = few ? CUDA_RESIDENT_ROWS : b->config.rows_max;
    b->rows.tokens = base;
    b->rows.positions = base + *stride;
    b->rows.table_of = base + 2 * (size_t)*stride;
    b->rows.tables = base + 3 * (size_t)*stride;
    b->rows.table_stride = 1;
    return base;
}

void cuda_begin(struct backend *base, const uint32_t *tokens, const struct row_place *places,
                uint32_t rows)
{
    struct cuda_backend *b = cuda_backend_of(base);
    CHECK(rows <= b->config.rows_max);
    uint32_t stride, used = 0, sequences = 0;
    uint32_t *to = layout(b, rows, &stride);
    uint32_t *host = b->step_host;
    memcpy(host, tokens, rows * sizeof *host);
    b->context = 0;
    for (uint32_t r = 0, end = 0; r < rows; r = end) {
        uint32_t last = 0;
        for (end = r; end < rows && places[end].blocks == places[r].blocks; end++) {
            last = places[end].position > last ? places[end].position : last;
            host[stride + end] = places[end].position;
            host[2 * (size_t)stride + end] = used;
        }
        uint32_t blocks = blocks_for(last + 1);
        CHECK(++sequences <= b->config.places_max && last < b->config.context_max);
        memcpy(host + 3 * (size_t)stride + used, places[r].blocks, blocks * sizeof *host);
        used += blocks;
        b->context = last + 1 > b->context ? last + 1 : b->context;
    }
    b->step_rows = rows;
    cuda_stage_upload(b, to, host, (3 * (size_t)stride + used) * sizeof *host);
}
