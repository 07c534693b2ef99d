/* Loading: what lies in backend memory afterwards is what the file says. */
#include "engine/model/model.h"

#include <cmath>
#include <cstring>

#include "engine/quant/packed.h"
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
    static std::string router_of(const std::string &arch)
    {
        return arch == "mixtral"      ? "block_sparse_moe.gate.weight"
               : arch == "granitemoe" ? "block_sparse_moe.router.layer.weight"
                                      : "mlp.gate.weight";
    }
    void expect_shared(const struct moe_weights &weights,
                       std::vector<test_support::TensorToWrite> &tensors, const std::string &name)
    {
        if (!toy::find(tensors, name + "_gate.weight")) {
            EXPECT_EQ(weights.shared.gate.data, nullptr);
            return;
        }
        expect_tensor(weights.shared.gate, *toy::find(tensors, name + ".gate_proj.weight"));
        expect_tensor(weights.shared.up, *toy::find(tensors, name + ".up_proj.weight"));
        expect_tensor(weights.shared.down, *toy::find(tensors, name + ".down_proj.weight"));
        expect_tensor(weights.shared_gate, *toy::find(tensors, name + "_gate.weight"));
    }
    struct backend *backend_ = nullptr;
    struct model *model_ = nullptr;
    std::vector<double> fractions_;
};

TEST_F(ModelTest, HoldsTheFilesWeights)
{
    for (const char *arch : {"qwen3_moe", "olmoe", "mixtral", "qwen2_moe", "granitemoe"})
        for (bool variant : {false, true}) {
            SCOPED_TRACE(std::string(arch) + (variant ? ", variant" : ""));
            toy::Model m;
            m.arch = arch;
            m.tied = m.fused = variant;
            m.bias = !variant && (m.arch == "qwen3_moe" || m.arch == "olmoe");
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
                expect_tensor(l.moe.router, *toy::find(tensors, prefix + router_of(m.arch)));
                expect_shared(l.moe, tensors, prefix + "mlp.shared_expert");
                for (const struct tensor *t :
                     {&l.moe.expert.gate, &l.moe.expert.up, &l.moe.expert.down}) {
                    EXPECT_EQ(t->dtype, n % 2 ? DTYPE_F32 : DTYPE_BF16);
                    EXPECT_EQ(t->layout, LAYOUT_ROWS);
                    EXPECT_EQ(t->data, nullptr);
                }
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

/* Row 2i of a head in the file is row i of ours, row 2i + 1 is row i + half. */
TEST_F(ModelTest, RowsOfQAndKArePutBack)
{
    toy::Model m, file;
    m.arch = file.arch = "qwen2_moe"; /* has biases, too */
    m.head_dim = file.head_dim = 10;
    file.config["rope_interleaved"] = "true";
    auto tensors = toy::tensors(m), turned = tensors;
    for (auto &t : turned) {
        if (t.name.find("q_proj.") == std::string::npos &&
            t.name.find("k_proj.") == std::string::npos)
            continue;
        size_t row = t.bytes.size() / t.shape[0], half = m.head_dim / 2;
        std::string from = t.bytes;
        for (size_t r = 0; r < t.shape[0]; r++) {
            size_t head = r / m.head_dim * m.head_dim, i = r % m.head_dim;
            size_t ours = head + (i % 2 ? i / 2 + half : i / 2);
            t.bytes.replace(r * row, row, from, ours * row, row);
        }
    }
    ASSERT_EQ(load(file, turned), STATUS_OK) << error_.text;
    for (uint32_t n = 0; n < m.layers; n++) {
        std::string attention = "model.layers." + std::to_string(n) + ".self_attn.";
        expect_tensor(model_->layers[n].q, *toy::find(tensors, attention + "q_proj.weight"));
        expect_tensor(model_->layers[n].k, *toy::find(tensors, attention + "k_proj.weight"));
        expect_tensor(model_->layers[n].v, *toy::find(tensors, attention + "v_proj.weight"));
        expect_vector(model_->layers[n].q_bias, toy::find(tensors, attention + "q_proj.bias"));
        expect_vector(model_->layers[n].k_bias, toy::find(tensors, attention + "k_proj.bias"));
    }
}

/* As the backend wants it, larger than what is read at a time: 5 MB of F32 in rows of 1184
 * bytes. */
TEST_F(ModelTest, EncodedWhileItIsLoaded)
{
    toy::Model m;
    m.hidden = 288;
    m.width = 32;
    m.vocab = 4500;
    m.layers = 1;
    m.experts = 2;
    m.arch = "qwen2_moe";
    auto tensors = toy::tensors(m);
    make(m, tensors);
    ASSERT_EQ(plan(DTYPE_Q8_0), STATUS_OK) << error_.text;
    ASSERT_EQ(model_open(&model_, checkpoint_, &plan_, backend_, nullptr, nullptr, &error_),
              STATUS_OK) << error_.text;
    enum weight_layout layout;
    ASSERT_TRUE(backend_->ops->layout(backend_, DTYPE_Q8_0, &layout));
    std::vector<float> row(m.hidden);
    const struct tensor *encoded[] = {&model_->head, &model_->layers[0].q,
                                      &model_->layers[0].moe.shared.up};
    const char *names[] = {"lm_head.weight", "model.layers.0.self_attn.q_proj.weight",
                           "model.layers.0.mlp.shared_expert.up_proj.weight"};
    for (int i = 0; i < 3; i++) {
        const struct tensor *t = encoded[i];
        EXPECT_EQ(t->dtype, DTYPE_Q8_0);
        EXPECT_EQ(t->layout, layout);
        std::vector<float> want = toy::values(*toy::find(tensors, names[i]));
        for (uint32_t r = 0; r < t->rows; r++) {
            if (layout == LAYOUT_PACKED)
                packed_decode_row(t->dtype, t->data, t->rows, t->cols, r, row.data());
            else
                dtype_decode(t->dtype, (const uint8_t *)t->data + r * t->cols / 32 * 34, row.data(),
                             t->cols);
            for (uint32_t c = 0; c < t->cols; c++)
                ASSERT_NEAR(row[c], want[(size_t)r * t->cols + c], 0.1 / 127) << names[i] << r;
        }
    }
    /* These keep their numbers. */
    expect_tensor(model_->embedding, *toy::find(tensors, "model.embed_tokens.weight"));
    expect_tensor(model_->layers[0].moe.router,
                  *toy::find(tensors, "model.layers.0.mlp.gate.weight"));
    expect_tensor(model_->layers[0].moe.shared_gate,
                  *toy::find(tensors, "model.layers.0.mlp.shared_expert_gate.weight"));
    model_lock(model_); /* allowed or not, it goes on */
}

TEST_F(ModelTest, AFormatWithoutKernelsIsRefusedByName)
{
    toy::Model m;
    make(m);
    ASSERT_EQ(plan(), STATUS_OK) << error_.text;
    struct backend_ops ops = *backend_->ops;
    ops.name = "toy";
    ops.layout = [](const struct backend *, enum dtype, enum weight_layout *) { return false; };
    const struct backend_ops *real = backend_->ops;
    backend_->ops = &ops;
    EXPECT_EQ(model_open(&model_, checkpoint_, &plan_, backend_, nullptr, nullptr, &error_),
              STATUS_UNSUPPORTED);
    backend_->ops = real;
    EXPECT_TRUE(says("F32"));
    EXPECT_TRUE(says("toy"));
    EXPECT_EQ(model_, nullptr);
}

/* A stray tensor with a fused name and another type decides nothing: the pages are the others. */
TEST_F(ModelTest, AStrayFusedTensorDoesNotDecideTheType)
{
    toy::Model m;
    auto tensors = toy::tensors(m);
    tensors.push_back({"model.layers.0.mlp.experts.down_proj", "BF16", {2}, "abcd"});
    ASSERT_EQ(load(m, tensors), STATUS_OK) << error_.text;
    EXPECT_EQ(model_->layers[0].moe.expert.down.dtype, DTYPE_F32);
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
