/* What the engine tells of itself: layers that add up to the totals, the map of experts, stalls by
 * length. That it may be asked by other threads is engine_test's. */
#include "engine/engine_stats.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <vector>

#include "tests/engine/engine_harness.h"
#include "tests/support/toy_model.h"

namespace {

class EngineStats : public testing::Test {
protected:
    EngineStats() { toy::write(folder_, model_); }
    toy::Model model_;
    scratch::Folder folder_;
};

/* Layers and tiers add up to the totals; the map shows what is where and what ran. */
TEST_F(EngineStats, TellsItsLayersAndItsMap)
{
    for (uint32_t host : {0u, 9u}) {
        Engine e(folder_.path(), [&](auto &c) {
            c.device_experts = Engine::pages(5);
            c.prefetch = PREFETCH_ON;
            if (host)
                c.host_experts = Engine::pages(host);
        });
        std::vector<uint8_t> cells(model_.layers * model_.experts, 255);
        engine_expert_map(e.engine, cells.data());
        EXPECT_EQ(std::count(cells.begin(), cells.end(), 0), (long)cells.size())
            << "cold, in storage";
        std::vector<Job> jobs;
        for (uint32_t i = 0; i < 4; i++)
            jobs.push_back(job_of(some_prompt(i, 8, 96), 40));
        e.run(jobs);
        struct engine_stats stats = e.stats();
        std::vector<struct engine_layer_stats> layers(model_.layers);
        engine_layer_stats_read(e.engine, layers.data());
        struct expert_tier_usage sum[MEMORY_TIERS] = {};
        for (const auto &layer : layers)
            for (int t = 0; t < MEMORY_TIERS; t++) {
                sum[t].hits += layer.tier[t].hits;
                sum[t].misses += layer.tier[t].misses;
                sum[t].evictions += layer.tier[t].evictions;
                sum[t].prefetch_issued += layer.tier[t].prefetch_issued;
                sum[t].prefetch_used += layer.tier[t].prefetch_used;
                sum[t].prefetch_wasted += layer.tier[t].prefetch_wasted;
                sum[t].resident += layer.tier[t].resident;
            }
        EXPECT_EQ(sum[MEMORY_DEVICE].hits, stats.experts.hits);
        EXPECT_EQ(sum[MEMORY_DEVICE].misses, stats.experts.misses);
        EXPECT_EQ(sum[MEMORY_DEVICE].evictions, stats.evictions);
        EXPECT_EQ(sum[MEMORY_DEVICE].resident, stats.resident_pages);
        EXPECT_EQ(sum[MEMORY_DEVICE].prefetch_issued, stats.policy.prefetch.issued);
        EXPECT_EQ(sum[MEMORY_DEVICE].prefetch_used, stats.policy.prefetch.used);
        EXPECT_EQ(sum[MEMORY_DEVICE].prefetch_wasted, stats.policy.prefetch.wasted);
        EXPECT_EQ(sum[MEMORY_HOST].resident, stats.host_pages);
        EXPECT_EQ(sum[MEMORY_HOST].hits + sum[MEMORY_HOST].misses, host ? stats.experts.misses : 0);
        EXPECT_GT(stats.experts.hits, 0u);
        EXPECT_EQ(sum[MEMORY_HOST].hits > 0, host > 0);
        EXPECT_EQ(stats.way_bytes[ENGINE_STORAGE_TO_HOST], host ? stats.storage_bytes : 0);
        EXPECT_EQ(stats.way_bytes[ENGINE_STORAGE_TO_DEVICE], host ? 0 : stats.storage_bytes);
        EXPECT_EQ(stats.way_bytes[ENGINE_HOST_TO_DEVICE], stats.device_bytes);

        engine_expert_map(e.engine, cells.data());
        uint32_t tiers[4] = {}, warm = 0;
        for (uint8_t cell : cells) {
            tiers[EXPERT_CELL_TIER(cell)]++;
            warm += EXPERT_CELL_HEAT(cell) > 0;
        }
        EXPECT_EQ(tiers[2], stats.resident_pages);
        EXPECT_EQ(tiers[1] > 0, host > 0);
        EXPECT_LE(tiers[1], stats.host_pages);
        EXPECT_EQ(tiers[0] + tiers[1] + tiers[2], cells.size());
        EXPECT_GT(warm, model_.layers) << "what has just run";
    }
}

TEST_F(EngineStats, CountsStallsByLength)
{
    uint64_t last = 0;
    const double seconds[] = {.0001, .00025, .0005, .001, .0025, .005, .01, .025,
                              .05,   .1,     .25,   .5,   1,     2.5,  5,   10};
    for (uint32_t i = 0; i < ENGINE_STALL_BOUNDS; i++) {
        EXPECT_EQ(engine_stall_bound_ns(i), (uint64_t)(seconds[i] * 1e9 + 0.5));
        EXPECT_GT(engine_stall_bound_ns(i), last);
        last = engine_stall_bound_ns(i);
    }
    auto stalled = [](const struct engine_stats &stats) {
        uint64_t steps = 0;
        for (uint64_t n : stats.stalls.steps)
            steps += n;
        return steps;
    };
    Engine small(folder_.path(), [](auto &c) { c.device_experts = Engine::pages(4); });
    Answer a = small.run(job_of(some_prompt(3, 10, 96), 30));
    uint64_t waited = 0;
    std::vector<uint64_t> expected(ENGINE_STALL_BOUNDS + 1, 0);
    for (const struct expert_usage &usage : a.usage) {
        waited += usage.stall_ns > 0;
        uint32_t i = 0;
        while (i < ENGINE_STALL_BOUNDS && usage.stall_ns > engine_stall_bound_ns(i))
            i++;
        expected[i] += usage.stall_ns > 0;
    }
    struct engine_stats stats = small.stats();
    EXPECT_GT(waited, 0u);
    EXPECT_EQ(stalled(stats), waited);
    EXPECT_EQ(std::vector<uint64_t>(stats.stalls.steps, std::end(stats.stalls.steps)), expected);
    Engine roomy(folder_.path()); /* once everything is there nobody waits */
    roomy.run(job_of(some_prompt(3, 60, 96), 60));
    uint64_t before = stalled(roomy.stats());
    EXPECT_LE(before, 60u);
    roomy.run(job_of(some_prompt(3, 60, 96), 60));
    EXPECT_EQ(stalled(roomy.stats()), before);
}

} // namespace
