/* Model folders made up on the spot: random weights from a seed, any of our architectures, any
 * small size, and any one thing wrong with it. What a trained model says is tests/golden's
 * business. */
#ifndef MOERING_TESTS_SUPPORT_TOY_MODEL_H
#define MOERING_TESTS_SUPPORT_TOY_MODEL_H

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/support/safetensors_writer.h"
#include "tests/support/scratch.h"

namespace toy {

struct Model {
    std::string arch = "qwen3_moe"; /* or qwen2_moe, olmoe, mixtral, granitemoe (always fused) */
    uint32_t layers = 3, hidden = 32, heads = 4, kv_heads = 2, head_dim = 8;
    uint32_t experts = 8, top_k = 2, width = 16, vocab = 96, context = 128;
    uint32_t window = 0;
    uint32_t shared_width = 24; /* of qwen2_moe's shared expert */
    bool fused = false, tied = false, bias = false;
    std::string dense = "F32"; /* or BF16: type of the matrices outside the experts */
    std::vector<std::string> expert = {"F32"};  /* of layer i: expert[i % size] */
    uint64_t seed = 1;
    std::map<std::string, std::string> config;  /* key -> JSON that replaces it; "": key left out */
};

/* What granitemoe multiplies with, or divides logits by. */
struct Multipliers {
    float embedding = 1, attention = 0, residual = 1,
          logits = 1; /* attention 0: 1 / sqrt(head_dim) */
};
Multipliers multipliers(const Model &model);

/* "a.b" is a plain key here: the text of the whole object goes under "a". */
std::string config_json(const Model &model);
std::vector<test_support::TensorToWrite> tensors(const Model &model);
test_support::TensorToWrite *find(std::vector<test_support::TensorToWrite> &tensors,
                                  const std::string &name);
/* The numbers of an F32 or BF16 tensor. */
std::vector<float> values(const test_support::TensorToWrite &tensor);

/* config.json and model.safetensors, from the model or from tensors changed by the caller. */
void write(const scratch::Folder &folder, const Model &model);
void write(const scratch::Folder &folder, const Model &model,
           const std::vector<test_support::TensorToWrite> &tensors);
/* The same model with these tensors last in model.safetensors. Returns where the first of them
 * begins: a file cut there has lost them and nothing else. */
uint64_t write_with_last(const scratch::Folder &folder, const Model &model,
                         const std::vector<std::string> &names);

} // namespace toy
#endif
