/* What a chat has beyond a completion: messages that a template makes a prompt of, tools, and
 * thoughts.
 *
 * Tools are offered only where calls can come of it: the template must show them (it is rendered
 * with and without), and the way its model writes calls must be known; a client would else wait
 * for calls that never come. With tool_choice "none" the tools are left out of the prompt. */
#include "server/openai/chat_decode.h"

#include <string.h>

static const char *const known[] = {"max_completion_tokens", "top_logprobs", "tools", "tool_choice",
                                    "parallel_tool_calls", "reasoning_effort", "messages",
                                    "documents", "add_generation_prompt", "continue_final_message",
                                    "chat_template", "chat_template_kwargs", "modalities", "audio",
                                    "functions", "function_call", "prediction",
                                    "web_search_options", "echo", "include_reasoning",
                                    "reasoning_format", NULL};
static const char *const unsupported[] = {"audio", "functions", "function_call", "prediction",
                                          "web_search_options", "echo", "suffix", NULL};

static bool read_modalities(const struct openai_fields *f)
{
    const json_t *list = openai_field_array(f, "modalities");
    size_t i;
    json_t *word;
    json_array_foreach((json_t *)list, i, word)
        if (!json_is_string(word) || strcmp(json_string_value(word), "text") != 0)
            return openai_field_refuse(f, "modalities", "modalities can hold text only");
    return !f->refusal->refused;
}

static void read_lengths(struct openai_asked *asked, const struct openai_fields *f)
{
    asked->has_max_tokens = openai_field_u32(f, "max_tokens", 0, UINT32_MAX, &asked->max_tokens);
    if (openai_field_u32(f, "max_completion_tokens", 0, UINT32_MAX, &asked->max_tokens))
        asked->has_max_tokens = true; /* wins over its deprecated name */
}

static bool read_logprobs(struct sampler_params *p, const struct openai_fields *f)
{
    openai_field_bool(f, "logprobs", &p->logprobs);
    openai_field_u32(f, "top_logprobs", 0, SAMPLER_TOP_LOGPROBS_MAX, &p->top_logprobs);
    if (p->top_logprobs && !p->logprobs)
        return openai_field_refuse(f, "top_logprobs", "top_logprobs is allowed with logprobs true "
                                                      "only");
    return !f->refusal->refused;
}

/* ---- the prompt ---- */

static bool offers_tools(const struct openai_asked *asked)
{
    return asked->tools.choice != OPENAI_CHOICE_NONE;
}

/* The body with no tools to show. Returns a new reference; NULL: refused. */
static json_t *without_tools(const json_t *body, struct openai_refusal *refusal)
{
    json_t *copy = openai_json_copy(body, false);
    if (!copy)
        openai_refuse(refusal, HTTP_UNAVAILABLE, NULL, "out of memory for the chat");
    json_object_del(copy, "tools");
    return copy;
}

/* A template that does not know tools would drop them. */
static bool check_shown(const struct openai_template *chat, const struct openai_fields *bare,
                        int64_t now_s, const struct openai_rendered *with)
{
    struct openai_rendered without = {0};
    bool ok = openai_template_render(chat, bare, now_s, &without);
    if (ok && with->bytes == without.bytes && memcmp(with->text, without.text, with->bytes) == 0)
        ok = openai_field_refuse(bare, "tools",
                                 "the chat template of this model does not show tools to it; "
                                 "another one may (--chat-template, or the field chat_template)");
    openai_rendered_reset(&without);
    return ok;
}

static bool render(const json_t *body, const struct openai_template *chat, int64_t now_s,
                   const struct openai_asked *asked, struct openai_rendered *out,
                   struct openai_refusal *refusal)
{
    json_t *copy = without_tools(body, refusal);
    struct openai_fields bare = {copy, "", refusal}, all = {body, "", refusal};
    bool ok = copy && openai_template_render(chat, offers_tools(asked) ? &all : &bare, now_s, out);
    if (ok && offers_tools(asked))
        ok = check_shown(chat, &bare, now_s, out);
    json_decref(copy);
    return ok;
}

/* ---- how the answer is read ---- */

static bool read_calls(struct openai_asked *asked, const struct openai_template *chat,
                       const struct openai_fields *f)
{
    const struct openai_tools *tools = &asked->tools;
    struct openai_reading *r = &asked->reading;
    bool searched = true;
    if (offers_tools(asked) && asked->grammar.kind != OPENAI_GRAMMAR_NONE)
        return openai_field_refuse(f, asked->grammar.param,
                                   "%s keeps the whole answer to a format, so no tool could be "
                                   "called: with tools it needs tool_choice none",
                                   asked->grammar.param);
    r->names = (const char *const *)tools->names;
    r->name_count = tools->count;
    r->tools = tools->list;
    r->one_call = tools->one_call;
    switch (tools->choice) {
    case OPENAI_CHOICE_NONE:
        return true;
    case OPENAI_CHOICE_AUTO:
        r->syntax = openai_template_syntax(chat, f, &searched);
        if (searched && !r->syntax)
            return openai_field_refuse(f, "tools",
                                       "how this model writes calls of tools is not known from its "
                                       "chat template: say it with --tool-call-parser, or use "
                                       "tool_choice required or a named function");
        return true;
    case OPENAI_CHOICE_REQUIRED:
        r->syntax = &openai_syntax_list;
        break;
    case OPENAI_CHOICE_NAMED:
        r->named = tools->names[tools->named];
        break;
    }
    return openai_tools_demand(tools, &asked->grammar, f->refusal);
}

/* An answer that a grammar keeps to a format has no thoughts in it. */
static bool read_thoughts(struct openai_asked *asked, const struct openai_template *chat,
                          const struct openai_fields *f)
{
    size_t bytes;
    bool include = true;
    openai_field_bool(f, "include_reasoning", &include);
    const char *format = openai_field_text(f, "reasoning_format", &bytes);
    bool none = format && strcmp(format, "none") == 0;
    if (format && !none && strcmp(format, "auto") != 0 && strcmp(format, "deepseek") != 0)
        return openai_field_refuse(f, "reasoning_format",
                                   "reasoning_format is '%.40s', must be auto, deepseek or none",
                                   format);
    if (f->refusal->refused)
        return false;
    asked->reading.thinks = !none && asked->grammar.kind == OPENAI_GRAMMAR_NONE &&
                            openai_template_thinks(chat, f);
    asked->reading.hide_thoughts = !include;
    return true;
}

static bool ends_with(const struct openai_rendered *r, const char *mark)
{
    size_t end = r->bytes, length = strlen(mark);
    while (end && r->text[end - 1] && strchr(" \n\r\t", r->text[end - 1]))
        end--;
    return end >= length && memcmp(r->text + end - length, mark, length) == 0;
}

/* Marks that are special tokens come out nowhere unless they are asked for. */
static void show_mark(struct openai_asked *asked, const struct tokenizer *tokenizer,
                      const char *mark)
{
    uint32_t token = mark ? tokenizer_token_id(tokenizer, mark) : TOKEN_NONE;
    if (token != TOKEN_NONE && tokenizer_is_special(tokenizer, token))
        asked->shown_special[asked->shown_special_count++] = token;
}

static void show_marks(struct openai_asked *asked, const struct tokenizer *tokenizer)
{
    _Static_assert(OPENAI_SYNTAX_MARKS + 10 <= REQUEST_SHOWN_SPECIAL_MAX, "marks of one reading");
    const struct openai_syntax *syntax = asked->reading.syntax;
    const struct openai_tags *tags = syntax ? syntax->tags : NULL;
    for (size_t i = 0; syntax && i < OPENAI_SYNTAX_MARKS; i++)
        show_mark(asked, tokenizer, syntax->begin[i]);
    if (syntax)
        show_mark(asked, tokenizer, syntax->end);
    if (tags) {
        const char *const marks[] = {tags->before_name, tags->behind_name, tags->before_key,
                                     tags->behind_key, tags->before_value, tags->behind_value,
                                     tags->behind_call};
        for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
            show_mark(asked, tokenizer, marks[i]);
    }
    if (asked->reading.thinks) {
        show_mark(asked, tokenizer, OPENAI_THINK_BEGIN);
        show_mark(asked, tokenizer, OPENAI_THINK_END);
    }
}

/* ---- the whole ---- */

static bool read_chat(const json_t *body, const struct openai_model *model,
                      const struct openai_template *chat, int64_t now_s,
                      struct openai_asked *asked, struct openai_refusal *refusal)
{
    bool add_special = false;
    struct openai_rendered rendered = {0};
    struct token_list list = {0};
    struct openai_fields f = {body, "", refusal};
    openai_field_bool(&f, "add_special_tokens", &add_special);
    bool ok = render(body, chat, now_s, asked, &rendered, refusal) &&
              read_calls(asked, chat, &f) && read_thoughts(asked, chat, &f) &&
              openai_template_tokens(chat, &rendered, add_special, &list, refusal) &&
              openai_asked_prompts(asked, 1, refusal);
    if (ok) {
        asked->prompts[0] = (struct openai_prompt){.ids = list.ids, .count = list.count};
        asked->reading.begun = asked->reading.thinks && ends_with(&rendered, OPENAI_THINK_BEGIN);
        show_marks(asked, model->tokenizer);
    } else {
        token_list_reset(&list);
    }
    openai_rendered_reset(&rendered);
    return ok;
}

bool chat_decode(const json_t *body, const struct openai_model *model,
                 const struct openai_template *chat, const struct openai_limits *limits,
                 int64_t now_s, struct openai_asked *asked, struct openai_refusal *refusal)
{
    struct openai_fields f = {body, "", refusal};
    openai_log_unknown(body, known, openai_asked_known);
    if (!openai_refuse_unsupported(&f, unsupported) ||
        !openai_asked_read(asked, &f, model, limits) || !openai_tools_read(&asked->tools, &f) ||
        !read_modalities(&f))
        return false;
    read_lengths(asked, &f);
    if (!read_logprobs(&asked->sampling, &f))
        return false;
    if (!chat)
        return openai_refuse(refusal, HTTP_BAD_VALUE, "messages",
                             "the model '%s' has no tokenizer: send token ids to /v1/completions",
                             model->name);
    return read_chat(body, model, chat, now_s, asked, refusal) &&
           openai_asked_check(asked, model, limits, "messages", refusal);
}
