#include "engine/model/tensors.h"

#include <map>
#include <set>

#include "engine/model/arch.h"
#include "tests/engine/model/model_harness.h"

namespace {

/* The table against the tensors that the toy writer, which knows the files and not the table,
 * makes. */
class Tensors : public ToyTest, public testing::WithParamInterface<toy::Model> {};

TEST_P(Tensors, NameEveryDenseTensorOfTheFileWithItsShape)
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
        if (tensor.name.find(".experts.") != std::string::npos)
            continue;
        dense++;
        ASSERT_TRUE(table.count(tensor.name)) << tensor.name;
        EXPECT_EQ(table[tensor.name], tensor.shape) << tensor.name;
    }
    EXPECT_EQ(table.size(), dense);
}

std::vector<toy::Model> kinds()
{
    std::vector<toy::Model> out;
    for (const char *arch : {"qwen3_moe", "olmoe", "mixtral"})
        for (int tied = 0; tied < 2; tied++) {
            toy::Model m;
            m.arch = arch;
            m.tied = tied;
            m.bias = !tied && m.arch != "mixtral";
            m.layers = 12; /* two digits in a name */
            out.push_back(m);
        }
    return out;
}

INSTANTIATE_TEST_SUITE_P(Kinds, Tensors, testing::ValuesIn(kinds()), [](const auto &kind) {
    return kind.param.arch + (kind.param.tied ? "_tied" : "");
});

} // namespace
