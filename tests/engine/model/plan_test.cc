/* Plans: every page in its place, every wrong tensor told by name before anything is loaded. */
#include "engine/model/arch.h"
#include "engine/model/model.h"

#include "tests/engine/model/model_harness.h"

namespace {

using test_support::TensorToWrite;

class Plan : public ToyTest {
protected:
    /* The bytes of a page as the store would read them. */
    std::string part_bytes(page_id page, uint32_t part) const
    {
        const page_part &p = store_page(store_, page)->part[part];
        return test_support::read_file(store_path(store_, p.file)).substr(p.offset, p.bytes);
    }
    static toy::Model small(const std::string &arch, bool fused = false)
    {
        toy::Model m = of(arch, fused);
        m.layers = 2;
        m.experts = 2;
        return m;
    }
    static toy::Model of(const std::string &arch, bool fused = false)
    {
        toy::Model m;
        m.arch = arch;
        m.fused = fused;
        return m;
    }
    enum status plan_of(const toy::Model &model, const std::vector<TensorToWrite> &tensors)
    {
        make(model, tensors);
        return plan();
    }
};

TEST_F(Plan, PagesHoldGateUpAndDownOfTheirExpert)
{
    for (const char *arch : {"qwen3_moe", "qwen2_moe", "olmoe", "mixtral"}) {
        toy::Model m = of(arch);
        m.expert = {"BF16", "F32"};
        std::vector<TensorToWrite> tensors = toy::tensors(m);
        ASSERT_EQ(plan_of(m, tensors), STATUS_OK) << error_.text;
        ASSERT_EQ(store_pages(store_), m.layers * m.experts);
        EXPECT_EQ(store_classes(store_), 2u);
        const bool mixtral = m.arch == "mixtral";
        for (uint32_t l = 0; l < m.layers; l++)
            for (uint32_t e = 0; e < m.experts; e++) {
                std::string prefix = "model.layers." + std::to_string(l) +
                                     (mixtral ? ".block_sparse_moe" : ".mlp") + ".experts." +
                                     std::to_string(e) + ".";
                const char *names[2][3] = {{"gate_proj", "up_proj", "down_proj"},
                                           {"w1", "w3", "w2"}};
                for (uint32_t part = 0; part < 3; part++) {
                    TensorToWrite *t =
                        toy::find(tensors, prefix + names[mixtral][part] + ".weight");
                    ASSERT_NE(t, nullptr);
                    ASSERT_EQ(part_bytes(l * m.experts + e, part), t->bytes);
                }
            }
    }
}

TEST_F(Plan, FusedExpertsAreCutIntoTheSameParts)
{
    for (const char *arch : {"qwen3_moe", "qwen2_moe", "olmoe", "mixtral"}) {
        toy::Model m = of(arch, true);
        std::vector<TensorToWrite> tensors = toy::tensors(m);
        ASSERT_EQ(plan_of(m, tensors), STATUS_OK) << error_.text;
        std::string block = m.arch == "mixtral" ? ".block_sparse_moe" : ".mlp";
        size_t one = (size_t)m.width * m.hidden * 4;
        for (uint32_t l = 0; l < m.layers; l++) {
            std::string prefix = "model.layers." + std::to_string(l) + block + ".experts.";
            const std::string &both = toy::find(tensors, prefix + "gate_up_proj")->bytes;
            const std::string &down = toy::find(tensors, prefix + "down_proj")->bytes;
            for (uint32_t e = 0; e < m.experts; e++) {
                page_id page = l * m.experts + e;
                ASSERT_EQ(part_bytes(page, 0),
                          both.substr(2 * e * one, one)); /* gate comes first */
                ASSERT_EQ(part_bytes(page, 1), both.substr((2 * e + 1) * one, one));
                ASSERT_EQ(part_bytes(page, 2), down.substr(e * one, one));
            }
        }
    }
}

TEST_F(Plan, SumsBytesAndParameters)
{
    toy::Model m = of("mixtral");
    m.dense = "BF16";
    m.tied = true;
    ASSERT_EQ(plan_of(m, toy::tensors(m)), STATUS_OK) << error_.text;
    uint64_t h = m.hidden, matrices = 96 * h + 3 * (2 * 32 * h + 2 * 16 * h + 8 * h);
    uint64_t vectors = h + 3 * 2 * h, expert = 3 * h * m.width;
    EXPECT_EQ(plan_.parameters, matrices + vectors + 3 * 8 * expert);
    EXPECT_EQ(plan_.active_parameters, matrices + vectors + 3 * 2 * expert);
    EXPECT_EQ(plan_.dense_bytes, 2 * matrices + 4 * vectors); /* all multiples of 64 */
    EXPECT_TRUE(plan_.hparams.tied_head);
    EXPECT_STREQ(plan_.arch->name, "mixtral");
}

TEST_F(Plan, AHeadOfItsOwnWinsOverTheFlag)
{
    toy::Model m, says_tied;
    says_tied.config["tie_word_embeddings"] = "true";
    ASSERT_EQ(plan_of(says_tied, toy::tensors(m)), STATUS_OK) << error_.text;
    EXPECT_FALSE(plan_.hparams.tied_head);
}

TEST_F(Plan, EveryMissingTensorIsNamed)
{
    for (const toy::Model &m : {small("qwen3_moe"), small("olmoe", true), small("mixtral"),
                                small("qwen2_moe"), small("granitemoe")}) {
        std::vector<TensorToWrite> all = toy::tensors(m);
        for (size_t i = 0; i < all.size(); i++) {
            bool first_fused = all[i].name.find("gate_up_proj") != std::string::npos;
            std::vector<TensorToWrite> some = all;
            some.erase(some.begin() + (long)i);
            ASSERT_EQ(plan_of(m, some), STATUS_NOT_FOUND) << all[i].name;
            /* Without its fused tensor a layer is looked at for single experts. */
            ASSERT_TRUE(says(first_fused ? "experts.0.gate_proj.weight" : all[i].name));
        }
    }
}

TEST_F(Plan, EveryWrongShapeIsNamed)
{
    for (const toy::Model &m : {small("qwen3_moe"), small("olmoe", true), small("mixtral"),
                                small("qwen2_moe"), small("granitemoe")}) {
        std::vector<TensorToWrite> all = toy::tensors(m);
        for (size_t i = 0; i < all.size(); i++) {
            std::vector<TensorToWrite> some = all;
            some[i].shape[0] += 1;
            some[i].bytes.resize(some[i].bytes.size() / all[i].shape[0] * some[i].shape[0]);
            ASSERT_EQ(plan_of(m, some), STATUS_INVALID) << all[i].name;
            ASSERT_TRUE(says(all[i].name));
            some[i] = all[i];
            some[i].shape.push_back(1); /* one dimension too many */
            ASSERT_EQ(plan_of(m, some), STATUS_INVALID) << all[i].name;
            ASSERT_TRUE(says(all[i].name));
        }
    }
}

/* Up and gate turned round have the right number of bytes: the shape alone tells. */
/* Fewer layers or experts than the file holds would compute fluent nonsense. */
TEST_F(Plan, LayersAndExpertsLeftOverAreRefused)
{
    for (const char *arch : {"qwen3_moe", "qwen2_moe", "olmoe", "mixtral"}) {
        toy::Model whole = of(arch), fewer = whole;
        fewer.config["num_hidden_layers"] = "2";
        EXPECT_EQ(plan_of(fewer, toy::tensors(whole)), STATUS_INVALID);
        EXPECT_TRUE(says("num_hidden_layers 2")) << error_.text;
        EXPECT_TRUE(says("model.layers.2.input_layernorm.weight")) << error_.text;
    }
    toy::Model whole = of("qwen3_moe"), fewer = whole;
    fewer.experts = 4; /* the router has four rows as well, the file eight experts */
    std::vector<TensorToWrite> tensors = toy::tensors(whole);
    std::vector<TensorToWrite> routers = toy::tensors(fewer);
    for (uint32_t l = 0; l < whole.layers; l++) {
        std::string name = "model.layers." + std::to_string(l) + ".mlp.gate.weight";
        *toy::find(tensors, name) = *toy::find(routers, name);
    }
    EXPECT_EQ(plan_of(fewer, tensors), STATUS_INVALID);
    EXPECT_TRUE(says("4 experts a layer")) << error_.text;
}

TEST_F(Plan, ATransposedExpertIsRefused)
{
    toy::Model m;
    std::vector<TensorToWrite> tensors = toy::tensors(m);
    TensorToWrite *t = toy::find(tensors, "model.layers.1.mlp.experts.3.down_proj.weight");
    std::swap(t->shape[0], t->shape[1]);
    EXPECT_EQ(plan_of(m, tensors), STATUS_INVALID);
    EXPECT_TRUE(says(t->name));
}

void make_bf16(TensorToWrite *t)
{
    t->dtype = "BF16";
    t->bytes.resize(t->bytes.size() / 2);
}

/* The matrices of an expert may differ, the experts of a layer may not. */
TEST_F(Plan, MixedTypesWithinALayer)
{
    toy::Model m;
    m.width = 64;
    std::vector<TensorToWrite> tensors = toy::tensors(m);
    for (uint32_t e = 0; e < m.experts; e++)
        make_bf16(toy::find(tensors, "model.layers.1.mlp.experts." + std::to_string(e) +
                                         ".up_proj.weight"));
    ASSERT_EQ(plan_of(m, tensors), STATUS_OK) << error_.text;
    EXPECT_EQ(store_classes(store_), 2u);
    EXPECT_EQ(plan_.expert_dtypes, 1u << DTYPE_F32 | 1u << DTYPE_BF16);
    make_bf16(toy::find(tensors, "model.layers.2.mlp.experts.5.up_proj.weight"));
    EXPECT_EQ(plan_of(m, tensors), STATUS_UNSUPPORTED);
    EXPECT_TRUE(says("layer 2"));
    EXPECT_TRUE(says("model.layers.2.mlp.experts.5"));
    EXPECT_TRUE(says("F32 in"));
    EXPECT_TRUE(says("BF16 in"));
}

/* GGUF's spelling, which every architecture may have. */
TEST_F(Plan, StackedExpertsAreCutIntoTheSameParts)
{
    for (const char *arch : {"qwen3_moe", "mixtral", "granitemoe", "qwen2_moe"}) {
        toy::Model m = small(arch);
        std::vector<TensorToWrite> tensors = toy::tensors(m), dense;
        for (const TensorToWrite &t : tensors)
            if (t.name.find(".experts.") == std::string::npos &&
                t.name.find("put_linear") == std::string::npos)
                dense.push_back(t);
        size_t one = (size_t)m.width * m.hidden * 4;
        for (uint32_t l = 0; l < m.layers; l++)
            for (const char *part : {"gate", "up", "down"}) {
                bool down = part[0] == 'd';
                std::string bytes(m.experts * one, (char)(part[0] + l));
                for (uint32_t e = 0; e < m.experts; e++)
                    bytes[e * one] = (char)e;
                dense.push_back({"model.layers." + std::to_string(l) + ".mlp.experts." + part +
                                     "_proj.weight", "F32",
                                 {m.experts, down ? m.hidden : m.width, down ? m.width : m.hidden},
                                 bytes});
            }
        ASSERT_EQ(plan_of(m, dense), STATUS_OK) << error_.text;
        for (uint32_t page = 0; page < m.layers * m.experts; page++)
            for (uint32_t part = 0; part < 3; part++) {
                std::string bytes = part_bytes(page, part);
                ASSERT_EQ(bytes.size(), one);
                EXPECT_EQ(bytes[0], (char)(page % m.experts));
                EXPECT_EQ(bytes[1], (char)("gud"[part] + page / m.experts));
            }
    }
}

TEST_F(Plan, QuantizeChangesBytesInMemoryAlone)
{
    toy::Model m = of("qwen2_moe");
    m.hidden = 64;
    m.width = 32;
    m.shared_width = 48; /* no whole blocks of 32: down of the shared expert stays */
    auto tensors = toy::tensors(m);
    ASSERT_EQ(plan_of(m, tensors), STATUS_OK) << error_.text;
    EXPECT_EQ(plan_.encoded + plan_.kept, 0u);
    uint64_t plain = plan_.dense_bytes, q = 4 * 8, kv = 2 * 8;
    make(m, tensors);
    ASSERT_EQ(plan(DTYPE_Q8_0), STATUS_OK) << error_.text;
    EXPECT_EQ(plan_.kept, m.layers);
    EXPECT_EQ(plan_.encoded, m.layers * (4 + 2 + 3 * m.experts) + 1);
    const struct page *page = store_page(store_, 0);
    EXPECT_EQ(page->file_bytes, 3u * 64 * 32 * 4);
    EXPECT_EQ(page->part[0].slot_bytes, 64u * 32 / 32 * 34);
    EXPECT_EQ(page->part[2].slot_bytes, 64u * 32 / 32 * 34);
    uint64_t values = m.layers * (2 * q * 64 + 2 * kv * 64 + 2 * 48 * 64) + m.vocab * 64;
    EXPECT_EQ(plain - plan_.dense_bytes, values * 4 - values / 32 * 34); /* multiples of 64 */
    EXPECT_EQ(plan_.expert_dtypes, 1u << DTYPE_Q8_0);
    EXPECT_EQ(plan_.dtypes, 1u << DTYPE_Q8_0 | 1u << DTYPE_F32);
    EXPECT_EQ(plan_.cols_max, 64u);
}

/* Shared experts are never paged: they are dense, and every token reads them. */
TEST_F(Plan, TheSharedExpertIsNoPage)
{
    toy::Model with = of("qwen2_moe"), without = with;
    ASSERT_EQ(plan_of(with, toy::tensors(with)), STATUS_OK) << error_.text;
    EXPECT_EQ(store_pages(store_), with.layers * with.experts);
    uint64_t dense = plan_.dense_bytes, active = plan_.active_parameters;
    without.shared_width = 8;
    ASSERT_EQ(plan_of(without, toy::tensors(without)), STATUS_OK) << error_.text;
    uint64_t values = with.layers * 3ull * with.hidden * (with.shared_width - 8);
    EXPECT_EQ(dense - plan_.dense_bytes, values * 4);
    EXPECT_EQ(active - plan_.active_parameters, values);
}

TEST_F(Plan, QuantizeThatChangesNothingIsRefused)
{
    toy::Model m; /* rows of 32 values and less: no block of 256 */
    make(m);
    EXPECT_EQ(plan(DTYPE_Q4_K), STATUS_INVALID);
    EXPECT_TRUE(says("Q4_K"));
    EXPECT_TRUE(says("256"));
}

TEST_F(Plan, ATypeWeCannotReadIsRefused)
{
    toy::Model m;
    std::vector<TensorToWrite> tensors = toy::tensors(m);
    TensorToWrite *t = toy::find(tensors, "model.layers.0.mlp.experts.0.gate_proj.weight");
    t->dtype = "I32";
    EXPECT_EQ(plan_of(m, tensors), STATUS_UNSUPPORTED);
    EXPECT_TRUE(says(t->name));
}

TEST_F(Plan, NumbersThatDoNotFitTheTensorsAreRefused)
{
    for (const char *key : {"num_hidden_layers", "num_experts", "vocab_size", "hidden_size",
                            "num_attention_heads", "moe_intermediate_size", "head_dim"}) {
        toy::Model m, lies;
        lies.config[key] = std::string(key) == "num_hidden_layers" ? "4" : "64";
        enum status status = plan_of(lies, toy::tensors(m));
        EXPECT_TRUE(status == STATUS_INVALID || status == STATUS_NOT_FOUND) << key;
        EXPECT_TRUE(says("model"));
    }
}

} // namespace
