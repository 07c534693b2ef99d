#include "clients/bench/address.h"

#include <gtest/gtest.h>

#include <string>

namespace {

std::string parsed(const char *text)
{
    address a;
    fault f = {};
    if (!address_parse(text, "8000", &a, &f))
        return "refused";
    EXPECT_EQ('\0', f.text[0]);
    return std::string(a.tls ? "tls " : "") + a.host + " " + a.port + " " + a.authority + a.prefix;
}

TEST(address, what_is_taken)
{
    EXPECT_EQ("localhost 8000 localhost:8000", parsed("localhost"));
    EXPECT_EQ("localhost 8001 localhost:8001", parsed("localhost:8001"));
    EXPECT_EQ("::1 9 [::1]:9", parsed("[::1]:9"));
    EXPECT_EQ("::1 8000 [::1]:8000/v1", parsed("http://[::1]/v1/"));
    EXPECT_EQ("tls a.b 443 a.b:443", parsed("https://a.b/"));
    EXPECT_EQ("tls a.b 8443 a.b:8443/x/y", parsed("https://a.b:8443/x/y//"));
    EXPECT_EQ("tls a 8000 a:8000", parsed("grpcs://a"));
    EXPECT_EQ("a 1 a:1", parsed("grpc://a:1"));
}

TEST(address, what_is_refused)
{
    for (const char *text : {"", "http://", ":80", "a:", "a:0", "a:65536", "a:8x", "a:b:c", "[::1",
                             "[]:1", "[::1]x", "ftp://a", "a/b c"})
        EXPECT_EQ("refused", parsed(text)) << text;
    EXPECT_EQ("refused", parsed(std::string(300, 'a').c_str()));
    EXPECT_EQ("refused", parsed(("a/" + std::string(300, 'b')).c_str()));
}

} // namespace
