/* Answers by key: ranges, types and how errors name the key of the file. */
#include "engine/load/gguf_settings.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/engine/load/gguf_model.h"
#include "tests/support/scratch.h"

namespace {

class GgufSettings : public testing::Test
{
  protected:
    void SetUp() override
    {
        gguf_bytes::File file = gguf_bytes::model("olmoe");
        file.u32("tokenizer.ggml.eos_token_id", 3).u32("tokenizer.ggml.eot_token_id", 5);
        std::string path = folder_.write("m.gguf", file.bytes());
        ASSERT_EQ(gguf_split_open(&split_, path.c_str(), &error_), STATUS_OK) << error_.text;
        ASSERT_EQ(gguf_settings_open(&s_, split_, &arch_, &error_), STATUS_OK) << error_.text;
    }
    void TearDown() override
    {
        gguf_settings_close(s_);
        gguf_split_close(split_);
    }
    void expect(enum status want, enum status got, const std::string &part)
    {
        EXPECT_EQ(got, want) << error_.text;
        EXPECT_NE(std::string(error_.text).find("m.gguf: " + part),
                  std::string::npos) << error_.text;
        error_ = {};
    }
    scratch::Folder folder_;
    struct gguf_split *split_ = nullptr;
    struct gguf_settings *s_ = nullptr;
    const struct gguf_arch *arch_ = nullptr;
    struct error error_ = {};
};

TEST_F(GgufSettings, RangesNameTheOwnKey)
{
    uint32_t n = 7;
    double d = 7;
    expect(STATUS_INVALID, gguf_settings_u32(s_, "num_experts", true, 1, 3, &n, &error_),
           "\"olmoe.expert_count\" is 4, must be within [1, 3]");
    expect(STATUS_INVALID, gguf_settings_f64(s_, "rope_theta", true, 0, 1, &d, &error_),
           "\"olmoe.rope.freq_base\" is 500000, must be within [0, 1]");
    expect(STATUS_INVALID, gguf_settings_u32(s_, "intermediate_size", true, 1, 3, &n, &error_),
           "\"blk.0.ffn_down_exps.weight\" is 16");
    EXPECT_EQ(n, 7u);
    EXPECT_EQ(d, 7);
    EXPECT_EQ(gguf_settings_f64(s_, "num_experts", true, 0, 9, &d, &error_), STATUS_OK);
    EXPECT_EQ(d, 4);
}

TEST_F(GgufSettings, TypesAndAbsence)
{
    uint32_t n = 0, count = 9;
    bool b = false;
    const char *text = nullptr;
    expect(STATUS_INVALID, gguf_settings_u32(s_, "model_type", true, 0, 9, &n, &error_),
           "\"general.architecture\", which stands for \"model_type\", is not an integer");
    expect(STATUS_INVALID, gguf_settings_bool(s_, "num_experts", true, &b, &error_),
           "\"olmoe.expert_count\"");
    expect(STATUS_INVALID, gguf_settings_string(s_, "num_experts", true, &text, &error_),
           "\"olmoe.expert_count\"");
    expect(STATUS_INVALID, gguf_settings_u32(s_, "clip_qkv", true, 0, 9, &n, &error_),
           "nothing in it stands for \"clip_qkv\"");
    EXPECT_EQ(gguf_settings_u32(s_, "clip_qkv", false, 0, 9, &n, &error_), STATUS_NOT_FOUND);
    EXPECT_EQ(gguf_settings_u32_list(s_, "mlp_only_layers", &n, 1, &count, &error_), STATUS_OK);
    EXPECT_EQ(count, 0u);
    EXPECT_STREQ(error_.text, "");
    EXPECT_FALSE(gguf_settings_has(s_, "clip_qkv"));
    EXPECT_TRUE(gguf_settings_has(s_, "head_dim"));
}

TEST_F(GgufSettings, Lists)
{
    uint32_t ids[2], count;
    ASSERT_EQ(gguf_settings_u32_list(s_, "eos_token_id", ids, 2, &count, &error_), STATUS_OK);
    ASSERT_EQ(count, 2u);
    EXPECT_EQ(ids[0], 3u);
    EXPECT_EQ(ids[1], 5u);
    expect(STATUS_INVALID, gguf_settings_u32_list(s_, "eos_token_id", ids, 1, &count, &error_),
           "\"tokenizer.ggml.eos_token_id\" has 2 values");
    expect(STATUS_INVALID, gguf_settings_u32(s_, "eos_token_id", true, 0, 9, ids, &error_),
           "\"tokenizer.ggml.eos_token_id\" is 2 numbers");
    expect(STATUS_INVALID, gguf_settings_u32_list(s_, "model_type", ids, 1, &count, &error_),
           "\"general.architecture\"");
}

TEST_F(GgufSettings, OwnKeys)
{
    EXPECT_STREQ(gguf_settings_own_key(s_, "head_dim"), "olmoe.attention.key_length");
    EXPECT_STREQ(gguf_settings_own_key(s_, "vocab_size"), "token_embd.weight");
    EXPECT_EQ(gguf_settings_own_key(s_, "absent"), nullptr);
}

} // namespace
