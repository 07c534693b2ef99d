#include "server/grpc/grpc_message.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <zlib.h>

#include <string>
#include <vector>

namespace {

constexpr size_t kLimit = 1000;

std::string Framed(const std::string &payload, bool compressed = false)
{
    uint8_t prefix[GRPC_MESSAGE_PREFIX_BYTES];
    grpc_message_prefix(prefix, compressed, payload.size());
    return std::string(reinterpret_cast<char *>(prefix), sizeof prefix) + payload;
}

std::string Gzip(const std::string &plain)
{
    uint8_t *out;
    size_t size;
    EXPECT_EQ(grpc_message_deflate(plain.data(), plain.size(), &out, &size), STATUS_OK);
    std::string packed(reinterpret_cast<char *>(out), size);
    free(out);
    return packed;
}

struct Result {
    enum status status = STATUS_OK;
    std::vector<std::string> messages;
    std::vector<bool> compressed;
    bool idle = false;
    std::string error;
};

/* Feeds `wire` in pieces of `step` bytes, each in a block of its exact size. */
Result Read(const std::string &wire, size_t step, grpc_encoding encoding = GRPC_ENCODING_NONE,
            size_t limit = kLimit)
{
    Result result;
    grpc_message_reader reader;
    grpc_message_reader_init(&reader, limit, encoding);
    for (size_t at = 0; at < wire.size() && result.status == STATUS_OK; at += step) {
        std::vector<uint8_t> piece(wire.begin() + at,
                                   wire.begin() + std::min(at + step, wire.size()));
        for (size_t fed = 0; fed < piece.size();) {
            size_t used;
            grpc_message message;
            struct error error = {};
            result.status = grpc_message_read(&reader, piece.data() + fed, piece.size() - fed,
                                              &used, &message, &error);
            EXPECT_LE(grpc_message_reader_held(&reader), limit);
            if (result.status != STATUS_OK) {
                result.error = error.text;
                EXPECT_NE(result.error, "");
                break;
            }
            fed += used;
            if (message.bytes) {
                result.messages.emplace_back(reinterpret_cast<const char *>(message.bytes),
                                             message.size);
                result.compressed.push_back(message.compressed);
            }
        }
    }
    result.idle = grpc_message_reader_idle(&reader);
    grpc_message_reader_reset(&reader);
    return result;
}

TEST(GrpcMessage, CutAnywhere)
{
    const std::vector<std::string> messages = {"", "a", std::string(300, 'b'), "", "last"};
    std::string wire;
    for (const std::string &m : messages)
        wire += Framed(m);
    for (size_t step = 1; step <= wire.size(); step++) {
        Result result = Read(wire, step);
        EXPECT_EQ(result.status, STATUS_OK);
        EXPECT_EQ(result.messages, messages) << "in pieces of " << step;
        EXPECT_TRUE(result.idle);
    }
}

TEST(GrpcMessage, IncompleteIsNotIdle)
{
    std::string wire = Framed("hello");
    for (size_t n = 1; n < wire.size(); n++) {
        Result result = Read(wire.substr(0, n), 3);
        EXPECT_EQ(result.status, STATUS_OK);
        EXPECT_TRUE(result.messages.empty());
        EXPECT_FALSE(result.idle) << n;
    }
}

TEST(GrpcMessage, LimitIsJudgedBeforeTheBytesCome)
{
    EXPECT_EQ(Read(Framed(std::string(kLimit, 'x')), 7).messages.size(), 1u);
    Result over = Read(Framed(std::string(kLimit + 1, 'x')).substr(0, 5), 5);
    EXPECT_EQ(over.status, STATUS_FULL);
    EXPECT_NE(over.error.find("1001"), std::string::npos) << over.error;
    EXPECT_EQ(Read(std::string("\0\xff\xff\xff\xff", 5), 5).status, STATUS_FULL);
}

TEST(GrpcMessage, MemoryFollowsTheBytesThatCame)
{
    grpc_message_reader reader;
    grpc_message message;
    size_t used;
    grpc_message_reader_init(&reader, 4 << 20, GRPC_ENCODING_NONE);
    std::string start = Framed(std::string(4 << 20, 'x')).substr(0, 10);
    ASSERT_EQ(grpc_message_read(&reader, reinterpret_cast<const uint8_t *>(start.data()),
                                start.size(), &used, &message, nullptr),
              STATUS_OK);
    EXPECT_EQ(message.bytes, nullptr);
    EXPECT_LE(grpc_message_reader_held(&reader), 8192u);
    grpc_message_reader_reset(&reader);
    EXPECT_EQ(grpc_message_reader_held(&reader), 0u);
}

TEST(GrpcMessage, Flags)
{
    EXPECT_EQ(Read(Framed("x", true), 9).status, STATUS_INVALID);
    EXPECT_EQ(Read(Framed("x", true), 9, GRPC_ENCODING_IDENTITY).status, STATUS_INVALID);
    for (int flag : {2, 3, 128, 255}) {
        std::string wire = Framed("x");
        wire[0] = static_cast<char>(flag);
        EXPECT_EQ(Read(wire, 9, GRPC_ENCODING_GZIP).status, STATUS_INVALID) << flag;
    }
}

TEST(GrpcMessage, GzipRoundTripsBesidePlain)
{
    std::string text(900, 'z');
    std::string wire = Framed(Gzip(text), true) + Framed("plain") + Framed(Gzip("aaaaaaaaaaaaaaaa"
                       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), true);
    for (size_t step : {1, 2, 50, 1000}) {
        Result result = Read(wire, step, GRPC_ENCODING_GZIP);
        EXPECT_EQ(result.status, STATUS_OK) << result.error;
        ASSERT_EQ(result.messages.size(), 3u);
        EXPECT_EQ(result.messages[0], text);
        EXPECT_EQ(result.compressed, (std::vector<bool>{true, false, true}));
    }
}

TEST(GrpcMessage, InflatingStopsAtTheLimit)
{
    EXPECT_EQ(Read(Framed(Gzip(std::string(kLimit, 'x')), true), 99, GRPC_ENCODING_GZIP)
                  .messages.size(), 1u);
    for (size_t n : {kLimit + 1, kLimit + 2, 10 * kLimit, size_t{1} << 20}) {
        Result bomb = Read(Framed(Gzip(std::string(n, 'x')), true), 99, GRPC_ENCODING_GZIP, 2000);
        EXPECT_EQ(bomb.status, n > 2000 ? STATUS_FULL : STATUS_OK) << n;
        bomb = Read(Framed(Gzip(std::string(n, 'x')).substr(0, 999), true), 99,
                    GRPC_ENCODING_GZIP);
        EXPECT_NE(bomb.status, STATUS_OK) << n;
    }
}

TEST(GrpcMessage, BrokenGzip)
{
    std::string packed = Gzip(std::string(500, 'q'));
    for (size_t n = 1; n < packed.size(); n++)
        EXPECT_EQ(Read(Framed(packed.substr(0, n), true), 99, GRPC_ENCODING_GZIP).status,
                  STATUS_INVALID) << n;
    EXPECT_EQ(Read(Framed(packed + "x", true), 99, GRPC_ENCODING_GZIP).status, STATUS_INVALID);
    EXPECT_EQ(Read(Framed(packed + packed, true), 99, GRPC_ENCODING_GZIP).status, STATUS_INVALID);
    EXPECT_EQ(Read(Framed("not gzip at all", true), 99, GRPC_ENCODING_GZIP).status,
              STATUS_INVALID);
}

TEST(GrpcMessage, DeflateRefusesWhatDoesNotShrink)
{
    uint8_t *out;
    size_t size;
    EXPECT_EQ(grpc_message_deflate("", 0, &out, &size), STATUS_FULL);
    EXPECT_EQ(grpc_message_deflate("abc", 3, &out, &size), STATUS_FULL);
    std::string noise;
    for (uint32_t i = 0, x = 1; i < 4000; i++, x = x * 1664525 + 1013904223)
        noise.push_back(static_cast<char>(x >> 24));
    EXPECT_EQ(grpc_message_deflate(noise.data(), noise.size(), &out, &size), STATUS_FULL);
    EXPECT_EQ(out, nullptr);
}

} // namespace
