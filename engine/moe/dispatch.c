#include "engine/moe/dispatch.h"

#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

enum status dispatch_open(struct dispatch *d, uint32_t rows_max, uint32_t choices_max,
                          uint32_t experts, struct error *error)
{
    memset(d, 0, sizeof *d);
    d->rows_max = rows_max;
    d->choices_max = choices_max;
    d->experts = experts;
    size_t front = dispatch_front_bytes_max(rows_max, choices_max) / sizeof(uint32_t);
    size_t words = front + choices_max + 2 * (size_t)experts + 1;
    uint32_t *at = d->block = calloc(words, sizeof *at);
    if (!at)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the dispatch of %u tokens",
                         rows_max);
    d->row_offsets = at, at += front;
    d->expert = at, at += choices_max;
    d->expert_offsets = at, at += experts + 1;
    d->touched = at;
    dispatch_reset(d, 0);
    return STATUS_OK;
}

void dispatch_close(struct dispatch *d)
{
    free(d->block);
    memset(d, 0, sizeof *d);
}

size_t dispatch_front_bytes_max(uint32_t rows_max, uint32_t choices_max)
{
    return ((size_t)rows_max + 1 + 3 * (size_t)choices_max) * sizeof(uint32_t);
}

size_t dispatch_front_bytes(const struct dispatch *d)
{
    return dispatch_front_bytes_max(d->rows_told, d->choices);
}

void dispatch_reset(struct dispatch *d, uint32_t rows)
{
    CHECK(rows <= d->rows_max);
    d->rows_told = rows;
    d->rows = d->choices = d->touched_count = 0;
    d->row_offsets[0] = 0;
    d->weight = (float *)(d->row_offsets + rows + 1);
}

void dispatch_add_row(struct dispatch *d, const uint32_t *experts, const float *weights,
                      uint32_t count)
{
    CHECK(d->rows < d->rows_told && count <= d->choices_max - d->choices);
    for (uint32_t i = 0; i < count; i++) {
        CHECK(experts[i] < d->experts);
        d->expert[d->choices] = experts[i];
        d->weight[d->choices++] = weights[i];
    }
    d->row_offsets[++d->rows] = d->choices;
}

void dispatch_build(struct dispatch *d)
{
    uint32_t *start = d->expert_offsets;
    CHECK(d->rows == d->rows_told);
    d->place = (uint32_t *)(d->weight + d->choices);
    d->gather = d->place + d->choices;
    memset(start, 0, ((size_t)d->experts + 1) * sizeof *start);
    for (uint32_t c = 0; c < d->choices; c++)
        start[d->expert[c] + 1]++;
    d->touched_count = 0;
    for (uint32_t e = 0; e < d->experts; e++) {
        if (start[e + 1])
            d->touched[d->touched_count++] = e;
        start[e + 1] += start[e];
    }
    /* start[e] walks forward while its rows are placed and ends where expert e + 1 began; shifting
     * the array back by one restores the offsets without a second array. */
    for (uint32_t r = 0; r < d->rows; r++)
        for (uint32_t c = d->row_offsets[r]; c < d->row_offsets[r + 1]; c++) {
            d->place[c] = start[d->expert[c]]++;
            d->gather[d->place[c]] = r;
        }
    memmove(start + 1, start, d->experts * sizeof *start);
    start[0] = 0;
}
