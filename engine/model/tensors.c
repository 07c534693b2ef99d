#include "engine/model/tensors.h"

#include <stdio.h>
#include <string.h>

#include "engine/model/arch.h"

static struct dense_tensor *put(struct dense_tensor *at, const char *name, uint32_t rows,
                                uint32_t cols, size_t field)
{
    *at = (struct dense_tensor){.rows = rows, .cols = cols, .field = field};
    snprintf(at->name, sizeof at->name, "%s", name);
    return at + 1;
}

/* The one just put. */
static void use_as(struct dense_tensor *end, enum tensor_use use)
{
    end[-1].use = use;
}

static struct dense_tensor *put_shared(struct dense_tensor *at, const struct hparams *h)
{
    at = put(at, "mlp.shared_expert.gate_proj.weight", h->shared_width, h->hidden,
             offsetof(struct layer, moe.shared.gate));
    at = put(at, "mlp.shared_expert.up_proj.weight", h->shared_width, h->hidden,
             offsetof(struct layer, moe.shared.up));
    at = put(at, "mlp.shared_expert.down_proj.weight", h->hidden, h->shared_width,
             offsetof(struct layer, moe.shared.down));
    at = put(at, "mlp.shared_expert_gate.weight", 1, h->hidden,
             offsetof(struct layer, moe.shared_gate));
    use_as(at, TENSOR_EXACT);
    return at;
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
    }
    if (h->output_bias)
        at = put(at, "self_attn.o_proj.bias", h->hidden, 0, offsetof(struct layer, o_bias));
    if (h->qk_norm != QK_NORM_NONE) {
        bool whole = h->qk_norm == QK_NORM_WHOLE;
        at = put(at, "self_attn.q_norm.weight", whole ? q : h->head_dim, 0,
                 offsetof(struct layer, q_norm));
        at = put(at, "self_attn.k_norm.weight", whole ? kv : h->head_dim, 0,
                 offsetof(struct layer, k_norm));
    }
    at = put(at, "post_attention_layernorm.weight", h->hidden, 0,
             offsetof(struct layer, expert_norm));
    at = put(at, arch->names->router, h->experts, h->hidden, offsetof(struct layer, moe.router));
    use_as(at, TENSOR_EXACT);
    if (h->shared_width)
        at = put_shared(at, h);
    for (struct dense_tensor *t = out; t < at; t++) {
        char inner[120];
        bool turned = h->rope_interleaved && (strstr(t->name, ".q_proj.") ||
                                              strstr(t->name, ".k_proj."));
        t->head_rows = turned ? h->head_dim : 0;
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
    use_as(at, h->tied_head ? TENSOR_EXACT : TENSOR_TABLE);
    if (!h->tied_head)
        at = put(at, "lm_head.weight", h->vocab, h->hidden, offsetof(struct model, head));
    at = put(at, "model.norm.weight", h->hidden, 0, offsetof(struct model, final_norm));
    return (uint32_t)(at - out);
}
