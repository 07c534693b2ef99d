#include "server/openai/openai_template.h"

#include <stdlib.h>
#include <string.h>

#include "server/jsonw.h"
#include "server/openai/openai_messages.h"

const char *const openai_template_known[] = {
    "messages", "tools", "documents", "add_generation_prompt", "continue_final_message",
    "reasoning_effort", "chat_template", "chat_template_kwargs", NULL};

struct openai_template {
    const struct tokenizer *tokenizer;
    struct openai_marks *marks;
    struct chat_template *compiled;
    const char *text;     /* what was compiled; NULL: there is none */
    struct error problem; /* "": none */
    enum openai_tool_parser tools;
    enum openai_reasoning_parser reasoning;
};

/* A mark that only this kind of model has, the most particular first. */
static const struct {
    const char *token, *name;
} builtins[] = {
    {"<|im_middle|>", "kimi-k2"},        {"<|im_start|>", "chatml"},
    {"<|start_header_id|>", "llama3"},   {"<|channel|>", "gpt-oss"},
    {"<|start_of_role|>", "granite"},    {"[gMASK]", "glm"},
    {"<\xef\xbd\x9cUser\xef\xbd\x9c>", "deepseek3"},
};

static const char *template_text(const struct tokenizer *tokenizer, const char *chosen)
{
    if (chosen) {
        const char *named = chat_template_builtin(chosen);
        return named ? named : chosen;
    }
    if (tokenizer_chat_template(tokenizer))
        return tokenizer_chat_template(tokenizer);
    for (size_t i = 0; i < sizeof builtins / sizeof *builtins; i++)
        if (tokenizer_token_id(tokenizer, builtins[i].token) != TOKEN_NONE)
            return chat_template_builtin(builtins[i].name);
    return NULL;
}

enum status openai_template_open(struct openai_template **out, const struct tokenizer *tokenizer,
                                 const char *chosen, struct error *error)
{
    struct openai_template *t = calloc(1, sizeof *t);
    enum status status = STATUS_NO_MEMORY;
    if (!t)
        goto fail;
    t->tokenizer = tokenizer;
    status = openai_marks_open(&t->marks, tokenizer, error);
    if (status != STATUS_OK)
        goto fail;
    t->text = template_text(tokenizer, chosen);
    if (t->text)
        status = chat_template_open(&t->compiled, "the chat template", t->text, strlen(t->text),
                                    &t->problem);
    else
        error_set(&t->problem, STATUS_UNSUPPORTED,
                  "this model has no chat template: start the server with --chat-template, or use "
                  "/v1/completions");
    if (status ==
        STATUS_NO_MEMORY) /* the template is not to blame: no reason to refuse every chat */
        goto fail;
    *out = t;
    return STATUS_OK;
fail:
    openai_template_close(t);
    return error_set(error, status, "out of memory for the chat template");
}

void openai_template_close(struct openai_template *t)
{
    if (!t)
        return;
    chat_template_close(t->compiled);
    openai_marks_close(t->marks);
    free(t);
}

void openai_template_choose(struct openai_template *t, enum openai_tool_parser tools,
                            enum openai_reasoning_parser reasoning)
{
    t->tools = tools;
    t->reasoning = reasoning;
}

const char *openai_template_problem(const struct openai_template *t)
{
    return *t->problem.text ? t->problem.text : NULL;
}

void openai_rendered_reset(struct openai_rendered *r)
{
    free(r->text);
    *r = (struct openai_rendered){0};
}

/* ---- variables ---- */

static bool no_memory(struct openai_refusal *refusal)
{
    return openai_refuse(refusal, HTTP_UNAVAILABLE, "messages", "out of memory for the chat");
}

static bool set_token(json_t *variables, const char *name, const struct tokenizer *tokenizer,
                      uint32_t id)
{
    const char *text = id == TOKEN_NONE ? NULL : tokenizer_entry(tokenizer, id);
    return !text || json_object_set_new(variables, name, json_string(text)) == 0;
}

/* The client's value under the same name, with stand-ins. */
static bool set_field(const struct openai_template *t, json_t *variables,
                      const struct openai_fields *f, const char *name, const json_t *value)
{
    if (!value)
        return !f->refusal->refused;
    return json_object_set_new(variables, name, openai_marks_hide(t->marks, value)) == 0 ||
           no_memory(f->refusal);
}

/* The template goes on with the last message instead of beginning an answer: a place is put
 * behind it. */
static bool mark_place(json_t *messages, struct openai_refusal *refusal)
{
    json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    const json_t *content = json_object_get(last, "content");
    struct jsonw w = {0};
    jsonw_plain(&w, json_string_value(content), json_string_length(content));
    jsonw_plain(&w, OPENAI_MARKS_PLACE, OPENAI_MARKS_PLACE_BYTES);
    bool ok = !w.failed && json_object_set_new(last, "content",
                                               json_stringn_nocheck(w.data, w.bytes)) == 0;
    jsonw_close(&w);
    return ok || no_memory(refusal);
}

struct chat {
    bool begins_answer; /* add_generation_prompt */
    bool continues;     /* continue_final_message */
};

static bool read_switches(struct chat *c, const struct openai_fields *f)
{
    openai_field_bool(f, "continue_final_message", &c->continues);
    c->begins_answer = !c->continues;
    openai_field_bool(f, "add_generation_prompt", &c->begins_answer);
    if (c->continues && c->begins_answer)
        return openai_field_refuse(f, "continue_final_message",
                                   "continue_final_message and add_generation_prompt exclude each "
                                   "other");
    return !f->refusal->refused;
}

/* chat_template_kwargs come last: what a client sets there wins, but for the chat itself. */
static bool set_kwargs(const struct openai_template *t, json_t *variables,
                       const struct openai_fields *f)
{
    const json_t *kwargs = openai_field_object(f, "chat_template_kwargs");
    const char *key;
    json_t *value;
    if (!kwargs)
        return !f->refusal->refused;
    json_object_foreach((json_t *)kwargs, key, value)
    {
        if (strcmp(key, "messages") == 0 || strcmp(key, "tools") == 0 ||
            strcmp(key, "add_generation_prompt") == 0)
            return openai_field_refuse(f, "chat_template_kwargs",
                                       "chat_template_kwargs.%s is a field of its own", key);
        if (!set_field(t, variables, f, key, value))
            return false;
    }
    return true;
}

static json_t *read_variables(const struct openai_template *t, const struct openai_fields *f,
                              const char *text, struct chat *c)
{
    size_t bytes;
    json_t *messages = NULL, *hidden = NULL, *variables = json_object();
    bool ok = variables || no_memory(f->refusal);
    ok = ok && read_switches(c, f);
    messages = ok ? openai_messages(f, strstr(text, "developer") != NULL) : NULL;
    ok = ok && messages;
    hidden = ok ? openai_marks_hide(t->marks, messages) : NULL;
    ok = ok && (hidden || no_memory(f->refusal));
    ok = ok && (!c->continues || mark_place(hidden, f->refusal));
    ok = ok && (json_object_set(variables, "messages", hidden) == 0 || no_memory(f->refusal));
    const json_t *tools = ok ? openai_field_array(f, "tools") : NULL;
    ok = ok && set_field(t, variables, f, "tools", json_array_size(tools) ? tools : NULL) &&
         set_field(t, variables, f, "documents", openai_field_array(f, "documents"));
    if (ok && openai_field_text(f, "reasoning_effort", &bytes))
        ok = set_field(t, variables, f, "reasoning_effort", openai_field(f, "reasoning_effort"));
    ok = ok && !f->refusal->refused;
    ok = ok && ((json_object_set_new(variables, "add_generation_prompt",
                                     json_boolean(c->begins_answer)) == 0 &&
                 set_token(variables, "bos_token", t->tokenizer, tokenizer_bos(t->tokenizer)) &&
                 set_token(variables, "eos_token", t->tokenizer, tokenizer_eos(t->tokenizer))) ||
                no_memory(f->refusal));
    ok = ok && set_kwargs(t, variables, f);
    json_decref(messages);
    json_decref(hidden);
    if (ok)
        return variables;
    json_decref(variables);
    return NULL;
}

/* ---- rendering ---- */

static size_t find_place(const struct openai_rendered *r)
{
    for (size_t at = r->bytes; at >= OPENAI_MARKS_PLACE_BYTES; at--)
        if (memcmp(r->text + at - OPENAI_MARKS_PLACE_BYTES, OPENAI_MARKS_PLACE,
                   OPENAI_MARKS_PLACE_BYTES) == 0)
            return at - OPENAI_MARKS_PLACE_BYTES;
    return SIZE_MAX;
}

static bool cut_at_place(struct openai_rendered *r, struct openai_refusal *refusal)
{
    size_t place = find_place(r);
    if (place == SIZE_MAX)
        return openai_refuse(refusal, HTTP_BAD_VALUE, "continue_final_message",
                             "the chat template does not show the last message, so it cannot be "
                             "continued");
    r->bytes = place;
    return true;
}

static bool render(const struct openai_template *t, const struct openai_fields *f, const char *text,
                   const struct chat_template *compiled, int64_t now_s, struct openai_rendered *out)
{
    struct chat chat = {0};
    struct error error = {{0}};
    json_t *variables = read_variables(t, f, text, &chat);
    if (!variables)
        return false;
    enum status status = chat_template_render(compiled, variables, now_s, &out->text, &out->bytes,
                                              &error);
    json_decref(variables);
    if (status != STATUS_OK)
        return openai_refuse_status(f->refusal, status, "messages", &error);
    return !chat.continues || cut_at_place(out, f->refusal);
}

bool openai_template_render(const struct openai_template *t, const struct openai_fields *f,
                            int64_t now_s, struct openai_rendered *out)
{
    size_t bytes;
    struct error error = {{0}};
    const char *own = openai_field_text(f, "chat_template", &bytes);
    if (f->refusal->refused)
        return false;
    if (!own && openai_template_problem(t))
        return openai_refuse(f->refusal, HTTP_BAD_VALUE, "messages", "%s", t->problem.text);
    if (!own)
        return render(t, f, t->text, t->compiled, now_s, out);
    struct chat_template *compiled = NULL;
    enum status status = chat_template_open(&compiled, "chat_template", own, bytes, &error);
    if (status != STATUS_OK)
        return openai_refuse_status(f->refusal, status, "chat_template", &error);
    bool ok = render(t, f, own, compiled, now_s, out);
    chat_template_close(compiled);
    return ok;
}

/* ---- how answers are read ---- */

/* The template that a body is rendered with. */
static const char *text_of(const struct openai_template *t, const struct openai_fields *f)
{
    const char *own = json_string_value(openai_field(f, "chat_template"));
    return own ? own : t->text ? t->text : "";
}

const struct openai_syntax *openai_template_syntax(const struct openai_template *t,
                                                   const struct openai_fields *f, bool *searched)
{
    *searched = t->tools != OPENAI_TOOLS_NONE;
    return openai_syntax_find(t->tools, text_of(t, f));
}

bool openai_template_thinks(const struct openai_template *t, const struct openai_fields *f)
{
    return openai_syntax_thinks(t->reasoning, text_of(t, f));
}

/* ---- what was rendered ---- */

/* The tokens that the tokenizer puts around a text: eos behind it, anything else before. */
static enum status add_around(const struct openai_template *t, bool behind, struct token_list *out,
                              struct error *error)
{
    struct token_list around = {0};
    enum status status = tokenizer_encode(t->tokenizer, "", 0, true, false, &around, error);
    uint32_t eos = tokenizer_eos(t->tokenizer), bos = tokenizer_bos(t->tokenizer);
    for (uint32_t i = 0; status == STATUS_OK && i < around.count; i++) {
        const char *entry = tokenizer_entry(t->tokenizer, around.ids[i]);
        bool ends = around.ids[i] == eos && eos != bos;
        if (ends == behind && entry)
            status = tokenizer_encode(t->tokenizer, entry, strlen(entry), false, true, out, error);
    }
    token_list_reset(&around);
    return status;
}

bool openai_template_tokens(const struct openai_template *t, const struct openai_rendered *r,
                            bool add_special, struct token_list *out,
                            struct openai_refusal *refusal)
{
    struct error error = {{0}};
    struct openai_piece piece;
    enum status status = add_special ? add_around(t, false, out, &error) : STATUS_OK;
    for (size_t at = 0; status == STATUS_OK &&
                        openai_marks_next(t->marks, r->text, r->bytes, &at, &piece);)
        status = tokenizer_encode(t->tokenizer, piece.text, piece.bytes, false, !piece.hidden, out,
                                  &error);
    if (status == STATUS_OK && add_special)
        status = add_around(t, true, out, &error);
    return status == STATUS_OK || openai_refuse_status(refusal, status, "messages", &error);
}

char *openai_template_text(const struct openai_template *t, const struct openai_rendered *r,
                           size_t *bytes)
{
    struct jsonw w = {0};
    struct openai_piece piece;
    for (size_t at = 0; openai_marks_next(t->marks, r->text, r->bytes, &at, &piece);)
        jsonw_plain(&w, piece.text, piece.bytes);
    jsonw_plain(&w, "", 1);
    *bytes = w.bytes - 1;
    if (!w.failed)
        return w.data;
    jsonw_close(&w);
    return NULL;
}
