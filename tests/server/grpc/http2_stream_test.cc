#include "server/grpc/http2_stream.h"

#include "tests/server/grpc/http2_pair.h"

namespace {

using wire::Pair;

http2_field F(const char *name, const char *value)
{
    return {name, strlen(name), value, strlen(value)};
}

class Http2Stream : public testing::Test {
  protected:
    void SetUp() override
    {
        pair_.Request({{":method", "POST"}, {":path", "/x"}, {":scheme", "http"}}, "body");
        ASSERT_TRUE(pair_.Run([&] { return pair_.ended == 1; }));
        stream_ = pair_.streams.at(0);
    }
    Pair pair_;
    http2_stream *stream_ = nullptr;
};

TEST_F(Http2Stream, HeadersAlone)
{
    http2_field fields[] = {F(":status", "204"), F("a", "b")};
    ASSERT_EQ(http2_stream_respond(stream_, fields, 2, true), STATUS_OK);
    ASSERT_TRUE(pair_.Run([&] { return pair_.closed == 1; }));
    EXPECT_TRUE(pair_.complete);
    EXPECT_EQ(pair_.received, ":status=204 a=b ");
}

TEST_F(Http2Stream, BodyThenTrailers)
{
    http2_field fields[] = {F(":status", "200")}, trailers[] = {F("t", "1")};
    ASSERT_EQ(http2_stream_respond(stream_, fields, 1, false), STATUS_OK);
    pair_.Settle();
    EXPECT_EQ(pair_.received, ":status=200 "); /* headers do not wait for a body */
    ASSERT_EQ(http2_stream_write(stream_, "hello ", 6), STATUS_OK);
    ASSERT_EQ(http2_stream_write(stream_, "world", 5), STATUS_OK);
    EXPECT_EQ(http2_stream_unsent(stream_), 11u);
    ASSERT_EQ(http2_stream_finish(stream_, trailers, 1), STATUS_OK);
    ASSERT_TRUE(pair_.Run([&] { return pair_.closed == 1; }));
    EXPECT_TRUE(pair_.complete);
    EXPECT_EQ(pair_.received, ":status=200 hello worldt=1 ");
}

TEST_F(Http2Stream, TrailersAfterAnEmptyQueue)
{
    http2_field fields[] = {F(":status", "200")}, trailers[] = {F("t", "1")};
    ASSERT_EQ(http2_stream_respond(stream_, fields, 1, false), STATUS_OK);
    pair_.Settle();
    ASSERT_EQ(http2_stream_finish(stream_, trailers, 1), STATUS_OK);
    ASSERT_TRUE(pair_.Run([&] { return pair_.closed == 1; }));
    EXPECT_EQ(pair_.received, ":status=200 t=1 ");
}

TEST_F(Http2Stream, WritableComesOnceAtHalf)
{
    http2_field fields[] = {F(":status", "200")};
    std::string block(300000, 'x'); /* more than the client's window of 65,535 */
    ASSERT_EQ(http2_stream_respond(stream_, fields, 1, false), STATUS_OK);
    ASSERT_EQ(http2_stream_write(stream_, block.data(), block.size()), STATUS_OK);
    http2_stream_want_writable(stream_);
    pair_.Settle();
    EXPECT_EQ(pair_.writable, 0);
    EXPECT_EQ(http2_stream_unsent(stream_), block.size() - 65535);
    pair_.OpenWindows(1, 50000);
    pair_.Settle();
    EXPECT_EQ(pair_.writable, 0);
    pair_.OpenWindows(1, 100000);
    ASSERT_TRUE(pair_.Run([&] { return pair_.writable == 1; }));
    EXPECT_LE(http2_stream_unsent(stream_), block.size() / 2);
    pair_.OpenWindows(1, 100000);
    pair_.Settle();
    EXPECT_EQ(pair_.writable, 1);
    EXPECT_EQ(http2_stream_unsent(stream_), 0u);
}

TEST_F(Http2Stream, ResetDropsTheQueue)
{
    http2_field fields[] = {F(":status", "200")};
    std::string block(300000, 'x');
    ASSERT_EQ(http2_stream_respond(stream_, fields, 1, false), STATUS_OK);
    ASSERT_EQ(http2_stream_write(stream_, block.data(), block.size()), STATUS_OK);
    pair_.Settle();
    http2_stream_reset(stream_, HTTP2_CANCEL);
    EXPECT_EQ(http2_stream_unsent(stream_), 0u);
    ASSERT_TRUE(pair_.Run([&] { return pair_.closed == 1; }));
    EXPECT_FALSE(pair_.complete);
    EXPECT_EQ(pair_.error, NGHTTP2_CANCEL);
}

TEST_F(Http2Stream, WindowsAreGivenBackOnlyWhenConsumed)
{
    std::string body(HTTP2_STREAM_WINDOW_BYTES + 50000, 'x');
    pair_.Request({{":method", "POST"}, {":path", "/x"}, {":scheme", "http"}}, body);
    EXPECT_FALSE(pair_.Run([&] { return pair_.ended == 2; }, 0.2));
    EXPECT_EQ(pair_.body_bytes, 4u + HTTP2_STREAM_WINDOW_BYTES);
    http2_stream_consume(pair_.streams.at(1), HTTP2_STREAM_WINDOW_BYTES);
    ASSERT_TRUE(pair_.Run([&] { return pair_.ended == 2; }));
    EXPECT_EQ(pair_.body_bytes, 4u + body.size());
}

} // namespace
