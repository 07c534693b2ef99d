/* The front door against a reference model: thousands of seeded steps of everything a caller may
 * do, with a file that is cut short and comes back, compared page by page after every step. */
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>

#include "memory/device.h"
#include "memory/memory.h"
#include "tests/memory/toy_store.h"

namespace {

struct Setting {
    const char *name;
    std::vector<uint32_t> pages;  /* per class */
    std::vector<uint32_t> device; /* slots per class */
    std::vector<uint32_t> host;   /* empty: no host tier */
    enum io_kind io;
    uint32_t depth;
    uint64_t copy_ns_per_mib;
    uint32_t prefetch_queue;
    bool landed = false;
};

struct Journey {
    struct transfer transfer = {};
    bool asked = false;
    bool touched = false; /* the file was short at some time since it began: it may fail */
};

/* What the model believes of one page in one tier. */
struct Belief {
    enum slot_state state = SLOT_FREE;
    uint32_t pins = 0;
    Journey journey;
};

class Simulation {
public:
    Simulation(const Setting &setting, uint64_t seed)
        : setting_(setting), toy_(setting.pages, seed, setting.landed), random_(seed * 7919 + 1)
    {
        uint32_t pages = store_pages(toy_.store);
        for (auto &tier : belief_)
            tier.resize(pages);
        has_host_ = !setting.host.empty();
        struct memory_config config = {};
        uint64_t device_bytes = 0;
        for (size_t c = 0; c < setting.device.size(); c++) {
            config.slots[MEMORY_DEVICE].of_class[c] = setting.device[c];
            device_bytes += setting.device[c] * store_class_slot_bytes(toy_.store, c);
            if (has_host_)
                config.slots[MEMORY_HOST].of_class[c] = setting.host[c];
        }
        struct error error = {};
        struct device *device;
        if (device_host_open(&device, device_bytes, setting.copy_ns_per_mib, &error))
            throw std::runtime_error(error.text);
        config.io = setting.io;
        config.io_depth = setting.depth;
        config.device = device;
        config.prefetch_queue = setting.prefetch_queue;
        slots_[MEMORY_DEVICE] = setting.device;
        slots_[MEMORY_HOST] = setting.host;
        if (memory_open(&memory_, toy_.store, &config, &error))
            throw std::runtime_error(error.text);
        store_ = toy_.release();
    }
    ~Simulation() { memory_close(memory_); }

    void run(int steps)
    {
        for (int i = 0; i < steps && !testing::Test::HasFailure(); i++) {
            step();
            compare();
        }
        restore();
        drain();
        compare();
        totals();
    }
    uint64_t failures() const { return failures_; }
    uint64_t landed() const { return landed_; }
    uint64_t cancelled() const { return cancelled_; }
    /* Leaves journeys under way for memory_close. */
    void fetch_some()
    {
        for (int i = 0; i < 20; i++)
            fetch();
    }

private:
    page_id any_page() { return random_.below(store_pages(store_)); }
    enum memory_tier any_tier()
    {
        return has_host_ && random_.chance(30) ? MEMORY_HOST : MEMORY_DEVICE;
    }
    uint32_t class_of(page_id page) { return store_page(store_, page)->size_class; }
    uint32_t taken(enum memory_tier tier, uint32_t size_class)
    {
        uint32_t count = 0;
        for (page_id page = 0; page < belief_[tier].size(); page++)
            count += class_of(page) == size_class && belief_[tier][page].state != SLOT_FREE;
        return count;
    }
    bool has_room(enum memory_tier tier, page_id page)
    {
        return taken(tier, class_of(page)) < slots_[tier][class_of(page)];
    }

    void step()
    {
        if (random_.chance(is_cut_ ? 10 : 1))
            cut_or_restore();
        switch (random_.below(12)) {
        case 0: case 1: case 2:
            for (uint32_t more = 1 + random_.below(4); more > 0; more--)
                fetch();
            return;
        case 3: case 4: return poll(random_.chance(40) ? 300000 : 0);
        case 5: return random_.chance(40) ? pin() : unpin();
        case 6: case 7: case 8: return evict();
        case 9: return cancel();
        case 10: return promote();
        default: return sweep();
        }
    }

    void fetch()
    {
        enum memory_tier tier = any_tier();
        page_id page = any_page();
        if (belief_[tier][page].state != SLOT_READY)
            fetch(tier, page, random_.chance(50) ? URGENCY_DEMAND : URGENCY_PREFETCH);
    }
    void promote()
    {
        for (int tries = 0; tries < 8; tries++) {
            enum memory_tier tier = any_tier();
            page_id page = any_page();
            if (belief_[tier][page].state == SLOT_LOADING)
                return fetch(tier, page, URGENCY_DEMAND);
        }
    }
    void fetch(enum memory_tier tier, page_id page, enum urgency urgency)
    {
        Belief &here = belief_[tier][page];
        Belief &host = belief_[MEMORY_HOST][page];
        bool through = tier == MEMORY_DEVICE && has_host_ && host.state == SLOT_FREE;
        struct memory_counters before;
        memory_counters(memory_, &before);
        enum status expected = STATUS_OK;
        enum memory_tier lacks = MEMORY_TIERS, lacking = MEMORY_TIERS;
        if (here.state == SLOT_FREE) {
            if (urgency == URGENCY_PREFETCH &&
                before.queued[URGENCY_PREFETCH] >= setting_.prefetch_queue)
                expected = STATUS_FULL;
            else if (!has_room(tier, page))
                expected = STATUS_FULL, lacks = tier;
            else if (through && !has_room(MEMORY_HOST, page))
                expected = STATUS_FULL, lacks = MEMORY_HOST;
        }
        struct transfer transfer = {};
        ASSERT_EQ(memory_fetch(memory_, tier, page, urgency, &transfer, &lacking), expected);
        if (expected == STATUS_FULL) {
            ASSERT_EQ(lacking, lacks);
            return;
        }
        if (here.state == SLOT_LOADING && here.journey.asked) {
            ASSERT_EQ(here.journey.transfer.index, transfer.index);
            ASSERT_EQ(here.journey.transfer.generation, transfer.generation);
            return;
        }
        begun_++;
        if (here.state == SLOT_FREE)
            here.journey.touched = is_cut_ || (host.state == SLOT_LOADING && host.journey.touched);
        here.state = SLOT_LOADING;
        here.journey.asked = true;
        here.journey.transfer = transfer;
        if (through) {
            host.state = SLOT_LOADING;
            host.journey = Journey();
            host.journey.touched = is_cut_;
        }
        handles_.push_back({tier, page, transfer});
    }

    void poll(uint64_t wait_ns)
    {
        struct memory_event events[4];
        uint32_t max = 1 + random_.below(4), n;
        do {
            n = memory_poll(memory_, wait_ns, events, max);
            for (uint32_t i = 0; i < n; i++)
                take(events[i]);
            wait_ns = 0;
        } while (n == max);
        /* Host stages nobody asked for end without an event. */
        for (page_id page = 0; page < belief_[MEMORY_HOST].size(); page++) {
            Belief &host = belief_[MEMORY_HOST][page];
            if (has_host_ && host.state == SLOT_LOADING && !host.journey.asked)
                host.state = memory_where(memory_, MEMORY_HOST, page);
            bool device_waits = belief_[MEMORY_DEVICE][page].state == SLOT_LOADING;
            ASSERT_TRUE(host.state != SLOT_FREE || !device_waits || !has_host_);
        }
    }
    void take(const struct memory_event &event)
    {
        Belief &here = belief_[event.tier][event.page];
        ASSERT_EQ(here.state, SLOT_LOADING);
        ASSERT_TRUE(here.journey.asked);
        ASSERT_EQ(here.journey.transfer.index, event.transfer.index);
        ASSERT_EQ(here.journey.transfer.generation, event.transfer.generation);
        bytes_ += event.bytes;
        if (event.status == STATUS_OK) {
            landed_++;
            here.state = SLOT_READY;
            const struct page *page = store_page(store_, event.page);
            ASSERT_TRUE(event.bytes == 0 || event.bytes == page->file_bytes);
            if (has_host_ && event.tier == MEMORY_DEVICE)
                copied_ += page->slot_bytes;
            if (!has_host_) {
                ASSERT_EQ(event.bytes, page->file_bytes);
            }
        } else {
            failures_++;
            ASSERT_EQ(event.status, STATUS_IO);
            ASSERT_TRUE(here.journey.touched);
            ASSERT_NE(std::string(memory_error(memory_)).find("weights"), std::string::npos);
            here.state = SLOT_FREE;
        }
        here.journey.asked = false;
    }

    void pin()
    {
        page_id page = any_page();
        Belief &here = belief_[MEMORY_DEVICE][page];
        if (here.state != SLOT_READY)
            return;
        const uint8_t *slot = memory_pin(memory_, page);
        here.pins++;
        ASSERT_EQ(reinterpret_cast<uintptr_t>(slot) % 4096, 0u);
        ASSERT_TRUE(toy_.holds(store_, page, slot));
    }
    void unpin()
    {
        page_id start = any_page();
        for (page_id i = 0; i < store_pages(store_); i++) {
            page_id page = (start + i) % store_pages(store_);
            if (belief_[MEMORY_DEVICE][page].pins > 0) {
                memory_unpin(memory_, page);
                belief_[MEMORY_DEVICE][page].pins--;
                return;
            }
        }
    }
    bool evictable(enum memory_tier tier, page_id page)
    {
        const Belief &here = belief_[tier][page];
        bool source = tier == MEMORY_HOST && belief_[MEMORY_DEVICE][page].state == SLOT_LOADING;
        return here.state == SLOT_READY && here.pins == 0 && !source;
    }
    void sweep()
    {
        enum memory_tier tier = any_tier();
        uint32_t size_class = random_.below(store_classes(store_));
        std::vector<page_id> seen;
        for (uint32_t i = 0; i < memory_slots(memory_, tier, size_class); i++) {
            page_id page = memory_sweep(memory_, tier, size_class);
            if (page == PAGE_NONE || (!seen.empty() && page == seen[0]))
                break;
            seen.push_back(page);
        }
        std::sort(seen.begin(), seen.end());
        std::vector<page_id> expected;
        for (page_id page = 0; page < belief_[tier].size(); page++)
            if (class_of(page) == size_class && evictable(tier, page))
                expected.push_back(page);
        ASSERT_EQ(seen, expected);
    }
    void evict()
    {
        enum memory_tier tier = any_tier();
        uint32_t size_class = random_.below(store_classes(store_));
        page_id page = memory_sweep(memory_, tier, size_class);
        if (page == PAGE_NONE)
            return;
        ASSERT_TRUE(evictable(tier, page));
        memory_evict(memory_, tier, page);
        belief_[tier][page].state = SLOT_FREE;
        evictions_[tier]++;
    }

    void cancel()
    {
        if (handles_.empty())
            return;
        /* Mostly young handles: the old ones have ended long ago. */
        size_t back = random_.below(static_cast<uint32_t>(std::min<size_t>(handles_.size(), 5)));
        const Handle handle = handles_[handles_.size() - 1 - back];
        Belief &here = belief_[handle.tier][handle.page];
        Belief &host = belief_[MEMORY_HOST][handle.page];
        bool live = here.state == SLOT_LOADING && here.journey.asked &&
                    here.journey.transfer.index == handle.transfer.index &&
                    here.journey.transfer.generation == handle.transfer.generation;
        enum status status = memory_cancel(memory_, handle.transfer);
        if (!live) {
            ASSERT_EQ(status, STATUS_NOT_FOUND);
            return;
        }
        ASSERT_TRUE(status == STATUS_OK || status == STATUS_FULL);
        if (status == STATUS_FULL)
            return;
        cancelled_++;
        here.journey.asked = false;
        if (handle.tier == MEMORY_HOST && belief_[MEMORY_DEVICE][handle.page].state == SLOT_LOADING)
            return; /* goes on for the device's sake */
        here.state = SLOT_FREE;
        if (has_host_ && handle.tier == MEMORY_DEVICE && host.state == SLOT_LOADING &&
            !host.journey.asked)
            host.state = SLOT_FREE;
    }

    void cut_or_restore()
    {
        if (is_cut_)
            return restore();
        cut_at_ = random_.below(static_cast<uint32_t>(toy_.bytes.size()));
        for (auto &tier : belief_)
            for (Belief &here : tier)
                if (here.state == SLOT_LOADING)
                    here.journey.touched = true;
        toy_.truncate(cut_at_);
        is_cut_ = true;
    }
    void restore()
    {
        if (is_cut_)
            toy_.restore(cut_at_);
        is_cut_ = false;
    }

    void drain()
    {
        struct memory_counters counters;
        do {
            poll(5000000);
            memory_counters(memory_, &counters);
        } while (counters.in_flight + counters.queued[0] + counters.queued[1] > 0 &&
                 !testing::Test::HasFailure());
    }

    void compare()
    {
        for (int tier = has_host_ ? MEMORY_HOST : MEMORY_DEVICE; tier < MEMORY_TIERS; tier++)
            for (page_id page = 0; page < belief_[tier].size(); page++) {
                enum slot_state real = memory_where(memory_, (enum memory_tier)tier, page);
                ASSERT_EQ(real, belief_[tier][page].state) << "tier " << tier << " page " << page;
            }
        for (page_id page = 0; page < belief_[MEMORY_DEVICE].size(); page++)
            ASSERT_EQ(memory_pins(memory_, page), belief_[MEMORY_DEVICE][page].pins);
        struct memory_counters counters;
        memory_counters(memory_, &counters);
        ASSERT_EQ(counters.cancelled, cancelled_);
        ASSERT_EQ(counters.fetches[0] + counters.fetches[1], begun_);
        memory_check(memory_);
    }
    void totals()
    {
        struct memory_counters counters;
        memory_counters(memory_, &counters);
        EXPECT_EQ(counters.storage_bytes, bytes_);
        EXPECT_EQ(counters.device_bytes, copied_);
        EXPECT_EQ(counters.failures, failures_);
        EXPECT_EQ(landed_ + failures_ + cancelled_, begun_);
        EXPECT_EQ(counters.evictions[MEMORY_HOST], evictions_[MEMORY_HOST]);
        EXPECT_EQ(counters.evictions[MEMORY_DEVICE], evictions_[MEMORY_DEVICE]);
        EXPECT_GT(landed_, 0u);
    }

    struct Handle {
        enum memory_tier tier;
        page_id page;
        struct transfer transfer;
    };
    Setting setting_;
    ToyStore toy_;
    scratch::Random random_;
    struct memory *memory_ = nullptr;
    const struct store *store_ = nullptr;
    bool has_host_ = false, is_cut_ = false;
    uint64_t cut_at_ = 0;
    std::vector<Belief> belief_[MEMORY_TIERS];
    std::vector<uint32_t> slots_[MEMORY_TIERS];
    std::vector<Handle> handles_;
    uint64_t begun_ = 0, landed_ = 0, failures_ = 0, cancelled_ = 0, bytes_ = 0, copied_ = 0;
    uint64_t evictions_[MEMORY_TIERS] = {0, 0};
};

const Setting settings[] = {
    {"one_slot_sync", {5}, {1}, {}, IO_SYNC, 1, 0, 4},
    {"one_slot_each_thread", {4, 5}, {1, 1}, {1, 1}, IO_THREAD, 1, 0, 2},
    {"direct_thread", {20}, {6}, {}, IO_THREAD, 4, 0, 3},
    {"ring", {20}, {6}, {}, IO_AUTO, 4, 0, 3},
    {"ring_of_one_slot", {4, 5}, {1, 1}, {1, 1}, IO_AUTO, 1, 0, 2},
    {"ring_landed", {9, 9}, {6, 5}, {2, 1}, IO_AUTO, 6, 3000000, 6, true},
    {"thread_landed", {9, 9}, {6, 5}, {}, IO_THREAD, 4, 0, 6, true},
    {"host_sync", {16}, {4}, {8}, IO_SYNC, 2, 0, 8, true},
    {"host_thread_slow_copies", {16}, {4}, {7}, IO_THREAD, 3, 20000000, 5},
    {"host_smaller_than_device", {9, 9}, {6, 5}, {2, 1}, IO_THREAD, 2, 3000000, 6},
    {"three_classes_slow_copies", {8, 6, 7}, {3, 2, 4}, {4, 6, 3}, IO_THREAD, 4, 10000000, 4},
    {"three_classes_sync_slow", {8, 6, 7}, {3, 2, 4}, {4, 6, 3}, IO_SYNC, 3, 10000000, 4},
};

class MemoryRandom : public testing::TestWithParam<Setting> {};

TEST_P(MemoryRandom, AgreesWithTheModel)
{
    uint64_t failures = 0, cancelled = 0, landed = 0;
    for (uint64_t seed = 1; seed <= 2 && !HasFailure(); seed++) {
        SCOPED_TRACE("seed " + std::to_string(seed));
        Simulation simulation(GetParam(), seed);
        simulation.run(5000);
        simulation.fetch_some();
        landed += simulation.landed();
        failures += simulation.failures();
        cancelled += simulation.cancelled();
    }
    /* The interesting things really happened. */
    EXPECT_GT(failures, 0u);
    if (GetParam().copy_ns_per_mib > 0) {
        EXPECT_GT(cancelled, 0u);
    }
    printf("%lu landed, %lu failed, %lu cancelled\n", (unsigned long)landed,
           (unsigned long)failures, (unsigned long)cancelled);
}

INSTANTIATE_TEST_SUITE_P(Settings, MemoryRandom, testing::ValuesIn(settings),
                         [](const auto &setting) { return std::string(setting.param.name); });

} // namespace
