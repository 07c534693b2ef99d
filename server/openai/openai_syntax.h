/* How a family of models writes calls of tools, and whether it thinks aloud.
 *
 * Nothing in a model's files says it, but its chat template does: it has to write earlier calls
 * as the model would. So the family is found by the marks that the template writes, and may be
 * said by a flag where a template is silent. A family that is not in the table is no error
 * until somebody asks for calls. Pure. */
#ifndef MOERING_SERVER_OPENAI_OPENAI_SYNTAX_H
#define MOERING_SERVER_OPENAI_OPENAI_SYNTAX_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --tool-call-parser and --reasoning-parser, in the order of their words. */
enum openai_tool_parser {
    OPENAI_TOOLS_AUTO,   /* by the template */
    OPENAI_TOOLS_HERMES, /* Hermes, Qwen: <tool_call>{"name":..., "arguments":{...}}</tool_call> */
    OPENAI_TOOLS_MISTRAL, /* [TOOL_CALLS] [{"name":..., "arguments":{...}}, ...] */
    OPENAI_TOOLS_LLAMA3, /* {"name":..., "parameters":{...}} is the whole answer */
    OPENAI_TOOLS_GRANITE, /* <|tool_call|>[{"name":..., "arguments":{...}}, ...] */
    OPENAI_TOOLS_QWEN3_CODER, /* <tool_call><function=NAME><parameter=KEY>VALUE</parameter>... */
    OPENAI_TOOLS_GLM,    /* <tool_call>NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value>... */
    OPENAI_TOOLS_NONE    /* outputs are not searched */
};
enum openai_reasoning_parser {
    OPENAI_REASONING_AUTO, /* if the template knows </think> */
    OPENAI_REASONING_THINK,
    OPENAI_REASONING_NONE /* thoughts stay in the answer */
};

#define OPENAI_THINK_BEGIN "<think>"
#define OPENAI_THINK_END "</think>"
#define OPENAI_SYNTAX_MARKS 2

/* The marks of a call that is no JSON. NULL: there is none at this place. */
struct openai_tags {
    const char *before_name, *behind_name;
    const char *before_key, *behind_key;
    const char *before_value, *behind_value;
    const char *behind_call;
    bool lines; /* a value stands on lines of its own: a new line before and behind it is not its */
};

/* A call is one JSON object or a list of them, or tags. */
struct openai_syntax {
    const char *begin[OPENAI_SYNTAX_MARKS]; /* what stands before; NULL: no more */
    const char *end;    /* what stands behind, if it stands there; NULL: nothing */
    char bare;          /* an answer that begins with this byte is calls, without a mark; 0: none */
    char separator;     /* between calls that are no list; 0: none */
    const struct openai_tags *tags; /* NULL: JSON */
    bool short_ids;     /* its templates want ids of nine letters and digits */
};

/* NULL: none, or not known. */
const struct openai_syntax *openai_syntax_find(enum openai_tool_parser parser,
                                               const char *template_text);
/* Of answers that a grammar keeps to a list of calls. */
extern const struct openai_syntax openai_syntax_list;
bool openai_syntax_thinks(enum openai_reasoning_parser parser, const char *template_text);

#ifdef __cplusplus
}
#endif
#endif
