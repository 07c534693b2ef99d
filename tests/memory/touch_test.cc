#include "memory/touch.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <vector>

#include "memory/base/bytes.h"
#include "memory/pinned.h"

namespace {

/* How many of its pages are there. */
size_t resident(const struct pinned &memory)
{
    std::vector<unsigned char> pages(memory.bytes / 4096);
    EXPECT_EQ(mincore(memory.base, memory.bytes, pages.data()), 0);
    return (size_t)std::count_if(pages.begin(), pages.end(), [](unsigned char p) { return p & 1; });
}

class Touch : public testing::Test {
protected:
    void SetUp() override
    {
        ASSERT_EQ(pinned_open(&a_, 9 << 20, "test", nullptr), STATUS_OK);
        ASSERT_EQ(pinned_open(&b_, 3 << 12, "test", nullptr), STATUS_OK);
    }
    void TearDown() override
    {
        pinned_close(&a_);
        pinned_close(&b_);
    }
    struct pinned a_ = {}, b_ = {};
};

TEST_F(Touch, MakesEverythingReadyAndChangesNothing)
{
    a_.base[5 << 20] = 77;
    struct touch_stretch stretches[] = {{a_.base, a_.bytes}, {b_.base, b_.bytes}};
    struct touch *touch;
    ASSERT_EQ(touch_start(&touch, stretches, 2, nullptr), STATUS_OK);
    touch_wait(touch);
    touch_stop(touch);
    if (madvise(b_.base, 4096, 23) != 0)
        GTEST_SKIP() << "this kernel has no MADV_POPULATE_WRITE";
    EXPECT_EQ(resident(a_), a_.bytes / 4096);
    EXPECT_EQ(resident(b_), 3u);
    EXPECT_EQ(a_.base[5 << 20], 77);
    EXPECT_EQ(std::count(a_.base, a_.base + a_.bytes, 0), (ptrdiff_t)a_.bytes - 1);
}

/* Beside somebody who writes there, and given up in the middle. */
TEST_F(Touch, MeetsWritersAndStops)
{
    for (int i = 0; i < 20; i++) {
        struct pinned memory;
        ASSERT_EQ(pinned_open(&memory, 16 << 20, "test", nullptr), STATUS_OK);
        struct touch_stretch stretch = {memory.base, memory.bytes};
        struct touch *touch;
        ASSERT_EQ(touch_start(&touch, &stretch, 1, nullptr), STATUS_OK);
        for (size_t at = 0; at < memory.bytes; at += 8192)
            memory.base[at] = 1;
        touch_stop(touch);
        for (size_t at = 0; at < memory.bytes; at += 8192)
            ASSERT_EQ(memory.base[at], 1);
        pinned_close(&memory);
    }
}

TEST_F(Touch, WhatTheSystemRefusesIsLeft)
{
    ASSERT_EQ(mprotect(b_.base, 4096, PROT_READ), 0); /* cannot be written to */
    struct touch_stretch stretches[] = {{b_.base, b_.bytes}, {a_.base, a_.bytes}};
    struct touch *touch;
    ASSERT_EQ(touch_start(&touch, stretches, 2, nullptr), STATUS_OK);
    touch_wait(touch);
    touch_stop(touch);
    EXPECT_EQ(resident(a_), 0u) << "it gave up";
}

TEST_F(Touch, NothingIsNothing)
{
    struct touch *touch;
    ASSERT_EQ(touch_start(&touch, nullptr, 0, nullptr), STATUS_OK);
    touch_stop(touch);
    touch_stop(nullptr);
}

} // namespace
