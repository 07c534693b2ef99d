/* A tiny GGUF model of each architecture, byte by byte: what a converter writes, with zeros as
 * weights. Keys and tensors can be left out or added. */
#ifndef MOERING_TESTS_ENGINE_LOAD_GGUF_MODEL_H
#define MOERING_TESTS_ENGINE_LOAD_GGUF_MODEL_H

#include <set>
#include <string>
#include <utility>

#include "tests/engine/load/gguf_bytes.h"

namespace gguf_bytes {

/* hidden 32, 4 heads (2 of keys) of 8, 4 experts of width 16, 2 chosen, 2 layers, 40 tokens, shared
 * expert of width 24. `without`: keys (behind the architecture) and tensors that are left out. */
inline File model(const std::string &arch, const std::set<std::string> &without = {})
{
    File f;
    auto u32 = [&](const char *key, uint32_t v) {
        if (!without.count(key))
            f.u32(arch + "." + key, v);
    };
    auto f32 = [&](const char *key, float v) {
        if (!without.count(key))
            f.f32(arch + "." + key, v);
    };
    auto zeros = [&](const std::string &name, std::vector<uint64_t> dim) {
        if (!without.count(name))
            f.zeros(name, std::move(dim));
    };
    f.string("general.architecture", arch);
    u32("block_count", 2);
    u32("embedding_length", 32);
    u32("context_length", 64);
    u32("attention.head_count", 4);
    u32("attention.head_count_kv", 2);
    u32("expert_count", 4);
    u32("expert_used_count", 2);
    f32("attention.layer_norm_rms_epsilon", 1e-5f);
    f32("rope.freq_base", 500000);
    if (arch == "granitemoe") {
        f32("embedding_scale", 12);
        f32("residual_scale", 0.5f);
        f32("attention.scale", 0.25f);
        f32("logit_scale", 6);
    }
    zeros("token_embd.weight", {40, 32});
    zeros("output.weight", {40, 32});
    zeros("output_norm.weight", {32});
    for (int layer = 0; layer < 2; layer++) {
        std::string b = "blk." + std::to_string(layer) + ".";
        zeros(b + "attn_norm.weight", {32});
        zeros(b + "attn_q.weight", {32, 32});
        zeros(b + "attn_k.weight", {16, 32});
        zeros(b + "attn_v.weight", {16, 32});
        zeros(b + "attn_output.weight", {32, 32});
        if (arch == "olmoe" || arch == "qwen3moe") {
            bool whole = arch == "olmoe";
            zeros(b + "attn_q_norm.weight", {whole ? 32u : 8u});
            zeros(b + "attn_k_norm.weight", {whole ? 16u : 8u});
        }
        zeros(b + "ffn_norm.weight", {32});
        zeros(b + "ffn_gate_inp.weight", {4, 32});
        zeros(b + "ffn_gate_exps.weight", {4, 16, 32});
        zeros(b + "ffn_up_exps.weight", {4, 16, 32});
        zeros(b + "ffn_down_exps.weight", {4, 32, 16});
        if (arch == "qwen2moe") {
            zeros(b + "attn_q.bias", {32});
            zeros(b + "attn_k.bias", {16});
            zeros(b + "attn_v.bias", {16});
            zeros(b + "ffn_gate_inp_shexp.weight", {32});
            zeros(b + "ffn_gate_shexp.weight", {24, 32});
            zeros(b + "ffn_up_shexp.weight", {24, 32});
            zeros(b + "ffn_down_shexp.weight", {32, 24});
        }
    }
    return f;
}

inline const char *const architectures[] = {"olmoe", "qwen3moe", "qwen2moe", "llama", "granitemoe"};

} // namespace gguf_bytes

#endif
