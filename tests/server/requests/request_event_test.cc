#include "server/requests/request_event.h"

#include <gtest/gtest.h>

#include <string>

namespace {

TEST(request_event, grows_by_any_piece)
{
    struct request_event *e = request_event_open(9);
    ASSERT_NE(nullptr, e);
    std::string all;
    for (size_t n : {0u, 1u, 31u, 1u, 200u, 5000u, 0u, 3u}) {
        std::string piece(n, (char)('a' + n % 26));
        all += piece;
        ASSERT_TRUE(request_event_add_text(e, piece.data(), piece.size()));
    }
    EXPECT_EQ(all, std::string(e->text, e->text_bytes));
    for (uint32_t i = 0; i < 100; i++) {
        struct sampled s = {};
        s.token = i * 7;
        ASSERT_TRUE(request_event_add_token(e, &s));
    }
    ASSERT_EQ(100u, e->token_count);
    for (uint32_t i = 0; i < 100; i++)
        EXPECT_EQ(i * 7, e->tokens[i].token);
    EXPECT_EQ(9u, e->request);
    EXPECT_EQ(FINISH_NONE, e->finish);
    request_event_close(e);
    request_event_close(nullptr);
}

TEST(request_event, makes_room_for_prompt_tokens)
{
    struct request_event *e = request_event_open(9);
    uint32_t next = 0;
    for (uint32_t n : {1u, 3u, 200u, 0u, 7u}) {
        struct sampled *room = request_event_prompt_room(e, n);
        ASSERT_TRUE(room || n == 0);
        EXPECT_EQ(room, request_event_prompt_room(e, n)) << "asking twice takes nothing";
        for (uint32_t i = 0; i < n; i++)
            room[i].token = next++;
        e->prompt_count += n;
    }
    ASSERT_EQ(211u, e->prompt_count);
    for (uint32_t i = 0; i < 211; i++)
        EXPECT_EQ(i, e->prompt[i].token);
    EXPECT_EQ(0u, e->token_count);
    request_event_close(e);
}

TEST(request_event, carries_a_change_of_the_budget)
{
    struct engine_budget asked = {};
    asked.set[ENGINE_ROOM_KV] = true;
    asked.kv_bytes = 12345;
    struct request_event *e = request_event_open_change(7, &asked);
    ASSERT_NE(nullptr, e);
    EXPECT_EQ(7u, e->request);
    ASSERT_NE(nullptr, e->change);
    EXPECT_EQ(12345u, e->change->asked.kv_bytes);
    EXPECT_TRUE(e->change->asked.set[ENGINE_ROOM_KV]);
    EXPECT_EQ(nullptr, e->change->next);
    request_event_close(e);
}

} // namespace
