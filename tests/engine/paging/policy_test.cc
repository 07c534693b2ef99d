/* The policy driven by made-up models, with a link that is never busy: what is foreseen comes true
 * or not, and it must find out which. */
#include "engine/paging/policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace {

constexpr uint32_t kLayers = 6, kExperts = 32, kTopK = 2, kSlots = 48;

struct policy_config config_of(enum prefetch_mode prefetch,
                               enum foresight foresight = FORESIGHT_AUTO)
{
    struct policy_config config = {};
    config.layers = kLayers;
    config.experts = kExperts;
    config.top_k = kTopK;
    config.slots = kSlots;
    config.evict = EVICT_LEARNED;
    config.foresight = foresight;
    config.prefetch = prefetch;
    config.seed = 1;
    return config;
}

/* A policy and a ring of slots that does what it says, at once. */
class Ring {
public:
    explicit Ring(const struct policy_config &config) : slots_(config.slots)
    {
        struct error error = {};
        EXPECT_EQ(policy_open(&policy, &config, &error), STATUS_OK) << error.text;
        there_.assign((size_t)config.layers * config.experts, false);
        experts_ = config.experts;
    }
    ~Ring() { policy_close(policy); }
    Ring(const Ring &) = delete;
    Ring &operator=(const Ring &) = delete;

    /* One layer runs: hits, misses, and what comes ahead of the next. `scores`: what its router
     * says of the layer after it; empty: nobody asks. */
    void run(uint32_t layer, const std::vector<uint32_t> &wanted,
             const std::vector<float> &scores = {})
    {
        std::vector<uint32_t> ones(wanted.size() + 1, 1);
        struct layer_run run = {};
        run.layer = layer;
        run.rows = 1;
        run.count = (uint32_t)wanted.size();
        run.experts = wanted.data();
        run.tokens = ones.data();
        policy_run(policy, &run);
        pinned_.clear();
        for (uint32_t e : wanted)
            pinned_.push_back(layer * experts_ + e);
        for (page_id page : pinned_) {
            (there_[page] ? hits : misses)++;
            if (!there_[page]) {
                if (used_ == slots_)
                    leaves(policy_victim(policy, MEMORY_DEVICE, 0, allowed, this));
                comes(page);
            }
        }
        if (!scores.empty() && policy_looks_ahead(policy) > 0)
            policy_lookahead(policy, 1, scores.data());
        struct prefetch_pick pick;
        while (policy_prefetch_next(policy, &pick))
            guess(pick);
    }
    /* Pages of the highest numbers leave. */
    void resize(uint32_t slots, bool everything_fits)
    {
        struct error error = {};
        slots_ = slots;
        for (page_id page = (page_id)there_.size(); page-- > 0 && used_ > slots_;)
            if (there_[page]) {
                there_[page] = false;
                used_--;
            }
        EXPECT_EQ(policy_resized(policy, slots, everything_fits, &error), STATUS_OK) << error.text;
        for (page_id page = 0; page < there_.size(); page++)
            policy_resident(policy, MEMORY_DEVICE, page, there_[page]);
    }
    struct policy_counters counters() const
    {
        struct policy_counters c;
        policy_counters(policy, &c);
        return c;
    }
    /* Of guesses that are settled. */
    double precision() const
    {
        struct prefetch_figures f = counters().prefetch;
        return (double)f.used / (double)(f.used + f.wasted);
    }
    double hit_share() const { return (double)hits / (double)(hits + misses); }

    struct policy *policy = nullptr;
    uint64_t hits = 0, misses = 0;
    std::vector<page_id> log; /* of everything decided */

private:
    static bool allowed(void *arg, enum memory_tier, page_id page)
    {
        const Ring *ring = static_cast<const Ring *>(arg);
        return ring->there_[page] &&
               std::count(ring->pinned_.begin(), ring->pinned_.end(), page) == 0;
    }
    void comes(page_id page)
    {
        there_[page] = true;
        used_++;
        policy_resident(policy, MEMORY_DEVICE, page, true);
    }
    void leaves(page_id page)
    {
        ASSERT_TRUE(page != PAGE_NONE && there_[page]);
        log.push_back(page);
        there_[page] = false;
        used_--;
        policy_resident(policy, MEMORY_DEVICE, page, false);
    }
    void guess(const struct prefetch_pick &pick)
    {
        ASSERT_FALSE(there_[pick.page]);
        page_id displaced = PAGE_NONE;
        if (used_ == slots_) {
            displaced = policy_prefetch_victim(policy, &pick, MEMORY_DEVICE, 0, allowed, this);
            if (displaced == PAGE_NONE)
                return;
            leaves(displaced);
        }
        policy_prefetch_issued(policy, &pick, displaced);
        log.push_back(pick.page);
        comes(pick.page);
    }
    uint32_t slots_, used_ = 0, experts_ = 0;
    std::vector<bool> there_;
    std::vector<page_id> pinned_;
};

using Model = std::function<std::vector<uint32_t>(uint32_t layer)>;

/* Each token of a small vocabulary has its experts in every layer, and tokens come at random: from
 * the experts of one layer those of the next follow. */
class Planted {
public:
    explicit Planted(uint64_t seed, uint32_t tokens = 40) : random_(seed), tokens_(tokens)
    {
        for (uint32_t i = 0; i < tokens * kLayers; i++) {
            uint32_t first = random_.below(kExperts);
            uint32_t second = (first + 1 + random_.below(kExperts - 1)) % kExperts;
            experts_.push_back({first, second});
        }
    }
    std::vector<uint32_t> operator()(uint32_t layer)
    {
        if (layer == 0)
            token_ = random_.below(tokens_);
        return experts_[token_ * kLayers + layer];
    }

private:
    scratch::Random random_;
    uint32_t tokens_, token_ = 0;
    std::vector<std::vector<uint32_t>> experts_;
};

/* Nothing follows from anything. */
class Noise {
public:
    explicit Noise(uint64_t seed) : random_(seed) {}
    std::vector<uint32_t> operator()(uint32_t)
    {
        uint32_t first = random_.below(kExperts);
        return {first, (first + 1 + random_.below(kExperts - 1)) % kExperts};
    }

private:
    scratch::Random random_;
};

void play(Ring &ring, Model model, uint32_t rounds)
{
    for (uint32_t round = 0; round < rounds; round++)
        for (uint32_t layer = 0; layer < kLayers; layer++)
            ring.run(layer, model(layer));
}

/* The same with routers that tell the truth about the next layer of the same token. */
void play_told(Ring &ring, Model model, uint32_t rounds)
{
    std::vector<uint32_t> wanted = model(0);
    for (uint32_t run = 0; run < rounds * kLayers; run++) {
        std::vector<uint32_t> next = model((run + 1) % kLayers);
        std::vector<float> scores(kExperts, 0.0f);
        for (uint32_t e : next)
            scores[e] = 1.0f;
        if ((run + 1) % kLayers == 0) /* the next token is not known */
            scores.clear();
        ring.run(run % kLayers, wanted, scores);
        wanted = next;
    }
}

TEST(Policy, ForeseesWhatFollowsFromTheLayersBefore)
{
    Ring on(config_of(PREFETCH_AUTO)), off(config_of(PREFETCH_OFF));
    play(on, Planted(1), 3000);
    play(off, Planted(1), 3000);
    struct policy_counters c = on.counters();
    printf("planted: precision %.3f of %lu guesses, hits %.1f %% with and %.1f %% without\n",
           on.precision(), (unsigned long)c.prefetch.issued, 100 * on.hit_share(),
           100 * off.hit_share());
    EXPECT_GT(c.prefetch.issued, 1000u);
    EXPECT_GT(on.precision(), 0.9);
    EXPECT_EQ(c.foresight, FORESIGHT_TRANSITION);
    EXPECT_GT(c.foresight_loss[FORESIGHT_PREVIOUS], c.foresight_loss[FORESIGHT_TRANSITION]);
    EXPECT_EQ(c.foresight_loss[FORESIGHT_LOOKAHEAD], 0); /* nobody told */
    EXPECT_GT(on.hit_share(), off.hit_share() + 0.2);
    EXPECT_TRUE(c.prefetch.active);
}

TEST(Policy, BelievesTheRoutersWhereTheyTellTheTruth)
{
    for (enum foresight foresight : {FORESIGHT_AUTO, FORESIGHT_LOOKAHEAD}) {
        Ring ring(config_of(PREFETCH_AUTO, foresight)), off(config_of(PREFETCH_OFF));
        play_told(ring, Noise(5), 3000);
        play_told(off, Noise(5), 3000);
        struct policy_counters c = ring.counters();
        printf("told: precision %.3f of %lu guesses, hits %.1f %% with and %.1f %% without\n",
               ring.precision(), (unsigned long)c.prefetch.issued, 100 * ring.hit_share(),
               100 * off.hit_share());
        EXPECT_EQ(c.foresight, FORESIGHT_LOOKAHEAD);
        EXPECT_GT(c.prefetch.issued, 1000u);
        EXPECT_GT(ring.precision(), 0.9);
        EXPECT_GT(ring.hit_share(), off.hit_share() + 0.2);
        EXPECT_GT(policy_looks_ahead(ring.policy), 0u);
    }
    Ring ring(config_of(PREFETCH_AUTO, FORESIGHT_TRANSITION));
    EXPECT_EQ(policy_looks_ahead(ring.policy), 0u); /* nobody would listen */
}

TEST(Policy, OnNoiseGuessingCostsNothing)
{
    for (enum foresight foresight : {FORESIGHT_AUTO, FORESIGHT_TRANSITION, FORESIGHT_PREVIOUS}) {
        Ring on(config_of(PREFETCH_AUTO, foresight)), off(config_of(PREFETCH_OFF));
        play(on, Noise(7), 4000);
        play(off, Noise(7), 4000);
        struct prefetch_figures f = on.counters().prefetch;
        EXPECT_NEAR(on.hit_share(), off.hit_share(), 0.005) << foresight_name(foresight);
        EXPECT_LT((double)f.issued, 0.01 * (double)on.misses) << foresight_name(foresight);
    }
}

/* Where everybody's guesses are bad, and sure of themselves, they stop: first the pattern holds,
 * then it is gone. */
TEST(Policy, StopsGuessingWhenThePatternIsGone)
{
    Ring on(config_of(PREFETCH_AUTO)), off(config_of(PREFETCH_OFF));
    play(on, Planted(3), 1500);
    play(off, Planted(3), 1500);
    struct prefetch_figures before = on.counters().prefetch;
    on.hits = on.misses = off.hits = off.misses = 0;
    play(on, Noise(8), 3000);
    play(off, Noise(8), 3000);
    struct prefetch_figures after = on.counters().prefetch;
    uint64_t wasted = after.wasted - before.wasted;
    EXPECT_LT((double)wasted, 0.08 * (double)on.misses + 16);
    EXPECT_NEAR(on.hit_share(), off.hit_share(), 0.005);
}

TEST(Policy, SameSeedSameDecisions)
{
    for (int kind = 0; kind < EVICT_KINDS; kind++)
        for (enum prefetch_mode prefetch : {PREFETCH_OFF, PREFETCH_AUTO, PREFETCH_ON}) {
            struct policy_config config = config_of(prefetch);
            config.evict = (enum evict_kind)kind;
            Ring a(config), b(config);
            play(a, Planted(2), 200);
            play(b, Planted(2), 200);
            EXPECT_GT(a.log.size(), 100u);
            EXPECT_EQ(a.log, b.log) << evict_kind_name(config.evict);
            config.seed = 2;
            Ring c(config);
            play(c, Planted(2), 200);
            if (kind == EVICT_RANDOM) {
                EXPECT_NE(a.log, c.log);
            }
        }
}

/* A guess takes only the place of what is worth less, and nobody's where nothing is. */
TEST(Policy, AGuessDisplacesOnlyWhatIsWorthLess)
{
    struct policy_config config = config_of(PREFETCH_ON);
    Ring ring(config);
    play(ring, Planted(4), 500);
    auto any = [](void *, enum memory_tier, page_id) { return true; };
    struct prefetch_pick pick = {};
    pick.page = 5;
    pick.distance = 1;
    for (float probability : {0.0f, 0.05f, 0.3f, 1.0f}) {
        pick.probability = probability;
        page_id lowest = policy_victim(ring.policy, MEMORY_DEVICE, 0, any, nullptr);
        page_id victim =
            policy_prefetch_victim(ring.policy, &pick, MEMORY_DEVICE, 0, any, nullptr);
        ASSERT_NE(lowest, PAGE_NONE);
        if (probability == 0.0f) {
            EXPECT_EQ(victim, PAGE_NONE);
        } else if (probability == 1.0f) {
            EXPECT_EQ(victim, lowest);
        } else if (victim != PAGE_NONE) {
            EXPECT_EQ(victim, lowest);
        }
    }
    auto none = [](void *, enum memory_tier, page_id) { return false; };
    EXPECT_EQ(policy_prefetch_victim(ring.policy, &pick, MEMORY_DEVICE, 0, none, nullptr),
              PAGE_NONE);
}

TEST(Policy, NothingIsGuessedWhereEverythingFitsOrNothingFollows)
{
    struct policy_config config = config_of(PREFETCH_ON);
    config.everything_fits = true;
    config.slots = kLayers * kExperts;
    Ring fits(config);
    play(fits, Planted(1), 300);
    EXPECT_EQ(fits.counters().prefetch.issued, 0u);
    EXPECT_EQ(policy_looks_ahead(fits.policy), 0u);
    EXPECT_GT(fits.hit_share(), 0.8);
    /* The host tier may be smaller all the same. */
    policy_resident(fits.policy, MEMORY_HOST, 3, true);
    auto any = [](void *, enum memory_tier, page_id) { return true; };
    EXPECT_EQ(policy_victim(fits.policy, MEMORY_HOST, 0, any, nullptr), 3u);

    config = config_of(PREFETCH_ON);
    config.layers = 1;
    config.slots = 8;
    Ring one(config);
    Planted model(1);
    for (int i = 0; i < 300; i++)
        one.run(0, model(0));
    EXPECT_EQ(one.counters().prefetch.issued, 0u);
}

/* Opened where everything fits, it learns to guess once that is over, stops while it is so again,
 * and has forgotten nothing. */
TEST(Policy, GuessesWhenNotEverythingFitsAnyMore)
{
    struct policy_config config = config_of(PREFETCH_ON);
    config.everything_fits = true;
    config.slots = kLayers * kExperts;
    Ring ring(config), off(config_of(PREFETCH_OFF));
    Planted model(1);
    auto issued = [&] { return ring.counters().prefetch.issued; };
    play(ring, [&](uint32_t layer) { return model(layer); }, 300);
    EXPECT_EQ(issued(), 0u);
    ring.resize(kSlots, false);
    ring.hits = ring.misses = 0;
    play(ring, [&](uint32_t layer) { return model(layer); }, 3000);
    play(off, Planted(1), 3000);
    EXPECT_GT(issued(), 1000u);
    EXPECT_GT(ring.precision(), 0.9);
    EXPECT_GT(ring.hit_share(), off.hit_share() + 0.2);
    uint64_t before = issued();
    ring.resize(kLayers * kExperts, true);
    play(ring, [&](uint32_t layer) { return model(layer); }, 300);
    EXPECT_EQ(issued(), before);
    EXPECT_EQ(policy_looks_ahead(ring.policy), 0u);
    ring.resize(kSlots, false);
    ring.hits = ring.misses = 0;
    play(ring, [&](uint32_t layer) { return model(layer); }, 200);
    EXPECT_GT(issued(), before + 100);
    EXPECT_GT(ring.hit_share(), off.hit_share());
}

/* A page that is always used has 1 / (1 - gamma) uses within the horizon, whose gamma follows the
 * share of pages that fit. */
TEST(Policy, TheHorizonFollowsTheSlots)
{
    Ring ring(config_of(PREFETCH_OFF));
    for (uint32_t run = 0; run < 300 * kLayers; run++)
        ring.run(run % kLayers, {3});
    for (uint32_t slots : {kSlots, 12u, 90u, kSlots}) {
        ring.resize(slots, false);
        double gamma = use_value_gamma(slots, kLayers * kExperts);
        double worth = policy_uses(ring.policy, 3, 1); /* of layer 0, which runs next */
        EXPECT_NEAR(worth, 1 / (1 - gamma), 0.25 / (1 - gamma)) << slots << " slots";
    }
}

TEST(Policy, LayersAheadAreBoundedByTheRound)
{
    struct policy_config config = config_of(PREFETCH_ON);
    config.layers = 2;
    config.ahead = 4;
    config.slots = 16;
    Ring ring(config);
    Planted model(6);
    for (int i = 0; i < 1000; i++)
        for (uint32_t layer = 0; layer < 2; layer++)
            ring.run(layer, model(layer));
    EXPECT_LE(policy_looks_ahead(ring.policy), 1u);
    EXPECT_GT(ring.counters().prefetch.used, 0u);
    config.layers = 8;
    config.ahead = POLICY_AHEAD_MAX + 1;
    struct policy *policy;
    struct error error = {};
    EXPECT_DEATH((void)policy_open(&policy, &config, &error), "AHEAD_MAX");
}

/* Its layer has run without it: pointless to begin. */
TEST(Policy, LateGuessesAreTold)
{
    Ring ring(config_of(PREFETCH_ON));
    play(ring, Planted(1), 1000);
    struct prefetch_pick pick = {};
    pick.page = PAGE_NONE;
    Planted model(1);
    for (uint32_t layer = 0; layer < kLayers && pick.page == PAGE_NONE; layer++) {
        std::vector<uint32_t> wanted = model(layer), ones(2, 1);
        struct layer_run run = {layer, 1, 2, wanted.data(), ones.data(), false};
        policy_run(ring.policy, &run);
        if (!policy_prefetch_next(ring.policy, &pick))
            pick.page = PAGE_NONE;
    }
    ASSERT_NE(pick.page, PAGE_NONE);
    uint64_t issued = ring.counters().prefetch.issued;
    policy_prefetch_issued(ring.policy, &pick, PAGE_NONE);
    EXPECT_FALSE(policy_prefetch_late(ring.policy, pick.page));
    struct layer_run run = {pick.page / kExperts, 1, 0, nullptr, nullptr, false};
    policy_run(ring.policy, &run);
    EXPECT_TRUE(policy_prefetch_late(ring.policy, pick.page));
    policy_prefetch_dropped(ring.policy, pick.page);
    EXPECT_FALSE(policy_prefetch_late(ring.policy, pick.page));
    EXPECT_EQ(ring.counters().prefetch.issued, issued);
}

TEST(Policy, FollowsLoadsIfAsked)
{
    struct policy_config config = config_of(PREFETCH_OFF);
    Ring without(config);
    EXPECT_EQ(policy_loads(without.policy), nullptr);
    for (bool fits : {false, true}) {
        config.slow_clock = true;
        config.everything_fits = fits;
        Ring with(config);
        play(with, Planted(1), 50);
        EXPECT_NE(policy_loads(with.policy), nullptr);
    }
}

/* A forecast of loads that is lent: told of its own phase alone, among those who may be
 * believed. */
TEST(Policy, LendsItsSlowClockAnotherForecast)
{
    struct Lent {
        struct predictor base;
        uint32_t ticks;
    };
    const struct predictor_ops ops = {
        "lstm", [](struct predictor *p, uint32_t, const float *) { ((Lent *)p)->ticks++; },
        [](struct predictor *, uint32_t, uint32_t, float *) { return false; }, nullptr, nullptr,
        [](struct predictor *) { FAIL() << "a borrowed predictor was closed"; }};
    Lent lent[LOAD_PHASES] = {{{&ops}, 0}, {{&ops}, 0}};
    struct policy_config config = config_of(PREFETCH_OFF);
    config.slow_clock = true;
    for (int phase = 0; phase < LOAD_PHASES; phase++)
        config.lstm[phase] = &lent[phase].base;
    {
        Ring ring(config);
        scratch::Random random(5);
        for (uint32_t run = 0; run < 1000 * kLayers; run++)
            ring.run(run % kLayers, {random.below(16), 16 + random.below(16)});
        EXPECT_EQ(lent[LOAD_DECODE].ticks, kLayers); /* 2,000 routed: first ticks need < 2,048 */
        EXPECT_EQ(lent[LOAD_PREFILL].ticks, 0u);
        for (int phase = 0; phase < LOAD_PHASES; phase++)
            EXPECT_EQ(load_mixture_count(loads_mixture(policy_loads(ring.policy),
                                                       (enum load_phase)phase)), 4u);
    }
}

/* Loads that stay as they are, in a ring too small for recency: who forecasts them keeps the pages
 * that are used most. */
TEST(Policy, StableLoadsArePlacedByForecast)
{
    uint64_t hits[2];
    for (enum evict_kind evict : {EVICT_ROUND, EVICT_FORECAST}) {
        struct policy_config config = config_of(PREFETCH_OFF);
        config.layers = 2;
        config.evict = evict;
        config.slow_clock = true;
        config.slots = 12;
        Ring ring(config);
        scratch::Random random(3);
        auto skewed = [&](uint32_t) { /* a quarter of the experts gets most tokens */
            uint32_t first = random.chance(70) ? random.below(8) : random.below(kExperts);
            uint32_t second = random.chance(70) ? random.below(8) : random.below(kExperts);
            return std::vector<uint32_t>{first, second == first ? (first + 1) % kExperts : second};
        };
        for (uint32_t run = 0; run < 400000; run++) {
            if (run == 300000)
                ring.hits = ring.misses = 0;
            ring.run(run % 2, skewed(run % 2));
        }
        hits[evict == EVICT_FORECAST] = ring.hits;
        struct state_figures state;
        loads_state(policy_loads(ring.policy), LOAD_DECODE, 0, &state);
        printf("%s: %.1f %% hits, layer 0 %s\n", evict_kind_name(evict), 100 * ring.hit_share(),
               state.stable ? "stable" : "transient");
        EXPECT_TRUE(state.stable);
    }
    EXPECT_GT(hits[true], hits[false] * 21 / 20);
}

TEST(Policy, NamesAndNull)
{
    EXPECT_STREQ(foresight_name(FORESIGHT_AUTO), "auto");
    EXPECT_STREQ(foresight_name(FORESIGHT_TRANSITION), "transition");
    EXPECT_STREQ(foresight_name(FORESIGHT_PREVIOUS), "previous");
    EXPECT_STREQ(foresight_name(FORESIGHT_LOOKAHEAD), "lookahead");
    policy_close(nullptr);
}

} // namespace
