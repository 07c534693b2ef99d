/* Reads what stands beside tokenizer.json: which tokens begin and end a text, whether they are put
 * there, and the chat template.
 *
 * An explicit add_bos_token or add_eos_token wins over the post-processor, because it is what the
 * model's own loader acts on; without one the post-processor stands. Runs at open. */
#include <string.h>

#include "engine/tokenizer/json_field.h"
#include "engine/tokenizer/tokenizer_parts.h"

/* A token as "text" or {"content": "text"}; absent leaves `out` alone. */
static enum status read_token(const struct tokenizer *tokenizer, const struct json_field *document,
                              const char *name, uint32_t *out)
{
    struct json_field field = json_field_get(document, name);
    struct json_field content = json_field_get(&field, "content");
    const char *text;
    size_t bytes;
    if (json_field_absent(&field))
        return STATUS_OK;
    enum status status =
        json_field_string(json_is_object(field.value) ? &content : &field, &text, &bytes);
    if (status != STATUS_OK || bytes == 0)
        return status;
    *out = vocab_find(&tokenizer->vocab, text, bytes);
    if (*out == TOKEN_NONE)
        return json_field_error(&field, STATUS_INVALID, "\"%.64s\" is not a token of the tokenizer",
                                text);
    return STATUS_OK;
}

static enum status put_first(struct token_list *list, uint32_t id)
{
    enum status status = token_list_push(list, id);
    if (status == STATUS_OK) {
        memmove(list->ids + 1, list->ids, (list->count - 1) * sizeof *list->ids);
        list->ids[0] = id;
    }
    return status;
}

static enum status apply_add_bos(struct tokenizer *tokenizer, const struct json_field *document)
{
    struct json_field field = json_field_get(document, "add_bos_token");
    struct token_list *before = &tokenizer->before;
    bool add = false;
    if (json_field_absent(&field))
        return STATUS_OK;
    enum status status = json_field_bool(&field, &add);
    if (status != STATUS_OK)
        return status;
    bool there = before->count && tokenizer->bos != TOKEN_NONE && before->ids[0] == tokenizer->bos;
    if (add && tokenizer->bos == TOKEN_NONE)
        return json_field_error(&field, STATUS_INVALID, "is true, but there is no bos_token");
    if (add && !there)
        return put_first(before, tokenizer->bos);
    if (!add && there)
        memmove(before->ids, before->ids + 1, --before->count * sizeof *before->ids);
    return STATUS_OK;
}

static enum status apply_add_eos(struct tokenizer *tokenizer, const struct json_field *document)
{
    struct json_field field = json_field_get(document, "add_eos_token");
    struct token_list *after = &tokenizer->after;
    bool add = false;
    if (json_field_absent(&field))
        return STATUS_OK;
    enum status status = json_field_bool(&field, &add);
    if (status != STATUS_OK)
        return status;
    bool there = after->count && tokenizer->eos != TOKEN_NONE &&
                 after->ids[after->count - 1] == tokenizer->eos;
    if (add && tokenizer->eos == TOKEN_NONE)
        return json_field_error(&field, STATUS_INVALID, "is true, but there is no eos_token");
    if (add && !there)
        return token_list_push(after, tokenizer->eos);
    if (!add && there)
        after->count--;
    return STATUS_OK;
}

static enum status keep_template(struct tokenizer *tokenizer, const struct json_field *field)
{
    const char *text;
    size_t bytes;
    enum status status = json_field_string(field, &text, &bytes);
    if (status != STATUS_OK)
        return status;
    if (strlen(text) != bytes)
        return json_field_error(field, STATUS_INVALID, "holds a NUL");
    tokenizer->chat_template = strdup(text);
    return tokenizer->chat_template ? STATUS_OK : STATUS_NO_MEMORY;
}

/* One template, or a list of named ones of which "default" counts. */
static enum status read_chat_template(struct tokenizer *tokenizer,
                                      const struct json_field *document)
{
    struct json_field field = json_field_get(document, "chat_template");
    if (json_field_absent(&field))
        return STATUS_OK;
    if (!json_is_array(field.value))
        return keep_template(tokenizer, &field);
    for (size_t i = 0; i < json_array_size(field.value); i++) {
        struct json_field element = json_field_at(&field, i);
        struct json_field name = json_field_get(&element, "name");
        struct json_field text = json_field_get(&element, "template");
        if (json_is_string(name.value) && strcmp(json_string_value(name.value), "default") == 0)
            return keep_template(tokenizer, &text);
    }
    return STATUS_OK;
}

enum status tokenizer_config_read(struct tokenizer *tokenizer, const char *file, const char *json,
                                  size_t json_bytes, struct error *error)
{
    struct json_field document;
    enum status status = json_field_parse(&document, file, json, json_bytes, error);
    if (status == STATUS_OK)
        status = read_token(tokenizer, &document, "bos_token", &tokenizer->bos);
    if (status == STATUS_OK)
        status = read_token(tokenizer, &document, "eos_token", &tokenizer->eos);
    if (status == STATUS_OK)
        status = apply_add_bos(tokenizer, &document);
    if (status == STATUS_OK)
        status = apply_add_eos(tokenizer, &document);
    if (status == STATUS_OK)
        status = read_chat_template(tokenizer, &document);
    json_decref(document.value);
    return status == STATUS_NO_MEMORY ? error_set(error, status, "%s: out of memory", file)
                                      : status;
}

enum status tokenizer_special_map_read(struct tokenizer *tokenizer, const char *file,
                                       const char *json, size_t json_bytes, struct error *error)
{
    struct json_field document;
    enum status status = json_field_parse(&document, file, json, json_bytes, error);
    if (status == STATUS_OK && tokenizer->bos == TOKEN_NONE)
        status = read_token(tokenizer, &document, "bos_token", &tokenizer->bos);
    if (status == STATUS_OK && tokenizer->eos == TOKEN_NONE)
        status = read_token(tokenizer, &document, "eos_token", &tokenizer->eos);
    json_decref(document.value);
    return status;
}
