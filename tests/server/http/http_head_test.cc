#include "server/http/http_head.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace
{

/* Feeds the text in pieces of `step` bytes and parses it where it is whole. */
class Head : public testing::Test {
  protected:
    ~Head() override { Reset(); }
    void Reset()
    {
        http_head_reset(&head_);
        http_head_reader_reset(&reader_);
    }
    enum http_read Read(const std::string &text, size_t step, size_t limit = 4096)
    {
        Reset();
        consumed_ = 0;
        enum http_read read = HTTP_READ_MORE;
        while (read == HTTP_READ_MORE && consumed_ < text.size()) {
            size_t taken, n = std::min(step, text.size() - consumed_);
            std::string piece = text.substr(consumed_, n); /* a copy: overreads are seen */
            read = http_head_read(&reader_, limit, reinterpret_cast<const uint8_t *>(piece.data()),
                                  n, &taken);
            consumed_ += taken;
            if (read == HTTP_READ_MORE) {
                EXPECT_EQ(taken, n);
            }
        }
        return read;
    }
    /* The code of the refusal; 0: parsed. -1: the reader refused it, -2: not whole. */
    int Parse(const std::string &text, size_t step = 1000000)
    {
        why_ = {};
        enum http_read read = Read(text, step);
        if (read != HTTP_READ_DONE)
            return read == HTTP_READ_MORE ? -2 : -1;
        if (http_head_parse(&head_, &reader_, &why_))
            return 0;
        EXPECT_NE(why_.message, nullptr);
        return http_problem_code(why_.problem);
    }
    int Lines(const std::string &lines)
    {
        return Parse("POST /p HTTP/1.1\r\nHost: a\r\n" + lines + "\r\n");
    }

    http_head_reader reader_ = {};
    http_head head_ = {};
    http_failure why_ = {};
    size_t consumed_ = 0;
};

TEST_F(Head, ReadsARequestInPiecesOfAnySize)
{
    const std::string text = "\r\nPOST /v1/x?y=1 HTTP/1.1\r\nHost: a\r\nX-Empty:\r\n"
                             "x-spaced: \t a b \t\r\nContent-Length: 17\r\n\r\n";
    for (size_t step : {1u, 2u, 3u, 7u, 1000u}) {
        ASSERT_EQ(Parse(text + "BODY", step), 0) << step;
        EXPECT_EQ(consumed_, text.size()) << "nothing of the body is taken";
        EXPECT_STREQ(head_.method, "POST");
        EXPECT_STREQ(head_.target, "/v1/x?y=1");
        EXPECT_EQ(head_.minor, 1u);
        EXPECT_STREQ(http_head_find(&head_, "X-SPACED"), "a b");
        EXPECT_STREQ(http_head_find(&head_, "X-Empty"), "");
        EXPECT_EQ(http_head_find(&head_, "X"), nullptr);
        EXPECT_TRUE(head_.has_length);
        EXPECT_EQ(head_.length, 17u);
        EXPECT_TRUE(head_.keep_alive);
        EXPECT_FALSE(http_head_begun(&reader_)) << "the text has gone to the head";
    }
}

TEST_F(Head, WhatCanBeSeenByTheByteIsRefusedByTheByte)
{
    size_t taken;
    auto refused_at = [&](const std::string &text) {
        EXPECT_EQ(Read(text, 1), HTTP_READ_BAD) << text;
        return consumed_;
    };
    EXPECT_EQ(refused_at("\x16\x03\x01"), 0u) << "a TLS greeting";
    EXPECT_EQ(refused_at("GET / HTTP/1.1\n"), 14u) << "a bare LF";
    EXPECT_EQ(refused_at("GET /\rx"), 6u) << "a bare CR";
    EXPECT_EQ(refused_at(std::string("GET /\0", 6)), 5u) << "a NUL";
    EXPECT_EQ(refused_at(" GET"), 0u);
    EXPECT_EQ(refused_at("\n"), 0u);
    EXPECT_EQ(refused_at("\r\r"), 1u);
    Reset();
    const uint8_t cr = '\r';
    EXPECT_FALSE(http_head_begun(&reader_));
    EXPECT_EQ(http_head_read(&reader_, 10, &cr, 1, &taken), HTTP_READ_MORE);
    EXPECT_TRUE(http_head_begun(&reader_));
}

TEST_F(Head, HasALimitInBytes)
{
    std::string text = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    text += std::string(200 - text.size() - 4, 'x') + "\r\n\r\n";
    ASSERT_EQ(text.size(), 200u);
    EXPECT_EQ(Read(text, 3, 200), HTTP_READ_DONE);
    EXPECT_EQ(Read(text, 3, 199), HTTP_READ_TOO_LARGE);
    EXPECT_EQ(Read(std::string(5000, 'G'), 4096), HTTP_READ_TOO_LARGE);
    EXPECT_LE(reader_.capacity, 4096u);
}

TEST_F(Head, HasALimitInFields)
{
    std::string lines;
    for (int i = 0; i < HTTP_FIELDS_MAX - 1; i++)
        lines += "x:\r\n";
    EXPECT_EQ(Lines(lines), 0);
    EXPECT_EQ(Lines(lines + "x:\r\n"), 431);
}

TEST_F(Head, RequestLines)
{
    auto line = [&](const std::string &text) { return Parse(text + "\r\nHost: a\r\n\r\n"); };
    EXPECT_EQ(line("GET / HTTP/1.1"), 0);
    EXPECT_EQ(line("get /%20 HTTP/1.0"), 0);
    EXPECT_EQ(line("GET / HTTP/1.9"), 0);
    EXPECT_EQ(line("GET /"), 400);
    EXPECT_EQ(line("GET"), 400);
    EXPECT_EQ(line("GET  / HTTP/1.1"), 400);
    EXPECT_EQ(line("GET / HTTP/1.1 "), 400);
    EXPECT_EQ(line("GET /a b HTTP/1.1"), 400);
    EXPECT_EQ(line("GET\t/ HTTP/1.1"), 400);
    EXPECT_EQ(line("GET /\x80 HTTP/1.1"), 400);
    EXPECT_EQ(line("GET /\x7f HTTP/1.1"), 400);
    EXPECT_EQ(line("G(T / HTTP/1.1"), 400);
    EXPECT_EQ(line(std::string(33, 'G') + " / HTTP/1.1"), 400);
    EXPECT_EQ(line(std::string(32, 'G') + " / HTTP/1.1"), 0);
    EXPECT_EQ(line("GET / HTTP/1.10"), 505);
    EXPECT_EQ(line("GET / HTTP/2.0"), 505);
    EXPECT_EQ(line("GET / http/1.1"), 400);
    EXPECT_EQ(line("GET / FTP/1.1"), 400);
    EXPECT_EQ(line("GET / HTTP/1."), 505);
}

TEST_F(Head, Fields)
{
    EXPECT_EQ(Lines("A: b\r\n"), 0);
    EXPECT_EQ(Lines("A: \xc3\xa4\r\n"), 0) << "obs-text is let through";
    EXPECT_EQ(Lines("A : b\r\n"), 400) << "a blank before the colon";
    EXPECT_EQ(Lines("A\r\n"), 400);
    EXPECT_EQ(Lines(": b\r\n"), 400);
    EXPECT_EQ(Lines("A(: b\r\n"), 400);
    EXPECT_EQ(Lines("A: b\r\n c\r\n"), 400) << "folded";
    EXPECT_EQ(Lines("A: b\r\n\tc\r\n"), 400) << "folded";
    EXPECT_EQ(Lines("A: \x01\r\n"), 400);
    EXPECT_EQ(Lines("A: \x7f\r\n"), 400);
    EXPECT_EQ(Parse("GET / HTTP/1.1\r\n Host: a\r\n\r\n"), 400) << "folded into the request line";
}

TEST_F(Head, BodiesThatTwoParsersCouldReadDifferently)
{
    EXPECT_EQ(Lines("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"), 400);
    EXPECT_EQ(Lines("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"), 400);
    EXPECT_EQ(Lines("Content-Length: 3\r\nContent-Length: 4\r\n"), 400);
    EXPECT_EQ(Lines("Content-Length: 3\r\nContent-Length: 3\r\n"), 400);
    EXPECT_EQ(Lines("Content-Length: 3, 3\r\n"), 400);
    EXPECT_EQ(Lines("Content-Length: +3\r\n"), 400);
    EXPECT_EQ(Lines("Content-Length: -3\r\n"), 400);
    EXPECT_EQ(Lines("Content-Length: 0x3\r\n"), 400);
    EXPECT_EQ(Lines("Content-Length: 3 4\r\n"), 400);
    EXPECT_EQ(Lines("Content-Length:\r\n"), 400);
    EXPECT_EQ(Lines("Transfer-Encoding: identity\r\n"), 501);
    EXPECT_EQ(Lines("Transfer-Encoding: gzip, chunked\r\n"), 501);
    EXPECT_EQ(Lines("Transfer-Encoding: chunked, chunked\r\n"), 501);
    EXPECT_EQ(Lines("Transfer-Encoding: xchunked\r\n"), 501);
    EXPECT_EQ(Lines("Transfer-Encoding:\r\n chunked\r\n"), 400);
    EXPECT_EQ(Lines("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400);
    EXPECT_EQ(Parse("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
    ASSERT_EQ(Lines("tRANSFER-eNCODING: Chunked\r\n"), 0);
    EXPECT_TRUE(head_.chunked);
}

TEST_F(Head, LongLengthsAreBeyondEveryLimit)
{
    ASSERT_EQ(Lines("Content-Length: 18446744073709551614\r\n"), 0);
    EXPECT_EQ(head_.length, UINT64_MAX - 1);
    ASSERT_EQ(Lines("Content-Length: 18446744073709551616\r\n"), 0);
    EXPECT_EQ(head_.length, UINT64_MAX);
    ASSERT_EQ(Lines("Content-Length: 99999999999999999999999999999\r\n"), 0);
    EXPECT_EQ(head_.length, UINT64_MAX);
    ASSERT_EQ(Lines("Content-Length: 0000000000000000000000000000012\r\n"), 0);
    EXPECT_EQ(head_.length, 12u);
}

TEST_F(Head, HostsAndConnections)
{
    EXPECT_EQ(Parse("GET / HTTP/1.1\r\n\r\n"), 400) << "no Host";
    EXPECT_EQ(Lines("Host: b\r\n"), 400) << "a second Host";
    ASSERT_EQ(Parse("GET / HTTP/1.0\r\n\r\n"), 0);
    EXPECT_FALSE(head_.keep_alive);
    ASSERT_EQ(Parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"), 0);
    EXPECT_TRUE(head_.keep_alive);
    ASSERT_EQ(Lines("Connection: TE, Close\r\n"), 0);
    EXPECT_FALSE(head_.keep_alive);
    ASSERT_EQ(Lines("Connection: closed\r\n"), 0);
    EXPECT_TRUE(head_.keep_alive);
}

TEST_F(Head, Expectations)
{
    ASSERT_EQ(Lines("Expect: 100-Continue\r\n"), 0);
    EXPECT_TRUE(head_.expects_continue);
    EXPECT_EQ(Lines("Expect: tea\r\n"), 417);
    ASSERT_EQ(Parse("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"), 0);
    EXPECT_FALSE(head_.expects_continue) << "HTTP/1.0 has no 100";
}

} // namespace
