/* Pieces against the references' vectors, and what is wrong with pieces said by key. */
#include "engine/tokenizer/tokenizer_pieces.h"

#include <cstring>

#include "pieces_fixture.h"

using namespace fixtures;

namespace {

struct Vector {
    std::string pre, text, decoded;
    bool parse_special, has_decoded;
    std::vector<uint32_t> ids;
};

std::vector<Vector> read_vectors(const std::string &name)
{
    std::vector<Vector> out;
    std::istringstream lines(read_file(golden_path(name + ".jsonl")));
    std::string line;
    while (std::getline(lines, line)) {
        json_error_t problem;
        json_t *object = json_loadb(line.data(), line.size(), JSON_ALLOW_NUL, &problem);
        EXPECT_TRUE(object) << problem.text;
        Vector v;
        v.pre = json_text(json_object_get(object, "pre"));
        v.text = json_text(json_object_get(object, "text"));
        v.decoded = json_text(json_object_get(object, "decoded"));
        v.has_decoded = json_object_get(object, "decoded");
        v.parse_special = json_is_true(json_object_get(object, "parse_special"));
        size_t i;
        json_t *id;
        json_array_foreach(json_object_get(object, "ids"), i, id)
            v.ids.push_back((uint32_t)json_integer_value(id));
        json_decref(object);
        out.push_back(v);
    }
    return out;
}

void expect_vector(const struct tokenizer *t, const Vector &v)
{
    EXPECT_EQ(v.ids, encode(t, v.text, false, v.parse_special)) << v.pre << ": " << v.text;
    if (v.has_decoded) {
        EXPECT_EQ(v.decoded, decode(t, v.ids)) << v.pre << ": " << v.text;
    }
}

TEST(TokenizerPieces, ByteLevelVocabulariesGiveTheReferencesIds)
{
    Pieces pieces = read_pieces(golden_path("pieces_gpt2.json"));
    Tokenizer t;
    size_t count = 0;
    for (const Vector &v : read_vectors("pieces_gpt2")) {
        if (!t || v.pre != pieces.pre) {
            pieces.pre = v.pre;
            t = open_pieces(pieces);
            ASSERT_TRUE(t);
            EXPECT_EQ(nullptr, tokenizer_notice(t.get()));
        }
        expect_vector(t.get(), v);
        count++;
    }
    EXPECT_GT(count, 1000u);
}

class SentencePiece : public testing::TestWithParam<std::string> {};

TEST_P(SentencePiece, EveryVectorIsReproduced)
{
    Pieces pieces = read_pieces(golden_path(GetParam() + ".json"));
    Tokenizer t = open_pieces(pieces);
    ASSERT_TRUE(t);
    size_t count = 0;
    for (const Vector &v : read_vectors(GetParam())) {
        expect_vector(t.get(), v);
        count++;
    }
    EXPECT_GT(count, 100u);
}

INSTANTIATE_TEST_SUITE_P(Variants, SentencePiece,
                         testing::Values("pieces_llama", "pieces_llama_ties",
                                         "pieces_llama_no_prefix", "pieces_llama_no_bytes",
                                         "pieces_llama_loose", "pieces_llama_loose_unknown"),
                         [](const testing::TestParamInfo<std::string> &v) { return v.param; });

/* ids 0 to 3: "a", "b", "ab" and a control piece; byte level needs no more for these texts. */
Pieces small_gpt2()
{
    Pieces pieces;
    pieces.model = "gpt2";
    pieces.pre = "gpt-2";
    for (const char *token : {"a", "b", "ab"})
        pieces.add(token);
    pieces.add("<s>", TOKENIZER_PIECE_CONTROL);
    pieces.merges = {"a b"};
    return pieces;
}

TEST(TokenizerPieces, BosAndEosComeByTheFileThenByTheModel)
{
    Pieces pieces = small_gpt2();
    pieces.more.bos = pieces.more.eos = 3;
    using Ids = std::vector<uint32_t>;
    EXPECT_EQ(Ids({2}), encode(open_pieces(pieces).get(), "ab", true));
    pieces.more.add_bos = TOKENIZER_ON;
    EXPECT_EQ(Ids({3, 2}), encode(open_pieces(pieces).get(), "ab", true));
    EXPECT_EQ(Ids({2}), encode(open_pieces(pieces).get(), "ab", false));
    pieces.more.add_eos = TOKENIZER_ON;
    EXPECT_EQ(Ids({3, 2, 3}), encode(open_pieces(pieces).get(), "ab", true));
    pieces.more.add_bos = pieces.more.add_eos = TOKENIZER_BY_MODEL;
    pieces.pre = "llama-bpe";
    EXPECT_EQ(Ids({3, 2}), encode(open_pieces(pieces).get(), "ab", true));
    pieces.more.add_bos = TOKENIZER_OFF;
    EXPECT_EQ(Ids({2}), encode(open_pieces(pieces).get(), "ab", true));
    EXPECT_EQ(3u, tokenizer_bos(open_pieces(pieces).get()));
    pieces.more.bos = TOKEN_NONE;
    pieces.more.add_bos = TOKENIZER_BY_MODEL;
    EXPECT_EQ(Ids({2}), encode(open_pieces(pieces).get(), "ab", true));
}

TEST(TokenizerPieces, AControlPieceIsReadFromTextOnlyWhenAsked)
{
    Pieces pieces = small_gpt2();
    pieces.add("<");
    pieces.add("s");
    pieces.add(">");
    Tokenizer t = open_pieces(pieces);
    EXPECT_EQ(std::vector<uint32_t>({0, 3, 1}), encode(t.get(), "a<s>b", false, true));
    EXPECT_EQ(std::vector<uint32_t>({0, 4, 5, 6, 1}), encode(t.get(), "a<s>b", false, false));
    EXPECT_TRUE(tokenizer_is_special(t.get(), 3));
    EXPECT_EQ("ab", decode(t.get(), {0, 3, 1}, true));
    EXPECT_EQ("a<s>b", decode(t.get(), {0, 3, 1}, false));
}

TEST(TokenizerPieces, UserDefinedAreFoundFirstUnusedNeverAndHolesDecodeToNothing)
{
    Pieces pieces = small_gpt2();
    pieces.add("ba", TOKENIZER_PIECE_USER_DEFINED);
    pieces.add("aa", TOKENIZER_PIECE_UNUSED);
    pieces.add("");
    pieces.add("", TOKENIZER_PIECE_UNUSED);
    pieces.merges.push_back("a a");
    Tokenizer t = open_pieces(pieces);
    EXPECT_EQ(std::vector<uint32_t>({0, 4, 1}), encode(t.get(), "abab"));
    EXPECT_EQ("ba", decode(t.get(), {4, 5, 6, 7}));
    EXPECT_FALSE(tokenizer_is_special(t.get(), 4));
    EXPECT_STREQ("aa", tokenizer_entry(t.get(), 5));
    EXPECT_EQ(nullptr, tokenizer_entry(t.get(), 6));
    EXPECT_EQ(8u, tokenizer_vocab_size(t.get()));
}

TEST(TokenizerPieces, AnAddedPieceDecodesAsItIsWritten)
{
    Pieces pieces = small_gpt2();
    pieces.add("\xC4\xA0\xC3\xA9", TOKENIZER_PIECE_USER_DEFINED); /* "Ġé", both of the alphabet */
    Tokenizer t = open_pieces(pieces);
    EXPECT_EQ("\xC4\xA0\xC3\xA9", decode(t.get(), {4}));
    EXPECT_EQ(std::vector<uint32_t>({4}), encode(t.get(), "\xC4\xA0\xC3\xA9"));
}

TEST(TokenizerPieces, TheChatTemplateIsKept)
{
    Pieces pieces = small_gpt2();
    EXPECT_EQ(nullptr, tokenizer_chat_template(open_pieces(pieces).get()));
    pieces.chat_template = "{{ messages }}";
    EXPECT_STREQ("{{ messages }}", tokenizer_chat_template(open_pieces(pieces).get()));
}

void expect_refusal(enum status status, const char *sentence, Pieces pieces)
{
    struct tokenizer *t = nullptr;
    struct error error = {};
    EXPECT_EQ(status, tokenizer_open_pieces(&t, "m.gguf", pieces.view(), &error)) << sentence;
    EXPECT_EQ(nullptr, t);
    EXPECT_STREQ(sentence, error.text);
    tokenizer_close(t);
}

TEST(TokenizerPieces, WhatIsWrongIsNamedByItsKey)
{
    Pieces p = small_gpt2();
    p.model = "t5";
    expect_refusal(STATUS_UNSUPPORTED, "m.gguf: tokenizer.ggml.model \"t5\" is not supported", p);
    p.model = "";
    expect_refusal(STATUS_INVALID, "m.gguf: tokenizer.ggml.model is missing", p);
    p = small_gpt2();
    p.tokens.clear();
    expect_refusal(STATUS_INVALID, "m.gguf: tokenizer.ggml.tokens is missing or empty", p);
    p = small_gpt2();
    p.tokens[1] = "a";
    expect_refusal(STATUS_INVALID,
                   "m.gguf: tokenizer.ggml.tokens[1] is \"a\", which is tokens[0] already", p);
    p = small_gpt2();
    p.tokens[1] = "\xC3";
    expect_refusal(STATUS_INVALID, "m.gguf: tokenizer.ggml.tokens[1] is not UTF-8", p);
    p = small_gpt2();
    p.types[2] = 7;
    expect_refusal(STATUS_INVALID, "m.gguf: tokenizer.ggml.token_type[2] is 7, not 0 to 6", p);
    p = small_gpt2();
    p.more.bos = 4;
    expect_refusal(STATUS_INVALID,
                   "m.gguf: tokenizer.ggml.bos_token_id is 4, which no token has", p);
    p = small_gpt2();
    p.more.add_eos = TOKENIZER_ON;
    expect_refusal(STATUS_INVALID,
                   "m.gguf: tokenizer.ggml.add_eos_token is true, but eos_token_id is missing", p);
    p = small_gpt2();
    p.chat_template = std::string("a\0b", 3);
    expect_refusal(STATUS_INVALID, "m.gguf: tokenizer.chat_template holds a NUL", p);
}

} // namespace
