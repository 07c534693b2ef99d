#include "engine/tokenizer/decoder.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace {

class Decoder : public testing::Test {
  protected:
    void TearDown() override
    {
        decoder_close(&decoder);
        vocab_close(&vocab);
    }
    std::vector<std::string> pieces(const std::vector<std::string> &entries)
    {
        vocab_close(&vocab);
        EXPECT_EQ(STATUS_OK, vocab_open(&vocab, (uint32_t)entries.size(), (uint32_t)entries.size(),
            0));
        for (uint32_t i = 0; i < entries.size(); i++)
            EXPECT_EQ(STATUS_OK, vocab_add(&vocab, i, entries[i].data(), entries[i].size(),
                VOCAB_MODEL));
        status = decoder_set_pieces(&decoder, &vocab);
        std::vector<std::string> out;
        for (uint32_t i = 0; i < entries.size(); i++)
            out.push_back(std::string(vocab_piece(&vocab, &vocab.entries[i]),
                                      vocab.entries[i].piece_bytes));
        return out;
    }
    struct decoder decoder = {};
    struct vocab vocab = {};
    enum status status = STATUS_OK;
};

TEST_F(Decoder, ByteLevelSpellsBytesOrKeepsTheEntry)
{
    decoder.byte_level = true;
    EXPECT_EQ((std::vector<std::string>{" the", "\xC3\xA9", "\n", "<a b>", "\xE4\xB8\xAD"}),
              pieces({"Ġthe", "Ã©", "Ċ", "<a b>", "中"}));
}

TEST_F(Decoder, ReplacesThenByteTokens)
{
    decoder.byte_fallback = true;
    ASSERT_EQ(STATUS_OK, decoder_add_replace(&decoder, "▁", 3, " ", 1));
    EXPECT_EQ((std::vector<std::string>{" a b", "\xE2", "<0xZZ>", "<0x1>", "\xAB"}),
              pieces({"▁a▁b", "<0xE2>", "<0xZZ>", "<0x1>", "<0xab>"}));
    EXPECT_FALSE(vocab.entries[0].flags & VOCAB_BYTE);
    EXPECT_TRUE(vocab.entries[1].flags & VOCAB_BYTE);
    EXPECT_TRUE(vocab.entries[4].flags & VOCAB_BYTE);
}

TEST_F(Decoder, MetaspaceMarksBecomeSpaces)
{
    decoder.mark[0] = '_';
    decoder.mark_bytes = 1;
    EXPECT_EQ((std::vector<std::string>{" a", "b  "}), pieces({"_a", "b__"}));
}

TEST_F(Decoder, APieceCannotGrowWithoutEnd)
{
    std::string many(2000, 'x');
    ASSERT_EQ(STATUS_OK, decoder_add_replace(&decoder, "a", 1, many.data(), many.size()));
    ASSERT_EQ(STATUS_OK, decoder_add_replace(&decoder, "x", 1, many.data(), many.size()));
    pieces({"a"});
    EXPECT_EQ(STATUS_FULL, status);
}

} // namespace
