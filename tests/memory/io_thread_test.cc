#include "memory/io.h"

#include <gtest/gtest.h>

#include <csignal>
#include <vector>

#include "memory/base/clock.h"
#include "tests/memory/toy_store.h"

namespace {

class IoThread : public testing::Test {
protected:
    IoThread() : toy_({40}) {}
    ~IoThread() override { io_close(io_); }
    void open(uint32_t threads, uint32_t depth)
    {
        struct error error = {};
        ASSERT_EQ(io_thread_open(&io_, threads, depth, &error), STATUS_OK) << error.text;
        slots_.assign(depth, std::vector<uint8_t>(store_class_slot_bytes(toy_.store, 0)));
    }
    void submit(uint32_t tag, page_id page)
    {
        struct io_request request = {tag, page, toy_.store, slots_[tag].data()};
        io_->ops->submit(io_, &request);
    }
    ToyStore toy_;
    struct io *io_ = nullptr;
    std::vector<std::vector<uint8_t>> slots_;
};

TEST_F(IoThread, ReadsManyPagesThroughFewPlaces)
{
    open(3, 4);
    EXPECT_STREQ(io_->ops->name, "thread");
    page_id next = 0;
    std::vector<page_id> page_in(4);
    uint64_t bytes = 0;
    for (uint32_t tag = 0; tag < 4; tag++)
        submit(tag, page_in[tag] = next++);
    for (uint32_t ended = 0; ended < 40; ended++) {
        struct io_done done;
        ASSERT_TRUE(io_->ops->poll(io_, &done, 5000000000u));
        ASSERT_EQ(done.cause, 0);
        ASSERT_LT(done.tag, 4u);
        bytes += done.bytes;
        ASSERT_TRUE(toy_.holds(toy_.store, page_in[done.tag], slots_[done.tag].data()));
        if (next < 40)
            submit(done.tag, page_in[done.tag] = next++);
    }
    EXPECT_EQ(bytes, 40u * store_page(toy_.store, 0)->file_bytes);
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
    submit(0, 7);
    struct io_done done;
    ASSERT_TRUE(io_->ops->poll(io_, &done, UINT64_MAX));
    EXPECT_EQ(done.cause, IO_END_OF_FILE);
    toy_.restore(20);
    submit(1, 7);
    ASSERT_TRUE(io_->ops->poll(io_, &done, UINT64_MAX));
    EXPECT_EQ(done.cause, 0);
    EXPECT_TRUE(toy_.holds(toy_.store, 7, slots_[1].data()));
}

TEST_F(IoThread, ClosesWithNothingDone)
{
    open(8, 1);
    io_close(nullptr);
}

} // namespace
