#include "engine/model/hparams.h"

#include "tests/engine/model/model_harness.h"

namespace {

struct Wrong {
    const char *key;
    const char *json; /* "": the key is left out */
    enum status status;
};

class Hparams : public ToyTest {
protected:
    enum status read(const toy::Model &model)
    {
        make(model, {});
        return hparams_read(checkpoint_, &h, &error_);
    }
    enum status read(const std::string &key, const std::string &json)
    {
        toy::Model model;
        model.config[key] = json;
        return read(model);
    }
    struct hparams h = {};
};

TEST_F(Hparams, ReadsWhatTheFileSays)
{
    toy::Model model;
    model.bias = model.tied = true;
    model.config["rms_norm_eps"] = "0.0003";
    model.config["rope_theta"] = "1000000";
    ASSERT_EQ(read(model), STATUS_OK) << error_.text;
    EXPECT_EQ(h.layers, model.layers);
    EXPECT_EQ(h.hidden, model.hidden);
    EXPECT_EQ(h.heads, model.heads);
    EXPECT_EQ(h.kv_heads, model.kv_heads);
    EXPECT_EQ(h.head_dim, model.head_dim);
    EXPECT_EQ(h.vocab, model.vocab);
    EXPECT_EQ(h.context, model.context);
    EXPECT_EQ(h.norm_eps, 0.0003f);
    EXPECT_EQ(h.rope_theta, 1e6);
    EXPECT_TRUE(h.tied_head);
    EXPECT_TRUE(h.attention_bias);
    EXPECT_TRUE(h.output_bias);
    model.config["attention_output_bias"] = "false";
    model.config["rope_interleaved"] = "true";
    ASSERT_EQ(read(model), STATUS_OK) << error_.text;
    EXPECT_TRUE(h.attention_bias);
    EXPECT_FALSE(h.output_bias);
    EXPECT_TRUE(h.rope_interleaved);
}

TEST_F(Hparams, WhatMayBeAbsent)
{
    toy::Model model;
    for (const char *key :
         {"num_key_value_heads", "head_dim", "tie_word_embeddings", "attention_bias"})
        model.config[key] = "";
    ASSERT_EQ(read(model), STATUS_OK) << error_.text;
    EXPECT_EQ(h.kv_heads, h.heads);
    EXPECT_EQ(h.head_dim, h.hidden / h.heads);
    EXPECT_FALSE(h.tied_head);
    EXPECT_FALSE(h.attention_bias);
    for (auto &change : model.config)
        change.second = "null"; /* the same as absent */
    EXPECT_EQ(read(model), STATUS_OK) << error_.text;
}

/* rope_theta has moved into rope_parameters in newer files; a default type may be spelled out. */
TEST_F(Hparams, RopeInItsTwoPlaces)
{
    toy::Model model;
    model.config["rope_theta"] = "";
    model.config["rope_parameters"] = "{\"rope_theta\": 5000.0, \"rope_type\": \"default\"}";
    ASSERT_EQ(read(model), STATUS_OK) << error_.text;
    EXPECT_EQ(h.rope_theta, 5000);
    ASSERT_EQ(read("rope_scaling", "null"), STATUS_OK) << error_.text;
    ASSERT_EQ(read("rope_scaling", "{\"type\": \"default\"}"), STATUS_OK) << error_.text;
    EXPECT_EQ(read("rope_scaling", "{\"type\": \"linear\", \"factor\": 2}"), STATUS_UNSUPPORTED);
    EXPECT_TRUE(says("rope_scaling.type \"linear\""));
    EXPECT_EQ(read("rope_scaling", "{\"rope_type\": \"yarn\"}"), STATUS_UNSUPPORTED);
    EXPECT_TRUE(says("rope_scaling.rope_type \"yarn\""));
    EXPECT_EQ(read("rope_parameters", "{\"rope_type\": \"llama3\", \"rope_theta\": 1e4}"),
              STATUS_UNSUPPORTED);
    EXPECT_TRUE(says("rope_parameters.rope_type \"llama3\""));
    EXPECT_EQ(read("rope_scaling", "{\"factor\": 2}"), STATUS_UNSUPPORTED);
    EXPECT_TRUE(says("rope_scaling without a rope_type"));
    EXPECT_EQ(read("rope_scaling", "7"), STATUS_INVALID);
    EXPECT_TRUE(says("rope_scaling"));
    EXPECT_EQ(read("rope_theta", ""), STATUS_INVALID);
    EXPECT_TRUE(says("rope_theta"));
}

TEST_F(Hparams, EveryFieldIsCheckedAndNamed)
{
    const Wrong wrong[] = {
        {"num_hidden_layers", "", STATUS_INVALID},
        {"num_hidden_layers", "0", STATUS_INVALID},
        {"num_hidden_layers", "-1", STATUS_INVALID},
        {"num_hidden_layers", "1025", STATUS_INVALID},
        {"num_hidden_layers", "3.0", STATUS_INVALID},
        {"num_hidden_layers", "\"3\"", STATUS_INVALID},
        {"hidden_size", "null", STATUS_INVALID},
        {"hidden_size", "0", STATUS_INVALID},
        {"hidden_size", "1048577", STATUS_INVALID},
        {"vocab_size", "", STATUS_INVALID},
        {"vocab_size", "[96]", STATUS_INVALID},
        {"vocab_size", "99999999", STATUS_INVALID},
        {"max_position_embeddings", "", STATUS_INVALID},
        {"max_position_embeddings", "0", STATUS_INVALID},
        {"rms_norm_eps", "", STATUS_INVALID},
        {"rms_norm_eps", "0", STATUS_INVALID},
        {"rms_norm_eps", "-1e-6", STATUS_INVALID},
        {"rms_norm_eps", "2", STATUS_INVALID},
        {"num_attention_heads", "", STATUS_INVALID},
        {"num_attention_heads", "0", STATUS_INVALID},
        {"num_attention_heads", "3", STATUS_INVALID},  /* no multiple of 2 kv heads */
        {"num_key_value_heads", "0", STATUS_INVALID},
        {"num_key_value_heads", "3", STATUS_INVALID},
        {"num_key_value_heads", "8", STATUS_INVALID},
        {"head_dim", "0", STATUS_INVALID},
        {"head_dim", "7", STATUS_INVALID},             /* RoPE turns pairs */
        {"head_dim", "2048", STATUS_INVALID},
        {"rope_theta", "0", STATUS_INVALID},
        {"rope_theta", "true", STATUS_INVALID},
        {"hidden_act", "", STATUS_INVALID},
        {"hidden_act", "\"gelu\"", STATUS_UNSUPPORTED},
        {"tie_word_embeddings", "1", STATUS_INVALID},
        {"attention_bias", "\"no\"", STATUS_INVALID},
    };
    for (const Wrong &w : wrong) {
        SCOPED_TRACE(std::string(w.key) + ": " + w.json);
        EXPECT_EQ(read(w.key, w.json), w.status);
        EXPECT_TRUE(says(w.key));
        EXPECT_TRUE(says("config.json"));
    }
}

TEST_F(Hparams, OddHeadsByDivision)
{
    toy::Model model;
    model.hidden = 36;
    model.config["head_dim"] = "";
    EXPECT_EQ(read(model), STATUS_INVALID); /* 36 / 4 = 9 */
    EXPECT_TRUE(says("head_dim 9"));
}

TEST_F(Hparams, Experts)
{
    toy::Model model;
    auto experts = [&](const std::string &key, const std::string &json) {
        toy::Model m = model;
        m.config[key] = json;
        EXPECT_EQ(read(m), STATUS_OK) << error_.text;
        return hparams_read_experts(checkpoint_, "num_experts", "moe_intermediate_size", &h,
                                    &error_);
    };
    ASSERT_EQ(experts("unrelated", "1"), STATUS_OK);
    EXPECT_EQ(h.experts, 8u);
    EXPECT_EQ(h.router.experts, 8u);
    EXPECT_EQ(h.router.top_k, 2u);
    EXPECT_EQ(h.expert_width, 16u);
    ASSERT_EQ(experts("num_experts_per_tok", "8"), STATUS_OK);
    const Wrong wrong[] = {
        {"num_experts", "", STATUS_INVALID},          {"num_experts", "0", STATUS_INVALID},
        {"num_experts", "99999", STATUS_INVALID},     {"moe_intermediate_size", "", STATUS_INVALID},
        {"moe_intermediate_size", "0", STATUS_INVALID}, {"num_experts_per_tok", "", STATUS_INVALID},
        {"num_experts_per_tok", "0", STATUS_INVALID}, {"num_experts_per_tok", "9", STATUS_INVALID},
    };
    for (const Wrong &w : wrong) {
        SCOPED_TRACE(std::string(w.key) + ": " + w.json);
        EXPECT_EQ(experts(w.key, w.json), w.status);
        EXPECT_TRUE(says(w.key));
    }
}

} // namespace
