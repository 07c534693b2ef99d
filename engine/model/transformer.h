/* The pre-norm transformer that all our architectures share, over one batch. Reads like the paper:
 *
 *     x = embed(tokens)
 *     each layer:  x += o(attention(rope(norm(q x)), rope(norm(k x)), v x)) ; x += experts(norm(x))
 *     logits = head(norm(x))
 *
 * with what an architecture multiplies on the way (hparams.h: embedding_scale and its like), at no
 * cost for those that do not.
 *
 * Engine thread. */
#ifndef MOERING_ENGINE_MODEL_TRANSFORMER_H
#define MOERING_ENGINE_MODEL_TRANSFORMER_H

#include "engine/attention/kv_cache.h"
#include "engine/batch/batch.h"
#include "engine/model/model.h"
#include "engine/moe/moe_resident.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Activations, sized once; all in backend memory. */
struct transformer {
    const struct model *model; /* borrowed */
    struct kv_cache *kv;       /* borrowed */
    struct moe moe;
    struct moe_resident ahead;
    struct scripted_routing scripted; /* zeros: the router chooses */
    struct layer_router *routers; /* [layers] of the model, for looking ahead */
    uint32_t rows_max;         /* rows of a step */
    uint32_t logits_max;       /* rows of logits in one call */
    float *x, *normed;         /* [rows][h] */
    float *q, *attended;       /* [rows][heads * head_dim] */
    float *k, *v;              /* [rows][kv_heads * head_dim] */
    float *last;               /* [logits_max][h] rows picked for the head */
    float *logits;             /* [logits_max][vocab] */
};

struct transformer_config {
    const struct model *model;
    struct kv_cache *kv;
    struct expert_pager *pager;
    struct backend *host; /* for experts computed where they lie; NULL: none */
    uint32_t rows_max, logits_max;
    struct routing_script routing; /* `choices` NULL: none */
};
uint64_t transformer_bytes(const struct hparams *hparams, uint32_t rows_max, uint32_t logits_max);
enum status transformer_open(struct transformer *transformer,
                             const struct transformer_config *config, struct error *error);
void transformer_close(struct transformer *transformer);

/* Runs all layers; writes keys and values at the rows' positions; leaves the hidden states in x.
 * IO: a page could not be read; nothing but those KV positions has changed. */
enum status transformer_forward(struct transformer *transformer, struct batch *batch,
                                struct error *error);
/* Logits of some rows of the last forward, `count` <= logits_max, to host memory [count][vocab]. */
void transformer_logits(struct transformer *transformer, const uint32_t *rows, uint32_t count,
                        float *out);
/* The same, but only one token drawn from each comes to the host (backend.h: draw, DRAW_NONE); for
 * backends that draw. */
bool transformer_draws(const struct transformer *transformer);
void transformer_draw(struct transformer *transformer, const uint32_t *rows,
                      const struct draw *draws, uint32_t count, uint32_t *tokens);

#ifdef __cplusplus
}
#endif
#endif
