/* Byte-level pieces: merges and their refusals, the named and the unnamed pre-tokenizer. */
#include "pieces_fixture.h"

using namespace fixtures;

namespace {

Pieces abc(const std::vector<std::string> &merges)
{
    Pieces pieces;
    pieces.model = "gpt2";
    pieces.pre = "gpt-2";
    for (const char *token : {"a", "b", "c", "ab", "bc", "abc", "1", "11"})
        pieces.add(token);
    pieces.merges = merges;
    return pieces;
}

std::string refusal(Pieces pieces, enum status expected)
{
    struct tokenizer *t = nullptr;
    struct error error = {};
    EXPECT_EQ(expected, tokenizer_open_pieces(&t, "m.gguf", pieces.view(), &error));
    EXPECT_EQ(nullptr, t);
    return error.text;
}

TEST(PiecesGpt2, TheEarlierMergeWins)
{
    Pieces left = abc({"a b", "b c", "ab c"}), right = abc({"b c", "a b"});
    EXPECT_EQ(std::vector<uint32_t>({5}), encode(open_pieces(left).get(), "abc"));
    EXPECT_EQ(std::vector<uint32_t>({0, 4}), encode(open_pieces(right).get(), "abc"));
}

TEST(PiecesGpt2, MergesMayPassThroughAnAddedPiece)
{
    Pieces pieces = abc({"a b", "ab c"});
    pieces.types[3] = TOKENIZER_PIECE_CONTROL;
    EXPECT_EQ(std::vector<uint32_t>({5}), encode(open_pieces(pieces).get(), "abc", false, false));
}

TEST(PiecesGpt2, TypesAndMergesMayBeAbsentOrEmptyOnlyWhereThatMeansSomething)
{
    Pieces pieces = abc({"a b"});
    pieces.types.clear();
    EXPECT_EQ(std::vector<uint32_t>({3}), encode(open_pieces(pieces).get(), "ab"));
    EXPECT_EQ("m.gguf: tokenizer.ggml.merges is missing", refusal(abc({}), STATUS_INVALID));
}

TEST(PiecesGpt2, AMergeOfNothingIsNamed)
{
    EXPECT_EQ("m.gguf: tokenizer.ggml.merges[1] is not a pair of pieces",
              refusal(abc({"a b", "bc"}), STATUS_INVALID));
    EXPECT_EQ("m.gguf: tokenizer.ggml.merges[0] has \"x\", which is not a token",
              refusal(abc({"a x"}), STATUS_INVALID));
    EXPECT_EQ("m.gguf: tokenizer.ggml.merges[0] makes \"ca\", which is not a token",
              refusal(abc({"c a"}), STATUS_INVALID));
}

TEST(PiecesGpt2, AByteHasNoPlaceInByteLevel)
{
    Pieces pieces = abc({"a b"});
    pieces.types[2] = TOKENIZER_PIECE_BYTE;
    EXPECT_EQ("m.gguf: tokenizer.ggml.token_type[2] is 6 (a byte) in byte-level BPE",
              refusal(pieces, STATUS_UNSUPPORTED));
}

TEST(PiecesGpt2, AnUnknownPreTokenizerIsRefusedAndAMissingOneIsToldOf)
{
    Pieces pieces = abc({"1 1"});
    pieces.pre = "no-such-model";
    EXPECT_EQ("m.gguf: tokenizer.ggml.pre \"no-such-model\" is not supported",
              refusal(pieces, STATUS_UNSUPPORTED));
    for (const char *name : {"", "default"}) {
        pieces.pre = name;
        Tokenizer t = open_pieces(pieces);
        EXPECT_STREQ("m.gguf: does not name its pre-tokenizer (tokenizer.ggml.pre); text is cut as "
                     "GPT-2 does, which may not be how the model was trained",
                     tokenizer_notice(t.get()));
        EXPECT_EQ(std::vector<uint32_t>({7}), encode(t.get(), "11"));
    }
    pieces.pre = "refact"; /* cuts digit by digit */
    Tokenizer t = open_pieces(pieces);
    EXPECT_EQ(nullptr, tokenizer_notice(t.get()));
    EXPECT_EQ(std::vector<uint32_t>({6, 6}), encode(t.get(), "11"));
}

} // namespace
