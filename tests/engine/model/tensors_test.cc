#include "engine/model/tensors.h"

#include <cstring>
#include <map>
#include <set>

#include "engine/model/arch.h"
#include "tests/engine/model/model_harness.h"

namespace {

/* The table against the tensors that the toy writer, which knows the files and not the table,
 * makes. */
class Tensors : public ToyTest {};
class TensorsOf : public ToyTest, public testing::WithParamInterface<toy::Model> {};

TEST_P(TensorsOf, NameEveryDenseTensorOfTheFileWithItsShape)
{
    const toy::Model &model = GetParam();
    make(model);
    ASSERT_EQ(plan(), STATUS_OK) << error_.text;
    std::map<std::string, std::vector<uint64_t>> table;
    std::set<size_t> fields;
    struct dense_tensor list[LAYER_TENSORS_MAX];
    uint32_t n = tensors_outer(&plan_.hparams, list);
    ASSERT_LE(n, (uint32_t)OUTER_TENSORS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        table[list[i].name] = list[i].cols ? std::vector<uint64_t>{list[i].rows, list[i].cols}
                                           : std::vector<uint64_t>{list[i].rows};
        EXPECT_LT(list[i].field, sizeof(struct model));
        EXPECT_TRUE(fields.insert(list[i].field).second);
    }
    for (uint32_t layer = 0; layer < model.layers; layer++) {
        fields.clear();
        n = tensors_of_layer(plan_.arch, &plan_.hparams, layer, list);
        ASSERT_LE(n, (uint32_t)LAYER_TENSORS_MAX);
        for (uint32_t i = 0; i < n; i++) {
            table[list[i].name] = list[i].cols ? std::vector<uint64_t>{list[i].rows, list[i].cols}
                                               : std::vector<uint64_t>{list[i].rows};
            EXPECT_LT(list[i].field, sizeof(struct layer));
            EXPECT_TRUE(fields.insert(list[i].field).second) << list[i].name;
        }
    }
    size_t dense = 0;
    for (const auto &tensor : toy::tensors(model)) {
        if (tensor.name.find(".experts.") != std::string::npos ||
            tensor.name.find("put_linear") != std::string::npos) /* input_linear, output_linear */
            continue;
        dense++;
        ASSERT_TRUE(table.count(tensor.name)) << tensor.name;
        EXPECT_EQ(table[tensor.name], tensor.shape) << tensor.name;
    }
    EXPECT_EQ(table.size(), dense);
}

/* Only the rows of q and k, with their biases, are in another order; only weights may be
 * encoded. */
TEST_F(Tensors, SayWhatBecomesOfThem)
{
    toy::Model m;
    m.arch = "qwen2_moe";
    m.config["rope_interleaved"] = "true";
    make(m);
    ASSERT_EQ(plan(), STATUS_OK) << error_.text;
    struct dense_tensor list[LAYER_TENSORS_MAX];
    uint32_t n = tensors_of_layer(plan_.arch, &plan_.hparams, 1, list);
    std::set<std::string> turned, exact;
    for (uint32_t i = 0; i < n; i++) {
        std::string inner = std::string(list[i].name).substr(strlen("model.layers.1."));
        if (list[i].head_rows) {
            EXPECT_EQ(list[i].head_rows, m.head_dim);
            turned.insert(inner);
        }
        if (list[i].cols && list[i].use == TENSOR_EXACT)
            exact.insert(inner);
    }
    EXPECT_EQ(turned, (std::set<std::string>{"self_attn.q_proj.weight", "self_attn.q_proj.bias",
                                             "self_attn.k_proj.weight", "self_attn.k_proj.bias"}));
    EXPECT_EQ(exact, (std::set<std::string>{"mlp.gate.weight", "mlp.shared_expert_gate.weight"}));
    tensors_outer(&plan_.hparams, list);
    EXPECT_EQ(list[0].use, TENSOR_TABLE);
    EXPECT_EQ(list[1].use, TENSOR_WEIGHTS);
    plan_.hparams.tied_head = true;
    tensors_outer(&plan_.hparams, list);
    EXPECT_EQ(list[0].use, TENSOR_EXACT); /* it is multiplied, too */
}

std::vector<toy::Model> kinds()
{
    std::vector<toy::Model> out;
    for (const char *arch : {"qwen3_moe", "olmoe", "mixtral", "qwen2_moe", "granitemoe"})
        for (int tied = 0; tied < 2; tied++) {
            toy::Model m;
            m.arch = arch;
            m.tied = tied;
            m.bias = !tied && (m.arch == "qwen3_moe" || m.arch == "olmoe");
            m.layers = 12; /* two digits in a name */
            out.push_back(m);
        }
    return out;
}

INSTANTIATE_TEST_SUITE_P(Kinds, TensorsOf, testing::ValuesIn(kinds()), [](const auto &kind) {
    return kind.param.arch + (kind.param.tied ? "_tied" : "");
});

} // namespace
