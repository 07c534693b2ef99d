#include "clients/c/grpc_end.h"

#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>
#include <string.h>

#include <string>
#include <utility>
#include <vector>

namespace {

using Headers = std::vector<std::pair<std::string, std::string>>;

channel_result ended(const Headers &headers, uint32_t error_code = NGHTTP2_NO_ERROR)
{
    grpc_end end = {};
    for (auto &h : headers)
        grpc_end_header(&end, (const uint8_t *)h.first.data(), h.first.size(),
                        (const uint8_t *)h.second.data(), h.second.size());
    grpc_end_close(&end, error_code);
    return end.result;
}

TEST(grpc_end, what_the_server_says_holds)
{
    channel_result r = ended({{":status", "200"}, {"grpc-status", "0"}});
    EXPECT_EQ(GRPC_OK, r.status);
    EXPECT_STREQ("", r.message);
    r = ended({{":status", "200"}, {"grpc-message", "no%20room"}, {"x-other", "1"},
               {"grpc-status", "8"}},
              NGHTTP2_CANCEL);
    EXPECT_EQ(GRPC_RESOURCE_EXHAUSTED, r.status);
    EXPECT_STREQ("no room", r.message);
}

TEST(grpc_end, a_status_that_is_no_number_is_unknown)
{
    for (const char *text : {"", "x", "-1", "1x", "99999999999"})
        EXPECT_EQ(GRPC_UNKNOWN, ended({{"grpc-status", text}}).status) << text;
}

TEST(grpc_end, without_a_status_it_is_never_ok)
{
    channel_result r = ended({{":status", "502"}});
    EXPECT_EQ(GRPC_UNKNOWN, r.status);
    EXPECT_STREQ("the server answered HTTP 502", r.message);
    r = ended({{":status", "200"}}, NGHTTP2_REFUSED_STREAM);
    EXPECT_EQ(GRPC_UNAVAILABLE, r.status);
    r = ended({}, NGHTTP2_CANCEL);
    EXPECT_EQ(GRPC_CANCELLED, r.status);
    r = ended({{":status", "200"}}, NGHTTP2_INTERNAL_ERROR);
    EXPECT_EQ(GRPC_INTERNAL, r.status);
    EXPECT_STREQ("the stream ended without a status (HTTP/2 error 2)", r.message);
    EXPECT_EQ(GRPC_INTERNAL, ended({}).status);
}

TEST(grpc_end, long_sentences_are_cut)
{
    channel_result r = ended({{"grpc-message", std::string(5000, 'a')}, {"grpc-status", "3"}});
    EXPECT_EQ(sizeof r.message - 1, strlen(r.message));
}

} // namespace
