/* The planner alone, its outcomes made up: what it offers, what it counts, and that no adversary
 * makes it waste more than it was allowed. Constants are its own affair; what is tested here holds
 * whatever they are. */
#include "engine/paging/prefetch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "tests/support/scratch.h"

namespace {

using Pages = std::vector<page_id>;

class Planner {
public:
    explicit Planner(enum prefetch_mode mode = PREFETCH_ON, uint32_t layers = 4,
                     uint32_t experts = 8, uint32_t slots = 64, uint32_t ahead = 2,
                     float waste_share = 0.1f)
        : layers_(layers), experts_(experts)
    {
        struct prefetch_config config = {};
        config.layers = layers;
        config.experts = experts;
        config.slots = slots;
        config.ahead = ahead;
        config.mode = mode;
        config.waste_share = waste_share;
        struct error error = {};
        EXPECT_EQ(prefetch_open(&p, &config, &error), STATUS_OK) << error.text;
    }
    ~Planner() { prefetch_close(p); }
    Planner(const Planner &) = delete;
    Planner &operator=(const Planner &) = delete;

    void run(uint32_t layer, const std::vector<uint32_t> &experts = {})
    {
        std::vector<uint32_t> ones(experts.size() + 1, 1);
        struct layer_run run = {};
        run.layer = layer;
        run.rows = 1;
        run.count = (uint32_t)experts.size();
        run.experts = experts.data();
        run.tokens = ones.data();
        prefetch_run(p, &run);
        present_ = layer;
    }
    void expect(uint32_t distance, const std::vector<float> &probability)
    {
        std::copy(probability.begin(), probability.end(),
                  prefetch_row(p, (present_ + distance) % layers_));
        prefetch_expect(p, distance);
    }
    /* Expects one expert of the next layer. */
    struct prefetch_pick pick_one(uint32_t expert, float probability = 0.9f)
    {
        std::vector<float> row(experts_, 0.0f);
        row[expert] = probability;
        expect(1, row);
        struct prefetch_pick pick = {};
        EXPECT_TRUE(prefetch_next(p, &pick));
        EXPECT_EQ(pick.page, (present_ + 1) % layers_ * experts_ + expert);
        return pick;
    }
    void issue(const struct prefetch_pick &pick, page_id displaced = PAGE_NONE, float worth = 0.5f)
    {
        prefetch_issued(p, &pick, displaced, worth);
    }
    Pages all_picks()
    {
        Pages pages;
        struct prefetch_pick pick;
        while (prefetch_next(p, &pick))
            pages.push_back(pick.page);
        return pages;
    }
    struct prefetch_figures figures() const
    {
        struct prefetch_figures f;
        prefetch_figures(p, &f);
        return f;
    }
    /* Demand misses of layer `layer`'s experts, until no more budget can be saved up. */
    void save_up(uint32_t layer)
    {
        for (int i = 0; i < 2000; i++)
            run(layer, {1, 2, 3});
    }
    struct prefetch *p = nullptr;

private:
    uint32_t layers_, experts_, present_ = 0;
};

TEST(Prefetch, KnowsNothingAtFirst)
{
    Planner t;
    struct prefetch_pick pick;
    EXPECT_FALSE(prefetch_next(t.p, &pick));
    t.run(0, {1});
    EXPECT_FALSE(prefetch_next(t.p, &pick));
}

TEST(Prefetch, LikelierPagesFirstEachOncePerRun)
{
    Planner t;
    t.save_up(0); /* so that it is not choosy */
    t.run(0);
    t.expect(1, {0.7f, 0, 0.95f, 0, 0, 0, 0, 0});
    t.expect(2, {0, 0.8f, 0, 0, 0, 0, 0, 0.01f});
    EXPECT_EQ(t.all_picks(), (Pages{8 + 2, 16 + 1, 8}));
    EXPECT_EQ(t.all_picks(), Pages());
    t.run(1); /* what was said of layer 2 was said in the run before */
    EXPECT_EQ(t.all_picks(), Pages());
    t.expect(1, {0, 0.8f, 0, 0, 0, 0, 0, 0});
    EXPECT_EQ(t.all_picks(), (Pages{16 + 1}));
}

TEST(Prefetch, TheRoundGoesOnAtLayerZero)
{
    Planner t;
    t.save_up(0); /* so that it is not choosy */
    t.run(3);
    t.expect(1, {0, 0, 0, 0.9f, 0, 0, 0, 0});
    t.expect(2, {0, 0, 0, 0, 0, 0, 0.8f, 0});
    EXPECT_EQ(t.all_picks(), (Pages{3, 8 + 6}));
}

/* Where a copy takes as long as several layers, what starts too late hides little of a stall. */
TEST(Prefetch, SlowCopiesFavourLayersFurtherAhead)
{
    Planner t;
    t.save_up(0); /* so that it is not choosy */
    t.run(0);
    auto say = [&] {
        t.expect(1, {0.9f, 0, 0, 0, 0, 0, 0, 0});
        t.expect(2, {0, 0.8f, 0, 0, 0, 0, 0, 0});
    };
    prefetch_measured(t.p, 1000, 10000);
    say();
    EXPECT_EQ(t.all_picks(), (Pages{8, 16 + 1}));
    prefetch_measured(t.p, 40000, 10000);
    say();
    EXPECT_EQ(t.all_picks(), (Pages{16 + 1, 8}));
    prefetch_measured(t.p, 0, 0); /* not measured: changes nothing */
    say();
    EXPECT_EQ(t.all_picks(), (Pages{16 + 1, 8}));
}

TEST(Prefetch, OffersNeitherResidentNorIssuedPages)
{
    Planner t;
    t.run(0);
    std::vector<float> sure(8, 0.97f);
    prefetch_resident(t.p, 8 + 1, true);
    prefetch_resident(t.p, 8 + 2, true);
    prefetch_resident(t.p, 8 + 2, false);
    struct prefetch_pick pick = t.pick_one(5);
    t.issue(pick);
    t.expect(1, sure);
    Pages offered = t.all_picks();
    std::sort(offered.begin(), offered.end());
    EXPECT_EQ(offered, (Pages{8, 10, 11, 12, 14, 15}));
    prefetch_resident(t.p, pick.page, true);
    t.expect(1, sure);
    offered = t.all_picks();
    EXPECT_EQ(std::count(offered.begin(), offered.end(), pick.page), 0);
    EXPECT_DEATH(t.issue(pick), "RESIDENT");
}

TEST(Prefetch, CountsWhatBecomesOfGuesses)
{
    Planner t;
    t.run(0);
    struct prefetch_pick used = t.pick_one(1);
    t.issue(used);
    struct prefetch_pick half = t.pick_one(2);
    t.issue(half);
    struct prefetch_pick wrong = t.pick_one(3);
    t.issue(wrong);
    prefetch_resident(t.p, used.page, true);
    prefetch_resident(t.p, wrong.page, true);
    t.run(1, {1, 2});
    struct prefetch_figures f = t.figures();
    EXPECT_EQ(f.issued, 3u);
    EXPECT_EQ(f.used, 2u);
    EXPECT_EQ(f.wasted, 0u); /* still there */
    EXPECT_NEAR(f.profit, (1.0 + 0.5 + 0.0) / 3, 1e-9);
    prefetch_resident(t.p, half.page, true); /* joined by demand: no guess any more */
    prefetch_resident(t.p, half.page, false);
    prefetch_resident(t.p, used.page, false);
    EXPECT_EQ(t.figures().wasted, 0u);
    prefetch_resident(t.p, wrong.page, false);
    EXPECT_EQ(t.figures().wasted, 1u);
}

/* Used in a later run than it was guessed for: bytes were not wasted after all. */
TEST(Prefetch, WhatIsUsedLaterWasNotWasted)
{
    Planner t;
    t.run(0);
    double before = t.figures().budget;
    struct prefetch_pick pick = t.pick_one(4);
    t.issue(pick);
    prefetch_resident(t.p, pick.page, true);
    t.run(1);
    EXPECT_NEAR(t.figures().budget, before - 1, 1e-6);
    t.run(1, {4});
    EXPECT_NEAR(t.figures().budget, before + 0.1, 1e-6); /* and demand would have read it */
    EXPECT_EQ(t.figures().used, 1u);
    prefetch_resident(t.p, pick.page, false);
    EXPECT_EQ(t.figures().wasted, 0u);
}

TEST(Prefetch, AGuessDrawsItsExpectedWasteAndTheRestWhenItFails)
{
    Planner t;
    t.run(0);
    double before = t.figures().budget;
    struct prefetch_pick pick = t.pick_one(4, 0.9f);
    t.issue(pick);
    EXPECT_NEAR(t.figures().budget, before - 0.1, 0.01);
    prefetch_resident(t.p, pick.page, true);
    prefetch_resident(t.p, pick.page, false); /* thrown out before its layer ran */
    EXPECT_NEAR(t.figures().budget, before - 1, 1e-6);
    EXPECT_EQ(t.figures().wasted, 1u);
    t.run(1, {4}); /* demand reads it now */
    EXPECT_NEAR(t.figures().budget, before - 1 + 0.1, 1e-6);
}

TEST(Prefetch, DroppedGuessesAreRefunded)
{
    Planner t;
    t.run(0);
    struct prefetch_figures before = t.figures();
    struct prefetch_pick pick = t.pick_one(4);
    t.issue(pick);
    EXPECT_FALSE(prefetch_late(t.p, pick.page));
    prefetch_dropped(t.p, pick.page);
    EXPECT_NEAR(t.figures().budget, before.budget, 1e-6);
    EXPECT_EQ(t.figures().issued, before.issued);
    pick = t.pick_one(4); /* and may be issued again */
    t.issue(pick);
    t.run(1);
    EXPECT_TRUE(prefetch_late(t.p, pick.page)); /* its layer has run without it */
    prefetch_dropped(t.p, pick.page);
    EXPECT_FALSE(prefetch_late(t.p, pick.page));
    EXPECT_NEAR(t.figures().budget, before.budget, 1e-6);
    prefetch_dropped(t.p, pick.page); /* told twice: nothing */
    EXPECT_NEAR(t.figures().budget, before.budget, 1e-6);
    EXPECT_EQ(t.figures().issued, 0u);
    t.run(0);
    t.issue(t.pick_one(4));
    t.run(1, {4}); /* asked for while on its way: joined, never late, and no longer a guess */
    EXPECT_FALSE(prefetch_late(t.p, 8 + 4));
    before = t.figures();
    prefetch_dropped(t.p, 8 + 4); /* the read failed */
    EXPECT_NEAR(t.figures().budget, before.budget, 1e-6);
    EXPECT_EQ(t.figures().issued, before.issued);
}

TEST(Prefetch, WhatADisplacedPageCostsIsCounted)
{
    struct Case {
        float worth;
        std::vector<uint32_t>
            between; /* experts of the displaced page's layer before it is missed */
        bool layer_ran, came_back;
        double outcome;
    };
    for (const Case &c : {Case{0.5f, {}, false, false, -1.0}, Case{0.0f, {}, false, false, 0.0},
                          Case{0.5f, {7}, true, false, 0.0}, Case{0.5f, {}, false, true, 0.0}}) {
        Planner t;
        prefetch_resident(t.p, 16 + 6, true);
        t.run(0);
        struct prefetch_pick pick = t.pick_one(4);
        prefetch_resident(t.p, 16 + 6, false);
        t.issue(pick, 16 + 6, c.worth);
        prefetch_resident(t.p, pick.page, true);
        t.run(1, {4}); /* the guess was right: +1 */
        if (c.layer_ran)
            t.run(2, c.between);
        if (c.came_back)
            prefetch_resident(t.p, 16 + 6, true);
        double before = t.figures().budget;
        t.run(2, {6});
        double demand = c.came_back ? 0 : 0.1;
        EXPECT_NEAR(t.figures().budget, before + demand + c.outcome, 1e-6);
        EXPECT_NEAR(t.figures().profit, c.outcome < 0 ? 0.0 : 1.0, 1e-9);
    }
}

TEST(Prefetch, AQuarterOfTheSlotsAtMost)
{
    for (uint32_t slots : {3u, 4u, 7u, 8u, 20u}) {
        Planner t(PREFETCH_ON, 4, 32, slots);
        t.save_up(0);
        Pages issued;
        struct prefetch_pick pick;
        t.expect(1, std::vector<float>(32, 0.97f));
        while (prefetch_next(t.p, &pick)) {
            t.issue(pick);
            issued.push_back(pick.page);
        }
        EXPECT_EQ(issued.size(), slots / 4);
        if (issued.empty())
            continue;
        prefetch_resident(t.p, issued[0], true); /* there, but not used: still a guess */
        EXPECT_FALSE(prefetch_next(t.p, &pick));
        prefetch_resident(t.p, issued[0], false);
        EXPECT_TRUE(prefetch_next(t.p, &pick));
    }
}

TEST(Prefetch, AnotherNumberOfSlotsIsAnotherQuarter)
{
    Planner t(PREFETCH_ON, 4, 32, 8);
    t.save_up(0);
    auto issue_all = [&] {
        Pages issued;
        struct prefetch_pick pick;
        t.expect(1, std::vector<float>(32, 0.97f));
        while (prefetch_next(t.p, &pick)) {
            t.issue(pick);
            issued.push_back(pick.page);
        }
        return issued;
    };
    Pages all = issue_all();
    EXPECT_EQ(all.size(), 2u);
    prefetch_resized(t.p, 20);
    for (page_id page : issue_all())
        all.push_back(page);
    EXPECT_EQ(all.size(), 5u);
    prefetch_resized(t.p, 4); /* what is under way goes on, and nothing comes on top of it */
    for (page_id page : all) {
        EXPECT_TRUE(issue_all().empty());
        prefetch_dropped(t.p, page);
    }
    EXPECT_EQ(issue_all().size(), 1u);
}

/* The threshold rises while the budget is short and falls while it is not; it stays within
 * bounds. */
TEST(Prefetch, TheThresholdFollowsTheBudgetWithinBounds)
{
    Planner t;
    t.run(0);
    float first = t.figures().threshold, last = 0;
    while (t.figures().budget > 0) { /* nothing of what is guessed is used */
        struct prefetch_pick pick = t.pick_one(4, 1.0f);
        t.issue(pick);
        prefetch_resident(t.p, pick.page, true);
        t.run(1);
        prefetch_resident(t.p, pick.page, false);
        t.run(0);
        EXPECT_GE(t.figures().threshold, last);
        last = t.figures().threshold;
    }
    EXPECT_GT(last, first);
    EXPECT_LT(last, 1.0f);
    t.expect(1, std::vector<float>(8, 1.0f));
    EXPECT_EQ(t.all_picks(), Pages()) << "no budget, no guess";
    while (t.figures().budget <= 0)
        t.run(0, {1});
    float most = t.figures().threshold;
    t.expect(1, std::vector<float>(8, most - 0.01f));
    EXPECT_EQ(t.all_picks(), Pages());
    t.expect(1, std::vector<float>(8, 1.0f));
    EXPECT_EQ(t.all_picks().size(), 8u);
    t.save_up(0);
    float least = t.figures().threshold;
    EXPECT_LT(least, first);
    EXPECT_GT(least, 0.0f);
    t.save_up(0);
    EXPECT_EQ(t.figures().threshold, least);
    t.expect(1, std::vector<float>(8, least - 0.01f));
    EXPECT_EQ(t.all_picks(), Pages());
    t.expect(1, std::vector<float>(8, least + 0.01f));
    EXPECT_EQ(t.all_picks().size(), 8u);
}

/* ---- what no adversary may do ---- */

/* What a planner's caller sees of its guesses, kept beside it. */
struct Books {
    struct Guess {
        double draws;  /* at issue, quantised as the planner may */
        bool arrived = false, passed = false;
    };
    std::vector<int> state; /* [pages] -1: not a guess; else index into guesses */
    std::vector<Guess> guesses;
    std::vector<bool> resident, on_its_way, displaced;
    double demand = 0, wasted = 0, displaced_misses = 0;
};

/* `honest`: a page expected with p is used with p. Otherwise nothing that was guessed is used if it
 * can be helped. */
void simulate(bool honest, uint64_t seed, double *waste_share_of_demand)
{
    constexpr uint32_t layers = 6, experts = 16, slots = 32;
    constexpr float share = 0.08f;
    scratch::Random random(seed);
    Planner t(PREFETCH_ON, layers, experts, slots, 2, share);
    const double allowance = t.figures().budget;
    Books b;
    b.state.assign(layers * experts, -1);
    b.resident.assign(layers * experts, false);
    b.on_its_way = b.displaced = b.resident;
    auto uniform = [&] { return (double)random.below(1 << 20) / (1 << 20); };
    auto leaves = [&](page_id page) {
        if (b.state[page] >= 0) {
            b.wasted += !b.guesses[(size_t)b.state[page]].passed;
            b.state[page] = -1;
        }
        b.resident[page] = b.displaced[page] = false;
        prefetch_resident(t.p, page, false);
    };
    auto comes = [&](page_id page) {
        b.resident[page] = true;
        b.on_its_way[page] = b.displaced[page] = false;
        prefetch_resident(t.p, page, true);
    };
    auto make_room = [&]() {
        Pages there;
        for (page_id page = 0; page < layers * experts; page++)
            if (b.resident[page])
                there.push_back(page);
        if (there.size() < slots)
            return PAGE_NONE;
        page_id page = there[random.below((uint32_t)there.size())];
        leaves(page);
        return page;
    };
    std::vector<std::vector<float>> belief(layers, std::vector<float>(experts, 0.1f));
    for (int step = 0; step < 6000; step++) {
        uint32_t layer = (uint32_t)step % layers;
        std::vector<uint32_t> wanted;
        for (uint32_t e = 0; e < experts; e++) {
            page_id page = layer * experts + e;
            bool guessed = b.state[page] >= 0;
            if (honest ? uniform() < belief[layer][e] : random.chance(guessed ? 1 : 25))
                wanted.push_back(e);
        }
        t.run(layer, wanted);
        for (uint32_t e = 0; e < experts; e++) {
            page_id page = layer * experts + e;
            bool is_wanted = std::count(wanted.begin(), wanted.end(), e);
            int g = b.state[page];
            if (is_wanted && g >= 0) {
                b.demand++;
                b.wasted -= b.guesses[(size_t)g].passed;
                b.state[page] = -1;
            } else if (is_wanted && !b.resident[page] && !b.on_its_way[page]) {
                b.demand++;
                b.displaced_misses += b.displaced[page];
            } else if (g >= 0 && !b.guesses[(size_t)g].passed) {
                b.guesses[(size_t)g].passed = true;
                b.wasted++;
            }
            b.displaced[page] = false;
        }
        for (uint32_t e : wanted) {
            page_id page = layer * experts + e;
            if (!b.resident[page]) {
                make_room();
                comes(page);
            }
        }
        for (page_id page = 0; page < layers * experts; page++) {
            bool late = prefetch_late(t.p, page);
            int g = b.state[page];
            ASSERT_EQ(late, g >= 0 && b.on_its_way[page] && b.guesses[(size_t)g].passed);
            if (late && random.chance(40)) {
                b.wasted--; /* nothing was copied */
                b.state[page] = -1;
                b.on_its_way[page] = false;
                prefetch_dropped(t.p, page);
            } else if (b.on_its_way[page] && random.chance(60)) {
                make_room();
                comes(page);
            }
        }
        for (uint32_t d = 1; d <= 2; d++) {
            for (float &p : belief[(layer + d) % layers])
                if (d == 2) /* fixed when first foretold */
                    p = (float)(random.chance(30) ? 0.7 + 0.3 * uniform() : 0.1 * uniform());
            t.expect(d, belief[(layer + d) % layers]);
        }
        struct prefetch_pick pick;
        for (int n = (int)random.below(5); n > 0 && prefetch_next(t.p, &pick); n--) {
            ASSERT_FALSE(b.resident[pick.page] || b.on_its_way[pick.page]);
            ASSERT_GT(t.figures().budget, 0);
            page_id displaced = random.chance(50) ? make_room() : PAGE_NONE;
            t.issue(pick, displaced);
            if (displaced != PAGE_NONE)
                b.displaced[displaced] = true;
            b.state[pick.page] = (int)b.guesses.size();
            b.guesses.push_back({1.0 - pick.probability});
            b.on_its_way[pick.page] = true;
        }
        double drawn = 0;
        uint32_t open = 0;
        for (int g : b.state)
            if (g >= 0) {
                open++;
                drawn += b.guesses[(size_t)g].passed ? 0 : b.guesses[(size_t)g].draws;
            }
        ASSERT_LE(open, slots / 4);
        double spent = b.wasted + b.displaced_misses + drawn;
        ASSERT_LE(t.figures().budget, allowance + share * b.demand - spent + 0.1) << step;
        /* What is open when the budget ends may still go wrong, and no more. */
        ASSERT_LE(b.wasted, allowance + share * b.demand + slots / 4 + 1) << step;
    }
    ASSERT_GT(b.guesses.size(), 100u);
    *waste_share_of_demand = b.wasted / b.demand;
}

TEST(Prefetch, NoAdversaryMakesItWasteMoreThanItsShare)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        double wasted = 0;
        simulate(false, seed, &wasted);
        ASSERT_FALSE(HasFailure()) << "seed " << seed;
        EXPECT_LT(wasted, 0.09); /* the allowance and the open guesses, of some 20,000 pages */
    }
}

TEST(Prefetch, TrueProbabilitiesAreTrusted)
{
    double wasted = 0;
    simulate(true, 3, &wasted);
    EXPECT_LT(wasted, 0.09);
    EXPECT_GT(wasted, 0.01);
}

/* ---- turning off ---- */

/* Runs rounds in which a guess (of experts 0..7) is right with `percent`, until it turns off or on
 * (`active`) or `runs` are over; the other experts keep demand up. Several guesses are open at any
 * time. Returns the runs. */
uint64_t runs_until(Planner &t, bool active, uint32_t percent, uint64_t runs,
                    scratch::Random &random)
{
    for (uint64_t i = 0; i < runs; i++) {
        if (t.figures().active == active)
            return i;
        uint32_t layer = (uint32_t)(i % 4);
        std::vector<uint32_t> wanted;
        for (uint32_t e = 0; e < 16; e++)
            if (random.chance(e < 8 ? percent : 25))
                wanted.push_back(e);
        t.run(layer, wanted);
        for (uint32_t e = 0; e < 16; e++) { /* nothing stays, so demand is large */
            prefetch_dropped(t.p, layer * 16 + e);
            prefetch_resident(t.p, layer * 16 + e, false);
        }
        std::vector<float> row(8, 0.99f);
        row.resize(16, 0.0f);
        t.expect(1, row);
        struct prefetch_pick pick;
        while (prefetch_next(t.p, &pick)) {
            t.issue(pick);
            prefetch_resident(t.p, pick.page, true);
        }
    }
    return runs;
}

TEST(Prefetch, TurnsItselfOffWhereGuessesAreUselessAndTriesAgain)
{
    scratch::Random random(1);
    Planner t(PREFETCH_AUTO, 4, 16, 64, 2, 0.5f);
    constexpr uint64_t many = 1 << 20;
    ASSERT_LT(runs_until(t, false, 0, many, random), many) << "never turned off";
    EXPECT_FALSE(prefetch_active(t.p));
    struct prefetch_pick pick;
    t.expect(1, std::vector<float>(16, 1.0f));
    EXPECT_FALSE(prefetch_next(t.p, &pick));
    uint64_t first = runs_until(t, true, 0, many, random);
    ASSERT_LT(first, many) << "never tried again";
    ASSERT_GT(first, 100u);
    ASSERT_LT(runs_until(t, false, 0, many, random), many);
    uint64_t second = runs_until(t, true, 0, many, random);
    /* A failure doubles the pause once, however many guesses were open when it was noticed. */
    EXPECT_GT(second, first * 3 / 2);
    EXPECT_LT(second, first * 3);
    uint64_t last = second;
    for (int i = 0; i < 8; i++) {
        ASSERT_LT(runs_until(t, false, 0, many, random), many);
        uint64_t pause = runs_until(t, true, 0, many, random);
        ASSERT_GE(pause + 16, last);
        last = pause;
    }
    EXPECT_LE(last, first * 20) << "there is a longest pause";
    /* Then guesses come true, and it stays on; a new failure begins with a short pause. */
    EXPECT_EQ(runs_until(t, false, 95, 4000, random), 4000u);
    EXPECT_GT(t.figures().profit, 0.5);
    ASSERT_LT(runs_until(t, false, 0, many, random), many);
    EXPECT_LT(runs_until(t, true, 0, many, random), first * 3 / 2);
}

/* Rounds of which the time is told: so much with prefetching, so much without. Returns how often it
 * was on in the second half. */
double share_on(enum prefetch_mode mode, double on_ns, double off_ns, uint64_t rounds)
{
    Planner t(mode, 4, 16, 64, 2, 0.5f);
    uint64_t on = 0;
    for (uint64_t i = 0; i < rounds * 4; i++) {
        bool active = prefetch_active(t.p);
        on += i >= rounds * 2 && active;
        prefetch_spent(t.p, active ? on_ns : off_ns);
        t.run((uint32_t)(i % 4));
    }
    return (double)on / (double)(rounds * 2);
}

TEST(Prefetch, TimeHasTheLastWord)
{
    EXPECT_GT(share_on(PREFETCH_AUTO, 90, 100, 20000), 0.9) << "it pays";
    EXPECT_LT(share_on(PREFETCH_AUTO, 110, 100, 20000), 0.2) << "it costs more than it saves";
    EXPECT_LT(share_on(PREFETCH_AUTO, 100, 100, 20000), 0.2) << "for nothing it is not done";
    EXPECT_EQ(share_on(PREFETCH_ON, 110, 100, 2000), 1.0) << "whatever it costs";
}

TEST(Prefetch, OnIsNeverTurnedOffAndOffNeverOn)
{
    scratch::Random random(2);
    Planner on(PREFETCH_ON, 4, 16, 64, 2, 0.5f), off(PREFETCH_OFF, 4, 16, 64, 2, 0.5f);
    EXPECT_EQ(runs_until(on, false, 1, 20000, random), 20000u);
    EXPECT_GT(on.figures().issued, 100u);
    EXPECT_EQ(runs_until(off, true, 99, 2000, random), 2000u);
    EXPECT_EQ(off.figures().issued, 0u);
}

TEST(Prefetch, CloseAcceptsNull)
{
    prefetch_close(nullptr);
}

} // namespace
