/* json.dumps as the Hugging Face library calls it for chat templates: no HTML escaping,
 * characters beyond ASCII as they are unless asked otherwise. Numbers are Python's (1.0, 1e+16,
 * NaN, Infinity); keys that are not texts become what Python makes of them. */
#include "engine/template/tojson.h"

#include <math.h>
#include <string.h>

#include "engine/template/sort.h"
#include "engine/template/value_text.h"

static void write_value(struct writer *w, struct value v, const struct tojson_style *style,
                        uint32_t level);

static void write_escape(struct writer *w, uint32_t c)
{
    switch (c) {
    case '"': writer_string(w, "\\\""); break;
    case '\\': writer_string(w, "\\\\"); break;
    case '\b': writer_string(w, "\\b"); break;
    case '\f': writer_string(w, "\\f"); break;
    case '\n': writer_string(w, "\\n"); break;
    case '\r': writer_string(w, "\\r"); break;
    case '\t': writer_string(w, "\\t"); break;
    default:
        if (c < 0x10000)
            writer_format(w, "\\u%04x", c);
        else
            writer_format(w, "\\u%04x\\u%04x", 0xD800 + ((c - 0x10000) >> 10),
                          0xDC00 + ((c - 0x10000) & 0x3FF));
    }
}

static void write_text(struct writer *w, struct text text, bool ascii)
{
    const char *at = text.bytes, *end = text.bytes + text.size, *done = at;
    writer_string(w, "\"");
    while (at < end) {
        const char *begin = at;
        uint32_t c = utf8_next(&at, end);
        if (c >= 0x20 && c != '"' && c != '\\' && !(ascii && c >= 0x7F))
            continue;
        writer_bytes(w, done, (size_t)(begin - done));
        write_escape(w, c);
        done = at;
    }
    writer_bytes(w, done, (size_t)(end - done));
    writer_string(w, "\"");
}

static void write_real(struct writer *w, double real)
{
    if (isnan(real))
        writer_string(w, "NaN");
    else if (isinf(real))
        writer_string(w, real > 0 ? "Infinity" : "-Infinity");
    else
        value_write_real(w, real);
}

static void write_scalar(struct writer *w, struct value v, bool ascii)
{
    switch (v.kind) {
    case VALUE_NONE: writer_string(w, "null"); break;
    case VALUE_BOOL: writer_string(w, v.truth ? "true" : "false"); break;
    case VALUE_INTEGER: writer_format(w, "%lld", (long long)v.integer); break;
    case VALUE_REAL: write_real(w, v.real); break;
    case VALUE_TEXT: write_text(w, v.text, ascii); break;
    case VALUE_UNDEFINED: value_need_defined(w->run, v); break;
    default:
        run_fail(w->run, STATUS_INVALID, "tojson: %s has no form in JSON", value_kind_name(v));
    }
}

static void write_key(struct writer *w, struct value key, bool ascii)
{
    if (key.kind == VALUE_TEXT) {
        write_text(w, key.text, ascii);
        return;
    }
    if (key.kind != VALUE_NONE && !value_is_number(key))
        run_fail(w->run, STATUS_INVALID, "tojson: %s cannot be a key", value_kind_name(key));
    writer_string(w, "\"");
    write_scalar(w, key, ascii);
    writer_string(w, "\"");
}

static void new_line(struct writer *w, const struct tojson_style *style, uint32_t level)
{
    if (!style->lines)
        return;
    writer_string(w, "\n");
    for (uint32_t i = 0; i < level; i++)
        writer_text(w, style->indent);
}

static void write_list(struct writer *w, const struct list *list, const struct tojson_style *style,
                       uint32_t level)
{
    if (!list->count) {
        writer_string(w, "[]");
        return;
    }
    writer_string(w, "[");
    for (size_t i = 0; i < list->count; i++) {
        if (i)
            writer_text(w, style->between_items);
        new_line(w, style, level + 1);
        write_value(w, list->items[i], style, level + 1);
    }
    new_line(w, style, level);
    writer_string(w, "]");
}

static int key_order(struct run *run, const struct value *a, const struct value *b, void *context)
{
    return value_order(run, *a, *b);
}

static const struct dict *sorted(struct run *run, const struct dict *dict)
{
    struct value *keys = run_alloc(run, dict->count, sizeof *keys);
    uint32_t *order = run_alloc(run, dict->count, sizeof *order);
    struct dict *result = dict_new(run, dict->count);
    for (size_t i = 0; i < dict->count; i++)
        keys[i] = dict->pairs[i].key;
    sort_order(run, keys, dict->count, false, key_order, NULL, order);
    for (size_t i = 0; i < dict->count; i++)
        result->pairs[i] = dict->pairs[order[i]];
    result->count = dict->count;
    return result;
}

static void write_dict(struct writer *w, const struct dict *dict, const struct tojson_style *style,
                       uint32_t level)
{
    if (!dict->count) {
        writer_string(w, "{}");
        return;
    }
    if (style->sort_keys)
        dict = sorted(w->run, dict);
    writer_string(w, "{");
    for (size_t i = 0; i < dict->count; i++) {
        if (i)
            writer_text(w, style->between_items);
        new_line(w, style, level + 1);
        write_key(w, dict->pairs[i].key, style->ascii);
        writer_text(w, style->between_key_and_value);
        write_value(w, dict->pairs[i].value, style, level + 1);
    }
    new_line(w, style, level);
    writer_string(w, "}");
}

static void write_value(struct writer *w, struct value v, const struct tojson_style *style,
                        uint32_t level)
{
    run_enter(w->run);
    run_charge(w->run, 1);
    if (v.kind == VALUE_LIST || v.kind == VALUE_TUPLE)
        write_list(w, v.list, style, level);
    else if (v.kind == VALUE_DICT)
        write_dict(w, v.dict, style, level);
    else
        write_scalar(w, v, style->ascii);
    run_leave(w->run);
}

void tojson_write(struct writer *w, struct value v, const struct tojson_style *style)
{
    write_value(w, v, style, 0);
}
