/* Linear weights of sparse features: for each layer a table of rows, one weight per expert in a
 * row. A feature names its row; where there are more features than rows they share (feature
 * hashing), so that the size is bounded whatever the model. */
#ifndef MOERING_ENGINE_PREDICT_WEIGHT_ROWS_H
#define MOERING_ENGINE_PREDICT_WEIGHT_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weight_rows {
    float *weight;      /* [layers][rows][experts], zero at first */
    uint32_t layers, rows, experts; /* rows: a power of two */
};

/* As many rows as `wanted` (at most 2^31), rounded up to a power of two, if they fit into
 * `bytes_max`; else fewer, one at least. */
uint32_t weight_rows_fit(uint32_t layers, uint32_t experts, uint32_t wanted, uint64_t bytes_max);
enum status weight_rows_open(struct weight_rows *rows, uint32_t layers, uint32_t experts,
                             uint32_t count, struct error *error);
void weight_rows_close(struct weight_rows *rows); /* accepts a zeroed one */

static inline float *weight_rows_at(const struct weight_rows *rows, uint32_t layer,
                                    uint32_t feature)
{
    uint32_t row = feature & (rows->rows - 1);
    return rows->weight + ((size_t)layer * rows->rows + row) * rows->experts;
}

/* out[experts] += weight[i] x the row of feature[i], for all i below count. */
void weight_rows_add(const struct weight_rows *rows, uint32_t layer, const uint32_t *feature,
                     const float *weight, uint32_t count, float *out);
/* The row of feature[i] += step x weight[i] x error[experts], for all i below count. */
void weight_rows_learn(struct weight_rows *rows, uint32_t layer, const uint32_t *feature,
                       const float *weight, uint32_t count, float step, const float *error);

#ifdef __cplusplus
}
#endif
#endif
