#include "refusal.h"

using namespace fixtures;

namespace {

std::string file(bool with_template)
{
    return std::string(R"({"model":{"type":"BPE","vocab":{"a":0,"<s>":1,"</s>":2},"merges":[]},
                           "decoder":{"type":"ByteLevel"})") +
           (with_template ? R"(,"post_processor":{"type":"TemplateProcessing","single":[
               {"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}},
{"SpecialToken":{"id":"</s>"}}],
               "special_tokens":{"<s>":{"ids":[1]},"</s>":{"ids":[2]}}})"
                          : "") +
           "}";
}

std::vector<uint32_t> around(bool with_template, const std::string &config)
{
    return encode(open_text(file(with_template), config).get(), "a", true);
}

using Ids = std::vector<uint32_t>;

TEST(ConfigJson, AnExplicitChoiceWinsOverTheTemplate)
{
    const std::string both = R"("bos_token":"<s>","eos_token":{"content":"</s>"})";
    EXPECT_EQ((Ids{1, 0, 2}), around(true, "{" + both + "}"));
    EXPECT_EQ((Ids{0, 2}), around(true, "{" + both + R"(,"add_bos_token":false})"));
    EXPECT_EQ((Ids{1, 0}), around(true, "{" + both + R"(,"add_eos_token":false})"));
    EXPECT_EQ((Ids{1, 0, 2}), around(true,
        "{" + both + R"(,"add_bos_token":true,"add_eos_token":true})"));
    EXPECT_EQ((Ids{0}), around(false, "{" + both + "}"));
    EXPECT_EQ((Ids{1, 0, 2}), around(false,
        "{" + both + R"(,"add_bos_token":true,"add_eos_token":true})"));
    EXPECT_EQ((Ids{0}), around(false, "{" + both + R"(,"add_bos_token":null})"));
}

TEST(ConfigJson, NamesTheTokens)
{
    Tokenizer t = open_text(file(false), R"({"bos_token":null,"eos_token":"</s>"})");
    EXPECT_EQ(TOKEN_NONE, tokenizer_bos(t.get()));
    EXPECT_EQ(2u, tokenizer_eos(t.get()));
}

TEST(ConfigJson, TakesTheTemplateOrTheDefaultOfSeveral)
{
    EXPECT_STREQ("T", tokenizer_chat_template(open_text(file(false),
        R"({"chat_template":"T"})").get()));
    Tokenizer t = open_text(file(false), R"({"chat_template":[{"name":"rag","template":"R"},
                                             {"name":"default","template":"D"}]})");
    EXPECT_STREQ("D", tokenizer_chat_template(t.get()));
    t = open_text(file(false), R"({"chat_template":[{"name":"rag","template":"R"}]})");
    EXPECT_EQ(nullptr, tokenizer_chat_template(t.get()));
}

TEST(ConfigJson, Refuses)
{
    const std::string json = file(false);
    expect_refusal(STATUS_INVALID, "tokenizer_config.json: not valid JSON", json, "{");
    expect_refusal(STATUS_INVALID, "tokenizer_config.json: bos_token \"<x>\" is not a token", json,
                   R"({"bos_token":"<x>"})");
    expect_refusal(STATUS_INVALID, "tokenizer_config.json: eos_token is not a string", json,
                   R"({"eos_token":5})");
    expect_refusal(STATUS_INVALID, "eos_token.content is not a string", json,
                   R"({"eos_token":{"content":5}})");
    expect_refusal(STATUS_INVALID, "add_bos_token is true, but there is no bos_token", json,
                   R"({"add_bos_token":true})");
    expect_refusal(STATUS_INVALID, "add_eos_token is true, but there is no eos_token", json,
                   R"({"add_eos_token":true})");
    expect_refusal(STATUS_INVALID, "add_bos_token is not true or false", json,
                   R"({"add_bos_token":"yes"})");
    expect_refusal(STATUS_INVALID, "chat_template is not a string", json,
        R"({"chat_template":{}})");
    expect_refusal(STATUS_INVALID, "chat_template holds a NUL", json,
        R"({"chat_template":"a\u0000"})");
}

} // namespace
