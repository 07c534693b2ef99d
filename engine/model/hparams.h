/* The numbers that define a model, read from its configuration and checked once. */
#ifndef MOERING_ENGINE_MODEL_HPARAMS_H
#define MOERING_ENGINE_MODEL_HPARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/load/checkpoint.h"
#include "engine/backend/router.h"

#ifdef __cplusplus
extern "C" {
#endif

#define HPARAMS_LAYERS_MAX 1024

enum qk_norm {
    QK_NORM_NONE,  /* Mixtral */
    QK_NORM_HEAD,  /* one weight [head_dim], each head normed by itself (Qwen3) */
    QK_NORM_WHOLE, /* weights over all heads together, before the split (OLMoE) */
};

struct hparams {
    uint32_t layers;       /* L */
    uint32_t hidden;       /* h */
    uint32_t heads, kv_heads, head_dim;
    uint32_t experts;      /* E */
    uint32_t expert_width; /* f */
    uint32_t shared_width; /* of the expert that every token passes through; 0: there is none */
    uint32_t vocab;
    uint32_t context;      /* positions the model was made for */
    uint32_t window;       /* attention looks back so far; 0: all the way */
    float norm_eps;
    double rope_theta;
    bool tied_head;        /* lm_head is the embedding table */
    bool attention_bias;   /* q, k and v have one */
    bool output_bias;      /* o has one */
    bool rope_interleaved; /* the file's rows of q and k have RoPE's pairs side by side (GGUF) */
    enum qk_norm qk_norm;
    float embedding_scale; /* of what embed gives; 1 for most */
    float attention_scale; /* of q.k before softmax; 1 / sqrt(head_dim) for most */
    float residual_scale; /* of both branches before they are added; 1 for most. That of the experts
                             is in the router's weights */
    float logits_scale;    /* 1 for most */
    struct router router;
};

/* What all supported architectures spell alike: sizes, norms, RoPE, activation. The expert fields
 * and routing are the architecture's. Refuses by name what would silently compute something else
 * (another activation, scaled RoPE). INVALID, UNSUPPORTED: names the file and the key. */
enum status hparams_read(const struct checkpoint *checkpoint, struct hparams *out,
                         struct error *error);
/* UNSUPPORTED: some layers are dense (decoder_sparse_step, mlp_only_layers). */
enum status hparams_refuse_dense_layers(const struct checkpoint *checkpoint, struct error *error);
/* UNSUPPORTED: attention within a window (use_sliding_window). */
enum status hparams_refuse_windows(const struct checkpoint *checkpoint, struct error *error);
/* experts, top_k and width by the keys this architecture uses. */
enum status hparams_read_experts(const struct checkpoint *checkpoint, const char *experts_key,
                                 const char *width_key, struct hparams *out, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
