#include "engine/tokenizer/vocab.h"

#include <gtest/gtest.h>

#include <string>

namespace {

TEST(Vocab, FindsWhatWasAddedAndNothingElse)
{
    const uint32_t n = 20000;
    struct vocab vocab = {};
    ASSERT_EQ(STATUS_OK, vocab_open(&vocab, 2 * n, n, 0)); /* the arena must grow by itself */
    for (uint32_t i = 0; i < n; i++) {
        std::string text = "entry " + std::to_string(i * 7919u);
        ASSERT_EQ(STATUS_OK, vocab_add(&vocab, 2 * i, text.data(), text.size(),
                                       i % 2 ? VOCAB_MODEL : VOCAB_ADDED));
    }
    for (uint32_t i = 0; i < n; i++) {
        std::string text = "entry " + std::to_string(i * 7919u);
        ASSERT_EQ(2 * i, vocab_find(&vocab, text.data(), text.size()));
        ASSERT_EQ(i % 2 ? 2 * i : TOKEN_NONE, vocab_find_model(&vocab, text.data(), text.size()));
        ASSERT_STREQ(text.c_str(), vocab_text(&vocab, vocab_at(&vocab, 2 * i)));
        ASSERT_EQ(nullptr, vocab_at(&vocab, 2 * i + 1));
    }
    EXPECT_EQ(TOKEN_NONE, vocab_find(&vocab, "entry", 5));
    EXPECT_EQ(TOKEN_NONE, vocab_find(&vocab, "entry 1", 7));
    EXPECT_EQ(nullptr, vocab_at(&vocab, UINT32_MAX));
    vocab_close(&vocab);
}

TEST(Vocab, RefusesAnIdOrATextTwice)
{
    struct vocab vocab = {};
    ASSERT_EQ(STATUS_OK, vocab_open(&vocab, 4, 4, 16));
    ASSERT_EQ(STATUS_OK, vocab_add(&vocab, 1, "one", 3, VOCAB_MODEL));
    EXPECT_EQ(STATUS_INVALID, vocab_add(&vocab, 1, "uno", 3, VOCAB_MODEL));
    EXPECT_EQ(STATUS_INVALID, vocab_add(&vocab, 2, "one", 3, VOCAB_MODEL));
    EXPECT_EQ(TOKEN_NONE, vocab_find(&vocab, "uno", 3));
    EXPECT_EQ(nullptr, vocab_at(&vocab, 2));
    vocab_close(&vocab);
}

TEST(Vocab, PiecesAreTheTextUntilSet)
{
    struct vocab vocab = {};
    ASSERT_EQ(STATUS_OK, vocab_open(&vocab, 2, 2, 0));
    ASSERT_EQ(STATUS_OK, vocab_add(&vocab, 0, "abc", 3, VOCAB_MODEL));
    EXPECT_STREQ("abc", vocab_piece(&vocab, vocab_at(&vocab, 0)));
    EXPECT_EQ(3u, vocab.piece_bytes_max);
    ASSERT_EQ(STATUS_OK, vocab_set_piece(&vocab, 0, "longer one", 10));
    EXPECT_EQ(10u, vocab_at(&vocab, 0)->piece_bytes);
    EXPECT_EQ(10u, vocab.piece_bytes_max);
    EXPECT_STREQ("abc", vocab_text(&vocab, vocab_at(&vocab, 0)));
    ASSERT_EQ(STATUS_OK, vocab_set_piece(&vocab, 0, "abc", 3));
    EXPECT_EQ(vocab_at(&vocab, 0)->text_at, vocab_at(&vocab, 0)->piece_at);
    vocab_close(&vocab);
}

TEST(Vocab, ClosesWhatWasNeverOpened)
{
    struct vocab vocab = {};
    EXPECT_EQ(TOKEN_NONE, vocab_find(&vocab, "a", 1));
    vocab_close(&vocab);
    vocab_close(nullptr);
}

} // namespace
