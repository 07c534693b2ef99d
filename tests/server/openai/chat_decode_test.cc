#include "server/openai/chat_decode.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include "tests/server/openai/openai_support.h"

namespace {

using openai_test::Asked;
using openai_test::Json;
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
    EXPECT_EQ(t_.encode("<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", true),
              a.prompt(0));
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
             R"("tools":[],"tool_choice":"none","parallel_tool_calls":false)",
             R"("modalities":["text"],"reasoning_effort":"low","user":"u","service_tier":"auto")",
             R"("include_reasoning":false,"reasoning_format":"deepseek")",
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
        {"tools[0].function", R"("tools":[{"type":"function"}],"tool_choice":"none")"},
        {"tools", R"("tools":"f")"},
        {"tool_choice", R"("tool_choice":"required")"},
        {"include_reasoning", R"("include_reasoning":"no")"},
        {"reasoning_format", R"("reasoning_format":"harmony")"},
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

/* ---- tools ---- */

const char tool[] = R"({"type":"function","function":{"name":"f","description":"d","parameters":)"
                    R"({"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}}})";

std::string Tools(const std::string &more = "")
{
    return "\"tools\":[" + std::string(tool) + "]" + (more.empty() ? "" : "," + more);
}

/* The template of chatml shows tools, and writes calls as Hermes does. */
class ChatDecodeTools : public ChatDecode {
  protected:
    void SetUp() override { Use("chatml"); }
    void Use(const char *name)
    {
        openai_template_close(chat_);
        ASSERT_EQ(STATUS_OK, openai_template_open(&chat_, t_.get(), name, nullptr));
    }
};

TEST_F(ChatDecodeTools, ToolsAreShownAndCallsLookedFor)
{
    Asked a;
    ASSERT_TRUE(Decode(a, Tools())) << a.why();
    EXPECT_EQ(OPENAI_CHOICE_AUTO, a.asked.tools.choice);
    EXPECT_EQ(openai_syntax_find(OPENAI_TOOLS_HERMES, ""), a.asked.reading.syntax);
    ASSERT_EQ(1u, a.asked.reading.name_count);
    EXPECT_STREQ("f", a.asked.reading.names[0]);
    EXPECT_FALSE(a.asked.reading.one_call || a.asked.reading.named);
    EXPECT_EQ(OPENAI_GRAMMAR_NONE, a.asked.grammar.kind) << "free to call or not";
    std::vector<uint32_t> shown = t_.encode("\"name\"");
    auto prompt = a.prompt(0);
    EXPECT_NE(prompt.end(),
              std::search(prompt.begin(), prompt.end(), shown.begin() + 1, shown.end() - 1));
    Asked one;
    ASSERT_TRUE(Decode(one, Tools(R"("parallel_tool_calls":false,"tool_choice":"auto")")));
    EXPECT_TRUE(one.asked.reading.one_call);
}

TEST_F(ChatDecodeTools, NoneLeavesThemOutOfThePrompt)
{
    Asked a, plain;
    ASSERT_TRUE(Decode(a, Tools(R"("tool_choice":"none")"))) << a.why();
    ASSERT_TRUE(Decode(plain, ""));
    EXPECT_EQ(plain.prompt(0), a.prompt(0));
    EXPECT_EQ(nullptr, a.asked.reading.syntax);
    Asked formatted;
    EXPECT_TRUE(Decode(formatted,
                       Tools(R"("tool_choice":"none","response_format":{"type":"json_object"})")));
}

TEST_F(ChatDecodeTools, DemandsAreGrammars)
{
    Asked required, named;
    ASSERT_TRUE(Decode(required, Tools(R"("tool_choice":"required")"))) << required.why();
    EXPECT_EQ(&openai_syntax_list, required.asked.reading.syntax);
    EXPECT_EQ(OPENAI_GRAMMAR_SCHEMA, required.asked.grammar.kind);
    EXPECT_NE(nullptr, required.asked.grammar.compiled);
    ASSERT_TRUE(
        Decode(named, Tools(R"("tool_choice":{"type":"function","function":{"name":"f"}})")));
    EXPECT_STREQ("f", named.asked.reading.named);
    EXPECT_NE(nullptr, named.asked.grammar.compiled);
}

TEST_F(ChatDecodeTools, WhatCannotComeOfThemIsRefused)
{
    const struct {
        const char *param, *more;
    } cases[] = {
        {"response_format", R"("response_format":{"type":"json_object"})"},
        {"structured_outputs", R"("tool_choice":"required","structured_outputs":{"regex":"a"})"},
        {"tools", R"("chat_template":"{{ messages[0].content }}")"},
        {"tools", R"("chat_template":"{{ messages[0].content }}{{ tools }}")"},
        {"tool_choice", R"("tool_choice":"sometimes")"},
    };
    for (const auto &c : cases) {
        Asked a;
        EXPECT_FALSE(Decode(a, Tools(c.more))) << c.more;
        EXPECT_EQ(c.param, a.param()) << c.more << ": " << a.why();
    }
    Asked any;
    EXPECT_TRUE(Decode(any, Tools(R"("tool_choice":"required","chat_template":"{{ tools }}")")))
        << "a demanded call needs no syntax" << any.why();
}

TEST_F(ChatDecodeTools, TheServerMaySayHowCallsAreWritten)
{
    openai_template_choose(chat_, OPENAI_TOOLS_MISTRAL, OPENAI_REASONING_NONE);
    Asked mistral, none;
    ASSERT_TRUE(Decode(mistral, Tools()));
    EXPECT_EQ(openai_syntax_find(OPENAI_TOOLS_MISTRAL, ""), mistral.asked.reading.syntax);
    openai_template_choose(chat_, OPENAI_TOOLS_NONE, OPENAI_REASONING_NONE);
    ASSERT_TRUE(Decode(none, Tools())) << "shown, and answers come as they are";
    EXPECT_EQ(nullptr, none.asked.reading.syntax);
}

/* Marks that are special tokens are asked to be shown; others are text anyway. */
TEST_F(ChatDecodeTools, SpecialMarksAreShown)
{
    Asked a, granite;
    ASSERT_TRUE(Decode(a, Tools()));
    EXPECT_EQ(0u, a.asked.shown_special_count) << "no mark of Hermes is in this vocabulary";
    Json json(json_load_file((openai_test::TinyModel() + "/tokenizer.json").c_str(), 0, nullptr));
    uint32_t id = tokenizer_vocab_size(t_.get());
    const std::pair<const char *, bool> marks[] = {{"<|tool_call|>", true}, {"<think>", false},
                                                   {"</think>", true}};
    for (uint32_t i = 0; i < 3; i++)
        json_array_append_new(json_object_get(json.get(), "added_tokens"),
                              json_pack("{s:i, s:s, s:b}", "id", id + i, "content", marks[i].first,
                                        "special", marks[i].second));
    std::string text = openai_test::Dump(json.get());
    struct tokenizer *other = nullptr;
    struct error error = {};
    ASSERT_EQ(STATUS_OK,
              tokenizer_open_memory(&other, "t", text.data(), text.size(), nullptr, 0, &error))
        << error.text;
    model_.tokenizer = other;
    ASSERT_TRUE(Decode(granite, Tools(R"("chat_template":"{{ tools }}<|tool_call|></think>")")))
        << granite.why();
    ASSERT_EQ(2u, granite.asked.shown_special_count);
    EXPECT_EQ(id, granite.asked.shown_special[0]);
    EXPECT_EQ(id + 2, granite.asked.shown_special[1]);
    tokenizer_close(other);
}

/* ---- thoughts ---- */

TEST_F(ChatDecode, ThoughtsAreLookedForWhereTheTemplateKnowsThem)
{
    Asked plain;
    ASSERT_TRUE(Decode(plain, ""));
    EXPECT_FALSE(plain.asked.reading.thinks);
    const std::string knows =
        R"("chat_template":"{{ messages[0].content }}{% if 0 %}</think>{% endif %}")";
    const std::string begins = R"("chat_template":"{{ messages[0].content }}</think><think>\n")";
    Asked a, begun, hidden, off, formatted, server;
    ASSERT_TRUE(Decode(a, knows)) << a.why();
    EXPECT_TRUE(a.asked.reading.thinks && !a.asked.reading.begun && !a.asked.reading.hide_thoughts);
    ASSERT_TRUE(Decode(begun, begins)) << begun.why();
    EXPECT_TRUE(begun.asked.reading.thinks && begun.asked.reading.begun);
    ASSERT_TRUE(Decode(hidden, begins + R"(,"include_reasoning":false)"));
    EXPECT_TRUE(hidden.asked.reading.begun && hidden.asked.reading.hide_thoughts);
    ASSERT_TRUE(Decode(off, begins + R"(,"reasoning_format":"none")"));
    EXPECT_FALSE(off.asked.reading.thinks || off.asked.reading.begun);
    ASSERT_TRUE(Decode(formatted, begins + R"(,"response_format":{"type":"json_object"})"));
    EXPECT_FALSE(formatted.asked.reading.thinks || formatted.asked.reading.begun)
        << "what a grammar writes is no thought";
    openai_template_choose(chat_, OPENAI_TOOLS_AUTO, OPENAI_REASONING_NONE);
    ASSERT_TRUE(Decode(server, begins));
    EXPECT_FALSE(server.asked.reading.thinks);
}

/* A template as models bring it: tools, thoughts, and a thought that is over before the answer
 * begins. */
TEST_F(ChatDecodeTools, AModelWithToolsAndThoughts)
{
    const char *source = getenv("MOERING_SOURCE_DIR");
    std::ifstream file(std::string(source ? source : ".") + "/tests/golden/template/qwen3.jinja");
    std::string text{std::istreambuf_iterator<char>(file), {}};
    ASSERT_FALSE(text.empty());
    ASSERT_NO_FATAL_FAILURE(Use(text.c_str()));
    Asked a, quiet;
    ASSERT_TRUE(Decode(a, Tools())) << a.why();
    EXPECT_EQ(openai_syntax_find(OPENAI_TOOLS_HERMES, ""), a.asked.reading.syntax);
    EXPECT_TRUE(a.asked.reading.thinks && !a.asked.reading.begun);
    ASSERT_TRUE(Decode(quiet, R"("chat_template_kwargs":{"enable_thinking":false})"))
        << quiet.why();
    EXPECT_FALSE(quiet.asked.reading.begun);
    auto prompt = quiet.prompt(0), over = t_.encode("</think>\n\n");
    EXPECT_NE(prompt.end(),
              std::search(prompt.begin(), prompt.end(), over.begin() + 1, over.end()));
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
