/* Loading: what lies in backend memory afterwards is what the file says. */
#include "engine/model/model.h"

#include <cmath>
#include <cstring>

#include "tests/engine/model/model_harness.h"

namespace {

class ModelTest : public ToyTest {
protected:
    ModelTest()
    {
        struct cpu_backend_config cpu = {};
        cpu.threads = 1;
        cpu.isa = CPU_SCALAR;
        cpu.expert_width_max = cpu.context_max = cpu.rows_max = 1;
        EXPECT_EQ(cpu_backend_open(&backend_, &cpu, nullptr), STATUS_OK);
    }
    ~ModelTest() override
    {
        model_close(model_);
        backend_close(backend_);
    }
    enum status load(const toy::Model &model,
                     const std::vector<test_support::TensorToWrite> &tensors)
    {
        model_close(model_);
        model_ = nullptr;
        make(model, tensors);
        EXPECT_EQ(plan(), STATUS_OK) << error_.text;
        fractions_.clear();
        return model_open(&model_, checkpoint_, &plan_, backend_,
                          [](void *arg, double fraction) {
                              static_cast<std::vector<double> *>(arg)->push_back(fraction);
                          },
                          &fractions_, &error_);
    }
    void expect_tensor(const struct tensor &t, const test_support::TensorToWrite &want)
    {
        EXPECT_STREQ(dtype_info(t.dtype)->name, want.dtype.c_str()) << want.name;
        ASSERT_EQ(t.rows, want.shape[0]) << want.name;
        ASSERT_EQ(t.cols, want.shape[1]) << want.name;
        EXPECT_EQ(memcmp(t.data, want.bytes.data(), want.bytes.size()), 0) << want.name;
    }
    void expect_vector(const float *v, const test_support::TensorToWrite *want)
    {
        ASSERT_EQ(v != nullptr, want != nullptr);
        if (want) {
            EXPECT_EQ(memcmp(v, toy::values(*want).data(), want->shape[0] * 4), 0) << want->name;
        }
    }
    struct backend *backend_ = nullptr;
    struct model *model_ = nullptr;
    std::vector<double> fractions_;
};

TEST_F(ModelTest, HoldsTheFilesWeights)
{
    for (const char *arch : {"qwen3_moe", "olmoe", "mixtral"})
        for (bool variant : {false, true}) {
            SCOPED_TRACE(std::string(arch) + (variant ? ", variant" : ""));
            toy::Model m;
            m.arch = arch;
            m.tied = m.fused = variant;
            m.bias = !variant && m.arch != "mixtral";
            m.dense = variant ? "BF16" : "F32";
            m.expert = {"BF16", "F32"};
            auto tensors = toy::tensors(m);
            ASSERT_EQ(load(m, tensors), STATUS_OK) << error_.text;
            expect_tensor(model_->embedding, *toy::find(tensors, "model.embed_tokens.weight"));
            expect_tensor(model_->head, *toy::find(tensors, m.tied ? "model.embed_tokens.weight"
                                                                   : "lm_head.weight"));
            EXPECT_EQ(model_->head.data == model_->embedding.data, m.tied);
            expect_vector(model_->final_norm, toy::find(tensors, "model.norm.weight"));
            for (uint32_t n = 0; n < m.layers; n++) {
                const struct layer &l = model_->layers[n];
                std::string prefix = "model.layers." + std::to_string(n) + ".";
                std::string attention = prefix + "self_attn.";
                expect_tensor(l.q, *toy::find(tensors, attention + "q_proj.weight"));
                expect_tensor(l.k, *toy::find(tensors, attention + "k_proj.weight"));
                expect_tensor(l.v, *toy::find(tensors, attention + "v_proj.weight"));
                expect_tensor(l.o, *toy::find(tensors, attention + "o_proj.weight"));
                expect_vector(l.q_bias, toy::find(tensors, attention + "q_proj.bias"));
                expect_vector(l.k_bias, toy::find(tensors, attention + "k_proj.bias"));
                expect_vector(l.v_bias, toy::find(tensors, attention + "v_proj.bias"));
                expect_vector(l.o_bias, toy::find(tensors, attention + "o_proj.bias"));
                expect_vector(l.q_norm, toy::find(tensors, attention + "q_norm.weight"));
                expect_vector(l.k_norm, toy::find(tensors, attention + "k_norm.weight"));
                expect_vector(l.attention_norm,
                              toy::find(tensors, prefix + "input_layernorm.weight"));
                expect_vector(l.expert_norm,
                              toy::find(tensors, prefix + "post_attention_layernorm.weight"));
                expect_tensor(l.router, *toy::find(tensors, prefix + (m.arch == "mixtral"
                                                       ? "block_sparse_moe.gate.weight"
                                                       : "mlp.gate.weight")));
                EXPECT_EQ(l.expert_dtype, n % 2 ? DTYPE_F32 : DTYPE_BF16);
            }
            for (uint32_t i = 0; i < m.head_dim / 2; i++)
                EXPECT_FLOAT_EQ(model_->inv_freq[i], (float)std::pow(1e4, -2.0 * i / m.head_dim));
        }
}

TEST_F(ModelTest, NormsOfAnyTypeBecomeF32)
{
    toy::Model m;
    auto tensors = toy::tensors(m);
    auto *norm = toy::find(tensors, "model.norm.weight");
    std::vector<float> values = toy::values(*norm);
    std::string halves;
    for (float &v : values) {
        uint32_t bits;
        memcpy(&bits, &v, 4);
        bits &= 0xffff0000;
        memcpy(&v, &bits, 4);
        halves.append(reinterpret_cast<const char *>(&bits) + 2, 2);
    }
    norm->dtype = "BF16";
    norm->bytes = halves;
    ASSERT_EQ(load(m, tensors), STATUS_OK) << error_.text;
    EXPECT_EQ(memcmp(model_->final_norm, values.data(), values.size() * 4), 0);
}

/* A stray tensor with a fused name and another type decides nothing: the pages are the others. */
TEST_F(ModelTest, AStrayFusedTensorDoesNotDecideTheType)
{
    toy::Model m;
    auto tensors = toy::tensors(m);
    tensors.push_back({"model.layers.0.mlp.experts.down_proj", "BF16", {2}, "abcd"});
    ASSERT_EQ(load(m, tensors), STATUS_OK) << error_.text;
    EXPECT_EQ(model_->layers[0].expert_dtype, DTYPE_F32);
}

TEST_F(ModelTest, ProgressGoesFromNoneToAll)
{
    toy::Model m;
    ASSERT_EQ(load(m, toy::tensors(m)), STATUS_OK);
    ASSERT_GE(fractions_.size(), 2u);
    EXPECT_EQ(fractions_.front(), 0);
    EXPECT_EQ(fractions_.back(), 1);
    EXPECT_TRUE(std::is_sorted(fractions_.begin(), fractions_.end()));
}

TEST_F(ModelTest, AFileThatShrinksWhileLoadingIsNamed)
{
    toy::Model m;
    make(m);
    ASSERT_EQ(plan(), STATUS_OK);
    folder_.truncate("model.safetensors", 20000);
    EXPECT_EQ(model_open(&model_, checkpoint_, &plan_, backend_, nullptr, nullptr, &error_),
              STATUS_IO);
    EXPECT_TRUE(says("model.safetensors"));
    EXPECT_EQ(model_, nullptr);
}

TEST_F(ModelTest, CloseAcceptsNull)
{
    model_close(nullptr);
}

} // namespace
