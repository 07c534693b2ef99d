#include "server/metrics/experts_frame.h"

#include <gtest/gtest.h>
#include <string.h>

#include <random>
#include <string>
#include <vector>

#include "server/grpc/grpc_metadata.h"

namespace {

using Cells = std::vector<uint8_t>;

/* As a viewer has to do it. */
void apply(Cells &cells, const uint8_t *changes, size_t bytes)
{
    size_t at = 0;
    for (size_t i = 0; i < bytes;) {
        size_t skip = 0;
        int shift = 0;
        uint8_t byte;
        do {
            ASSERT_LT(i, bytes);
            byte = changes[i++];
            skip |= (size_t)(byte & 127) << shift;
            shift += 7;
        } while (byte & 128);
        at += skip;
        ASSERT_LT(i, bytes);
        ASSERT_LT(at, cells.size());
        EXPECT_NE(cells[at], changes[i]);
        cells[at++] = changes[i++];
    }
}

Cells changes(const Cells &before, const Cells &now)
{
    Cells out(now.size());
    size_t bytes = experts_frame_changes(before.data(), now.data(), now.size(), out.data());
    EXPECT_LE(bytes, now.size());
    out.resize(bytes);
    return out;
}

TEST(experts_frame, changes_as_the_format_has_them)
{
    Cells before(400, 7), now = before;
    now[0] = 'a';
    now[1] = 'b';
    now[300] = 'c'; /* 298 cells after the last: 0x12a */
    EXPECT_EQ((Cells{0, 'a', 0, 'b', 0xaa, 2, 'c'}), changes(before, now));
    EXPECT_EQ(Cells{}, changes(now, now));
    now = before;
    now[128] = 1;
    EXPECT_EQ((Cells{0x80, 1, 1}), changes(before, now));
    now = before;
    now[127] = 1;
    EXPECT_EQ((Cells{0x7f, 1}), changes(before, now));
}

TEST(experts_frame, changes_turn_one_map_into_the_other)
{
    std::mt19937 random(1);
    for (int round = 0; round < 200; round++) {
        Cells before(1 + random() % 20000), now;
        for (uint8_t &cell : before)
            cell = (uint8_t)random();
        now = before;
        for (size_t n = random() % (1 + before.size() / 4); n > 0; n--)
            now[random() % now.size()] = (uint8_t)random();
        Cells delta = changes(before, now);
        ASSERT_NO_FATAL_FAILURE(apply(before, delta.data(), delta.size()));
        ASSERT_EQ(now, before);
    }
}

TEST(experts_frame, changes_longer_than_the_map_are_given_up)
{
    Cells before(100, 1), now(100, 2), room(100, 99);
    EXPECT_GT(experts_frame_changes(before.data(), now.data(), 100, room.data()), 100u);
    for (size_t i = 50; i < 100; i++)
        now[i] = before[i]; /* two bytes each: just as long as the map */
    EXPECT_EQ(100u, experts_frame_changes(before.data(), now.data(), 100, room.data()));
    EXPECT_EQ(0u, experts_frame_changes(before.data(), now.data(), 0, room.data()));
}

struct Frame : testing::Test {
    Frame()
    {
        for (uint32_t i = 0; i < 6; i++)
            cells.push_back((uint8_t)(i * 50));
        frame = {2, 3, 41, 1234567890, cells.data()};
    }
    ~Frame() override { jsonw_close(&w); }
    std::string get() { return {w.data, w.bytes}; }

    Cells cells;
    struct experts_frame frame;
    struct jsonw w = {};
};

TEST_F(Frame, json)
{
    experts_frame_json(&w, &frame);
    EXPECT_EQ("{\"object\":\"moering.experts\",\"layers\":2,\"experts\":3,\"tick\":41,"
              "\"now_ms\":1234.56789,\"cells\":[[0,50,100],[150,200,250]]}",
              get());
}

TEST_F(Frame, binary)
{
    experts_frame_binary(&w, &frame);
    ASSERT_EQ(EXPERTS_FRAME_HEAD_BYTES + 6u, w.bytes);
    const std::string head("MOEX\1\0\0\0\2\0\0\0\3\0\0\0\x29\0\0\0\0\0\0\0", 24);
    EXPECT_EQ(head, get().substr(0, 24));
    double now_ms; /* tests run where doubles are little-endian */
    memcpy(&now_ms, w.data + 24, 8);
    EXPECT_DOUBLE_EQ(1234.56789, now_ms);
    EXPECT_EQ(0, memcmp(w.data + 32, cells.data(), 6));
}

TEST_F(Frame, events_are_of_two_lines)
{
    experts_frame_map(&w, &frame);
    EXPECT_EQ("event: map\ndata: {\"layers\":2,\"experts\":3,\"tick\":41,\"now_ms\":1234.56789,"
              "\"cells\":\"ADJklsj6\"}\n\n",
              get());
    jsonw_reset(&w);
    const uint8_t delta[] = {0, 1};
    experts_frame_delta(&w, &frame, delta, 2);
    EXPECT_EQ("event: delta\ndata: {\"tick\":41,\"now_ms\":1234.56789,\"changes\":\"AAE=\"}\n\n",
              get());
    jsonw_reset(&w);
    experts_frame_delta(&w, &frame, delta, 1);
    EXPECT_NE(std::string::npos, get().find("\"AA==\""));
}

TEST_F(Frame, base64_of_any_length)
{
    std::mt19937 random(2);
    for (uint32_t count = 0; count < 2400; count += 1 + count / 100 * 7) {
        Cells big(count), back(count + 4);
        for (uint8_t &cell : big)
            cell = (uint8_t)random();
        struct experts_frame f = {1, count, 1, 0, big.data()};
        jsonw_reset(&w);
        experts_frame_map(&w, &f);
        std::string text = get();
        size_t begin = text.find("\"cells\":\"") + 9, end = text.find('"', begin), bytes = 0;
        EXPECT_EQ(0u, (end - begin) % 4) << count;
        ASSERT_TRUE(grpc_base64_decode(text.data() + begin, end - begin, back.data(), &bytes));
        ASSERT_EQ(count, bytes);
        back.resize(bytes);
        EXPECT_EQ(big, back);
    }
}

} // namespace
