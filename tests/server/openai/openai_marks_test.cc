#include "server/openai/openai_marks.h"

#include "tests/server/openai/openai_support.h"
#include "tests/support/scratch.h"

namespace {

using openai_test::Dump;
using openai_test::Json;
using openai_test::Parse;
using openai_test::Tokenizer;

class OpenaiMarks : public testing::Test {
  protected:
    void SetUp() override { ASSERT_EQ(STATUS_OK, openai_marks_open(&marks_, t_.get(), nullptr)); }
    void TearDown() override { openai_marks_close(marks_); }

    std::string Hide(const std::string &text)
    {
        Json value(json_stringn(text.data(), text.size()));
        Json hidden(openai_marks_hide(marks_, value.get()));
        return std::string(json_string_value(hidden.get()), json_string_length(hidden.get()));
    }
    /* The pieces, hidden ones in brackets. */
    std::string Cut(const std::string &text)
    {
        std::string out;
        struct openai_piece piece;
        for (size_t at = 0; openai_marks_next(marks_, text.data(), text.size(), &at, &piece);) {
            EXPECT_GT(piece.bytes, 0u);
            std::string part(piece.text, piece.bytes);
            out += piece.hidden ? "[" + part + "]" : part;
        }
        return out;
    }

    Tokenizer t_;
    struct openai_marks *marks_ = nullptr;
};

TEST_F(OpenaiMarks, SpecialTokensDoNotSurviveInText)
{
    EXPECT_EQ("nothing < here", Hide("nothing < here"));
    std::string hidden = Hide("a<|im_end|>b<|im_start|>");
    EXPECT_EQ(std::string::npos, hidden.find("<|"));
    EXPECT_EQ("a[<|im_end|>]b[<|im_start|>]", Cut(hidden));
    EXPECT_EQ("[<|im_end|>]", Cut(Hide("<|im_end|>")));
    EXPECT_EQ("<|im_[<|im_end|>]end|>", Cut(Hide("<|im_<|im_end|>end|>")))
        << "what is left does not grow together";
    EXPECT_EQ("", Cut(""));
}

TEST_F(OpenaiMarks, ClientsCannotWriteStandIns)
{
    std::string stand_in = Hide("<|im_end|>");
    EXPECT_NE(stand_in, Hide(stand_in));
    std::string cut;
    struct openai_piece piece;
    std::string twice = Hide(stand_in);
    for (size_t at = 0; openai_marks_next(marks_, twice.data(), twice.size(), &at, &piece);) {
        EXPECT_TRUE(piece.hidden);
        cut.append(piece.text, piece.bytes);
    }
    EXPECT_EQ(stand_in, cut) << "it comes back as the characters it was";
    EXPECT_EQ(std::string::npos, Hide(OPENAI_MARKS_PLACE).find(OPENAI_MARKS_PLACE));
    EXPECT_EQ("[" OPENAI_MARKS_PLACE "]", Cut(Hide(OPENAI_MARKS_PLACE)));
}

TEST_F(OpenaiMarks, EveryStringOfAValueIsLookedAt)
{
    auto value =
        Parse(R"({"role":"user","n":[1,null,true,{"<|im_end|>":"x<|im_start|>"}],"e":{}})");
    Json hidden(openai_marks_hide(marks_, value.get()));
    std::string text = Dump(hidden.get());
    EXPECT_EQ(std::string::npos, text.find("<|"));
    EXPECT_EQ(0u, text.find("{\"role\":\"user\",\"n\":[1,null,true,{\"")) << "order stays";
    EXPECT_EQ(R"({"role":"user","n":[1,null,true,{"<|im_end|>":"x<|im_start|>"}],"e":{}})",
              Dump(value.get())) << "the client's own is only read";
}

/* Whatever a template does to a stand-in, no special token comes of it and nothing is read
 * twice. */
TEST_F(OpenaiMarks, CutStandInsAreText)
{
    std::string hidden = Hide("a<|im_end|>b");
    for (size_t cut = 0; cut <= hidden.size(); cut++) {
        for (const std::string &part : {hidden.substr(0, cut), hidden.substr(cut)}) {
            size_t total = 0;
            struct openai_piece piece;
            for (size_t at = 0; openai_marks_next(marks_, part.data(), part.size(), &at, &piece);)
                total += piece.hidden ? 0 : piece.bytes;
            EXPECT_LE(total, part.size());
        }
    }
}

TEST_F(OpenaiMarks, AnyTextComesBackWhole)
{
    scratch::Random random(11);
    const char *const parts[] = {"<|im_end|>",
                                 "<|im_start|>",
                                 "<",
                                 "|",
                                 "im_end|>",
                                 "<|endoftext|>",
                                 "\xef\xb7\x90",
                                 "\xef\xb7\xa0",
                                 "\xef\xb7\x91",
                                 "\xef\xb7\x92",
                                 "a",
                                 "\xe2\x82\xac",
                                 "\n"};
    for (int round = 0; round < 500; round++) {
        std::string text, back;
        for (uint32_t n = random.below(12); n > 0; n--)
            text += parts[random.below(sizeof parts / sizeof *parts)];
        std::string hidden = Hide(text);
        EXPECT_EQ(std::string::npos, hidden.find("<|im_end|>"));
        struct openai_piece piece;
        for (size_t at = 0;
             openai_marks_next(marks_, hidden.data(), hidden.size(), &at, &piece);)
            back.append(piece.text, piece.bytes);
        EXPECT_EQ(text, back);
    }
}

} // namespace
