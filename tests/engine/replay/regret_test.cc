#include "engine/replay/regret.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <vector>

#include "engine/replay/belady.h"
#include "tests/support/scratch.h"

namespace {

/* A ring of a few slots that throws out what came first, and the regret that watches it. */
class Ring {
public:
    Ring(uint32_t layers, uint32_t experts, std::vector<uint32_t> class_slots, uint32_t window,
         uint32_t first, std::vector<uint8_t> page_class = {})
        : experts_(experts), slots_(class_slots), class_(page_class), held_(class_slots.size()),
          here_(layers * experts)
    {
        struct regret_config config = {};
        config.pages = layers * experts;
        config.window = window;
        config.first_window = first;
        config.classes = (uint32_t)slots_.size();
        config.class_slots = slots_.data();
        config.page_class = class_.empty() ? nullptr : class_.data();
        EXPECT_EQ(STATUS_OK, regret_open(&regret, &config, nullptr));
    }
    ~Ring() { regret_close(regret); }
    Ring(const Ring &) = delete;

    static bool resident(void *arg, page_id page) { return static_cast<Ring *>(arg)->here_[page]; }
    void begin() { regret_begin(regret, resident, this); }
    /* A layer wants these experts: hits stay where they are until all have been served. */
    void layer(uint32_t at, const std::vector<uint32_t> &experts)
    {
        std::vector<page_id> pinned;
        bool hit[64];
        for (size_t i = 0; i < experts.size(); i++) {
            hit[i] = here_[at * experts_ + experts[i]];
            if (hit[i])
                pinned.push_back(at * experts_ + experts[i]);
        }
        for (size_t i = 0; i < experts.size(); i++)
            if (!hit[i])
                bring(at * experts_ + experts[i], pinned);
        regret_request(regret, at * experts_, experts.data(), (uint32_t)experts.size(), hit);
    }
    void end_step()
    {
        if (regret_due(regret))
            regret_turn(regret, resident, this);
    }
    void bring(page_id page, const std::vector<page_id> &pinned = {})
    {
        uint32_t c = class_.empty() ? 0 : class_[page];
        if (here_[page])
            return;
        if (held_[c].size() == slots_[c]) {
            auto out = std::find_if(held_[c].begin(), held_[c].end(), [&](page_id p) {
                return !std::count(pinned.begin(), pinned.end(), p);
            });
            if (out == held_[c].end()) /* all served by now, in the order of a ring this small */
                out = held_[c].begin();
            here_[*out] = false;
            held_[c].erase(out);
        }
        held_[c].push_back(page);
        here_[page] = true;
    }
    void resize(std::vector<uint32_t> class_slots)
    {
        slots_ = class_slots;
        for (size_t c = 0; c < slots_.size(); c++)
            for (; held_[c].size() > slots_[c]; held_[c].pop_back())
                here_[held_[c].back()] = false;
        regret_resized(regret, slots_.data(), resident, this);
    }
    struct regret_figures figures() const
    {
        struct regret_figures f;
        regret_figures(regret, &f);
        return f;
    }

    struct regret *regret = nullptr;

private:
    uint32_t experts_;
    std::vector<uint32_t> slots_;
    std::vector<uint8_t> class_;
    std::vector<std::deque<page_id>> held_;
    std::vector<bool> here_;
};

/* Two pages resident, three asked for in turn: first in, first out never hits, Belady every other
 * time. */
TEST(Regret, KnowsWhatTheBestWouldHaveHad)
{
    Ring ring(1, 3, {2}, 6, 6);
    ring.bring(0);
    ring.bring(1);
    ring.begin();
    for (uint32_t e : {2u, 0u, 1u, 2u, 0u}) {
        ring.layer(0, {e});
        EXPECT_FALSE(regret_due(ring.regret));
        ring.end_step();
    }
    EXPECT_EQ(ring.figures().windows, 0u);
    EXPECT_EQ(ring.figures().share, 0);
    ring.layer(0, {1});
    ring.end_step();
    struct regret_figures f = ring.figures();
    EXPECT_EQ(f.windows, 1u);
    EXPECT_EQ(f.requests, 6u);
    EXPECT_EQ(f.hit_rate, 0);
    EXPECT_DOUBLE_EQ(f.oracle_hit_rate, 3 / 6.0); /* 2 for 1, 0 hits, 1 for 0, 2 hits, 0, 1 hits */
    EXPECT_EQ(f.share, 0);
}

/* What was resident at the beginning counts, and what was not does not. */
TEST(Regret, StartsFromWhatWasThere)
{
    for (bool warm : {false, true}) {
        Ring ring(1, 4, {4}, 4, 4);
        for (page_id page = 0; warm && page < 4; page++)
            ring.bring(page);
        ring.begin();
        ring.layer(0, {0, 1, 2, 3});
        ring.end_step();
        EXPECT_DOUBLE_EQ(ring.figures().hit_rate, warm);
        EXPECT_DOUBLE_EQ(ring.figures().oracle_hit_rate, warm);
        EXPECT_DOUBLE_EQ(ring.figures().share, 1);
    }
}

/* With one slot and page 1 in it, a layer that wants 0 and 1 hits 1 and then brings 0. Served in
 * the order of numbers, 0 would push out 1 and nobody could hit. */
TEST(Regret, HitsOfALayerComeFirst)
{
    Ring ring(1, 2, {1}, 2, 2);
    ring.bring(1);
    ring.begin();
    ring.layer(0, {0, 1});
    ring.end_step();
    EXPECT_DOUBLE_EQ(ring.figures().hit_rate, 0.5);
    EXPECT_DOUBLE_EQ(ring.figures().oracle_hit_rate, 0.5);
}

TEST(Regret, WindowsGrowAndOnlyWholeStepsCount)
{
    Ring ring(2, 4, {4}, 40, 10);
    ring.begin();
    std::vector<uint32_t> lengths;
    scratch::Random random(3);
    for (uint64_t seen = 0; lengths.size() < 5;) {
        EXPECT_EQ(ring.figures().next_requests, lengths.size() == 0 ? 10u
                                                : lengths.size() == 1 ? 20u : 40u);
        for (uint32_t l = 0; l < 2; l++)
            ring.layer(l, {random.below(2), 2 + random.below(2)});
        ring.end_step();
        if (ring.figures().windows > seen) {
            seen = ring.figures().windows;
            lengths.push_back(ring.figures().requests);
        }
    }
    EXPECT_EQ(lengths, (std::vector<uint32_t>{12, 20, 40, 40, 40})); /* steps of four */
}

/* The bound is one: whatever is asked for, no policy that copies on demand is above it. Layers that
 * want more than the ring holds and classes of unlike size included. */
TEST(Regret, NoDemandPolicyIsAboveTheOracle)
{
    scratch::Random random(11);
    for (uint32_t round = 0; round < 60; round++) {
        uint32_t layers = 1 + random.below(4), experts = 2 + random.below(10);
        bool two = layers > 1 && round % 2;
        std::vector<uint8_t> of(layers * experts, 0);
        for (uint32_t p = 0; two && p < experts; p++)
            of[p] = 1; /* the first layer's pages are larger */
        std::vector<uint32_t> slots = {1 + random.below(layers * experts)};
        if (two)
            slots.push_back(1 + random.below(experts));
        Ring ring(layers, experts, slots, 400, 100, two ? of : std::vector<uint8_t>());
        ring.begin();
        for (uint32_t step = 0; step < 400; step++) {
            for (uint32_t l = 0; l < layers; l++) {
                std::vector<uint32_t> wanted;
                for (uint32_t e = 0; e < experts; e++)
                    if (random.below(3) == 0)
                        wanted.push_back(e);
                ring.layer(l, wanted);
            }
            ring.end_step();
            struct regret_figures f = ring.figures();
            EXPECT_LE(f.hit_rate, f.oracle_hit_rate);
            EXPECT_LE(f.share, 1);
        }
        EXPECT_GE(ring.figures().windows, 1u);
    }
}

/* Requests made with other slots say nothing: the window begins anew, from what is there now, and
 * is judged by the new number. */
TEST(Regret, AResizeBeginsTheWindowAnew)
{
    Ring ring(1, 3, {2}, 6, 6);
    ring.bring(0);
    ring.bring(1);
    ring.begin();
    for (uint32_t e : {2u, 0u, 1u, 2u, 0u}) /* all missed */
        ring.layer(0, {e});
    ring.resize({3});
    for (page_id page : {0u, 1u, 2u})
        ring.bring(page);
    ring.resize({3});
    for (uint32_t i = 0; i < 6; i++) {
        EXPECT_EQ(ring.figures().windows, 0u);
        ring.layer(0, {i % 3});
        ring.end_step();
    }
    struct regret_figures f = ring.figures();
    EXPECT_EQ(f.windows, 1u);
    EXPECT_EQ(f.requests, 6u);
    EXPECT_DOUBLE_EQ(f.hit_rate, 1);
    EXPECT_DOUBLE_EQ(f.oracle_hit_rate, 1);
    ring.layer(0, {0});
    ring.resize({1});
    for (uint32_t i = 0; i < 6; i++) {
        ring.layer(0, {i % 2});
        ring.end_step();
    }
    f = ring.figures();
    EXPECT_EQ(f.windows, 2u);
    EXPECT_EQ(f.requests, 6u);
    EXPECT_LE(f.oracle_hit_rate, 1 / 6.0); /* one slot, two pages in turn */
    EXPECT_LE(f.hit_rate, f.oracle_hit_rate);
}

/* Two classes are two rings: the slots of the one are of no use to the other. */
TEST(Regret, ClassesHaveSlotsOfTheirOwn)
{
    Ring ring(2, 3, {1, 3}, 60, 60, {0, 0, 0, 1, 1, 1});
    ring.begin();
    for (uint32_t step = 0; step < 10; step++) {
        for (uint32_t e = 0; e < 3; e++) {
            ring.layer(0, {e}); /* one slot for three pages in turn: never a hit */
            ring.layer(1, {e}); /* room for all: always, but for the first three */
        }
        ring.end_step();
    }
    EXPECT_DOUBLE_EQ(ring.figures().oracle_hit_rate, 27 / 60.0);
    EXPECT_DOUBLE_EQ(ring.figures().share, 1);
}

/* A page that came before it was asked for is a hit that Belady's rule cannot have. */
TEST(Regret, PrefetchMayBeatTheBound)
{
    Ring ring(1, 4, {1}, 4, 4);
    ring.begin();
    for (uint32_t e = 0; e < 4; e++) {
        ring.bring(e);
        ring.layer(0, {e});
    }
    ring.end_step();
    EXPECT_DOUBLE_EQ(ring.figures().hit_rate, 1);
    EXPECT_DOUBLE_EQ(ring.figures().oracle_hit_rate, 0);
    EXPECT_DOUBLE_EQ(ring.figures().share, 1);
}

TEST(Regret, CallersBugsAreCaught)
{
    Ring ring(1, 4, {4}, 4, 4);
    ring.begin();
    EXPECT_DEATH(regret_turn(ring.regret, Ring::resident, &ring), "");
    ring.layer(0, {0, 1, 2, 3});
    ring.layer(0, {0, 1, 2, 3});
    EXPECT_DEATH(ring.layer(0, {0}), "regret_turn was left out");
    regret_close(nullptr);
}

/* Not a judgement, a figure for those who run it: what a full window costs at its end. */
TEST(Regret, AFullWindowAtSixtyLayersOf512)
{
    Ring ring(60, 512, {7680}, REGRET_WINDOW, REGRET_WINDOW);
    ring.begin();
    scratch::Random random(5);
    bool hit[8];
    uint32_t experts[8];
    while (!regret_due(ring.regret))
        for (uint32_t l = 0; l < 60; l++) {
            for (uint32_t i = 0; i < 8; i++) {
                experts[i] = i * 64 + random.below(8) * random.below(8);
                hit[i] = random.below(4) > 0;
            }
            regret_request(ring.regret, l * 512, experts, 8, hit);
        }
    auto begin = std::chrono::steady_clock::now();
    regret_turn(ring.regret, Ring::resident, &ring);
    std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    EXPECT_GE(ring.figures().requests, (uint32_t)REGRET_WINDOW);
    EXPECT_GT(ring.figures().oracle_hit_rate, 0.1);
    printf("%u requests over %u pages: %.2f ms, %.1f MiB\n", ring.figures().requests, 60 * 512,
           took.count(), (double)regret_bytes(60 * 512, 0) / (1 << 20));
}

} // namespace
