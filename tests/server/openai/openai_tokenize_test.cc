/* POST /tokenize, /detokenize, /apply-template in the shapes of both families of servers. */
#include "tests/server/openai/openai_server.h"

namespace {

using openai_test::Parse;
using openai_test::Text;

std::string List(const std::vector<uint32_t> &ids)
{
    std::string out = "[";
    for (uint32_t id : ids)
        out += (out.size() > 1 ? "," : "") + std::to_string(id);
    return out + "]";
}

class OpenaiTokenize : public openai_test::Server {
  protected:
    openai_test::Tokenizer t_;
};

TEST_F(OpenaiTokenize, ContentIsAnsweredWithTokens)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    EXPECT_EQ("{\"tokens\":" + List(t_.encode("hello world")) + "}",
              Post("/tokenize", R"({"content":"hello world"})").body);
    EXPECT_EQ("{\"tokens\":[" + std::to_string(t_.id("<|im_end|>")) + "]}",
              Post("/tokenize", R"({"content":"<|im_end|>"})").body);
    EXPECT_EQ("{\"tokens\":" + List(t_.encode("<|im_end|>", false)) + "}",
              Post("/tokenize", R"({"content":"<|im_end|>","parse_special":false})").body);
    EXPECT_EQ("{\"tokens\":[]}", Post("/tokenize", R"({"content":""})").body);
}

/* Bytes that are no text by themselves come as numbers. */
TEST_F(OpenaiTokenize, PiecesAreTextsOrBytes)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    auto json = Parse(Post("/tokenize", R"({"content":"a\u{}","with_pieces":true})").body);
    EXPECT_NE(nullptr, openai_test::At(json.get(), {"error"})) << "that was no JSON";
    json =
        Parse(Post("/tokenize", "{\"content\":\"a\xf4\x8f\xbf\xbd\",\"with_pieces\":true}").body);
    EXPECT_EQ("\"a\"", Text(json.get(), {"tokens", "0", "piece"}));
    EXPECT_EQ("[244]", Text(json.get(), {"tokens", "1", "piece"}));
    EXPECT_EQ(std::to_string(t_.encode("a")[0]), Text(json.get(), {"tokens", "0", "id"}));
}

TEST_F(OpenaiTokenize, PromptsAndMessagesAreCounted)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    auto ids = t_.encode("hello");
    EXPECT_EQ("{\"count\":" + std::to_string(ids.size()) + ",\"max_model_len\":1024,\"tokens\":" +
                  List(ids) + "}",
              Post("/tokenize", R"({"model":"tiny/chat","prompt":"hello"})").body);
    ids = t_.encode("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", true);
    auto json = Parse(Post("/tokenize", R"({"messages":[{"role":"user","content":"hi"}],)"
                                        R"("return_token_strs":true})").body);
    EXPECT_EQ(List(ids), Text(json.get(), {"tokens"}));
    EXPECT_EQ("\"<|im_start|>\"", Text(json.get(), {"token_strs", "0"}));
}

TEST_F(OpenaiTokenize, TokensComeBackAsText)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    std::string text = "caf\xc3\xa9 <|im_end|>";
    EXPECT_EQ("{\"content\":\"" + text + "\",\"prompt\":\"" + text + "\"}",
              Post("/detokenize", "{\"tokens\":" + List(t_.encode(text, true)) + "}").body);
    EXPECT_EQ("{\"content\":\"\",\"prompt\":\"\"}", Post("/detokenize", R"({"tokens":[]})").body);
}

TEST_F(OpenaiTokenize, TheTemplateIsShown)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    EXPECT_EQ(
        R"({"prompt":"<|im_start|>user\na<|im_end|>b<|im_end|>\n<|im_start|>assistant\n"})",
        Post("/apply-template", R"({"messages":[{"role":"user","content":"a<|im_end|>b"}]})").body);
}

TEST_F(OpenaiTokenize, RefusalsNameTheField)
{
    ASSERT_NO_FATAL_FAILURE(StartReady());
    const struct {
        const char *path, *body, *param;
    } cases[] = {
        {"/tokenize", "{}", "prompt"},
        {"/tokenize", R"({"content":7})", "content"},
        {"/tokenize", R"({"content":"x","with_pieces":1})", "with_pieces"},
        {"/tokenize", R"({"prompt":["x"]})", "prompt"},
        {"/tokenize", R"({"messages":[]})", "messages"},
        {"/detokenize", "{}", "tokens"},
        {"/detokenize", R"({"tokens":[512]})", "tokens"},
        {"/apply-template", "{}", "messages"},
        {"/apply-template", "[]", ""},
    };
    for (const auto &c : cases)
        Refused(c.path, c.body, 400, "invalid_request_error", "invalid_value", c.param);
    Refused("/tokenize", R"({"model":"gpt-4","prompt":"x"})", 404, "invalid_request_error",
            "model_not_found", "model");
}

} // namespace
