#include "clients/bench/openai.h"

#include <stdlib.h>
#include <string.h>

static json_t *ids_json(const struct prompt *prompt)
{
    json_t *list = json_array();
    for (uint32_t i = 0; list && i < prompt->id_count; i++) {
        if (json_array_append_new(list, json_integer(prompt->ids[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *prompt_json(bool chat, const struct prompt *prompt)
{
    if (!prompt->text)
        return ids_json(prompt);
    json_t *text = json_stringn(prompt->text, prompt->text_bytes);
    return chat ? json_pack("[{s:s, s:o}]", "role", "user", "content", text) : text;
}

char *openai_body(const struct openai_style *style, const struct prompt *prompt)
{
    json_t *body = json_pack("{s:s, s:o, s:i, s:b, s:{s:b}}", "model", style->model,
                             style->chat ? "messages" : "prompt", prompt_json(style->chat, prompt),
                             style->chat ? "max_completion_tokens" : "max_tokens",
                             (int)prompt->output_tokens, "stream", 1, "stream_options",
                             "include_usage", 1);
    if (!body)
        return NULL;
    int failed = 0;
    if (style->has_temperature)
        failed |= json_object_set_new(body, "temperature", json_real(style->temperature));
    if (style->ignore_eos)
        failed |= json_object_set_new(body, "ignore_eos", json_true());
    if (style->extra)
        failed |= json_object_update(body, (json_t *)style->extra);
    char *out = failed ? NULL : json_dumps(body, JSON_COMPACT);
    json_decref(body);
    return out;
}

static bool take_text(const json_t *holder, const char *key, struct openai_chunk *out)
{
    const json_t *text = json_object_get(holder, key);
    if (!json_is_string(text) || json_string_length(text) == 0)
        return false;
    out->text = json_string_value(text);
    out->text_bytes = json_string_length(text);
    return out->content = true;
}

static void read_choice(const json_t *choice, bool chat, struct openai_chunk *out)
{
    out->answer = true;
    const json_t *finish = json_object_get(choice, "finish_reason");
    out->finished = json_is_string(finish) && json_string_length(finish) > 0;
    if (!chat) {
        /* A token may make no text yet (half a character, a stop text held back): it came all the
         * same. Beside a finish reason an empty text is no output. */
        if (!take_text(choice, "text", out))
            out->content = !out->finished && json_is_string(json_object_get(choice, "text"));
        return;
    }
    const json_t *delta = json_object_get(choice, "delta");
    bool found = take_text(delta, "content", out) || take_text(delta, "reasoning_content", out) ||
                 take_text(delta, "reasoning", out);
    if (!found && json_array_size(json_object_get(delta, "tool_calls")) > 0)
        out->content = true;
}

static uint32_t count_of(const json_t *holder, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(holder, key));
    return n < 0 ? 0 : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static void read_experts(const json_t *experts, struct record_experts *out)
{
    if (!json_is_object(experts) || !json_is_number(json_object_get(experts, "hits")))
        return;
    out->known = true;
    out->hits = json_number_value(json_object_get(experts, "hits"));
    out->misses = json_number_value(json_object_get(experts, "misses"));
    out->bytes = json_number_value(json_object_get(experts, "bytes"));
    out->stall_ms = json_number_value(json_object_get(experts, "stall_ms"));
}

/* "error" is an object, or with some servers a string. */
static void tell_error(const json_t *error, const char *prefix, struct fault *fault)
{
    const json_t *message = json_is_object(error) ? json_object_get(error, "message") : error;
    const char *text = json_string_value(message);
    fault_set(fault, "%s%.400s", prefix, text ? text : "an error without a message");
}

bool openai_chunk_open(const char *data, size_t bytes, bool chat, struct openai_chunk *out,
                       struct fault *fault)
{
    memset(out, 0, sizeof *out);
    json_error_t why;
    json_t *root = json_loadb(data, bytes, 0, &why);
    if (!json_is_object(root)) {
        json_decref(root);
        return fault_set(fault, "an event of the stream is not a JSON object: %.80s",
                         root ? "another value" : why.text);
    }
    out->root = root;
    const json_t *error = json_object_get(root, "error");
    if (error && !json_is_null(error)) {
        tell_error(error, "the server broke off: ", fault);
        return false;
    }
    const json_t *choice = json_array_get(json_object_get(root, "choices"), 0);
    if (json_is_object(choice))
        read_choice(choice, chat, out);
    const json_t *usage = json_object_get(root, "usage");
    if (json_is_integer(json_object_get(usage, "completion_tokens"))) {
        out->has_usage = true;
        out->input_tokens = count_of(usage, "prompt_tokens");
        out->output_tokens = count_of(usage, "completion_tokens");
    }
    read_experts(json_object_get(root, "experts"), &out->experts);
    read_experts(json_object_get(usage, "experts"), &out->experts);
    read_experts(json_object_get(json_object_get(root, "timings"), "experts"), &out->experts);
    return true;
}

void openai_chunk_close(struct openai_chunk *chunk)
{
    json_decref(chunk->root);
    chunk->root = NULL;
}

void openai_error(int status, const char *body, size_t bytes, struct fault *fault)
{
    char prefix[32];
    snprintf(prefix, sizeof prefix, "HTTP %d: ", status);
    json_t *root = json_loadb(body, bytes, 0, NULL);
    const json_t *error = json_object_get(root, "error");
    if (!error)
        error = json_object_get(root, "message"); /* so some proxies and servers put it */
    if (error)
        tell_error(error, prefix, fault);
    else
        fault_set(fault, "%s%.*s", prefix, bytes < 200 ? (int)bytes : 200, bytes ? body : "");
    json_decref(root);
}

char *openai_first_model(const char *body, size_t bytes, struct fault *fault)
{
    json_t *root = json_loadb(body, bytes, 0, NULL);
    const json_t *first = json_array_get(json_object_get(root, "data"), 0);
    const char *id = json_string_value(json_object_get(first, "id"));
    char *out = id ? strdup(id) : NULL;
    if (!out)
        fault_set(fault, "the list of models names none: --model is needed");
    json_decref(root);
    return out;
}
