#include "server/openai/openai_field.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/log.h"
#include "server/jsonw.h"

/* ---- refusals ---- */

/* Sentences repeat what clients sent, and cut it: what is left is made UTF-8 again. */
static void make_utf8(char *text)
{
    for (size_t left = strlen(text), length; left; text += length, left -= length) {
        length = jsonw_utf8_length(text, left);
        if (!length) {
            *text = '?';
            length = 1;
        }
    }
}

static void refuse(struct openai_refusal *r, enum http_problem problem, const char *path,
                   const char *name, const char *format, va_list args)
{
    if (r->refused)
        return;
    r->refused = true;
    r->problem = problem;
    snprintf(r->param, sizeof r->param, "%s%s", path, name);
    vsnprintf(r->why.text, sizeof r->why.text, format, args);
    make_utf8(r->param);
    make_utf8(r->why.text);
}

bool openai_refuse(struct openai_refusal *r, enum http_problem problem, const char *param,
                   const char *format, ...)
{
    va_list args;
    va_start(args, format);
    refuse(r, problem, "", param ? param : "", format, args);
    va_end(args);
    return false;
}

bool openai_refuse_status(struct openai_refusal *r, enum status status, const char *param,
                          const struct error *error)
{
    /* Found while a client's field is read, what cannot be found or done is that field's fault. */
    bool theirs = status == STATUS_INVALID || status == STATUS_UNSUPPORTED ||
                  status == STATUS_NOT_FOUND;
    return openai_refuse(r, theirs ? HTTP_BAD_VALUE : http_problem_of(status), param, "%s",
                         *error->text ? error->text : status_name(status));
}

bool openai_field_refuse(const struct openai_fields *f, const char *name, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    refuse(f->refusal, HTTP_BAD_VALUE, f->path, name, format, args);
    va_end(args);
    return false;
}

/* ---- values ---- */

const char *openai_json_kind(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a string";
    case JSON_INTEGER:
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "a boolean";
    default: return "null";
    }
}

json_t *openai_json_copy(const json_t *value, bool deep)
{
    json_t *copy = deep ? json_deep_copy(value) : json_copy((json_t *)value);
    if (json_equal(copy, value))
        return copy;
    json_decref(copy);
    return NULL;
}

bool openai_json_int(const json_t *value, int64_t low, int64_t high, int64_t *out)
{
    int64_t n;
    if (json_is_integer(value)) {
        n = json_integer_value(value);
    } else if (json_is_real(value)) {
        double real = json_real_value(value);
        if (!(real >= -9007199254740992.0 && real <= 9007199254740992.0) || real != floor(real))
            return false;
        n = (int64_t)real;
    } else {
        return false;
    }
    if (n < low || n > high)
        return false;
    *out = n;
    return true;
}

/* ---- fields ---- */

const json_t *openai_field(const struct openai_fields *f, const char *name)
{
    if (f->refusal->refused)
        return NULL;
    const json_t *value = json_object_get(f->object, name);
    return value && !json_is_null(value) ? value : NULL;
}

static bool wrong_kind(const struct openai_fields *f, const char *name, const json_t *value,
                       const char *wanted)
{
    return openai_field_refuse(f, name, "%s%s must be %s, not %s", f->path, name, wanted,
                               openai_json_kind(value));
}

bool openai_field_bool(const struct openai_fields *f, const char *name, bool *out)
{
    const json_t *value = openai_field(f, name);
    if (!value)
        return false;
    if (!json_is_boolean(value))
        return wrong_kind(f, name, value, "a boolean");
    *out = json_is_true(value);
    return true;
}

bool openai_field_int(const struct openai_fields *f, const char *name, int64_t low, int64_t high,
                      int64_t *out)
{
    const json_t *value = openai_field(f, name);
    if (!value)
        return false;
    if (!json_is_number(value))
        return wrong_kind(f, name, value, "a whole number");
    if (openai_json_int(value, low, high, out))
        return true;
    if (json_is_real(value))
        return openai_field_refuse(
            f, name, "%s%s is %g, must be a whole number from %" PRId64 " to %" PRId64, f->path,
            name, json_real_value(value), low, high);
    return openai_field_refuse(f, name,
                               "%s%s is %" JSON_INTEGER_FORMAT ", must be from %" PRId64
                               " to %" PRId64, f->path, name, json_integer_value(value), low, high);
}

bool openai_field_u32(const struct openai_fields *f, const char *name, uint32_t low, uint32_t high,
                      uint32_t *out)
{
    int64_t value;
    if (!openai_field_int(f, name, low, high, &value))
        return false;
    *out = (uint32_t)value;
    return true;
}

bool openai_field_float(const struct openai_fields *f, const char *name, double low, double high,
                        float *out)
{
    const json_t *value = openai_field(f, name);
    if (!value)
        return false;
    if (!json_is_number(value))
        return wrong_kind(f, name, value, "a number");
    double number = json_number_value(value);
    if (!(number >= low && number <= high))
        return openai_field_refuse(f, name, "%s%s is %g, must be from %g to %g", f->path, name,
                                   number, low, high);
    *out = (float)number;
    return true;
}

const char *openai_field_text(const struct openai_fields *f, const char *name, size_t *bytes)
{
    const json_t *value = openai_field(f, name);
    if (!value)
        return NULL;
    if (!json_is_string(value)) {
        wrong_kind(f, name, value, "a string");
        return NULL;
    }
    *bytes = json_string_length(value);
    return json_string_value(value);
}

const json_t *openai_field_array(const struct openai_fields *f, const char *name)
{
    const json_t *value = openai_field(f, name);
    if (value && !json_is_array(value)) {
        wrong_kind(f, name, value, "a list");
        return NULL;
    }
    return value;
}

const json_t *openai_field_object(const struct openai_fields *f, const char *name)
{
    const json_t *value = openai_field(f, name);
    if (value && !json_is_object(value)) {
        wrong_kind(f, name, value, "an object");
        return NULL;
    }
    return value;
}

uint32_t *openai_token_ids(const json_t *list, const char *name, uint32_t vocab, uint32_t *count,
                           struct openai_refusal *refusal)
{
    size_t n = json_array_size(list);
    uint32_t *ids = n < UINT32_MAX / 2 ? malloc((n ? n : 1) * sizeof *ids) : NULL;
    if (!ids) {
        openai_refuse(refusal, HTTP_UNAVAILABLE, name, "out of memory for %zu tokens", n);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        int64_t id;
        const json_t *value = json_array_get(list, i);
        char shown[32];
        if (openai_json_int(value, 0, (int64_t)vocab - 1, &id)) {
            ids[i] = (uint32_t)id;
            continue;
        }
        if (json_is_integer(value))
            snprintf(shown, sizeof shown, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        else
            snprintf(shown, sizeof shown, "%s", openai_json_kind(value));
        openai_refuse(refusal, HTTP_BAD_VALUE, name,
                      "%s[%zu] is %s, must be a token id below %u (the size of the vocabulary)",
                      name, i, shown, vocab);
        free(ids);
        return NULL;
    }
    *count = (uint32_t)n;
    return ids;
}

/* ---- bodies ---- */

json_t *openai_body(const uint8_t *bytes, size_t size, struct openai_refusal *refusal)
{
    json_error_t error = {.line = 0};
    json_t *body = json_loadb((const char *)bytes, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
                              &error);
    if (!body) {
        openai_refuse(refusal, HTTP_BAD_VALUE, NULL,
                      "the body is not JSON: %s (line %d, column %d)", error.text, error.line,
                      error.column);
        return NULL;
    }
    if (json_is_object(body))
        return body;
    openai_refuse(refusal, HTTP_BAD_VALUE, NULL, "the body must be a JSON object, not %s",
                  openai_json_kind(body));
    json_decref(body);
    return NULL;
}

static bool listed(const char *const *names, const char *name)
{
    for (; names && *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

void openai_log_unknown(const json_t *body, const char *const *known, const char *const *more)
{
    const char *name;
    json_t *value;
    if (!log_enabled(LOG_DEBUG))
        return;
    json_object_foreach((json_t *)body, name, value)
    {
        char shown[64];
        if (listed(known, name) || listed(more, name))
            continue;
        snprintf(shown, sizeof shown, "%s", name);
        for (char *p = shown; *p; p++)
            if ((unsigned char)*p < 0x20 || *p == 0x7f)
                *p = '?';
        log_debug("request: the field '%s' is not known and has no effect", shown);
    }
}

static bool asks_for_nothing(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT: return json_object_size(value) == 0;
    case JSON_ARRAY: return json_array_size(value) == 0;
    case JSON_STRING: return json_string_length(value) == 0;
    case JSON_INTEGER: return json_integer_value(value) == 0;
    case JSON_REAL: return json_real_value(value) == 0;
    case JSON_TRUE: return false;
    default: return true;
    }
}

bool openai_refuse_unsupported(const struct openai_fields *f, const char *const *names)
{
    for (; *names; names++) {
        const json_t *value = openai_field(f, *names);
        if (value && !asks_for_nothing(value))
            return openai_field_refuse(f, *names, "%s%s is not supported by this server", f->path,
                                       *names);
    }
    return true;
}
