/* The kernel's ring, where the system lets us have one: what the fake ring of io_uring_test
 * promises is what this one does. */
#include "memory/io_ring.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <set>
#include <thread>

#include "memory/base/clock.h"
#include "tests/memory/files.h"
#include "tests/memory/toy_store.h"

namespace {

constexpr uint64_t long_ns = 10000000000u;

class IoUringRing : public testing::Test {
protected:
    IoUringRing() : toy_({20}), files_(toy_.store), memory_(4 * 8192) {}
    ~IoUringRing() override { io_ring_close(ring_); }
    bool open(uint32_t depth)
    {
        struct io_ring_config config = {files_.get(), depth, memory_.data(), 4, 8192};
        struct error error = {};
        enum status status = io_uring_ring_open(&ring_, &config, &error);
        why_ = error.text;
        EXPECT_TRUE(status == STATUS_OK || status == STATUS_UNSUPPORTED) << why_;
        return status == STATUS_OK;
    }
    void read(uint32_t tag, uint64_t offset, uint32_t bytes, uint32_t buffer)
    {
        struct io_ring_read read = {tag, 0, offset, bytes, buffer, memory_.data() + tag * 8192};
        ring_->ops->read(ring_, &read);
    }
    ToyStore toy_;
    Files files_;
    std::vector<uint8_t> memory_;
    struct io_ring *ring_ = nullptr;
    std::string why_;
};

TEST_F(IoUringRing, ReadsAsManyAsItIsDeep)
{
    if (!open(4))
        GTEST_SKIP() << why_;
    for (int round = 0; round < 20; round++) {
        for (uint32_t tag = 0; tag < 4; tag++)
            read(tag, round * 100 + tag * 8000, 8000 - tag, tag % 2 ? tag : IO_RING_NO_BUFFER);
        std::set<uint32_t> ended;
        while (ended.size() < 4) {
            struct io_ring_end ends[4];
            uint32_t n = ring_->ops->wait(ring_, ends, 3, long_ns);
            ASSERT_GT(n, 0u);
            for (uint32_t i = 0; i < n; i++) {
                ASSERT_TRUE(ended.insert(ends[i].tag).second);
                ASSERT_EQ(ends[i].result, (int32_t)(8000 - ends[i].tag));
                ASSERT_EQ(memcmp(&memory_[ends[i].tag * 8192],
                                 &toy_.bytes[round * 100 + ends[i].tag * 8000],
                                 8000 - ends[i].tag), 0);
            }
        }
    }
}

TEST_F(IoUringRing, TellsFailuresAndTheEndOfTheFile)
{
    if (!open(2))
        GTEST_SKIP() << why_;
    uint64_t bytes = toy_.bytes.size();
    struct io_ring_end end;
    read(0, bytes - 10, 100, 0);
    ASSERT_EQ(ring_->ops->wait(ring_, &end, 1, long_ns), 1u);
    EXPECT_EQ(end.result, 10);
    read(1, bytes + 100, 100, 1);
    ASSERT_EQ(ring_->ops->wait(ring_, &end, 1, long_ns), 1u);
    EXPECT_EQ(end.tag, 1u);
    EXPECT_EQ(end.result, 0);
    struct io_ring_read bad = {0, 7, 0, 100, 0, memory_.data()}; /* there is one file */
    ring_->ops->read(ring_, &bad);
    ASSERT_EQ(ring_->ops->wait(ring_, &end, 1, long_ns), 1u);
    EXPECT_EQ(end.result, -EBADF);
}

TEST_F(IoUringRing, WaitsNoLongerThanAskedOrUntilWoken)
{
    if (!open(1))
        GTEST_SKIP() << why_;
    struct io_ring_end end;
    uint64_t begin = clock_now_ns();
    EXPECT_EQ(ring_->ops->wait(ring_, &end, 1, 0), 0u);
    EXPECT_EQ(ring_->ops->wait(ring_, &end, 1, 20000000), 0u);
    EXPECT_GE(clock_now_ns() - begin, 19000000u);
    for (int i = 0; i < 5; i++) { /* a wake before the wait is not lost */
        ring_->ops->wake(ring_);
        ring_->ops->wake(ring_);
        begin = clock_now_ns();
        EXPECT_EQ(ring_->ops->wait(ring_, &end, 1, UINT64_MAX), 0u);
        EXPECT_LT(clock_now_ns() - begin, long_ns);
    }
    std::thread other([&] {
        usleep(20000);
        ring_->ops->wake(ring_);
    });
    EXPECT_EQ(ring_->ops->wait(ring_, &end, 1, UINT64_MAX), 0u);
    other.join();
    read(0, 0, 100, 0);
    while (ring_->ops->wait(ring_, &end, 1, long_ns) == 0)
        continue; /* what was left of the wakes */
    EXPECT_EQ(end.result, 100);
}

/* Too little memory may be locked: the buffers are used all the same. Root has no such limit, then
 * it is the registered ones that are seen to work. */
TEST_F(IoUringRing, WorksWithoutLockedMemory)
{
    struct rlimit before, none = {0, 0};
    ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &before), 0);
    none.rlim_max = before.rlim_max;
    ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &none), 0);
    bool opened = open(1);
    ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &before), 0);
    if (!opened)
        GTEST_SKIP() << why_;
    struct io_ring_end end;
    read(0, 50, 100, 0);
    ASSERT_EQ(ring_->ops->wait(ring_, &end, 1, long_ns), 1u);
    EXPECT_EQ(end.result, 100);
    EXPECT_EQ(memcmp(memory_.data(), &toy_.bytes[50], 100), 0);
}

using IoUringRingDeathTest = IoUringRing;

TEST_F(IoUringRingDeathTest, MoreThanItsDepthIsABug)
{
    if (!open(1))
        GTEST_SKIP() << why_;
    EXPECT_DEATH(
        {
            read(0, 0, 100, 0);
            read(1, 0, 100, 1);
        },
        "CHECK");
}

} // namespace
