/* Every rule against its definition written out: at any moment of a random history the victim is
 * the page that a sweep over the whole tier would have found. And the rules against each other,
 * where one is known to be better. */
#include "engine/paging/evict.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <vector>

#include "engine/predict/history.h"
#include "tests/support/scratch.h"

namespace {

constexpr double kLfuFactor = 0.8;
constexpr uint32_t kLfuRounds = 16;

using Allowed = std::function<bool(page_id)>;

/* An evict with the learner that feeds it, and beside it all that its rules are defined by. */
class Twin {
public:
    Twin(enum evict_kind of, uint32_t l, uint32_t e, const std::vector<uint8_t> &classes = {},
         float gamma = 0.8f, uint64_t seed = 5)
        : kind(of), layers(l), experts(e), page_class(classes)
    {
        struct error error = {};
        struct use_value_config value_config = {};
        value_config.layers = layers;
        value_config.experts = experts;
        value_config.gamma = gamma;
        EXPECT_EQ(history_open(&history, layers, experts, 2, &error), STATUS_OK);
        EXPECT_EQ(use_value_open(&value, &value_config, &history, &error), STATUS_OK);
        struct evict_config config = {};
        config.layers = layers;
        config.experts = experts;
        config.kind = kind;
        config.page_class = classes.empty() ? nullptr : classes.data();
        config.value = value;
        config.history = &history;
        config.seed = seed;
        EXPECT_EQ(evict_open(&evict, &config, &error), STATUS_OK) << error.text;
        for (auto &tier : there)
            tier.assign(pages(), false);
        runs.assign(layers, 0);
        used_run.assign(pages(), 0);
        used_clock.assign(pages(), 0);
        uses.assign(pages(), 0);
        expected.assign(layers, {});
        rows.assign(layers, std::vector<float>(experts));
        forecast = expected;
        chances = rows;
    }
    ~Twin()
    {
        evict_close(evict);
        use_value_close(value);
        history_close(&history);
    }
    Twin(const Twin &) = delete;
    Twin &operator=(const Twin &) = delete;

    uint32_t pages() const { return layers * experts; }
    uint8_t class_of(page_id page) const { return page_class.empty() ? 0 : page_class[page]; }

    void run(uint32_t layer, const std::vector<uint32_t> &chosen)
    {
        std::vector<uint32_t> ones(chosen.size(), 1);
        struct layer_run run = {};
        run.layer = layer;
        run.rows = 1;
        run.count = (uint32_t)chosen.size();
        run.experts = chosen.data();
        run.tokens = ones.data();
        use_value_before(value, &run);
        history_observe(&history, &run);
        use_value_after(value, &run);
        evict_run(evict, &run);
        now = layer;
        clock++;
        runs[layer]++;
        expected[layer].clear();
        if (clock % (kLfuRounds * layers) == 0)
            for (double &count : uses)
                count *= kLfuFactor;
        for (uint32_t e : chosen) {
            used_run[layer * experts + e] = runs[layer];
            used_clock[layer * experts + e] = clock;
            uses[layer * experts + e]++;
        }
    }
    void resident(enum memory_tier tier, page_id page, bool is)
    {
        evict_resident(evict, tier, page, is);
        if (is && !there[tier][page]) {
            used_run[page] = runs[page / experts];
            used_clock[page] = clock;
        }
        there[tier][page] = is;
    }
    void expect(uint32_t layer, const std::vector<float> &probability)
    {
        expected[layer] = probability;
        rows[layer] = probability;
        evict_expect(evict, layer, probability.empty() ? nullptr : rows[layer].data());
    }
    void foresee(uint32_t layer, const std::vector<float> &chance)
    {
        forecast[layer] = chance;
        chances[layer] = chance;
        evict_forecast(evict, layer, chance.empty() ? nullptr : chances[layer].data());
    }
    page_id victim(enum memory_tier tier, uint32_t size_class, const Allowed &allowed) const
    {
        const Allowed *asked = &allowed;
        return evict_victim(
            evict, tier, size_class,
            [](void *arg, enum memory_tier, page_id page) {
                return (**(const Allowed **)arg)(page);
            },
            &asked);
    }

    uint32_t until(uint32_t layer) const
    {
        return layer > now ? layer - now : layer + layers - now;
    }
    /* What the header says; lower leaves sooner. */
    double rank(enum memory_tier tier, page_id page) const
    {
        uint32_t layer = page / experts;
        double missed = (double)(runs[layer] - used_run[page]);
        switch (kind) {
        case EVICT_LEARNED: {
            if (tier == MEMORY_HOST)
                return forecast[layer].empty() ? history.slow[page]
                                               : forecast[layer][page % experts];
            float use = use_value_layer(value, layer)[page % experts];
            if (!expected[layer].empty())
                use = std::max(use, expected[layer][page % experts]);
            return use * pow(use_value_gamma_of(value), (double)until(layer) / layers);
        }
        case EVICT_FORECAST:
            if (!forecast[layer].empty())
                missed = 1.0 / forecast[layer][page % experts] - 1.0;
            return -(until(layer) + missed * layers);
        case EVICT_ROUND:
            return -(until(layer) + missed * layers);
        case EVICT_LRU:
            return (double)used_clock[page];
        case EVICT_LFU:
            return uses[page] + (missed <= 1 ? 1 : 0);
        default:
            return 0;
        }
    }
    std::vector<page_id> candidates(enum memory_tier tier, uint32_t size_class,
                                    const Allowed &allowed) const
    {
        std::vector<page_id> all, doubles;
        for (page_id page = 0; page < pages(); page++)
            if (there[tier][page] && class_of(page) == size_class && allowed(page)) {
                all.push_back(page);
                if (tier == MEMORY_HOST && there[MEMORY_DEVICE][page])
                    doubles.push_back(page);
            }
        return doubles.empty() ? all : doubles;
    }
    /* The victim is one of lowest rank among those that may leave. */
    void check_victim(enum memory_tier tier, uint32_t size_class, const Allowed &allowed)
    {
        page_id got = victim(tier, size_class, allowed);
        std::vector<page_id> from = candidates(tier, size_class, allowed);
        if (from.empty()) {
            ASSERT_EQ(got, PAGE_NONE);
            return;
        }
        ASSERT_NE(std::find(from.begin(), from.end(), got), from.end()) << "page " << got;
        for (page_id other : from)
            ASSERT_LE(rank(tier, got), rank(tier, other) + 1e-6 * (1 + fabs(rank(tier, other))))
                << "page " << got << ", yet page " << other << " ranks lower";
    }

    const enum evict_kind kind;
    const uint32_t layers, experts;
    const std::vector<uint8_t> page_class;
    struct history history = {};
    struct use_value *value = nullptr;
    struct evict *evict = nullptr;
    std::vector<bool> there[MEMORY_TIERS];
    std::vector<uint64_t> runs, used_run, used_clock;
    std::vector<double> uses;
    std::vector<std::vector<float>> expected, rows, forecast, chances;
    uint64_t clock = 0;
    uint32_t now = 0;
};

std::vector<uint32_t> some_experts(scratch::Random &random, uint32_t experts, uint32_t count)
{
    std::vector<uint32_t> all(experts);
    for (uint32_t e = 0; e < experts; e++)
        all[e] = e;
    for (uint32_t i = 0; i < count; i++)
        std::swap(all[i], all[i + random.below(experts - i)]);
    all.resize(count);
    return all;
}

class EveryRule : public testing::TestWithParam<int> {
protected:
    enum evict_kind kind() const { return (enum evict_kind)GetParam(); }
    void live_a_random_life(uint64_t seed, const std::vector<uint8_t> &classes,
                            uint32_t size_classes);
};

constexpr uint32_t kLayers = 5, kExperts = 7;

void EveryRule::live_a_random_life(uint64_t seed, const std::vector<uint8_t> &classes,
                                   uint32_t size_classes)
{
    scratch::Random random(seed * 31 + 7);
    Twin t(kind(), kLayers, kExperts, classes);
    uint32_t next_layer = 0;
    for (int step = 0; step < 900; step++) {
        uint32_t what = random.below(100);
        enum memory_tier tier = random.chance(60) ? MEMORY_DEVICE : MEMORY_HOST;
        page_id page = random.below(t.pages());
        if (what < 30) {
            uint32_t layer = random.chance(90) ? next_layer : random.below(kLayers);
            t.run(layer, some_experts(random, kExperts, random.below(4)));
            next_layer = (layer + 1) % kLayers;
        } else if (what < 55) {
            t.resident(tier, page, true);
        } else if (what < 62) {
            t.resident(tier, page, false);
        } else if (what < 70) {
            std::vector<float> row;
            for (uint32_t e = 0; e < kExperts && random.chance(95); e++)
                row.push_back((float)random.below(1000) / 1000);
            if (row.size() < kExperts)
                row.clear();
            for (float &chance : row)
                chance += 0.001f;
            if (random.chance(50))
                t.expect(random.below(kLayers), row);
            else
                t.foresee(random.below(kLayers), row);
        } else {
            uint32_t refused = std::vector<uint32_t>{0, 0, 30, 80, 100}[random.below(5)];
            std::vector<bool> may;
            for (page_id p = 0; p < t.pages(); p++)
                may.push_back(!random.chance(refused));
            uint32_t size_class = random.below(size_classes);
            t.check_victim(tier, size_class, [&](page_id p) { return may[p]; });
            if (random.chance(50)) { /* and it leaves, as in life */
                page_id victim = t.victim(tier, size_class, [&](page_id p) { return may[p]; });
                if (victim != PAGE_NONE)
                    t.resident(tier, victim, false);
            }
        }
        ASSERT_FALSE(HasFailure()) << "step " << step << " of seed " << seed;
    }
}

TEST_P(EveryRule, EvictsWhatAFullSweepWouldFind)
{
    for (uint64_t seed = 1; seed <= 12; seed++)
        live_a_random_life(seed, {}, 1);
}

TEST_P(EveryRule, TellsSizeClassesApart)
{
    std::vector<uint8_t> by_layer, mixed;
    for (page_id page = 0; page < kLayers * kExperts; page++) {
        by_layer.push_back((uint8_t)(page / kExperts % 2));
        /* Layer 0 is pure, the others have pages of both and layer 4 of a third. */
        mixed.push_back((uint8_t)(page < kExperts ? 0 : page % 2 + (page == 4 * kExperts + 3)));
    }
    for (uint64_t seed = 1; seed <= 6; seed++) {
        live_a_random_life(seed, by_layer, 2);
        live_a_random_life(seed + 100, mixed, 3);
    }
}

TEST_P(EveryRule, InTheHostTierPagesThatTheDeviceHoldsGoFirst)
{
    Twin t(kind(), 2, 4);
    for (page_id page : {0u, 3u, 7u})
        t.resident(MEMORY_HOST, page, true);
    t.run(0, {0});
    t.run(1, {3});
    t.run(0, {3});
    t.resident(MEMORY_DEVICE, 3, true); /* the youngest of the three, and yet: */
    auto all = [](page_id) { return true; };
    EXPECT_EQ(t.victim(MEMORY_HOST, 0, all), 3u);
    EXPECT_NE(t.victim(MEMORY_HOST, 0, [](page_id page) { return page != 3; }), PAGE_NONE);
    t.resident(MEMORY_DEVICE, 3, false); /* no longer a double */
    if (kind() == EVICT_ROUND || kind() == EVICT_LRU || kind() == EVICT_LFU) {
        EXPECT_NE(t.victim(MEMORY_HOST, 0, all), 3u);
    }
}

/* More resets of the counts' scale than a double could hold without. */
TEST_P(EveryRule, LastsForLongRuns)
{
    Twin t(kind(), 2, 4);
    for (page_id page = 0; page < 8; page++)
        t.resident(MEMORY_DEVICE, page, true);
    for (int round = 0; round < 40000; round++)
        for (uint32_t layer = 0; layer < 2; layer++)
            t.run(layer, {(uint32_t)(round % 8 != 0)});
    t.check_victim(MEMORY_DEVICE, 0, [](page_id) { return true; });
    if (kind() != EVICT_RANDOM) { /* experts 2 and 3 were never used */
        EXPECT_GE(t.victim(MEMORY_DEVICE, 0, [](page_id) { return true; }) % 4, 2u);
    }
}

INSTANTIATE_TEST_SUITE_P(Rules, EveryRule, testing::Range(0, (int)EVICT_KINDS),
                         [](const auto &param) {
                             return std::string(evict_kind_name((enum evict_kind)param.param));
                         });

TEST(Evict, ChoosesInOrderOfDistanceWhateverTheOrderOfArrival)
{
    Twin t(EVICT_ROUND, 3, 4);
    for (page_id page : {5u, 0u, 9u, 4u, 1u, 8u})
        t.resident(MEMORY_DEVICE, page, true);
    for (uint32_t layer = 0; layer < 3; layer++)
        t.run(layer, {});
    t.run(0, {0});
    t.run(1, {0});
    /* Layer 1 runs now. Runs without: pages 0 and 4: 0, 1 and 5: 2, 8 and 9: 1. */
    std::vector<page_id> order;
    for (int i = 0; i < 6; i++) {
        order.push_back(t.victim(MEMORY_DEVICE, 0, [](page_id) { return true; }));
        t.resident(MEMORY_DEVICE, order.back(), false);
    }
    EXPECT_EQ(order, (std::vector<page_id>{5, 1, 8, 9, 4, 0}));
    EXPECT_EQ(t.victim(MEMORY_DEVICE, 0, [](page_id) { return true; }), PAGE_NONE);
}

/* What was brought before it was asked for stays until its layer has had its chance. */
TEST(Evict, WhatWasBroughtWaitsForItsLayer)
{
    for (enum evict_kind kind : {EVICT_ROUND, EVICT_LRU, EVICT_LFU, EVICT_FORECAST}) {
        SCOPED_TRACE(evict_kind_name(kind));
        Twin t(kind, 3, 4);
        for (int round = 0; round < 2; round++)
            for (uint32_t layer = 0; layer < 3; layer++)
                t.run(layer, {round == 0 ? 0u : 1u});
        t.resident(MEMORY_DEVICE, 0, true); /* of layers past: used two rounds ago, now a guess */
        t.resident(MEMORY_DEVICE, 8, true);
        t.run(0, {});
        t.run(1, {}); /* layer 0 has run without its page, layer 2 not yet */
        EXPECT_TRUE(evict_live(t.evict, 8));
        EXPECT_FALSE(evict_live(t.evict, 0));
        if (kind == EVICT_ROUND || kind == EVICT_FORECAST) {
            EXPECT_EQ(t.victim(MEMORY_DEVICE, 0, [](page_id) { return true; }), 0u);
        }
        EXPECT_EQ(evict_worth(t.evict, 8), 1.0f);
    }
    /* LRU counts the arrival as a use: the guess is not the first to go. */
    Twin t(EVICT_LRU, 2, 4);
    t.run(0, {1});
    t.resident(MEMORY_DEVICE, 1, true);
    t.run(1, {2});
    t.resident(MEMORY_DEVICE, 3, true); /* never used */
    EXPECT_EQ(t.victim(MEMORY_DEVICE, 0, [](page_id) { return true; }), 1u);
}

TEST(Evict, LivePagesAreThoseOfOtherLayersLastRuns)
{
    Twin t(EVICT_ROUND, 3, 4);
    for (uint32_t layer = 0; layer < 3; layer++)
        t.run(layer, {1, 2});
    EXPECT_TRUE(evict_live(t.evict, 1));
    EXPECT_FALSE(evict_live(t.evict, 0));
    EXPECT_FALSE(evict_live(t.evict, 9)); /* of the running layer */
    t.run(0, {3});
    EXPECT_FALSE(evict_live(t.evict, 1));
    EXPECT_FALSE(evict_live(t.evict, 3)); /* of the running layer */
    EXPECT_TRUE(evict_live(t.evict, 9));
    EXPECT_EQ(evict_worth(t.evict, 1), 1.0f); /* it missed one run, not a whole round */
    t.run(0, {3});
    EXPECT_EQ(evict_worth(t.evict, 1), 0.0f);
}

/* A page that a predictor expects soon is worth what the predictor says, if that is more. */
TEST(Evict, ExpectationsRaiseWorthUntilTheirLayerRuns)
{
    Twin t(EVICT_LEARNED, 4, 4);
    for (int round = 0; round < 50; round++)
        for (uint32_t layer = 0; layer < 4; layer++)
            t.run(layer, {0});
    for (page_id page : {5u, 6u, 7u, 9u})
        t.resident(MEMORY_DEVICE, page, true);
    auto worth = [&](page_id page) { return evict_worth(t.evict, page); };
    float before = worth(6);
    t.expect(1, {0, 0.1f, 0.9f, 0.01f});
    EXPECT_GT(worth(6), before);
    EXPECT_NEAR(worth(6), 0.9 * pow(0.8, 2.0 / 4), 1e-5); /* layer 3 runs now */
    EXPECT_NE(t.victim(MEMORY_DEVICE, 0, [](page_id page) { return page != 9; }), 6u);
    t.expect(1, {});
    EXPECT_FLOAT_EQ(worth(6), before);
    t.expect(1, {0, 0, 0.9f, 0});
    t.run(0, {0});
    EXPECT_GT(worth(6), 0.7f);
    t.run(1, {0}); /* it did not come true */
    EXPECT_LT(worth(6), 0.2f);
}

/* Counts age while a layer does not run, and what spares newcomers does not: the order changes. */
TEST(Evict, AgeingChangesTheOrderInLayersThatDoNotRun)
{
    Twin t(EVICT_LFU, 2, 4);
    auto victim = [&] { return t.victim(MEMORY_DEVICE, 0, [](page_id) { return true; }); };
    t.run(0, {0});
    t.run(0, {0}); /* two uses: 1.6, 1.28, 1.02 after three ageings */
    for (int i = 0; i < 3; i++)
        t.run(0, {});
    t.resident(MEMORY_DEVICE, 0, true);
    for (int i = 0; i < 3; i++)
        t.run(0, {}); /* neither used nor new */
    while (t.clock < 3 * kLfuRounds * 2)
        t.run(1, {});
    t.resident(MEMORY_DEVICE, 1, true); /* never used, spared for a round: counts as 1 */
    EXPECT_EQ(victim(), 1u);
    while (t.clock < 4 * kLfuRounds * 2)
        t.run(1, {});
    EXPECT_EQ(victim(), 0u); /* 0.82 */
}

/* Stable layers are placed by their forecast, transient ones as they come: a page that was used
 * just now leaves before one of a stable layer that is used nearly always. */
TEST(Evict, ForecastsRankStableLayers)
{
    Twin t(EVICT_FORECAST, 3, 4);
    for (uint32_t layer = 0; layer < 3; layer++)
        t.run(layer, {0});
    for (page_id page : {0u, 4u, 5u})
        t.resident(MEMORY_DEVICE, page, true);
    auto victim = [&] { return t.victim(MEMORY_DEVICE, 0, [](page_id) { return true; }); };
    t.foresee(1, {0.9f, 0.01f, 0.001f, 0.001f});
    EXPECT_EQ(victim(), 5u); /* a hundred rounds off, though it came last */
    t.foresee(1, {0.01f, 0.9f, 0.001f, 0.001f});
    EXPECT_EQ(victim(), 4u);
    t.foresee(1, {});
    for (int round = 0; round < 3; round++)
        t.run(0, {1});
    EXPECT_EQ(victim(), 0u);
}

/* ---- the rules against each other ---- */

using Round = std::vector<std::vector<uint32_t>>; /* [layers] of experts */

/* Demand paging alone: hits of a rule over a trace. */
uint64_t hits_of(enum evict_kind kind, const std::vector<Round> &trace, uint32_t experts,
                 uint32_t slots, size_t count_from = 0)
{
    uint32_t layers = (uint32_t)trace[0].size(), used = 0;
    Twin t(kind, layers, experts, {}, use_value_gamma(slots, layers * experts));
    uint64_t hits = 0;
    for (size_t round = 0; round < trace.size(); round++)
        for (uint32_t layer = 0; layer < layers; layer++) {
            const std::vector<uint32_t> &wanted = trace[round][layer];
            t.run(layer, wanted);
            auto not_wanted = [&](page_id page) {
                return page / experts != layer ||
                       !std::count(wanted.begin(), wanted.end(), page % experts);
            };
            for (uint32_t e : wanted) {
                page_id page = layer * experts + e;
                if (t.there[MEMORY_DEVICE][page]) {
                    hits += round >= count_from;
                    continue;
                }
                if (used == slots)
                    t.resident(MEMORY_DEVICE, t.victim(MEMORY_DEVICE, 0, not_wanted), false);
                else
                    used++;
                t.resident(MEMORY_DEVICE, page, true);
            }
        }
    return hits;
}

/* `share` of the uses go to few experts of each layer; which ones drifts: now and then one of the
 * favourites is replaced. */
std::vector<Round> skewed(uint64_t seed, uint32_t rounds, uint32_t layers, uint32_t experts,
                          uint32_t top_k, uint32_t favourite_percent)
{
    scratch::Random random(seed);
    std::vector<std::vector<uint32_t>> favourites;
    for (uint32_t layer = 0; layer < layers; layer++)
        favourites.push_back(some_experts(random, experts, experts / 5));
    std::vector<Round> trace;
    for (uint32_t round = 0; round < rounds; round++) {
        trace.emplace_back();
        for (uint32_t layer = 0; layer < layers; layer++) {
            std::vector<uint32_t> &liked = favourites[layer], chosen;
            if (random.chance(3))
                liked[random.below((uint32_t)liked.size())] = random.below(experts);
            while (chosen.size() < top_k) {
                uint32_t e = random.chance(favourite_percent)
                                 ? liked[random.below((uint32_t)liked.size())]
                                 : random.below(experts);
                if (!std::count(chosen.begin(), chosen.end(), e))
                    chosen.push_back(e);
            }
            trace.back().push_back(chosen);
        }
    }
    return trace;
}

TEST(EvictRules, LearnedBeatsRecencyOnASkewedTraceThatDrifts)
{
    for (uint32_t slots : {24u, 48u, 72u})
        for (uint64_t seed = 1; seed <= 2; seed++) {
            std::vector<Round> trace = skewed(seed, 600, 6, 32, 4, 75);
            uint64_t learned = hits_of(EVICT_LEARNED, trace, 32, slots, 100);
            uint64_t lru = hits_of(EVICT_LRU, trace, 32, slots, 100);
            uint64_t round = hits_of(EVICT_ROUND, trace, 32, slots, 100);
            double all = 500 * 6 * 4;
            printf("%u of 192 slots: learned %.1f %%, lru %.1f %%, round %.1f %%\n", slots,
                   100 * (double)learned / all, 100 * (double)lru / all, 100 * (double)round / all);
            EXPECT_GT(learned, lru + all * (slots < 72 ? 0.03 : 0.003));
            EXPECT_GT(learned, round + all * (slots < 72 ? 0.03 : 0.0));
        }
}

/* Where nothing can be learned nothing is lost by trying. */
TEST(EvictRules, LearnedIsNoWorseThanLruOnNoise)
{
    for (uint32_t slots : {24u, 96u}) {
        std::vector<Round> trace = skewed(9, 600, 6, 32, 4, 0);
        uint64_t learned = hits_of(EVICT_LEARNED, trace, 32, slots);
        uint64_t lru = hits_of(EVICT_LRU, trace, 32, slots);
        double all = 600 * 6 * 4;
        EXPECT_GT((double)learned, (double)lru - 0.015 * all) << slots << " slots";
        EXPECT_NEAR((double)learned / all, slots / 192.0, 0.02) << "nobody can hit more";
    }
}

/* The most that anybody could hit who knows the future: out goes the page used again last. */
uint32_t belady_hits(const std::vector<page_id> &pages, size_t slots)
{
    std::vector<page_id> ring;
    uint32_t hits = 0;
    for (size_t now = 0; now < pages.size(); now++) {
        auto next = [&](page_id page) {
            return std::find(pages.begin() + (long)now + 1, pages.end(), page) - pages.begin();
        };
        if (std::find(ring.begin(), ring.end(), pages[now]) != ring.end()) {
            hits++;
            continue;
        }
        if (ring.size() == slots)
            ring.erase(std::max_element(ring.begin(), ring.end(), [&](page_id a, page_id b) {
                return next(a) < next(b);
            }));
        ring.push_back(pages[now]);
    }
    return hits;
}

/* Every round the same pages, one layer after the other, and fewer slots than pages. LRU never
 * hits; nobody could do better than `round` does. */
TEST(EvictRules, CyclesThatDefeatLruHitAsOftenAsPossible)
{
    std::vector<Round> trace(60, Round(12, std::vector<uint32_t>{1}));
    std::vector<page_id> order;
    for (int round = 0; round < 60; round++)
        for (uint32_t layer = 0; layer < 12; layer++)
            order.push_back(layer * 3 + 1);
    for (uint32_t slots : {2u, 3u, 6u, 11u}) {
        SCOPED_TRACE(slots);
        uint64_t best = belady_hits(order, slots);
        EXPECT_EQ(hits_of(EVICT_LRU, trace, 3, slots), 0u);
        EXPECT_EQ(hits_of(EVICT_ROUND, trace, 3, slots), best);
        EXPECT_GE(hits_of(EVICT_LEARNED, trace, 3, slots), best * 9 / 10);
    }
}

/* A page that was in fashion and is no more must leave, however near its layer is. */
TEST(EvictRules, PagesOutOfFashionMakeRoom)
{
    for (enum evict_kind kind : {EVICT_LEARNED, EVICT_ROUND, EVICT_LRU}) {
        std::vector<Round> trace(30, Round(4, std::vector<uint32_t>{0, 1}));
        trace.resize(60, Round(4, std::vector<uint32_t>{2, 3}));
        EXPECT_EQ(hits_of(kind, trace, 4, 8, 50), 10u * 8) << evict_kind_name(kind);
    }
}

TEST(Evict, RandomDrawsEvenlyAndBySeed)
{
    std::vector<uint32_t> left(20, 0);
    Twin a(EVICT_RANDOM, 4, 5, {}, 0.8f, 1), b(EVICT_RANDOM, 4, 5, {}, 0.8f, 1);
    Twin c(EVICT_RANDOM, 4, 5, {}, 0.8f, 2);
    auto all = [](page_id) { return true; };
    uint32_t differ = 0;
    for (Twin *t : {&a, &b, &c})
        for (page_id page = 0; page < 20; page++)
            t->resident(MEMORY_DEVICE, page, true);
    for (int i = 0; i < 4000; i++) {
        page_id page = a.victim(MEMORY_DEVICE, 0, all);
        ASSERT_EQ(page, b.victim(MEMORY_DEVICE, 0, all));
        page_id other = c.victim(MEMORY_DEVICE, 0, all);
        differ += page != other;
        left[page]++;
        for (Twin *t : {&a, &b}) {
            t->resident(MEMORY_DEVICE, page, false);
            t->resident(MEMORY_DEVICE, page, true);
        }
        c.resident(MEMORY_DEVICE, other, false);
        c.resident(MEMORY_DEVICE, other, true);
    }
    EXPECT_GT(differ, 3000u);
    for (uint32_t count : left)
        EXPECT_NEAR(count, 200, 75); /* five deviations */
}

/* A larger ring looks further: what layers far ahead want is worth more, by the new gamma. */
TEST(Evict, AnotherHorizonChangesWhatLayersAheadAreWorth)
{
    Twin t(EVICT_LEARNED, 4, 3, {}, 0.8f);
    t.run(0, {0});
    auto worth = [&](page_id page, uint32_t until, float gamma) {
        float value = use_value_layer(t.value, page / 3)[page % 3];
        EXPECT_NEAR(evict_worth(t.evict, page), value * std::pow(gamma, (float)until / 4), 1e-6);
    };
    use_value_set_gamma(t.value, 0.3f);
    worth(2 * 3 + 1, 2, 0.8f); /* not before it is told */
    evict_resized(t.evict);
    worth(2 * 3 + 1, 2, 0.3f);
    worth(3 * 3, 3, 0.3f);
    worth(0, 4, 0.3f);
}

TEST(Evict, CloseAcceptsNull)
{
    evict_close(nullptr);
}

} // namespace
