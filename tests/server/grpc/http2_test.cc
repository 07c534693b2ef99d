/* Connections: clocks, floods, and what the handler is told. Streams are in http2_stream_test. */
#include "server/grpc/http2.h"

#include <event2/bufferevent.h>

#include "tests/server/grpc/http2_pair.h"

namespace {

using wire::Pair;

TEST(Http2, HandlerHearsARequestInOrder)
{
    Pair pair;
    pair.Request({{":method", "POST"}, {":path", "/x"}, {":scheme", "http"}, {"a", "b"}}, "body");
    ASSERT_TRUE(pair.Run([&] { return pair.ended == 1; }));
    EXPECT_EQ(pair.log, "begin :method=POST :path=/x :scheme=http a=b headers data=body end ");
}

TEST(Http2, HeadersBeyondTheLimitAreNotHandedOver)
{
    Pair pair([](http2_limits *limits) { limits->header_bytes_max = 250; });
    pair.Request({{":method", "GET"}, {":path", "/"}, {":scheme", "http"},
                  {"long", std::string(150, 'x')}, {"after", "1"}}, "");
    ASSERT_TRUE(pair.Run([&] { return pair.ended == 1; }));
    EXPECT_EQ(pair.log, "begin :method=GET :path=/ :scheme=http too_large end ");
}

TEST(Http2, TooManyPings)
{
    Pair pair([](http2_limits *limits) {
        limits->ping_min_interval_ms = 10000;
        limits->ping_strikes_max = 3;
    });
    for (int i = 0; i < 4; i++)
        nghttp2_submit_ping(pair.client, 0, nullptr);
    EXPECT_FALSE(pair.Run([&] { return pair.goaway >= 0; }, 0.1));
    nghttp2_submit_ping(pair.client, 0, nullptr);
    ASSERT_TRUE(pair.Run([&] { return pair.goaway >= 0; }));
    EXPECT_EQ(pair.goaway, NGHTTP2_ENHANCE_YOUR_CALM);
    EXPECT_TRUE(pair.Run([&] { return http2_connection_quiet(pair.connection); }));
}

TEST(Http2, SilenceBeforeThePrefaceEndsTheConnection)
{
    Pair pair([](http2_limits *limits) { limits->keepalive_timeout_s = 5; }, false);
    http2_connection_tick(pair.connection, clock_now_ns() + 4900000000u);
    ASSERT_EQ(pair.lost, "");
    http2_connection_tick(pair.connection, clock_now_ns() + 5100000000u);
    EXPECT_EQ(pair.lost, "no HTTP/2 preface came");
}

TEST(Http2, KeepaliveAsksAndThenGivesUp)
{
    Pair pair([](http2_limits *limits) {
        limits->keepalive_time_s = 10;
        limits->keepalive_timeout_s = 5;
    });
    pair.Settle();
    uint64_t now = clock_now_ns();
    http2_connection_tick(pair.connection, now + 11000000000u);
    ASSERT_TRUE(pair.Run([&] { return pair.pings == 1; })); /* and the client has answered */
    pair.Settle();
    http2_connection_tick(pair.connection, now + 12000000000u); /* asks again; nobody answers */
    http2_connection_tick(pair.connection, now + 16000000000u);
    ASSERT_EQ(pair.lost, "");
    http2_connection_tick(pair.connection, now + 18000000000u);
    EXPECT_EQ(pair.lost, "no answer to the keepalive PING");
}

TEST(Http2, IdleAndAgeBeginADrain)
{
    for (bool age : {false, true}) {
        Pair pair([&](http2_limits *limits) {
            limits->idle_timeout_s = age ? 0 : 10;
            limits->connection_age_max_s = age ? 10 : 0;
            limits->connection_grace_s = 10;
        });
        pair.Settle();
        http2_connection_tick(pair.connection, clock_now_ns() + 9000000000u);
        EXPECT_FALSE(pair.Run([&] { return pair.goaway >= 0; }, 0.05));
        http2_connection_tick(pair.connection, clock_now_ns() + 10500000000u);
        ASSERT_TRUE(pair.Run([&] { return pair.goaway >= 0; }));
        EXPECT_EQ(pair.goaway, NGHTTP2_NO_ERROR);
    }
}

TEST(Http2, GraceIsNotForEver)
{
    Pair pair([](http2_limits *limits) {
        limits->connection_age_max_s = 10;
        limits->connection_grace_s = 10;
    });
    pair.Request({{":method", "GET"}, {":path", "/"}, {":scheme", "http"}}, "");
    ASSERT_TRUE(pair.Run([&] { return pair.ended == 1; }));
    http2_connection_tick(pair.connection, clock_now_ns() + 21000000000u);
    EXPECT_EQ(pair.lost, "older than the maximum age and its grace");
    EXPECT_EQ(pair.closed, 1);
}

TEST(Http2, ACloseTellsStreamsFirst)
{
    Pair pair;
    for (int i = 0; i < 3; i++)
        pair.Request({{":method", "GET"}, {":path", "/"}, {":scheme", "http"}}, "");
    ASSERT_TRUE(pair.Run([&] { return pair.ended == 3; }));
    http2_connection_close(pair.connection, "test");
    EXPECT_EQ(pair.closed, 3);
    EXPECT_EQ(pair.lost, "test");
}

} // namespace
