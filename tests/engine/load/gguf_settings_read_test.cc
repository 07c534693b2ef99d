/* What is read out of a file's keys: every setting of every architecture, each default, and by name
 * each thing that would have changed the computation. */
#include "engine/load/gguf_settings.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "tests/engine/load/gguf_model.h"
#include "tests/support/scratch.h"

namespace {

using gguf_bytes::File;
using gguf_bytes::model;
using gguf_bytes::raw;

bool has(const std::string &all, const std::string &part)
{
    return all.find(part) != std::string::npos;
}

struct Opened {
    scratch::Folder folder;
    struct gguf_split *split = nullptr;
    struct gguf_settings *settings = nullptr;
    const struct gguf_arch *arch = nullptr;
    struct error error = {};
    enum status status;

    explicit Opened(const File &file)
    {
        std::string path = folder.write("m.gguf", file.bytes());
        status = gguf_split_open(&split, path.c_str(), &error);
        if (status == STATUS_OK)
            status = gguf_settings_open(&settings, split, &arch, &error);
    }
    ~Opened()
    {
        gguf_settings_close(settings);
        gguf_split_close(split);
    }
    uint32_t u32(const char *key)
    {
        uint32_t n = 0;
        EXPECT_EQ(gguf_settings_u32(settings, key, true, 0, UINT32_MAX, &n, &error), STATUS_OK)
            << error.text;
        return n;
    }
    double f64(const char *key)
    {
        double n = 0;
        EXPECT_EQ(gguf_settings_f64(settings, key, true, -1e9, 1e9, &n, &error), STATUS_OK)
            << error.text;
        return n;
    }
    bool boolean(const char *key)
    {
        bool n = false;
        EXPECT_EQ(gguf_settings_bool(settings, key, true, &n, &error), STATUS_OK) << error.text;
        return n;
    }
    std::string string(const char *key)
    {
        const char *text = "";
        EXPECT_EQ(gguf_settings_string(settings, key, true, &text, &error),
                  STATUS_OK) << error.text;
        return text;
    }
    bool has_key(const char *key) { return gguf_settings_has(settings, key); }
    std::vector<uint32_t> list(const char *key)
    {
        uint32_t ids[8], count = 0;
        EXPECT_EQ(gguf_settings_u32_list(settings, key, ids, 8, &count, &error), STATUS_OK);
        return {ids, ids + count};
    }
};

void expect_refused(const File &file, enum status status, const std::vector<std::string> &parts)
{
    Opened o(file);
    EXPECT_EQ(o.status, status) << o.error.text;
    EXPECT_EQ(o.settings, nullptr);
    EXPECT_TRUE(has(o.error.text, "m.gguf: ")) << o.error.text;
    for (const std::string &part : parts)
        EXPECT_TRUE(has(o.error.text, part)) << part << " not in: " << o.error.text;
}

TEST(GgufSettingsRead, WhatAllHave)
{
    for (const char *arch : gguf_bytes::architectures) {
        Opened o(model(arch));
        ASSERT_EQ(o.status, STATUS_OK) << o.error.text;
        EXPECT_EQ(o.string("model_type"), o.arch->model_type);
        EXPECT_EQ(o.string("hidden_act"), "silu");
        EXPECT_EQ(o.u32("num_hidden_layers"), 2u);
        EXPECT_EQ(o.u32("hidden_size"), 32u);
        EXPECT_EQ(o.u32("num_attention_heads"), 4u);
        EXPECT_EQ(o.u32("num_key_value_heads"), 2u);
        EXPECT_EQ(o.u32("head_dim"), 8u);
        EXPECT_EQ(o.u32("vocab_size"), 40u);
        EXPECT_EQ(o.u32("max_position_embeddings"), 64u);
        EXPECT_EQ(o.f64("rms_norm_eps"), static_cast<double>(1e-5f));
        EXPECT_EQ(o.f64("rope_theta"), 500000);
        EXPECT_EQ(o.u32("num_experts"), 4u);
        EXPECT_EQ(o.u32("num_local_experts"), 4u);
        EXPECT_EQ(o.u32("num_experts_per_tok"), 2u);
        EXPECT_EQ(o.u32(o.arch->width_key), 16u);
        EXPECT_EQ(o.boolean("rope_interleaved"), o.arch->interleaved) << arch;
        EXPECT_EQ(o.boolean("norm_topk_prob"), o.arch->normalised) << arch;
        EXPECT_FALSE(o.boolean("tie_word_embeddings"));
        EXPECT_EQ(o.boolean("attention_bias"), std::string(arch) == "qwen2moe");
        EXPECT_FALSE(o.boolean("attention_output_bias"));
        EXPECT_FALSE(o.has_key("sliding_window"));
        EXPECT_FALSE(o.has_key("rope_scaling"));
        EXPECT_TRUE(o.list("eos_token_id").empty());
    }
}

TEST(GgufSettingsRead, WidthsOfExperts)
{
    for (const char *arch : {"qwen3moe", "qwen2moe"})
        EXPECT_EQ(Opened(model(arch)).u32("moe_intermediate_size"), 16u);
    for (const char *arch : {"olmoe", "llama", "granitemoe"})
        EXPECT_EQ(Opened(model(arch)).u32("intermediate_size"), 16u);
    File said = model("qwen3moe");
    said.u32("qwen3moe.expert_feed_forward_length", 48);
    EXPECT_EQ(Opened(said).u32("moe_intermediate_size"), 48u);
    File old = model("llama", {"blk.0.ffn_down_exps.weight"});
    old.zeros("blk.0.ffn_down.0.weight", {32, 20});
    EXPECT_EQ(Opened(old).u32("intermediate_size"), 20u);
    expect_refused(model("olmoe", {"blk.0.ffn_down_exps.weight"}), STATUS_INVALID,
                   {"\"blk.0.ffn_down_exps.weight\" is missing"});
    EXPECT_EQ(Opened(model("qwen2moe")).u32("shared_expert_intermediate_size"), 24u);
}

TEST(GgufSettingsRead, WhatMayBeLeftOut)
{
    Opened o(model("olmoe", {"attention.head_count_kv", "rope.freq_base", "output.weight"}));
    ASSERT_EQ(o.status, STATUS_OK) << o.error.text;
    EXPECT_EQ(o.u32("num_key_value_heads"), 4u);
    EXPECT_EQ(o.f64("rope_theta"), 10000);
    EXPECT_TRUE(o.boolean("tie_word_embeddings"));
}

TEST(GgufSettingsRead, WhatMayNot)
{
    for (const char *key : {"block_count", "embedding_length", "context_length",
                            "attention.head_count",
                            "expert_used_count", "attention.layer_norm_rms_epsilon"})
        for (const char *arch : gguf_bytes::architectures)
            expect_refused(model(arch, {key}), STATUS_INVALID,
                           {"\"" + std::string(arch) + "." + key + "\" is missing"});
    expect_refused(model("granitemoe", {"logit_scale"}), STATUS_INVALID,
                   {"granitemoe.logit_scale"});
    expect_refused(model("olmoe", {"token_embd.weight"}), STATUS_INVALID, {"token_embd.weight"});
    expect_refused(model("llama", {"expert_count"}), STATUS_UNSUPPORTED,
                   {"llama.expert_count", "without experts"});
    File dense = model("llama", {"expert_count"});
    expect_refused(dense.u32("llama.expert_count", 0), STATUS_UNSUPPORTED, {"without experts"});
}

TEST(GgufSettingsRead, OtherArchitectures)
{
    expect_refused(File().string("general.architecture", "deepseek2"), STATUS_UNSUPPORTED,
                   {"general.architecture", "\"deepseek2\"", "olmoe, qwen3moe"});
    expect_refused(File(), STATUS_INVALID, {"\"general.architecture\" is missing"});
    expect_refused(File().u32("general.architecture", 1), STATUS_INVALID,
                   {"is 1, must be a string"});
}

TEST(GgufSettingsRead, NumbersForEachLayer)
{
    Opened same(model("llama", {"attention.head_count_kv"})
                    .u32s("llama.attention.head_count_kv", {2, 2}));
    ASSERT_EQ(same.status, STATUS_OK) << same.error.text;
    EXPECT_EQ(same.u32("num_key_value_heads"), 2u);
    expect_refused(model("llama", {"attention.head_count_kv"})
                       .u32s("llama.attention.head_count_kv", {2, 4}),
                   STATUS_UNSUPPORTED, {"llama.attention.head_count_kv", "layers that differ"});
}

TEST(GgufSettingsRead, HeadsAndRope)
{
    Opened o(model("qwen3moe").u32("qwen3moe.attention.key_length", 16)
                 .u32("qwen3moe.attention.value_length", 16)
                 .u32("qwen3moe.rope.dimension_count", 16));
    ASSERT_EQ(o.status, STATUS_OK) << o.error.text;
    EXPECT_EQ(o.u32("head_dim"), 16u);
    expect_refused(model("qwen3moe").u32("qwen3moe.attention.value_length", 16), STATUS_UNSUPPORTED,
                   {"qwen3moe.attention.value_length", "is 16"});
    expect_refused(model("qwen3moe").u32("qwen3moe.rope.dimension_count", 4), STATUS_UNSUPPORTED,
                   {"qwen3moe.rope.dimension_count", "is 4"});
    for (const char *fine : {"none", "linear"})
        EXPECT_EQ(Opened(model("olmoe").string("olmoe.rope.scaling.type", fine)).status, STATUS_OK);
    expect_refused(model("olmoe").string("olmoe.rope.scaling.type", "yarn"), STATUS_UNSUPPORTED,
                   {"olmoe.rope.scaling.type", "\"yarn\""});
    expect_refused(model("olmoe").f32("olmoe.rope.scaling.factor", 4), STATUS_UNSUPPORTED,
                   {"olmoe.rope.scaling.factor", "is 4"});
    expect_refused(model("olmoe").f32("olmoe.rope.scale_linear", 2), STATUS_UNSUPPORTED,
                   {"olmoe.rope.scale_linear"});
    expect_refused(model("granitemoe").boolean("granitemoe.rope.scaling.finetuned", false),
                   STATUS_UNSUPPORTED, {"granitemoe.rope.scaling.finetuned", "is false"});
}

TEST(GgufSettingsRead, Routing)
{
    EXPECT_TRUE(Opened(model("olmoe").boolean("olmoe.expert_weights_norm", true))
                    .boolean("norm_topk_prob"));
    EXPECT_FALSE(Opened(model("qwen3moe").boolean("qwen3moe.expert_weights_norm", false))
                     .boolean("norm_topk_prob"));
    expect_refused(model("llama").boolean("llama.expert_weights_norm", false), STATUS_UNSUPPORTED,
                   {"llama.expert_weights_norm"});
    EXPECT_EQ(Opened(model("olmoe").u32("olmoe.expert_gating_func", 1)).status, STATUS_OK);
    EXPECT_EQ(Opened(model("llama").u32("llama.expert_gating_func", 3)).status, STATUS_OK);
    expect_refused(model("olmoe").u32("olmoe.expert_gating_func", 3), STATUS_UNSUPPORTED,
                   {"olmoe.expert_gating_func", "is 3"});
    expect_refused(model("qwen3moe").u32("qwen3moe.expert_gating_func", 2), STATUS_UNSUPPORTED,
                   {"qwen3moe.expert_gating_func", "is 2"});
    EXPECT_EQ(Opened(model("olmoe").f32("olmoe.expert_weights_scale", 1)).status, STATUS_OK);
    expect_refused(model("olmoe").f32("olmoe.expert_weights_scale", 2.5f), STATUS_UNSUPPORTED,
                   {"olmoe.expert_weights_scale", "2.5"});
    expect_refused(model("olmoe").u32("olmoe.expert_group_count", 8), STATUS_UNSUPPORTED,
                   {"olmoe.expert_group_count"});
    expect_refused(model("granitemoe").u32("granitemoe.expert_shared_feed_forward_length", 64),
                   STATUS_UNSUPPORTED, {"granitemoe.expert_shared_feed_forward_length"});
}

TEST(GgufSettingsRead, Multipliers)
{
    Opened o(model("granitemoe"));
    EXPECT_EQ(o.f64("embedding_multiplier"), 12);
    EXPECT_EQ(o.f64("residual_multiplier"), 0.5);
    EXPECT_EQ(o.f64("attention_multiplier"), 0.25);
    EXPECT_EQ(o.f64("logits_scaling"), 6);
    Opened without(model("granitemoe", {"embedding_scale", "residual_scale", "attention.scale"}));
    EXPECT_EQ(without.f64("embedding_multiplier"), 1);
    EXPECT_EQ(without.f64("residual_multiplier"), 1);
    EXPECT_EQ(without.f64("attention_multiplier"), 1 / std::sqrt(8.0));
    expect_refused(model("granitemoe", {"logit_scale"}).f32("granitemoe.logit_scale", 0),
                   STATUS_UNSUPPORTED, {"granitemoe.logit_scale", "is 0"});
    EXPECT_FALSE(Opened(model("olmoe")).has_key("logits_scaling"));
    for (const char *key : {"logit_scale", "embedding_scale", "residual_scale", "attention.scale"})
        expect_refused(model("llama").f32("llama." + std::string(key), 0.5f), STATUS_UNSUPPORTED,
                       {"llama." + std::string(key), "0.5"});
}

TEST(GgufSettingsRead, WhatMustBeNeutral)
{
    for (const char *key : {"attention.clamp_kqv", "attention.max_alibi_bias",
                            "attn_logit_softcapping",
                            "router_logit_softcapping", "final_logit_softcapping"}) {
        EXPECT_EQ(Opened(model("olmoe").f32("olmoe." + std::string(key), 0)).status, STATUS_OK);
        expect_refused(model("olmoe").f32("olmoe." + std::string(key), 30), STATUS_UNSUPPORTED,
                       {"olmoe." + std::string(key), "is 30"});
    }
    expect_refused(model("olmoe").boolean("olmoe.attention.causal", false), STATUS_UNSUPPORTED,
                   {"olmoe.attention.causal"});
    expect_refused(model("olmoe").u32("olmoe.leading_dense_block_count", 1), STATUS_UNSUPPORTED,
                   {"olmoe.leading_dense_block_count"});
    expect_refused(model("olmoe").string("olmoe.hidden_activation", "gelu"), STATUS_UNSUPPORTED,
                   {"olmoe.hidden_activation", "\"gelu\""});
}

TEST(GgufSettingsRead, Windows)
{
    EXPECT_EQ(Opened(model("llama").u32("llama.attention.sliding_window", 16))
                  .u32("sliding_window"),
              16u);
    EXPECT_FALSE(Opened(model("llama").u32("llama.attention.sliding_window", 0))
                     .has_key("sliding_window"));
    EXPECT_EQ(Opened(model("qwen2moe").u32("qwen2moe.attention.sliding_window", 64)).status,
              STATUS_OK);
    expect_refused(model("qwen2moe").u32("qwen2moe.attention.sliding_window", 16),
                   STATUS_UNSUPPORTED,
                   {"qwen2moe.attention.sliding_window", "is 16"});
}

TEST(GgufSettingsRead, Tokens)
{
    Opened o(model("olmoe").u32("tokenizer.ggml.bos_token_id", 1)
                 .u32("tokenizer.ggml.eos_token_id", 2).u32("tokenizer.ggml.eot_token_id", 3)
                 .u32("tokenizer.ggml.eom_token_id", 2));
    ASSERT_EQ(o.status, STATUS_OK) << o.error.text;
    EXPECT_EQ(o.list("bos_token_id"), std::vector<uint32_t>{1});
    EXPECT_EQ(o.list("eos_token_id"), (std::vector<uint32_t>{2, 3}));
    Opened none(model("olmoe").u32("tokenizer.ggml.eos_token_id", UINT32_MAX)
                    .key("tokenizer.ggml.eot_token_id", 5, raw<int32_t>(-1)));
    ASSERT_EQ(none.status, STATUS_OK) << none.error.text;
    EXPECT_TRUE(none.list("eos_token_id").empty());
    File named = model("qwen3moe").u32("tokenizer.ggml.eos_token_id", 2);
    named.strings("tokenizer.ggml.tokens", {"a", "<|endoftext|>", "<|im_end|>", "<|im_end|>"});
    named.array("tokenizer.ggml.token_type", 5, 4,
                raw<int32_t>(1) + raw<int32_t>(3) + raw<int32_t>(3) + raw<int32_t>(1));
    EXPECT_EQ(Opened(named).list("eos_token_id"), (std::vector<uint32_t>{2, 1}));
    expect_refused(model("olmoe").u32("tokenizer.ggml.eos_token_id", 40), STATUS_INVALID,
                   {"tokenizer.ggml.eos_token_id", "is 40", "40 tokens"});
    expect_refused(model("olmoe").u32s("tokenizer.ggml.eos_token_id", {}), STATUS_INVALID,
                   {"tokenizer.ggml.eos_token_id"});
}

} // namespace
