#include "server/openai/openai_messages.h"

#include <stdio.h>
#include <string.h>

#include "server/jsonw.h"

static bool no_memory(struct openai_refusal *refusal)
{
    return openai_refuse(refusal, HTTP_UNAVAILABLE, "messages", "out of memory for the messages");
}

/* The text of one part, or refuses. */
static bool add_part(struct jsonw *w, const struct openai_fields *message, const json_t *part,
                     size_t i)
{
    if (json_is_string(part)) {
        jsonw_plain(w, json_string_value(part), json_string_length(part));
        return true;
    }
    const json_t *type = json_object_get(part, "type");
    const char *kind = json_string_value(type);
    const json_t *text = json_object_get(part, kind && strcmp(kind, "refusal") == 0 ? "refusal"
                                                                                   : "text");
    if (!json_is_object(part) || !kind)
        return openai_field_refuse(
            message, "content", "%scontent[%zu] must be an object with a type", message->path, i);
    if (strcmp(kind, "text") != 0 && strcmp(kind, "refusal") != 0)
        return openai_field_refuse(message, "content",
                                   "%scontent[%zu].type is '%.40s', this model reads text only",
                                   message->path, i, kind);
    if (!json_is_string(text))
        return openai_field_refuse(message, "content", "%scontent[%zu].%s must be a string",
                                   message->path, i, kind);
    jsonw_plain(w, json_string_value(text), json_string_length(text));
    return true;
}

static json_t *join_parts(const struct openai_fields *message, const json_t *parts)
{
    struct jsonw w = {0};
    json_t *part, *joined = NULL;
    size_t i;
    bool ok = true;
    json_array_foreach((json_t *)parts, i, part)
    {
        if (i)
            jsonw_plain(&w, "\n", 1);
        ok = ok && add_part(&w, message, part, i);
    }
    if (ok && !w.failed)
        joined = json_stringn_nocheck(w.data ? w.data : "", w.bytes);
    if (ok && !joined)
        no_memory(message->refusal);
    jsonw_close(&w);
    return joined;
}

/* A string as templates want it, or NULL: refused. */
static json_t *read_content(const struct openai_fields *message)
{
    const json_t *content = openai_field(message, "content");
    if (message->refusal->refused)
        return NULL;
    if (json_is_string(content))
        return json_incref((json_t *)content);
    if (json_is_array(content))
        return join_parts(message, content);
    if (content) {
        openai_field_refuse(message, "content",
                            "%scontent must be a string or a list of parts, not %s", message->path,
                            openai_json_kind(content));
        return NULL;
    }
    const char *role = json_string_value(json_object_get(message->object, "role"));
    if (strcmp(role, "assistant") == 0)
        return json_string(""); /* it called tools and said nothing */
    openai_field_refuse(message, "content", "%scontent is missing", message->path);
    return NULL;
}

/* Clients send the arguments of a call as JSON in a string, templates loop over them. What is no
 * object stays. No calls at all are left out: some templates ask only whether the field is
 * there. */
static bool read_tool_calls(json_t *message)
{
    size_t i;
    json_t *call, *calls = json_object_get(message, "tool_calls");
    if (json_is_null(calls) || (json_is_array(calls) && !json_array_size(calls))) {
        json_object_del(message, "tool_calls");
        return true;
    }
    if (!json_is_array(calls))
        return true;
    json_t *copy = openai_json_copy(calls, true);
    if (!copy || json_object_set_new(message, "tool_calls", copy) != 0)
        return false;
    json_array_foreach(copy, i, call)
    {
        json_t *function = json_object_get(call, "function");
        json_t *arguments = json_object_get(function, "arguments");
        if (!json_is_string(arguments))
            continue;
        json_t *parsed = json_loadb(json_string_value(arguments), json_string_length(arguments),
                                    JSON_ALLOW_NUL, NULL);
        if (!json_is_object(parsed))
            json_decref(parsed);
        else if (json_object_set_new(function, "arguments", parsed) != 0)
            return false;
    }
    return true;
}

/* Answers call thoughts by two names, templates read one of them. */
static bool read_thoughts(json_t *message)
{
    json_t *thoughts = json_object_get(message, "reasoning");
    return !json_is_string(thoughts) ||
           json_is_string(json_object_get(message, "reasoning_content")) ||
           json_object_set(message, "reasoning_content", thoughts) == 0;
}

static json_t *read_message(const struct openai_fields *f, bool developer)
{
    json_t *message = NULL;
    if (!json_is_object(f->object)) {
        openai_refuse(f->refusal, HTTP_BAD_VALUE, "messages", "%.*s must be an object",
                      (int)strlen(f->path) - 1, f->path);
        return NULL;
    }
    size_t bytes;
    const char *role = openai_field_text(f, "role", &bytes);
    if (!role || !bytes) {
        openai_field_refuse(f, "role", "%srole is missing", f->path);
        return NULL;
    }
    json_t *content = read_content(f);
    if (!content)
        return NULL;
    message = openai_json_copy(f->object, false);
    if (!message || json_object_set(message, "content", content) != 0 ||
        !read_tool_calls(message) || !read_thoughts(message))
        goto no_memory;
    if (!developer && strcmp(role, "developer") == 0 &&
        json_object_set_new(message, "role", json_string("system")) != 0)
        goto no_memory;
    json_decref(content);
    return message;
no_memory:
    no_memory(f->refusal);
    json_decref(content);
    json_decref(message);
    return NULL;
}

json_t *openai_messages(const struct openai_fields *f, bool developer)
{
    const json_t *list = openai_field_array(f, "messages");
    size_t i;
    json_t *item;
    if (!list || !json_array_size(list)) {
        openai_field_refuse(f, "messages", "messages is %s", list ? "empty" : "missing");
        return NULL;
    }
    json_t *out = json_array();
    if (!out)
        no_memory(f->refusal);
    json_array_foreach((json_t *)list, i, item)
    {
        char path[48];
        snprintf(path, sizeof path, "messages[%zu].", i);
        struct openai_fields message = {item, path, f->refusal};
        json_t *made = f->refusal->refused ? NULL : read_message(&message, developer);
        if (made && json_array_append_new(out, made) != 0)
            no_memory(f->refusal);
    }
    if (!f->refusal->refused)
        return out;
    json_decref(out);
    return NULL;
}
