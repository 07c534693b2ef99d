#include "server/http/http_answer.h"

#include <event2/buffer.h>
#include <gtest/gtest.h>

#include <string>

namespace
{

std::string Write(const http_answer &answer, const std::string &more = "")
{
    evbuffer *out = evbuffer_new(), *lines = more.empty() ? nullptr : evbuffer_new();
    if (lines)
        evbuffer_add(lines, more.data(), more.size());
    EXPECT_TRUE(http_answer_write(out, &answer, lines));
    std::string text(reinterpret_cast<char *>(evbuffer_pullup(out, -1)), evbuffer_get_length(out));
    evbuffer_free(out);
    if (lines)
        evbuffer_free(lines);
    return text;
}

TEST(Answer, Heads)
{
    http_answer answer = {};
    answer.code = 200;
    answer.date = "D";
    answer.content_type = "text/plain";
    answer.framing = HTTP_LENGTH_KNOWN;
    answer.length = 5;
    answer.keep_alive = true;
    EXPECT_EQ(Write(answer), "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Type: text/plain\r\n"
                             "Content-Length: 5\r\n\r\n");
    answer.say_keep_alive = true;
    answer.request_id = "r-1";
    EXPECT_EQ(Write(answer, "A: b\r\n"),
              "HTTP/1.1 200 OK\r\nDate: D\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n"
              "X-Request-Id: r-1\r\nConnection: keep-alive\r\nA: b\r\n\r\n");
    answer = {};
    answer.code = 431;
    answer.date = "D";
    answer.framing = HTTP_LENGTH_CHUNKED;
    EXPECT_EQ(Write(answer), "HTTP/1.1 431 Request Header Fields Too Large\r\nDate: D\r\n"
                             "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n");
    answer.code = 299;
    answer.framing = HTTP_LENGTH_CLOSE;
    EXPECT_EQ(Write(answer), "HTTP/1.1 299 \r\nDate: D\r\nConnection: close\r\n\r\n");
}

TEST(Answer, Dates)
{
    http_date date = {};
    EXPECT_STREQ(http_date_text(&date, 784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
    EXPECT_STREQ(http_date_text(&date, 784111777), "Sun, 06 Nov 1994 08:49:37 GMT");
    EXPECT_STREQ(http_date_text(&date, 0), "Thu, 01 Jan 1970 00:00:00 GMT");
    EXPECT_STREQ(http_date_text(&date, 1709164800), "Thu, 29 Feb 2024 00:00:00 GMT");
}

TEST(Answer, RequestIds)
{
    EXPECT_TRUE(http_request_id_ok("req_42 a~"));
    EXPECT_TRUE(http_request_id_ok(std::string(128, 'x').c_str()));
    EXPECT_FALSE(http_request_id_ok(std::string(129, 'x').c_str()));
    EXPECT_FALSE(http_request_id_ok(""));
    EXPECT_FALSE(http_request_id_ok("a\tb"));
    EXPECT_FALSE(http_request_id_ok("a\xc3\xa4"));
    EXPECT_FALSE(http_request_id_ok("a\x7f"));
}

} // namespace
