/* The map of experts: heat that follows its formula, tiers that are where they were told, readers
 * that never see half a change. */
#include "engine/paging/expert_map.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <memory>
#include <thread>
#include <vector>

namespace {

constexpr uint32_t kLayers = 3, kExperts = 5;
constexpr uint64_t kHalf = UINT64_C(1) << 30; /* ns */

class Map {
public:
    Map() { EXPECT_EQ(expert_map_open(&map, kLayers, kExperts, nullptr), STATUS_OK); }
    ~Map() { expert_map_close(map); }
    void run(uint32_t layer, std::vector<uint32_t> experts, uint64_t now)
    {
        struct layer_run run = {};
        run.layer = layer;
        run.count = (uint32_t)experts.size();
        run.experts = experts.data();
        expert_map_run(map, &run, now);
    }
    std::vector<uint8_t> cells(uint64_t now) const
    {
        std::vector<uint8_t> cells(kLayers * kExperts + 1, 77);
        expert_map_read(map, now, cells.data());
        EXPECT_EQ(cells.back(), 77) << "wrote beyond the cells";
        cells.pop_back();
        return cells;
    }
    int heat(page_id page, uint64_t now) const { return EXPERT_CELL_HEAT(cells(now)[page]); }
    struct expert_map *map = nullptr;
};

int shown(double h)
{
    return (int)std::min(63.0, 6.3 * std::log2(1 + h));
}

TEST(ExpertMap, BeginsColdAndInStorage)
{
    Map m;
    EXPECT_EQ(m.cells(5 * kHalf), std::vector<uint8_t>(kLayers * kExperts, 0));
    expert_map_close(nullptr);
}

TEST(ExpertMap, ShowsTheNearestTier)
{
    Map m;
    expert_map_resident(m.map, MEMORY_HOST, 7, true);
    expert_map_resident(m.map, MEMORY_HOST, 7, true); /* changes nothing */
    EXPECT_EQ(EXPERT_CELL_TIER(m.cells(0)[7]), 1);
    expert_map_resident(m.map, MEMORY_DEVICE, 7, true);
    expert_map_resident(m.map, MEMORY_DEVICE, 8, true);
    EXPECT_EQ(EXPERT_CELL_TIER(m.cells(0)[7]), 2);
    EXPECT_EQ(EXPERT_CELL_TIER(m.cells(0)[8]), 2);
    EXPECT_EQ(EXPERT_CELL_TIER(m.cells(0)[6]), 0);
    EXPECT_EQ(expert_map_count(m.map, MEMORY_DEVICE, 1), 2u);
    EXPECT_EQ(expert_map_count(m.map, MEMORY_HOST, 1), 1u);
    EXPECT_EQ(expert_map_count(m.map, MEMORY_DEVICE, 0), 0u);
    expert_map_resident(m.map, MEMORY_DEVICE, 7, false);
    EXPECT_EQ(EXPERT_CELL_TIER(m.cells(0)[7]), 1) << "it still lies on the host";
    expert_map_resident(m.map, MEMORY_HOST, 7, false);
    expert_map_resident(m.map, MEMORY_HOST, 7, false);
    EXPECT_EQ(EXPERT_CELL_TIER(m.cells(0)[7]), 0);
    EXPECT_EQ(expert_map_count(m.map, MEMORY_HOST, 1), 0u);
    EXPECT_EQ(expert_map_count(m.map, MEMORY_DEVICE, 1), 1u);
}

TEST(ExpertMap, OneRunShowsAtOnceAndFades)
{
    Map m;
    uint64_t now = 1000 * kHalf;
    m.run(1, {0, 3}, now);
    EXPECT_EQ(m.heat(5, now), 6);
    EXPECT_EQ(m.heat(8, now), 6);
    EXPECT_EQ(m.heat(6, now), 0) << "not chosen";
    EXPECT_EQ(m.heat(0, now), 0) << "another layer";
    EXPECT_EQ(m.heat(5, now + kHalf), shown(0.5));
    EXPECT_EQ(m.heat(5, now + 2 * kHalf), shown(0.25));
    EXPECT_EQ(m.heat(5, now + 4 * kHalf), 0);
    EXPECT_EQ(m.heat(5, now + 500 * kHalf), 0);
    EXPECT_EQ(m.heat(5, now - 1), 6) << "a reader whose clock was read first";
    EXPECT_EQ(EXPERT_CELL_TIER(m.cells(now)[5]), 0) << "heat says nothing of tiers";
}

/* Against the same sum in floating point, over rates from one in two seconds to a thousand a
 * second. */
TEST(ExpertMap, HeatFollowsItsFormula)
{
    for (double rate : {0.5, 1.0, 7.0, 100.0, 500.0, 1000.0, 5000.0}) {
        Map m;
        double h = 0;
        uint64_t period = (uint64_t)(1e9 / rate), now = 77 * kHalf, before = now;
        uint64_t end = now + 10 * kHalf;
        for (; now < end; before = now, now += period) {
            h = h * std::exp2(-(double)(now - before) / (double)kHalf) + 1;
            m.run(2, {4}, now);
        }
        EXPECT_NEAR(m.heat(14, before), shown(h), 1) << rate;
        for (double halves : {0.25, 0.5, 0.75, 1.5, 3.0}) {
            uint64_t later = before + (uint64_t)(halves * (double)kHalf);
            EXPECT_NEAR(m.heat(14, later), shown(h * std::exp2(-halves)), 1) << rate;
        }
    }
}

TEST(ExpertMap, HeatHasAnEnd)
{
    Map m;
    for (int i = 0; i < 100000; i++)
        m.run(0, {2}, kHalf);
    EXPECT_EQ(m.heat(2, kHalf), 63);
    EXPECT_EQ(m.heat(2, 30 * kHalf), 0);
}

/* Every word that a reader sees is one that was written. */
TEST(ExpertMap, MayBeReadWhileItChanges)
{
    Map m;
    std::atomic<bool> done{false};
    std::thread reader([&] {
        do {
            std::vector<uint8_t> cells = m.cells(0); /* before all runs: nothing has faded */
            for (uint32_t i = 0; i < kExperts; i++) {
                int heat = EXPERT_CELL_HEAT(cells[kExperts + i]);
                EXPECT_EQ(cells[i], 0);
                EXPECT_TRUE(heat == 0 || heat == 6)
                    << heat << ": runs so far apart that each is alone";
                EXPECT_NE(EXPERT_CELL_TIER(cells[2 * kExperts + i]), 3);
            }
        } while (!done);
    });
    for (uint64_t i = 0; i < 50000; i++) {
        page_id page = 2 * kExperts + (uint32_t)i % kExperts;
        m.run(1, {(uint32_t)i % kExperts}, i * 100 * kHalf);
        expert_map_resident(m.map, i % 2 ? MEMORY_HOST : MEMORY_DEVICE, page, i % 3 == 0);
    }
    done = true;
    reader.join();
}

} // namespace
