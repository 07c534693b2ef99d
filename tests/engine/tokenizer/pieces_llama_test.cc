/* SentencePiece pieces against SentencePiece's own rule, written down naively: join the neighbours
 * whose joined text has the best score, leftmost first, until none is left. */
#include <map>
#include <random>

#include "pieces_fixture.h"

using namespace fixtures;

namespace {

const std::string MARK = "\xE2\x96\x81";

Pieces base(bool bytes)
{
    Pieces pieces;
    pieces.model = "llama";
    pieces.add("<unk>", TOKENIZER_PIECE_UNKNOWN);
    pieces.add("<s>", TOKENIZER_PIECE_CONTROL);
    pieces.add("</s>", TOKENIZER_PIECE_CONTROL);
    for (int byte = 0; byte < 256 && bytes; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", byte);
        pieces.add(text, TOKENIZER_PIECE_BYTE);
    }
    return pieces;
}

uint32_t id_of(const Pieces &pieces, const std::string &token)
{
    for (uint32_t id = 0; id < pieces.tokens.size(); id++)
        if (pieces.tokens[id] == token)
            return id;
    return TOKEN_NONE;
}

/* For ASCII text without spaces and a vocabulary with bytes. */
std::vector<uint32_t> by_definition(const Pieces &pieces, const std::string &text)
{
    std::map<std::string, float> scores;
    for (size_t id = 0; id < pieces.tokens.size(); id++)
        if (pieces.types[id] == TOKENIZER_PIECE_NORMAL)
            scores[pieces.tokens[id]] = pieces.scores[id];
    std::vector<std::string> symbols;
    for (char c : text)
        symbols.push_back(std::string(1, c));
    for (;;) {
        size_t best = SIZE_MAX;
        float score = 0;
        for (size_t i = 0; i + 1 < symbols.size(); i++) {
            auto found = scores.find(symbols[i] + symbols[i + 1]);
            if (found != scores.end() && (best == SIZE_MAX || found->second > score)) {
                best = i;
                score = found->second;
            }
        }
        if (best == SIZE_MAX)
            break;
        symbols[best] += symbols[best + 1];
        symbols.erase(symbols.begin() + (long)best + 1);
    }
    std::vector<uint32_t> ids;
    for (const std::string &symbol : symbols)
        ids.push_back(scores.count(symbol) ? id_of(pieces, symbol) : 3u + (unsigned char)symbol[0]);
    return ids;
}

TEST(PiecesLlama, RandomVocabulariesAndTextsFollowTheDefinition)
{
    std::mt19937 random(5);
    for (int round = 0; round < 300; round++) {
        Pieces pieces = base(true);
        pieces.more.add_space_prefix = TOKENIZER_OFF;
        std::map<std::string, bool> seen;
        for (int n = 0; n < 30; n++) { /* many scores are equal, many characters have no piece */
            std::string piece;
            for (unsigned length = 1 + random() % 5; length > 0; length--)
                piece += (char)('a' + random() % 4);
            if (!seen[piece])
                pieces.add(piece, TOKENIZER_PIECE_NORMAL, -(float)(random() % 6));
            seen[piece] = true;
        }
        Tokenizer t = open_pieces(pieces);
        for (int n = 0; n < 10; n++) {
            std::string text;
            for (unsigned length = random() % 40; length > 0; length--)
                text += (char)('a' + random() % 5);
            EXPECT_EQ(by_definition(pieces, text), encode(t.get(), text)) << text;
        }
    }
}

TEST(PiecesLlama, ASpaceGoesInFrontOfTheTextAndBehindSpecialPieces)
{
    Pieces pieces = base(true);
    pieces.add(MARK);
    pieces.add("a");
    pieces.add("<tool>", TOKENIZER_PIECE_USER_DEFINED);
    uint32_t mark = id_of(pieces, MARK), a = mark + 1, tool = mark + 2;
    using Ids = std::vector<uint32_t>;
    Tokenizer t = open_pieces(pieces);
    EXPECT_EQ(Ids({mark, a}), encode(t.get(), "a"));
    EXPECT_EQ(Ids({1, mark, a}), encode(t.get(), "a", true)) << "bos by the model";
    EXPECT_EQ(Ids({mark, mark, a, mark}), encode(t.get(), " a "));
    EXPECT_EQ(Ids({mark, a, 2, mark, a}), encode(t.get(), "a</s>a"));
    EXPECT_EQ(Ids({mark, a, tool, mark, a}), encode(t.get(), "a<tool>a"));
    EXPECT_EQ(Ids(), encode(t.get(), ""));
    EXPECT_EQ(" a a", decode(t.get(), {mark, mark, a, mark, a}));
    pieces.more.add_space_prefix = TOKENIZER_OFF;
    t = open_pieces(pieces);
    EXPECT_EQ(Ids({a, 2, a}), encode(t.get(), "a</s>a"));
    EXPECT_EQ(" a", decode(t.get(), {mark, a}));
}

TEST(PiecesLlama, MergingNeverMakesAControlByteOrUnusedPiece)
{
    Pieces pieces = base(true);
    pieces.more.add_space_prefix = TOKENIZER_OFF;
    for (const char *piece :
         {"<", "s", ">", "<s", "0", "x", "4", "1", "<0", "x4", "1>", "<0x4", "a"})
        pieces.add(piece);
    pieces.add("aa", TOKENIZER_PIECE_UNUSED);
    Tokenizer t = open_pieces(pieces);
    EXPECT_EQ("<s|>", [&] {
        std::string spelled;
        for (uint32_t id : encode(t.get(), "<s>", false, false))
            spelled += (spelled.empty() ? "" : "|") + std::string(tokenizer_entry(t.get(), id));
        return spelled;
    }());
    EXPECT_EQ(std::vector<uint32_t>({1}), encode(t.get(), "<s>", false, true));
    EXPECT_EQ(2u, encode(t.get(), "<0x41>").size());
    EXPECT_EQ(2u, encode(t.get(), "aa").size());
}

TEST(PiecesLlama, WhatNoPieceCoversIsBytesOrOneUnknown)
{
    Pieces with = base(true), without = base(false);
    with.more.add_space_prefix = without.more.add_space_prefix = TOKENIZER_OFF;
    with.add("a");
    without.add("a");
    EXPECT_EQ(std::vector<uint32_t>({3 + 0xC3, 3 + 0xA9, 3 + 256}),
              encode(open_pieces(with).get(), "\xC3\xA9"
                                              "a"));
    EXPECT_EQ(std::vector<uint32_t>({0, 3, 0}),
              encode(open_pieces(without).get(), "\xC3\xA9\xC3\xA9"
                                                 "a\xC3\xA9"));
    EXPECT_EQ("\xC3\xA9", decode(open_pieces(with).get(), {3 + 0xC3, 3 + 0xA9}));
}

TEST(PiecesLlama, WhatIsWrongIsNamedByItsKey)
{
    auto refusal = [](Pieces pieces, enum status expected) {
        struct tokenizer *t = nullptr;
        struct error error = {};
        EXPECT_EQ(expected, tokenizer_open_pieces(&t, "m.gguf", pieces.view(), &error));
        EXPECT_EQ(nullptr, t);
        return std::string(error.text);
    };
    Pieces pieces = base(false);
    pieces.scores.clear();
    EXPECT_EQ("m.gguf: tokenizer.ggml.scores is missing", refusal(pieces, STATUS_INVALID));
    pieces = base(false);
    pieces.types.clear();
    EXPECT_EQ("m.gguf: tokenizer.ggml.token_type is missing", refusal(pieces, STATUS_INVALID));
    pieces = base(false);
    pieces.add("a", TOKENIZER_PIECE_NORMAL, NAN);
    EXPECT_EQ("m.gguf: tokenizer.ggml.scores[3] is not a number", refusal(pieces, STATUS_INVALID));
    pieces = base(false);
    pieces.add("0x41", TOKENIZER_PIECE_BYTE);
    EXPECT_EQ("m.gguf: tokenizer.ggml.tokens[3] \"0x41\" is a byte, but not \"<0x..>\"",
              refusal(pieces, STATUS_INVALID));
    pieces = base(false);
    pieces.add(std::string(1025, 'a'));
    EXPECT_EQ("m.gguf: tokenizer.ggml.tokens[3] has 1025 bytes, more than 1024",
              refusal(pieces, STATUS_UNSUPPORTED));
}

} // namespace
