#include "memory/pinned.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <string>

namespace {

TEST(Pinned, IsAlignedZeroedAndWritable)
{
    for (size_t bytes : {(size_t)1, (size_t)4096, (size_t)70000, (size_t)(3 << 20)}) {
        struct pinned pinned;
        ASSERT_EQ(pinned_open(&pinned, bytes, "test", nullptr), STATUS_OK);
        EXPECT_EQ(reinterpret_cast<uintptr_t>(pinned.base) % 4096, 0u);
        if (bytes >= (2u << 20)) {
            EXPECT_EQ(reinterpret_cast<uintptr_t>(pinned.base) % (2u << 20), 0u);
        }
        EXPECT_EQ(std::count(pinned.base, pinned.base + bytes, 0), (ptrdiff_t)bytes);
        pinned.base[0] = pinned.base[bytes - 1] = 1;
        EXPECT_FALSE(pinned.locked);
        pinned_close(&pinned);
        EXPECT_EQ(pinned.base, nullptr);
        pinned_close(&pinned);
    }
}

TEST(Pinned, NothingIsNothing)
{
    struct pinned pinned;
    ASSERT_EQ(pinned_open(&pinned, 0, "test", nullptr), STATUS_OK);
    EXPECT_EQ(pinned.base, nullptr);
    pinned_close(&pinned);
}

TEST(Pinned, TooMuchNamesBytesAndPurpose)
{
    struct pinned pinned;
    struct error error = {};
    EXPECT_EQ(pinned_open(&pinned, (size_t)1 << 60, "host tier", &error), STATUS_NO_MEMORY);
    EXPECT_NE(std::string(error.text).find("1152921504606846976 bytes"), std::string::npos);
    EXPECT_NE(std::string(error.text).find("host tier"), std::string::npos);
    pinned_close(&pinned);
    EXPECT_EQ(pinned_open(&pinned, SIZE_MAX, "host tier", nullptr), STATUS_NO_MEMORY);
}

TEST(Pinned, UnlockableMemoryIsUsedAllTheSame)
{
    /* Root may lock beyond the limit, so this is asked of whoever runs the test. */
    struct rlimit before, none = {0, 0};
    ASSERT_EQ(getrlimit(RLIMIT_MEMLOCK, &before), 0);
    none.rlim_max = before.rlim_max;
    ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &none), 0);
    struct pinned pinned;
    EXPECT_EQ(pinned_open(&pinned, 8192, "host tier", nullptr), STATUS_OK);
    EXPECT_FALSE(pinned.locked);
    bool locked = pinned_lock(&pinned);
    ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &before), 0);
    EXPECT_EQ(locked, pinned.locked);
    pinned.base[8191] = 1;
    pinned_close(&pinned);
    EXPECT_FALSE(pinned.locked);
}

} // namespace
