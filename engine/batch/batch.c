#include "engine/batch/batch.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

enum status batch_open(struct batch *batch, uint32_t rows_max, uint32_t items_max,
                       struct error *error)
{
    *batch = (struct batch){.rows_max = rows_max, .items_max = items_max};
    batch->tokens = calloc(rows_max, sizeof *batch->tokens);
    batch->places = calloc(rows_max, sizeof *batch->places);
    batch->item = calloc(rows_max, sizeof *batch->item);
    batch->usage = calloc(items_max, sizeof *batch->usage);
    batch->failed = calloc(items_max, sizeof *batch->failed);
    if (batch->tokens && batch->places && batch->item && batch->usage && batch->failed)
        return STATUS_OK;
    batch_close(batch);
    return error_set(error, STATUS_NO_MEMORY, "no memory for a batch of %u tokens", rows_max);
}

void batch_close(struct batch *batch)
{
    free(batch->tokens);
    free(batch->places);
    free(batch->item);
    free(batch->usage);
    free(batch->failed);
    memset(batch, 0, sizeof *batch);
}

void batch_reset(struct batch *batch)
{
    batch->rows = batch->items = 0;
}

void batch_add(struct batch *batch, const uint32_t *tokens, uint32_t count, uint32_t position,
               const uint32_t *blocks)
{
    CHECK(batch->items < batch->items_max && count <= batch->rows_max - batch->rows);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t row = batch->rows++;
        batch->tokens[row] = tokens[i];
        batch->places[row] = (struct row_place){.blocks = blocks, .position = position + i};
        batch->item[row] = batch->items;
    }
    batch->failed[batch->items] = false;
    batch->usage[batch->items++] = (struct expert_usage){0};
}
