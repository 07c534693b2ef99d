/* The table of names, line by line, and names that are in no line. */
#include "engine/load/gguf_arch.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace {

const struct gguf_arch *arch(const char *name)
{
    return gguf_arch_find(name, strlen(name));
}

std::string renamed(const char *of, const std::string &own)
{
    char out[GGUF_ARCH_NAME_BYTES];
    return gguf_arch_tensor(arch(of), own.c_str(), out) ? out : "";
}

TEST(GgufArch, FindsByTheWholeName)
{
    for (const char *name : {"olmoe", "qwen3moe", "qwen2moe", "llama", "granitemoe"})
        ASSERT_NE(arch(name), nullptr) << name;
    EXPECT_STREQ(arch("llama")->model_type, "mixtral");
    EXPECT_STREQ(arch("qwen3moe")->model_type, "qwen3_moe");
    EXPECT_EQ(arch("llama4"), nullptr);
    EXPECT_EQ(arch("olmo"), nullptr);
    EXPECT_EQ(gguf_arch_find("olmoe\0x", 7), nullptr);
    char list[128];
    EXPECT_STREQ(gguf_arch_list(list, sizeof list), "olmoe, qwen3moe, qwen2moe, llama, granitemoe");
}

/* Which RoPE pairs neighbours, and whose weights of chosen experts add up to one: the two traps
 * that still answer fluently when they are wrong. */
TEST(GgufArch, KnowsRopeAndNormalisation)
{
    struct {
        const char *name;
        bool interleaved, normalised;
    } known[] = {{"olmoe", false, false}, {"qwen2moe", false, false}, {"qwen3moe", false, true},
                 {"llama", true, true},   {"granitemoe", true, true}};
    for (const auto &k : known) {
        EXPECT_EQ(arch(k.name)->interleaved, k.interleaved) << k.name;
        EXPECT_EQ(arch(k.name)->normalised, k.normalised) << k.name;
    }
}

TEST(GgufArch, RenamesWhatAllHave)
{
    const std::vector<std::pair<std::string, std::string>> lines = {
        {"token_embd.weight", "model.embed_tokens.weight"},
        {"output.weight", "lm_head.weight"},
        {"output_norm.weight", "model.norm.weight"},
        {"blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight"},
        {"blk.7.ffn_norm.weight", "model.layers.7.post_attention_layernorm.weight"},
        {"blk.10.attn_q.weight", "model.layers.10.self_attn.q_proj.weight"},
        {"blk.0.attn_k.weight", "model.layers.0.self_attn.k_proj.weight"},
        {"blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj.weight"},
        {"blk.0.attn_output.weight", "model.layers.0.self_attn.o_proj.weight"},
        {"blk.0.attn_q.bias", "model.layers.0.self_attn.q_proj.bias"},
        {"blk.0.attn_k.bias", "model.layers.0.self_attn.k_proj.bias"},
        {"blk.0.attn_v.bias", "model.layers.0.self_attn.v_proj.bias"},
        {"blk.0.attn_output.bias", "model.layers.0.self_attn.o_proj.bias"},
        {"blk.0.attn_q_norm.weight", "model.layers.0.self_attn.q_norm.weight"},
        {"blk.0.attn_k_norm.weight", "model.layers.0.self_attn.k_norm.weight"},
        {"blk.0.ffn_gate_exps.weight", "model.layers.0.mlp.experts.gate_proj.weight"},
        {"blk.0.ffn_up_exps.weight", "model.layers.0.mlp.experts.up_proj.weight"},
        {"blk.0.ffn_down_exps.weight", "model.layers.0.mlp.experts.down_proj.weight"},
        {"blk.0.ffn_gate_up_exps.weight", "model.layers.0.mlp.experts.gate_up_proj"},
    };
    for (const char *name : {"olmoe", "qwen3moe", "qwen2moe", "llama", "granitemoe"})
        for (const auto &line : lines)
            EXPECT_EQ(renamed(name, line.first), line.second) << name;
}

TEST(GgufArch, RenamesWhatDiffers)
{
    const std::string l = "model.layers.3.", r = "blk.3.ffn_gate_inp.weight";
    EXPECT_EQ(renamed("olmoe", r), l + "mlp.gate.weight");
    EXPECT_EQ(renamed("qwen2moe", r), l + "mlp.gate.weight");
    EXPECT_EQ(renamed("llama", r), l + "block_sparse_moe.gate.weight");
    EXPECT_EQ(renamed("granitemoe", r), l + "block_sparse_moe.router.layer.weight");
    EXPECT_EQ(renamed("llama", "blk.3.ffn_gate.7.weight"),
              l + "block_sparse_moe.experts.7.w1.weight");
    EXPECT_EQ(renamed("llama", "blk.3.ffn_up.0.weight"),
              l + "block_sparse_moe.experts.0.w3.weight");
    EXPECT_EQ(renamed("llama", "blk.3.ffn_down.12.weight"),
              l + "block_sparse_moe.experts.12.w2.weight");
    EXPECT_EQ(renamed("olmoe", "blk.3.ffn_down.12.weight"), l + "mlp.experts.12.down_proj.weight");
    EXPECT_EQ(renamed("granitemoe", "blk.3.ffn_down.12.weight"),
              l + "mlp.experts.12.down_proj.weight");
    EXPECT_EQ(renamed("qwen2moe", "blk.3.ffn_gate_shexp.weight"),
              l + "mlp.shared_expert.gate_proj.weight");
    EXPECT_EQ(renamed("qwen2moe", "blk.3.ffn_up_shexp.weight"),
              l + "mlp.shared_expert.up_proj.weight");
    EXPECT_EQ(renamed("qwen2moe", "blk.3.ffn_down_shexp.weight"),
              l + "mlp.shared_expert.down_proj.weight");
    EXPECT_EQ(renamed("qwen2moe", "blk.3.ffn_gate_inp_shexp.weight"),
              l + "mlp.shared_expert_gate.weight");
    EXPECT_EQ(renamed("qwen3moe", "blk.3.ffn_up_shexp.weight"), "");
}

/* There and back for every name that has a line; none for what has not. */
TEST(GgufArch, FindsTheOwnNameAgain)
{
    char own[GGUF_ARCH_NAME_BYTES];
    for (const char *name : {"olmoe", "qwen3moe", "qwen2moe", "llama", "granitemoe"}) {
        const struct gguf_arch *a = arch(name);
        EXPECT_EQ(gguf_arch_of_model_type(a->model_type), a);
        for (const char *of : {"token_embd.weight", "output.weight", "output_norm.weight",
                               "blk.12.attn_q.weight", "blk.12.attn_output.bias",
                               "blk.0.attn_k_norm.weight", "blk.0.ffn_norm.weight",
                               "blk.0.ffn_gate_inp.weight", "blk.0.ffn_gate_up_exps.weight"}) {
            ASSERT_TRUE(gguf_arch_own(a, renamed(name, of).c_str(), own)) << of;
            EXPECT_STREQ(own, of);
        }
        for (const char *none : {"", "model.layers.", "model.layers.x.input_layernorm.weight",
                                 "model.layers.0.mlp.experts.0.up_proj.weight",
                                 "blk.0.attn_q.weight"})
            EXPECT_FALSE(gguf_arch_own(a, none, own)) << none;
    }
    EXPECT_EQ(gguf_arch_of_model_type("llama"), nullptr);
    const char gate[] = "model.layers.2.mlp.shared_expert_gate.weight";
    ASSERT_TRUE(gguf_arch_own(arch("qwen2moe"), gate, own));
    EXPECT_STREQ(own, "blk.2.ffn_gate_inp_shexp.weight");
    EXPECT_FALSE(gguf_arch_own(arch("olmoe"), gate, own));
}

TEST(GgufArch, GuessesNothing)
{
    for (const char *own :
         {"", "blk", "blk.", "blk.0", "blk.0.", "blk.x.attn_q.weight", "blk.00.attn_q.weight",
          "blk.-1.attn_q.weight", "blk.4294967296.attn_q.weight", "blk.0.attn_qkv.weight",
          "blk.0.attn_q.scale", "blk.0.ffn_up_exps.scale", "blk.0.ffn_gate.weight",
          "rope_freqs.weight",
          "blk.0.exp_probs_b.bias", "blk.0.ffn_gate.01.weight", "blk.0.ffn_gate..weight",
          "blk.0.ffn_gate.1.bias", "blk.0.attn_q.weight.x", "xblk.0.attn_q.weight", "output"})
        for (const char *name : {"olmoe", "llama"})
            EXPECT_EQ(renamed(name, own), "") << own;
}

} // namespace
