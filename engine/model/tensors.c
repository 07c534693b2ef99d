#include "engine/model/tensors.h"

#include <stdio.h>

#include "engine/model/arch.h"

static struct dense_tensor *put(struct dense_tensor *at, const char *name, uint32_t rows,
                                uint32_t cols, size_t field)
{
    at->rows = rows;
    at->cols = cols;
    at->field = field;
    snprintf(at->name, sizeof at->name, "%s", name);
    return at + 1;
}

uint32_t tensors_of_layer(const struct arch *arch, const struct hparams *h, uint32_t layer,
                          struct dense_tensor out[LAYER_TENSORS_MAX])
{
    uint32_t q = h->heads * h->head_dim, kv = h->kv_heads * h->head_dim;
    struct dense_tensor *at = out;
    at = put(at, "input_layernorm.weight", h->hidden, 0, offsetof(struct layer, attention_norm));
    at = put(at, "self_attn.q_proj.weight", q, h->hidden, offsetof(struct layer, q));
    at = put(at, "self_attn.k_proj.weight", kv, h->hidden, offsetof(struct layer, k));
    at = put(at, "self_attn.v_proj.weight", kv, h->hidden, offsetof(struct layer, v));
    at = put(at, "self_attn.o_proj.weight", h->hidden, q, offsetof(struct layer, o));
    if (h->attention_bias) {
        at = put(at, "self_attn.q_proj.bias", q, 0, offsetof(struct layer, q_bias));
        at = put(at, "self_attn.k_proj.bias", kv, 0, offsetof(struct layer, k_bias));
        at = put(at, "self_attn.v_proj.bias", kv, 0, offsetof(struct layer, v_bias));
        at = put(at, "self_attn.o_proj.bias", h->hidden, 0, offsetof(struct layer, o_bias));
    }
    if (h->qk_norm != QK_NORM_NONE) {
        bool whole = h->qk_norm == QK_NORM_WHOLE;
        at = put(at, "self_attn.q_norm.weight", whole ? q : h->head_dim, 0,
                 offsetof(struct layer, q_norm));
        at = put(at, "self_attn.k_norm.weight", whole ? kv : h->head_dim, 0,
                 offsetof(struct layer, k_norm));
    }
    at = put(at, "post_attention_layernorm.weight", h->hidden, 0,
             offsetof(struct layer, expert_norm));
    at = put(at, arch->names->router, h->experts, h->hidden, offsetof(struct layer, router));
    for (struct dense_tensor *t = out; t < at; t++) {
        char inner[120];
        snprintf(inner, sizeof inner, "%.119s", t->name);
        snprintf(t->name, sizeof t->name, "model.layers.%u.%s", layer, inner);
    }
    return (uint32_t)(at - out);
}

uint32_t tensors_outer(const struct hparams *h, struct dense_tensor out[OUTER_TENSORS_MAX])
{
    struct dense_tensor *at = out;
    at = put(at, "model.embed_tokens.weight", h->vocab, h->hidden,
             offsetof(struct model, embedding));
    if (!h->tied_head)
        at = put(at, "lm_head.weight", h->vocab, h->hidden, offsetof(struct model, head));
    at = put(at, "model.norm.weight", h->hidden, 0, offsetof(struct model, final_norm));
    return (uint32_t)(at - out);
}
