#include "engine/load/crc32c.h"

#include <gtest/gtest.h>
#include <string>
#include <vector>

/* RFC 3720, appendix B.4, and the usual check value. */
TEST(Crc32c, KnownValues)
{
    EXPECT_EQ(0u, crc32c(0, nullptr, 0));
    EXPECT_EQ(0xe3069283u, crc32c(0, "123456789", 9));
    EXPECT_EQ(0x8a9136aau, crc32c(0, std::string(32, '\0').data(), 32));
    EXPECT_EQ(0x62a8ab43u, crc32c(0, std::string(32, '\xff').data(), 32));
    std::vector<uint8_t> rising(32);
    for (size_t i = 0; i < rising.size(); i++)
        rising[i] = (uint8_t)i;
    EXPECT_EQ(0x46dd794eu, crc32c(0, rising.data(), rising.size()));
}

TEST(Crc32c, InPiecesOfAnyLengthAndPlace)
{
    std::vector<uint8_t> bytes(1000);
    uint32_t x = 1;
    for (uint8_t &b : bytes)
        b = (uint8_t)((x = x * 1664525u + 1013904223u) >> 24);
    uint32_t whole = crc32c(0, bytes.data(), bytes.size());
    for (size_t cut = 0; cut <= bytes.size(); cut += 37)
        EXPECT_EQ(whole,
                  crc32c(crc32c(0, bytes.data(), cut), bytes.data() + cut, bytes.size() - cut));
    bytes[500] ^= 1;
    EXPECT_NE(whole, crc32c(0, bytes.data(), bytes.size()));
}
