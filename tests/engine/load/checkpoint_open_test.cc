/* Opening GGUF models behind the front door: a file, the first of a split one, the only one of a
 * folder; what is seen of it, and what the errors say. Folders of safetensors:
 * checkpoint_test.cc. */
#include "engine/load/checkpoint.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "engine/load/gguf_value.h"
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
    struct checkpoint *checkpoint = nullptr;
    struct error error = {};
    enum status status;

    explicit Opened(const std::string &path)
    {
        status = checkpoint_open(&checkpoint, path.c_str(), &error);
    }
    ~Opened() { checkpoint_close(checkpoint); }
};

void expect_bad(const std::string &path, enum status status, const std::vector<std::string> &parts)
{
    Opened o(path);
    EXPECT_EQ(o.status, status) << o.error.text;
    EXPECT_EQ(o.checkpoint, nullptr);
    for (const std::string &part : parts)
        EXPECT_TRUE(has(o.error.text, part)) << part << " not in: " << o.error.text;
}

/* What anybody sees of the tiny model of this architecture. */
void expect_model(const struct checkpoint *c, const std::string &model_type)
{
    struct error error = {};
    const struct checkpoint_tensor *t;
    const char *type = "";
    uint32_t layers = 0;
    EXPECT_EQ(checkpoint_string(c, "model_type", true, &type, &error), STATUS_OK) << error.text;
    EXPECT_EQ(type, model_type);
    EXPECT_EQ(checkpoint_u32(c, "num_hidden_layers", true, 1, 9, &layers, &error), STATUS_OK);
    EXPECT_EQ(layers, 2u);
    EXPECT_TRUE(checkpoint_has(c, "head_dim"));
    EXPECT_FALSE(checkpoint_has(c, "rope_scaling.type"));
    EXPECT_EQ(checkpoint_need(c, "model.layers.1.self_attn.k_proj.weight", 16, 32, 0, &t, &error),
              STATUS_OK)
        << error.text;
    EXPECT_EQ(checkpoint_need(c, "model.layers.1.mlp.experts.down_proj.weight", 4, 32, 16, &t,
                              &error),
              STATUS_OK)
        << error.text;
    std::vector<float> values(4 * 32 * 16, 1.0f);
    EXPECT_EQ(checkpoint_read_f32(c, t, values.data(), &error), STATUS_OK) << error.text;
    EXPECT_EQ(values, std::vector<float>(values.size(), 0.0f));
}

TEST(CheckpointOpen, AFileOfEachArchitecture)
{
    scratch::Folder folder;
    const char *const types[] = {"olmoe", "qwen3_moe", "qwen2_moe", "mixtral", "granitemoe"};
    for (int i = 0; i < 5; i++) {
        std::string path = folder.write("m.gguf", model(gguf_bytes::architectures[i]).bytes());
        Opened o(path);
        ASSERT_EQ(o.status, STATUS_OK) << o.error.text;
        EXPECT_EQ(checkpoint_path(o.checkpoint), path);
        ASSERT_EQ(checkpoint_files(o.checkpoint), 1u);
        EXPECT_EQ(checkpoint_file_path(o.checkpoint, 0), path);
        expect_model(o.checkpoint, types[i]);
    }
}

TEST(CheckpointOpen, AFileOfAnotherName)
{
    scratch::Folder folder;
    Opened o(folder.write("sha256-1234", model("olmoe").bytes()));
    EXPECT_EQ(o.status, STATUS_OK) << o.error.text;
    expect_bad(folder.write("m.bin", "PK"), STATUS_UNSUPPORTED, {"m.bin", "GGUF"});
    expect_bad(folder.write("e.gguf", ""), STATUS_INVALID, {"e.gguf"});
}

TEST(CheckpointOpen, AFolderWithOne)
{
    scratch::Folder folder;
    folder.write("README.md", "x");
    folder.write("config.json", "{}"); /* repositories of GGUF files often carry it */
    std::string path = folder.write("m.gguf", model("llama").bytes());
    Opened o(folder.path());
    ASSERT_EQ(o.status, STATUS_OK) << o.error.text;
    EXPECT_EQ(checkpoint_path(o.checkpoint), folder.path());
    EXPECT_EQ(checkpoint_file_path(o.checkpoint, 0), path);
    folder.write("n.gguf", model("llama").bytes());
    expect_bad(folder.path(), STATUS_INVALID, {folder.path(), "several", "m.gguf", "n.gguf"});
}

TEST(CheckpointOpen, SafetensorsWinOverGguf)
{
    scratch::Folder folder;
    folder.write("m.gguf", model("llama").bytes());
    folder.write("model.safetensors", "x");
    expect_bad(folder.path(), STATUS_NOT_FOUND, {"config.json"});
}

/* The tiny model in three parts: metadata alone, then the tensors. */
std::vector<File> parts_of(const std::string &arch)
{
    File whole = model(arch);
    std::vector<File> parts(3);
    parts[0] = whole;
    parts[0].tensors.clear();
    size_t half = whole.tensors.size() / 2;
    parts[1].tensors.assign(whole.tensors.begin(), whole.tensors.begin() + half);
    parts[2].tensors.assign(whole.tensors.begin() + half, whole.tensors.end());
    for (uint16_t i = 0; i < 3; i++)
        parts[i].key("split.no", 2, raw(i)).key("split.count", 2, raw<uint16_t>(3))
            .key("split.tensors.count", 5, raw(static_cast<int32_t>(whole.tensors.size())));
    return parts;
}

std::string part_name(int i)
{
    return "m-0000" + std::to_string(i + 1) + "-of-00003.gguf";
}

TEST(CheckpointOpen, ASplitModel)
{
    scratch::Folder folder;
    std::vector<File> parts = parts_of("qwen2moe");
    for (int i = 0; i < 3; i++)
        folder.write(part_name(i), parts[i].bytes());
    for (const std::string &path : {folder.path(part_name(0)), folder.path()}) {
        Opened o(path);
        ASSERT_EQ(o.status, STATUS_OK) << o.error.text;
        EXPECT_EQ(checkpoint_files(o.checkpoint), 3u);
        expect_model(o.checkpoint, "qwen2_moe");
        EXPECT_EQ(checkpoint_find(o.checkpoint, "model.embed_tokens.weight")->file, 1u);
        EXPECT_EQ(checkpoint_find(o.checkpoint,
                                  "model.layers.1.mlp.shared_expert.up_proj.weight")->file,
                  2u);
    }
    expect_bad(folder.path(part_name(1)), STATUS_INVALID, {"part 2 of 3", part_name(0)});
    folder.remove(part_name(0));
    expect_bad(folder.path(), STATUS_INVALID, {"open the first", part_name(0)});
}

TEST(CheckpointOpen, ATensorInTwoParts)
{
    scratch::Folder folder;
    std::vector<File> parts = parts_of("olmoe");
    parts[1].tensors.pop_back();
    parts[1].zeros(parts[2].tensors[0].name, parts[2].tensors[0].dim);
    for (int i = 0; i < 3; i++)
        folder.write(part_name(i), parts[i].bytes());
    expect_bad(folder.path(), STATUS_INVALID,
               {part_name(2), "\"" + parts[2].tensors[0].name + "\"", "also in", part_name(1)});
}

TEST(CheckpointOpen, ErrorsNameTheTensorAsTheFileDoes)
{
    scratch::Folder folder;
    File f = model("olmoe", {"blk.0.attn_q.weight", "blk.0.attn_k.weight"});
    f.tensor("blk.0.attn_q.weight", {1, 256}, 17, std::string(74, 'x'));
    Opened o(folder.write("m.gguf", f.bytes()));
    ASSERT_EQ(o.status, STATUS_OK) << o.error.text;
    struct {
        const char *name;
        enum status status;
        std::vector<std::string> parts;
    } cases[] = {
        {"model.layers.0.self_attn.q_proj.weight", STATUS_UNSUPPORTED,
         {"m.gguf: ", "\"blk.0.attn_q.weight\"", "IQ2_XS"}},
        {"model.layers.0.self_attn.k_proj.weight", STATUS_NOT_FOUND,
         {"m.gguf: ", "\"model.layers.0.self_attn.k_proj.weight\" is missing"}},
        {"model.layers.0.self_attn.v_proj.weight", STATUS_INVALID,
         {"m.gguf: ", "\"blk.0.attn_v.weight\"", "[16, 32]", "[32, 32]"}},
    };
    for (const auto &t : cases) {
        const struct checkpoint_tensor *tensor;
        struct error error = {};
        EXPECT_EQ(checkpoint_need(o.checkpoint, t.name, 32, 32, 0, &tensor, &error), t.status);
        for (const std::string &part : t.parts)
            EXPECT_TRUE(has(error.text, part)) << part << " not in: " << error.text;
    }
}

TEST(CheckpointOpen, KeysAndMetadata)
{
    scratch::Folder folder;
    Opened o(folder.write("m.gguf",
                          model("olmoe").strings("tokenizer.ggml.tokens", {"a", "b"}).bytes()));
    ASSERT_EQ(o.status, STATUS_OK) << o.error.text;
    char shown[CHECKPOINT_KEY_BYTES];
    EXPECT_STREQ(checkpoint_key_shown(o.checkpoint, "head_dim", shown),
                 "olmoe.attention.key_length");
    EXPECT_STREQ(checkpoint_key_shown(o.checkpoint, "clip_qkv", shown), "clip_qkv");
    const struct gguf *gguf = checkpoint_gguf(o.checkpoint);
    ASSERT_NE(gguf, nullptr);
    EXPECT_EQ(gguf_find(gguf, "tokenizer.ggml.tokens")->count, 2u);
    uint32_t ids[4], count = 9;
    EXPECT_EQ(checkpoint_u32_list(o.checkpoint, "eos_token_id", ids, 4, &count, &o.error),
              STATUS_OK);
    EXPECT_EQ(count, 0u);
    double theta;
    EXPECT_EQ(checkpoint_f64(o.checkpoint, "rope_theta", true, 1, 2, &theta, &o.error),
              STATUS_INVALID);
    EXPECT_TRUE(has(o.error.text, "m.gguf: \"olmoe.rope.freq_base\" is 500000")) << o.error.text;
    bool tied = true;
    EXPECT_EQ(checkpoint_bool(o.checkpoint, "tie_word_embeddings", true, &tied, nullptr),
              STATUS_OK);
    EXPECT_FALSE(tied);
}

} // namespace
