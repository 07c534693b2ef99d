/* The transformer against the same network written out in doubles: windows, biases, tied heads,
 * fused experts and odd sizes, which the golden models do not have all. */
#include "engine/model/transformer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

#include "memory/device.h"
#include "tests/engine/model/model_harness.h"
#include "tests/support/toy_batch.h"

namespace {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

/* The paper, without a cache: all positions from the first, every sum in doubles. */
class Paper {
public:
    Paper(const toy::Model &model, std::vector<test_support::TensorToWrite> tensors)
        : m_(model), by_(toy::multipliers(model)), tensors_(std::move(tensors))
    {
    }
    /* Logits of every position. */
    Rows run(const std::vector<uint32_t> &tokens)
    {
        std::vector<float> table = get("model.embed_tokens.weight");
        Rows x;
        for (uint32_t token : tokens)
            x.emplace_back(table.begin() + token * m_.hidden,
                           table.begin() + (token + 1) * m_.hidden);
        for (Row &row : x)
            for (double &v : row)
                v *= by_.embedding;
        for (uint32_t l = 0; l < m_.layers; l++) {
            prefix_ = "model.layers." + std::to_string(l) + ".";
            attention(x);
            for (Row &row : x)
                experts(row);
        }
        prefix_ = "";
        std::vector<float> head = get(m_.tied ? "model.embed_tokens.weight" : "lm_head.weight");
        Rows logits;
        for (const Row &row : x)
            logits.push_back(times(head, norm(row, get("model.norm.weight"))));
        for (Row &row : logits)
            for (double &v : row)
                v /= by_.logits;
        return logits;
    }

private:
    std::vector<float> get(const std::string &name)
    {
        return toy::values(*toy::find(tensors_, prefix_ + name));
    }
    static Row times(const std::vector<float> &w, const Row &x)
    {
        Row y(w.size() / x.size(), 0);
        for (size_t o = 0; o < y.size(); o++)
            for (size_t i = 0; i < x.size(); i++)
                y[o] += (double)w[o * x.size() + i] * x[i];
        return y;
    }
    static Row norm(const Row &x, const std::vector<float> &weight)
    {
        double mean = std::inner_product(x.begin(), x.end(), x.begin(), 0.0) / (double)x.size();
        Row y(x.size());
        for (size_t i = 0; i < x.size(); i++)
            y[i] = x[i] / std::sqrt(mean + 1e-6) * weight[i % weight.size()];
        return y;
    }
    Row project(const char *which, const Row &x)
    {
        std::string name = std::string("self_attn.") + which + "_proj.";
        Row y = times(get(name + "weight"), x);
        if (m_.arch == "qwen2_moe" ? which[0] != 'o' : m_.bias) {
            std::vector<float> bias = get(name + "bias");
            for (size_t i = 0; i < y.size(); i++)
                y[i] += bias[i];
        }
        return y;
    }
    /* Norm (per head or over all) and rotation of q or k. */
    Row ready(Row x, const char *norm_name, uint32_t position)
    {
        size_t dim = m_.head_dim;
        if (m_.arch == "olmoe" || m_.arch == "qwen3_moe") {
            std::vector<float> weight = get(norm_name);
            for (size_t at = 0; at < x.size(); at += weight.size()) {
                Row part =
                    norm(Row(x.begin() + (long)at, x.begin() + (long)(at + weight.size())), weight);
                std::copy(part.begin(), part.end(), x.begin() + (long)at);
            }
        }
        for (size_t head = 0; head < x.size(); head += dim)
            for (size_t i = 0; i < dim / 2; i++) {
                double turn = position * std::pow(1e4, -2.0 * (double)i / (double)dim);
                double a = x[head + i], b = x[head + i + dim / 2];
                x[head + i] = a * cos(turn) - b * sin(turn);
                x[head + i + dim / 2] = b * cos(turn) + a * sin(turn);
            }
        return x;
    }
    void attention(Rows &x)
    {
        size_t dim = m_.head_dim;
        Rows q, k, v;
        for (size_t p = 0; p < x.size(); p++) {
            Row n = norm(x[p], get("input_layernorm.weight"));
            q.push_back(ready(project("q", n), "self_attn.q_norm.weight", (uint32_t)p));
            k.push_back(ready(project("k", n), "self_attn.k_norm.weight", (uint32_t)p));
            v.push_back(project("v", n));
        }
        for (size_t p = 0; p < x.size(); p++) {
            Row out(m_.heads * dim, 0);
            size_t first = m_.window && p + 1 > m_.window ? p + 1 - m_.window : 0;
            for (size_t h = 0; h < m_.heads; h++) {
                size_t kv = h / (m_.heads / m_.kv_heads);
                Row weight(p + 1, 0);
                double sum = 0;
                for (size_t j = first; j <= p; j++) {
                    double dot = 0;
                    for (size_t i = 0; i < dim; i++)
                        dot += q[p][h * dim + i] * k[j][kv * dim + i];
                    double scale = by_.attention > 0 ? by_.attention : 1 / std::sqrt((double)dim);
                    sum += weight[j] = std::exp(dot * scale);
                }
                for (size_t j = first; j <= p; j++)
                    for (size_t i = 0; i < dim; i++)
                        out[h * dim + i] += weight[j] / sum * v[j][kv * dim + i];
            }
            Row y = project("o", out);
            for (size_t i = 0; i < y.size(); i++)
                x[p][i] += by_.residual * y[i];
        }
    }
    static Row swiglu(const std::vector<float> &gate, const std::vector<float> &up,
                      const std::vector<float> &down, const Row &x)
    {
        Row g = times(gate, x), u = times(up, x);
        for (size_t f = 0; f < g.size(); f++)
            g[f] = g[f] / (1 + std::exp(-g[f])) * u[f];
        return times(down, g);
    }
    void shared_expert(Row &x, const Row &n)
    {
        double gate = times(get("mlp.shared_expert_gate.weight"), n)[0];
        Row y = swiglu(get("mlp.shared_expert.gate_proj.weight"),
                       get("mlp.shared_expert.up_proj.weight"),
                       get("mlp.shared_expert.down_proj.weight"), n);
        for (size_t o = 0; o < y.size(); o++)
            x[o] += y[o] / (1 + std::exp(-gate));
    }
    void experts(Row &x)
    {
        bool mixtral = m_.arch == "mixtral", granite = m_.arch == "granitemoe";
        bool renormalised = m_.arch != "olmoe" && m_.arch != "qwen2_moe";
        std::string block = mixtral || granite ? "block_sparse_moe." : "mlp.";
        Row n = norm(x, get("post_attention_layernorm.weight"));
        Row scores = times(get(block + (granite ? "router.layer.weight" : "gate.weight")), n);
        std::vector<uint32_t> order(m_.experts);
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(),
                         [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
        double sum = 0;
        for (uint32_t i = 0; i < (renormalised ? m_.top_k : m_.experts); i++)
            sum += std::exp(scores[order[i]]);
        for (uint32_t i = 0; i < m_.top_k; i++) {
            std::vector<float> gate, up, down;
            size_t matrix = (size_t)m_.width * m_.hidden;
            if (m_.fused || granite) {
                std::string fused = block + (granite ? "input_linear.weight"
                                                     : "experts.gate_up_proj");
                std::vector<float> both = get(fused);
                std::vector<float> all = get(block + (granite ? "output_linear.weight"
                                                              : "experts.down_proj"));
                auto at = both.begin() + (long)(2 * order[i] * matrix);
                gate.assign(at, at + (long)matrix);
                up.assign(at + (long)matrix, at + 2 * (long)matrix);
                down.assign(all.begin() + (long)(order[i] * matrix),
                            all.begin() + (long)((order[i] + 1) * matrix));
            } else {
                std::string one = block + "experts." + std::to_string(order[i]) + ".";
                gate = get(one + (mixtral ? "w1" : "gate_proj") + ".weight");
                up = get(one + (mixtral ? "w3" : "up_proj") + ".weight");
                down = get(one + (mixtral ? "w2" : "down_proj") + ".weight");
            }
            Row y = swiglu(gate, up, down, n);
            for (size_t o = 0; o < y.size(); o++)
                x[o] += by_.residual * std::exp(scores[order[i]]) / sum * y[o];
        }
        if (m_.arch == "qwen2_moe")
            shared_expert(x, n);
    }
    const toy::Model &m_;
    const toy::Multipliers by_;
    std::vector<test_support::TensorToWrite> tensors_;
    std::string prefix_;
};

class Transformer : public ToyTest, public testing::WithParamInterface<toy::Model> {
protected:
    static constexpr uint32_t kRows = 16, kLogits = 5, kTokens = 45;

    ~Transformer() override
    {
        transformer_close(&transformer_);
        pager_close(pager_);
        kv_cache_close(kv_);
        model_close(model_);
        memory_close(memory_);
        backend_close(backend_);
    }
    void open(const toy::Model &toy, const std::vector<test_support::TensorToWrite> &tensors)
    {
        make(toy, tensors);
        ASSERT_EQ(plan(), STATUS_OK) << error_.text;
        struct cpu_backend_config cpu = {};
        cpu.threads = 1;
        cpu.isa = CPU_BEST;
        cpu.expert_width_max = std::max(toy.width, toy.shared_width);
        cpu.cols_max = plan_.cols_max;
        cpu.experts_max = toy.experts;
        cpu.context_max = kTokens;
        cpu.rows_max = kRows;
        ASSERT_EQ(cpu_backend_open(&backend_, &cpu, &error_), STATUS_OK);
        struct memory_config memory = {};
        uint64_t arena = 0;
        for (uint32_t c = 0; c < store_classes(store_); c++) {
            memory.slots[MEMORY_DEVICE].of_class[c] = 2;
            arena += 2 * store_class_slot_bytes(store_, c);
        }
        memory.io = IO_SYNC;
        ASSERT_EQ(device_host_open(&memory.device, arena, 0, &error_), STATUS_OK);
        ASSERT_EQ(memory_open(&memory_, store_, &memory, &error_), STATUS_OK) << error_.text;
        store_ = nullptr;
        ASSERT_EQ(model_open(&model_, checkpoint_, &plan_, backend_, nullptr, nullptr, &error_),
                  STATUS_OK) << error_.text;
        struct kv_cache_config kv = {};
        kv.backend = backend_;
        kv.layers = toy.layers;
        kv.kv_heads = toy.kv_heads;
        kv.head_dim = toy.head_dim;
        kv.blocks = 8;
        ASSERT_EQ(kv_cache_open(&kv_, &kv, &error_), STATUS_OK);
        struct pager_config pager = {};
        pager.memory = memory_;
        pager.layers = toy.layers;
        pager.experts = toy.experts;
        ASSERT_EQ(pager_open(&pager_, &pager, &error_), STATUS_OK);
        struct transformer_config config = {};
        config.model = model_;
        config.kv = kv_;
        config.pager = pager_;
        config.rows_max = kRows;
        config.logits_max = kLogits;
        ASSERT_EQ(transformer_open(&transformer_, &config, &error_), STATUS_OK);
    }
    /* All positions in chunks, their logits a few rows at a time. */
    std::vector<float> run(const std::vector<uint32_t> &tokens, uint32_t chunk,
                           uint32_t first_block)
    {
        uint32_t vocab = model_->hparams.vocab, blocks[3] = {first_block, 7 - first_block, 3};
        std::vector<float> logits(tokens.size() * vocab);
        for (uint32_t at = 0; at < tokens.size(); at += chunk) {
            uint32_t n = std::min(chunk, (uint32_t)tokens.size() - at);
            toy::Batch batch;
            batch.add(&tokens[at], n, at, blocks);
            EXPECT_EQ(transformer_forward(&transformer_, batch.get(), &error_), STATUS_OK)
                << error_.text;
            for (uint32_t r = 0; r < n; r += kLogits) {
                uint32_t rows[kLogits], count = std::min(kLogits, n - r);
                std::iota(rows, rows + kLogits, r);
                transformer_logits(&transformer_, rows, count, &logits[(size_t)(at + r) * vocab]);
            }
        }
        return logits;
    }
    struct backend *backend_ = nullptr;
    struct memory *memory_ = nullptr;
    struct model *model_ = nullptr;
    struct kv_cache *kv_ = nullptr;
    struct expert_pager *pager_ = nullptr;
    struct transformer transformer_ = {};
};

TEST_P(Transformer, ComputesWhatThePaperSays)
{
    const toy::Model &toy = GetParam();
    auto tensors = toy::tensors(toy);
    open(toy, tensors);
    scratch::Random random(toy.seed);
    std::vector<uint32_t> tokens(kTokens);
    for (uint32_t &token : tokens)
        token = random.below(toy.vocab);
    Rows want = Paper(toy, tensors).run(tokens);
    std::vector<float> got = run(tokens, kRows, 0);
    for (size_t p = 0; p < want.size(); p++) {
        double largest = 0;
        for (double v : want[p])
            largest = std::max(largest, std::fabs(v));
        for (size_t i = 0; i < want[p].size(); i++)
            ASSERT_NEAR(got[p * toy.vocab + i], want[p][i], 1e-4 * largest) << "position " << p;
    }
    for (uint32_t chunk : {1u, 3u, 7u})
        EXPECT_TRUE(run(tokens, chunk, chunk % 3) == got) << "chunk " << chunk;
}

std::vector<toy::Model> kinds()
{
    std::vector<toy::Model> out;
    for (const char *arch : {"qwen3_moe", "olmoe", "mixtral", "qwen2_moe", "granitemoe"})
        for (uint32_t variant = 0; variant < 4; variant++) {
            toy::Model m;
            m.arch = arch;
            m.seed = 10 + variant;
            m.fused = m.tied = variant & 1;
            m.bias = variant == 2 && m.arch != "mixtral" && m.arch != "qwen2_moe";
            m.window = variant >= 2 && m.arch == "mixtral" ? variant * 9 - 17 : 0; /* 1 and 10 */
            if (variant == 1)
                m.dense = "BF16", m.expert = {"BF16", "F32"};
            if (variant == 3)
                m.hidden = 21, m.heads = 6, m.kv_heads = 3, m.head_dim = 10, m.experts = 5,
                m.top_k = 5, m.width = 13, m.vocab = 71;
            out.push_back(m);
        }
    return out;
}

INSTANTIATE_TEST_SUITE_P(Kinds, Transformer, testing::ValuesIn(kinds()), [](const auto &kind) {
    return kind.param.arch + "_" + std::to_string(kind.param.seed - 10);
});

TEST(TransformerClose, AcceptsAZeroedOne)
{
    struct transformer t = {};
    transformer_close(&t);
}

} // namespace
