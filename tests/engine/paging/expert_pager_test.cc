/* The pager against the real memory/, with toy pages: what it gives out is right, whatever the
 * ring, the tiers, the order of things and the state of the file. */
#include "engine/paging/expert_pager.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "memory/device.h"
#include "tests/memory/simulated.h"
#include "tests/memory/toy_store.h"

namespace {

constexpr uint32_t kLayers = 5, kExperts = 6;

struct Setting {
    const char *name;
    std::vector<uint32_t> pages;  /* of each size class; layers * experts in all */
    std::vector<uint32_t> device; /* slots of each */
    std::vector<uint32_t> host;   /* empty: no host tier */
    enum prefetch_mode prefetch;
    enum io_kind io;
    uint64_t copy_ns_per_mib = 0;
    enum evict_kind evict = EVICT_LEARNED;
    enum foresight foresight = FORESIGHT_AUTO;
    uint32_t stream_layers = STREAM_OFF;
    bool stream_always = false;
    uint32_t layers = kLayers, experts = kExperts;
};

constexpr enum prefetch_mode kOff = PREFETCH_OFF, kOn = PREFETCH_ON;

struct pager_config config_of(const Setting &s, struct memory *memory)
{
    struct pager_config config = {};
    config.memory = memory;
    config.layers = s.layers;
    config.experts = s.experts;
    config.top_k = 2;
    config.evict = s.evict;
    config.foresight = s.foresight;
    config.prefetch = s.prefetch;
    config.stream_layers = s.stream_layers;
    config.stream_always = s.stream_always;
    return config;
}

/* A layer's request by its experts, one token each. */
struct Wants {
    Wants(uint32_t layer, const std::vector<uint32_t> &experts) : tokens(experts.size() + 1, 1)
    {
        run.layer = layer;
        run.rows = (uint32_t)experts.size();
        run.count = (uint32_t)experts.size();
        run.experts = experts.data();
        run.tokens = tokens.data();
    }
    std::vector<uint32_t> tokens;
    struct layer_run run = {};
};

class Pager {
public:
    explicit Pager(const Setting &s, uint64_t seed = 1)
        : toy(s.pages, seed), layers(s.layers), experts_each(s.experts)
    {
        struct memory_config config = {};
        uint64_t arena = 0;
        for (size_t c = 0; c < s.device.size(); c++) {
            config.slots[MEMORY_DEVICE].of_class[c] = s.device[c];
            arena += s.device[c] * store_class_slot_bytes(toy.store, (uint32_t)c);
            if (!s.host.empty())
                config.slots[MEMORY_HOST].of_class[c] = s.host[c];
        }
        config.io = s.io;
        EXPECT_EQ(device_host_open(&config.device, arena, s.copy_ns_per_mib, &error), STATUS_OK);
        EXPECT_EQ(memory_open(&memory, toy.store, &config, &error), STATUS_OK) << error.text;
        toy.release();
        struct pager_config pager_config = config_of(s, memory);
        EXPECT_EQ(pager_open(&pager, &pager_config, &error), STATUS_OK) << error.text;
    }
    ~Pager()
    {
        pager_close(pager);
        memory_close(memory);
    }

    /* One layer's experts, each looked at and given back; `held`: how many are kept before the
     * first goes back. Returns the status that ended it. */
    enum status layer(uint32_t number, const std::vector<uint32_t> &experts, size_t held = 1)
    {
        std::vector<uint32_t> given, holding;
        error = {};
        std::unique_ptr<bool[]> hits(new bool[experts.size() + 1]);
        std::vector<bool> waited_for(experts.size(), true);
        uint64_t guesses = memory_now().fetches[URGENCY_PREFETCH];
        auto no_guess_while_missing = [&] {
            bool missing = false;
            for (size_t i = 0; i < experts.size(); i++)
                missing |= waited_for[i] && where(number * experts_each + experts[i]) != SLOT_READY;
            uint64_t now = memory_now().fetches[URGENCY_PREFETCH];
            EXPECT_TRUE(!missing || now == guesses) << "a guess began while a demand waited";
            guesses = now;
        };
        std::vector<bool> loading;
        for (uint32_t e : experts)
            loading.push_back(where(number * experts_each + e) == SLOT_LOADING);
        Wants run(number, experts);
        pager_request(pager, &run.run, hits.get());
        for (size_t i = 0; i < experts.size(); i++)
            joined += loading[i] && !hits[i];
        requested += experts.size();
        struct pager_expert e;
        enum status status;
        for (;;) {
            no_guess_while_missing();
            if ((status = pager_next(pager, &e, &error)) != STATUS_OK)
                break;
            waited_for[e.index] = false;
            page_id page = number * experts_each + experts[e.index];
            EXPECT_EQ(e.page, store_page(memory_store(memory), page));
            EXPECT_TRUE(toy.holds(memory_store(memory), page, e.slot)) << "page " << page;
            EXPECT_EQ(memory_pins(memory, page), 1u);
            EXPECT_TRUE(!hits[e.index] || e.bytes == 0);
            bytes += e.bytes;
            given.push_back(e.index);
            holding.push_back(e.index);
            if (holding.size() >= held) {
                pager_release(pager, holding.front(), 0);
                holding.erase(holding.begin());
            }
        }
        if (status != STATUS_NOT_FOUND) {
            pager_abort(pager);
        } else {
            for (uint32_t index : holding)
                pager_release(pager, index, 0);
            std::sort(given.begin(), given.end());
            std::vector<uint32_t> all(experts.size());
            std::iota(all.begin(), all.end(), 0);
            EXPECT_EQ(given, all) << "each expert once";
        }
        EXPECT_EQ(pinned(), 0u);
        return status;
    }
    /* All layers of one token or batch, as a model runs them. */
    enum status step(const std::vector<std::vector<uint32_t>> &wanted, uint32_t rows = 1,
                     uint32_t next_rows = 1)
    {
        pager_begin_step(pager, rows, next_rows);
        for (uint32_t l = 0; l < layers; l++) {
            enum status status = layer(l, wanted[l]);
            if (status != STATUS_NOT_FOUND)
                return status;
        }
        pager_end_step(pager);
        return STATUS_NOT_FOUND;
    }
    enum slot_state where(page_id page) const { return memory_where(memory, MEMORY_DEVICE, page); }
    uint32_t pinned() const
    {
        uint32_t n = 0;
        for (page_id page = 0; page < layers * experts_each; page++)
            n += memory_pins(memory, page);
        return n;
    }
    struct pager_counters counters() const
    {
        struct pager_counters c;
        ::pager_counters(pager, &c);
        return c;
    }
    struct memory_counters memory_now() const
    {
        struct memory_counters c;
        ::memory_counters(memory, &c);
        return c;
    }
    /* Takes the ends of journeys away from the pager: what landed is there, but it has not been
     * told, so that it would not evict it. For the end of a test. */
    void wait_until_idle()
    {
        struct memory_event events[8];
        for (;;) {
            struct memory_counters c = memory_now();
            if (c.in_flight + c.queued[0] + c.queued[1] == 0)
                return;
            memory_poll(memory, 1000000000, events, 8);
        }
    }

    ToyStore toy;
    struct memory *memory = nullptr;
    struct expert_pager *pager = nullptr;
    struct error error = {};
    uint32_t layers, experts_each;
    uint64_t requested = 0, bytes = 0, joined = 0;
};

const Setting kPlain = {"plain", {30}, {4}, {}, kOff, IO_SYNC};

std::vector<uint32_t> some_experts(scratch::Random &random, uint32_t least = 0)
{
    std::vector<uint32_t> all(kExperts);
    std::iota(all.begin(), all.end(), 0);
    uint32_t k = least + random.below(kExperts + 1 - least);
    for (uint32_t i = 0; i < k; i++)
        std::swap(all[i], all[i + random.below(kExperts - i)]);
    all.resize(k);
    return all;
}

class Settings : public testing::TestWithParam<Setting> {};

/* Many rounds of random layers, in order of layers as a decoder runs them, now and then not. */
TEST_P(Settings, GivesEveryExpertOnceWithItsOwnBytes)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        Pager p(GetParam(), seed);
        scratch::Random random(seed * 1000003);
        bool streams = GetParam().stream_layers != STREAM_OFF; /* then layers come in order */
        for (int step = 0; step < 60; step++) {
            pager_begin_step(p.pager, 1 + random.below(40), random.below(40));
            for (uint32_t layer = 0; layer < kLayers; layer++) {
                uint32_t at = !streams && random.chance(10) ? random.below(kLayers) : layer;
                ASSERT_EQ(p.layer(at, some_experts(random)), STATUS_NOT_FOUND) << p.error.text;
            }
            pager_end_step(p.pager);
        }
        struct pager_counters c = p.counters();
        const struct prefetch_figures &guesses = c.policy.prefetch;
        EXPECT_EQ(c.hits + c.misses, p.requested);
        EXPECT_EQ(c.miss_bytes, p.bytes);
        EXPECT_LE(guesses.used + guesses.wasted, guesses.issued);
        if (GetParam().prefetch == kOff) {
            EXPECT_EQ(guesses.issued, 0u);
            if (!streams) {
                EXPECT_EQ(c.miss_bytes, p.memory_now().storage_bytes);
            }
        }
    }
}

/* The file is cut short and restored at random: requests fail or do not, nothing stays pinned, and
 * what is given is right all the same. */
TEST_P(Settings, SurvivesAFileThatComesAndGoes)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        Pager p(GetParam(), seed);
        scratch::Random random(seed * 7 + 1), batch(seed);
        uint64_t cut = 0, failures = 0;
        for (int step = 0; step < 40; step++) {
            if (!cut && random.chance(25))
                p.toy.truncate(cut = 1 + random.below((uint32_t)p.toy.bytes.size() - 1));
            else if (cut && random.chance(60)) {
                p.toy.restore(cut);
                cut = 0;
            }
            pager_begin_step(p.pager, 1 + batch.below(40), batch.below(40));
            for (uint32_t layer = 0; layer < kLayers; layer++) {
                enum status status = p.layer(layer, some_experts(random));
                if (status == STATUS_NOT_FOUND)
                    continue;
                ASSERT_EQ(status, STATUS_IO);
                ASSERT_NE(std::string(p.error.text).find("weights"), std::string::npos)
                    << p.error.text;
                failures++;
                break; /* the step is over */
            }
        }
        EXPECT_GT(failures, 0u);
        if (cut)
            p.toy.restore(cut);
        /* A read begun while the file was short may still fail a request, but each only once. */
        const std::vector<std::vector<uint32_t>> all(kLayers, {0, 1, 2, 3, 4, 5});
        enum status status = STATUS_IO;
        for (int tries = 0; tries < 20 && status != STATUS_NOT_FOUND; tries++)
            status = p.step(all);
        ASSERT_EQ(status, STATUS_NOT_FOUND) << p.error.text;
        EXPECT_EQ(p.counters().hits + p.counters().misses, p.requested);
    }
}

const Setting kSettings[] = {
    {"OneSlot", {30}, {1}, {}, kOff, IO_SYNC},
    {"OneSlotThread", {30}, {1}, {}, kOff, IO_THREAD},
    {"OneSlotPrefetch", {30}, {1}, {}, kOn, IO_THREAD},
    {"OneSlotOneHost", {30}, {1}, {1}, kOn, IO_THREAD},
    {"TwoSlots", {30}, {2}, {}, kOn, IO_SYNC, 0, EVICT_LRU},
    {"FiveSlots", {30}, {5}, {}, kOn, IO_THREAD, 0, EVICT_ROUND},
    {"FiveSlotsHostSmaller", {30}, {5}, {2}, kOn, IO_THREAD, 0, EVICT_LFU},
    {"FiveSlotsHostLarger", {30}, {5}, {17}, kOn, IO_THREAD, 0, EVICT_RANDOM},
    {"HostSync", {30}, {7}, {9}, kOff, IO_SYNC},
    {"SlowCopies", {30}, {9}, {12}, kOn, IO_THREAD, 2000000},
    {"Previous", {30}, {12}, {}, kOn, IO_THREAD, 0, EVICT_LEARNED, FORESIGHT_PREVIOUS},
    {"Transition", {30}, {12}, {}, kOn, IO_SYNC, 0, EVICT_LEARNED, FORESIGHT_TRANSITION},
    {"AllButOne", {30}, {29}, {}, PREFETCH_AUTO, IO_THREAD},
    {"AllResident", {30}, {30}, {}, kOn, IO_THREAD},
    {"AllResidentHost", {30}, {30}, {30}, kOff, IO_THREAD},
    {"AllResidentHostSmall", {30}, {30}, {3}, kOn, IO_THREAD},
    {"TwoClasses", {15, 15}, {1, 1}, {}, kOn, IO_THREAD},
    {"ThreeClasses", {10, 12, 8}, {3, 1, 2}, {}, kOn, IO_SYNC},
    {"ThreeClassesHost", {10, 12, 8}, {2, 3, 1}, {1, 4, 3}, kOn, IO_THREAD},
    {"UnevenClasses", {1, 28, 1}, {1, 6, 1}, {1, 2, 1}, kOff, IO_THREAD},
    {"Stream", {30}, {13}, {}, kOff, IO_THREAD, 0, EVICT_LEARNED, FORESIGHT_AUTO, 2, true},
    {"StreamTight", {30}, {6}, {}, kOn, IO_THREAD, 0, EVICT_LRU, FORESIGHT_AUTO, 1, true},
    {"StreamHost", {30}, {14}, {7}, kOn, IO_THREAD, 1000000, EVICT_ROUND, FORESIGHT_AUTO, 2, true},
    {"StreamOneHost", {30}, {18}, {1}, kOff, IO_SYNC, 0, EVICT_RANDOM, FORESIGHT_AUTO, 3, true},
    {"StreamAuto", {30}, {17}, {}, kOn, IO_SYNC, 0, EVICT_LEARNED, FORESIGHT_AUTO, STREAM_AUTO},
    {"StreamAutoTooSmall",
     {30},
     {3},
     {},
     kOn,
     IO_THREAD,
     0,
     EVICT_LFU,
     FORESIGHT_AUTO,
     STREAM_AUTO},
    /* Layers of several page sizes: the schedule plans by the first page's and must do no harm. */
    {"StreamAutoClasses",
     {15, 15},
     {12, 9},
     {},
     kOn,
     IO_THREAD,
     0,
     EVICT_LEARNED,
     FORESIGHT_AUTO,
     STREAM_AUTO,
     true},
};

INSTANTIATE_TEST_SUITE_P(Rings, Settings, testing::ValuesIn(kSettings),
                         [](const auto &param) { return param.param.name; });

TEST(ExpertPager, AnEmptyRequestIsOverAtOnce)
{
    Pager p(kPlain);
    EXPECT_EQ(p.layer(0, {}), STATUS_NOT_FOUND);
    EXPECT_EQ(p.layer(1, {3}), STATUS_NOT_FOUND);
}

TEST(ExpertPager, HitsCostNothingAndMissesOnePageEach)
{
    Pager p(kPlain);
    uint64_t page_bytes = store_page(memory_store(p.memory), 0)->file_bytes;
    p.layer(0, {0, 1, 2, 3});
    EXPECT_EQ(p.counters().misses, 4u);
    EXPECT_EQ(p.counters().miss_bytes, 4 * page_bytes);
    uint64_t stalled = p.counters().stall_ns;
    EXPECT_GT(stalled, 0u); /* synchronous reads are a stall as much as waiting is */
    p.layer(0, {3, 0, 2});
    EXPECT_EQ(p.counters().stall_ns, stalled);
    EXPECT_EQ(p.counters().hits, 3u);
    EXPECT_EQ(p.counters().misses, 4u);
    EXPECT_EQ(p.memory_now().storage_bytes, 4 * page_bytes);
    p.layer(1, {3});
    EXPECT_EQ(p.counters().misses, 5u);
    EXPECT_EQ(p.memory_now().evictions[MEMORY_DEVICE], 1u);
}

/* A hit of this request is never thrown out for a miss of the same. */
TEST(ExpertPager, HitsOfARequestStayWhileItsMissesCome)
{
    Pager p(kPlain);
    p.layer(2, {0, 1, 2, 3});
    for (int i = 0; i < 5; i++) {
        struct pager_counters before = p.counters();
        EXPECT_EQ(p.layer(2, {4, 5, 0, 1, 2, 3}), STATUS_NOT_FOUND);
        EXPECT_EQ(p.counters().hits - before.hits, 4u);
        p.layer(2, {0, 1, 2, 3}); /* bring them back */
    }
}

/* As many may be held at once as there are slots. */
TEST(ExpertPager, SeveralMayBeHeldAtOnce)
{
    Setting s = kPlain;
    for (enum prefetch_mode prefetch : {kOff, kOn}) {
        s.prefetch = prefetch;
        s.io = IO_THREAD;
        Pager p(s);
        scratch::Random random(3);
        for (int i = 0; i < 100; i++)
            ASSERT_EQ(p.layer((uint32_t)i % kLayers, some_experts(random), 1 + random.below(4)),
                      STATUS_NOT_FOUND);
    }
}

/* With a host tier a miss may cost nothing from storage: it was still in host memory. */
TEST(ExpertPager, TheHostTierSavesReads)
{
    Pager p({"", {30}, {2}, {30}, kOff, IO_SYNC});
    uint64_t page_bytes = store_page(memory_store(p.memory), 0)->file_bytes;
    for (int round = 0; round < 4; round++)
        for (uint32_t layer = 0; layer < kLayers; layer++)
            p.layer(layer, {0, 1, 2, 3, 4, 5});
    EXPECT_EQ(p.memory_now().storage_bytes, 30 * page_bytes); /* each page once, ever */
    EXPECT_EQ(p.counters().miss_bytes, 30 * page_bytes);
    EXPECT_GT(p.counters().misses, 30u);
}

/* Fewer slots than a round wants, the same experts every round: it still hits. */
TEST(ExpertPager, ARingSmallerThanARoundStillHits)
{
    for (uint32_t slots = 3; slots < 10; slots++)
        for (enum prefetch_mode prefetch : {kOff, kOn}) {
            Pager p({"", {30}, {slots}, {}, prefetch, IO_SYNC});
            for (int round = 0; round < 20; round++)
                for (uint32_t layer = 0; layer < kLayers; layer++)
                    p.layer(layer, {1, 4}); /* ten pages a round */
            EXPECT_GT(p.counters().hits, 0u) << slots << " slots, prefetch " << prefetch;
        }
}

/* Layers that each want more than the whole ring: their misses pass through a share of it, and what
 * other layers used last time is still there when they come round. */
TEST(ExpertPager, WideLayersDoNotWashOutTheRing)
{
    scratch::Random random(7);
    Pager p({"", {30}, {4}, {}, kOff, IO_SYNC, 0, EVICT_ROUND});
    for (int round = 0; round < 100; round++)
        for (uint32_t layer = 0; layer < kLayers; layer++)
            p.layer(layer, some_experts(random, 5));
    EXPECT_GT(p.counters().hits, 100u); /* of about 2,700; without that, none */
}

/* ---- guesses ---- */

/* A model whose tokens have their experts in every layer, so that layers can be foretold. */
class Planted {
public:
    Planted(uint64_t seed, uint32_t layers, uint32_t experts, uint32_t tokens)
        : random_(seed), experts_(tokens)
    {
        for (auto &token : experts_)
            for (uint32_t layer = 0; layer < layers; layer++) {
                uint32_t first = random_.below(experts);
                token.push_back({first, (first + 1 + random_.below(experts - 1)) % experts});
            }
    }
    const std::vector<std::vector<uint32_t>> &token()
    {
        return experts_[random_.below((uint32_t)experts_.size())];
    }

private:
    scratch::Random random_;
    std::vector<std::vector<std::vector<uint32_t>>> experts_;
};

/* What follows from the layers before is there before it is asked for, and the books say so. */
TEST(ExpertPager, PrefetchGuessesAndKeepsItsBooks)
{
    uint64_t misses[2];
    for (enum prefetch_mode prefetch : {kOff, kOn}) {
        Setting s = {"", {96}, {32}, {}, prefetch, IO_SYNC};
        s.layers = 6;
        s.experts = 16;
        Pager p(s);
        Planted model(3, 6, 16, 12);
        for (int i = 0; i < 700; i++)
            ASSERT_EQ(p.step(model.token()), STATUS_NOT_FOUND);
        struct pager_counters c = p.counters();
        const struct prefetch_figures &f = c.policy.prefetch;
        misses[prefetch == kOn] = c.misses;
        EXPECT_LE(f.used + f.wasted, f.issued);
        EXPECT_GE(f.used + f.wasted + 32 / 4, f.issued); /* or still there */
        EXPECT_EQ(p.memory_now().fetches[URGENCY_PREFETCH], f.issued + p.memory_now().cancelled);
        EXPECT_EQ(f.used > 200, prefetch == kOn);
        EXPECT_LT(f.wasted, 4 + f.used / 5 + 8);
        printf("prefetch %d: %lu hits, %lu misses, %lu guesses, %lu used, %lu wasted\n", prefetch,
               (unsigned long)c.hits, (unsigned long)c.misses, (unsigned long)f.issued,
               (unsigned long)f.used, (unsigned long)f.wasted);
    }
    EXPECT_LT(misses[true], misses[false] * 3 / 4);
}

/* Every page read is a miss that nobody was reading yet, or a guess that was not taken back. */
TEST(ExpertPager, BytesReadAreMissesAndGuesses)
{
    for (enum io_kind io : {IO_SYNC, IO_THREAD})
        for (uint32_t stream : {(uint32_t)STREAM_OFF, 2u}) {
            Setting s = {"", {96}, {40}, {}, kOn, io};
            s.layers = 6;
            s.experts = 16;
            s.stream_layers = stream;
            s.stream_always = true;
            Pager p(s);
            Planted model(5, 6, 16, 12);
            for (int i = 0; i < 250; i++)
                ASSERT_EQ(p.step(model.token()), STATUS_NOT_FOUND);
            p.wait_until_idle();
            struct pager_counters c = p.counters();
            struct memory_counters m = p.memory_now();
            uint64_t page_bytes = store_page(memory_store(p.memory), 0)->file_bytes;
            EXPECT_EQ(m.fetches[URGENCY_DEMAND], c.misses - p.joined);
            EXPECT_EQ(m.storage_bytes, page_bytes * (c.misses - p.joined +
                                                     m.fetches[URGENCY_PREFETCH] - m.cancelled));
            EXPECT_EQ(c.miss_bytes, p.bytes);
            EXPECT_LE(c.miss_bytes, m.storage_bytes);
            if (stream == STREAM_OFF) {
                EXPECT_EQ(m.fetches[URGENCY_PREFETCH], c.policy.prefetch.issued + m.cancelled);
            }
        }
}

/* Storage so slow that guesses queue: those whose layer has run before they began are taken back,
 * and the slots they held are free again. */
TEST(ExpertPager, LateGuessesAreCancelled)
{
    const simulated::File file;
    scratch::Random random(11);
    simulated::Plan plan(random, 96);
    plan.pages_of_class = {96};
    plan.has_host = false;
    plan.config = {};
    plan.config.slots[MEMORY_DEVICE].of_class[0] = 40;
    plan.config.io_depth = 2; /* one for guesses, one kept for demand */
    plan.weather = {};
    plan.weather.slow_percent = 30;
    simulated::Memory m(file, plan, random);
    Setting s = {"", {}, {}, {}, kOn, IO_SYNC};
    s.layers = 6;
    s.experts = 16;
    struct pager_config config = config_of(s, m.memory);
    struct expert_pager *pager = nullptr;
    struct error error = {};
    ASSERT_EQ(pager_open(&pager, &config, &error), STATUS_OK) << error.text;
    Planted model(9, 6, 16, 12);
    for (int i = 0; i < 700; i++) {
        std::vector<std::vector<uint32_t>> token = model.token();
        const std::vector<std::vector<uint32_t>> other = model.token();
        if (i > 300 && i % 2) /* breaks off: what was foretold of its later layers is wrong */
            std::copy(other.begin() + 3, other.end(), token.begin() + 3);
        pager_begin_step(pager, 1, 1);
        for (uint32_t layer = 0; layer < 6; layer++) {
            bool hit[2];
            struct pager_expert e;
            Wants run(layer, token[layer]);
            pager_request(pager, &run.run, hit);
            enum status status;
            while ((status = pager_next(pager, &e, &error)) == STATUS_OK) {
                ASSERT_TRUE(m.holds(layer * 16 + token[layer][e.index], e.slot));
                pager_release(pager, e.index, 0);
            }
            ASSERT_EQ(status, STATUS_NOT_FOUND) << error.text;
            memory_check(m.memory);
        }
        pager_end_step(pager);
    }
    struct pager_counters c;
    pager_counters(pager, &c);
    EXPECT_GT(m.counters().cancelled, 20u);
    EXPECT_EQ(m.counters().fetches[URGENCY_PREFETCH], c.policy.prefetch.issued +
                                                          m.counters().cancelled);
    pager_close(pager);
}

/* ---- whole layers ---- */

/* Every number of layer slots, with room to spare and without: each expert gets its own bytes, and
 * where all of a layer is wanted, only the very first layer is missed. */
TEST(ExpertPager, StreamsWithAnyNumberOfLayerSlots)
{
    for (uint32_t k : {1u, 2u, 3u, kLayers - 1, kLayers, kLayers + 3})
        for (uint32_t spare : {0u, 1u, 4u})
            for (const std::vector<uint32_t> &host : {std::vector<uint32_t>{}, {2}, {30}}) {
                uint32_t slots = std::min(std::min(k, kLayers) * kExperts + spare, 30u);
                SCOPED_TRACE(std::to_string(k) + " layer slots in " + std::to_string(slots) +
                             " slots, host " + std::to_string(host.empty() ? 0 : host[0]));
                Setting s = {"", {30}, {slots}, host, kOff, IO_SYNC};
                s.stream_layers = k;
                s.stream_always = true;
                Pager all(s), some(s);
                const std::vector<std::vector<uint32_t>> whole(kLayers, {5, 0, 1, 2, 3, 4});
                for (int step = 0; step < 12; step++)
                    ASSERT_EQ(all.step(whole, 20, 20), STATUS_NOT_FOUND);
                EXPECT_EQ(all.counters().hits + all.counters().misses, 12 * 30u);
                if (host.empty() || host[0] >= kExperts) { /* else the way is too narrow */
                    EXPECT_LE(all.counters().misses, kExperts);
                }
                EXPECT_EQ(all.counters().stream.streamed_steps, 12u);
                scratch::Random random(k * 8 + spare);
                for (int step = 0; step < 30; step++) {
                    std::vector<std::vector<uint32_t>> wanted;
                    for (uint32_t layer = 0; layer < kLayers; layer++)
                        wanted.push_back(some_experts(random));
                    ASSERT_EQ(some.step(wanted, 1 + random.below(30), random.below(2)),
                              STATUS_NOT_FOUND);
                }
                EXPECT_EQ(some.counters().hits + some.counters().misses, some.requested);
            }
}

TEST(ExpertPager, MoreLayerSlotsThanFitAreRefusedByName)
{
    Setting s = {"", {30}, {17}, {}, kOff, IO_SYNC};
    Pager p(s);
    s.stream_layers = 3;
    struct pager_config config = config_of(s, p.memory);
    struct expert_pager *pager = nullptr;
    struct error error = {};
    EXPECT_EQ(pager_open(&pager, &config, &error), STATUS_INVALID);
    EXPECT_NE(std::string(error.text).find("--stream-layers 3"), std::string::npos) << error.text;
    EXPECT_NE(std::string(error.text).find("at most 2"), std::string::npos) << error.text;
}

/* A step that is cut off is not ended; the next one begins anew. */
TEST(ExpertPager, AStreamedStepMayBeCutOffAnywhere)
{
    Setting s = {"", {30}, {14}, {}, kOn, IO_THREAD};
    s.stream_layers = 2;
    s.stream_always = true;
    Pager p(s);
    scratch::Random random(4);
    for (int step = 0; step < 200; step++) {
        pager_begin_step(p.pager, 1 + random.below(30), random.below(30));
        uint32_t stop = random.below(kLayers + 3);
        for (uint32_t layer = 0; layer < kLayers && layer <= stop; layer++) {
            if (layer < stop) {
                ASSERT_EQ(p.layer(layer, some_experts(random)), STATUS_NOT_FOUND);
                continue;
            }
            bool hit[kExperts];
            std::vector<uint32_t> experts = some_experts(random, 1);
            Wants run(layer, experts);
            struct pager_expert e;
            pager_request(p.pager, &run.run, hit);
            p.requested += experts.size();
            if (random.chance(50)) {
                ASSERT_EQ(pager_next(p.pager, &e, nullptr), STATUS_OK);
            }
            pager_abort(p.pager);
            EXPECT_EQ(p.pinned(), 0u);
        }
        if (stop >= kLayers)
            pager_end_step(p.pager);
    }
    EXPECT_EQ(p.counters().hits + p.counters().misses, p.requested);
}

/* What an abort leaves under way is found by the next request, not read twice. */
TEST(ExpertPager, AnAbortedRequestLeavesNothingPinnedAndNothingLost)
{
    for (enum io_kind io : {IO_SYNC, IO_THREAD}) {
        Setting s = kPlain;
        s.io = io;
        Pager p(s);
        const std::vector<uint32_t> experts = {0, 1, 2, 3, 4};
        bool hit[5];
        struct pager_expert e;
        Wants run(0, experts);
        pager_request(p.pager, &run.run, hit);
        ASSERT_EQ(pager_next(p.pager, &e, nullptr), STATUS_OK); /* one given, others under way */
        pager_abort(p.pager);
        EXPECT_EQ(p.pinned(), 0u);
        pager_abort(p.pager); /* nothing at hand: does nothing */
        p.wait_until_idle();
        EXPECT_EQ(p.layer(0, {0, 1, 2, 3}), STATUS_NOT_FOUND);
        EXPECT_EQ(p.counters().hits, 4u);
        EXPECT_EQ(p.memory_now().storage_bytes,
                  4 * store_page(memory_store(p.memory), 0)->file_bytes);
    }
}

TEST(ExpertPager, AFailedReadNamesLayerExpertAndFile)
{
    Pager p(kPlain);
    const page *page = store_page(memory_store(p.memory), 3 * kExperts + 4);
    p.toy.truncate(page->part[2].offset + 5);
    EXPECT_EQ(p.layer(3, {4}), STATUS_IO);
    std::string text = p.error.text;
    EXPECT_NE(text.find("layer 3 expert 4"), std::string::npos) << text;
    EXPECT_NE(text.find(p.toy.folder.path("weights")), std::string::npos) << text;
    p.toy.restore(page->part[2].offset + 5);
    EXPECT_EQ(p.layer(3, {4}), STATUS_NOT_FOUND);
}

/* A page that is on its way when it is asked for is joined, not fetched again. */
TEST(ExpertPager, ADemandJoinsWhatIsUnderWay)
{
    Setting s = {"", {30}, {13}, {30}, kOff, IO_THREAD, 50000000};
    s.stream_layers = 2;
    s.stream_always = true;
    Pager p(s);
    for (int step = 0; step < 3; step++)
        ASSERT_EQ(p.step(std::vector<std::vector<uint32_t>>(kLayers, {0, 1, 2, 3, 4, 5}), 9, 9),
                  STATUS_NOT_FOUND);
    p.wait_until_idle();
    struct memory_counters m = p.memory_now();
    EXPECT_GT(p.joined, 5u);
    EXPECT_EQ(m.fetches[URGENCY_DEMAND], p.counters().misses - p.joined);
    EXPECT_EQ(m.device_bytes, (m.fetches[0] + m.fetches[1] - m.cancelled) *
                                  store_page(memory_store(p.memory), 0)->slot_bytes);
}

/* Waiting is a stall, computing is not; what a page and a layer take is measured. */
TEST(ExpertPager, MeasuresPagesAndLayers)
{
    Pager p(kPlain);
    EXPECT_EQ(p.counters().page_ns + p.counters().layer_ns, 0u);
    for (int i = 0; i < 3; i++)
        p.step(std::vector<std::vector<uint32_t>>(kLayers, {0, 1}));
    EXPECT_GT(p.counters().page_ns, 0u);
    EXPECT_GT(p.counters().layer_ns, 0u);
}

TEST(ExpertPager, FollowsLoadsIfAsked)
{
    Pager p(kPlain);
    EXPECT_EQ(pager_loads(p.pager), nullptr);
    struct pager_config config = config_of(kPlain, p.memory);
    config.slow_clock = true;
    struct expert_pager *pager = nullptr;
    ASSERT_EQ(pager_open(&pager, &config, nullptr), STATUS_OK);
    EXPECT_NE(pager_loads(pager), nullptr);
    pager_close(pager);
}

TEST(ExpertPagerDeathTest, CallersBugsAreCaught)
{
    Pager p(kPlain);
    const std::vector<uint32_t> experts = {0, 1, 2, 3, 4}, twice = {2, 2};
    bool hit[5];
    struct pager_expert e;
    Wants doubled(0, twice), beyond(kLayers, experts), run(0, experts), second(1, experts);
    EXPECT_DEATH(pager_request(p.pager, &doubled.run, hit), "twice");
    EXPECT_DEATH(pager_request(p.pager, &beyond.run, hit), "layer");
    pager_request(p.pager, &run.run, hit);
    EXPECT_DEATH(pager_request(p.pager, &second.run, hit), "undone");
    for (int i = 0; i < 4; i++)
        ASSERT_EQ(pager_next(p.pager, &e, nullptr), STATUS_OK);
    EXPECT_DEATH((void)pager_next(p.pager, &e, nullptr), "release"); /* not an endless wait */
    EXPECT_DEATH(pager_release(p.pager, 4, 0), "GIVEN");
    pager_abort(p.pager);
}

TEST(ExpertPager, CloseAcceptsNull)
{
    pager_close(nullptr);
}

} // namespace
