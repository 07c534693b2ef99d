/* What sets the architectures apart: their names, routing, q/k norms, and what each refuses. */
#include "engine/model/arch.h"

#include <cmath>

#include "tests/engine/model/model_harness.h"

namespace {

class Arch : public ToyTest {
protected:
    enum status read(const toy::Model &model)
    {
        make(model, {});
        enum status status = arch_find(checkpoint_, &arch, &error_);
        if (status == STATUS_OK)
            status = hparams_read(checkpoint_, &h, &error_);
        return status == STATUS_OK ? arch->read(checkpoint_, &h, &error_) : status;
    }
    static toy::Model with(const std::string &name, const std::string &key = "",
                           const std::string &json = "")
    {
        toy::Model model;
        model.arch = name;
        if (!key.empty())
            model.config[key] = json;
        return model;
    }
    const struct arch *arch = nullptr;
    struct hparams h = {};
};

TEST_F(Arch, Qwen3Moe)
{
    ASSERT_EQ(read(with("qwen3_moe")), STATUS_OK) << error_.text;
    EXPECT_EQ(arch, &arch_qwen3_moe);
    EXPECT_EQ(h.router.kind, ROUTER_SOFTMAX_NORM);
    EXPECT_EQ(h.qk_norm, QK_NORM_HEAD);
    EXPECT_EQ(h.expert_width, 16u);
    ASSERT_EQ(read(with("qwen3_moe", "norm_topk_prob", "false")), STATUS_OK);
    EXPECT_EQ(h.router.kind, ROUTER_SOFTMAX);
    toy::Model renamed = with("qwen3_moe", "num_experts", "");
    renamed.config["num_local_experts"] = "8";
    ASSERT_EQ(read(renamed), STATUS_OK) << error_.text;
    EXPECT_EQ(h.experts, 8u);
    for (const char *key : {"decoder_sparse_step", "mlp_only_layers", "use_sliding_window"})
        EXPECT_EQ(read(with("qwen3_moe", key, "null")), STATUS_OK) << error_.text;
    EXPECT_EQ(read(with("qwen3_moe", "mlp_only_layers", "[]")), STATUS_OK) << error_.text;
    EXPECT_EQ(read(with("qwen3_moe", "decoder_sparse_step", "1")), STATUS_OK) << error_.text;
}

TEST_F(Arch, Qwen3MoeRefuses)
{
    const struct {
        const char *key, *json;
        enum status status;
    } wrong[] = {
        {"num_experts", "", STATUS_INVALID},
        {"moe_intermediate_size", "\"16\"", STATUS_INVALID},
        {"norm_topk_prob", "", STATUS_INVALID}, /* either value gives fluent text: never guessed */
        {"norm_topk_prob", "1", STATUS_INVALID},
        {"decoder_sparse_step", "2", STATUS_UNSUPPORTED},
        {"decoder_sparse_step", "0", STATUS_UNSUPPORTED},
        {"decoder_sparse_step", "-1", STATUS_INVALID},
        {"mlp_only_layers", "[0]", STATUS_UNSUPPORTED},
        {"mlp_only_layers", "[0, 1, 2]", STATUS_UNSUPPORTED},
        {"mlp_only_layers", "[\"0\"]", STATUS_INVALID},
        {"use_sliding_window", "true", STATUS_UNSUPPORTED},
        {"use_sliding_window", "0", STATUS_INVALID},
    };
    for (const auto &w : wrong) {
        SCOPED_TRACE(std::string(w.key) + ": " + w.json);
        EXPECT_EQ(read(with("qwen3_moe", w.key, w.json)), w.status);
        EXPECT_TRUE(says(w.key));
    }
}

TEST_F(Arch, Olmoe)
{
    ASSERT_EQ(read(with("olmoe")), STATUS_OK) << error_.text;
    EXPECT_EQ(arch, &arch_olmoe);
    EXPECT_EQ(h.router.kind, ROUTER_SOFTMAX);
    EXPECT_EQ(h.qk_norm, QK_NORM_WHOLE);
    ASSERT_EQ(read(with("olmoe", "norm_topk_prob", "true")), STATUS_OK);
    EXPECT_EQ(h.router.kind, ROUTER_SOFTMAX_NORM);
    EXPECT_EQ(read(with("olmoe", "clip_qkv", "null")), STATUS_OK);
    EXPECT_EQ(read(with("olmoe", "clip_qkv", "8.0")), STATUS_UNSUPPORTED);
    EXPECT_TRUE(says("clip_qkv"));
    EXPECT_EQ(read(with("olmoe", "norm_topk_prob", "")), STATUS_INVALID);
    EXPECT_TRUE(says("norm_topk_prob"));
    EXPECT_EQ(read(with("olmoe", "intermediate_size", "")), STATUS_INVALID);
    EXPECT_TRUE(says("intermediate_size"));
}

TEST_F(Arch, Mixtral)
{
    ASSERT_EQ(read(with("mixtral")), STATUS_OK) << error_.text;
    EXPECT_EQ(arch, &arch_mixtral);
    EXPECT_EQ(h.router.kind, ROUTER_TOPK_SOFTMAX);
    EXPECT_EQ(h.qk_norm, QK_NORM_NONE);
    EXPECT_EQ(h.window, 0u);
    ASSERT_EQ(read(with("mixtral", "sliding_window", "5")), STATUS_OK);
    EXPECT_EQ(h.window, 5u);
    EXPECT_EQ(read(with("mixtral", "sliding_window", "null")), STATUS_OK);
    EXPECT_EQ(h.window, 0u);
    EXPECT_EQ(read(with("mixtral", "sliding_window", "0")), STATUS_INVALID);
    EXPECT_TRUE(says("sliding_window"));
    EXPECT_EQ(read(with("mixtral", "num_local_experts", "")), STATUS_INVALID);
    EXPECT_TRUE(says("num_local_experts"));
}

/* Does not renormalise; biases without a key that says so; a shared expert. */
TEST_F(Arch, Qwen2Moe)
{
    ASSERT_EQ(read(with("qwen2_moe")), STATUS_OK) << error_.text;
    EXPECT_EQ(arch, &arch_qwen2_moe);
    EXPECT_EQ(h.router.kind, ROUTER_SOFTMAX);
    EXPECT_EQ(h.qk_norm, QK_NORM_NONE);
    EXPECT_EQ(h.expert_width, 16u);
    EXPECT_EQ(h.shared_width, 24u);
    EXPECT_TRUE(h.attention_bias);
    EXPECT_FALSE(h.output_bias);
    ASSERT_EQ(read(with("qwen2_moe", "norm_topk_prob", "")), STATUS_OK) << error_.text;
    EXPECT_EQ(h.router.kind, ROUTER_SOFTMAX);
    ASSERT_EQ(read(with("qwen2_moe", "norm_topk_prob", "true")), STATUS_OK);
    EXPECT_EQ(h.router.kind, ROUTER_SOFTMAX_NORM);
    ASSERT_EQ(read(with("qwen2_moe", "qkv_bias", "false")), STATUS_OK);
    EXPECT_FALSE(h.attention_bias);
    /* A GGUF's view says what is there. */
    ASSERT_EQ(read(with("qwen2_moe", "attention_bias", "false")), STATUS_OK);
    EXPECT_FALSE(h.attention_bias);
    ASSERT_EQ(read(with("qwen2_moe", "attention_output_bias", "true")), STATUS_OK);
    EXPECT_TRUE(h.output_bias);
    const struct {
        const char *key, *json;
        enum status status;
    } wrong[] = {
        {"shared_expert_intermediate_size", "", STATUS_INVALID},
        {"shared_expert_intermediate_size", "0", STATUS_INVALID},
        {"moe_intermediate_size", "", STATUS_INVALID},
        {"norm_topk_prob", "1", STATUS_INVALID},
        {"qkv_bias", "1", STATUS_INVALID},
        {"decoder_sparse_step", "2", STATUS_UNSUPPORTED},
        {"mlp_only_layers", "[1]", STATUS_UNSUPPORTED},
        {"use_sliding_window", "true", STATUS_UNSUPPORTED},
    };
    for (const auto &w : wrong) {
        SCOPED_TRACE(std::string(w.key) + ": " + w.json);
        EXPECT_EQ(read(with("qwen2_moe", w.key, w.json)), w.status);
        EXPECT_TRUE(says(w.key));
    }
}

/* attention_multiplier stands in the place of 1/sqrt(d), logits are divided. */
TEST_F(Arch, GraniteMoe)
{
    ASSERT_EQ(read(with("granitemoe")), STATUS_OK) << error_.text;
    EXPECT_EQ(arch, &arch_granitemoe);
    EXPECT_EQ(h.router.kind, ROUTER_TOPK_SOFTMAX);
    EXPECT_EQ(h.router.weight_scale, 0.375f);
    EXPECT_EQ(h.qk_norm, QK_NORM_NONE);
    EXPECT_EQ(h.embedding_scale, 12.0f);
    EXPECT_EQ(h.attention_scale, 0.25f);
    EXPECT_EQ(h.residual_scale, 0.375f);
    EXPECT_FLOAT_EQ(h.logits_scale, 1.0f / 6);
    EXPECT_EQ(h.shared_width, 0u);
    EXPECT_FALSE(h.attention_bias);
    for (const char *key : {"embedding_multiplier", "attention_multiplier", "residual_multiplier",
                            "logits_scaling", "num_local_experts", "intermediate_size"})
        for (const char *json : {"", "0", "\"1\""}) {
            SCOPED_TRACE(std::string(key) + ": " + json);
            EXPECT_EQ(read(with("granitemoe", key, json)), STATUS_INVALID);
            EXPECT_TRUE(says(key));
        }
}

/* What the others do not multiply. */
TEST_F(Arch, TheOthersMultiplyNothing)
{
    for (const char *name : {"qwen3_moe", "qwen2_moe", "olmoe", "mixtral"}) {
        ASSERT_EQ(read(with(name)), STATUS_OK) << error_.text;
        EXPECT_EQ(h.embedding_scale, 1.0f);
        EXPECT_EQ(h.residual_scale, 1.0f);
        EXPECT_EQ(h.logits_scale, 1.0f);
        EXPECT_EQ(h.router.weight_scale, 0.0f);
        EXPECT_FLOAT_EQ(h.attention_scale, 1 / std::sqrt(8.0f));
        EXPECT_FALSE(h.rope_interleaved);
    }
}

TEST_F(Arch, OthersAreRefusedByName)
{
    EXPECT_EQ(read(with("llama")), STATUS_UNSUPPORTED);
    EXPECT_TRUE(says("\"llama\""));
    for (const char *known : {"qwen3_moe", "qwen2_moe", "olmoe", "mixtral", "granitemoe"})
        EXPECT_TRUE(says(known));
    EXPECT_EQ(read(with("qwen3_moe", "model_type", "")), STATUS_INVALID);
    EXPECT_TRUE(says("model_type"));
    EXPECT_EQ(read(with("qwen3_moe", "model_type", "3")), STATUS_INVALID);
    EXPECT_TRUE(says("model_type"));
}

} // namespace
