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
#include "tests/memory/toy_store.h"

namespace {

constexpr uint32_t kLayers = 5, kExperts = 6;

struct Setting {
    const char *name;
    std::vector<uint32_t> pages;  /* of each size class; kLayers * kExperts in all */
    std::vector<uint32_t> device; /* slots of each */
    std::vector<uint32_t> host;   /* empty: no host tier */
    bool prefetch;
    enum io_kind io;
    uint64_t copy_ns_per_mib = 0;
};

class Pager {
public:
    explicit Pager(const Setting &s, uint64_t seed = 1) : toy(s.pages, seed)
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
        struct pager_config pager_config = {};
        pager_config.memory = memory;
        pager_config.layers = kLayers;
        pager_config.experts = kExperts;
        pager_config.prefetch = s.prefetch;
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
        pager_request(pager, number, experts.data(), (uint32_t)experts.size(), hits.get());
        requested += experts.size();
        struct pager_expert e;
        enum status status;
        while ((status = pager_next(pager, &e, &error)) == STATUS_OK) {
            page_id page = number * kExperts + experts[e.index];
            EXPECT_EQ(e.page, store_page(memory_store(memory), page));
            EXPECT_TRUE(toy.holds(memory_store(memory), page, e.slot)) << "page " << page;
            EXPECT_EQ(memory_pins(memory, page), 1u);
            EXPECT_TRUE(!hits[e.index] || e.bytes == 0);
            bytes += e.bytes;
            given.push_back(e.index);
            holding.push_back(e.index);
            if (holding.size() >= held) {
                pager_release(pager, holding.front());
                holding.erase(holding.begin());
            }
        }
        if (status != STATUS_NOT_FOUND) {
            pager_abort(pager);
        } else {
            for (uint32_t index : holding)
                pager_release(pager, index);
            std::sort(given.begin(), given.end());
            std::vector<uint32_t> all(experts.size());
            std::iota(all.begin(), all.end(), 0);
            EXPECT_EQ(given, all) << "each expert once";
        }
        EXPECT_EQ(pinned(), 0u);
        return status;
    }
    uint32_t pinned() const
    {
        uint32_t n = 0;
        for (page_id page = 0; page < kLayers * kExperts; page++)
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
    uint64_t requested = 0, bytes = 0;
};

const Setting kPlain = {"plain", {30}, {4}, {}, false, IO_SYNC};

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
        for (int step = 0; step < 60; step++)
            for (uint32_t layer = 0; layer < kLayers; layer++) {
                uint32_t at = random.chance(10) ? random.below(kLayers) : layer;
                ASSERT_EQ(p.layer(at, some_experts(random)), STATUS_NOT_FOUND) << p.error.text;
            }
        struct pager_counters c = p.counters();
        EXPECT_EQ(c.hits + c.misses, p.requested);
        EXPECT_EQ(c.miss_bytes, p.bytes);
        EXPECT_LE(c.prefetch_used + c.prefetch_wasted, c.prefetch_issued);
        if (!GetParam().prefetch) {
            EXPECT_EQ(c.prefetch_issued, 0u);
            EXPECT_EQ(c.miss_bytes, p.memory_now().storage_bytes);
        }
    }
}

/* The file is cut short and restored at random: requests fail or do not, nothing stays pinned, and
 * what is given is right all the same. */
TEST_P(Settings, SurvivesAFileThatComesAndGoes)
{
    for (uint64_t seed = 1; seed <= 3; seed++) {
        Pager p(GetParam(), seed);
        scratch::Random random(seed * 7 + 1);
        uint64_t cut = 0, failures = 0;
        for (int step = 0; step < 40; step++) {
            if (!cut && random.chance(25))
                p.toy.truncate(cut = 1 + random.below((uint32_t)p.toy.bytes.size() - 1));
            else if (cut && random.chance(60)) {
                p.toy.restore(cut);
                cut = 0;
            }
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
        p.wait_until_idle();
        for (uint32_t layer = 0; layer < kLayers; layer++)
            ASSERT_EQ(p.layer(layer, {0, 1, 2, 3, 4, 5}), STATUS_NOT_FOUND) << p.error.text;
        EXPECT_EQ(p.counters().hits + p.counters().misses, p.requested);
    }
}

const Setting kSettings[] = {
    {"OneSlot", {30}, {1}, {}, false, IO_SYNC},
    {"OneSlotThread", {30}, {1}, {}, false, IO_THREAD},
    {"OneSlotPrefetch", {30}, {1}, {}, true, IO_THREAD},
    {"OneSlotOneHost", {30}, {1}, {1}, true, IO_THREAD},
    {"TwoSlots", {30}, {2}, {}, true, IO_SYNC},
    {"FiveSlots", {30}, {5}, {}, true, IO_THREAD},
    {"FiveSlotsHostSmaller", {30}, {5}, {2}, true, IO_THREAD},
    {"FiveSlotsHostLarger", {30}, {5}, {17}, true, IO_THREAD},
    {"HostSync", {30}, {7}, {9}, false, IO_SYNC},
    {"SlowCopies", {30}, {9}, {12}, true, IO_THREAD, 2000000},
    {"AllButOne", {30}, {29}, {}, true, IO_THREAD},
    {"AllResident", {30}, {30}, {}, true, IO_THREAD},
    {"AllResidentHost", {30}, {30}, {30}, false, IO_THREAD},
    {"TwoClasses", {15, 15}, {1, 1}, {}, true, IO_THREAD},
    {"ThreeClasses", {10, 12, 8}, {3, 1, 2}, {}, true, IO_SYNC},
    {"ThreeClassesHost", {10, 12, 8}, {2, 3, 1}, {1, 4, 3}, true, IO_THREAD},
    {"UnevenClasses", {1, 28, 1}, {1, 6, 1}, {1, 2, 1}, false, IO_THREAD},
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
    for (bool prefetch : {false, true}) {
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
    Pager p({"", {30}, {2}, {30}, false, IO_SYNC});
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
        for (bool prefetch : {false, true}) {
            Pager p({"", {30}, {slots}, {}, prefetch, IO_SYNC});
            for (int round = 0; round < 10; round++)
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
    Pager p({"", {30}, {4}, {}, false, IO_SYNC});
    for (int round = 0; round < 100; round++)
        for (uint32_t layer = 0; layer < kLayers; layer++)
            p.layer(layer, some_experts(random, 5));
    EXPECT_GT(p.counters().hits, 100u); /* of about 2,700; without that, none */
}

/* A guess may only take a free slot or that of a page that sat out a whole round, so it needs
 * rounds that differ in size: a small one leaves old pages about, and what a large one had lost
 * comes back in their place before it is asked for. Demand does not suffer by it. */
TEST(ExpertPager, PrefetchGuessesAndKeepsItsBooks)
{
    uint64_t misses[2];
    for (bool prefetch : {false, true}) {
        Pager p({"", {30}, {8}, {}, prefetch, IO_SYNC});
        scratch::Random random(5);
        for (int round = 0; round < 100; round++)
            for (uint32_t layer = 0; layer < kLayers; layer++)
                p.layer(layer, round % 3 == 0 ? std::vector<uint32_t>{0, 1, 2}
                                              : std::vector<uint32_t>{random.below(2)});
        struct pager_counters c = p.counters();
        misses[prefetch] = c.misses;
        EXPECT_EQ(c.prefetch_issued > 0, prefetch);
        EXPECT_EQ(c.prefetch_used > 0, prefetch);
        EXPECT_LE(c.prefetch_used + c.prefetch_wasted, c.prefetch_issued);
        EXPECT_GE(c.prefetch_used + c.prefetch_wasted + 8, c.prefetch_issued); /* or still there */
        printf("prefetch %d: %lu hits, %lu misses, %lu guesses, %lu used, %lu wasted\n", prefetch,
               c.hits, c.misses, c.prefetch_issued, c.prefetch_used, c.prefetch_wasted);
    }
    EXPECT_LE(misses[true], misses[false]);
}

/* What an abort leaves under way is found by the next request, not read twice. */
TEST(ExpertPager, AnAbortedRequestLeavesNothingPinnedAndNothingLost)
{
    for (enum io_kind io : {IO_SYNC, IO_THREAD}) {
        Setting s = kPlain;
        s.io = io;
        Pager p(s);
        const uint32_t experts[] = {0, 1, 2, 3, 4};
        bool hit[5];
        struct pager_expert e;
        pager_request(p.pager, 0, experts, 5, hit);
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

/* A page that is being prefetched when it is asked for is joined, not fetched again. */
TEST(ExpertPager, ADemandJoinsThePrefetchUnderWay)
{
    Pager p({"", {30}, {30}, {30}, true, IO_THREAD, 50000000});
    for (uint32_t layer = 0; layer < kLayers; layer++)
        p.layer(layer, {0, 1});
    for (page_id page = 0; page < kLayers * kExperts; page++)
        if (memory_where(p.memory, MEMORY_DEVICE, page) == SLOT_READY)
            memory_evict(p.memory, MEMORY_DEVICE, page);
    uint64_t copied = p.memory_now().device_bytes;
    for (uint32_t layer = 0; layer < kLayers; layer++)
        p.layer(layer, {0, 1});
    EXPECT_GT(p.counters().prefetch_used, 0u);
    p.wait_until_idle();
    EXPECT_EQ(p.memory_now().device_bytes - copied,
              10 * store_page(memory_store(p.memory), 0)->slot_bytes);
}

TEST(ExpertPagerDeathTest, CallersBugsAreCaught)
{
    Pager p(kPlain);
    const uint32_t experts[] = {0, 1, 2, 3, 4}, twice[] = {2, 2};
    bool hit[5];
    struct pager_expert e;
    EXPECT_DEATH(pager_request(p.pager, 0, twice, 2, hit), "twice");
    EXPECT_DEATH(pager_request(p.pager, kLayers, experts, 1, hit), "layer");
    pager_request(p.pager, 0, experts, 5, hit);
    EXPECT_DEATH(pager_request(p.pager, 1, experts, 1, hit), "undone");
    for (int i = 0; i < 4; i++)
        ASSERT_EQ(pager_next(p.pager, &e, nullptr), STATUS_OK);
    EXPECT_DEATH((void)pager_next(p.pager, &e, nullptr), "release"); /* not an endless wait */
    EXPECT_DEATH(pager_release(p.pager, 4), "GIVEN");
    pager_abort(p.pager);
}

TEST(ExpertPager, CloseAcceptsNull)
{
    pager_close(nullptr);
}

} // namespace
