/* Typed reading of parsed JSON. The parser bounds the nesting of a document; paths in errors are
 * walked by a loop. Long strings from the file are cut in sentences. */
#include "engine/tokenizer/json_field.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PATH_DEPTH_MAX 16

enum status json_field_parse(struct json_field *out, const char *file, const char *json,
                             size_t json_bytes, struct error *error)
{
    json_error_t problem;
    *out = (struct json_field){.name = file, .error = error};
    out->value = json_loadb(json, json_bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &problem);
    if (!out->value && json_error_code(&problem) == json_error_out_of_memory)
        return STATUS_NO_MEMORY;
    if (!out->value)
        return error_set(error, STATUS_INVALID, "%s: not valid JSON at line %d: %s", file,
                         problem.line, problem.text);
    if (!json_is_object(out->value)) {
        json_decref(out->value);
        out->value = NULL;
        return error_set(error, STATUS_INVALID, "%s: not a JSON object", file);
    }
    return STATUS_OK;
}

struct json_field json_field_get(const struct json_field *parent, const char *name)
{
    return (struct json_field){.parent = parent,
                               .name = name,
                               .value = json_object_get(parent->value, name),
                               .error = parent->error};
}

struct json_field json_field_at(const struct json_field *parent, size_t index)
{
    return (struct json_field){.parent = parent,
                               .index = index,
                               .value = json_array_get(parent->value, index),
                               .error = parent->error};
}

static void write_path(const struct json_field *field, char *out, size_t out_bytes)
{
    const struct json_field *chain[PATH_DEPTH_MAX];
    size_t depth = 0, used = 0;
    while (field->parent && depth < PATH_DEPTH_MAX) {
        chain[depth++] = field;
        field = field->parent;
    }
    out[0] = '\0';
    while (depth-- > 0 && used < out_bytes) {
        int n = chain[depth]->name
                    ? snprintf(out + used, out_bytes - used, "%s%.64s", used ? "." : "",
                               chain[depth]->name)
                    : snprintf(out + used, out_bytes - used, "[%zu]", chain[depth]->index);
        used += n > 0 ? (size_t)n : 0;
    }
}

enum status json_field_error(const struct json_field *field, enum status status,
                             const char *format, ...)
{
    char path[256], sentence[256];
    const struct json_field *document = field;
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    write_path(field, path, sizeof path);
    while (document->parent)
        document = document->parent;
    return error_set(field->error, status, "%s: %s%s%s", document->name, path, path[0] ? " " : "",
                     sentence);
}

bool json_field_absent(const struct json_field *field)
{
    return !field->value || json_is_null(field->value);
}

enum status json_field_string(const struct json_field *field, const char **out, size_t *bytes)
{
    if (!json_is_string(field->value))
        return json_field_error(field, STATUS_INVALID, "is not a string");
    *out = json_string_value(field->value);
    *bytes = json_string_length(field->value);
    return STATUS_OK;
}

enum status json_field_uint(const struct json_field *field, uint32_t below, uint32_t *out)
{
    if (!json_is_integer(field->value))
        return json_field_error(field, STATUS_INVALID, "is not an integer");
    json_int_t value = json_integer_value(field->value);
    if (value < 0 || value >= (json_int_t)below)
        return json_field_error(field, STATUS_INVALID, "is %lld, not from 0 to %u",
                                (long long)value, below - 1);
    *out = (uint32_t)value;
    return STATUS_OK;
}

enum status json_field_object(const struct json_field *field)
{
    if (!json_is_object(field->value))
        return json_field_error(field, STATUS_INVALID, "is not an object");
    return STATUS_OK;
}

enum status json_field_array(const struct json_field *field)
{
    if (!json_is_array(field->value))
        return json_field_error(field, STATUS_INVALID, "is not an array");
    return STATUS_OK;
}

enum status json_field_bool(const struct json_field *field, bool *out)
{
    if (json_field_absent(field))
        return STATUS_OK;
    if (!json_is_boolean(field->value))
        return json_field_error(field, STATUS_INVALID, "is not true or false");
    *out = json_is_true(field->value);
    return STATUS_OK;
}
