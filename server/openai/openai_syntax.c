#include "server/openai/openai_syntax.h"

#include <stddef.h>
#include <string.h>

const struct openai_syntax openai_syntax_list = {.bare = '['};

static const struct openai_tags qwen3_coder = {
    .before_name = "<function=", .behind_name = ">", .before_key = "<parameter=", .behind_key = ">",
    .behind_value = "</parameter>", .behind_call = "</function>", .lines = true,
};
static const struct openai_tags glm = {
    .before_key = "<arg_key>", .behind_key = "</arg_key>", .before_value = "<arg_value>",
    .behind_value = "</arg_value>",
};

static const struct openai_syntax syntaxes[] = {
    [OPENAI_TOOLS_HERMES] = {.begin = {"<tool_call>"}, .end = "</tool_call>"},
    [OPENAI_TOOLS_MISTRAL] = {.begin = {"[TOOL_CALLS]"}, .short_ids = true},
    [OPENAI_TOOLS_LLAMA3] = {.begin = {"<|python_tag|>"}, .bare = '{', .separator = ';'},
    [OPENAI_TOOLS_GRANITE] = {.begin = {"<|tool_call|>", "<tool_call>"}, .end = "</tool_call>"},
    /* The outer mark is at times forgotten. */
    [OPENAI_TOOLS_QWEN3_CODER] = {.begin = {"<tool_call>", "<function="}, .end = "</tool_call>",
                                  .tags = &qwen3_coder},
    [OPENAI_TOOLS_GLM] = {.begin = {"<tool_call>"}, .end = "</tool_call>", .tags = &glm},
};

/* The most particular first. All texts of a row must be in the template. */
static const struct {
    const char *text[2];
    enum openai_tool_parser parser;
} signs[] = {
    {{"<|tool_call|>"}, OPENAI_TOOLS_GRANITE},
    {{"[TOOL_CALLS]"}, OPENAI_TOOLS_MISTRAL},
    {{"<|python_tag|>"}, OPENAI_TOOLS_LLAMA3},
    {{"<|start_header_id|>", "\"parameters\":"}, OPENAI_TOOLS_LLAMA3},
    {{"<tool_call>", "<arg_key>"}, OPENAI_TOOLS_GLM},
    {{"<tool_call>", "<function="}, OPENAI_TOOLS_QWEN3_CODER},
    {{"<tool_call>"}, OPENAI_TOOLS_HERMES},
};

static enum openai_tool_parser find_parser(const char *template_text)
{
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++)
        if (strstr(template_text, signs[i].text[0]) &&
            (!signs[i].text[1] || strstr(template_text, signs[i].text[1])))
            return signs[i].parser;
    return OPENAI_TOOLS_NONE;
}

const struct openai_syntax *openai_syntax_find(enum openai_tool_parser parser,
                                               const char *template_text)
{
    if (parser == OPENAI_TOOLS_AUTO)
        parser = find_parser(template_text);
    return parser == OPENAI_TOOLS_NONE ? NULL : &syntaxes[parser];
}

bool openai_syntax_thinks(enum openai_reasoning_parser parser, const char *template_text)
{
    return parser == OPENAI_REASONING_THINK ||
           (parser == OPENAI_REASONING_AUTO && strstr(template_text, OPENAI_THINK_END));
}
