#include "memory/memory.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "memory/base/clock.h"
#include "memory/device.h"
#include "tests/memory/fake_io.h"
#include "tests/memory/toy_store.h"

namespace {

class Memory : public testing::Test {
protected:
    Memory() : toy_({6, 5}) {}
    ~Memory() override
    {
        memory_close(memory_);
        device_close(config_.device);
    }
    /* The same number of slots in each class. */
    enum status open(uint32_t device_slots, uint32_t host_slots, uint64_t copy_ns_per_mib = 0,
                     size_t arena_bytes = 1 << 20)
    {
        for (uint32_t c = 0; c < 2; c++) {
            config_.slots[MEMORY_DEVICE].of_class[c] = device_slots;
            config_.slots[MEMORY_HOST].of_class[c] = host_slots;
        }
        if (!config_.device) {
            EXPECT_EQ(device_host_open(&config_.device, arena_bytes, copy_ns_per_mib, nullptr), 0);
        }
        error_ = {};
        enum status status = memory_open(&memory_, toy_.store, &config_, &error_);
        if (status == STATUS_OK) {
            store_ = toy_.release();
            config_.device = nullptr; /* both are the memory's now */
        }
        return status;
    }
    std::vector<memory_event> poll(uint64_t wait_ns = 0)
    {
        std::vector<memory_event> events(16);
        events.resize(memory_poll(memory_, wait_ns, events.data(), 16));
        return events;
    }
    /* Fetches and waits; the event's status. */
    enum status bring(page_id page, enum memory_tier tier = MEMORY_DEVICE)
    {
        enum status status =
            memory_fetch(memory_, tier, page, URGENCY_DEMAND, nullptr, nullptr);
        if (status)
            return status;
        for (int i = 0; i < 1000; i++)
            for (const memory_event &event : poll(1000000000))
                if (event.page == page && event.tier == tier)
                    return event.status;
        return STATUS_DEADLINE;
    }
    bool reads_directly() const
    {
        return strstr(memory_reads(memory_)->name, "+direct") != nullptr;
    }
    struct memory_counters counters()
    {
        struct memory_counters out;
        memory_counters(memory_, &out);
        return out;
    }

    ToyStore toy_;
    struct memory_config config_ = {};
    struct memory *memory_ = nullptr;
    const struct store *store_ = nullptr;
    struct error error_ = {};
};

class MemoryOfEachIo : public Memory, public testing::WithParamInterface<enum io_kind> {
protected:
    MemoryOfEachIo() { config_.io = GetParam(); }
};

TEST_P(MemoryOfEachIo, OneSlotOfEachClassServesEveryPage)
{
    ASSERT_EQ(open(1, 1), STATUS_OK) << error_.text;
    uint64_t bytes = 0, slot_bytes = 0;
    for (int round = 0; round < 3; round++)
        for (page_id page = 0; page < store_pages(store_); page++) {
            ASSERT_EQ(bring(page), STATUS_OK) << memory_error(memory_);
            ASSERT_EQ(memory_where(memory_, MEMORY_DEVICE, page), SLOT_READY);
            EXPECT_TRUE(toy_.holds(store_, page, memory_pin(memory_, page)));
            EXPECT_EQ(memory_pins(memory_, page), 1u);
            memory_unpin(memory_, page);
            memory_evict(memory_, MEMORY_DEVICE, page);
            memory_evict(memory_, MEMORY_HOST, page);
            bytes += store_page(store_, page)->file_bytes;
            slot_bytes += store_page(store_, page)->slot_bytes;
        }
    EXPECT_EQ(counters().storage_bytes, bytes);
    EXPECT_EQ(counters().storage_reads, 3u * 3 * store_pages(store_));
    if (reads_directly()) {
        EXPECT_GT(counters().storage_rounding_bytes, 0u);
        EXPECT_LT(counters().storage_rounding_bytes, counters().storage_reads * 2 * 4096);
    } else {
        EXPECT_EQ(counters().storage_rounding_bytes, 0u);
    }
    EXPECT_EQ(counters().device_bytes, slot_bytes);
    EXPECT_EQ(counters().evictions[MEMORY_DEVICE], 3u * store_pages(store_));
    EXPECT_EQ(counters().ready[MEMORY_DEVICE], 0u);
    memory_check(memory_);
}

/* What the kernel says that this process has read from disks; 0: it does not say. */
uint64_t kernel_read_bytes()
{
    std::ifstream io("/proc/self/io");
    std::string key;
    uint64_t value = 0;
    while (io >> key >> value)
        if (key == "read_bytes:")
            return value;
    return 0;
}

/* Nothing is read but what is counted. A file system may read some blocks of its own besides. */
TEST_P(MemoryOfEachIo, TheKernelCountsTheSame)
{
    ASSERT_EQ(open(6, 0), STATUS_OK) << error_.text;
    if (!reads_directly())
        GTEST_SKIP() << memory_reads(memory_)->name << " reads through the page cache";
    ASSERT_EQ(bring(0), STATUS_OK); /* writes the toy's bytes out, finds its blocks */
    struct memory_counters before = counters();
    uint64_t kernel = kernel_read_bytes();
    for (page_id page = 1; page < store_pages(store_); page++)
        ASSERT_EQ(bring(page), STATUS_OK);
    kernel = kernel_read_bytes() - kernel;
    if (kernel == 0)
        GTEST_SKIP() << "the kernel does not count reads of this file system";
    uint64_t counted = counters().storage_bytes + counters().storage_rounding_bytes -
                       before.storage_bytes - before.storage_rounding_bytes;
    EXPECT_GE(kernel, counted - 4096); /* the last read is cut at the end of the file */
    EXPECT_LE(kernel, counted + 65536);
}

TEST_P(MemoryOfEachIo, HitsReadNothing)
{
    ASSERT_EQ(open(6, 0), STATUS_OK) << error_.text;
    EXPECT_FALSE(memory_has_host(memory_));
    EXPECT_EQ(memory_where(memory_, MEMORY_HOST, 0), SLOT_FREE);
    EXPECT_EQ(memory_slots(memory_, MEMORY_HOST, 0), 0u);
    EXPECT_EQ(memory_sweep(memory_, MEMORY_HOST, 0), PAGE_NONE);
    uint64_t bytes = 0;
    for (page_id page = 0; page < store_pages(store_); page++) {
        ASSERT_EQ(bring(page), STATUS_OK);
        bytes += store_page(store_, page)->file_bytes;
    }
    for (int round = 0; round < 5; round++)
        for (page_id page = 0; page < store_pages(store_); page++) {
            EXPECT_TRUE(toy_.holds(store_, page, memory_pin(memory_, page)));
            memory_unpin(memory_, page);
        }
    EXPECT_EQ(counters().storage_bytes, bytes);
    EXPECT_EQ(counters().device_bytes, 0u);
    EXPECT_EQ(counters().ready[MEMORY_DEVICE], store_pages(store_));
    EXPECT_EQ(counters().ready_bytes[MEMORY_DEVICE], store_total_slot_bytes(store_));
}

TEST_P(MemoryOfEachIo, ACutFileFailsThePageAndARetryWorks)
{
    ASSERT_EQ(open(2, 2), STATUS_OK);
    EXPECT_STREQ(memory_error(memory_), "");
    toy_.truncate(5000);
    page_id last = store_pages(store_) - 1;
    EXPECT_EQ(bring(last), STATUS_IO);
    uint64_t first = store_page(store_, last)->part[0].offset;
    std::string sentence = memory_error(memory_);
    for (const std::string &word : {toy_.folder.path("weights"), std::string("page 10"),
                                    "offset " + std::to_string(first), std::string("truncated")})
        EXPECT_NE(sentence.find(word), std::string::npos) << sentence;
    EXPECT_EQ(memory_where(memory_, MEMORY_DEVICE, last), SLOT_FREE);
    EXPECT_EQ(memory_where(memory_, MEMORY_HOST, last), SLOT_FREE);
    EXPECT_EQ(counters().failures, 1u);
    toy_.restore(5000);
    ASSERT_EQ(bring(last), STATUS_OK);
    EXPECT_TRUE(toy_.holds(store_, last, memory_pin(memory_, last)));
    memory_unpin(memory_, last);
}

TEST_P(MemoryOfEachIo, CloseWaitsForWhatIsUnderWay)
{
    for (int round = 0; round < 5; round++) {
        ToyStore toy({8, 8}, 3);
        struct memory_config config = {};
        config.io = GetParam();
        for (uint32_t c = 0; c < 2; c++)
            config.slots[MEMORY_DEVICE].of_class[c] = config.slots[MEMORY_HOST].of_class[c] = 8;
        ASSERT_EQ(device_host_open(&config.device, 1 << 20, 500000, nullptr), STATUS_OK);
        struct memory *memory;
        ASSERT_EQ(memory_open(&memory, toy.store, &config, nullptr), STATUS_OK);
        toy.release();
        for (page_id page = 0; page < 16; page++)
            memory_fetch(memory, MEMORY_DEVICE, page,
                         page % 2 ? URGENCY_PREFETCH : URGENCY_DEMAND, nullptr, nullptr);
        struct memory_event event;
        for (int i = 0; i < round; i++)
            memory_poll(memory, 1000000, &event, 1);
        memory_close(memory);
    }
}

INSTANTIATE_TEST_SUITE_P(Io, MemoryOfEachIo, testing::Values(IO_AUTO, IO_THREAD, IO_SYNC),
                         [](const auto &kind) {
                             return kind.param == IO_AUTO     ? "auto"
                                    : kind.param == IO_THREAD ? "thread"
                                                              : "sync";
                         });

TEST_F(Memory, PollWaitsForTheFirstEndOnly)
{
    ASSERT_EQ(open(2, 2, 2000000000), STATUS_OK); /* 2 s per MiB: 10 to 20 ms a page */
    uint64_t begin = clock_now_ns();
    EXPECT_TRUE(poll(UINT64_MAX).empty()); /* nothing under way: nothing to wait for */
    EXPECT_LT(clock_now_ns() - begin, 1000000000u);
    ASSERT_EQ(memory_fetch(memory_, MEMORY_DEVICE, 0, URGENCY_DEMAND, nullptr, nullptr), 0);
    ASSERT_EQ(memory_fetch(memory_, MEMORY_DEVICE, 1, URGENCY_DEMAND, nullptr, nullptr), 0);
    begin = clock_now_ns();
    EXPECT_TRUE(poll(2000000).empty());
    EXPECT_GE(clock_now_ns() - begin, 1900000u);
    std::vector<memory_event> events = poll(UINT64_MAX);
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].page, 0u);
    EXPECT_EQ(counters().in_flight, 1u);
    ASSERT_EQ(poll(UINT64_MAX).size(), 1u);
    EXPECT_TRUE(toy_.holds(store_, 1, memory_pin(memory_, 1)));
}

/* Two reads have failed when the caller looks: it is told of them one call at a time, each with its
 * own sentence. */
TEST_F(Memory, AFailureIsTheLastEventOfItsPoll)
{
    FakeIo io;
    config_.custom_io = &io.io;
    ASSERT_EQ(open(6, 6), STATUS_OK) << error_.text;
    for (page_id page : {0u, 2u, 3u, 1u})
        ASSERT_EQ(memory_fetch(memory_, MEMORY_HOST, page, URGENCY_DEMAND, nullptr, nullptr), 0);
    ASSERT_EQ(memory_fetch(memory_, MEMORY_DEVICE, 2, URGENCY_DEMAND, nullptr, nullptr), 0);
    io.end(0);
    io.end(2, EIO);
    io.end(3, EIO);
    io.end(1);
    auto pages = [](const std::vector<memory_event> &events) {
        std::vector<page_id> out;
        for (const memory_event &event : events)
            out.push_back(event.page);
        return out;
    };
    EXPECT_EQ(pages(poll()), (std::vector<page_id>{0, 2, 2})); /* of both tiers */
    EXPECT_EQ(std::string(memory_error(memory_)).find("cannot read page 2:"), 0u);
    EXPECT_EQ(pages(poll()), (std::vector<page_id>{3}));
    EXPECT_EQ(std::string(memory_error(memory_)).find("cannot read page 3:"), 0u);
    EXPECT_EQ(pages(poll()), (std::vector<page_id>{1}));
    memory_close(memory_); /* while the io lives */
    memory_ = nullptr;
}

TEST_F(Memory, ACustomIoIsUsedAndClosed)
{
    FakeIo io;
    config_.custom_io = &io.io;
    config_.io_depth = 2;
    ASSERT_EQ(open(4, 0), STATUS_OK);
    ASSERT_EQ(memory_fetch(memory_, MEMORY_DEVICE, 0, URGENCY_PREFETCH, nullptr, nullptr), 0);
    ASSERT_EQ(memory_fetch(memory_, MEMORY_DEVICE, 2, URGENCY_PREFETCH, nullptr, nullptr), 0);
    EXPECT_EQ(counters().in_flight, 1u);
    EXPECT_EQ(counters().queued[URGENCY_PREFETCH], 1u);
    ASSERT_EQ(memory_fetch(memory_, MEMORY_DEVICE, 4, URGENCY_DEMAND, nullptr, nullptr), 0);
    EXPECT_EQ(io.order(), (std::vector<page_id>{0, 4}));
    io.end_at_poll = true;
    memory_close(memory_);
    memory_ = nullptr;
    EXPECT_TRUE(io.close_seen);
    EXPECT_TRUE(io.under_way.empty());
}

/* Half of the places are prefetch's: enough for every thread, whatever their number. */
TEST_F(Memory, TheDefaultDepthGrowsWithTheThreads)
{
    const uint32_t prefetches[][2] = {{0, 4}, {4, 4}, {5, 5}}; /* threads, reads begun */
    for (const uint32_t *expected : prefetches) {
        ToyStore toy({6, 5});
        FakeIo io;
        struct memory_config config = {};
        config.io_threads = expected[0];
        config.custom_io = &io.io;
        for (uint32_t c = 0; c < 2; c++)
            config.slots[MEMORY_DEVICE].of_class[c] = 6;
        ASSERT_EQ(device_host_open(&config.device, 1 << 20, 0, nullptr), STATUS_OK);
        struct memory *memory;
        ASSERT_EQ(memory_open(&memory, toy.store, &config, nullptr), STATUS_OK);
        struct store *store = toy.release();
        for (page_id page = 0; page < store_pages(store); page++)
            ASSERT_EQ(memory_fetch(memory, MEMORY_DEVICE, page, URGENCY_PREFETCH, nullptr,
                                   nullptr), STATUS_OK);
        EXPECT_EQ(io.under_way.size(), expected[1]) << expected[0] << " threads";
        io.end_at_poll = true;
        memory_close(memory);
    }
}

TEST_F(Memory, SweepSeesEachPageThatMayGo)
{
    ASSERT_EQ(open(5, 0), STATUS_OK);
    std::vector<page_id> large;
    for (page_id page = 0; page < store_pages(store_); page++)
        if (store_page(store_, page)->size_class == 1)
            large.push_back(page);
    for (page_id page : large)
        ASSERT_EQ(bring(page), STATUS_OK);
    memory_pin(memory_, large[2]);
    std::set<page_id> seen;
    for (uint32_t i = 0; i < memory_slots(memory_, MEMORY_DEVICE, 1); i++)
        seen.insert(memory_sweep(memory_, MEMORY_DEVICE, 1));
    EXPECT_EQ(seen, (std::set<page_id>{large[0], large[1], large[3], large[4]}));
    EXPECT_EQ(memory_sweep(memory_, MEMORY_DEVICE, 0), PAGE_NONE);
}

TEST_F(Memory, OpenNamesWhatIsWrong)
{
    auto expect = [this](std::initializer_list<const char *> words) {
        for (const char *word : words)
            EXPECT_NE(std::string(error_.text).find(word), std::string::npos) << error_.text;
        EXPECT_EQ(memory_, nullptr);
    };
    EXPECT_EQ(open(0, 0, 0, 64 << 10), STATUS_INVALID);
    expect({"device tier", "6 pages", "8192 bytes"});
    config_.slots[MEMORY_HOST] = {};
    for (uint32_t c = 0; c < 2; c++)
        config_.slots[MEMORY_DEVICE].of_class[c] = 1;
    config_.slots[MEMORY_HOST].of_class[0] = 1;
    error_ = {};
    EXPECT_EQ(memory_open(&memory_, toy_.store, &config_, &error_), STATUS_INVALID);
    expect({"host tier", "5 pages", "12288 bytes"});
    EXPECT_EQ(open(100, 0), STATUS_NO_MEMORY); /* no more than there are pages: 6 and 5 */
    expect({"110592 bytes", "device tier", "108.0 KiB"});
    /* What was lent is still the caller's, and good. */
    EXPECT_EQ(open(2, 2), STATUS_OK) << error_.text;
    memory_close(nullptr);
}

TEST_F(Memory, AFailedOpenLeavesTheCustomIoToItsOwner)
{
    FakeIo io;
    config_.custom_io = &io.io;
    EXPECT_EQ(open(0, 0), STATUS_INVALID);
    EXPECT_FALSE(io.close_seen);
}

TEST_F(Memory, ADeviceThatStorageCannotReachNeedsAHostTier)
{
    ASSERT_EQ(device_host_open(&config_.device, 1 << 20, 0, nullptr), STATUS_OK);
    const struct device_ops *real = config_.device->ops;
    struct device_ops hidden = *real;
    hidden.name = "far";
    hidden.host_visible = false;
    config_.device->ops = &hidden;
    EXPECT_EQ(open(2, 0), STATUS_INVALID);
    EXPECT_NE(std::string(error_.text).find("far device"), std::string::npos) << error_.text;
    EXPECT_EQ(open(2, 2), STATUS_OK);
    EXPECT_EQ(bring(3), STATUS_OK);
    memory_close(memory_); /* while `hidden` lives */
    memory_ = nullptr;
}

TEST_F(Memory, AModelWithoutPagesOpens)
{
    struct store *empty;
    ASSERT_EQ(store_open(&empty, nullptr), STATUS_OK);
    ASSERT_EQ(store_seal(empty, nullptr), STATUS_OK);
    ASSERT_EQ(device_host_open(&config_.device, 0, 0, nullptr), STATUS_OK);
    ASSERT_EQ(memory_open(&memory_, empty, &config_, &error_), STATUS_OK) << error_.text;
    config_.device = nullptr;
    EXPECT_TRUE(poll(1000000).empty());
    memory_check(memory_);
}

TEST_F(Memory, HostPagesCanBePinnedByWhoComputesThere)
{
    config_.io = IO_SYNC;
    ASSERT_EQ(open(2, 3), STATUS_OK);
    ASSERT_EQ(bring(0, MEMORY_HOST), STATUS_OK);
    const uint8_t *slot = memory_pin_host(memory_, 0);
    EXPECT_TRUE(toy_.holds(store_, 0, slot));
    EXPECT_EQ(memory_pin_host(memory_, 0), slot);
    EXPECT_FALSE(memory_evictable(memory_, MEMORY_HOST, 0));
    EXPECT_EQ(memory_sweep(memory_, MEMORY_HOST, 0), PAGE_NONE);
    EXPECT_EQ(bring(0), STATUS_OK) << "it can be copied all the same";
    EXPECT_EQ(memory_pins(memory_, 0), 0u) << "these are the device tier's";
    memory_unpin_host(memory_, 0);
    EXPECT_FALSE(memory_evictable(memory_, MEMORY_HOST, 0));
    memory_unpin_host(memory_, 0);
    EXPECT_TRUE(memory_evictable(memory_, MEMORY_HOST, 0));
    memory_check(memory_);
    EXPECT_DEATH(memory_unpin_host(memory_, 0), "no pin of the caller's");
    EXPECT_DEATH(memory_pin_host(memory_, 1), "FREE");
}

/* The pin of a copy under way is not the caller's to take. */
TEST_F(Memory, TheSourceOfACopyKeepsItsPin)
{
    config_.io = IO_SYNC;
    ASSERT_EQ(open(2, 2, 2000000000), STATUS_OK); /* a copy takes 10 ms */
    ASSERT_EQ(bring(0, MEMORY_HOST), STATUS_OK);
    ASSERT_EQ(memory_fetch(memory_, MEMORY_DEVICE, 0, URGENCY_DEMAND, nullptr, nullptr), 0);
    ASSERT_EQ(memory_where(memory_, MEMORY_DEVICE, 0), SLOT_LOADING);
    EXPECT_DEATH(memory_unpin_host(memory_, 0), "no pin of the caller's");
    memory_pin_host(memory_, 0);
    memory_unpin_host(memory_, 0);
    memory_check(memory_);
}

TEST_F(Memory, ATierGrowsAndShrinksWhileOpen)
{
    config_.io = IO_SYNC;
    ASSERT_EQ(open(2, 2), STATUS_OK);
    std::vector<page_id> small;
    for (page_id page = 0; page < store_pages(store_); page++)
        if (store_page(store_, page)->size_class == 0)
            small.push_back(page);
    ASSERT_EQ(bring(small[0]), STATUS_OK);
    ASSERT_EQ(bring(small[1]), STATUS_OK);
    EXPECT_EQ(bring(small[2]), STATUS_FULL);
    struct tier_slots slots = {};
    slots.of_class[0] = 6;
    slots.of_class[1] = 1;
    for (enum memory_tier tier : {MEMORY_HOST, MEMORY_DEVICE})
        ASSERT_EQ(memory_resize(memory_, tier, &slots, 0, &error_), STATUS_OK) << error_.text;
    EXPECT_EQ(memory_slots(memory_, MEMORY_DEVICE, 0), 6u);
    EXPECT_EQ(memory_slots(memory_, MEMORY_HOST, 1), 1u);
    for (page_id page : small)
        if (memory_where(memory_, MEMORY_DEVICE, page) != SLOT_READY) {
            ASSERT_EQ(bring(page), STATUS_OK);
        }
    struct memory_counters now;
    memory_counters(memory_, &now);
    EXPECT_EQ(now.ready[MEMORY_DEVICE], 6u);
    slots.of_class[0] = 1;
    ASSERT_EQ(memory_resize(memory_, MEMORY_DEVICE, &slots, 0, &error_), STATUS_OK);
    memory_counters(memory_, &now);
    EXPECT_EQ(now.ready[MEMORY_DEVICE], 1u);
    EXPECT_EQ(now.evictions[MEMORY_DEVICE], 5u);
    EXPECT_EQ(memory_where(memory_, MEMORY_DEVICE, small[0]), SLOT_READY) << "from the end";
    const uint8_t *slot = memory_pin(memory_, small[0]);
    EXPECT_TRUE(toy_.holds(store_, small[0], slot));
    EXPECT_DEATH(memory_resize(memory_, MEMORY_DEVICE, &slots, 0, nullptr), "CHECK");
    memory_unpin(memory_, small[0]);
    slots.of_class[0] = 0;
    EXPECT_DEATH(memory_resize(memory_, MEMORY_DEVICE, &slots, 0, nullptr), "CHECK");
    slots.of_class[0] = 7;
    EXPECT_DEATH(memory_resize(memory_, MEMORY_DEVICE, &slots, 0, nullptr), "6 pages, not 7");
}

TEST_F(Memory, AResizeThatDoesNotFitChangesNothing)
{
    ASSERT_EQ(open(2, 2, 0, 40960), STATUS_OK); /* two of 8192 and two of 12288 */
    ASSERT_EQ(bring(0), STATUS_OK);
    struct tier_slots slots = {};
    slots.of_class[0] = 3;
    slots.of_class[1] = 1;
    EXPECT_EQ(memory_resize(memory_, MEMORY_DEVICE, &slots, 0, &error_), STATUS_NO_MEMORY);
    EXPECT_NE(std::string(error_.text).find("device tier of 36864 bytes"), std::string::npos)
        << error_.text;
    EXPECT_EQ(memory_slots(memory_, MEMORY_DEVICE, 0), 2u);
    EXPECT_EQ(memory_slots(memory_, MEMORY_DEVICE, 1), 2u);
    EXPECT_EQ(memory_where(memory_, MEMORY_DEVICE, 0), SLOT_READY);
    memory_check(memory_);
}

using MemoryDeathTest = Memory;

/* Reads from storage know no fences. */
TEST_F(MemoryDeathTest, FencesNeedAHostTier)
{
    config_.io = IO_SYNC;
    ASSERT_EQ(open(2, 0), STATUS_OK);
    ASSERT_EQ(bring(0), STATUS_OK);
    EXPECT_DEATH(memory_evict_after(memory_, 0, 1), "fence 1 on a device tier");
    memory_evict_after(memory_, 0, 0);
    EXPECT_EQ(memory_where(memory_, MEMORY_DEVICE, 0), SLOT_FREE);
    EXPECT_DEATH(memory_pin_host(memory_, 0), "has_host");
    struct tier_slots slots = {};
    slots.of_class[0] = slots.of_class[1] = 1;
    EXPECT_DEATH(memory_resize(memory_, MEMORY_DEVICE, &slots, 1, nullptr), "fence 1");
    EXPECT_DEATH(memory_resize(memory_, MEMORY_HOST, &slots, 0, nullptr), "CHECK");
}

TEST_F(MemoryDeathTest, MisuseIsABug)
{
    config_.io = IO_SYNC;
    ASSERT_EQ(open(2, 0), STATUS_OK);
    EXPECT_DEATH(memory_pin(memory_, 0), "FREE");
    EXPECT_DEATH(memory_fetch(memory_, MEMORY_HOST, 0, URGENCY_DEMAND, nullptr, nullptr), "CHECK");
    EXPECT_DEATH(memory_fetch(memory_, MEMORY_DEVICE, 99, URGENCY_DEMAND, nullptr, nullptr),
                 "CHECK");
    ASSERT_EQ(bring(0), STATUS_OK);
    EXPECT_DEATH(memory_unpin(memory_, 0), "CHECK");
    memory_pin(memory_, 0);
    EXPECT_DEATH(memory_evict(memory_, MEMORY_DEVICE, 0), "pins");
    EXPECT_DEATH(memory_evict(memory_, MEMORY_HOST, 0), "CHECK");
}

} // namespace
