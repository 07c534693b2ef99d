#include "engine/replay/belady.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "tests/support/scratch.h"

namespace {

using Pages = std::vector<page_id>;

struct Answer {
    belady_result result;
    std::vector<uint32_t> misses; // by group
};

Answer belady(const Pages &pages, uint32_t total, uint32_t slots,
              const std::vector<uint32_t> &groups = {}, const std::vector<uint8_t> &resident = {})
{
    struct belady *b = nullptr;
    Answer answer = {};
    EXPECT_EQ(STATUS_OK, belady_open(&b, total, static_cast<uint32_t>(pages.size()), nullptr));
    struct belady_window window = {};
    window.pages = pages.data();
    window.requests = static_cast<uint32_t>(pages.size());
    window.slots = slots;
    window.resident = resident.empty() ? nullptr : resident.data();
    if (!groups.empty()) {
        window.groups = static_cast<uint32_t>(groups.size()) - 1;
        answer.misses.resize(window.groups, 99);
        window.group_start = groups.data();
        window.group_misses = answer.misses.data();
    }
    belady_run(b, &window, &answer.result);
    belady_close(b);
    return answer;
}

/* The fewest misses there can be: every choice of victim is tried, with what was found before
 * remembered by (position, content of the ring). */
uint32_t fewest_misses(const Pages &pages, uint32_t slots, const std::set<page_id> &start = {})
{
    std::map<std::pair<size_t, std::set<page_id>>, uint32_t> known;
    std::function<uint32_t(size_t, std::set<page_id>)> from = [&](size_t i,
                                                                  std::set<page_id> ring) {
        if (i == pages.size())
            return 0u;
        auto key = std::make_pair(i, ring);
        auto found = known.find(key);
        if (found != known.end())
            return found->second;
        uint32_t best = UINT32_MAX;
        if (ring.count(pages[i])) {
            best = from(i + 1, ring);
        } else if (ring.size() < slots) {
            auto more = ring;
            more.insert(pages[i]);
            best = 1 + from(i + 1, more);
        } else {
            for (page_id victim : ring) {
                auto other = ring;
                other.erase(victim);
                other.insert(pages[i]);
                best = std::min(best, 1 + from(i + 1, other));
            }
        }
        return known[key] = best;
    };
    return from(0, start);
}

TEST(Belady, MissesAsFewAsAnyChoiceOfVictimsCould)
{
    scratch::Random random(11);
    for (int round = 0; round < 150; round++) {
        uint32_t total = 2 + random.below(6), slots = 1 + random.below(4);
        Pages pages(1 + random.below(14));
        for (page_id &page : pages)
            page = random.below(total);
        belady_result r = belady(pages, total, slots).result;
        EXPECT_EQ(r.requests, pages.size());
        EXPECT_EQ(r.requests - r.hits, fewest_misses(pages, slots)) << "round " << round;
        EXPECT_EQ(r.compulsory, std::set<page_id>(pages.begin(), pages.end()).size());
    }
}

TEST(Belady, StartsFromWhatIsResident)
{
    scratch::Random random(12);
    for (int round = 0; round < 80; round++) {
        uint32_t total = 2 + random.below(6), slots = 1 + random.below(4);
        std::vector<uint8_t> resident(total);
        std::set<page_id> start;
        while (start.size() < std::min(slots, total) && random.chance(70)) {
            page_id page = random.below(total);
            start.insert(page);
            resident[page] = 1;
        }
        Pages pages(1 + random.below(12));
        for (page_id &page : pages)
            page = random.below(total);
        belady_result r = belady(pages, total, slots, {}, resident).result;
        EXPECT_EQ(r.requests - r.hits, fewest_misses(pages, slots, start)) << "round " << round;
    }
}

TEST(Belady, OfMoreResidentThanFitKeepsWhatIsUsedFirst)
{
    EXPECT_EQ(belady({2, 0}, 3, 1, {}, {1, 1, 1}).result.hits, 1u);
    EXPECT_EQ(belady({2, 0}, 3, 2, {}, {1, 1, 1}).result.hits, 2u);
    EXPECT_EQ(belady({1}, 3, 1, {}, {1, 0, 1}).result.hits, 0u);
}

/* By the definition, in plain words: evict what is used last. For windows larger than a search can
 * take, with several levels of words. */
uint64_t plain_hits(const Pages &pages, uint32_t slots)
{
    std::set<page_id> ring;
    uint64_t hits = 0;
    for (size_t i = 0; i < pages.size(); i++) {
        if (ring.count(pages[i])) {
            hits++;
            continue;
        }
        if (ring.size() == slots) {
            auto next = [&](page_id page) {
                return std::find(pages.begin() + static_cast<long>(i), pages.end(), page);
            };
            auto far = std::max_element(ring.begin(), ring.end(),
                                        [&](page_id a, page_id b) { return next(a) < next(b); });
            ring.erase(far);
        }
        ring.insert(pages[i]);
    }
    return hits;
}

TEST(Belady, LongWindowsOfEverySize)
{
    scratch::Random random(13);
    for (uint32_t length : {63u, 64u, 65u, 4095u, 4096u, 4097u, 6000u}) {
        Pages pages(length);
        for (page_id &page : pages) // skewed: half of the requests to an eighth of the pages
            page = random.chance(50) ? random.below(8) : random.below(64);
        for (uint32_t slots : {1u, 3u, 16u, 40u, 64u, 100u})
            EXPECT_EQ(belady(pages, 64, slots).result.hits, plain_hits(pages, slots))
                << length << " requests, " << slots << " slots";
    }
}

TEST(Belady, MissesFallIntoTheirGroups)
{
    Pages pages = {0, 1, 2, 0, 1, 3, 0};
    Answer a = belady(pages, 4, 2, {0, 2, 2, 4, 7}); // the second group is empty
    EXPECT_EQ(a.misses, (std::vector<uint32_t>{2, 0, 1, 2}));
    EXPECT_EQ(a.result.hits, 2u);
}

TEST(Belady, AnotherNumberOfSlotsNeedsNoSecondSearch)
{
    scratch::Random random(14);
    Pages pages(3000);
    for (page_id &page : pages)
        page = random.below(50);
    struct belady *b = nullptr;
    ASSERT_EQ(STATUS_OK, belady_open(&b, 50, 5000, nullptr));
    struct belady_window window = {};
    window.pages = pages.data();
    window.requests = static_cast<uint32_t>(pages.size());
    window.slots = 7;
    belady_result r;
    belady_run(b, &window, &r);
    EXPECT_EQ(r.hits, plain_hits(pages, 7));
    for (uint32_t slots : {1u, 20u, 49u, 50u}) {
        belady_again(b, slots, &r);
        EXPECT_EQ(r.hits, plain_hits(pages, slots)) << slots;
    }
    window.requests = 10; // a shorter window after a longer one
    window.slots = 2;
    belady_run(b, &window, &r);
    EXPECT_EQ(r.hits, plain_hits(Pages(pages.begin(), pages.begin() + 10), 2));
    belady_close(b);
}

TEST(Belady, NothingAskedForIsNothing)
{
    belady_result r = belady({}, 5, 2).result;
    EXPECT_EQ(r.requests + r.hits + r.compulsory, 0u);
    EXPECT_EQ(belady({}, 2, 1, {0, 0}, {1, 1}).misses, std::vector<uint32_t>{0});
    belady_close(nullptr);
}

TEST(Belady, TellsItsBytes)
{
    EXPECT_NEAR(4.0 * 1e6 + 1e6 / 8 * 64 / 63, static_cast<double>(belady_bytes(1, 1000000)), 1000);
}

} // namespace
