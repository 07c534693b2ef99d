#include "tests/support/toy_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

namespace toy {

using test_support::TensorToWrite;

namespace {

std::string number(uint64_t n)
{
    return std::to_string(n);
}

/* Even noise in [middle - spread, middle + spread]. */
std::vector<float> noise(scratch::Random &random, uint64_t count, float middle, float spread)
{
    std::vector<float> out(count);
    for (float &v : out)
        v = middle + spread * (static_cast<float>(random.below(1 << 20)) / (1 << 19) - 1);
    return out;
}

std::string encode(const std::vector<float> &values, const std::string &dtype)
{
    if (dtype == "F32")
        return test_support::bytes_of(values);
    if (dtype != "BF16")
        throw std::runtime_error("toy models are F32 or BF16, not " + dtype);
    std::vector<uint16_t> halves(values.size());
    for (size_t i = 0; i < values.size(); i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        halves[i] = static_cast<uint16_t>(bits >> 16);
    }
    return test_support::bytes_of(halves);
}

struct Maker {
    const Model &model;
    scratch::Random random;
    std::vector<TensorToWrite> out;

    explicit Maker(const Model &m) : model(m), random(m.seed) {}

    void matrix(const std::string &name, const std::string &dtype, std::vector<uint64_t> shape)
    {
        uint64_t count = 1;
        for (uint64_t dim : shape)
            count *= dim;
        float spread = 1.7f / std::sqrt(static_cast<float>(shape.back()));
        out.push_back({name, dtype, shape, encode(noise(random, count, 0, spread), dtype)});
    }
    void vector(const std::string &name, uint64_t count, float middle, float spread)
    {
        out.push_back({name, "F32", {count}, encode(noise(random, count, middle, spread), "F32")});
    }
    void attention(const std::string &prefix)
    {
        const Model &m = model;
        uint64_t q = m.heads * m.head_dim, kv = m.kv_heads * m.head_dim;
        const struct {
            const char *name;
            uint64_t rows, cols;
        } parts[] = {
            {"q", q, m.hidden}, {"k", kv, m.hidden}, {"v", kv, m.hidden}, {"o", m.hidden, q}};
        for (const auto &part : parts) {
            std::string name = prefix + "self_attn." + part.name + "_proj.";
            matrix(name + "weight", m.dense, {part.rows, part.cols});
            if (m.arch == "qwen2_moe" ? part.name[0] != 'o' : m.bias)
                vector(name + "bias", part.rows, 0, 0.5f);
        }
        if (m.arch != "olmoe" && m.arch != "qwen3_moe")
            return;
        bool whole = m.arch == "olmoe";
        vector(prefix + "self_attn.q_norm.weight", whole ? q : m.head_dim, 1, 0.3f);
        vector(prefix + "self_attn.k_norm.weight", whole ? kv : m.head_dim, 1, 0.3f);
    }
    void experts(const std::string &prefix, uint32_t layer)
    {
        const Model &m = model;
        bool mixtral = m.arch == "mixtral";
        std::string block = prefix + (mixtral ? "block_sparse_moe." : "mlp.");
        const std::string &dtype = m.expert[layer % m.expert.size()];
        if (m.arch == "granitemoe") {
            block = prefix + "block_sparse_moe.";
            matrix(block + "router.layer.weight", m.dense, {m.experts, m.hidden});
            matrix(block + "input_linear.weight", dtype, {m.experts, 2 * m.width, m.hidden});
            matrix(block + "output_linear.weight", dtype, {m.experts, m.hidden, m.width});
            return;
        }
        matrix(block + "gate.weight", m.dense, {m.experts, m.hidden});
        if (m.arch == "qwen2_moe") {
            matrix(block + "shared_expert.gate_proj.weight", m.dense, {m.shared_width, m.hidden});
            matrix(block + "shared_expert.up_proj.weight", m.dense, {m.shared_width, m.hidden});
            matrix(block + "shared_expert.down_proj.weight", m.dense, {m.hidden, m.shared_width});
            matrix(block + "shared_expert_gate.weight", m.dense, {1, m.hidden});
        }
        if (m.fused) {
            matrix(block + "experts.gate_up_proj", dtype, {m.experts, 2 * m.width, m.hidden});
            matrix(block + "experts.down_proj", dtype, {m.experts, m.hidden, m.width});
            return;
        }
        for (uint32_t e = 0; e < m.experts; e++) {
            std::string one = block + "experts." + number(e) + ".";
            matrix(one + (mixtral ? "w1" : "gate_proj") + ".weight", dtype, {m.width, m.hidden});
            matrix(one + (mixtral ? "w3" : "up_proj") + ".weight", dtype, {m.width, m.hidden});
            matrix(one + (mixtral ? "w2" : "down_proj") + ".weight", dtype, {m.hidden, m.width});
        }
    }
};

} // namespace

Multipliers multipliers(const Model &m)
{
    Multipliers out;
    if (m.arch == "granitemoe")
        out = {12.0f, 0.25f, 0.375f, 6.0f};
    return out;
}

std::string config_json(const Model &m)
{
    bool granite = m.arch == "granitemoe", local = m.arch == "mixtral" || granite;
    bool moe_width = m.arch == "qwen3_moe" || m.arch == "qwen2_moe";
    std::map<std::string, std::string> keys = {
        {"model_type", "\"" + m.arch + "\""},
        {"num_hidden_layers", number(m.layers)},
        {"hidden_size", number(m.hidden)},
        {"num_attention_heads", number(m.heads)},
        {"num_key_value_heads", number(m.kv_heads)},
        {"head_dim", number(m.head_dim)},
        {local ? "num_local_experts" : "num_experts", number(m.experts)},
        {moe_width ? "moe_intermediate_size" : "intermediate_size", number(m.width)},
        {"num_experts_per_tok", number(m.top_k)},
        {"vocab_size", number(m.vocab)},
        {"max_position_embeddings", number(m.context)},
        {"rms_norm_eps", "1e-6"},
        {"rope_theta", "10000.0"},
        {"hidden_act", "\"silu\""},
        {"tie_word_embeddings", m.tied ? "true" : "false"},
        {"attention_bias", m.bias ? "true" : "false"},
        {"eos_token_id", "0"},
    };
    if (!local)
        keys["norm_topk_prob"] = m.arch == "qwen3_moe" ? "true" : "false";
    if (m.arch == "qwen2_moe") {
        keys["shared_expert_intermediate_size"] = number(m.shared_width);
        keys["attention_bias"] = ""; /* published files have no such key */
    }
    if (granite) {
        keys["embedding_multiplier"] = "12.0";
        keys["attention_multiplier"] = "0.25";
        keys["residual_multiplier"] = "0.375";
        keys["logits_scaling"] = "6.0";
    }
    if (m.window)
        keys["sliding_window"] = number(m.window);
    for (const auto &change : m.config)
        keys[change.first] = change.second;
    std::string text = "{";
    for (const auto &key : keys)
        if (!key.second.empty())
            text += (text.size() > 1 ? ", \"" : "\"") + key.first + "\": " + key.second;
    return text + "}";
}

std::vector<TensorToWrite> tensors(const Model &m)
{
    Maker maker(m);
    maker.matrix("model.embed_tokens.weight", m.dense, {m.vocab, m.hidden});
    for (uint32_t layer = 0; layer < m.layers; layer++) {
        std::string prefix = "model.layers." + number(layer) + ".";
        maker.vector(prefix + "input_layernorm.weight", m.hidden, 1, 0.3f);
        maker.attention(prefix);
        maker.vector(prefix + "post_attention_layernorm.weight", m.hidden, 1, 0.3f);
        maker.experts(prefix, layer);
    }
    maker.vector("model.norm.weight", m.hidden, 1, 0.3f);
    if (!m.tied)
        maker.matrix("lm_head.weight", m.dense, {m.vocab, m.hidden});
    return maker.out;
}

TensorToWrite *find(std::vector<TensorToWrite> &tensors, const std::string &name)
{
    for (TensorToWrite &tensor : tensors)
        if (tensor.name == name)
            return &tensor;
    return nullptr;
}

std::vector<float> values(const TensorToWrite &tensor)
{
    bool whole = tensor.dtype == "F32";
    std::vector<float> out(tensor.bytes.size() / (whole ? 4 : 2));
    for (size_t i = 0; i < out.size(); i++) {
        uint32_t bits = 0;
        if (whole)
            memcpy(&bits, tensor.bytes.data() + 4 * i, 4);
        else
            memcpy(reinterpret_cast<char *>(&bits) + 2, tensor.bytes.data() + 2 * i, 2);
        memcpy(&out[i], &bits, 4);
    }
    return out;
}

void write(const scratch::Folder &folder, const Model &model)
{
    write(folder, model, tensors(model));
}

void write(const scratch::Folder &folder, const Model &model,
           const std::vector<TensorToWrite> &tensors)
{
    folder.write("config.json", config_json(model));
    folder.write("model.safetensors", test_support::safetensors_file(tensors));
}

uint64_t write_with_last(const scratch::Folder &folder, const Model &model,
                         const std::vector<std::string> &names)
{
    std::vector<TensorToWrite> all = tensors(model);
    uint64_t last_bytes = 0;
    for (const std::string &name : names) {
        auto at = std::find_if(all.begin(), all.end(),
                               [&](const TensorToWrite &tensor) { return tensor.name == name; });
        if (at == all.end())
            throw std::runtime_error("the toy model has no " + name);
        last_bytes += at->bytes.size();
        std::rotate(at, at + 1, all.end());
    }
    write(folder, model, all);
    return folder.read("model.safetensors").size() - last_bytes;
}

} // namespace toy
