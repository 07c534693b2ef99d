/* A GGUF model under the names and keys of Hugging Face, which are the ones the engine asks for.
 *
 * TENSORS (dimensions outermost first: a linear weight is [outputs][inputs]; N: layer, E: expert)
 *
 *   GGUF                              here, behind "model.layers.N." where the GGUF has "blk.N."
 *   token_embd.weight                 model.embed_tokens.weight
 *   output.weight                     lm_head.weight
 *   output_norm.weight                model.norm.weight
 *   attn_norm.weight                  input_layernorm.weight
 *   ffn_norm.weight                   post_attention_layernorm.weight
 *   attn_{q,k,v}.{weight,bias}        self_attn.{q,k,v}_proj.{weight,bias}
 *   attn_output.{weight,bias}         self_attn.o_proj.{weight,bias}
 *   attn_{q,k}_norm.weight            self_attn.{q,k}_norm.weight
 *   ffn_gate_inp.weight               olmoe, qwen*: mlp.gate.weight
 *                                     mixtral: block_sparse_moe.gate.weight
 *                                     granitemoe: block_sparse_moe.router.layer.weight
 *   ffn_{gate,up}_exps.weight         mlp.experts.{gate,up}_proj.weight  [experts][width][hidden]
 *   ffn_down_exps.weight              mlp.experts.down_proj.weight       [experts][hidden][width]
 *   ffn_gate_up_exps.weight           mlp.experts.gate_up_proj           [experts][2 width][hidden]
 *                                     (these four spellings for every architecture)
 *   ffn_{gate,up,down}.E.weight       mixtral: block_sparse_moe.experts.E.{w1,w3,w2}.weight
 *                                     others: mlp.experts.E.{gate,up,down}_proj.weight
 *   ffn_{gate,up,down}_shexp.weight   mlp.shared_expert.{gate,up,down}_proj.weight  (qwen2_moe)
 *   ffn_gate_inp_shexp.weight         mlp.shared_expert_gate.weight  [1][hidden]    (qwen2_moe)
 *
 * A tensor without a line here is refused by name: it would have changed what the model computes.
 *
 * KEYS (A: the architecture's name in the file; "must be": another value is UNSUPPORTED, by name)
 *
 *   model_type                        general.architecture: olmoe, qwen3moe -> qwen3_moe,
 *                                     qwen2moe -> qwen2_moe, llama with experts -> mixtral,
 *                                     granitemoe
 *   num_hidden_layers                 A.block_count
 *   hidden_size                       A.embedding_length
 *   num_attention_heads               A.attention.head_count (one number, or equal ones for layers)
 *   num_key_value_heads               A.attention.head_count_kv; absent: head_count
 *   head_dim                          A.attention.key_length; absent: hidden_size / heads.
 *                                     value_length and A.rope.dimension_count must be equal to it
 *   vocab_size                        rows of token_embd.weight
 *   max_position_embeddings           A.context_length
 *   rms_norm_eps                      A.attention.layer_norm_rms_epsilon
 *   rope_theta                        A.rope.freq_base; absent: 10000, the format's own default
 *   rope_interleaved                  true for llama and granitemoe: in the file the rows of q and
 *                                     k (and of their biases) are permuted within each head so that
 *                                     RoPE turns neighbours 2i, 2i + 1. Row 2i of a head is row i
 *                                     of Hugging Face's order, row 2i + 1 its row i + head_dim / 2.
 *                                     (The loader puts them back.) False for the others.
 *   hidden_act                        "silu"
 *   num_experts, num_local_experts    A.expert_count (both keys, for every architecture)
 *   num_experts_per_tok               A.expert_used_count
 *   intermediate_size                 of olmoe, mixtral, granitemoe,
 *   moe_intermediate_size             of qwen3_moe, qwen2_moe: an expert's width,
 *                                     A.expert_feed_forward_length; absent: by the shape of the
 *                                     experts of the first layer
 *   shared_expert_intermediate_size   A.expert_shared_feed_forward_length, absent: by the shape
 *                                     (qwen2_moe; elsewhere it must be 0)
 *   norm_topk_prob                    A.expert_weights_norm; absent: olmoe, qwen2_moe false, others
 *                                     true. mixtral, granitemoe: must be true
 *   tie_word_embeddings               there is no output.weight
 *   attention_bias                    there is a blk.0.attn_q.bias
 *   attention_output_bias             there is a blk.0.attn_output.bias
 *   sliding_window                    mixtral: A.attention.sliding_window, if not 0
 *   embedding_multiplier              granitemoe: A.embedding_scale; absent or 0: 1
 *   attention_multiplier              granitemoe: A.attention.scale; absent, 0: 1 / sqrt(head_dim)
 *   residual_multiplier               granitemoe: A.residual_scale; absent or 0: 1
 *   logits_scaling                    granitemoe: A.logit_scale (logits are divided by it)
 *   bos_token_id                      tokenizer.ggml.bos_token_id
 *   eos_token_id (a list)             tokenizer.ggml.{eos,eot,eom}_token_id, those present, and
 *                                     control tokens spelled <|endoftext|>, <|im_end|> or
 *                                     <|end_of_text|>
 *
 * Must be absent or neutral: A.expert_gating_func (1 softmax; 3, softmax of the chosen, where
 * weights are normalised, which is the same), A.expert_weights_scale, A.expert_group_count,
 * A.rope.scaling.*, A.attention.clamp_kqv, the multipliers of granitemoe elsewhere, soft caps,
 * ALiBi, A.attention.causal, dense layers between those with experts.
 *
 * Errors name the file and the GGUF's own key ("m.gguf: olmoe.expert_count: ..."). */
#ifndef MOERING_ENGINE_LOAD_GGUF_VIEW_H
#define MOERING_ENGINE_LOAD_GGUF_VIEW_H

#include <stdint.h>

#include "engine/load/checkpoint.h"
#include "engine/load/gguf_settings.h"
#include "engine/load/gguf_split.h"

#ifdef __cplusplus
extern "C" {
#endif

struct gguf_view_tensor {
    struct checkpoint_tensor tensor; /* name as above; file: the part it lies in */
    const char *foreign;             /* as in struct gguf_tensor */
    const char *own_name;            /* in the file */
};

struct gguf_view {
    const struct gguf_arch *arch;
    struct gguf_settings *settings;
    struct gguf_view_tensor *tensors; /* part by part, in the order of their bytes */
    uint32_t tensor_count;
    struct arena names;
};

/* `split` outlives *out. Errors as gguf_settings_open, and UNSUPPORTED for a tensor without a name
 * here. Names used twice are the caller's to find. */
enum status gguf_view_open(struct gguf_view **out, const struct gguf_split *split,
                           struct error *error);
void gguf_view_close(struct gguf_view *view); /* accepts NULL */

#ifdef __cplusplus
}
#endif
#endif
