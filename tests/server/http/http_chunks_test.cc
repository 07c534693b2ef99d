#include "server/http/http_chunks.h"

#include <gtest/gtest.h>

#include <string>

namespace
{

struct Outcome {
    enum http_read read = HTTP_READ_MORE;
    std::string body;
    size_t consumed = 0;
};

Outcome Feed(const std::string &text, size_t step = 1000000, uint64_t limit = 1000,
             size_t spare = 100)
{
    Outcome out;
    http_chunks chunks;
    http_chunks_init(&chunks, limit, spare);
    while (out.read == HTTP_READ_MORE && out.consumed < text.size()) {
        std::string piece = text.substr(out.consumed, step);
        const uint8_t *data;
        size_t taken, data_bytes;
        out.read = http_chunks_read(&chunks, reinterpret_cast<const uint8_t *>(piece.data()),
                                    piece.size(), &taken, &data, &data_bytes);
        if (data_bytes)
            out.body.append(reinterpret_cast<const char *>(data), data_bytes);
        EXPECT_TRUE(taken > 0 || out.read != HTTP_READ_MORE);
        out.consumed += taken;
    }
    return out;
}

TEST(Chunks, AreJoined)
{
    const std::string text = "4\r\nWiki\r\n6;name=\"v\"; x\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n"
                             "000\r\nTrailer: yes\r\nOther:\r\n\r\n";
    for (size_t step : {1u, 2u, 5u, 1000u}) {
        Outcome out = Feed(text + "NEXT", step);
        EXPECT_EQ(out.read, HTTP_READ_DONE) << step;
        EXPECT_EQ(out.body, "Wikipedia in \r\n\r\nchunks.");
        EXPECT_EQ(out.consumed, text.size()) << "what follows is left";
    }
    EXPECT_EQ(Feed("0\r\n\r\n").read, HTTP_READ_DONE);
    EXPECT_EQ(Feed("4\r\nWiki\r\n").read, HTTP_READ_MORE);
}

TEST(Chunks, WhatTwoParsersCouldReadDifferently)
{
    for (const char *bad : {
             "0x4\r\nWiki\r\n",
             "+4\r\nWiki\r\n",
             "-4\r\nWiki\r\n",
             " 4\r\nWiki\r\n",
             "4 \r\nWiki\r\n",
             "\r\n",
             ";x\r\n",
             "g\r\n",
             "4\nWiki\r\n",
             "4\r\nWikix\r\n",
             "4\r\nWiki\n",
             "4\r\nWiki0\r\n\r\n",
             "4;\x01\r\n",
             "4;a\nb\r\n",
             "4\rx",
             "0\r\n x: folded\r\n\r\n",
             "0\r\nname\r\n\r\n",
             "0\r\n: v\r\n\r\n",
             "0\r\na b: v\r\n\r\n",
             "0\r\na: \x02\r\n\r\n",
             "0\r\na: b\n\r\n",
             "0\r\n\rx",
             "0\r\n\n",
         })
        for (size_t step : {1u, 1000u})
            EXPECT_EQ(Feed(bad, step).read, HTTP_READ_BAD) << bad;
    EXPECT_EQ(Feed(std::string("4;\0\r\n", 5)).read, HTTP_READ_BAD);
}

TEST(Chunks, HaveALimitSaidBeforeTheData)
{
    EXPECT_EQ(Feed("3e8\r\n" + std::string(1000, 'x') + "\r\n0\r\n\r\n").read, HTTP_READ_DONE);
    Outcome out = Feed("3e9\r\n" + std::string(1001, 'x'));
    EXPECT_EQ(out.read, HTTP_READ_TOO_LARGE);
    EXPECT_EQ(out.body, "");
    out = Feed("3e7\r\n" + std::string(999, 'x') + "\r\n2\r\nxx\r\n");
    EXPECT_EQ(out.read, HTTP_READ_TOO_LARGE) << "the sum counts";
    EXPECT_EQ(out.body.size(), 999u);
    EXPECT_EQ(Feed("ffffffffffffffff\r\n").read, HTTP_READ_TOO_LARGE);
    EXPECT_EQ(Feed("10000000000000000\r\n").read, HTTP_READ_TOO_LARGE) << "more than 64 bits";
    EXPECT_EQ(Feed(std::string(500, 'f') + "\r\n").read, HTTP_READ_TOO_LARGE);
}

TEST(Chunks, ExtensionsAndTrailersAreBounded)
{
    EXPECT_EQ(Feed("1;" + std::string(100, 'e') + "\r\nx\r\n0\r\n\r\n").read, HTTP_READ_DONE);
    EXPECT_EQ(Feed("1;" + std::string(101, 'e') + "\r\nx\r\n0\r\n\r\n").read, HTTP_READ_TOO_LARGE);
    EXPECT_EQ(Feed("0\r\na:" + std::string(98, 'e') + "\r\n\r\n").read, HTTP_READ_DONE);
    EXPECT_EQ(Feed("0\r\na:" + std::string(99, 'e') + "\r\n\r\n").read, HTTP_READ_TOO_LARGE);
    std::string many = "0\r\n";
    for (int i = 0; i < 60; i++)
        many += "a:\r\n";
    EXPECT_EQ(Feed(many + "\r\n").read, HTTP_READ_TOO_LARGE);
}

} // namespace
