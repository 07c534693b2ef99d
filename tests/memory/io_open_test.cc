#include "memory/io_open.h"

#include <gtest/gtest.h>

#include "tests/memory/fake_ring.h"
#include "tests/memory/toy_store.h"

namespace {

class IoOpen : public testing::Test {
protected:
    IoOpen() : toy_({6})
    {
        struct io_files files;
        EXPECT_EQ(io_files_open(&files, toy_.store, true, nullptr), STATUS_OK);
        direct_ = files.direct > 0;
        io_files_close(&files);
        choice_.store = toy_.store;
        choice_.ring_open = FakeRing::open;
    }
    ~IoOpen() override { io_opened_close(&opened_); }
    enum status open(enum io_kind kind, enum direct_reads direct)
    {
        io_opened_close(&opened_);
        choice_.kind = kind;
        choice_.direct = direct;
        error_ = {};
        return io_open(&opened_, &choice_, &error_);
    }
    /* Its name, after a page was read through it. */
    std::string name(enum io_kind kind, enum direct_reads direct)
    {
        if (open(kind, direct))
            return error_.text;
        std::vector<uint8_t> slot(store_class_slot_bytes(toy_.store, 0));
        struct io_request request = {3, 2, true, toy_.store, slot.data()};
        opened_.io->ops->submit(opened_.io, &request);
        struct io_done done;
        EXPECT_TRUE(opened_.io->ops->poll(opened_.io, &done, UINT64_MAX));
        EXPECT_EQ(done.cause, 0);
        EXPECT_TRUE(toy_.holds(toy_.store, 2, slot.data()));
        EXPECT_GT(opened_.told.depth, 0u);
        EXPECT_EQ(opened_.told.staging_bytes > 0, opened_.files.direct > 0);
        return opened_.told.name;
    }
    ToyStore toy_;
    FakeRing ring_;
    bool direct_ = false; /* the scratch folder's file system lets */
    struct io_choice choice_ = {};
    struct io_opened opened_ = {};
    struct error error_ = {};
};

TEST_F(IoOpen, EachKindThroughThePageCache)
{
    EXPECT_EQ(name(IO_AUTO, DIRECT_OFF), "thread") << "copying from the cache is work to be shared";
    EXPECT_STREQ(opened_.told.note, "");
    EXPECT_EQ(name(IO_URING, DIRECT_OFF), "uring");
    EXPECT_EQ(name(IO_THREAD, DIRECT_OFF), "thread");
    EXPECT_EQ(name(IO_SYNC, DIRECT_OFF), "sync");
    EXPECT_EQ(name(IO_SYNC, DIRECT_AUTO), "sync");
}

TEST_F(IoOpen, EachKindPastThePageCache)
{
    if (!direct_)
        GTEST_SKIP() << "the scratch folder's file system has no direct reads";
    for (enum direct_reads direct : {DIRECT_AUTO, DIRECT_ON}) {
        EXPECT_EQ(name(IO_AUTO, direct), "uring+direct");
        EXPECT_EQ(name(IO_URING, direct), "uring+direct");
        EXPECT_EQ(name(IO_THREAD, direct), "thread+direct");
        EXPECT_STREQ(opened_.told.note, "");
    }
    EXPECT_EQ(name(IO_SYNC, DIRECT_ON), "sync+direct");
}

TEST_F(IoOpen, WithoutARingThreadsReadAndSayWhy)
{
    ring_.refuse = true;
    EXPECT_EQ(name(IO_AUTO, DIRECT_AUTO), direct_ ? "thread+direct" : "thread");
    EXPECT_STREQ(opened_.told.note, direct_ ? "no ring today" : opened_.files.why_not);
    EXPECT_EQ(opened_.told.queue_depth, (uint32_t)IO_OPEN_THREADS);
    EXPECT_EQ(open(IO_URING, DIRECT_AUTO), STATUS_UNSUPPORTED) << "asked for by name";
    EXPECT_STREQ(error_.text, "no ring today");
    EXPECT_EQ(opened_.io, nullptr);
}

/* A file that cannot be read directly: proc has none of it. */
TEST_F(IoOpen, WithoutDirectReadsThePageCacheServesAndSaysWhy)
{
    struct store *store;
    uint32_t file;
    ASSERT_EQ(store_open(&store, nullptr), STATUS_OK);
    if (store_add_file(store, "/proc/self/cmdline", &file, nullptr)) {
        store_close(store);
        GTEST_SKIP() << "no /proc";
    }
    ASSERT_EQ(store_seal(store, nullptr), STATUS_OK);
    choice_.store = store;
    ASSERT_EQ(open(IO_AUTO, DIRECT_AUTO), STATUS_OK);
    EXPECT_STREQ(opened_.told.name, "thread");
    EXPECT_NE(std::string(opened_.told.note).find("past the page cache"), std::string::npos);
    ASSERT_EQ(open(IO_URING, DIRECT_AUTO), STATUS_OK);
    EXPECT_STREQ(opened_.told.name, "uring");
    EXPECT_EQ(open(IO_AUTO, DIRECT_ON), STATUS_UNSUPPORTED);
    EXPECT_NE(std::string(error_.text).find("/proc/self/cmdline"), std::string::npos);
    io_opened_close(&opened_);
    store_close(store);
}

TEST_F(IoOpen, DepthsAreWhatWasAskedFor)
{
    choice_.queue_depth = 7;
    ASSERT_EQ(open(IO_URING, DIRECT_OFF), STATUS_OK);
    EXPECT_EQ(opened_.told.queue_depth, 7u);
    EXPECT_EQ(opened_.told.depth, 14u);
    EXPECT_EQ(ring_.config.depth, 7u);
    choice_.depth = 3;
    ASSERT_EQ(open(IO_URING, DIRECT_OFF), STATUS_OK);
    EXPECT_EQ(opened_.told.depth, 3u);
    choice_.threads = 5;
    ASSERT_EQ(open(IO_THREAD, DIRECT_OFF), STATUS_OK);
    EXPECT_EQ(opened_.told.queue_depth, 5u);
    EXPECT_EQ(opened_.told.depth, 3u);
    EXPECT_EQ(io_open_depth(0, 5), 10u);
    EXPECT_EQ(io_open_depth(0, 1), (uint32_t)IO_DEPTH_LEAST);
    choice_.queue_depth = choice_.depth = 0;
    ASSERT_EQ(open(IO_URING, DIRECT_AUTO), STATUS_OK);
    EXPECT_EQ(opened_.told.probed_rate, 0) << "a toy is not probed";
    EXPECT_EQ(opened_.told.depth, (uint32_t)IO_DEPTH_LEAST);
}

/* A budget is made before anything is opened. */
TEST_F(IoOpen, StagesNoMoreThanItSaidBefore)
{
    for (enum io_kind kind : {IO_AUTO, IO_URING, IO_THREAD, IO_SYNC})
        for (enum direct_reads direct : {DIRECT_AUTO, DIRECT_OFF})
            for (uint32_t depth : {0, 1, 9}) {
                choice_.kind = kind;
                choice_.threads = choice_.queue_depth = depth;
                uint64_t said = io_open_staging_bytes(&choice_);
                EXPECT_GT(said, 0u);
                ASSERT_EQ(open(kind, direct), STATUS_OK) << error_.text;
                EXPECT_LE(opened_.told.staging_bytes, said);
            }
}

/* The real ring, if there is one; no kind is replaced silently. */
TEST_F(IoOpen, TheKernelsRingIsTheDefault)
{
    choice_.ring_open = nullptr;
    std::string got = name(IO_AUTO, DIRECT_AUTO);
    if (got != "uring+direct") {
        EXPECT_TRUE(got == "thread" || got == "thread+direct") << got;
        EXPECT_STRNE(opened_.told.note, "");
    }
    printf("%s %s\n", got.c_str(), opened_.told.note);
}

} // namespace
