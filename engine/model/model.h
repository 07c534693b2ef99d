/* A model: its numbers, its dense weights in backend memory, and where its experts' pages lie.
 *
 * All nouns of the decoder on one screen; shapes in the right margin, a linear weight is
 * [outputs][inputs]. Matrices lie as the backend wants them (landing.h). Immutable after open. */
#ifndef MOERING_ENGINE_MODEL_MODEL_H
#define MOERING_ENGINE_MODEL_MODEL_H

#include "engine/backend/backend.h"
#include "engine/load/checkpoint.h"
#include "engine/model/hparams.h"
#include "engine/moe/moe_weights.h"
#include "memory/store.h"

#ifdef __cplusplus
extern "C" {
#endif

struct layer {
    const float *attention_norm; /* [h] */
    struct tensor q;             /* [heads * head_dim][h] */
    struct tensor k, v;          /* [kv_heads * head_dim][h] */
    struct tensor o;             /* [h][heads * head_dim] */
    const float *q_bias, *k_bias, *v_bias, *o_bias; /* [outputs] or NULL */
    const float *q_norm, *k_norm; /* [head_dim], or all heads' together, or NULL */
    const float *expert_norm;    /* [h] */
    struct moe_weights moe;      /* router, experts, the shared expert */
};

struct model {
    const struct arch *arch;
    struct hparams hparams;
    struct tensor embedding;     /* [vocab][h] */
    struct tensor head;          /* [vocab][h]; the embedding when tied */
    const float *final_norm;     /* [h] */
    struct layer *layers;        /* [L] */
    float *inv_freq;             /* [head_dim / 2] */
    uint64_t dense_bytes;        /* of everything above */
    struct backend *backend;     /* owns the memory they lie in; borrowed */
    struct model_piece {
        void *data;
        uint64_t bytes;
    } *owned;                    /* what was allocated of it */
    uint32_t owned_count;
};

/* How much an open will allocate for dense weights, from the checkpoint's headers alone. */
struct model_plan {
    const struct arch *arch;
    struct hparams hparams;
    uint64_t dense_bytes;
    uint64_t parameters, active_parameters;
    enum dtype quantize; /* what plain matrices become while they are read; DTYPE_COUNT: what
                            they are */
    uint64_t encoded, kept;      /* matrices that do; plain ones that do not, for their rows are no
                                    whole blocks of it */
    uint32_t dtypes,
        expert_dtypes;           /* bit d: matrices of format d will be in memory; experts' alone */
    uint32_t cols_max;           /* longest row of a matrix */
};
/* Reads the configuration and finds every tensor with its right shape; loads nothing. Adds the
 * expert pages to `store` (files too) in the order layer * experts + expert, parts gate, up, down,
 * with the bytes that they will take in a slot, and seals it. `quantize`: a format that
 * dtype_encodes, or DTYPE_COUNT. INVALID, NOT_FOUND, UNSUPPORTED: names file and field or
 * tensor. */
#ifdef __cplusplus /* a struct and a function of one name: C++ warns, and means well */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
enum status model_plan(const struct checkpoint *checkpoint, struct store *store,
                       enum dtype quantize, struct model_plan *out, struct error *error);
#ifdef __cplusplus
#pragma GCC diagnostic pop
#endif

/* UNSUPPORTED: the backend has no kernels for a format, which the error names. */
enum status model_open(struct model **out, const struct checkpoint *checkpoint,
                       const struct model_plan *plan, struct backend *backend,
                       void (*progress)(void *arg, double fraction), void *arg,
                       struct error *error);
void model_close(struct model *model); /* accepts NULL */
/* Dense weights in the memory of this machine are kept from being swapped out, if the process may
 * lock so much; one line in the log if not. */
void model_lock(const struct model *model);

#ifdef __cplusplus
}
#endif
#endif
