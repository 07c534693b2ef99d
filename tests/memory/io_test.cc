#include "memory/io.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <vector>

#include "tests/memory/toy_store.h"

namespace {

/* What the next calls of the scripted pread answer: > 0 at most that many bytes, < 0 an errno,
 * 0 end of file. An empty script reads as the system does. */
thread_local std::deque<int> script;

ssize_t scripted_pread(int fd, void *to, size_t bytes, off_t offset)
{
    if (script.empty())
        return pread(fd, to, bytes, offset);
    int answer = script.front();
    script.pop_front();
    if (answer < 0) {
        errno = -answer;
        return -1;
    }
    return pread(fd, to, std::min(bytes, (size_t)answer), offset);
}

class IoRead : public testing::Test {
protected:
    IoRead() : toy_({3}), slot_(store_class_slot_bytes(toy_.store, 0), 0xee) {}
    ~IoRead() override { script.clear(); }
    io_done read(std::deque<int> answers)
    {
        script = std::move(answers);
        struct io_request request = {5, 1, true, toy_.store, slot_.data()};
        struct io_done done;
        io_read(&request, scripted_pread, &done);
        return done;
    }
    const struct page *page() { return store_page(toy_.store, 1); }
    ToyStore toy_;
    std::vector<uint8_t> slot_;
};

TEST_F(IoRead, BringsEveryPartToItsPlace)
{
    struct io_done done = read({});
    EXPECT_EQ(done.tag, 5u);
    EXPECT_EQ(done.cause, 0);
    EXPECT_EQ(done.reads, 3u);
    EXPECT_EQ(done.bytes, page()->file_bytes);
    EXPECT_TRUE(toy_.holds(toy_.store, 1, slot_.data()));
    /* Nothing beside the parts was touched. */
    EXPECT_EQ(slot_[page()->part[0].bytes], 0xee);
    EXPECT_EQ(slot_[page()->slot_bytes], 0xee);
}

TEST_F(IoRead, ContinuesShortReads)
{
    struct io_done done = read({1, 999, 500, 3});
    EXPECT_EQ(done.cause, 0);
    EXPECT_EQ(done.bytes, page()->file_bytes);
    EXPECT_GT(done.reads, 5u);
    EXPECT_TRUE(toy_.holds(toy_.store, 1, slot_.data()));
}

/* What io_thread does with a prefetch: any time may pass between two steps. */
TEST_F(IoRead, StepsAskForNoMoreThanTheyMayAndStopAtParts)
{
    script = {-EINTR, 100, -EAGAIN};
    struct io_request request = {5, 1, false, toy_.store, slot_.data()};
    struct io_reading reading;
    io_reading_begin(&reading, &request);
    std::vector<uint64_t> bytes;
    bool more = true;
    while (more) {
        uint64_t before = reading.done.bytes;
        more = io_reading_step(&reading, scripted_pread, 900);
        bytes.push_back(reading.done.bytes - before);
    }
    /* Parts of 2000, 1001 and 2000 bytes. */
    EXPECT_EQ(bytes, (std::vector<uint64_t>{0, 100, 0, 900, 900, 100, 900, 101, 900, 900, 200}));
    EXPECT_EQ(reading.done.reads, bytes.size());
    EXPECT_EQ(reading.done.cause, 0);
    EXPECT_EQ(reading.done.bytes, page()->file_bytes);
    EXPECT_TRUE(toy_.holds(toy_.store, 1, slot_.data()));
}

TEST_F(IoRead, RepeatsInterruptedAndBusyCalls)
{
    struct io_done done = read({-EINTR, -EINTR, 100, -EAGAIN, -EINTR, 7, -EAGAIN});
    EXPECT_EQ(done.cause, 0);
    EXPECT_EQ(done.bytes, page()->file_bytes);
    EXPECT_TRUE(toy_.holds(toy_.store, 1, slot_.data()));
}

TEST_F(IoRead, GivesUpOnAFileThatStaysBusy)
{
    struct io_done done = read(std::deque<int>(60, -EAGAIN));
    EXPECT_EQ(done.cause, EAGAIN);
    EXPECT_EQ(done.bytes, 0u);
}

TEST_F(IoRead, TellsWhereItFailed)
{
    /* Part 0 comes whole, part 1 stops after 300 bytes. */
    struct io_done done = read({2000, 300, -EIO});
    EXPECT_EQ(done.cause, EIO);
    EXPECT_EQ(done.part, 1u);
    EXPECT_EQ(done.offset, page()->part[1].offset + 300);
    EXPECT_EQ(done.bytes, 2300u);
    EXPECT_EQ(done.reads, 3u);
}

TEST_F(IoRead, TellsTheEndOfAFile)
{
    uint64_t cut = page()->part[2].offset + 10;
    toy_.truncate(cut);
    struct io_done done = read({});
    EXPECT_EQ(done.cause, IO_END_OF_FILE);
    EXPECT_EQ(done.part, 2u);
    EXPECT_EQ(done.offset, cut);
    toy_.restore(cut);
    EXPECT_EQ(read({}).cause, 0);
    EXPECT_TRUE(toy_.holds(toy_.store, 1, slot_.data()));
}

} // namespace
