/* Random models are models: each architecture and type opens and has the shapes it was asked for,
 * rows of its matrices have about unit gain in every format, splits and alignments hold, and the
 * bytes depend on the seed alone. Runs the program itself. */
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/load/checkpoint.h"
#include "engine/load/gguf_value.h"
#include "tests/support/scratch.h"

namespace {

class MakeRandomGguf : public testing::Test
{
  protected:
    void SetUp() override
    {
        const char *build = std::getenv("MOERING_BINARY_DIR");
        if (!build)
            GTEST_SKIP() << "MOERING_BINARY_DIR is not set: run it by ctest";
        program_ = std::string(build) + "/tests/make_random_gguf ";
    }
    std::string make(const std::string &flags, const std::string &name = "m.gguf")
    {
        std::string path = folder_.path(name);
        std::string command = before_ + program_ + flags + " " + path + " > /dev/null 2>&1";
        EXPECT_EQ(std::system(command.c_str()), 0) << flags;
        return path;
    }
    scratch::Folder folder_;
    std::string program_, before_;
};

struct Opened {
    struct checkpoint *checkpoint = nullptr;
    struct error error = {};

    explicit Opened(const std::string &path)
    {
        EXPECT_EQ(checkpoint_open(&checkpoint, path.c_str(), &error), STATUS_OK) << error.text;
    }
    ~Opened() { checkpoint_close(checkpoint); }
    const struct checkpoint_tensor *need(const char *name, uint64_t a, uint64_t b, uint64_t c = 0)
    {
        const struct checkpoint_tensor *t = nullptr;
        EXPECT_EQ(checkpoint_need(checkpoint, name, a, b, c, &t, &error), STATUS_OK) << error.text;
        return t;
    }
};

TEST_F(MakeRandomGguf, EveryArchitecture)
{
    struct {
        const char *arch, *model_type, *router;
    } known[] = {{"olmoe", "olmoe", "mlp.gate.weight"},
                 {"qwen3moe", "qwen3_moe", "mlp.gate.weight"},
                 {"qwen2moe", "qwen2_moe", "mlp.gate.weight"},
                 {"llama", "mixtral", "block_sparse_moe.gate.weight"},
                 {"granitemoe", "granitemoe", "block_sparse_moe.router.layer.weight"}};
    for (const auto &k : known) {
        Opened o(make(std::string("--arch ") + k.arch + " --layers 1 --experts 6 --vocab 600"));
        ASSERT_NE(o.checkpoint, nullptr) << k.arch;
        const char *type = "";
        EXPECT_EQ(checkpoint_string(o.checkpoint, "model_type", true, &type, &o.error), STATUS_OK);
        EXPECT_STREQ(type, k.model_type);
        o.need("model.embed_tokens.weight", 600, 256);
        o.need("lm_head.weight", 600, 256);
        o.need((std::string("model.layers.0.") + k.router).c_str(), 6, 256);
        const struct checkpoint_tensor *down = o.need("model.layers.0.mlp.experts.down_proj.weight",
                                                      6,
                                                      256, 256);
        ASSERT_NE(down, nullptr);
        EXPECT_EQ(down->dtype, DTYPE_Q4_0);
        const struct gguf_string *tokens;
        uint64_t count = 0;
        EXPECT_EQ(gguf_value_strings(checkpoint_gguf(o.checkpoint), "tokenizer.ggml.tokens", true,
                                     &tokens, &count, &o.error),
                  STATUS_OK);
        EXPECT_EQ(count, 600u);
    }
}

/* Sum of squares of a row: 1 on average, and the mean of all weights is 0. */
TEST_F(MakeRandomGguf, RowsHaveUnitGainInEveryType)
{
    for (int i = 0; i < DTYPE_COUNT; i++) {
        enum dtype dtype = static_cast<enum dtype>(i);
        Opened o(make(std::string("--arch olmoe --layers 1 --type ") + dtype_info(dtype)->name));
        ASSERT_NE(o.checkpoint, nullptr);
        const struct checkpoint_tensor *up = o.need("model.layers.0.mlp.experts.up_proj.weight", 8,
                                                    256,
                                                    256);
        ASSERT_NE(up, nullptr);
        EXPECT_EQ(up->dtype, dtype);
        std::vector<float> w(8 * 256 * 256);
        ASSERT_EQ(checkpoint_read_f32(o.checkpoint, up, w.data(), &o.error), STATUS_OK);
        double sum = 0, squares = 0;
        for (float x : w) {
            sum += static_cast<double>(x);
            squares += static_cast<double>(x) * static_cast<double>(x);
        }
        EXPECT_NEAR(squares / (8 * 256), 1, 0.1) << dtype_info(dtype)->name;
        EXPECT_NEAR(sum / static_cast<double>(w.size()) * 16, 0, 0.01) << dtype_info(dtype)->name;
    }
}

TEST_F(MakeRandomGguf, MixedTypesPartsAndAlignment)
{
    make("--arch qwen2moe --type q4_k --type-of ffn_down_exps=q6_k --type-of '(output|embd)=q8_0' "
         "--width 288 --split 3 --alignment 4096 --tied");
    Opened o(folder_.path("m-00001-of-00003.gguf"));
    ASSERT_NE(o.checkpoint, nullptr);
    EXPECT_EQ(checkpoint_files(o.checkpoint), 3u);
    EXPECT_EQ(o.need("model.embed_tokens.weight", 1024, 256)->dtype, DTYPE_Q8_0);
    EXPECT_EQ(o.need("model.layers.1.self_attn.o_proj.weight", 256, 256)->dtype, DTYPE_Q8_0);
    EXPECT_EQ(o.need("model.layers.1.mlp.experts.up_proj.weight", 8, 288, 256)->dtype, DTYPE_Q4_K);
    /* Rows of 288 values are no blocks of 256: what quantisers take instead. */
    EXPECT_EQ(o.need("model.layers.1.mlp.experts.down_proj.weight", 8, 256, 288)->dtype,
              DTYPE_Q8_0);
    EXPECT_EQ(checkpoint_find(o.checkpoint, "lm_head.weight"), nullptr);
    for (uint32_t i = 0; i < checkpoint_tensors(o.checkpoint); i++)
        EXPECT_EQ(checkpoint_tensor(o.checkpoint, i)->offset % 4096, 0u);
}

TEST_F(MakeRandomGguf, TheSeedAloneDecides)
{
    std::string flags = "--arch llama --layers 1 --type q5_1 --width 1024";
    make(flags + " --seed 3", "a.gguf");
    make(flags + " --seed 4", "b.gguf");
    before_ = "taskset -c 0 ";
    make(flags + " --seed 3", "c.gguf");
    EXPECT_EQ(folder_.read("a.gguf"), folder_.read("c.gguf"));
    EXPECT_NE(folder_.read("a.gguf"), folder_.read("b.gguf"));
}

TEST_F(MakeRandomGguf, RefusesWhatMakesNoSense)
{
    std::string path = folder_.path("m.gguf");
    for (const char *flags :
         {"--arch bert", "--arch olmoe --shared 64", "--arch olmoe --vocab 100",
          "--arch olmoe --type q9",
          "--arch olmoe --layers 0", "--arch olmoe --layers x", "--arch olmoe --top-k 9",
          "--arch olmoe --alignment 48", "--arch olmoe --type-of 'a(=f16'", "--type q4_0"})
        EXPECT_NE(std::system((program_ + flags + " " + path + " 2> /dev/null").c_str()), 0)
            << flags;
}

} // namespace
