/* Where an expert's matrices lie, in every form a checkpoint has them, and what is said when they
 * are not there. That pages hold the right bytes is plan_test's business. */
#include "engine/model/expert_parts.h"

#include "tests/engine/model/model_harness.h"

namespace {

using test_support::TensorToWrite;

class ExpertParts : public ToyTest {
protected:
    void open(const toy::Model &m, const std::vector<TensorToWrite> &tensors)
    {
        make(m, tensors);
        ASSERT_EQ(arch_find(checkpoint_, &arch_, &error_), STATUS_OK) << error_.text;
        ASSERT_EQ(hparams_read(checkpoint_, &h_, &error_), STATUS_OK) << error_.text;
        ASSERT_EQ(arch_->read(checkpoint_, &h_, &error_), STATUS_OK) << error_.text;
    }
    enum status find(uint32_t layer, uint32_t expert)
    {
        return expert_parts_find(checkpoint_, arch_, &h_, layer, expert, &parts_, &error_);
    }
    /* Offset of a tensor in the one file there is. */
    uint64_t offset(const std::string &name) const
    {
        const struct checkpoint_tensor *t = checkpoint_find(checkpoint_, name.c_str());
        EXPECT_NE(t, nullptr) << name;
        return t ? t->offset : 0;
    }
    const struct arch *arch_ = nullptr;
    struct hparams h_ = {};
    struct expert_parts parts_ = {};
};

TEST_F(ExpertParts, OneByOne)
{
    toy::Model m;
    m.expert = {"BF16"};
    open(m, toy::tensors(m));
    ASSERT_EQ(find(1, 5), STATUS_OK) << error_.text;
    const char *names[] = {"gate", "up", "down"};
    for (int i = 0; i < EXPERT_PARTS; i++) {
        EXPECT_EQ(parts_.part[i].offset,
                  offset(std::string("model.layers.1.mlp.experts.5.") + names[i] + "_proj.weight"));
        EXPECT_EQ(parts_.part[i].bytes, 2u * m.hidden * m.width);
        EXPECT_EQ(parts_.dtype[i], DTYPE_BF16);
        EXPECT_EQ(parts_.rows[i], i == EXPERT_DOWN ? m.hidden : m.width);
        EXPECT_EQ(parts_.cols[i], i == EXPERT_DOWN ? m.width : m.hidden);
    }
    EXPECT_STREQ(parts_.name, "model.layers.1.mlp.experts.5.gate_proj.weight");
}

TEST_F(ExpertParts, FusedGateComesFirst)
{
    for (const char *arch : {"olmoe", "granitemoe"}) {
        toy::Model m;
        m.arch = arch;
        m.fused = true;
        open(m, toy::tensors(m));
        ASSERT_EQ(find(2, 3), STATUS_OK) << error_.text;
        bool granite = m.arch == "granitemoe";
        std::string block = granite ? "model.layers.2.block_sparse_moe." : "model.layers.2.mlp.";
        uint64_t one = 4ull * m.hidden * m.width;
        uint64_t both =
            offset(block + (granite ? "input_linear.weight" : "experts.gate_up_proj"));
        EXPECT_EQ(parts_.part[EXPERT_GATE].offset, both + 6 * one);
        EXPECT_EQ(parts_.part[EXPERT_UP].offset, both + 7 * one);
        EXPECT_EQ(parts_.part[EXPERT_DOWN].offset,
                  offset(block + (granite ? "output_linear.weight" : "experts.down_proj")) +
                      3 * one);
    }
}

/* GGUF: gate and up in one tensor, down stacked, each spelled as GGUF's view spells it. */
TEST_F(ExpertParts, FusedWithAStackedDown)
{
    for (const char *arch : {"mixtral", "granitemoe", "qwen3_moe"}) {
        toy::Model m;
        m.arch = arch;
        m.layers = 1;
        std::vector<TensorToWrite> tensors;
        uint64_t one = 4ull * m.hidden * m.width;
        tensors.push_back({"model.layers.0.mlp.experts.gate_up_proj",
                           "F32",
                           {m.experts, 2 * m.width, m.hidden},
                           std::string(2 * m.experts * one, 0)});
        tensors.push_back({"model.layers.0.mlp.experts.down_proj.weight", "F32",
                           {m.experts, m.hidden, m.width}, std::string(m.experts * one, 0)});
        open(m, tensors);
        ASSERT_EQ(find(0, 7), STATUS_OK) << error_.text;
        EXPECT_EQ(parts_.part[EXPERT_UP].offset, offset(tensors[0].name) + 15 * one);
        EXPECT_EQ(parts_.part[EXPERT_DOWN].offset, offset(tensors[1].name) + 7 * one);
        tensors.pop_back();
        open(m, tensors);
        EXPECT_EQ(find(0, 7), STATUS_NOT_FOUND);
        EXPECT_TRUE(says("down_proj"));
    }
}

TEST_F(ExpertParts, WhatIsMissingIsNamed)
{
    toy::Model m;
    open(m, {});
    EXPECT_EQ(find(0, 4), STATUS_NOT_FOUND);
    EXPECT_TRUE(says("model.layers.0.mlp.experts.4.gate_proj.weight"));
    m.arch = "granitemoe"; /* never one by one */
    open(m, {});
    EXPECT_EQ(find(0, 4), STATUS_NOT_FOUND);
    EXPECT_TRUE(says("model.layers.0.block_sparse_moe.input_linear.weight"));
}

} // namespace
