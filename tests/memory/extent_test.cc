#include "memory/extent.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "tests/memory/fake_device.h"

namespace {

class Extent : public testing::Test {
protected:
    Extent() { place_.device = &device_.device; }
    FakeDevice device_;
    struct extent_place place_ = {};
};

TEST_F(Extent, IsAboutAsLargeAsOneShouldBe)
{
    EXPECT_EQ(extent_slots(4096), 16384u);
    EXPECT_EQ(extent_slots((uint64_t)5 << 20), 12u);
    EXPECT_EQ(extent_slots((uint64_t)33 << 20), 1u);
    EXPECT_EQ(extent_slots(EXTENT_BYTES), 1u);
    EXPECT_EQ(extent_slots((uint64_t)3 << 30), 1u);
}

TEST_F(Extent, LiesOnTheDeviceOrTheHost)
{
    struct extent extent;
    place_.on_device = true;
    ASSERT_EQ(extent_open(&extent, &place_, 8192, nullptr), STATUS_OK);
    EXPECT_EQ(device_.memory.count(extent.base), 1u);
    EXPECT_TRUE(device_.locked.empty());
    extent_close(&extent, &place_);
    EXPECT_TRUE(device_.memory.empty());
    extent_close(&extent, &place_); /* zeroed by now */

    place_.on_device = false;
    ASSERT_EQ(extent_open(&extent, &place_, 8192, nullptr), STATUS_OK);
    EXPECT_TRUE(device_.memory.empty());
    EXPECT_EQ(device_.locked[extent.base], 8192u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(extent.base) % 4096, 0u);
    memset(extent.base, 1, 8192);
    extent_close(&extent, &place_);
    EXPECT_TRUE(device_.locked.empty());
}

TEST_F(Extent, NamesTheBytesThatDoNotFit)
{
    struct extent extent;
    struct error error = {};
    device_.bytes_room = 8191;
    place_.on_device = true;
    EXPECT_EQ(extent_open(&extent, &place_, 8192, &error), STATUS_NO_MEMORY);
    EXPECT_STREQ(error.text, "the fake device has no room for 8192 bytes (8.0 KiB)");
    extent_close(&extent, &place_);
    error = {};
    place_.on_device = false;
    EXPECT_EQ(extent_open(&extent, &place_, (uint64_t)1 << 60, &error), STATUS_NO_MEMORY);
    EXPECT_NE(std::string(error.text).find("1152921504606846976 bytes"), std::string::npos);
}

/* Refused page-locking is told once, with the sum, and is forgotten with the extent. */
TEST_F(Extent, WhatIsRefusedIsToldOnce)
{
    struct extent extents[4];
    device_.locked_room = 4096;
    for (struct extent &extent : extents)
        ASSERT_EQ(extent_open(&extent, &place_, 4096, nullptr), STATUS_OK);
    EXPECT_EQ(place_.staged_bytes, 3 * 4096u);
    testing::internal::CaptureStderr();
    extent_tell(&place_);
    extent_tell(&place_);
    std::string lines = testing::internal::GetCapturedStderr();
    EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 1) << lines;
    EXPECT_NE(lines.find("12.0 KiB"), std::string::npos) << lines;
    EXPECT_NE(lines.find("ulimit -l"), std::string::npos) << lines;
    EXPECT_NE(lines.find("memlock"), std::string::npos) << lines;
    for (struct extent &extent : extents)
        extent_close(&extent, &place_);
    EXPECT_EQ(place_.staged_bytes, 0u);
    EXPECT_TRUE(device_.locked.empty());
}

/* What the device holds in place needs no mlock; what it refused is tried. */
TEST_F(Extent, LocksWhatTheDeviceDoesNot)
{
    struct extent held, loose;
    place_.lock = true;
    device_.locked_room = 4096;
    ASSERT_EQ(extent_open(&held, &place_, 4096, nullptr), STATUS_OK);
    EXPECT_FALSE(held.memory.locked);
    EXPECT_FALSE(held.unlocked);
    ASSERT_EQ(extent_open(&loose, &place_, 4096, nullptr), STATUS_OK);
    EXPECT_NE(loose.memory.locked, loose.unlocked); /* whether it may is the system's affair */
    EXPECT_EQ(place_.unlocked_bytes, loose.unlocked ? 4096u : 0u);
    testing::internal::CaptureStderr();
    extent_tell(&place_);
    std::string lines = testing::internal::GetCapturedStderr();
    EXPECT_EQ(lines.find("stay unlocked") != std::string::npos, loose.unlocked) << lines;
    extent_close(&loose, &place_);
    extent_close(&held, &place_);
    EXPECT_EQ(place_.unlocked_bytes, 0u);
}

} // namespace
