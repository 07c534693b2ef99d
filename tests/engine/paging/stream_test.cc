#include "engine/paging/stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "tests/support/scratch.h"

namespace {

struct Shape {
    uint32_t layers = 7, experts = 32, top_k = 4;
};

/* A schedule over a device tier of one size class, closed at the end. */
class Schedule {
public:
    Schedule(Shape shape, uint32_t stream_layers, bool always, uint32_t slots)
    {
        struct stream_config config = {};
        config.layers = shape.layers;
        config.experts = shape.experts;
        config.top_k = shape.top_k;
        config.stream_layers = stream_layers;
        config.always = always;
        config.classes = 1;
        config.class_slots = &slots;
        config.reserved_percent = STREAM_RESERVED_PERCENT;
        EXPECT_EQ(stream_open(&it, &config, &error), STATUS_OK) << error.text;
    }
    explicit Schedule(const struct stream_config &config)
    {
        status = stream_open(&it, &config, &error);
    }
    ~Schedule() { stream_close(it); }
    Schedule(const Schedule &) = delete;
    Schedule &operator=(const Schedule &) = delete;

    bool begin(uint32_t rows, uint32_t next_rows = 0)
    {
        struct stream_step step = {rows, 0, next_rows};
        bool streams = stream_begin_step(it, &step);
        stream_check(it);
        return streams;
    }
    std::vector<uint32_t> loads()
    {
        std::vector<uint32_t> layers;
        for (uint32_t l; (l = stream_next_load(it)) != STREAM_NONE;)
            layers.push_back(l);
        stream_check(it);
        return layers;
    }
    struct stream_figures figures() const
    {
        struct stream_figures out;
        stream_figures(it, &out);
        return out;
    }
    struct stream *it = nullptr;
    struct error error = {};
    enum status status = STATUS_OK;
};

using Layers = std::vector<uint32_t>;

/* ---- the order of loads ---- */

/* The algorithm in the words of its paper, with an array of slots: what the schedule must equal. */
class Reference {
public:
    Reference(uint32_t layers, uint32_t slots)
        : layers_(layers), slot_(std::min(slots, layers), STREAM_NONE)
    {
    }
    Layers begin()
    {
        Layers loads;
        for (uint32_t i = 0; i < slot_.size(); i++) {
            uint32_t &slot = slot_[(g_ + i) % slot_.size()];
            if (slot != i) {
                slot = i;
                loads.push_back(i);
            }
        }
        return loads;
    }
    Layers computed(uint32_t layer, bool next_comes)
    {
        if (slot_.size() == layers_) {
            g_++;
            return {};
        }
        uint32_t &slot = slot_[g_++ % slot_.size()];
        EXPECT_EQ(slot, layer);
        uint32_t ahead = layer + static_cast<uint32_t>(slot_.size());
        bool wraps = ahead >= layers_;
        slot = wraps && !next_comes ? STREAM_NONE : ahead % layers_;
        return slot == STREAM_NONE ? Layers{} : Layers{slot};
    }
    const Layers &slots() const { return slot_; }

private:
    uint32_t layers_;
    uint64_t g_ = 0;
    Layers slot_;
};

void expect_same_slots(const Schedule &schedule, const Layers &slots)
{
    for (uint32_t i = 0; i < slots.size(); i++)
        ASSERT_EQ(stream_slot_layer(schedule.it, i), slots[i]) << "slot " << i;
}

/* Runs steps of which some know that another follows, and checks every load and every slot. */
void run_against_reference(uint32_t layers, uint32_t slots)
{
    SCOPED_TRACE("N " + std::to_string(layers) + ", K " + std::to_string(slots));
    Shape shape = {layers, 8, 2};
    Schedule schedule(shape, slots, true, std::min(slots, layers) * 8);
    Reference reference(layers, slots);
    for (uint32_t step = 0; step < 70; step++) {
        bool next_comes = step % 7 != 6;
        ASSERT_TRUE(schedule.begin(1, next_comes ? 1 : 0));
        Layers expected = reference.begin(), got = schedule.loads();
        if (step == 0) {
            Layers first(std::min(slots, layers));
            std::iota(first.begin(), first.end(), 0);
            ASSERT_EQ(got, first);
        }
        ASSERT_EQ(got, expected) << "begin of step " << step;
        for (uint32_t layer = 0; layer < layers; layer++) {
            ASSERT_TRUE(stream_holds(schedule.it, layer)) << "not loaded before it runs";
            bool released = stream_layer_computed(schedule.it, layer);
            ASSERT_EQ(released, slots < layers);
            ASSERT_EQ(schedule.loads(), reference.computed(layer, next_comes))
                << "step " << step << ", layer " << layer;
            expect_same_slots(schedule, reference.slots());
            uint32_t held = 0;
            for (uint32_t l = 0; l < layers; l++)
                held += stream_holds(schedule.it, l);
            ASSERT_LE(held, slots);
        }
        struct stream_spent spent = {1000, 0, 2 * layers, 0, 0};
        stream_end_step(schedule.it, &spent);
    }
}

TEST(Stream, LoadsInTheOrderOfThePaperWhateverNAndK)
{
    for (uint32_t layers : {1u, 2u, 5u, 7u, 12u, 24u})
        for (uint32_t slots : {1u, 2u, 3u, 5u, layers - 1, layers, layers + 3})
            if (slots > 0)
                run_against_reference(layers, slots);
}

TEST(Stream, TheSlotIsTheTurnAndNotTheLayer)
{
    Schedule schedule({3, 8, 2}, 2, true, 16); /* 3 mod 2 != 0: the second step begins in slot 1 */
    struct stream_spent spent = {1000, 0, 6, 0, 0};
    schedule.begin(1, 1);
    EXPECT_EQ(schedule.loads(), (Layers{0, 1}));
    for (uint32_t layer = 0; layer < 3; layer++) {
        stream_layer_computed(schedule.it, layer);
        EXPECT_EQ(schedule.loads(), (Layers{(layer + 2) % 3}));
    }
    stream_end_step(schedule.it, &spent);
    EXPECT_EQ(stream_slot_layer(schedule.it, 1), 0u);
    EXPECT_EQ(stream_slot_layer(schedule.it, 0), 1u);
    schedule.begin(1);
    EXPECT_EQ(schedule.loads(), Layers{}) << "the step before has loaded its first layers";
    stream_layer_computed(schedule.it, 0);
    EXPECT_EQ(stream_slot_layer(schedule.it, 1), 2u);
}

TEST(Stream, AResidentRingLoadsOnceAndNeverReleases)
{
    for (uint32_t slots : {7u, 10u}) {
        Schedule schedule({7, 8, 2}, slots, true, 56);
        Layers all;
        for (int step = 0; step < 5; step++) {
            EXPECT_TRUE(schedule.begin(4, 4));
            for (uint32_t layer = 0; layer < 7; layer++) {
                Layers loads = schedule.loads();
                all.insert(all.end(), loads.begin(), loads.end());
                EXPECT_FALSE(stream_layer_computed(schedule.it, layer));
            }
        }
        EXPECT_EQ(all, (Layers{0, 1, 2, 3, 4, 5, 6}));
        EXPECT_TRUE(schedule.figures().resident);
    }
}

TEST(Stream, AnAbortedStepIsForgotten)
{
    Schedule schedule({5, 8, 2}, 3, true, 24);
    schedule.begin(1, 1);
    schedule.loads();
    stream_layer_computed(schedule.it, 0);
    schedule.loads();
    stream_layer_computed(schedule.it, 1); /* layers 2, 3, 4 hold slots; then it fails */
    schedule.begin(1);
    EXPECT_EQ(schedule.loads(), (Layers{0, 1, 2}));
    for (uint32_t layer = 0; layer < 5; layer++) {
        EXPECT_TRUE(stream_holds(schedule.it, layer));
        stream_layer_computed(schedule.it, layer);
        EXPECT_EQ(schedule.loads(), layer < 2 ? Layers{layer + 3} : Layers{});
    }
}

TEST(Stream, ALayerWhoseLoadWasNotBegunIsPassedOver)
{
    Schedule schedule({5, 8, 2}, 2, true, 16);
    schedule.begin(1);
    stream_layer_computed(schedule.it, 0); /* the link was busy: demand brought its pages */
    stream_layer_computed(schedule.it, 1);
    stream_check(schedule.it);
    EXPECT_EQ(schedule.loads(), (Layers{2, 3}));
}

/* Anything may happen between steps: the invariant holds, no layer runs without a slot. */
TEST(Stream, RandomSchedulesKeepTheInvariant)
{
    scratch::Random random(11);
    for (int round = 0; round < 300; round++) {
        Shape shape = {1 + random.below(12), 8, 2};
        uint32_t most = 1 + random.below(14);
        bool automatic = random.chance(50);
        Schedule schedule(shape, automatic ? STREAM_AUTO : most, random.chance(50), most * 8);
        for (int step = 0; step < 40; step++) {
            uint32_t rows = 1 + random.below(64);
            bool streams = schedule.begin(rows, random.chance(60) ? 1 + random.below(64) : 0);
            uint32_t stop = random.chance(10) ? random.below(shape.layers) : shape.layers;
            for (uint32_t layer = 0; layer < stop; layer++) {
                if (streams && random.chance(80)) {
                    schedule.loads();
                    ASSERT_TRUE(stream_holds(schedule.it, layer));
                }
                stream_layer_computed(schedule.it, layer);
                stream_check(schedule.it);
            }
            struct stream_spent spent = {1 + random.below(100000), random.below(50000),
                                         shape.layers * (2 + random.below(7)), random.below(50),
                                         random.below(50000)};
            if (stop == shape.layers)
                stream_end_step(schedule.it, &spent);
            stream_check(schedule.it);
        }
    }
}

/* ---- room ---- */

struct stream_config config_of(Shape shape, uint32_t stream_layers, const uint32_t *slots)
{
    struct stream_config config = {};
    config.layers = shape.layers;
    config.experts = shape.experts;
    config.top_k = shape.top_k;
    config.stream_layers = stream_layers;
    config.classes = 1;
    config.class_slots = slots;
    config.reserved_percent = STREAM_RESERVED_PERCENT;
    return config;
}

TEST(Stream, AFixedKThatDoesNotFitIsRefusedByName)
{
    uint32_t slots = 100;
    Schedule schedule(config_of({24, 32, 4}, 4, &slots));
    EXPECT_EQ(schedule.status, STATUS_INVALID);
    EXPECT_NE(std::string(schedule.error.text).find("--stream-layers 4"), std::string::npos);
    EXPECT_NE(std::string(schedule.error.text).find("at most 3"), std::string::npos);
}

TEST(Stream, AnAutomaticKKeepsTheReserveAndIsOffWhereNothingFits)
{
    uint32_t slots = 31;
    Schedule small(config_of({24, 32, 4}, STREAM_AUTO, &slots));
    ASSERT_EQ(small.status, STATUS_OK);
    EXPECT_EQ(small.figures().slots, 0u);
    EXPECT_FALSE(small.begin(100000));
    slots = 64; /* two layers, but a quarter is reserved, and one alone overlaps nothing */
    Schedule one(config_of({24, 32, 4}, STREAM_AUTO, &slots));
    EXPECT_EQ(one.figures().slots, 0u);
    slots = 86;
    Schedule two(config_of({24, 32, 4}, STREAM_AUTO, &slots));
    EXPECT_EQ(two.figures().slots, 2u);
    slots = 24 * 32; /* everything fits: nothing to reserve */
    Schedule all(config_of({24, 32, 4}, STREAM_AUTO, &slots));
    EXPECT_TRUE(all.figures().resident);
    Schedule off(config_of({24, 32, 4}, STREAM_OFF, &slots));
    EXPECT_FALSE(off.begin(100000));
    EXPECT_EQ(off.figures().slots, 0u);
}

TEST(Stream, EachSizeClassHasRoomForItsLayersInAnyWindow)
{
    /* Layers 0, 1 and 5 are of class 1: a window of three round the end holds all of them. */
    const uint32_t layer_class[6] = {1, 1, 0, 0, 0, 1};
    const uint32_t slots[2] = {48, 16};
    struct stream_config config = config_of({6, 8, 2}, 3, slots);
    config.classes = 2;
    config.layer_class = layer_class;
    Schedule three(config);
    EXPECT_EQ(three.status, STATUS_INVALID);
    config.stream_layers = 2;
    Schedule two(config);
    EXPECT_EQ(two.status, STATUS_OK);
}

/* ---- other numbers of slots ---- */

void resize(Schedule &schedule, uint32_t slots)
{
    stream_resized(schedule.it, &slots);
    stream_check(schedule.it);
}

TEST(StreamResized, AFixedKBecomesTheMostThatFitsUntilItFitsAgain)
{
    uint32_t slots = 128;
    struct stream_config config = config_of({24, 32, 4}, 4, &slots);
    config.always = true;
    Schedule schedule(config);
    EXPECT_TRUE(schedule.begin(100));
    EXPECT_EQ(schedule.loads(), (Layers{0, 1, 2, 3}));
    resize(schedule, 100);
    EXPECT_EQ(schedule.figures().slots, 3u);
    for (uint32_t layer = 0; layer < 24; layer++)
        EXPECT_FALSE(stream_holds(schedule.it, layer)) << "given back";
    EXPECT_TRUE(schedule.loads().empty()) << "no step has begun";
    EXPECT_TRUE(schedule.begin(100));
    EXPECT_EQ(schedule.loads(), (Layers{0, 1, 2}));
    resize(schedule, 31);
    EXPECT_EQ(schedule.figures().slots, 0u);
    EXPECT_FALSE(schedule.begin(100));
    resize(schedule, 500);
    EXPECT_EQ(schedule.figures().slots, 4u);
    EXPECT_TRUE(schedule.begin(100));
    EXPECT_EQ(schedule.loads(), (Layers{0, 1, 2, 3}));
}

TEST(StreamResized, WhatWasResidentIsLoadedAgain)
{
    for (uint32_t k : {7u, (uint32_t)STREAM_AUTO}) {
        uint32_t slots = 7 * 32;
        struct stream_config config = config_of({7, 32, 4}, k, &slots);
        config.always = true;
        Schedule schedule(config);
        const Layers all = {0, 1, 2, 3, 4, 5, 6};
        EXPECT_TRUE(schedule.figures().resident);
        EXPECT_TRUE(schedule.begin(100));
        EXPECT_EQ(schedule.loads(), all);
        resize(schedule, slots - 1);
        EXPECT_FALSE(schedule.figures().resident);
        EXPECT_EQ(schedule.figures().slots, k == 7 ? 6u : 2u);
        resize(schedule, slots);
        EXPECT_TRUE(schedule.figures().resident);
        EXPECT_TRUE(schedule.begin(100));
        EXPECT_EQ(schedule.loads(), all);
    }
}

TEST(StreamResized, AnAutomaticKFollowsTheRoom)
{
    uint32_t slots = 31;
    Schedule schedule(config_of({24, 32, 4}, STREAM_AUTO, &slots));
    const uint32_t room[][2] = {{86, 2}, {64, 0}, {24 * 32, 24}, {31, 0}, {86, 2}};
    for (const uint32_t *r : room) {
        resize(schedule, r[0]);
        EXPECT_EQ(schedule.figures().slots, r[1]) << r[0] << " slots";
        EXPECT_EQ(schedule.begin(100000), r[1] > 0);
    }
}

/* Between any two steps, whole or cut off, with a next one planned for or not: what was measured
 * stays, and a step that streams loads each layer once, before it is computed. */
TEST(StreamResized, RandomRoomKeepsTheInvariantAndWhatWasMeasured)
{
    scratch::Random random(5);
    uint32_t streamed = 0, refused = 0;
    for (uint32_t k : {1u, 3u, 9u, (uint32_t)STREAM_AUTO}) {
        uint32_t slots = 9 * 8;
        struct stream_config config = config_of({9, 8, 2}, k, &slots);
        config.always = true;
        Schedule schedule(config);
        for (int step = 0; step < 300; step++) {
            uint32_t rows = 1 + random.below(60);
            double known = stream_coverage(schedule.it, rows);
            resize(schedule, 1 + random.below(9 * 8 + 10));
            EXPECT_EQ(stream_coverage(schedule.it, rows), known);
            bool streams = schedule.begin(rows, random.below(2) * rows);
            EXPECT_EQ(streams, schedule.figures().slots > 0);
            (streams ? streamed : refused)++;
            Layers loaded;
            uint32_t stop = random.chance(30) ? random.below(9) : 9;
            for (uint32_t layer = 0; layer < stop; layer++) {
                for (uint32_t l : schedule.loads())
                    loaded.push_back(l);
                ASSERT_TRUE(!streams || loaded.size() > layer);
                ASSERT_TRUE(!streams || loaded[layer] == layer);
                stream_layer_computed(schedule.it, layer);
            }
            struct stream_spent spent = {1000, 100, 9 * (2 + random.below(6)), 5, 50};
            if (stop == 9)
                stream_end_step(schedule.it, &spent);
        }
    }
    EXPECT_GT(streamed, 300u);
    EXPECT_GT(refused, 50u);
}

/* ---- simulated time ---- */

/* One link, one compute stream. Streamed layers wait for their load; loads wait for the link and
 * for the schedule. */
class Timeline {
public:
    Timeline(Schedule &schedule, uint32_t layers, double copy, double compute)
        : schedule_(schedule), ready_(layers, 0), copy_(copy), compute_(compute)
    {
    }
    /* Returns the time of the step; adds to the stalls. */
    double step(uint32_t rows, uint32_t next_rows, double *stall)
    {
        double begin = now_;
        EXPECT_TRUE(schedule_.begin(rows, next_rows));
        load();
        for (uint32_t layer = 0; layer < ready_.size(); layer++) {
            *stall += std::max(0.0, ready_[layer] - now_);
            now_ = std::max(now_, ready_[layer]) + compute_;
            stream_layer_computed(schedule_.it, layer);
            load();
        }
        return now_ - begin;
    }

private:
    void load()
    {
        for (uint32_t layer : schedule_.loads()) {
            link_ = std::max(link_, now_) + copy_;
            ready_[layer] = link_;
        }
    }
    Schedule &schedule_;
    std::vector<double> ready_;
    double copy_, compute_, now_ = 0, link_ = 0;
};

TEST(StreamTime, OneSlotAddsCopyAndComputeTwoHideTheShorter)
{
    const uint32_t layers = 11;
    for (double copy : {40.0, 100.0, 250.0}) {
        const double compute = 100;
        for (uint32_t slots : {1u, 2u, 3u, 10u}) {
            Schedule schedule({layers, 8, 2}, slots, true, slots * 8);
            Timeline timeline(schedule, layers, copy, compute);
            double time = 0, stall = 0;
            timeline.step(64, 64, &stall); /* fills the ring */
            stall = 0;
            for (int i = 0; i < 20; i++) {
                struct stream_spent spent = {1000, 0, 8 * layers, 0, 0};
                stream_end_step(schedule.it, &spent);
                time += timeline.step(64, 64, &stall);
            }
            double per_layer = time / (20 * layers);
            double expected = slots == 1 ? copy + compute : std::max(copy, compute);
            EXPECT_NEAR(per_layer, expected, 0.01 * expected) << "K " << slots << " copy " << copy;
            if (slots > 1 && compute >= 2 * copy) { /* twice T*: stalls below 5 % of the step */
                EXPECT_LT(stall, 0.05 * time);
            }
        }
    }
}

/* A machine whose step times are given by a few constants, with noise of +-5 %. */
struct Machine {
    Shape shape;
    double page_ns, row_ns; /* copy of a page; computing of a token in a layer */
    double base_ns;         /* computing of a layer, whatever the tokens */
    double demand_hits;     /* share of the wanted pages that demand fetching finds resident */
    double demand_overlap;  /* share of computing that hides behind demand copies */
    double skew;            /* true distinct experts / those of uniform routing */

    double distinct(uint32_t rows) const
    {
        double e = shape.experts;
        double uniform = e * (1 - std::pow(1 - shape.top_k / e, rows));
        return rows == 1 ? uniform : uniform * skew;
    }
    double compute(uint32_t rows) const { return base_ns + row_ns * rows; }
    double copied(bool streams, uint32_t rows) const
    {
        return streams ? shape.experts : distinct(rows) * (1 - demand_hits);
    }
    double layer(bool streams, uint32_t rows) const
    {
        double copy = page_ns * copied(streams, rows);
        if (streams)
            return std::max(copy, compute(rows));
        return copy + compute(rows) - demand_overlap * std::min(copy, compute(rows));
    }
    double best(uint32_t rows) const { return std::min(layer(true, rows), layer(false, rows)); }
};

/* Runs steps of `rows` tokens; returns the time spent over that of the better mode always. */
double run_on(Schedule &schedule, const Machine &m, uint32_t rows, int steps, uint64_t seed,
              bool *last_streams = nullptr)
{
    scratch::Random random(seed);
    double spent_ns = 0, best_ns = 0;
    for (int i = 0; i < steps; i++) {
        bool streams = schedule.begin(rows, rows);
        for (uint32_t layer = 0; layer < m.shape.layers; layer++) {
            schedule.loads();
            stream_layer_computed(schedule.it, layer);
        }
        double noise = 0.95 + random.below(1000) / 10000.0;
        double ns = m.shape.layers * m.layer(streams, rows) * noise;
        double pages = m.shape.layers * m.copied(streams, rows);
        double stall = std::max(0.0, ns - m.shape.layers * m.compute(rows));
        struct stream_spent spent = {
            static_cast<uint64_t>(ns), static_cast<uint64_t>(stall),
            static_cast<uint64_t>(m.shape.layers * m.distinct(rows)), static_cast<uint64_t>(pages),
            static_cast<uint64_t>(pages * m.page_ns)};
        stream_end_step(schedule.it, &spent);
        spent_ns += ns;
        best_ns += m.shape.layers * m.best(rows);
        if (last_streams)
            *last_streams = streams;
    }
    return spent_ns / best_ns;
}

const Machine machines[] = {
    /* Fast compute behind a slow link, plain demand fetching: large batches should stream. */
    {{24, 32, 4}, 100e3, 1e3, 50e3, 0.1, 0, 1},
    /* Demand fetching overlaps well and finds most pages resident: it always wins. */
    {{24, 32, 4}, 100e3, 1e3, 50e3, 0.7, 0.9, 0.9},
    /* Slow compute, skewed routing: streaming hides everything, long before coverage is high. */
    {{48, 128, 8}, 40e3, 100e3, 500e3, 0.2, 0, 0.6},
    /* Slow compute, but demand overlaps as well: hardly any difference. */
    {{12, 64, 2}, 50e3, 100e3, 100e3, 0.5, 0.8, 0.8},
};

TEST(StreamChoice, ConvergesToTheBetterModeOnEveryMachineAtEverySize)
{
    for (size_t i = 0; i < std::size(machines); i++) {
        const Machine &m = machines[i];
        for (uint32_t rows : {1u, 4u, 16u, 48u, 128u, 1024u, 4096u}) {
            SCOPED_TRACE("machine " + std::to_string(i) + ", rows " + std::to_string(rows));
            Schedule schedule(m.shape, STREAM_AUTO, false, m.shape.experts * m.shape.layers / 2);
            run_on(schedule, m, rows, 200, i);
            double ratio = run_on(schedule, m, rows, 1000, i + 100);
            EXPECT_LT(ratio, 1.03) << "with noise and tries";
            bool demand_best = m.layer(false, rows) < 0.9 * m.layer(true, rows);
            bool stream_best = m.layer(true, rows) < 0.9 * m.layer(false, rows);
            uint64_t streamed = schedule.figures().streamed_steps;
            if (demand_best) {
                EXPECT_LT(streamed, 170u); /* two tries in 18 steps at most */
            }
            if (stream_best) {
                EXPECT_GT(streamed, 1030u);
            }
        }
    }
}

TEST(StreamChoice, BothModesWinSomewhere) /* the test above would prove nothing otherwise */
{
    int demand = 0, stream = 0;
    for (const Machine &m : machines)
        for (uint32_t rows : {1u, 4u, 16u, 48u, 128u, 1024u, 4096u}) {
            demand += m.layer(false, rows) < 0.9 * m.layer(true, rows);
            stream += m.layer(true, rows) < 0.9 * m.layer(false, rows);
        }
    EXPECT_GE(demand, 4);
    EXPECT_GE(stream, 4);
}

TEST(StreamChoice, StepsOfSeveralSizesLearnSideBySide)
{
    const Machine &m = machines[0]; /* prefill chunks between decode steps */
    Schedule schedule(m.shape, STREAM_AUTO, false, 400);
    bool prefill_streams = false, decode_streams = true;
    double ratio = 0;
    for (int i = 0; i < 300; i++) {
        ratio = run_on(schedule, m, 2048, 1, 7 + i, &prefill_streams);
        ratio += run_on(schedule, m, 4, 3, 900 + i, &decode_streams);
    }
    EXPECT_LT(ratio / 2, 1.1);
    EXPECT_TRUE(prefill_streams);
    EXPECT_FALSE(decode_streams);
    EXPECT_GT(schedule.figures().streamed_steps, 260u); /* 300 less the tries */
    EXPECT_LT(schedule.figures().streamed_steps, 380u);
    EXPECT_GT(schedule.figures().threshold, 0.3);
    EXPECT_LE(schedule.figures().threshold, 1);
}

TEST(StreamChoice, ChangesItsMindWhenTheMachineChanges)
{
    Machine m = machines[0];
    Schedule schedule(m.shape, STREAM_AUTO, false, 400);
    bool streams;
    run_on(schedule, m, 2048, 300, 1, &streams);
    EXPECT_TRUE(streams);
    m.demand_hits = 0.8; /* the workload turns: nearly all that is wanted is resident */
    m.demand_overlap = 0.9;
    run_on(schedule, m, 2048, 600, 2);
    EXPECT_LT(run_on(schedule, m, 2048, 400, 3), 1.03);
    run_on(schedule, m, 2048, 10, 4, &streams);
    EXPECT_FALSE(streams);
}

TEST(StreamChoice, TryingStaysWithinItsBudget)
{
    for (const Machine &m : machines) {
        Schedule schedule(m.shape, STREAM_AUTO, false, m.shape.experts * m.shape.layers / 2);
        double total = 0;
        for (int i = 0; i < 20; i++)
            total += run_on(schedule, m, 256, 100, i) * m.best(256) * m.shape.layers * 100;
        double worst = std::max(m.layer(true, 256), m.layer(false, 256)) * m.shape.layers;
        struct stream_figures f = schedule.figures();
        EXPECT_GT(f.tried_steps, 0u);
        EXPECT_LT(f.tried_excess_ns, total / 50 + 2 * worst);
    }
}

TEST(StreamChoice, WhatAChangeOfModeCostsIsNotHeldAgainstTheMode)
{
    Schedule schedule({24, 64, 4}, STREAM_AUTO, false, 64 * 12);
    bool before = false;
    uint32_t streamed = 0;
    for (int i = 0; i < 800; i++) {
        bool streams = schedule.begin(24, 24); /* coverage 79 %: begins on demand */
        EXPECT_TRUE(i > 0 || !streams);
        for (uint32_t layer = 0; layer < 24; layer++)
            stream_layer_computed(schedule.it, layer);
        uint64_t ns = streams ? 700000 : 1000000;
        ns *= streams && !before ? 3 : 1; /* an empty ring is filled */
        struct stream_spent spent = {ns, ns / 2, 24 * 50, 24 * 50, ns / 2};
        stream_end_step(schedule.it, &spent);
        streamed += i >= 700 && streams;
        before = streams;
    }
    EXPECT_GT(streamed, 85u);
}

TEST(StreamChoice, BeforeAnythingIsMeasuredHighCoverageStreams)
{
    uint32_t slots = 400;
    Schedule schedule(config_of({24, 128, 8}, STREAM_AUTO, &slots));
    EXPECT_FALSE(schedule.begin(1));
    EXPECT_FALSE(schedule.begin(30)); /* 85 % */
    EXPECT_TRUE(schedule.begin(40));  /* 92 % */
    struct stream_step step = {1, 128, 0}; /* somebody knows that all experts will be touched */
    EXPECT_TRUE(stream_begin_step(schedule.it, &step));
}

TEST(StreamChoice, TheNextStepsLayersAreLoadedOnlyIfItWillStream)
{
    const Machine &m = machines[0];
    Schedule schedule(m.shape, 2, false, 400);
    run_on(schedule, m, 2048, 20, 1);
    run_on(schedule, m, 1, 20, 2);
    for (uint32_t next : {2048u, 1u, 0u}) {
        ASSERT_TRUE(schedule.begin(2048, next));
        for (uint32_t layer = 0; layer < 24; layer++) {
            schedule.loads();
            stream_layer_computed(schedule.it, layer);
        }
        EXPECT_EQ(schedule.loads(), next == 2048 ? Layers{1} : Layers{});
        EXPECT_EQ(stream_holds(schedule.it, 0), next == 2048);
    }
}

TEST(StreamChoice, AnAutomaticKIsTwoAtTheLinkAndDeeperWhereCopiesVary)
{
    uint32_t slots = 32 * 12;
    Schedule schedule(config_of({24, 32, 4}, STREAM_AUTO, &slots));
    Machine m = machines[0];
    run_on(schedule, m, 256, 50, 1); /* link 3.2 ms, compute 0.3 ms */
    EXPECT_EQ(schedule.figures().slots, 2u);
    EXPECT_NEAR(schedule.figures().break_even_rows, 32 * 100e3 / (1e3 + 50e3 / 256), 700);
    scratch::Random random(3);
    for (int i = 0; i < 60; i++) { /* compute-bound; every other copy takes three times as long */
        if (!schedule.begin(4096)) /* a try of demand fetching */
            continue;
        for (uint32_t layer = 0; layer < 24; layer++)
            stream_layer_computed(schedule.it, layer);
        uint64_t pages = 24 * 32, page_ns = random.chance(50) ? 50000 : 150000;
        struct stream_spent spent = {24 * 4200000ull, 0, 24 * 32, pages, pages * page_ns};
        stream_end_step(schedule.it, &spent);
    }
    schedule.begin(4096);
    EXPECT_GE(schedule.figures().slots, 3u);
    EXPECT_LE(schedule.figures().slots, 6u);
}

/* ---- coverage ---- */

/* Distinct experts of `rows` tokens that draw k of E without replacement by weight. */
uint32_t draw_distinct(scratch::Random &random, const std::vector<double> &weight, uint32_t k,
                       uint32_t rows)
{
    std::set<uint32_t> touched;
    for (uint32_t r = 0; r < rows; r++) {
        std::set<uint32_t> chosen;
        while (chosen.size() < k) {
            double at = static_cast<double>(random.below(1u << 30)) / (1u << 30) * weight.back();
            chosen.insert(static_cast<uint32_t>(
                std::upper_bound(weight.begin(), weight.end(), at) - weight.begin()));
        }
        touched.insert(chosen.begin(), chosen.end());
    }
    return static_cast<uint32_t>(touched.size());
}

std::vector<double> cumulative(uint32_t experts, double exponent)
{
    std::vector<double> sum;
    for (uint32_t e = 0; e < experts; e++)
        sum.push_back((sum.empty() ? 0 : sum.back()) + std::pow(e + 1, -exponent));
    return sum;
}

TEST(StreamCoverage, UniformRoutingIsTheFormula)
{
    scratch::Random random(5);
    for (Shape shape : {Shape{4, 8, 2}, Shape{4, 128, 8}, Shape{4, 16, 16}}) {
        Schedule schedule(shape, STREAM_OFF, false, 1);
        std::vector<double> weight = cumulative(shape.experts, 0);
        for (uint32_t rows : {1u, 2u, 4u, 16u, 36u, 64u}) {
            double mean = 0;
            for (int i = 0; i < 400; i++)
                mean += draw_distinct(random, weight, shape.top_k, rows) / 400.0;
            EXPECT_NEAR(stream_coverage(schedule.it, rows), mean, 0.02 * shape.experts);
        }
    }
}

TEST(StreamCoverage, SkewedRoutingIsLearnedAndFillsInBetween)
{
    scratch::Random random(6);
    Shape shape = {4, 64, 4};
    Schedule schedule(shape, STREAM_OFF, false, 1);
    std::vector<double> weight = cumulative(shape.experts, 1.2);
    auto mean_of = [&](uint32_t rows) {
        double mean = 0;
        for (int i = 0; i < 50; i++)
            mean += draw_distinct(random, weight, shape.top_k, rows) / 50.0;
        return mean;
    };
    double blind = stream_coverage(schedule.it, 24);
    for (int i = 0; i < 40; i++) {
        for (uint32_t rows : {4u, 16u, 32u, 64u, 256u}) {
            schedule.begin(rows);
            uint64_t distinct = 0;
            for (uint32_t layer = 0; layer < shape.layers; layer++) {
                stream_layer_computed(schedule.it, layer);
                distinct += draw_distinct(random, weight, shape.top_k, rows);
            }
            struct stream_spent spent = {1000, 0, distinct, 0, 0};
            stream_end_step(schedule.it, &spent);
        }
    }
    for (uint32_t rows : {1u, 4u, 8u, 16u, 24u, 32u, 64u, 128u, 256u}) {
        double truth = mean_of(rows);
        EXPECT_NEAR(stream_coverage(schedule.it, rows), truth, 0.04 * shape.experts) << rows;
    }
    EXPECT_GT(std::abs(blind - mean_of(24)), 0.1 * shape.experts) << "nothing had to be learned";
}

/* ---- cost ---- */

TEST(StreamCost, ACallTakesLittleAt512Experts)
{
    Shape shape = {60, 512, 10};
    Schedule schedule(shape, STREAM_AUTO, false, 512 * 20);
    Machine m = {shape, 20e3, 2e3, 50e3, 0.3, 0, 0.8};
    run_on(schedule, m, 4096, 50, 1);
    using Clock = std::chrono::steady_clock;
    auto ns = [](Clock::duration d) { return std::chrono::duration<double, std::nano>(d).count(); };
    double begin_ns = 0, layer_ns = 0, holds_ns = 0, end_ns = 0;
    const int steps = 300;
    for (int i = 0; i < steps; i++) {
        auto t0 = Clock::now();
        schedule.begin(4096, 4096);
        auto t1 = Clock::now();
        for (uint32_t layer = 0; layer < shape.layers; layer++) {
            while (stream_next_load(schedule.it) != STREAM_NONE)
                ;
            stream_layer_computed(schedule.it, layer);
        }
        auto t2 = Clock::now();
        uint32_t held = 0;
        for (uint32_t layer = 0; layer < shape.layers; layer++)
            held += stream_holds(schedule.it, layer);
        auto t3 = Clock::now();
        struct stream_spent spent = {600000000, 1000000, 60 * 500, 60 * 512, 590000000};
        stream_end_step(schedule.it, &spent);
        auto t4 = Clock::now();
        ASSERT_LE(held, shape.layers);
        begin_ns += ns(t1 - t0) / steps;
        layer_ns += ns(t2 - t1) / steps / shape.layers;
        holds_ns += ns(t3 - t2) / steps / shape.layers;
        end_ns += ns(t4 - t3) / steps;
    }
    printf("begin %.0f ns, layer (next_load + computed) %.0f ns, holds %.0f ns, end %.0f ns\n",
           begin_ns, layer_ns, holds_ns, end_ns);
    EXPECT_LT(begin_ns + end_ns, 200e3); /* a bound no slow machine or sanitizer should break */
    EXPECT_LT(layer_ns, 5e3);
}

} // namespace
