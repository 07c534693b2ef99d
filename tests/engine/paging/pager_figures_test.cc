/* What the pager tells of its layers, against a count of what its requests answered and memory/
 * held. */
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/paging/expert_pager.h"
#include "memory/device.h"
#include "tests/memory/toy_store.h"
#include "tests/support/scratch.h"

namespace {

constexpr uint32_t kLayers = 5, kExperts = 6, kPages = kLayers * kExperts;

struct Setting {
    const char *name;
    uint32_t device, host; /* slots */
    enum prefetch_mode prefetch;
};

class PagerFigures : public testing::TestWithParam<Setting> {
protected:
    PagerFigures() : toy_({kPages}, 1)
    {
        struct error error = {};
        struct memory_config config = {};
        config.slots[MEMORY_DEVICE].of_class[0] = GetParam().device;
        config.slots[MEMORY_HOST].of_class[0] = GetParam().host;
        config.io = IO_SYNC;
        uint64_t arena = GetParam().device * store_class_slot_bytes(toy_.store, 0);
        EXPECT_EQ(device_host_open(&config.device, arena, 0, &error), STATUS_OK);
        EXPECT_EQ(memory_open(&memory_, toy_.store, &config, &error), STATUS_OK) << error.text;
        toy_.release();
        struct pager_config pager = {};
        pager.memory = memory_;
        pager.layers = kLayers;
        pager.experts = kExperts;
        pager.top_k = 2;
        pager.prefetch = GetParam().prefetch;
        pager.stream_layers = STREAM_OFF;
        EXPECT_EQ(pager_open(&pager_, &pager, &error), STATUS_OK) << error.text;
    }
    ~PagerFigures() override
    {
        pager_close(pager_);
        memory_close(memory_);
    }
    /* Asks for the experts of a layer and gives each back; `ran`: as a device that ran ahead tells
     * it, which is possible only if all are there. */
    void layer(uint32_t number, const std::vector<uint32_t> &experts)
    {
        std::vector<uint32_t> ones(experts.size() + 1, 1);
        struct layer_run run = {};
        run.layer = number;
        run.rows = 1;
        run.count = (uint32_t)experts.size();
        run.experts = experts.data();
        run.tokens = ones.data();
        struct expert_tier_usage *seen = seen_[number];
        std::vector<bool> host;
        bool all = true;
        for (uint32_t e : experts) {
            page_id page = number * kExperts + e;
            all &= memory_where(memory_, MEMORY_DEVICE, page) == SLOT_READY;
            host.push_back(memory_where(memory_, MEMORY_HOST, page) == SLOT_READY);
        }
        if (all && ahead_++ % 2) {
            pager_ran(pager_, &run);
            seen[MEMORY_DEVICE].hits += experts.size();
            return;
        }
        std::unique_ptr<bool[]> hits(new bool[experts.size() + 1]);
        pager_request(pager_, &run, hits.get());
        for (size_t i = 0; i < experts.size(); i++) {
            *(hits[i] ? &seen[MEMORY_DEVICE].hits : &seen[MEMORY_DEVICE].misses) += 1;
            if (!hits[i] && GetParam().host)
                *(host[i] ? &seen[MEMORY_HOST].hits : &seen[MEMORY_HOST].misses) += 1;
        }
        struct pager_expert e;
        while (pager_next(pager_, &e, nullptr) == STATUS_OK)
            pager_release(pager_, e.index, 0);
    }
    ToyStore toy_;
    struct memory *memory_ = nullptr;
    struct expert_pager *pager_ = nullptr;
    struct expert_tier_usage seen_[kLayers][MEMORY_TIERS] = {};
    uint32_t ahead_ = 0;
};

TEST_P(PagerFigures, LayersAreCountedApartAndAddUp)
{
    scratch::Random random(7);
    for (int step = 0; step < 300; step++) {
        pager_begin_step(pager_, 1, 1);
        for (uint32_t l = 0; l < kLayers; l++) {
            uint32_t first = random.below(random.chance(80) ? 2 : kExperts);
            layer(l, {first, (first + 1 + l) % kExperts == first ? (first + 2) % kExperts
                                                                 : (first + 1 + l) % kExperts});
        }
        pager_end_step(pager_);
    }
    struct pager_counters all;
    struct memory_counters memory;
    struct expert_tier_usage sum = {};
    uint64_t evictions[MEMORY_TIERS] = {};
    pager_counters(pager_, &all);
    memory_counters(memory_, &memory);
    for (uint32_t l = 0; l < kLayers; l++) {
        struct expert_tier_usage usage[MEMORY_TIERS];
        pager_layer_usage(pager_, l, usage);
        uint64_t asked_of_host = usage[MEMORY_HOST].hits + usage[MEMORY_HOST].misses;
        EXPECT_EQ(asked_of_host, GetParam().host ? usage[MEMORY_DEVICE].misses : 0);
        for (int t = 0; t < MEMORY_TIERS; t++) {
            if (t == MEMORY_DEVICE || GetParam().prefetch == PREFETCH_OFF) {
                /* (a guess may land on the host between our look and the request) */
                EXPECT_EQ(usage[t].hits, seen_[l][t].hits) << "layer " << l << " tier " << t;
                EXPECT_EQ(usage[t].misses, seen_[l][t].misses) << "layer " << l << " tier " << t;
            }
            uint32_t resident = 0;
            for (uint32_t e = 0; e < kExperts; e++)
                resident +=
                    memory_where(memory_, (enum memory_tier)t, l * kExperts + e) == SLOT_READY;
            EXPECT_EQ(usage[t].resident, resident);
            evictions[t] += usage[t].evictions;
        }
        const struct expert_tier_usage &device = usage[MEMORY_DEVICE];
        EXPECT_LE(device.prefetch_used + device.prefetch_wasted, device.prefetch_issued);
        EXPECT_EQ(usage[MEMORY_HOST].prefetch_issued, 0u);
        sum.hits += device.hits;
        sum.misses += device.misses;
        sum.prefetch_issued += device.prefetch_issued;
        sum.prefetch_used += device.prefetch_used;
        sum.prefetch_wasted += device.prefetch_wasted;
    }
    EXPECT_EQ(sum.hits, all.hits);
    EXPECT_EQ(sum.misses, all.misses);
    EXPECT_EQ(sum.hits + sum.misses, 300u * kLayers * 2);
    EXPECT_EQ(sum.prefetch_issued, all.policy.prefetch.issued);
    EXPECT_EQ(sum.prefetch_used, all.policy.prefetch.used);
    EXPECT_EQ(sum.prefetch_wasted, all.policy.prefetch.wasted);
    EXPECT_EQ(sum.prefetch_issued > 0, GetParam().prefetch == PREFETCH_ON);
    for (int t = 0; t < MEMORY_TIERS; t++)
        EXPECT_EQ(evictions[t], memory.evictions[t]);
    EXPECT_GT(evictions[MEMORY_DEVICE], 0u);
    EXPECT_GT(ahead_, 1u) << "layers that ran by themselves count too";
}

TEST_P(PagerFigures, TheMapIsWhatMemoryHolds)
{
    scratch::Random random(3);
    std::vector<uint8_t> cells(kPages);
    for (int step = 0; step < 40; step++) {
        pager_begin_step(pager_, 1, 1);
        for (uint32_t l = 0; l < kLayers; l++)
            layer(l, {random.below(3), 3 + random.below(3)});
        pager_end_step(pager_);
        expert_map_read(pager_map(pager_), 0, cells.data());
        for (page_id page = 0; page < kPages; page++) {
            bool device = memory_where(memory_, MEMORY_DEVICE, page) == SLOT_READY;
            bool host = memory_where(memory_, MEMORY_HOST, page) == SLOT_READY;
            ASSERT_EQ(EXPERT_CELL_TIER(cells[page]), device ? 2 : host ? 1 : 0) << page;
        }
    }
    std::vector<uint8_t> before = cells;
    layer(2, {4});
    expert_map_read(pager_map(pager_), 0, cells.data());
    for (page_id page = 0; page < kPages; page++) {
        int heat = EXPERT_CELL_HEAT(cells[page]), was = EXPERT_CELL_HEAT(before[page]);
        EXPECT_EQ(heat >= was, true) << page;
        EXPECT_LE(heat, page == 2 * kExperts + 4 ? 63 : was) << page;
    }
}

std::string name_of(const testing::TestParamInfo<Setting> &setting)
{
    return setting.param.name;
}
INSTANTIATE_TEST_SUITE_P(All, PagerFigures,
                         testing::Values(Setting{"Plain", 7, 0, PREFETCH_OFF},
                                         Setting{"Guesses", 12, 0, PREFETCH_ON},
                                         Setting{"Host", 6, 11, PREFETCH_OFF},
                                         Setting{"HostGuesses", 12, 20, PREFETCH_ON}),
                         name_of);

} // namespace
