/* Names of GGUF tensors turned into ours. Pure. A name is matched whole: what is not in the tables
 * is not guessed, so that a tensor which changes the computation (a scale, a RoPE factor, a fused
 * q|k|v) is never overlooked. */
#include "engine/load/gguf_arch.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const struct gguf_arch archs[] = {
    {.name = "olmoe", .model_type = "olmoe", .router = "mlp.gate.weight",
     .width_key = "intermediate_size", .one_expert = "mlp.experts.%u.%s_proj.weight",
     .matrix = {"gate", "up", "down"}},
    {.name = "qwen3moe", .model_type = "qwen3_moe", .router = "mlp.gate.weight",
     .width_key = "moe_intermediate_size", .one_expert = "mlp.experts.%u.%s_proj.weight",
     .matrix = {"gate", "up", "down"}, .normalised = true},
    {.name = "qwen2moe", .model_type = "qwen2_moe", .router = "mlp.gate.weight",
     .width_key = "moe_intermediate_size", .one_expert = "mlp.experts.%u.%s_proj.weight",
     .matrix = {"gate", "up", "down"}, .shared_expert = true},
    {.name = "llama", .model_type = "mixtral", .router = "block_sparse_moe.gate.weight",
     .width_key = "intermediate_size", .one_expert = "block_sparse_moe.experts.%u.%s.weight",
     .matrix = {"w1", "w3", "w2"}, .interleaved = true, .normalised = true,
     .normalised_only = true, .windowed = true},
    {.name = "granitemoe", .model_type = "granitemoe",
     .router = "block_sparse_moe.router.layer.weight", .width_key = "intermediate_size",
     .one_expert = "mlp.experts.%u.%s_proj.weight", .matrix = {"gate", "up", "down"},
     .interleaved = true, .normalised = true, .normalised_only = true, .multipliers = true},
};
enum { ARCHS = sizeof archs / sizeof archs[0] };

struct rename {
    const char *own, *here;
};

static const struct rename outer[] = {
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"output.weight", "lm_head.weight"},
    {"output_norm.weight", "model.norm.weight"},
};

static const struct rename inner[] = {
    {"attn_norm.weight", "input_layernorm.weight"},
    {"ffn_norm.weight", "post_attention_layernorm.weight"},
    {"attn_q.weight", "self_attn.q_proj.weight"},
    {"attn_k.weight", "self_attn.k_proj.weight"},
    {"attn_v.weight", "self_attn.v_proj.weight"},
    {"attn_output.weight", "self_attn.o_proj.weight"},
    {"attn_q.bias", "self_attn.q_proj.bias"},
    {"attn_k.bias", "self_attn.k_proj.bias"},
    {"attn_v.bias", "self_attn.v_proj.bias"},
    {"attn_output.bias", "self_attn.o_proj.bias"},
    {"attn_q_norm.weight", "self_attn.q_norm.weight"},
    {"attn_k_norm.weight", "self_attn.k_norm.weight"},
    {"ffn_gate_exps.weight", "mlp.experts.gate_proj.weight"},
    {"ffn_up_exps.weight", "mlp.experts.up_proj.weight"},
    {"ffn_down_exps.weight", "mlp.experts.down_proj.weight"},
    {"ffn_gate_up_exps.weight", "mlp.experts.gate_up_proj"},
};

static const struct rename shared[] = {
    {"ffn_gate_shexp.weight", "mlp.shared_expert.gate_proj.weight"},
    {"ffn_up_shexp.weight", "mlp.shared_expert.up_proj.weight"},
    {"ffn_down_shexp.weight", "mlp.shared_expert.down_proj.weight"},
    {"ffn_gate_inp_shexp.weight", "mlp.shared_expert_gate.weight"},
};

const struct gguf_arch *gguf_arch_find(const char *name, size_t bytes)
{
    for (size_t i = 0; i < ARCHS; i++)
        if (strlen(archs[i].name) == bytes && memcmp(archs[i].name, name, bytes) == 0)
            return &archs[i];
    return NULL;
}

const struct gguf_arch *gguf_arch_of_model_type(const char *model_type)
{
    for (size_t i = 0; i < ARCHS; i++)
        if (strcmp(archs[i].model_type, model_type) == 0)
            return &archs[i];
    return NULL;
}

const char *gguf_arch_list(char *out, size_t bytes)
{
    size_t used = 0;
    for (size_t i = 0; i < ARCHS && used < bytes; i++)
        used += (size_t)snprintf(out + used, bytes - used, "%s%s", i ? ", " : "", archs[i].name);
    return out;
}

static const char *look_up(const struct rename *renames, size_t count, const char *own)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(renames[i].own, own) == 0)
            return renames[i].here;
    return NULL;
}

/* A number without leading zeros, so that no two names become one. NULL: none; else what
 * follows. */
static const char *number(const char *text, uint32_t *out)
{
    uint64_t n = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        n = 10 * n + (uint64_t)(*at - '0');
        if (n > UINT32_MAX)
            return NULL;
    }
    if (at == text || (*text == '0' && at > text + 1))
        return NULL;
    *out = (uint32_t)n;
    return at;
}

/* "ffn_up.3.weight" of files from before experts were stacked. */
static bool one_expert(const struct gguf_arch *arch, const char *own, char *out, size_t bytes)
{
    static const char *const begins[3] = {"ffn_gate.", "ffn_up.", "ffn_down."};
    for (int i = 0; i < 3; i++) {
        uint32_t expert;
        size_t length = strlen(begins[i]);
        if (strncmp(own, begins[i], length) != 0)
            continue;
        const char *rest = number(own + length, &expert);
        if (!rest || strcmp(rest, ".weight") != 0)
            return false;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the formats are in the table above */
        snprintf(out, bytes, arch->one_expert, expert, arch->matrix[i]);
#pragma GCC diagnostic pop
        return true;
    }
    return false;
}

bool gguf_arch_tensor(const struct gguf_arch *arch, const char *own, char out[GGUF_ARCH_NAME_BYTES])
{
    uint32_t layer;
    const char *here = look_up(outer, sizeof outer / sizeof outer[0], own);
    if (here) {
        snprintf(out, GGUF_ARCH_NAME_BYTES, "%s", here);
        return true;
    }
    const char *name = strncmp(own, "blk.", 4) == 0 ? number(own + 4, &layer) : NULL;
    if (!name || *name++ != '.')
        return false;
    here = strcmp(name, "ffn_gate_inp.weight") == 0
               ? arch->router
               : look_up(inner, sizeof inner / sizeof inner[0], name);
    if (!here && arch->shared_expert)
        here = look_up(shared, sizeof shared / sizeof shared[0], name);
    int used = snprintf(out, GGUF_ARCH_NAME_BYTES, "model.layers.%u.%s", layer, here ? here : "");
    return here || one_expert(arch, name, out + used, GGUF_ARCH_NAME_BYTES - (size_t)used);
}

static const char *look_back(const struct rename *renames, size_t count, const char *here)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(renames[i].here, here) == 0)
            return renames[i].own;
    return NULL;
}

bool gguf_arch_own(const struct gguf_arch *arch, const char *here, char out[GGUF_ARCH_NAME_BYTES])
{
    static const char layers[] = "model.layers.";
    uint32_t layer;
    const char *own = look_back(outer, sizeof outer / sizeof outer[0], here);
    if (own) {
        snprintf(out, GGUF_ARCH_NAME_BYTES, "%s", own);
        return true;
    }
    const char *name = strncmp(here, layers, sizeof layers - 1) == 0
                           ? number(here + sizeof layers - 1, &layer)
                           : NULL;
    if (!name || *name++ != '.')
        return false;
    own = strcmp(name, arch->router) == 0 ? "ffn_gate_inp.weight"
                                          : look_back(inner, sizeof inner / sizeof inner[0], name);
    if (!own && arch->shared_expert)
        own = look_back(shared, sizeof shared / sizeof shared[0], name);
    if (own)
        snprintf(out, GGUF_ARCH_NAME_BYTES, "blk.%u.%s", layer, own);
    return own != NULL;
}
