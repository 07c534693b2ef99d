#include "memory/base/bytes.h"

#include <gtest/gtest.h>

namespace {

TEST(Bytes, CheckedArithmetic)
{
    uint64_t out = 0;
    EXPECT_TRUE(bytes_add(UINT64_MAX - 1, 1, &out));
    EXPECT_EQ(out, UINT64_MAX);
    EXPECT_FALSE(bytes_add(UINT64_MAX, 1, &out));
    EXPECT_TRUE(bytes_mul(1ull << 32, (1ull << 32) - 1, &out));
    EXPECT_EQ(out, ((1ull << 32) - 1) << 32);
    EXPECT_FALSE(bytes_mul(1ull << 32, 1ull << 32, &out));
}

TEST(Bytes, AlignUp)
{
    EXPECT_EQ(bytes_align_up(0, 64), 0u);
    EXPECT_EQ(bytes_align_up(1, 64), 64u);
    EXPECT_EQ(bytes_align_up(64, 64), 64u);
    EXPECT_EQ(bytes_align_up(4097, 4096), 8192u);
}

TEST(Bytes, LittleEndianFromAnyAddress)
{
    const uint8_t raw[] = {0xff, 1, 2, 3, 4, 5, 6, 7, 8};
    EXPECT_EQ(bytes_le32(raw + 1), 0x04030201u);
    EXPECT_EQ(bytes_le64(raw + 1), 0x0807060504030201u);
}

TEST(Bytes, FormatForPeople)
{
    char out[16];
    EXPECT_STREQ(bytes_format(0, out, sizeof out), "0 B");
    EXPECT_STREQ(bytes_format(1023, out, sizeof out), "1023 B");
    EXPECT_STREQ(bytes_format(1536, out, sizeof out), "1.5 KiB");
    EXPECT_STREQ(bytes_format(48 * BYTES_GIB, out, sizeof out), "48.0 GiB");
    EXPECT_STREQ(bytes_format(UINT64_MAX, out, sizeof out), "16777216.0 TiB");
}

} // namespace
