/* A model's tensors under their canonical names: shapes, parts, and what has no name. */
#include "engine/load/gguf_view.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "tests/engine/load/gguf_model.h"
#include "tests/support/scratch.h"

namespace {

using gguf_bytes::File;
using gguf_bytes::model;

struct Opened {
    scratch::Folder folder;
    struct gguf_split *split = nullptr;
    struct gguf_view *view = nullptr;
    struct error error = {};
    enum status status;
    std::map<std::string, const struct gguf_view_tensor *> tensors;

    explicit Opened(const File &file)
    {
        std::string path = folder.write("m.gguf", file.bytes());
        status = gguf_split_open(&split, path.c_str(), &error);
        if (status == STATUS_OK)
            status = gguf_view_open(&view, split, &error);
        for (uint32_t i = 0; view && i < view->tensor_count; i++)
            tensors[view->tensors[i].tensor.name] = &view->tensors[i];
    }
    ~Opened()
    {
        gguf_view_close(view);
        gguf_split_close(split);
    }
    std::vector<uint64_t> shape(const std::string &name)
    {
        if (!tensors.count(name))
            return {};
        const struct checkpoint_tensor &t = tensors[name]->tensor;
        return {t.dim, t.dim + t.dims};
    }
};

using Shape = std::vector<uint64_t>;

TEST(GgufView, ShapesAreOutermostFirst)
{
    for (const char *arch : gguf_bytes::architectures) {
        Opened o(model(arch));
        ASSERT_EQ(o.status, STATUS_OK) << o.error.text;
        EXPECT_EQ(o.shape("model.embed_tokens.weight"), (Shape{40, 32}));
        EXPECT_EQ(o.shape("lm_head.weight"), (Shape{40, 32}));
        EXPECT_EQ(o.shape("model.norm.weight"), (Shape{32}));
        EXPECT_EQ(o.shape("model.layers.1.self_attn.k_proj.weight"), (Shape{16, 32}));
        EXPECT_EQ(o.shape("model.layers.1.mlp.experts.gate_proj.weight"),
                  (Shape{4, 16, 32})) << arch;
        EXPECT_EQ(o.shape("model.layers.1.mlp.experts.down_proj.weight"),
                  (Shape{4, 32, 16})) << arch;
        EXPECT_EQ(o.shape("model.layers.0." + std::string(o.view->arch->router)), (Shape{4, 32}));
        EXPECT_EQ(o.tensors.size(), o.view->tensor_count);
    }
}

TEST(GgufView, TheSharedGateIsAMatrixOfOneRow)
{
    Opened o(model("qwen2moe"));
    ASSERT_EQ(o.status, STATUS_OK) << o.error.text;
    EXPECT_EQ(o.shape("model.layers.0.mlp.shared_expert_gate.weight"), (Shape{1, 32}));
    EXPECT_EQ(o.shape("model.layers.0.mlp.shared_expert.down_proj.weight"), (Shape{32, 24}));
    EXPECT_EQ(o.shape("model.layers.0.self_attn.q_proj.bias"), (Shape{32}));
}

TEST(GgufView, KeepsOwnNamesAndForeignTypes)
{
    File f = model("llama", {"blk.0.attn_q.weight"});
    f.tensor("blk.0.attn_q.weight", {1, 256}, 17, std::string(74, 'x'));
    Opened o(f);
    ASSERT_EQ(o.status, STATUS_OK) << o.error.text;
    const struct gguf_view_tensor *q = o.tensors["model.layers.0.self_attn.q_proj.weight"];
    ASSERT_NE(q, nullptr);
    EXPECT_STREQ(q->own_name, "blk.0.attn_q.weight");
    EXPECT_STREQ(q->foreign, "IQ2_XS");
    EXPECT_STREQ(o.tensors["model.norm.weight"]->own_name, "output_norm.weight");
    EXPECT_EQ(o.tensors["model.norm.weight"]->foreign, nullptr);
}

TEST(GgufView, RefusesTensorsThatItDoesNotKnow)
{
    for (const char *name : {"rope_freqs.weight", "blk.0.attn_qkv.weight",
                             "blk.0.ffn_up_exps.scale",
                             "blk.0.ffn_up_shexp.weight"}) {
        Opened o(model("olmoe").zeros(name, {4}));
        EXPECT_EQ(o.status, STATUS_UNSUPPORTED) << o.error.text;
        EXPECT_EQ(o.view, nullptr);
        EXPECT_NE(std::string(o.error.text).find(std::string("m.gguf: tensor \"") + name + "\""),
                  std::string::npos)
            << o.error.text;
    }
}

} // namespace
