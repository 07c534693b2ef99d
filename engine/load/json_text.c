/* The one place where bytes become JSON in this folder. jansson does the parsing (its depth is
 * bounded at 2048, so hostile nesting ends in an error and not in a stack overflow); this file adds
 * strictness and errors a person can act on: Python's json writes NaN and Infinity, which are no
 * JSON, and jansson then names only a line, so a scan up to where it stopped finds the key. */
#include "engine/load/json_text.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/load/model_file.h"

struct span {
    const char *at;
    size_t bytes;
};

/* The last object key that begins in text[0, end): a string followed by a colon. */
static struct span last_key_before(const char *text, size_t bytes, size_t end)
{
    struct span key = {NULL, 0};
    for (size_t i = 0; i < end && i < bytes; i++) {
        if (text[i] != '"')
            continue;
        size_t from = ++i;
        while (i < bytes && text[i] != '"')
            i += text[i] == '\\' ? 2 : 1;
        if (i >= bytes)
            break;
        struct span string = {text + from, i - from};
        size_t after = i + 1;
        while (after < bytes && strchr(" \t\r\n", text[after]) && text[after])
            after++;
        if (after < bytes && text[after] == ':')
            key = string;
    }
    return key;
}

/* What is quoted from a broken file may be no text at all. */
static void keep_printable(char *text)
{
    for (; *text; text++)
        if (*text < 0x20 || *text > 0x7e)
            *text = '?';
}

static enum status set_parse_error(const char *file, const char *text, size_t bytes,
                                   const json_error_t *from, struct error *error)
{
    size_t end = from->position > 0 ? (size_t)from->position : 0;
    struct span key = last_key_before(text, bytes, end);
    char why[JSON_ERROR_TEXT_LENGTH], shown[JSON_TEXT_SHOWN_BYTES] = "", near[96] = "";
    snprintf(why, sizeof why, "%s", from->text);
    keep_printable(why);
    if (key.at) {
        snprintf(shown, sizeof shown, "%.*s", (int)(key.bytes < 60 ? key.bytes : 60), key.at);
        keep_printable(shown);
        snprintf(near, sizeof near, ", at \"%s\"", shown);
    }
    if (json_error_code(from) == json_error_out_of_memory)
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory to parse it", file);
    return error_set(error, STATUS_INVALID, "%s: malformed JSON in line %d%s: %s", file, from->line,
                     near, why);
}

enum status json_text_parse(json_t **out, const char *file, const char *text, size_t bytes,
                            struct error *error)
{
    json_error_t cause;
    *out = NULL;
    if (bytes == 0)
        return error_set(error, STATUS_INVALID, "%s: is empty", file);
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &cause);
    if (!root)
        return set_parse_error(file, text, bytes, &cause, error);
    if (!json_is_object(root)) {
        enum status status = error_set(error, STATUS_INVALID,
                                       "%s: the top level must be an object, not %s", file,
                                       json_text_type(root));
        json_decref(root);
        return status;
    }
    *out = root;
    return STATUS_OK;
}

enum status json_text_read(json_t **out, const char *path, uint64_t bytes_max, struct error *error)
{
    struct model_file file = MODEL_FILE_CLOSED;
    char *text = NULL;
    *out = NULL;
    enum status status = model_file_open(&file, path, error);
    if (status != STATUS_OK)
        return status;
    if (file.bytes > bytes_max) {
        status = error_set(error, STATUS_INVALID, "%s: %llu bytes are more than the %llu allowed",
                           path, (unsigned long long)file.bytes, (unsigned long long)bytes_max);
        goto done;
    }
    text = malloc(file.bytes + 1);
    if (!text) {
        status = error_set(error, STATUS_NO_MEMORY, "%s: no memory to read it", path);
        goto done;
    }
    status = model_file_read(&file, path, 0, file.bytes, text, error);
    if (status == STATUS_OK)
        status = json_text_parse(out, path, text, file.bytes, error);
done:
    free(text);
    model_file_close(&file);
    return status;
}

const char *json_text_show(const json_t *value, char out[JSON_TEXT_SHOWN_BYTES])
{
    if (json_is_object(value) || json_is_array(value)) { /* these may be large */
        snprintf(out, JSON_TEXT_SHOWN_BYTES, "%s", json_text_type(value));
        return out;
    }
    /* The digits beyond 12 only make 1e-06 look like a measurement. */
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(12));
    if (text && strlen(text) >= JSON_TEXT_SHOWN_BYTES)
        snprintf(out, JSON_TEXT_SHOWN_BYTES, "%.*s...", JSON_TEXT_SHOWN_BYTES - 4, text);
    else
        snprintf(out, JSON_TEXT_SHOWN_BYTES, "%s", text ? text : "?");
    free(text);
    return out;
}

const char *json_text_type(const json_t *value)
{
    if (!value)
        return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "an integer";
    case JSON_REAL: return "a fraction";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    case JSON_NULL: return "null";
    }
    return "?";
}
