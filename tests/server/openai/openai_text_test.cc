#include "server/openai/openai_text.h"

#include "tests/server/openai/openai_support.h"

namespace {

using openai_test::Take;
using openai_test::Tokenizer;

std::string TextOf(const Tokenizer &t, const std::vector<uint32_t> &ids, bool keep_special = false)
{
    size_t bytes;
    char *text = detokenize(t.get(), ids.data(), ids.size(), !keep_special, &bytes);
    std::string out(text, bytes);
    free(text);
    return out;
}

TEST(OpenaiText, WholeTextsComeBack)
{
    Tokenizer t;
    for (const std::string text :
         {"", "hello world", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\n"})
        EXPECT_EQ(text, TextOf(t, t.encode(text)));
    std::vector<uint32_t> marked = {t.id("<|im_start|>")};
    for (uint32_t id : t.encode("x"))
        marked.push_back(id);
    EXPECT_EQ("x", TextOf(t, marked));
    EXPECT_EQ("<|im_start|>x", TextOf(t, marked, true));
    std::string longer;
    for (int i = 0; i < 5000; i++)
        longer += "word \xe2\x82\xac";
    EXPECT_EQ(longer, TextOf(t, t.encode(longer))) << "grows as it goes";
}

TEST(OpenaiText, OffsetsCountCharactersOfTheVisibleText)
{
    Tokenizer t;
    std::string text = "a \xe2\x82\xac b\xf0\x9f\x98\x80" "c";
    struct openai_offset offset;
    ASSERT_TRUE(openai_offset_open(&offset, t.get(), false));
    uint64_t expected = 0;
    size_t bytes_so_far = 0;
    for (uint32_t id : t.encode(text)) {
        uint64_t at = openai_offset_push(&offset, id);
        /* whole characters in the bytes before this token */
        uint64_t whole = 0;
        for (size_t i = 0; i < bytes_so_far; i += jsonw_utf8_length(&text[i], text.size() - i)) {
            if (i + jsonw_utf8_length(&text[i], text.size() - i) > bytes_so_far)
                break;
            whole++;
        }
        EXPECT_EQ(whole, at);
        EXPECT_LE(expected, at);
        expected = at;
        size_t bytes;
        tokenizer_piece(t.get(), id, &bytes);
        bytes_so_far += bytes;
    }
    EXPECT_EQ(7u, offset.characters);
    uint64_t before = offset.characters;
    openai_offset_push(&offset, t.id("<|im_end|>"));
    EXPECT_EQ(before, offset.characters) << "not shown, so it takes no room";
    openai_offset_close(&offset);
}

TEST(OpenaiText, WithoutATokenizerEverythingBeginsAtZero)
{
    struct openai_offset offset;
    ASSERT_TRUE(openai_offset_open(&offset, nullptr, false));
    EXPECT_EQ(0u, openai_offset_push(&offset, 5));
    EXPECT_EQ(0u, openai_offset_push(&offset, 6));
    openai_offset_close(&offset);
    struct jsonw w = {};
    openai_token_name(&w, nullptr, 17, false);
    EXPECT_EQ("\"token_id:17\"", Take(w));
}

TEST(OpenaiText, TokensAreNamedByTextOrBytes)
{
    Tokenizer t;
    struct jsonw w = {};
    openai_token_name(&w, t.get(), t.encode("a")[0], false);
    EXPECT_EQ("\"a\"", Take(w));
    /* U+10FFFD is in nobody's vocabulary: its bytes are tokens */
    uint32_t part = t.encode("\xf4\x8f\xbf\xbd")[0];
    openai_token_name(&w, t.get(), part, false);
    EXPECT_EQ("\"bytes:\\\\xf4\"", Take(w));
    openai_token_name(&w, t.get(), part, true);
    jsonw_uint(&w, 1);
    EXPECT_EQ("\"bytes:\\\\xf4\":1", Take(w));
    openai_token_name(&w, t.get(), t.id("<|im_end|>"), false);
    EXPECT_EQ("\"<|im_end|>\"", Take(w));
    size_t bytes = 9;
    EXPECT_STREQ("", openai_token_bytes(t.get(), 4000000000u, &bytes));
    EXPECT_EQ(0u, bytes);
}

} // namespace
