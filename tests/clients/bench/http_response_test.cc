#include "clients/bench/http_response.h"

#include <gtest/gtest.h>

#include <string>

namespace {

struct Outcome {
    http_response_event event = HTTP_RESPONSE_MORE; /* the last */
    int status = 0;
    std::string body;
    size_t used = 0;
    bool keep_alive = false, ends_here = false;
};

Outcome feed(const std::string &text, size_t step)
{
    http_response r;
    Outcome out;
    http_response_init(&r);
    while (out.used < text.size() && out.event != HTTP_RESPONSE_BAD &&
           out.event != HTTP_RESPONSE_END) {
        size_t used, body_bytes = 0;
        const uint8_t *body = nullptr;
        size_t size = std::min(step, text.size() - out.used);
        /* A copy of its own, so that reading past its end is seen by the sanitizer. */
        std::string piece = text.substr(out.used, size);
        out.event = http_response_feed(&r, (const uint8_t *)piece.data(), size, &used, &body,
                                       &body_bytes);
        EXPECT_LE(used, size);
        if (out.event == HTTP_RESPONSE_BODY)
            out.body.append((const char *)body, body_bytes);
        out.used += used;
        if (r.state == HTTP_RESPONSE_DONE)
            out.event = HTTP_RESPONSE_END;
    }
    out.status = r.status;
    out.keep_alive = r.keep_alive;
    out.ends_here = http_response_ends_here(&r);
    return out;
}

void expect_body(const std::string &head, const std::string &body, const std::string &expected,
                 bool keep_alive = true)
{
    std::string text = "HTTP/1.1 200 OK\r\n" + head + "\r\n" + body;
    for (size_t step : {size_t(1), size_t(2), size_t(5), text.size()}) {
        Outcome o = feed(text, step);
        EXPECT_EQ(HTTP_RESPONSE_END, o.event) << head << step;
        EXPECT_EQ(200, o.status);
        EXPECT_EQ(expected, o.body) << head << step;
        EXPECT_EQ(text.size(), o.used) << head << step;
        EXPECT_EQ(keep_alive, o.keep_alive) << head;
    }
}

TEST(http_response, a_body_with_a_length)
{
    expect_body("Content-Length: 5\r\n", "hello", "hello");
    expect_body("content-length:5 \r\nX: y\r\n", "hello", "hello");
    expect_body("Content-Length: 0\r\n", "", "");
    expect_body("Connection: close\r\nContent-Length: 1\r\n", "x", "x", false);
    expect_body("Connection: upgrade, Close\r\nContent-Length: 1\r\n", "x", "x", false);
}

TEST(http_response, a_body_in_chunks)
{
    expect_body("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", "hello!");
    expect_body("Transfer-Encoding: Chunked\r\n", "00A;name=\"v\"\r\n0123456789\r\n0\r\n\r\n",
                "0123456789");
    expect_body("Transfer-Encoding: chunked\r\n", "0\r\nExpires: never\r\n\r\n", "");
}

TEST(http_response, lines_may_end_in_lf_alone)
{
    Outcome o = feed("HTTP/1.1 404 Not Found\nContent-Length: 2\n\nno", 4);
    EXPECT_EQ(HTTP_RESPONSE_END, o.event);
    EXPECT_EQ(404, o.status);
    EXPECT_EQ("no", o.body);
}

TEST(http_response, a_body_until_the_connection_closes)
{
    Outcome o = feed("HTTP/1.1 200 OK\r\n\r\nall of this", 3);
    EXPECT_EQ(HTTP_RESPONSE_BODY, o.event);
    EXPECT_EQ("all of this", o.body);
    EXPECT_TRUE(o.ends_here);
    EXPECT_FALSE(o.keep_alive);
}

TEST(http_response, an_interim_answer_is_not_the_answer)
{
    Outcome o = feed("HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 9);
    EXPECT_EQ(HTTP_RESPONSE_END, o.event);
    EXPECT_EQ(204, o.status);
}

TEST(http_response, http_1_0_closes_unless_it_says_otherwise)
{
    EXPECT_FALSE(feed("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 9).keep_alive);
    EXPECT_TRUE(feed("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", 9)
                    .keep_alive);
}

TEST(http_response, the_end_comes_exactly_once_and_takes_no_more)
{
    std::string one = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx";
    EXPECT_EQ(one.size(), feed(one + "HTTP/1.1 200 OK\r\n", 1000).used);
}

TEST(http_response, an_unfinished_answer_does_not_end_with_its_connection)
{
    for (const char *text :
         {"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"})
        EXPECT_FALSE(feed(text, 1000).ends_here) << text;
}

TEST(http_response, what_two_readers_could_understand_differently_is_refused)
{
    const std::string ok = "HTTP/1.1 200 OK\r\n", chunked = "Transfer-Encoding: chunked\r\n\r\n";
    for (const std::string &text : {
             std::string("SSH-2.0-x\r\n"), std::string("HTTP/2.0 200 OK\r\n"),
             std::string("HTTP/1.1 2000 OK\r\n"), std::string("HTTP/1.1  200\r\n"),
             std::string("HTTP/1.1 099 X\r\n"),
             ok + "Content-Length: 1\r\nContent-Length: 2\r\n", ok + "Content-Length: -1\r\n",
             ok + "Content-Length: 1,1\r\n", ok + "Content-Length: 99999999999999999999\r\n",
             ok + "Content-Length:\r\n", ok + "Content-Length: 1\r\n" + chunked,
             ok + "Transfer-Encoding: gzip, chunked\r\n", ok + "no colon\r\n", ok + ": x\r\n",
             ok + "A b: c\r\n", ok + "A: b\r\n folded\r\n", ok + std::string("A: \0b\r\n", 7),
             ok + chunked + "x\r\n", ok + chunked + "\r\n", ok + chunked + "1 1\r\n",
             ok + chunked + "1\r\nab\r\n", ok + chunked + "fffffffffffffffff\r\n",
             std::string("HTTP/1.1 101 Switching\r\n\r\n"),
         }) {
        EXPECT_EQ(HTTP_RESPONSE_BAD, feed(text, 1).event) << text;
        EXPECT_EQ(HTTP_RESPONSE_BAD, feed(text, text.size()).event) << text;
    }
}

TEST(http_response, heads_are_bounded)
{
    std::string line = "X: " + std::string(HTTP_RESPONSE_LINE_BYTES_MAX, 'y') + "\r\n";
    EXPECT_EQ(HTTP_RESPONSE_BAD, feed("HTTP/1.1 200 OK\r\n" + line, 100).event);
    std::string head = "HTTP/1.1 200 OK\r\n";
    for (int i = 0; i < 20000; i++)
        head += "X: y\r\n";
    EXPECT_EQ(HTTP_RESPONSE_BAD, feed(head, 1000).event);
    /* Any number of chunks is not a head. */
    std::string body;
    for (int i = 0; i < 20000; i++)
        body += "1\r\nx\r\n";
    expect_body("Transfer-Encoding: chunked\r\n", body + "0\r\n\r\n", std::string(20000, 'x'));
}

} // namespace
