#include "engine/predict/weight_rows.h"

#include <stdlib.h>
#include <string.h>

uint32_t weight_rows_fit(uint32_t layers, uint32_t experts, uint32_t wanted, uint64_t bytes_max)
{
    uint64_t row_bytes = (uint64_t)layers * experts * sizeof(float);
    uint32_t rows = 1;
    while (rows < wanted && 2 * row_bytes * rows <= bytes_max)
        rows *= 2;
    return rows;
}

enum status weight_rows_open(struct weight_rows *rows, uint32_t layers, uint32_t experts,
                             uint32_t count, struct error *error)
{
    *rows = (struct weight_rows){.layers = layers, .rows = count, .experts = experts};
    rows->weight = calloc((size_t)layers * count * experts, sizeof *rows->weight);
    if (rows->weight)
        return STATUS_OK;
    return error_set(error, STATUS_NO_MEMORY, "no memory for predictor weights, %u x %u x %u",
                     layers, count, experts);
}

void weight_rows_close(struct weight_rows *rows)
{
    free(rows->weight);
    memset(rows, 0, sizeof *rows);
}

/* Four rows in one pass: `out` is read and written a quarter as often. */
static void add_four(float *restrict out, const float *a, const float *b, const float *c,
                     const float *d, const float *w, uint32_t experts)
{
    for (uint32_t e = 0; e < experts; e++)
        out[e] += (w[0] * a[e] + w[1] * b[e]) + (w[2] * c[e] + w[3] * d[e]);
}

static void add_one(float *restrict out, const float *row, float weight, uint32_t experts)
{
    for (uint32_t e = 0; e < experts; e++)
        out[e] += weight * row[e];
}

void weight_rows_add(const struct weight_rows *rows, uint32_t layer, const uint32_t *feature,
                     const float *weight, uint32_t count, float *out)
{
    uint32_t i = 0;
    for (; i + 4 <= count; i += 4)
        add_four(out, weight_rows_at(rows, layer, feature[i]),
                 weight_rows_at(rows, layer, feature[i + 1]),
                 weight_rows_at(rows, layer, feature[i + 2]),
                 weight_rows_at(rows, layer, feature[i + 3]), weight + i, rows->experts);
    for (; i < count; i++)
        add_one(out, weight_rows_at(rows, layer, feature[i]), weight[i], rows->experts);
}

void weight_rows_learn(struct weight_rows *rows, uint32_t layer, const uint32_t *feature,
                       const float *weight, uint32_t count, float step, const float *error)
{
    for (uint32_t i = 0; i < count; i++)
        add_one(weight_rows_at(rows, layer, feature[i]), error, step * weight[i], rows->experts);
}
