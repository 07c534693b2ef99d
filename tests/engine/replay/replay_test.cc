#include "engine/replay/replay.h"

#include <algorithm>

#include "engine/replay/belady.h"
#include "tests/engine/replay/toy_trace.h"
#include "tests/support/scratch.h"

namespace {

/* One page takes 10 us. */
struct replay_config config_of(uint32_t slots, uint32_t layers, double layer_us = 4)
{
    struct replay_config config = {};
    config.slots = slots;
    config.evict = EVICT_LRU;
    config.page_bytes = 10000;
    config.link_gbps = 1;
    config.step_us = layer_us * layers;
    config.belady = true;
    return config;
}

struct replay_result run(const struct schedule *s, const struct replay_config &config)
{
    struct replay_result result;
    struct error error = {};
    EXPECT_EQ(STATUS_OK, replay_run(s, &config, &result, &error)) << error.text;
    return result;
}

/* Every identity that a result must obey, whatever the policy. */
void check(const struct replay_result &x, const struct replay_config &c)
{
    EXPECT_EQ(x.hits + x.demand_pages + x.joined_pages, x.requests);
    EXPECT_EQ(x.prefetch_used + x.prefetch_wasted, x.prefetch_pages);
    EXPECT_LE(x.joined_pages, x.prefetch_used);
    EXPECT_EQ(x.bytes, (x.demand_pages + x.prefetch_pages) * c.page_bytes);
    EXPECT_EQ(x.bytes, x.demand_bytes + x.prefetch_bytes);
    EXPECT_NEAR(x.time_us, x.stall_us + static_cast<double>(x.steps) * c.step_us,
                1e-9 * x.time_us + 1e-6);
    EXPECT_LE(x.link_busy_us, x.time_us * (1 + 1e-9));
    EXPECT_LE(x.link_busy_us, static_cast<double>(x.demand_pages + x.prefetch_pages) * x.page_us *
                                      (1 + 1e-9) + 1e-6);
    if (c.prefetch == PREFETCH_OFF) {
        EXPECT_EQ(x.prefetch_pages + x.joined_pages + x.prefetch_cancelled, 0u);
        EXPECT_NEAR(x.stall_us, static_cast<double>(x.demand_pages) * x.page_us, 1e-6 * x.stall_us);
        EXPECT_LE(x.hits, x.belady_hits); // it is a bound
    }
}

TEST(Replay, OneLayerByHand)
{
    // One layer, 3 slots, experts: 0 1 | 1 2 | 0 1 | 3 2 | 0 2.
    ToyTrace toy(1, 4, 2, {{5}}, {0, 1, 1, 2, 0, 1, 3, 2, 0, 2});
    struct replay_config c = config_of(3, 1);
    struct replay_result x = run(toy.lay_out(), c);
    check(x, c);
    // 0: two misses. 1: 1 hits, 2 misses, the ring is full. 2: both hit. 3: 3 misses and 2 is still
    // to be computed, so 0 leaves. 4: 0 misses and 1 leaves; 2 hits.
    EXPECT_EQ(x.hits, 5u);
    EXPECT_EQ(x.demand_pages, 5u);
    EXPECT_DOUBLE_EQ(x.stall_us, 50);
    EXPECT_DOUBLE_EQ(x.time_us, 50 + 5 * 4);
    EXPECT_DOUBLE_EQ(x.link_busy_us, 50);
    EXPECT_DOUBLE_EQ(replay_stall_us_per_token(&x), 10);
    EXPECT_DOUBLE_EQ(replay_tokens_per_s(&x), 5e6 / 70);
    EXPECT_DOUBLE_EQ(replay_resident_tokens_per_s(&x), 5e6 / 20);
    EXPECT_DOUBLE_EQ(replay_link_utilisation(&x), 50.0 / 70);
    EXPECT_EQ(x.belady_hits, 6u); // 1 leaves for 3, so 0 is still there at the end
    EXPECT_DOUBLE_EQ(replay_belady_share(&x), 5.0 / 6);
    EXPECT_EQ(x.compulsory_misses, 4u);
    EXPECT_EQ(x.lru_hits, 4u); // plain LRU throws 2 out for 3 and has to fetch it at once
    EXPECT_DOUBLE_EQ(replay_belady_stall_us_per_token(&x), 8);
}

TEST(Replay, ThreeLayersByHand)
{
    // Layer 1 is dense in both tokens: it takes its time and asks for nothing.
    ToyTrace toy(3, 2, 1, {{2}}, {0, 255, 1, 0, 255, 0});
    struct replay_config c = config_of(6, 3);
    struct replay_result x = run(toy.lay_out(), c);
    check(x, c);
    EXPECT_EQ(x.requests, 4u);
    EXPECT_EQ(x.hits, 1u);
    EXPECT_DOUBLE_EQ(x.stall_us, 30);
    EXPECT_DOUBLE_EQ(x.time_us, 30 + 6 * 4);
}

TEST(Replay, WhatIsStillToBeComputedStays)
{
    // 2 slots. The second token wants a miss before its hit: the hit stays, the other page leaves.
    ToyTrace toy(1, 4, 2, {{2}}, {0, 1, 2, 0});
    struct replay_config c = config_of(2, 1);
    EXPECT_EQ(run(toy.lay_out(), c).hits, 1u);
    // 1 slot: its page is still to be computed when the miss comes, so the miss goes last.
    ToyTrace one(1, 4, 2, {{2}}, {1, 0, 2, 0});
    c.slots = 1;
    struct replay_result x = run(one.lay_out(), c);
    EXPECT_EQ(x.hits, 1u);
    EXPECT_EQ(x.demand_pages, 3u);
}

std::vector<uint8_t> skewed(uint64_t seed, uint32_t tokens, uint32_t layers, uint32_t experts,
                            uint32_t top_k)
{
    scratch::Random random(seed);
    std::vector<uint8_t> ids;
    for (uint32_t i = 0; i < tokens * layers * top_k; i++)
        ids.push_back(static_cast<uint8_t>(random.chance(60) ? random.below(1 + experts / 4)
                                                             : random.below(experts)));
    return ids;
}

TEST(Replay, KeepsItsIdentitiesWithEveryPolicyAndSize)
{
    ToyTrace toy(3, 8, 2, {{150}, {90, 40}, {60}}, skewed(5, 300, 3, 8, 2));
    for (uint32_t batch : {1u, 3u})
        for (int evict = 0; evict < EVICT_KINDS; evict++)
            for (enum prefetch_mode prefetch : {PREFETCH_OFF, PREFETCH_AUTO, PREFETCH_ON})
                for (uint32_t slots : {1u, 2u, 3u, 7u, 12u, 24u, 99u}) {
                    struct replay_config c = config_of(slots, 3, 13);
                    c.evict = static_cast<enum evict_kind>(evict);
                    c.prefetch = prefetch;
                    // A batch orders its requests anew: slots fewer than its run may beat Belady.
                    struct replay_result x = run(toy.lay_out(batch), c);
                    SCOPED_TRACE(testing::Message() << "batch " << batch << " evict " << evict
                                                    << " prefetch " << prefetch << " slots "
                                                    << slots);
                    if (slots >= toy.schedule->distinct_max)
                        check(x, c);
                    EXPECT_EQ(x.hits + x.demand_pages + x.joined_pages, x.requests);
                    EXPECT_EQ(x.slots, std::min(slots, 24u));
                    if (slots >= 24 && prefetch == PREFETCH_OFF) {
                        EXPECT_EQ(x.requests - x.hits, x.compulsory_misses);
                        EXPECT_EQ(x.hits, x.belady_hits);
                    }
                }
}

TEST(Replay, IsTheSameForTheSameSeed)
{
    ToyTrace toy(2, 8, 2, {{400}}, skewed(6, 400, 2, 8, 2));
    struct schedule *s = toy.lay_out();
    struct replay_config c = config_of(5, 2);
    c.evict = EVICT_RANDOM;
    c.seed = 1;
    uint64_t first = run(s, c).hits;
    EXPECT_EQ(run(s, c).hits, first);
    bool differs = false;
    for (c.seed = 2; c.seed < 6; c.seed++)
        differs |= run(s, c).hits != first;
    EXPECT_TRUE(differs);
    c.evict = EVICT_LEARNED;
    c.prefetch = PREFETCH_ON;
    struct replay_result a = run(s, c), b = run(s, c);
    EXPECT_EQ(a.hits, b.hits);
    EXPECT_EQ(a.prefetch_pages, b.prefetch_pages);
    EXPECT_EQ(a.time_us, b.time_us);
}

/* Each layer's expert follows from the layer before, and tokens go round 6 of 12 experts: what
 * comes next is certain once it was seen, and half of it does not fit. */
std::vector<uint8_t> foreseeable(uint32_t tokens, uint32_t layers)
{
    std::vector<uint8_t> ids;
    scratch::Random random(7);
    for (uint32_t t = 0; t < tokens; t++) {
        uint32_t start = random.below(12);
        for (uint32_t l = 0; l < layers; l++)
            ids.push_back(static_cast<uint8_t>((start + 5 * l) % 12));
    }
    return ids;
}

TEST(Replay, PrefetchesHideWhatCanBeForetold)
{
    const uint32_t tokens = 1500, layers = 6;
    ToyTrace toy(layers, 12, 1, {{tokens}}, foreseeable(tokens, layers));
    struct schedule *s = toy.lay_out();
    struct replay_config c = config_of(24, layers, 20); // a layer computes for two pages' time
    c.evict = EVICT_LEARNED;
    struct replay_result without = run(s, c);
    check(without, c);
    c.prefetch = PREFETCH_AUTO;
    struct replay_result with = run(s, c);
    check(with, c);
    EXPECT_GT(with.prefetch_used, 1000u);
    EXPECT_LT(with.stall_us, 0.6 * without.stall_us);
    EXPECT_LT(with.stall_us, static_cast<double>(with.requests - with.belady_hits) * with.page_us);
    uint64_t picks = 0;
    for (const struct replay_distance &d : with.distance) {
        picks += d.picks;
        EXPECT_LE(d.used, d.picks);
        EXPECT_GE(d.log_loss_sum, 0);
    }
    EXPECT_GT(picks, 1000u);
}

TEST(Replay, AnEmptyScheduleIsNothing)
{
    ToyTrace toy(2, 4, 1, {{0}}, {});
    struct replay_config c = config_of(2, 2);
    struct replay_result x = run(toy.lay_out(), c);
    EXPECT_EQ(x.requests + x.hits + x.belady_hits, 0u);
    EXPECT_EQ(replay_hit_rate(&x) + replay_tokens_per_s(&x) + replay_stall_us_per_token(&x), 0);
}

} // namespace
