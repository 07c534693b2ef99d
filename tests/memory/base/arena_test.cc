#include "memory/base/arena.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "tests/support/scratch.h"

namespace {

struct ArenaHolder {
    struct arena arena;
    ArenaHolder(size_t chunk_bytes, size_t bytes_max)
    {
        arena_init(&arena, chunk_bytes, bytes_max);
    }
    ~ArenaHolder() { arena_close(&arena); }
};

TEST(Arena, PiecesAreAlignedAndDoNotOverlap)
{
    ArenaHolder holder(256, 0);
    scratch::Random random(3);
    struct Piece {
        uint8_t *bytes;
        size_t count;
        uint8_t mark;
    };
    std::vector<Piece> pieces;
    for (int i = 0; i < 500; i++) {
        size_t count = random.below(random.chance(5) ? 2000 : 60);
        size_t align = (size_t)1 << random.below(8);
        auto *bytes = static_cast<uint8_t *>(arena_alloc(&holder.arena, count, align));
        ASSERT_NE(bytes, nullptr);
        ASSERT_EQ(reinterpret_cast<uintptr_t>(bytes) % align, 0u);
        memset(bytes, i & 255, count);
        pieces.push_back({bytes, count, (uint8_t)(i & 255)});
    }
    for (const Piece &piece : pieces)
        for (size_t i = 0; i < piece.count; i++)
            ASSERT_EQ(piece.bytes[i], piece.mark);
}

TEST(Arena, PageAlignedPieces)
{
    ArenaHolder holder(64, 0);
    for (int i = 0; i < 5; i++) {
        void *piece = arena_alloc(&holder.arena, 100, 4096);
        ASSERT_NE(piece, nullptr);
        EXPECT_EQ(reinterpret_cast<uintptr_t>(piece) % 4096, 0u);
        memset(piece, 1, 100);
    }
}

TEST(Arena, StopsAtItsLimitAndGoesOnAfterReset)
{
    ArenaHolder holder(128, 1000);
    for (int round = 0; round < 3; round++) {
        int pieces = 0;
        while (arena_alloc(&holder.arena, 100, 1))
            pieces++;
        EXPECT_EQ(pieces, 10);
        EXPECT_EQ(holder.arena.used, 1000u);
        EXPECT_EQ(arena_alloc(&holder.arena, 1, 1), nullptr);
        EXPECT_NE(arena_alloc(&holder.arena, 0, 1), nullptr);
        arena_reset(&holder.arena);
        EXPECT_EQ(holder.arena.used, 0u);
    }
}

TEST(Arena, ARefusedPieceLeavesItAsItWas)
{
    ArenaHolder holder(64, 1000);
    ASSERT_NE(arena_alloc(&holder.arena, 10, 1), nullptr);
    size_t used = holder.arena.used;
    EXPECT_EQ(arena_alloc(&holder.arena, 991, 1), nullptr);
    EXPECT_EQ(arena_alloc(&holder.arena, SIZE_MAX, 64), nullptr);
    EXPECT_EQ(holder.arena.used, used);
    EXPECT_NE(arena_alloc(&holder.arena, 990, 1), nullptr);
}

TEST(Arena, OneBlock)
{
    ArenaHolder holder(512, 512);
    auto *first = static_cast<uint8_t *>(arena_alloc(&holder.arena, 256, 1));
    auto *second = static_cast<uint8_t *>(arena_alloc(&holder.arena, 256, 1));
    EXPECT_EQ(second, first + 256);
    EXPECT_EQ(arena_alloc(&holder.arena, 1, 1), nullptr);
}

TEST(Arena, ItemsAreZeroedAndTheirProductIsChecked)
{
    ArenaHolder holder(256, 0);
    void *dirty = arena_alloc(&holder.arena, 200, 8);
    memset(dirty, 255, 200);
    arena_reset(&holder.arena);
    auto *items = static_cast<uint64_t *>(arena_alloc_items(&holder.arena, 20, 8, 8));
    for (int i = 0; i < 20; i++)
        EXPECT_EQ(items[i], 0u);
    EXPECT_EQ(arena_alloc_items(&holder.arena, SIZE_MAX / 2, 4, 8), nullptr);
}

TEST(Arena, CloseAcceptsEverything)
{
    arena_close(nullptr);
    struct arena arena;
    arena_init(&arena, 0, 0);
    arena_close(&arena);
    EXPECT_NE(arena_alloc(&arena, 10, 1), nullptr);
    arena_close(&arena);
    arena_close(&arena);
}

TEST(ArenaDeathTest, AlignmentIsAPowerOfTwo)
{
    ArenaHolder holder(64, 0);
    EXPECT_DEATH(arena_alloc(&holder.arena, 1, 3), "CHECK");
    EXPECT_DEATH(arena_alloc(&holder.arena, 1, 0), "CHECK");
}

} // namespace
