/* One layer of toy experts on the real backend, pager and memory, against the same layer written
 * out in doubles. */
#include "engine/moe/moe_layer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "memory/device.h"
#include "tests/engine/moe/toy_weights.h"
#include "tests/support/scratch.h"
#include "tests/support/toy_batch.h"

namespace {

constexpr uint32_t kHidden = 20, kWidth = 12, kExperts = 7, kLayers = 2, kRows = 9;
constexpr uint32_t kShared = 28; /* width of the shared expert */
constexpr size_t kMatrix = (size_t)kHidden * kWidth, kSharedMatrix = (size_t)kHidden * kShared;

std::vector<float> noise(scratch::Random &random, size_t count)
{
    std::vector<float> out(count);
    for (float &v : out)
        v = (float)random.below(2001) / 1000 - 1;
    return out;
}

/* The weights of all pages, in a file: gate, up, down of each. */
struct Weights {
    scratch::Folder folder;
    std::vector<float> values;
    std::vector<float> router[kLayers];
    std::vector<float> shared[kLayers]; /* gate, up, down, its own gate */

    Weights()
    {
        scratch::Random random(42);
        values = noise(random, kLayers * kExperts * 3 * kMatrix);
        for (auto &r : router)
            r = noise(random, kExperts * kHidden);
        for (auto &s : shared)
            s = noise(random, 3 * kSharedMatrix + kHidden);
        folder.write("experts", values.data(), values.size() * sizeof(float));
    }
    const float *matrix(uint32_t layer, uint32_t expert, int part) const
    {
        return values.data() + ((layer * kExperts + expert) * 3 + (size_t)part) * kMatrix;
    }
};

class Layer {
public:
    /* `foresight`: guesses are made, by this foretelling. */
    Layer(const Weights &weights, enum router_kind kind, uint32_t top_k, uint32_t slots,
          uint32_t threads = 1, enum foresight foresight = FORESIGHT_KINDS, bool shared = false)
        : weights_(weights), shared_(shared), norm_(kHidden, 1.0f)
    {
        struct error error = {};
        struct store *store;
        uint32_t file;
        page_id page;
        EXPECT_EQ(store_open(&store, &error), STATUS_OK);
        EXPECT_EQ(store_add_file(store, weights.folder.path("experts").c_str(), &file, &error),
                  STATUS_OK);
        for (uint64_t p = 0; p < kLayers * kExperts; p++) {
            struct page_part parts[3] = {};
            for (uint64_t i = 0; i < 3; i++) {
                parts[i].offset = (p * 3 + i) * kMatrix * sizeof(float);
                parts[i].bytes = kMatrix * sizeof(float);
            }
            EXPECT_EQ(store_add_page(store, parts, 3, &page, &error), STATUS_OK) << error.text;
        }
        EXPECT_EQ(store_seal(store, &error), STATUS_OK);
        struct memory_config memory = {};
        memory.slots[MEMORY_DEVICE].of_class[0] = slots;
        memory.io = IO_SYNC;
        uint64_t arena = slots * store_class_slot_bytes(store, 0);
        EXPECT_EQ(device_host_open(&memory.device, arena, 0, &error), STATUS_OK);
        EXPECT_EQ(memory_open(&memory_, store, &memory, &error), STATUS_OK) << error.text;
        struct cpu_backend_config cpu = {};
        cpu.threads = threads;
        cpu.isa = CPU_BEST;
        cpu.expert_width_max = kShared;
        cpu.cols_max = kHidden;
        cpu.experts_max = kExperts;
        cpu.context_max = 1;
        cpu.rows_max = kRows;
        EXPECT_EQ(cpu_backend_open(&backend_, &cpu, &error), STATUS_OK);
        struct pager_config pager = {};
        pager.memory = memory_;
        pager.layers = kLayers;
        pager.experts = kExperts;
        pager.top_k = top_k;
        if (foresight != FORESIGHT_KINDS) {
            pager.prefetch = PREFETCH_ON;
            pager.foresight = foresight;
        }
        for (uint32_t l = 0; l < kLayers; l++) {
            routers_[l].weight = weights_of(l).router;
            routers_[l].norm = norm_.data();
        }
        EXPECT_EQ(pager_open(&pager_, &pager, &error), STATUS_OK);
        struct moe_config config = {};
        config.backend = backend_;
        config.pager = pager_;
        config.router = {kind, kExperts, top_k, 0};
        config.hidden = kHidden;
        config.expert_width = kWidth;
        config.rows_max = kRows;
        config.shared = shared;
        config.routers = routers_;
        config.layers = kLayers;
        config.norm_eps = 1e-6f;
        EXPECT_EQ(moe_open(&moe_, &config, &error), STATUS_OK);
    }
    ~Layer()
    {
        moe_close(&moe_);
        pager_close(pager_);
        backend_close(backend_);
        memory_close(memory_);
    }

    /* items[i]: rows of item i. */
    enum status run(uint32_t layer, std::vector<float> &x, const std::vector<float> &normed,
                    const std::vector<uint32_t> &items, struct error *error = nullptr)
    {
        const uint32_t tokens[kRows] = {};
        batch_ = toy::Batch();
        for (uint32_t rows : items)
            batch_.add(tokens, rows, 0, nullptr);
        struct moe_weights weights = weights_of(layer);
        struct moe_call call = {layer, &weights, x.data(), normed.data(), batch_.get()};
        return moe_layer(&moe_, &call, error);
    }
    /* One item for each row; chosen: as many for each. */
    void ran(uint32_t layer, const std::vector<uint32_t> &experts,
             const std::vector<uint32_t> &rows)
    {
        const uint32_t tokens[kRows] = {};
        const std::vector<float> weights(experts.size(), 0.5f);
        struct moe_routing routing = {experts.data(), weights.data()};
        batch_ = toy::Batch();
        for (size_t r = 0; r < rows.size(); r++)
            batch_.add(tokens, 1, 0, nullptr);
        moe_ran(&moe_, layer, batch_.get(), &routing);
    }
    struct pager_counters counted() const
    {
        struct pager_counters c;
        pager_counters(pager_, &c);
        return c;
    }
    void part_offsets(uint32_t layer, uint32_t offset[3]) const
    {
        moe_part_offsets(&moe_, layer, offset);
    }
    struct policy_counters paging() const
    {
        struct pager_counters c;
        pager_counters(pager_, &c);
        return c.policy;
    }
    const struct expert_usage &usage(uint32_t item) const { return batch_.usage(item); }
    bool failed(uint32_t item) const { return batch_.failed(item); }
    uint64_t page_bytes() const { return store_page(memory_store(memory_), 0)->file_bytes; }
    uint32_t pins() const
    {
        uint32_t n = 0;
        for (page_id p = 0; p < kLayers * kExperts; p++)
            n += memory_pins(memory_, p);
        return n;
    }

private:
    struct moe_weights weights_of(uint32_t layer) const
    {
        struct moe_weights w =
            toy::f32_weights(weights_.router[layer].data(), kExperts, kHidden, kWidth);
        if (shared_) {
            const float *of = weights_.shared[layer].data();
            w.shared = toy::f32_expert(of, of + kSharedMatrix, of + 2 * kSharedMatrix, kHidden,
                                       kShared);
            w.shared_gate = toy::f32_tensor(of + 3 * kSharedMatrix, 1, kHidden);
        }
        return w;
    }
    const Weights &weights_;
    const bool shared_;
    std::vector<float> norm_;
    struct layer_router routers_[kLayers] = {};
    struct memory *memory_ = nullptr;
    struct backend *backend_ = nullptr;
    struct expert_pager *pager_ = nullptr;
    struct moe moe_;
    toy::Batch batch_;
};

/* The experts of one row, best first. */
std::vector<uint32_t> chosen(const Weights &w, uint32_t layer, const float *normed, uint32_t top_k,
                             std::vector<double> *logits_out = nullptr)
{
    std::vector<double> logits(kExperts, 0);
    std::vector<uint32_t> order;
    for (uint32_t e = 0; e < kExperts; e++) {
        order.push_back(e);
        for (uint32_t i = 0; i < kHidden; i++)
            logits[e] += (double)w.router[layer][e * kHidden + i] * normed[i];
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return logits[a] > logits[b]; });
    order.resize(top_k);
    if (logits_out)
        *logits_out = logits;
    return order;
}

std::vector<double> reference(const Weights &w, enum router_kind kind, uint32_t top_k,
                              uint32_t layer, const std::vector<float> &x,
                              const std::vector<float> &normed)
{
    std::vector<double> out(x.begin(), x.end());
    for (uint32_t r = 0; r < x.size() / kHidden; r++) {
        const float *n = &normed[r * kHidden];
        std::vector<double> logits;
        std::vector<uint32_t> experts = chosen(w, layer, n, top_k, &logits);
        double sum = 0;
        if (kind == ROUTER_SOFTMAX)
            for (double l : logits)
                sum += exp(l);
        else
            for (uint32_t e : experts)
                sum += exp(logits[e]);
        for (uint32_t e : experts) {
            const float *gate = w.matrix(layer, e, 0), *up = w.matrix(layer, e, 1);
            const float *down = w.matrix(layer, e, 2);
            std::vector<double> hidden(kWidth);
            for (uint32_t f = 0; f < kWidth; f++) {
                double g = 0, u = 0;
                for (uint32_t i = 0; i < kHidden; i++) {
                    g += (double)gate[f * kHidden + i] * n[i];
                    u += (double)up[f * kHidden + i] * n[i];
                }
                hidden[f] = g / (1 + exp(-g)) * u;
            }
            for (uint32_t i = 0; i < kHidden; i++)
                for (uint32_t f = 0; f < kWidth; f++)
                    out[r * kHidden + i] += exp(logits[e]) / sum * down[i * kWidth + f] * hidden[f];
        }
    }
    return out;
}

class MoeLayer : public testing::Test {
protected:
    MoeLayer()
    {
        scratch::Random random(9);
        x = noise(random, kRows * kHidden);
        normed = noise(random, kRows * kHidden);
    }
    Weights weights;
    std::vector<float> x, normed;
};

TEST_F(MoeLayer, ComputesWhatThePaperSays)
{
    for (enum router_kind kind : {ROUTER_SOFTMAX, ROUTER_SOFTMAX_NORM, ROUTER_TOPK_SOFTMAX})
        for (uint32_t top_k : {1u, 3u, kExperts}) {
            Layer layer(weights, kind, top_k, 3);
            for (uint32_t n = 0; n < kLayers; n++) {
                std::vector<float> got = x;
                ASSERT_EQ(layer.run(n, got, normed, {kRows}), STATUS_OK);
                std::vector<double> want = reference(weights, kind, top_k, n, x, normed);
                for (size_t i = 0; i < got.size(); i++)
                    ASSERT_NEAR(got[i], want[i], 2e-5) << "kind " << kind << " top-" << top_k;
            }
        }
}

/* Over every row, with the sigmoid of its gate, beside what the router chose. */
TEST_F(MoeLayer, TheSharedExpertTakesEveryRow)
{
    for (uint32_t slots : {2u, kExperts})
        for (uint32_t n = 0; n < kLayers; n++) {
            Layer layer(weights, ROUTER_SOFTMAX, 2, slots, 2, FORESIGHT_KINDS, true);
            std::vector<float> got = x;
            ASSERT_EQ(layer.run(n, got, normed, {4, 5}), STATUS_OK);
            std::vector<double> want = reference(weights, ROUTER_SOFTMAX, 2, n, x, normed);
            const float *gate = weights.shared[n].data(), *up = gate + kSharedMatrix;
            const float *down = up + kSharedMatrix, *own = down + kSharedMatrix;
            for (uint32_t r = 0; r < kRows; r++) {
                const float *row = &normed[r * kHidden];
                double weight = std::inner_product(own, own + kHidden, row, 0.0);
                weight = 1 / (1 + exp(-weight));
                for (uint32_t f = 0; f < kShared; f++) {
                    double g = std::inner_product(row, row + kHidden, gate + f * kHidden, 0.0);
                    double u = std::inner_product(row, row + kHidden, up + f * kHidden, 0.0);
                    for (uint32_t i = 0; i < kHidden; i++)
                        want[r * kHidden + i] +=
                            weight * down[i * kShared + f] * g / (1 + exp(-g)) * u;
                }
            }
            for (size_t i = 0; i < got.size(); i++)
                ASSERT_NEAR(got[i], want[i], 1e-4) << "value " << i;
            std::vector<float> one(x.begin() + 3 * kHidden, x.begin() + 4 * kHidden);
            std::vector<float> alone(normed.begin() + 3 * kHidden, normed.begin() + 4 * kHidden);
            ASSERT_EQ(layer.run(n, one, alone, {1}), STATUS_OK); /* a row depends on itself alone */
            EXPECT_EQ(memcmp(one.data(), &got[3 * kHidden], kHidden * sizeof(float)), 0);
        }
}

TEST_F(MoeLayer, RingThreadsAndNeighboursChangeNoBit)
{
    std::vector<float> want = x;
    Layer whole(weights, ROUTER_SOFTMAX_NORM, 3, kLayers * kExperts);
    ASSERT_EQ(whole.run(1, want, normed, {kRows}), STATUS_OK);
    for (uint32_t slots = 1; slots <= kExperts; slots++)
        for (uint32_t threads : {1u, 2u}) {
            std::vector<float> got = x;
            Layer layer(weights, ROUTER_SOFTMAX_NORM, 3, slots, threads);
            ASSERT_EQ(layer.run(1, got, normed, {4, 5}), STATUS_OK);
            ASSERT_EQ(got, want) << slots << " slots, " << threads << " threads";
            for (uint32_t r = 0; r < kRows; r++) { /* each row alone */
                std::vector<float> one(x.begin() + r * kHidden, x.begin() + (r + 1) * kHidden);
                std::vector<float> n(normed.begin() + r * kHidden,
                                     normed.begin() + (r + 1) * kHidden);
                ASSERT_EQ(layer.run(1, one, n, {1}), STATUS_OK);
                ASSERT_EQ(0, memcmp(one.data(), &want[r * kHidden], kHidden * sizeof(float)));
            }
        }
}

/* Guesses, and the routers asked for them, touch nothing that is computed. */
TEST_F(MoeLayer, ForesightChangesNoBit)
{
    Layer plain(weights, ROUTER_SOFTMAX_NORM, 2, kLayers * kExperts);
    for (enum foresight foresight : {FORESIGHT_AUTO, FORESIGHT_LOOKAHEAD, FORESIGHT_PREVIOUS}) {
        Layer layer(weights, ROUTER_SOFTMAX_NORM, 2, 8, 1, foresight);
        scratch::Random random(4);
        for (int step = 0; step < 300; step++)
            for (uint32_t l = 0; l < kLayers; l++) {
                std::vector<float> n = noise(random, kHidden), got(kHidden, 0.5f), want = got;
                ASSERT_EQ(layer.run(l, got, n, {1}), STATUS_OK);
                ASSERT_EQ(plain.run(l, want, n, {1}), STATUS_OK);
                ASSERT_EQ(got, want);
            }
        EXPECT_EQ(layer.paging().foresight_loss[FORESIGHT_LOOKAHEAD] > 0,
                  foresight != FORESIGHT_PREVIOUS);
    }
}

/* A page counts for every item that chose it; its bytes once. */
TEST_F(MoeLayer, ChargesUsage)
{
    const uint32_t top_k = 2, items[3] = {4, 1, 4};
    Layer layer(weights, ROUTER_SOFTMAX, top_k, kExperts);
    std::set<uint32_t> all;
    for (int round = 0; round < 2; round++) { /* first all misses, then all hits */
        std::vector<float> out = x;
        ASSERT_EQ(layer.run(0, out, normed, {items, items + 3}), STATUS_OK);
        uint32_t row = 0;
        uint64_t bytes = 0;
        for (uint32_t i = 0; i < 3; i++) {
            std::set<uint32_t> experts;
            for (uint32_t end = row + items[i]; row < end; row++)
                for (uint32_t e : chosen(weights, 0, &normed[row * kHidden], top_k))
                    experts.insert(e);
            all.insert(experts.begin(), experts.end());
            EXPECT_EQ(layer.usage(i).hits, round ? experts.size() : 0);
            EXPECT_EQ(layer.usage(i).misses, round ? 0 : experts.size());
            bytes += layer.usage(i).bytes;
        }
        EXPECT_EQ(bytes, round ? 0 : all.size() * layer.page_bytes());
    }
}

TEST_F(MoeLayer, AFailedReadLeavesTheRowsAsTheyWere)
{
    for (uint32_t slots : {1u, 4u, kExperts}) {
        bool shared = slots == 4;
        Layer layer(weights, ROUTER_SOFTMAX_NORM, 3, slots, 1, FORESIGHT_KINDS, shared);
        std::vector<float> got = x, want = x;
        struct error error = {};
        weights.folder.truncate("experts", kMatrix * sizeof(float) * 8 + 3);
        EXPECT_EQ(layer.run(1, got, normed, {kRows}, &error), STATUS_IO);
        EXPECT_NE(std::string(error.text).find("experts"), std::string::npos) << error.text;
        EXPECT_EQ(got, x);
        EXPECT_EQ(layer.pins(), 0u);
        weights.folder.write("experts", weights.values.data(),
                             weights.values.size() * sizeof(float));
        ASSERT_EQ(layer.run(1, got, normed, {kRows}, &error), STATUS_OK);
        Layer fresh(weights, ROUTER_SOFTMAX_NORM, 3, slots, 1, FORESIGHT_KINDS, shared);
        ASSERT_EQ(fresh.run(1, want, normed, {kRows}), STATUS_OK);
        EXPECT_EQ(got, want);
    }
}

/* Whoever has a row that chose the unreadable expert, and nobody else. */
TEST_F(MoeLayer, AFailedReadIsBlamedOnTheItemsThatWantIt)
{
    const uint32_t top_k = 2, layer = kLayers - 1, expert = kExperts - 1;
    uint32_t blamed = 0, spared = 0;
    for (uint32_t slots : {1u, 3u, kExperts})
        for (const std::vector<uint32_t> &items :
             {std::vector<uint32_t>(kRows, 1), std::vector<uint32_t>{2, 3, 4}}) {
            Layer moe(weights, ROUTER_SOFTMAX, top_k, slots);
            weights.folder.truncate("experts", weights.values.size() * sizeof(float) - 1);
            std::vector<float> got = x;
            struct error error = {};
            ASSERT_EQ(moe.run(layer, got, normed, items, &error), STATUS_IO);
            EXPECT_NE(std::string(error.text).find("expert " + std::to_string(expert)),
                      std::string::npos) << error.text;
            uint32_t row = 0;
            for (uint32_t i = 0; i < items.size(); i++) {
                bool wants = false;
                for (uint32_t end = row + items[i]; row < end; row++)
                    for (uint32_t e : chosen(weights, layer, &normed[row * kHidden], top_k))
                        wants |= e == expert;
                EXPECT_EQ(moe.failed(i), wants) << "item " << i;
                (wants ? blamed : spared)++;
            }
            weights.folder.write("experts", weights.values.data(),
                                 weights.values.size() * sizeof(float));
        }
    EXPECT_GT(blamed, 0u);
    EXPECT_GT(spared, 0u);
}

/* A layer that the device ran by itself counts as a layer of hits, for the pager and the items. */
TEST_F(MoeLayer, WhatRanByItselfIsToldAsHits)
{
    Layer layer(weights, ROUTER_SOFTMAX, 2, kExperts);
    layer.ran(1, {3, 4, 5, 1}, {2, 2}); /* two rows of two choices */
    EXPECT_EQ(layer.counted().hits, 4u);
    EXPECT_EQ(layer.counted().misses, 0u);
    EXPECT_EQ(layer.usage(0).hits, 2u);
    EXPECT_EQ(layer.usage(1).hits, 2u);
    EXPECT_EQ(layer.usage(0).misses + layer.usage(1).misses, 0u);
    uint32_t offset[3];
    layer.part_offsets(1, offset);
    EXPECT_EQ(offset[0], 0u);
    EXPECT_GE(offset[1], kMatrix * sizeof(float));
    EXPECT_GE(offset[2], offset[1] + kMatrix * sizeof(float));
}

TEST(MoeClose, AcceptsAZeroedOne)
{
    struct moe moe = {};
    moe_close(&moe);
}

} // namespace
