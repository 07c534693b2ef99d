#include "clients/bench/sse.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace {

/* All events of a text that comes in pieces of `step` bytes. */
std::vector<std::string> events(const std::string &text, size_t step)
{
    std::vector<std::string> out;
    sse s;
    sse_init(&s);
    for (size_t at = 0; at < text.size(); at += step) {
        std::string piece = text.substr(at, step);
        for (size_t from = 0; from < piece.size();) {
            size_t used, bytes;
            const char *data;
            sse_status status = sse_feed(&s, piece.data() + from, piece.size() - from, &used, &data,
                                         &bytes);
            EXPECT_GT(used, 0u);
            from += used;
            if (status == SSE_EVENT) {
                EXPECT_EQ('\0', data[bytes]);
                out.push_back(std::string(data, bytes));
            } else {
                EXPECT_EQ(SSE_MORE, status);
                EXPECT_EQ(piece.size(), from);
            }
        }
    }
    sse_close(&s);
    return out;
}

void expect_events(const std::vector<std::string> &expected, const std::string &text)
{
    for (size_t step : {size_t(1), size_t(2), size_t(3), size_t(7), text.size()})
        EXPECT_EQ(expected, events(text, step)) << step;
}

TEST(sse, an_event_is_its_data)
{
    expect_events({"{\"a\":1}", "[DONE]"}, "data: {\"a\":1}\n\ndata: [DONE]\n\n");
}

TEST(sse, lines_end_in_three_ways)
{
    expect_events({"1", "2", "3", "4"}, "data: 1\n\ndata: 2\r\n\r\ndata: 3\r\rdata:4\n\r\n");
}

TEST(sse, several_data_lines_are_one_event)
{
    expect_events({"a\nb\n\nc"}, "data: a\ndata: b\ndata\ndata:c\n\n");
}

TEST(sse, comments_and_other_fields_are_passed_over)
{
    expect_events({" x"},
                  ": ping\n\nevent: token\nid: 7\nretry: 5\ndata:  x\nnonsense\n\n: ping\n\n");
}

TEST(sse, an_event_without_its_empty_line_has_not_come)
{
    expect_events({"1"}, "data: 1\n\ndata: 2\n");
    expect_events({}, "data: 1");
}

TEST(sse, empty_data_is_an_event_and_none_is_not)
{
    expect_events({"", "x"}, "data:\n\n\n\nevent: e\n\ndata: x\n\n");
}

TEST(sse, an_endless_line_is_bad)
{
    sse s;
    sse_init(&s);
    std::string text(1 << 20, 'x');
    sse_status status = SSE_MORE;
    int pieces = 0;
    while (status == SSE_MORE && pieces < 100) {
        size_t used, bytes;
        const char *data;
        status = sse_feed(&s, text.data(), text.size(), &used, &data, &bytes);
        pieces++;
    }
    EXPECT_EQ(SSE_BAD, status);
    EXPECT_EQ(17, pieces);
    sse_close(&s);
}

} // namespace
