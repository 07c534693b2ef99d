/* Folders good and bad: single and sharded files, what the view shows of them, what it reads, and
 * the sentence for everything that can be wrong with a folder. */
#include "engine/load/checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/safetensors_writer.h"

namespace {

using test_support::bytes_of;
using test_support::safetensors_file;
using test_support::safetensors_index;
using test_support::ScratchFolder;
using test_support::TensorToWrite;

constexpr char kConfig[] = R"({"model_type": "qwen3_moe", "hidden_size": 64, "eps": 1e-6,
    "tie_word_embeddings": true, "eos_token_id": 7, "pad_token_id": null,
    "rope_parameters": {"rope_theta": 10000.0}})";

bool has(const std::string &text, const std::string &part)
{
    return text.find(part) != std::string::npos;
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
    std::string text() const { return error.text; }
};

TensorToWrite f32_tensor(const std::string &name, std::vector<uint64_t> shape, float first)
{
    size_t n = 1;
    for (uint64_t dim : shape)
        n *= dim;
    std::vector<float> values(n);
    for (size_t i = 0; i < n; i++)
        values[i] = first + static_cast<float>(i);
    return {name, "F32", std::move(shape), bytes_of(values)};
}

void expect_bad(const ScratchFolder &folder, enum status status,
                const std::vector<std::string> &parts)
{
    Opened opened(folder.path());
    EXPECT_EQ(opened.status, status) << opened.text();
    EXPECT_EQ(opened.checkpoint, nullptr);
    EXPECT_TRUE(has(opened.text(), folder.path())) << opened.text();
    for (const std::string &part : parts)
        EXPECT_TRUE(has(opened.text(), part)) << part << " not in: " << opened.text();
}

TEST(Checkpoint, OpensASingleFile)
{
    ScratchFolder folder;
    folder.write("config.json", kConfig);
    folder.write("model.safetensors",
                 safetensors_file({f32_tensor("norm", {3}, 1),
                                   {"position_ids", "I64", {1, 2}, std::string(16, 'x')},
                                   f32_tensor("w", {2, 3}, 10),
                                   f32_tensor("conv", {1, 1, 1, 1, 2}, 0)}));
    Opened o(folder.path());
    ASSERT_EQ(o.status, STATUS_OK) << o.text();
    EXPECT_EQ(std::string(checkpoint_path(o.checkpoint)), folder.path());
    ASSERT_EQ(checkpoint_files(o.checkpoint), 1u);
    EXPECT_EQ(std::string(checkpoint_file_path(o.checkpoint, 0)), folder.file("model.safetensors"));
    ASSERT_EQ(checkpoint_tensors(o.checkpoint), 2u);
    EXPECT_STREQ(checkpoint_tensor(o.checkpoint, 0)->name, "norm");
    EXPECT_STREQ(checkpoint_tensor(o.checkpoint, 1)->name, "w");
    EXPECT_EQ(checkpoint_find(o.checkpoint, "w"), checkpoint_tensor(o.checkpoint, 1));
    EXPECT_EQ(checkpoint_find(o.checkpoint, "v"), nullptr);
    EXPECT_EQ(checkpoint_find(o.checkpoint, ""), nullptr);
    EXPECT_EQ(checkpoint_find(o.checkpoint, "position_ids"), nullptr);

    float values[6];
    const struct checkpoint_tensor *w;
    ASSERT_EQ(checkpoint_need(o.checkpoint, "w", 2, 3, 0, &w, &o.error), STATUS_OK) << o.text();
    ASSERT_EQ(checkpoint_read_f32(o.checkpoint, w, values, &o.error), STATUS_OK) << o.text();
    for (int i = 0; i < 6; i++)
        EXPECT_EQ(values[i], 10.0f + static_cast<float>(i));
}

TEST(Checkpoint, NeedNamesTensorTypeAndBothShapes)
{
    ScratchFolder folder;
    folder.write("config.json", kConfig);
    folder.write("model.safetensors",
                 safetensors_file({f32_tensor("w", {2, 3}, 10),
                                   {"scaled", "F8_E4M3", {4}, "xxxx"},
                                   f32_tensor("conv", {1, 1, 1, 1, 2}, 0)}));
    Opened o(folder.path());
    ASSERT_EQ(o.status, STATUS_OK) << o.text();
    struct Case {
        const char *name;
        uint64_t dim[3];
        enum status status;
        std::vector<const char *> parts;
    };
    for (const Case &t : std::vector<Case>{
             {"w", {3, 2, 0}, STATUS_INVALID, {"\"w\"", "[2, 3]", "[3, 2]"}},
             {"w", {2, 0, 0}, STATUS_INVALID, {"\"w\"", "[2, 3]", "must be [2]"}},
             {"w", {6, 0, 0}, STATUS_INVALID, {"\"w\"", "must be [6]"}},
             {"w", {2, 3, 1}, STATUS_INVALID, {"\"w\"", "[2, 3, 1]"}},
             {"missing.weight", {2, 3, 0}, STATUS_NOT_FOUND, {"\"missing.weight\" is missing"}},
             {"scaled", {4, 0, 0}, STATUS_UNSUPPORTED, {"\"scaled\"", "F8_E4M3"}},
             {"conv", {1, 1, 2}, STATUS_UNSUPPORTED, {"\"conv\"", "5 dimensions"}},
         }) {
        const struct checkpoint_tensor *tensor = checkpoint_tensor(o.checkpoint, 0);
        struct error error = {};
        EXPECT_EQ(checkpoint_need(o.checkpoint, t.name, t.dim[0], t.dim[1], t.dim[2], &tensor,
                                  &error),
                  t.status)
            << t.name;
        EXPECT_EQ(tensor, nullptr);
        EXPECT_TRUE(has(error.text, folder.path())) << error.text;
        for (const char *part : t.parts)
            EXPECT_TRUE(has(error.text, part)) << part << " not in: " << error.text;
    }
}

TEST(Checkpoint, DecodesHalfPrecisionInChunks)
{
    const size_t n = 20000; /* more than one chunk, and not a multiple of it */
    std::vector<uint16_t> bf16(n), f16(n);
    for (size_t i = 0; i < n; i++) {
        float value = static_cast<float>(i % 256) / 16.0f - 8.0f; /* exact in both formats */
        bf16[i] = f32_to_bf16(value);
        f16[i] = f32_to_f16(value);
    }
    ScratchFolder folder;
    folder.write("config.json", kConfig);
    /* Three bytes first, so that nothing after them is aligned. */
    folder.write("model.safetensors",
                 safetensors_file({{"odd", "U8", {3}, "xyz"},
                                   {"bf16", "BF16", {n}, bytes_of(bf16)},
                                   {"f16", "F16", {n / 2, 2}, bytes_of(f16)}}));
    Opened o(folder.path());
    ASSERT_EQ(o.status, STATUS_OK) << o.text();
    for (const char *name : {"bf16", "f16"}) {
        const struct checkpoint_tensor *tensor = checkpoint_find(o.checkpoint, name);
        ASSERT_NE(tensor, nullptr);
        std::vector<float> values(n + 1, -99.0f);
        ASSERT_EQ(checkpoint_read_f32(o.checkpoint, tensor, values.data(), &o.error), STATUS_OK);
        for (size_t i = 0; i < n; i++)
            ASSERT_EQ(values[i], static_cast<float>(i % 256) / 16.0f - 8.0f) << name << i;
        EXPECT_EQ(values[n], -99.0f);
        std::vector<uint16_t> raw(n);
        ASSERT_EQ(checkpoint_read(o.checkpoint, tensor, raw.data(), &o.error), STATUS_OK);
        EXPECT_EQ(raw, name[0] == 'b' ? bf16 : f16);
    }
}

TEST(Checkpoint, OpensShards)
{
    const std::vector<std::string> names = {"model-00002-of-00002.safetensors",
                                            "model-00001-of-00002.safetensors"};
    const std::vector<std::vector<TensorToWrite>> tensors = {
        {f32_tensor("c", {2}, 5), {"d", "BOOL", {1}, "x"}},
        {f32_tensor("a", {1}, 1), f32_tensor("b", {1}, 2)}};
    ScratchFolder folder;
    folder.write("config.json", kConfig);
    folder.write(names[0], safetensors_file(tensors[0]));
    folder.write(names[1], safetensors_file(tensors[1]));
    folder.write("model.safetensors.index.json", safetensors_index(names, tensors));
    Opened o(folder.path());
    ASSERT_EQ(o.status, STATUS_OK) << o.text();
    ASSERT_EQ(checkpoint_files(o.checkpoint), 2u);
    EXPECT_EQ(std::string(checkpoint_file_path(o.checkpoint, 0)), folder.file(names[1]));
    ASSERT_EQ(checkpoint_tensors(o.checkpoint), 3u);
    const struct checkpoint_tensor *c = checkpoint_find(o.checkpoint, "c");
    ASSERT_NE(c, nullptr);
    EXPECT_EQ(c->file, 1u);
    float values[2];
    ASSERT_EQ(checkpoint_read_f32(o.checkpoint, c, values, &o.error), STATUS_OK);
    EXPECT_EQ(values[0], 5.0f);
    EXPECT_EQ(values[1], 6.0f);
    const struct checkpoint_tensor *d;
    EXPECT_EQ(checkpoint_need(o.checkpoint, "d", 1, 0, 0, &d, &o.error), STATUS_UNSUPPORTED);
    EXPECT_TRUE(has(o.error.text, "BOOL")) << o.error.text;
}

TEST(Checkpoint, ReachesWeightsThroughLinks)
{
    ScratchFolder blobs, folder;
    folder.write("config.json", kConfig);
    blobs.write("0badc0de", safetensors_file({f32_tensor("a", {1}, 1)}));
    std::filesystem::create_symlink(blobs.file("0badc0de"), folder.file("model.safetensors"));
    Opened o(folder.path() + "/");
    ASSERT_EQ(o.status, STATUS_OK) << o.text();
    EXPECT_EQ(std::string(checkpoint_file_path(o.checkpoint, 0)), folder.file("model.safetensors"));
}

TEST(Checkpoint, FindsEachOfManyNames)
{
    std::vector<TensorToWrite> tensors;
    for (int layer = 0; layer < 8; layer++)
        for (int expert = 0; expert < 64; expert++)
            for (const char *part : {"gate", "up", "down"})
                tensors.push_back({"model.layers." + std::to_string(layer) + ".mlp.experts." +
                                       std::to_string(expert) + "." + part + "_proj.weight",
                                   "BF16", {1}, "ab"});
    ScratchFolder folder;
    folder.write("config.json", kConfig);
    folder.write("model.safetensors", safetensors_file(tensors));
    Opened o(folder.path());
    ASSERT_EQ(o.status, STATUS_OK) << o.text();
    ASSERT_EQ(checkpoint_tensors(o.checkpoint), tensors.size());
    for (const TensorToWrite &tensor : tensors) {
        const struct checkpoint_tensor *found = checkpoint_find(o.checkpoint, tensor.name.c_str());
        ASSERT_NE(found, nullptr) << tensor.name;
        EXPECT_EQ(tensor.name, found->name);
        EXPECT_EQ(checkpoint_find(o.checkpoint, (tensor.name + "x").c_str()), nullptr);
    }
}

TEST(Checkpoint, ConfigurationComesFromBothFiles)
{
    ScratchFolder folder;
    folder.write("config.json", kConfig);
    folder.write("generation_config.json",
                 R"({"eos_token_id": [1, 2], "pad_token_id": 0, "hidden_size": 9})");
    folder.write("model.safetensors", safetensors_file({f32_tensor("a", {1}, 1)}));
    uint32_t out[4], count = 0, u = 0;
    double d = 0;
    bool b = false;
    const char *s = nullptr;
    {
        Opened o(folder.path());
        ASSERT_EQ(o.status, STATUS_OK) << o.text();
        EXPECT_EQ(checkpoint_u32(o.checkpoint, "hidden_size", true, 1, 99, &u, &o.error),
                  STATUS_OK);
        EXPECT_EQ(u, 64u); /* sizes never come from generation_config.json */
        EXPECT_EQ(checkpoint_f64(o.checkpoint, "rope_parameters.rope_theta", true, 1, 1e9, &d,
                                 &o.error),
                  STATUS_OK);
        EXPECT_EQ(d, 10000.0);
        EXPECT_EQ(checkpoint_bool(o.checkpoint, "tie_word_embeddings", true, &b, &o.error),
                  STATUS_OK);
        EXPECT_TRUE(b);
        EXPECT_EQ(checkpoint_string(o.checkpoint, "model_type", true, &s, &o.error), STATUS_OK);
        EXPECT_STREQ(s, "qwen3_moe");
        EXPECT_TRUE(checkpoint_has(o.checkpoint, "model_type"));
        EXPECT_FALSE(checkpoint_has(o.checkpoint, "rope_scaling.factor"));
        EXPECT_EQ(checkpoint_u32_list(o.checkpoint, "eos_token_id", out, 4, &count, &o.error),
                  STATUS_OK);
        ASSERT_EQ(count, 2u);
        EXPECT_EQ(out[1], 2u);
        EXPECT_EQ(checkpoint_u32_list(o.checkpoint, "eos_token_id", out, 1, &count, &o.error),
                  STATUS_INVALID);
        EXPECT_TRUE(has(o.text(), folder.file("generation_config.json"))) << o.text();
    }
    folder.write("generation_config.json", R"({"eos_token_id": null})");
    {
        Opened o(folder.path());
        ASSERT_EQ(o.status, STATUS_OK) << o.text();
        EXPECT_EQ(checkpoint_u32_list(o.checkpoint, "eos_token_id", out, 4, &count, &o.error),
                  STATUS_OK);
        ASSERT_EQ(count, 1u);
        EXPECT_EQ(out[0], 7u);
        EXPECT_EQ(checkpoint_u32_list(o.checkpoint, "pad_token_id", out, 4, &count, &o.error),
                  STATUS_OK);
        EXPECT_EQ(count, 0u);
    }
    folder.write("generation_config.json", "{\"temperature\": NaN}");
    expect_bad(folder, STATUS_INVALID, {"generation_config.json", "\"temperature\"", "NaN"});
}

TEST(Checkpoint, RefusesAFolderThatIsNoModel)
{
    ScratchFolder folder;
    Opened absent(folder.file("nothing"));
    EXPECT_EQ(absent.status, STATUS_NOT_FOUND);
    EXPECT_TRUE(has(absent.text(), folder.file("nothing"))) << absent.text();
    folder.write("model.bin", "PK");
    Opened file(folder.file("model.bin"));
    EXPECT_EQ(file.status, STATUS_UNSUPPORTED);
    EXPECT_TRUE(has(file.text(), "model.bin")) << file.text();
    EXPECT_EQ(Opened(folder.file("model.bin/x")).status, STATUS_NOT_FOUND);
    EXPECT_EQ(Opened("").status, STATUS_NOT_FOUND);

    expect_bad(folder, STATUS_NOT_FOUND, {"config.json"});
    folder.write("config.json", "");
    expect_bad(folder, STATUS_INVALID, {"config.json", "empty"});
    folder.write("config.json", "[1]");
    expect_bad(folder, STATUS_INVALID, {"config.json", "object"});
    folder.write("config.json", "{\"a\": 1");
    expect_bad(folder, STATUS_INVALID, {"config.json", "line 1"});
    folder.write("config.json", "{\"rms_norm_eps\": NaN}");
    expect_bad(folder, STATUS_INVALID, {"config.json", "\"rms_norm_eps\"", "NaN"});

    folder.write("config.json", kConfig);
    expect_bad(folder, STATUS_NOT_FOUND, {"model.safetensors"});
    folder.write("pytorch_model.bin", "PK");
    expect_bad(folder, STATUS_UNSUPPORTED, {"pytorch_model.bin"});
    std::filesystem::create_directory(folder.file("model.safetensors"));
    expect_bad(folder, STATUS_INVALID, {"model.safetensors", "regular file"});
}

TEST(Checkpoint, RefusesABrokenWeightFile)
{
    ScratchFolder folder;
    folder.write("config.json", kConfig);
    std::string good = safetensors_file({f32_tensor("a", {3}, 1)});
    for (size_t n = 0; n < good.size(); n++) {
        folder.write("model.safetensors", good.substr(0, n));
        Opened o(folder.path());
        ASSERT_EQ(o.status, STATUS_INVALID) << n;
        ASSERT_TRUE(has(o.text(), folder.file("model.safetensors"))) << o.text();
    }
    folder.write("model.safetensors", good);
    EXPECT_EQ(Opened(folder.path()).status, STATUS_OK);
}

class Sharded : public testing::Test
{
  protected:
    Sharded()
    {
        folder.write("config.json", kConfig);
        folder.write("s1", safetensors_file({f32_tensor("a", {1}, 1), f32_tensor("b", {1}, 2)}));
        folder.write("s2", safetensors_file({f32_tensor("c", {1}, 3)}));
    }
    void index(const std::string &map)
    {
        folder.write("model.safetensors.index.json", "{\"weight_map\":" + map + "}");
    }
    ScratchFolder folder;
};

TEST_F(Sharded, TheIndexMustBeAMapOfPlainFileNames)
{
    for (const char *map : {"null", "[]", "\"s1\"", "{}"}) {
        index(map);
        expect_bad(folder, STATUS_INVALID, {"model.safetensors.index.json", "weight_map"});
    }
    folder.write("model.safetensors.index.json", "{}");
    expect_bad(folder, STATUS_INVALID, {"model.safetensors.index.json", "weight_map"});
    folder.write("model.safetensors.index.json", "");
    expect_bad(folder, STATUS_INVALID, {"model.safetensors.index.json", "empty"});
    for (const char *shard :
         {"1", "null", "[\"s1\"]", "\"\"", "\".\"", "\"..\"", "\"../s1\"", "\"/etc/passwd\"",
          "\"sub/s1\"", "\"s1\\u0000\"", "\"..\\\\s1\"", "\"s1\\n\""}) {
        index(std::string("{\"a\":") + shard + "}");
        expect_bad(folder, STATUS_INVALID, {"model.safetensors.index.json", "\"a\""});
    }
    index("{\"a\":\"s1\",\"a\":\"s1\"}");
    expect_bad(folder, STATUS_INVALID, {"model.safetensors.index.json", "duplicate", "\"a\""});
}

TEST_F(Sharded, EveryShardMustBeThereAndHoldWhatIsListed)
{
    index(R"({"a":"s1","b":"s1","c":"s3"})");
    expect_bad(folder, STATUS_INVALID, {folder.file("s3")});
    index(R"({"a":"s1","b":"s1","c":"s1"})");
    expect_bad(folder, STATUS_INVALID, {folder.file("s1"), "\"c\""});
    index(R"({"a":"s1","b":"s2","c":"s2"})");
    expect_bad(folder, STATUS_INVALID, {folder.file("s2"), "\"b\""});
    index(R"({"a":"s1","b":"s1","c":"s2","d":"s2"})");
    expect_bad(folder, STATUS_INVALID, {folder.file("s2"), "\"d\""});
    index(R"({"a":"s1","b":"s1","c":"s2"})");
    EXPECT_EQ(Opened(folder.path()).status, STATUS_OK);
    folder.write("s2", safetensors_file({f32_tensor("c", {1}, 3)}) + "x");
    expect_bad(folder, STATUS_INVALID, {folder.file("s2"), "last 1 bytes"});
}

TEST_F(Sharded, ATensorInTwoShardsIsRefusedWhetherReadableOrNot)
{
    index(R"({"a":"s1","b":"s1","c":"s2"})");
    folder.write("s2", safetensors_file({f32_tensor("c", {1}, 3), f32_tensor("a", {1}, 1)}));
    expect_bad(folder, STATUS_INVALID, {folder.file("s1"), folder.file("s2"), "\"a\""});
    folder.write("s2", safetensors_file({f32_tensor("c", {1}, 3), {"a", "U8", {1}, "x"}}));
    expect_bad(folder, STATUS_INVALID, {folder.file("s1"), folder.file("s2"), "\"a\""});
}

TEST_F(Sharded, ASingleFileWinsAndAShardMayHoldMoreThanIsListed)
{
    index(R"({"a":"s1","c":"s2"})");
    {
        Opened o(folder.path());
        ASSERT_EQ(o.status, STATUS_OK) << o.text();
        EXPECT_NE(checkpoint_find(o.checkpoint, "b"), nullptr);
    }
    folder.write("model.safetensors", safetensors_file({f32_tensor("only", {1}, 1)}));
    Opened o(folder.path());
    ASSERT_EQ(o.status, STATUS_OK) << o.text();
    EXPECT_EQ(checkpoint_tensors(o.checkpoint), 1u);
    EXPECT_NE(checkpoint_find(o.checkpoint, "only"), nullptr);
}

TEST(Checkpoint, AFileThatShrinksAfterOpeningIsAnIoError)
{
    ScratchFolder folder;
    folder.write("config.json", kConfig);
    folder.write("model.safetensors",
                 safetensors_file({f32_tensor("a", {3}, 1), {"h", "BF16", {8000},
                                                             std::string(16000, 'x')}}));
    Opened o(folder.path());
    ASSERT_EQ(o.status, STATUS_OK) << o.text();
    const struct checkpoint_tensor *h = checkpoint_find(o.checkpoint, "h");
    std::filesystem::resize_file(folder.file("model.safetensors"), h->offset + h->bytes - 1);
    std::vector<float> values(8000);
    for (bool raw : {true, false}) {
        struct error error = {};
        EXPECT_EQ(raw ? checkpoint_read(o.checkpoint, h, values.data(), &error)
                      : checkpoint_read_f32(o.checkpoint, h, values.data(), &error),
                  STATUS_IO);
        EXPECT_TRUE(has(error.text, folder.file("model.safetensors"))) << error.text;
        EXPECT_TRUE(has(error.text, "\"h\"")) << error.text;
    }
    const struct checkpoint_tensor *a = checkpoint_find(o.checkpoint, "a");
    EXPECT_EQ(checkpoint_read_f32(o.checkpoint, a, values.data(), nullptr), STATUS_OK);
}

TEST(Checkpoint, OpensWhatTheReferenceLibraryWrote)
{
    const char *source = std::getenv("MOERING_SOURCE_DIR");
    if (!source)
        GTEST_SKIP() << "MOERING_SOURCE_DIR is not set: run it by ctest";
    struct Case {
        const char *name, *tensor;
        uint64_t dim[3];
        uint32_t files, tensors;
        enum dtype dtype;
    };
    for (const Case &t : std::vector<Case>{
             {"qwen3_moe_f32_sharded", "model.layers.2.mlp.experts.7.down_proj.weight",
              {64, 48, 0}, 3, 3 * 33 + 3, DTYPE_F32},
             {"olmoe_bf16", "model.layers.1.self_attn.k_norm.weight", {64, 0, 0}, 1, 3 * 33 + 3,
              DTYPE_BF16},
             {"mixtral_f16", "model.layers.0.block_sparse_moe.experts.0.w3.weight", {56, 64, 0}, 1,
              2 * 31 + 3, DTYPE_F16},
             {"qwen3_moe_bf16_fused", "model.layers.1.mlp.experts.gate_up_proj", {8, 80, 64}, 1,
              2 * 11 + 2, DTYPE_BF16}}) {
        Opened o(std::string(source) + "/tests/golden/models/" + t.name);
        ASSERT_EQ(o.status, STATUS_OK) << o.text();
        EXPECT_EQ(checkpoint_files(o.checkpoint), t.files);
        EXPECT_EQ(checkpoint_tensors(o.checkpoint), t.tensors);
        const struct checkpoint_tensor *tensor;
        ASSERT_EQ(checkpoint_need(o.checkpoint, t.tensor, t.dim[0], t.dim[1], t.dim[2], &tensor,
                                  &o.error),
                  STATUS_OK)
            << o.text();
        EXPECT_EQ(tensor->dtype, t.dtype);
        uint64_t values = t.dim[0] * std::max<uint64_t>(t.dim[1], 1) *
                          std::max<uint64_t>(t.dim[2], 1);
        std::vector<float> weights(values);
        ASSERT_EQ(checkpoint_read_f32(o.checkpoint, tensor, weights.data(), &o.error), STATUS_OK);
        double square = 0;
        for (float w : weights)
            square += static_cast<double>(w) * static_cast<double>(w);
        EXPECT_GT(square / static_cast<double>(values), 1e-3);
        EXPECT_LT(square / static_cast<double>(values), 2);
        uint32_t end = 0, count = 0;
        EXPECT_EQ(checkpoint_u32_list(o.checkpoint, "eos_token_id", &end, 1, &count, &o.error),
                  STATUS_OK);
        EXPECT_EQ(end, 130u);
    }
}

TEST(Checkpoint, CloseAcceptsNull)
{
    checkpoint_close(nullptr);
}

} // namespace
