#include "memory/io.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <future>
#include <mutex>
#include <vector>

#include "memory/base/clock.h"
#include "memory/device.h"
#include "memory/memory.h"
#include "tests/memory/files.h"
#include "tests/memory/toy_store.h"

namespace {

constexpr uint64_t long_ns = 10000000000u; /* to wait for what comes at once unless it is broken */

/* A pread that keeps a list of its calls and holds those that the test has named, so that order is
 * seen and nothing depends on the time that storage takes. One at a time: pread has no room for a
 * `this`. */
class Gate {
public:
    struct Call {
        uint64_t offset;
        uint64_t bytes;
    };
    Gate() { gate = this; }
    ~Gate()
    {
        open_all();
        gate = nullptr;
    }
    static ssize_t pread_through(int fd, void *to, size_t bytes, off_t offset)
    {
        gate->pass({(uint64_t)offset, bytes});
        return pread(fd, to, bytes, offset);
    }
    /* The call at this offset of the file waits inside until it is let go. */
    void hold(uint64_t offset)
    {
        std::lock_guard<std::mutex> lock(mutex_);
        held_.push_back(offset);
    }
    void let_go(uint64_t offset)
    {
        std::lock_guard<std::mutex> lock(mutex_);
        held_.erase(std::remove(held_.begin(), held_.end(), offset), held_.end());
        changed_.notify_all();
    }
    void open_all()
    {
        std::lock_guard<std::mutex> lock(mutex_);
        held_.clear();
        changed_.notify_all();
    }
    /* Until a call at this offset has come. */
    void await(uint64_t offset)
    {
        std::unique_lock<std::mutex> lock(mutex_);
        ASSERT_TRUE(changed_.wait_for(lock, std::chrono::nanoseconds(long_ns), [&] {
            return std::any_of(calls_.begin(), calls_.end(),
                               [&](const Call &call) { return call.offset == offset; });
        })) << "no read at " << offset;
    }
    std::vector<Call> calls()
    {
        std::lock_guard<std::mutex> lock(mutex_);
        return calls_;
    }

private:
    void pass(Call call)
    {
        std::unique_lock<std::mutex> lock(mutex_);
        calls_.push_back(call);
        changed_.notify_all();
        changed_.wait(lock, [&] {
            return std::find(held_.begin(), held_.end(), call.offset) == held_.end();
        });
    }
    static Gate *gate;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<uint64_t> held_;
    std::vector<Call> calls_;
};
Gate *Gate::gate = nullptr;

struct io_config through_gate(const Files &files, uint32_t threads, uint32_t depth)
{
    struct io_config config = {};
    config.files = files.get();
    config.threads = threads;
    config.depth = depth;
    config.pread_function = Gate::pread_through;
    return config;
}

class IoThread : public testing::Test {
protected:
    explicit IoThread(bool landed = false) : toy_({40}, 1, landed) {}
    void race();
    ~IoThread() override
    {
        gate_.open_all();
        io_close(io_);
    }
    void open(uint32_t threads, uint32_t depth)
    {
        struct error error = {};
        struct io_config config = through_gate(files_, threads, depth);
        ASSERT_EQ(io_thread_open(&io_, &config, &error), STATUS_OK) << error.text;
        slots_.assign(depth, std::vector<uint8_t>(store_class_slot_bytes(toy_.store, 0)));
    }
    void submit(uint32_t tag, page_id page, bool demand)
    {
        struct io_request request = {tag, page, demand, toy_.store, slots_[tag].data()};
        page_in_.resize(slots_.size());
        page_in_[tag] = page;
        io_->ops->submit(io_, &request);
    }
    void prefetch(uint32_t tag, page_id page) { submit(tag, page, false); }
    void demand(uint32_t tag, page_id page) { submit(tag, page, true); }
    /* The tag of the next request that ends; whole, every byte in its place and counted. */
    uint32_t ended()
    {
        struct io_done done = {};
        EXPECT_TRUE(io_->ops->poll(io_, &done, long_ns)) << "nothing ends";
        EXPECT_EQ(done.cause, 0);
        EXPECT_EQ(done.bytes, store_page(toy_.store, page_in_[done.tag])->file_bytes);
        EXPECT_TRUE(toy_.holds(toy_.store, page_in_[done.tag], slots_[done.tag].data()));
        return done.tag;
    }
    bool none_ended()
    {
        struct io_done done;
        return !io_->ops->poll(io_, &done, 0);
    }
    /* Where part `part` of a page begins in the file. */
    uint64_t at(page_id page, uint32_t part) const
    {
        return store_page(toy_.store, page)->part[part].offset;
    }
    /* The pages of all read calls, in order; a run of calls for one page once. */
    std::vector<page_id> order()
    {
        std::vector<page_id> pages;
        for (const Gate::Call &call : gate_.calls())
            for (page_id page = 0; page < store_pages(toy_.store); page++)
                for (uint32_t part = 0; part < 3; part++)
                    if (call.offset == at(page, part) && (pages.empty() || pages.back() != page))
                        pages.push_back(page);
        return pages;
    }
    using Pages = std::vector<page_id>;

    ToyStore toy_;
    Files files_{toy_.store};
    Gate gate_;
    struct io *io_ = nullptr;
    std::vector<std::vector<uint8_t>> slots_;
    std::vector<page_id> page_in_; /* [tag] */
};

TEST_F(IoThread, ReadsManyPagesThroughFewPlaces)
{
    open(3, 4);
    EXPECT_STREQ(io_->ops->name, "thread");
    page_id next = 0;
    for (uint32_t tag = 0; tag < 4; tag++, next++)
        submit(tag, next, next % 3 == 0);
    for (uint32_t count = 0; count < 40; count++) {
        uint32_t tag = ended();
        ASSERT_FALSE(HasFailure());
        if (next < 40) {
            submit(tag, next, next % 3 == 0);
            next++;
        }
    }
    EXPECT_TRUE(none_ended());
}

TEST_F(IoThread, PollWaitsNoLongerThanAsked)
{
    open(1, 1);
    struct io_done done;
    EXPECT_FALSE(io_->ops->poll(io_, &done, 0));
    uint64_t begin = clock_now_ns();
    EXPECT_FALSE(io_->ops->poll(io_, &done, 10000000));
    EXPECT_GE(clock_now_ns() - begin, 9000000u);
}

TEST_F(IoThread, ReportsACutFileAndGoesOn)
{
    open(2, 2);
    toy_.truncate(20);
    demand(0, 7);
    struct io_done done;
    ASSERT_TRUE(io_->ops->poll(io_, &done, UINT64_MAX));
    EXPECT_EQ(done.cause, IO_END_OF_FILE);
    toy_.restore(20);
    prefetch(1, 7); /* would wait for ever if the failed demand still counted */
    EXPECT_EQ(ended(), 1u);
}

/* One thread: it leaves the prefetch after the call that it is in, reads the demand, comes back. */
TEST_F(IoThread, ADemandEndsBeforeAPrefetchThatHasBegun)
{
    open(1, 4);
    gate_.hold(at(3, 0));
    prefetch(0, 3);
    gate_.await(at(3, 0));
    prefetch(1, 4);
    demand(2, 5);
    demand(3, 6);
    gate_.let_go(at(3, 0));
    EXPECT_EQ(ended(), 2u);
    EXPECT_EQ(ended(), 3u);
    EXPECT_EQ(ended(), 0u);
    EXPECT_EQ(ended(), 1u);
    EXPECT_EQ(order(), (Pages{3, 5, 6, 3, 4}));
    EXPECT_EQ(gate_.calls().size(), 12u) << "what was read before the pause is not read again";
}

/* Two threads, one of them in a demand: the other stays free for the next demand. */
TEST_F(IoThread, APrefetchPausesWhileADemandIsUnderWayElsewhere)
{
    open(2, 4);
    gate_.hold(at(3, 0));
    gate_.hold(at(5, 0));
    prefetch(0, 3);
    gate_.await(at(3, 0));
    demand(1, 5);
    gate_.await(at(5, 0));
    gate_.let_go(at(3, 0)); /* from here on the prefetch's thread must not go on with it */
    demand(2, 6);
    EXPECT_EQ(ended(), 2u);
    demand(2, 7);
    EXPECT_EQ(ended(), 2u);
    EXPECT_EQ(order(), (Pages{3, 5, 6, 7}));
    EXPECT_TRUE(none_ended());
    gate_.let_go(at(5, 0));
    EXPECT_EQ(ended(), 1u);
    EXPECT_EQ(ended(), 0u);
    EXPECT_EQ(order(), (Pages{3, 5, 6, 7, 5, 3}));
}

TEST_F(IoThread, NoPrefetchBeginsWhileADemandIsUnderWay)
{
    open(2, 4);
    gate_.hold(at(5, 0));
    demand(0, 5);
    gate_.await(at(5, 0));
    prefetch(1, 3);
    demand(2, 6); /* the second thread passes the older prefetch over */
    EXPECT_EQ(ended(), 2u);
    gate_.let_go(at(5, 0));
    EXPECT_EQ(ended(), 0u);
    EXPECT_EQ(ended(), 1u);
    EXPECT_EQ(order(), (Pages{5, 6, 5, 3}));
}

TEST_F(IoThread, RaisedWhileItPausesItGoesOnAtOnce)
{
    open(2, 4);
    gate_.hold(at(3, 0));
    gate_.hold(at(5, 0));
    prefetch(0, 3);
    gate_.await(at(3, 0));
    demand(1, 5);
    gate_.await(at(5, 0));
    gate_.let_go(at(3, 0));
    demand(2, 6);
    EXPECT_EQ(ended(), 2u); /* read by the thread that had the prefetch: that one pauses */
    io_->ops->raise(io_, 0);
    EXPECT_EQ(ended(), 0u); /* while the demand is held still */
    EXPECT_EQ(order(), (Pages{3, 5, 6, 3}));
    gate_.let_go(at(5, 0));
    EXPECT_EQ(ended(), 1u);
    prefetch(2, 8); /* nobody counts as a demand any more */
    EXPECT_EQ(ended(), 2u);
}

TEST_F(IoThread, RaisedWhileItIsReadItDoesNotPause)
{
    open(2, 4);
    gate_.hold(at(3, 0));
    gate_.hold(at(5, 0));
    prefetch(0, 3);
    gate_.await(at(3, 0));
    demand(1, 5);
    gate_.await(at(5, 0));
    io_->ops->raise(io_, 0);
    io_->ops->raise(io_, 0); /* no more urgent than that */
    gate_.let_go(at(3, 0));
    EXPECT_EQ(ended(), 0u);
    gate_.let_go(at(5, 0));
    EXPECT_EQ(ended(), 1u);
    prefetch(0, 8);
    EXPECT_EQ(ended(), 0u);
    io_->ops->raise(io_, 0); /* ended, and the tag names nothing */
    prefetch(0, 9);
    EXPECT_EQ(ended(), 0u);
}

TEST_F(IoThread, ARaisedPrefetchMakesOthersPause)
{
    open(2, 4);
    gate_.hold(at(3, 0));
    gate_.hold(at(4, 0));
    prefetch(0, 3);
    prefetch(1, 4);
    gate_.await(at(3, 0));
    gate_.await(at(4, 0));
    io_->ops->raise(io_, 1);
    gate_.let_go(at(3, 0));
    demand(2, 6); /* seen to end: the first prefetch has left its thread */
    EXPECT_EQ(ended(), 2u);
    gate_.let_go(at(4, 0));
    EXPECT_EQ(ended(), 1u);
    EXPECT_EQ(ended(), 0u);
}

/* Two prefetches pause; when the demand has ended both threads go on, side by side. */
TEST_F(IoThread, AfterTheDemandsEveryThreadGoesOn)
{
    open(2, 4);
    for (page_id page : {3, 4, 5, 6})
        gate_.hold(at(page, 0));
    gate_.hold(at(3, 1));
    gate_.hold(at(4, 1));
    prefetch(0, 3);
    prefetch(1, 4);
    gate_.await(at(3, 0));
    gate_.await(at(4, 0));
    demand(2, 5);
    demand(3, 6);
    gate_.let_go(at(3, 0));
    gate_.let_go(at(4, 0));
    gate_.await(at(5, 0)); /* both threads are in demands: both prefetches pause */
    gate_.await(at(6, 0));
    gate_.let_go(at(5, 0));
    EXPECT_EQ(ended(), 2u);
    demand(2, 7); /* passes: its thread finds nothing else to do and sleeps when it has ended */
    EXPECT_EQ(ended(), 2u);
    gate_.let_go(at(6, 0));
    EXPECT_EQ(ended(), 3u);
    gate_.await(at(3, 1)); /* held both, so each has a thread of its own */
    gate_.await(at(4, 1));
    gate_.let_go(at(4, 1));
    EXPECT_EQ(ended(), 1u);
    gate_.let_go(at(3, 1));
    EXPECT_EQ(ended(), 0u);
}

/* Nothing but the chunk makes a long part of a prefetch give way; a demand has no chunks. */
TEST(IoThreadChunks, APrefetchAsksForOneChunkAtATime)
{
    const uint64_t part_bytes = 2 * IO_CHUNK_BYTES + 100;
    scratch::Folder folder;
    std::vector<uint8_t> bytes = scratch::noise(3, 2 * part_bytes);
    folder.write("weights", bytes);
    struct store *store;
    uint32_t file;
    page_id page;
    ASSERT_EQ(store_open(&store, nullptr), STATUS_OK);
    ASSERT_EQ(store_add_file(store, folder.path("weights").c_str(), &file, nullptr), STATUS_OK);
    for (uint64_t i = 0; i < 2; i++) {
        struct page_part part = {file, 0, i * part_bytes, part_bytes};
        ASSERT_EQ(store_add_page(store, &part, 1, &page, nullptr), STATUS_OK);
    }
    ASSERT_EQ(store_seal(store, nullptr), STATUS_OK);

    Gate gate;
    struct io *io;
    Files files(store);
    struct io_config config = through_gate(files, 1, 2);
    ASSERT_EQ(io_thread_open(&io, &config, nullptr), STATUS_OK);
    std::vector<uint8_t> guessed(part_bytes), needed(part_bytes);
    struct io_request prefetch = {0, 0, false, store, guessed.data()};
    struct io_request demand = {1, 1, true, store, needed.data()};
    gate.hold(IO_CHUNK_BYTES); /* the prefetch's second chunk */
    io->ops->submit(io, &prefetch);
    gate.await(IO_CHUNK_BYTES);
    io->ops->submit(io, &demand);
    gate.let_go(IO_CHUNK_BYTES);
    struct io_done done;
    for (uint32_t tag : {1, 0}) {
        ASSERT_TRUE(io->ops->poll(io, &done, long_ns));
        EXPECT_EQ(done.tag, tag);
        EXPECT_EQ(done.cause, 0);
        EXPECT_EQ(done.bytes, part_bytes);
        EXPECT_EQ(done.reads, tag == 0 ? 3u : 1u);
    }
    EXPECT_TRUE(std::equal(guessed.begin(), guessed.end(), bytes.begin()));
    EXPECT_TRUE(std::equal(needed.begin(), needed.end(), bytes.begin() + (long)part_bytes));
    std::vector<Gate::Call> calls = gate.calls();
    ASSERT_EQ(calls.size(), 4u);
    const Gate::Call expected[] = {{0, IO_CHUNK_BYTES},
                                   {IO_CHUNK_BYTES, IO_CHUNK_BYTES},
                                   {part_bytes, part_bytes},
                                   {2 * IO_CHUNK_BYTES, 100}};
    for (size_t i = 0; i < 4; i++) {
        EXPECT_EQ(calls[i].offset, expected[i].offset);
        EXPECT_EQ(calls[i].bytes, expected[i].bytes);
    }
    io_close(io);
    store_close(store);
}

/* Through the front door: memory_close waits for a demand under way and the prefetch that pauses
 * for it, and both get their time. */
TEST(IoThreadShutdown, ClosesWhileAPrefetchPauses)
{
    ToyStore toy({8});
    Gate gate;
    auto at = [&](page_id page) { return store_page(toy.store, page)->part[0].offset; };
    struct memory_config config = {};
    config.slots[MEMORY_DEVICE].of_class[0] = 8;
    config.io_depth = 4;
    Files files(toy.store);
    struct io_config gated = through_gate(files, 2, 4);
    ASSERT_EQ(io_thread_open(&config.custom_io, &gated, nullptr), STATUS_OK);
    ASSERT_EQ(device_host_open(&config.device, 8 * store_class_slot_bytes(toy.store, 0), 0,
                               nullptr), STATUS_OK);
    struct memory *memory;
    uint64_t first = at(0), second = at(1), third = at(2);
    ASSERT_EQ(memory_open(&memory, toy.store, &config, nullptr), STATUS_OK);
    toy.release();
    gate.hold(first);
    gate.hold(second);
    auto fetch = [&](page_id page, enum urgency urgency) {
        ASSERT_EQ(memory_fetch(memory, MEMORY_DEVICE, page, urgency, nullptr, nullptr), STATUS_OK);
    };
    fetch(0, URGENCY_PREFETCH);
    gate.await(first);
    fetch(1, URGENCY_DEMAND);
    gate.await(second);
    gate.let_go(first);
    fetch(2, URGENCY_DEMAND);
    gate.await(third); /* by the first thread: page 0 pauses */
    fetch(3, URGENCY_PREFETCH); /* in the queue, and never read */
    std::future<void> closed = std::async(std::launch::async, [&] { memory_close(memory); });
    EXPECT_EQ(closed.wait_for(std::chrono::milliseconds(20)), std::future_status::timeout);
    gate.let_go(second);
    ASSERT_EQ(closed.wait_for(std::chrono::nanoseconds(long_ns)), std::future_status::ready);
    EXPECT_EQ(gate.calls().size(), 9u) << "three pages, each whole";
}

/* What is staged: as if the file wanted multiples of 4096, and landed besides. */
class IoThreadStaged : public IoThread {
protected:
    IoThreadStaged() : IoThread(true) { files_.pretend(4096); }
};

/* Paused prefetches keep their buffers, and each thread finds one for a demand. */
TEST_F(IoThreadStaged, PausedPrefetchesLeaveBuffers)
{
    open(2, 6);
    EXPECT_GT(io_->staging_bytes, 0u);
    auto begin = [&](page_id page) { return at(page, 0) / 4096 * 4096; };
    for (page_id page : {3, 30, 7, 15})
        gate_.hold(begin(page));
    prefetch(0, 3);
    prefetch(1, 30);
    gate_.await(begin(3));
    gate_.await(begin(30));
    demand(2, 7);
    demand(3, 15);
    gate_.let_go(begin(3));
    gate_.let_go(begin(30));
    gate_.await(begin(7));
    gate_.await(begin(15)); /* four reads have begun */
    gate_.open_all();
    EXPECT_LT(ended(), 4u);
    EXPECT_LT(ended(), 4u);
    EXPECT_LT(ended(), 2u);
    EXPECT_LT(ended(), 2u);
    EXPECT_EQ(toy_.landing.parts, 12u);
}

TEST_F(IoThreadStaged, EndsEachOnceUnderRaces)
{
    race();
}

/* Nothing is held: requests, raises, pauses and ends race as they like. */
TEST_F(IoThread, EndsEachOnceUnderRaces)
{
    race();
}

void IoThread::race()
{
    open(3, 6);
    scratch::Random random(11);
    uint32_t submitted = 0, count = 0;
    std::vector<bool> free_tag(6, true);
    while (count < 600) {
        for (uint32_t tag = 0; tag < 6; tag++)
            if (free_tag[tag] && submitted < 600) {
                free_tag[tag] = false;
                submitted++;
                submit(tag, random.below(40), random.chance(40));
            }
        if (random.chance(50))
            io_->ops->raise(io_, random.below(6));
        uint32_t tag = ended();
        ASSERT_FALSE(free_tag[tag] || HasFailure());
        free_tag[tag] = true;
        count++;
    }
    EXPECT_TRUE(none_ended());
}

TEST_F(IoThread, ClosesWithNothingDone)
{
    open(8, 1);
    io_close(nullptr);
}

using IoThreadDeathTest = IoThread;

TEST_F(IoThreadDeathTest, MoreThanItsDepthIsABug)
{
    EXPECT_DEATH(
        {
            open(1, 1);
            gate_.hold(at(0, 0));
            demand(0, 0);
            demand(0, 1);
        },
        "CHECK");
}

} // namespace
