/* What a chat has beyond a completion: messages that a template makes a prompt of, and tools.
 * Outputs are not searched for calls of tools, so a request that offers tools to the model is
 * refused: a client would wait for calls that never come. With tool_choice "none" the tools are
 * left out of the prompt. */
#include "server/openai/chat_decode.h"

#include <string.h>

static const char *const known[] = {"max_completion_tokens", "top_logprobs", "tools", "tool_choice",
                                    "parallel_tool_calls", "reasoning_effort", "messages",
                                    "documents", "add_generation_prompt", "continue_final_message",
                                    "chat_template", "chat_template_kwargs", "modalities", "audio",
                                    "functions", "function_call", "prediction",
                                    "web_search_options", "echo", NULL};
static const char *const unsupported[] = {"audio", "functions", "function_call", "prediction",
                                          "web_search_options", "echo", "suffix", NULL};

static bool read_tools(const struct openai_fields *f)
{
    const json_t *choice = openai_field(f, "tool_choice");
    const json_t *tools = openai_field_array(f, "tools");
    bool parallel;
    openai_field_bool(f, "parallel_tool_calls", &parallel);
    if (f->refusal->refused)
        return false;
    const char *word = json_string_value(choice);
    bool none = word && strcmp(word, "none") == 0;
    if (choice && !none && !(word && strcmp(word, "auto") == 0))
        return openai_field_refuse(f, "tool_choice",
                                   "tool_choice can be none or auto: outputs are not searched for "
                                   "tool calls");
    if (json_array_size(tools) && !none)
        return openai_field_refuse(f, "tools",
                                   "tools is supported with tool_choice none only: outputs are not "
                                   "searched for tool calls");
    return true;
}

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

/* The tools of a request that shows the model none. Returns a new reference; NULL: out of
 * memory. */
static json_t *without_tools(const json_t *body)
{
    json_t *copy = json_copy((json_t *)body);
    json_object_del(copy, "tools");
    return copy;
}

static bool read_prompt(const json_t *body, const struct openai_template *chat, int64_t now_s,
                        struct openai_asked *asked, struct openai_refusal *refusal)
{
    bool add_special = false;
    struct openai_rendered rendered = {0};
    struct token_list list = {0};
    json_t *bare = without_tools(body);
    struct openai_fields f = {bare, "", refusal};
    if (!bare)
        return openai_refuse(refusal, HTTP_UNAVAILABLE, NULL, "out of memory for the chat");
    openai_field_bool(&f, "add_special_tokens", &add_special);
    bool ok = openai_template_render(chat, &f, now_s, &rendered) &&
              openai_template_tokens(chat, &rendered, add_special, &list, refusal) &&
              openai_asked_prompts(asked, 1, refusal);
    if (ok)
        asked->prompts[0] = (struct openai_prompt){.ids = list.ids, .count = list.count};
    else
        token_list_reset(&list);
    openai_rendered_reset(&rendered);
    json_decref(bare);
    return ok;
}

bool chat_decode(const json_t *body, const struct openai_model *model,
                 const struct openai_template *chat, const struct openai_limits *limits,
                 int64_t now_s, struct openai_asked *asked, struct openai_refusal *refusal)
{
    struct openai_fields f = {body, "", refusal};
    openai_log_unknown(body, known, openai_asked_known);
    if (!openai_refuse_unsupported(&f, unsupported) ||
        !openai_asked_read(asked, &f, model, limits) || !read_tools(&f) || !read_modalities(&f))
        return false;
    read_lengths(asked, &f);
    if (!read_logprobs(&asked->sampling, &f))
        return false;
    if (!chat)
        return openai_refuse(refusal, HTTP_BAD_VALUE, "messages",
                             "the model '%s' has no tokenizer: send token ids to /v1/completions",
                             model->name);
    return read_prompt(body, chat, now_s, asked, refusal) &&
           openai_asked_check(asked, model, limits, "messages", refusal);
}
