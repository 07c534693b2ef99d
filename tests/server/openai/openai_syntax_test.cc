#include "server/openai/openai_syntax.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "engine/template/chat_template.h"

namespace {

std::string Golden(const std::string &name)
{
    const char *source = getenv("MOERING_SOURCE_DIR");
    std::ifstream file(std::string(source ? source : ".") + "/tests/golden/template/" + name +
                       ".jinja");
    std::stringstream text;
    text << file.rdbuf();
    EXPECT_FALSE(text.str().empty()) << name;
    return text.str();
}

const struct openai_syntax *Found(const std::string &text)
{
    return openai_syntax_find(OPENAI_TOOLS_AUTO, text.c_str());
}
const struct openai_syntax *Of(enum openai_tool_parser parser)
{
    return openai_syntax_find(parser, "");
}

TEST(OpenaiSyntax, TemplatesShowTheirFamily)
{
    EXPECT_EQ(Of(OPENAI_TOOLS_HERMES), Found(Golden("qwen3")));
    EXPECT_EQ(Of(OPENAI_TOOLS_MISTRAL), Found(Golden("mistral")));
    EXPECT_EQ(Of(OPENAI_TOOLS_LLAMA3), Found(Golden("llama3_tools")));
    EXPECT_EQ(Of(OPENAI_TOOLS_LLAMA3), Found("... <|python_tag|> ..."));
    EXPECT_EQ(nullptr, Found(Golden("olmoe")));
    EXPECT_EQ(nullptr, Found(""));
    EXPECT_EQ(Of(OPENAI_TOOLS_HERMES), Found(chat_template_builtin("chatml")));
    EXPECT_EQ(Of(OPENAI_TOOLS_LLAMA3), Found(chat_template_builtin("llama3")));
    EXPECT_EQ(Of(OPENAI_TOOLS_GRANITE), Found(chat_template_builtin("granite")));
    EXPECT_EQ(Of(OPENAI_TOOLS_GLM), Found(chat_template_builtin("glm")));
    EXPECT_EQ(Of(OPENAI_TOOLS_QWEN3_CODER), Found("<tool_call>\n<function=f>"));
    for (const char *other : {"deepseek3", "kimi-k2", "gpt-oss"})
        EXPECT_EQ(nullptr, Found(chat_template_builtin(other))) << other;
}

TEST(OpenaiSyntax, AWordGoesBeforeTheTemplate)
{
    EXPECT_EQ(Of(OPENAI_TOOLS_MISTRAL), openai_syntax_find(OPENAI_TOOLS_MISTRAL, "<tool_call>"));
    EXPECT_EQ(nullptr, openai_syntax_find(OPENAI_TOOLS_NONE, "<tool_call>"));
}

TEST(OpenaiSyntax, ThinkingShowsInTheTemplateToo)
{
    EXPECT_TRUE(openai_syntax_thinks(OPENAI_REASONING_AUTO, Golden("qwen3").c_str()));
    EXPECT_TRUE(openai_syntax_thinks(OPENAI_REASONING_AUTO, Golden("deepseek_r1").c_str()));
    EXPECT_FALSE(openai_syntax_thinks(OPENAI_REASONING_AUTO, Golden("olmoe").c_str()));
    EXPECT_TRUE(openai_syntax_thinks(OPENAI_REASONING_THINK, ""));
    EXPECT_FALSE(openai_syntax_thinks(OPENAI_REASONING_NONE, "</think>"));
}

} // namespace
