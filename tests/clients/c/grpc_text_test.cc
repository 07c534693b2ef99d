#include "clients/c/grpc_text.h"

#include <gtest/gtest.h>
#include <string.h>

#include <string>

namespace {

TEST(grpc_text, status_names)
{
    EXPECT_STREQ("OK", grpc_text_status(0));
    EXPECT_STREQ("UNAVAILABLE", grpc_text_status(14));
    EXPECT_STREQ("UNAUTHENTICATED", grpc_text_status(16));
    EXPECT_STREQ("UNKNOWN", grpc_text_status(17));
    EXPECT_STREQ("UNKNOWN", grpc_text_status(-1));
}

std::string decode(const std::string &text, size_t room = 100)
{
    char out[100];
    grpc_text_decode_message(text.data(), text.size(), out, room);
    return out;
}

TEST(grpc_text, messages_are_decoded)
{
    EXPECT_EQ("a b", decode("a%20b"));
    EXPECT_EQ("\xe2\x82\xac%", decode("%E2%82%ac%25"));
    EXPECT_EQ("100%", decode("100%"));
    EXPECT_EQ("%2", decode("%2"));
    EXPECT_EQ("%zz", decode("%zz"));
    EXPECT_EQ("", decode(""));
    EXPECT_EQ("abc", decode("abcdef", 4));
}

std::string timeout(uint64_t ms)
{
    char out[16];
    grpc_text_timeout(ms, out, sizeof out);
    return out;
}

TEST(grpc_text, timeouts_have_eight_digits_at_most)
{
    EXPECT_EQ("1m", timeout(1));
    EXPECT_EQ("99999998m", timeout(99999998));
    EXPECT_EQ("100000S", timeout(99999999)); // rounded up, never down
    EXPECT_EQ("99999999H", timeout(UINT64_MAX));
    for (uint64_t ms = 1; ms < UINT64_MAX / 3; ms *= 3)
        EXPECT_LE(timeout(ms).size(), 9u);
}

TEST(grpc_text, addresses)
{
    char host[16], port[8];
    ASSERT_TRUE(grpc_text_address("localhost:8001", host, sizeof host, port, sizeof port));
    EXPECT_STREQ("localhost", host);
    EXPECT_STREQ("8001", port);
    ASSERT_TRUE(grpc_text_address("[::1]:80", host, sizeof host, port, sizeof port));
    EXPECT_STREQ("::1", host);
    for (const char *wrong : {"localhost", "localhost:", ":80", "::1:80", "", "[]:1",
                              "a-name-that-is-too-long:1", "h:12345678", "h:0", "h:65536",
                              "h:http", "h:+1", "h: 1"})
        EXPECT_FALSE(grpc_text_address(wrong, host, sizeof host, port, sizeof port)) << wrong;
}

TEST(grpc_text, keys)
{
    EXPECT_TRUE(grpc_text_is_key("sk-1!~"));
    for (const char *wrong : {"", "two words", "a\nb", "a\r", "\x7f", "k\xc3\xa9"})
        EXPECT_FALSE(grpc_text_is_key(wrong)) << wrong;
}

} // namespace
