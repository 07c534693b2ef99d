#include "server/openai/chat_decode.h"

#include "tests/server/openai/openai_support.h"

namespace {

using openai_test::Asked;
using openai_test::Parse;
using openai_test::Tokenizer;

class ChatDecode : public testing::Test {
  protected:
    void SetUp() override
    {
        ASSERT_EQ(STATUS_OK, openai_template_open(&chat_, t_.get(), nullptr, nullptr));
    }
    void TearDown() override { openai_template_close(chat_); }
    bool Decode(Asked &a, const std::string &fields)
    {
        a.body = Parse(R"({"messages":[{"role":"user","content":"hi"}])" +
                       (fields.empty() ? "" : "," + fields) + "}");
        bool ok = chat_decode(a.body.get(), &model_, chat_, &a.limits, 0, &a.asked, &a.refusal);
        EXPECT_EQ(ok, !a.refusal.refused);
        return ok;
    }
    Tokenizer t_;
    struct openai_template *chat_ = nullptr;
    struct openai_model model_ = {"served", t_.get(), 512, 1024};
};

TEST_F(ChatDecode, MessagesBecomeAPrompt)
{
    Asked a;
    ASSERT_TRUE(Decode(a, "")) << a.why();
    EXPECT_FALSE(a.asked.has_max_tokens) << "as many as fit";
    ASSERT_EQ(1u, a.asked.prompt_count);
    EXPECT_EQ(t_.encode("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", true), a.prompt(0));
    EXPECT_FALSE(a.asked.sampling.logprobs || a.asked.echo);
}

TEST_F(ChatDecode, TheNewNameOfMaxTokensWins)
{
    Asked old, both, neither;
    ASSERT_TRUE(Decode(old, R"("max_tokens":5)"));
    EXPECT_TRUE(old.asked.has_max_tokens);
    EXPECT_EQ(5u, old.asked.max_tokens);
    ASSERT_TRUE(Decode(both, R"("max_tokens":5,"max_completion_tokens":7)"));
    EXPECT_EQ(7u, both.asked.max_tokens);
    ASSERT_TRUE(Decode(neither, R"("max_tokens":null,"max_completion_tokens":null)"));
    EXPECT_FALSE(neither.asked.has_max_tokens);
}

TEST_F(ChatDecode, LogprobsAreASwitchAndANumber)
{
    Asked a, plain;
    ASSERT_TRUE(Decode(a, R"("logprobs":true,"top_logprobs":20)"));
    EXPECT_TRUE(a.asked.sampling.logprobs);
    EXPECT_EQ(20u, a.asked.sampling.top_logprobs);
    ASSERT_TRUE(Decode(plain, R"("logprobs":true)"));
    EXPECT_EQ(0u, plain.asked.sampling.top_logprobs);
}

TEST_F(ChatDecode, WhatStandsAsideIsAccepted)
{
    for (const char *fields : {
             R"("tools":[],"tool_choice":"auto","parallel_tool_calls":true)",
             R"("tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"none")",
             R"("modalities":["text"],"reasoning_effort":"low","user":"u","service_tier":"auto")",
             R"("functions":[],"audio":null,"prediction":null)",
             R"("something_new":{"a":1})"}) {
        Asked a;
        EXPECT_TRUE(Decode(a, fields)) << fields << a.why();
        EXPECT_EQ(t_.encode("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", true),
                  a.prompt(0)) << fields;
    }
}

/* Each is known, would change the answer, and is not there. */
TEST_F(ChatDecode, RefusalsNameTheField)
{
    const struct {
        const char *param, *fields;
    } cases[] = {
        {"tools", R"("tools":[{"type":"function","function":{"name":"f"}}])"},
        {"tools", R"("tools":[{"type":"function"}],"tool_choice":"auto")"},
        {"tools", R"("tools":"f")"},
        {"tool_choice", R"("tool_choice":"required")"},
        {"tool_choice", R"("tool_choice":{"type":"function","function":{"name":"f"}})"},
        {"parallel_tool_calls", R"("parallel_tool_calls":"no")"},
        {"functions", R"("functions":[{"name":"f"}])"},
        {"function_call", R"("function_call":"auto")"},
        {"audio", R"("audio":{"voice":"x"})"},
        {"modalities", R"("modalities":["text","audio"])"},
        {"prediction", R"("prediction":{"type":"content","content":"x"})"},
        {"web_search_options", R"("web_search_options":{"a":1})"},
        {"echo", R"("echo":true)"},
        {"suffix", R"("suffix":"x")"},
        {"top_logprobs", R"("top_logprobs":2)"},
        {"top_logprobs", R"("logprobs":true,"top_logprobs":21)"},
        {"logprobs", R"("logprobs":2)"},
        {"max_tokens", R"("max_tokens":-1)"},
        {"max_completion_tokens", R"("max_completion_tokens":"x")"},
        {"temperature", R"("temperature":-1)"},
        {"best_of", R"("best_of":2)"},
        {"add_special_tokens", R"("add_special_tokens":1)"},
        {"chat_template", R"("chat_template":"{{ raise_exception")"},
    };
    for (const auto &c : cases) {
        Asked a;
        EXPECT_FALSE(Decode(a, c.fields)) << c.fields;
        EXPECT_EQ(c.param, a.param()) << c.fields << ": " << a.why();
        EXPECT_EQ(HTTP_BAD_VALUE, a.refusal.problem);
    }
    Asked missing;
    missing.body = Parse("{}");
    EXPECT_FALSE(chat_decode(missing.body.get(), &model_, chat_, &missing.limits, 0, &missing.asked,
                             &missing.refusal));
    EXPECT_EQ("messages", missing.param());
}

TEST_F(ChatDecode, ChatsBeyondTheContextHaveTheirOwnCode)
{
    model_.max_model_len = 5;
    Asked a;
    EXPECT_FALSE(Decode(a, ""));
    EXPECT_EQ(HTTP_CONTEXT_LENGTH, a.refusal.problem);
    EXPECT_EQ("messages", a.param());
}

TEST_F(ChatDecode, WithoutATokenizerThereIsNoChat)
{
    openai_template_close(chat_);
    chat_ = nullptr;
    Asked a;
    EXPECT_FALSE(Decode(a, ""));
    EXPECT_EQ("messages", a.param());
}

} // namespace
