#include "memory/device.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "memory/base/clock.h"
#include "tests/support/scratch.h"

namespace {

class DeviceHost : public testing::Test {
protected:
    ~DeviceHost() override { device_close(device_); }
    void open(size_t arena_bytes, uint64_t copy_ns_per_mib)
    {
        struct error error = {};
        ASSERT_EQ(device_host_open(&device_, arena_bytes, copy_ns_per_mib, &error), STATUS_OK);
    }
    uint64_t copy(void *to, const void *from, size_t bytes)
    {
        return device_->ops->copy(device_, to, from, bytes, 0);
    }
    uint64_t poll(uint64_t seen, uint64_t wait_ns)
    {
        return device_->ops->poll(device_, seen, wait_ns);
    }
    struct device *device_ = nullptr;
};

TEST_F(DeviceHost, MemoryIsBoundedAndAligned)
{
    open(5 * 4096, 0);
    EXPECT_TRUE(device_->ops->host_visible);
    auto *a = static_cast<uint8_t *>(device_->ops->alloc(device_, 100));
    auto *b = static_cast<uint8_t *>(device_->ops->alloc(device_, 8192));
    ASSERT_NE(a, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(a) % 4096, 0u);
    ASSERT_NE(b, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(b) % 4096, 0u);
    memset(a, 1, 100);
    memset(b, 2, 8192);
    EXPECT_EQ(a[99], 1);
    EXPECT_EQ(device_->ops->alloc(device_, 8193), nullptr);
    EXPECT_EQ(device_->ops->alloc(device_, SIZE_MAX), nullptr);
    EXPECT_NE(device_->ops->alloc(device_, 8192), nullptr);
    EXPECT_EQ(device_->ops->alloc(device_, 1), nullptr);
    EXPECT_EQ(device_->ops->alloc(device_, 0), nullptr);
}

TEST_F(DeviceHost, WhatIsReleasedCanBeGivenAgain)
{
    open(4 * 4096, 0);
    void *a = device_->ops->alloc(device_, 2 * 4096);
    void *b = device_->ops->alloc(device_, 4095);
    void *c = device_->ops->alloc(device_, 4096);
    ASSERT_TRUE(a && b && c);
    device_->ops->release(device_, b);
    EXPECT_EQ(device_->ops->alloc(device_, 8192), nullptr);
    device_->ops->release(device_, a);
    void *d = device_->ops->alloc(device_, 3 * 4096);
    ASSERT_NE(d, nullptr);
    memset(d, 1, 3 * 4096);
    EXPECT_EQ(device_->ops->alloc(device_, 1), nullptr);
    device_->ops->release(device_, c);
    EXPECT_NE(device_->ops->alloc(device_, 1), nullptr); /* the rest goes with the device */
    EXPECT_DEATH(device_->ops->release(device_, &c), "nothing that this device gave");
}

/* Nothing happens behind its caller's back, so there is nothing to wait for or to page-lock. */
TEST_F(DeviceHost, ItsProcessorIsTheCaller)
{
    open(4096, 1000000000);
    std::vector<uint8_t> from = scratch::noise(1, 64), to(64);
    EXPECT_TRUE(device_->ops->pin(device_, from.data(), from.size()));
    device_->ops->unpin(device_, from.data());
    copy(to.data(), from.data(), 64);
    EXPECT_EQ(device_->ops->fence(device_), 0u);
    EXPECT_TRUE(device_->ops->reached(device_, 0, false));
    EXPECT_TRUE(device_->ops->reached(device_, 0, true));
    struct device_rates rates = device_->ops->rates(device_);
    EXPECT_EQ(rates.idle + rates.loaded + rates.staged, 0);
    EXPECT_DEATH(device_->ops->copy(device_, to.data(), from.data(), 64, 1), "after == 0");
    EXPECT_DEATH(device_->ops->reached(device_, 1, true), "fence == 0");
    while (poll(0, UINT64_MAX) < 1) {
    }
}

TEST_F(DeviceHost, FastCopiesEndAtOnce)
{
    open(4096, 0);
    std::vector<uint8_t> from = scratch::noise(1, 1000), to(1000);
    EXPECT_EQ(copy(to.data(), from.data(), 1000), 1u);
    EXPECT_EQ(to, from);
    EXPECT_EQ(poll(0, UINT64_MAX), 1u);
    EXPECT_EQ(poll(1, UINT64_MAX), 1u); /* nothing under way: nothing to wait for */
}

TEST_F(DeviceHost, FillsWhatItIsToldAndNoMore)
{
    for (uint64_t pace : {uint64_t(0), uint64_t(1000000000)}) {
        open(4096, pace);
        std::vector<uint8_t> from(10, 9), to(100, 1);
        copy(to.data() + 90, from.data(), 10); /* may still be under way */
        device_->ops->fill(device_, to.data() + 10, 0xff, 80, 0);
        while (poll(0, UINT64_MAX) < 1)
            continue;
        for (size_t i = 0; i < to.size(); i++)
            EXPECT_EQ(to[i], i < 10 ? 1 : i < 90 ? 0xff : 9) << i;
        device_close(device_);
        device_ = nullptr;
    }
}

TEST_F(DeviceHost, SlowCopiesEndInOrderAndNotBeforeTheirTime)
{
    open(4096, 1000000000); /* 1 s per MiB: 10 ms for 10 KiB */
    constexpr size_t bytes = 10240;
    std::vector<uint8_t> from = scratch::noise(1, bytes), first(bytes), second(bytes);
    uint64_t begin = clock_now_ns();
    ASSERT_EQ(copy(first.data(), from.data(), bytes), 1u);
    ASSERT_EQ(copy(second.data(), from.data(), bytes), 2u);
    EXPECT_EQ(poll(0, 0), 0u);
    EXPECT_NE(first, from);
    EXPECT_EQ(poll(0, 1000000), 0u); /* a wait that is too short */
    while (poll(0, UINT64_MAX) < 1) {
    }
    EXPECT_GE(clock_now_ns() - begin, 9000000u);
    EXPECT_EQ(first, from);
    while (poll(1, UINT64_MAX) < 2) {
    }
    EXPECT_GE(clock_now_ns() - begin, 18000000u);
    EXPECT_EQ(second, from);
}

TEST_F(DeviceHost, TheQueueFillsAndEmpties)
{
    open(4096, 1000000000);
    std::vector<uint8_t> from = scratch::noise(1, 64), to(64);
    uint64_t last = 0;
    int started = 0;
    while (uint64_t ticket = copy(to.data(), from.data(), 64)) {
        ASSERT_EQ(ticket, last + 1);
        last = ticket;
        ASSERT_LT(++started, 1000);
    }
    EXPECT_GT(started, 4);
    uint64_t seen = 0;
    while (seen < last)
        seen = poll(seen, UINT64_MAX);
    EXPECT_EQ(copy(to.data(), from.data(), 64), last + 1);
}

TEST_F(DeviceHost, HasNoMoreThanTheHost)
{
    open((size_t)1 << 60, 0);
    EXPECT_EQ(device_->ops->alloc(device_, (size_t)1 << 60), nullptr);
    EXPECT_NE(device_->ops->alloc(device_, 4096), nullptr);
    device_close(nullptr);
}

} // namespace
