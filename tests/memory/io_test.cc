#include "memory/io.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <vector>

#include "tests/memory/files.h"
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
    IoRead() : toy_({3}), slot_(store_class_slot_bytes(toy_.store, 0), 0xee) { open(false); }
    ~IoRead() override
    {
        script.clear();
        io_files_close(&files_);
    }
    void open(bool direct)
    {
        io_files_close(&files_);
        ASSERT_EQ(io_files_open(&files_, toy_.store, direct, nullptr), STATUS_OK);
    }
    io_done read(std::deque<int> answers)
    {
        script = std::move(answers);
        struct io_request request = {5, 1, true, toy_.store, slot_.data()};
        struct io_reading reading;
        io_reading_begin(&reading, &request, &files_, nullptr);
        io_read(&reading, scripted_pread);
        return reading.done;
    }
    const struct page *page() { return store_page(toy_.store, 1); }
    ToyStore toy_;
    struct io_files files_ = {};
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
    io_reading_begin(&reading, &request, &files_, nullptr);
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

/* Reads that are staged: direct ones, as if the file wanted multiples of 4096, and those that
 * land. */
struct Kind {
    const char *name;
    uint32_t align;
    bool landed;
};

ssize_t aligned_pread(int fd, void *to, size_t bytes, off_t offset)
{
    EXPECT_EQ(((uintptr_t)to | bytes | (size_t)offset) % 4096, 0u);
    return scripted_pread(fd, to, bytes, offset);
}

class IoReadStaged : public testing::TestWithParam<Kind> {
protected:
    IoReadStaged()
        : toy_({0, 0, 0, 0, 0, 0, 0, 3}, 1, GetParam().landed), files_(toy_.store),
          slot_(store_class_slot_bytes(toy_.store, 0), 0xee)
    {
        if (GetParam().align > 1)
            files_.pretend(GetParam().align);
        stage_ = static_cast<uint8_t *>(
            aligned_alloc(4096, (io_run_stage_bytes(files_.get()) + 4095) / 4096 * 4096));
    }
    ~IoReadStaged() override
    {
        script.clear();
        free(stage_);
    }
    io_done read(std::deque<int> answers, uint64_t bytes = UINT64_MAX)
    {
        script = std::move(answers);
        struct io_request request = {5, 1, true, toy_.store, slot_.data()};
        struct io_reading reading;
        io_reading_begin(&reading, &request, files_.get(), stage_);
        while (io_reading_step(&reading,
                               GetParam().align > 1 ? aligned_pread : scripted_pread, bytes))
            continue;
        return reading.done;
    }
    void expect_whole(const io_done &done)
    {
        EXPECT_EQ(done.cause, 0);
        EXPECT_EQ(done.bytes, page()->file_bytes);
        EXPECT_TRUE(toy_.holds(toy_.store, 1, slot_.data()));
        std::fill(slot_.begin(), slot_.end(), 0xee);
    }
    const struct page *page() { return store_page(toy_.store, 1); }
    ToyStore toy_; /* parts of 16000, 8008 and 16000 bytes */
    Files files_;
    std::vector<uint8_t> slot_;
    uint8_t *stage_;
};

TEST_P(IoReadStaged, LandsEveryPart)
{
    struct io_done done = read({});
    expect_whole(done);
    EXPECT_EQ(done.reads, 3u);
    if (GetParam().align > 1) {
        EXPECT_GT(done.rounding_bytes, 0u);
        EXPECT_LT(done.rounding_bytes, 3 * 2 * 4096u);
        EXPECT_EQ((done.bytes + done.rounding_bytes) % 4096, 0u);
    } else {
        EXPECT_EQ(done.rounding_bytes, 0u);
    }
    EXPECT_EQ(toy_.landing.parts, GetParam().landed ? 3u : 0u);
}

TEST_P(IoReadStaged, GoesOnAfterWhatPasses)
{
    uint64_t rounding = read({}).rounding_bytes;
    for (std::deque<int> answers : std::vector<std::deque<int>>{
             {4096, 4096}, {-EINTR, 4096, -EAGAIN, 4096, -EINTR}, {5000}, {8191, 4097, 6000}}) {
        struct io_done done = read(answers);
        expect_whole(done);
        EXPECT_EQ(done.rounding_bytes, rounding) << "what is read again counts once";
    }
    expect_whole(read({}, 4096));
}

TEST_P(IoReadStaged, TellsWhereItFailed)
{
    struct io_done done = read({1 << 20, 4096, -EIO}); /* part 0, and some of part 1 */
    EXPECT_EQ(done.cause, EIO);
    EXPECT_EQ(done.part, 1u);
    EXPECT_GE(done.offset, page()->part[1].offset);
    EXPECT_EQ(done.bytes, 16000 + done.offset - page()->part[1].offset);
    EXPECT_EQ(toy_.landing.parts, GetParam().landed ? 1u : 0u);
    expect_whole(read({}));
}

TEST_P(IoReadStaged, TellsTheEndOfAFile)
{
    for (uint64_t left : {0, 1, 10, 3000, 15999}) {
        uint64_t cut = page()->part[2].offset + left;
        toy_.truncate(cut);
        struct io_done done = read({});
        EXPECT_EQ(done.cause, IO_END_OF_FILE);
        EXPECT_EQ(done.part, 2u);
        EXPECT_EQ(done.offset, cut);
        EXPECT_EQ(done.bytes, page()->file_bytes - 16000 + left);
        toy_.restore(cut);
    }
    toy_.truncate(page()->part[2].offset + 16000); /* the very end, off the alignment, will do */
    expect_whole(read({}));
}

INSTANTIATE_TEST_SUITE_P(Kinds, IoReadStaged,
                         testing::Values(Kind{"direct", 4096, false}, Kind{"landed", 1, true},
                                         Kind{"direct_landed", 4096, true}),
                         [](const auto &kind) { return std::string(kind.param.name); });

} // namespace
