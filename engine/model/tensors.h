/* The dense tensors of a model as a table: what each is called in the checkpoint, its shape, and
 * the field of struct layer or struct model that it fills. Planning and loading both walk it, so
 * that what was budgeted and checked is what gets loaded. */
#ifndef MOERING_ENGINE_MODEL_TENSORS_H
#define MOERING_ENGINE_MODEL_TENSORS_H

#include <stddef.h>

#include "engine/model/model.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LAYER_TENSORS_MAX 20
#define OUTER_TENSORS_MAX 3

enum tensor_use {
    TENSOR_WEIGHTS, /* multiplied; --quantize encodes it */
    TENSOR_EXACT,   /* multiplied; keeps its numbers: what chooses experts, what is the table too */
    TENSOR_TABLE,   /* only looked up: lies row by row */
};

struct dense_tensor {
    char name[160];
    uint32_t rows, cols; /* cols 0: a vector, kept as f32; else a struct tensor, kept as it is */
    size_t field;        /* offset in struct layer, or in struct model for the outer ones */
    enum tensor_use use; /* of a matrix */
    uint32_t head_rows;  /* each so many rows are a head whose halves the file has interleaved
                            (hparams.rope_interleaved); 0: rows as they are */
};

/* Return how many were written. */
uint32_t tensors_of_layer(const struct arch *arch, const struct hparams *hparams, uint32_t layer,
                          struct dense_tensor out[LAYER_TENSORS_MAX]);
uint32_t tensors_outer(const struct hparams *hparams, struct dense_tensor out[OUTER_TENSORS_MAX]);

#ifdef __cplusplus
}
#endif
#endif
