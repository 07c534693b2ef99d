/* str() and repr(). Reals: the shortest digits that read back as the same number are found by
 * trying (at most 17 times); Python writes them without exponent from 1e-4 up to 1e16. */
#include "engine/template/value_text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/template/scope.h"

void value_write_real(struct writer *w, double real)
{
    char shortest[40], digits[20];
    if (isnan(real) || isinf(real)) {
        writer_string(w, isnan(real) ? "nan" : real > 0 ? "inf" : "-inf");
        return;
    }
    for (int precision = 0; precision <= 16; precision++) {
        snprintf(shortest, sizeof shortest, "%.*e", precision, real);
        if (strtod(shortest, NULL) == real)
            break;
    }
    const char *at = shortest;
    if (*at == '-') {
        writer_string(w, "-");
        at++;
    }
    int count = 0;
    for (; *at != 'e'; at++) {
        if (*at >= '0' && *at <= '9')
            digits[count++] = *at;
    }
    int exponent = atoi(at + 1);
    if (exponent < -4 || exponent >= 16) {
        writer_bytes(w, digits, 1);
        if (count > 1) {
            writer_string(w, ".");
            writer_bytes(w, digits + 1, (size_t)count - 1);
        }
        writer_format(w, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
    } else if (exponent < 0) {
        writer_string(w, "0.");
        writer_repeat(w, '0', (size_t)(-exponent - 1));
        writer_bytes(w, digits, (size_t)count);
    } else {
        int whole = exponent + 1 < count ? exponent + 1 : count;
        writer_bytes(w, digits, (size_t)whole);
        writer_repeat(w, '0', (size_t)(exponent + 1 - whole));
        writer_string(w, ".");
        if (count > whole)
            writer_bytes(w, digits + whole, (size_t)(count - whole));
        else
            writer_string(w, "0");
    }
}

static void write_quoted(struct writer *w, struct text text)
{
    const char *at = text.bytes, *end = text.bytes + text.size;
    bool single = text.size && memchr(text.bytes, '\'', text.size);
    bool twice = text.size && memchr(text.bytes, '"', text.size);
    char quote = single && !twice ? '"' : '\'';
    writer_repeat(w, quote, 1);
    while (at < end) {
        const char *begin = at;
        uint32_t c = utf8_next(&at, end);
        if (c == (uint32_t)quote || c == '\\')
            writer_format(w, "\\%c", (char)c);
        else if (c == '\n' || c == '\r' || c == '\t')
            writer_string(w, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
        else if (utf8_is_printable(c))
            writer_bytes(w, begin, (size_t)(at - begin));
        else
            writer_format(w, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    }
    writer_repeat(w, quote, 1);
}

static void write_items(struct writer *w, const struct list *list, const char *open,
                        const char *close)
{
    writer_string(w, open);
    for (size_t i = 0; i < list->count; i++) {
        if (i)
            writer_string(w, ", ");
        value_write_repr(w, list->items[i]);
    }
    writer_string(w, close);
}

static void write_dict(struct writer *w, const struct dict *dict)
{
    writer_string(w, "{");
    for (size_t i = 0; i < dict->count; i++) {
        if (i)
            writer_string(w, ", ");
        value_write_repr(w, dict->pairs[i].key);
        writer_string(w, ": ");
        value_write_repr(w, dict->pairs[i].value);
    }
    writer_string(w, "}");
}

static void write_range(struct writer *w, const int64_t *bounds)
{
    writer_format(w, "range(%lld, %lld", (long long)bounds[0], (long long)bounds[1]);
    if (bounds[2] != 1)
        writer_format(w, ", %lld", (long long)bounds[2]);
    writer_string(w, ")");
}

static void write_container(struct writer *w, struct value v)
{
    run_enter(w->run);
    switch (v.kind) {
    case VALUE_LIST: write_items(w, v.list, "[", "]"); break;
    case VALUE_TUPLE: write_items(w, v.list, "(", v.list->count == 1 ? ",)" : ")"); break;
    case VALUE_RANGE: write_range(w, v.list->bounds); break;
    case VALUE_VIEW:
        writer_string(w, "dict_");
        writer_string(w, v.list->view);
        write_items(w, v.list, "([", "])");
        break;
    case VALUE_DICT: write_dict(w, v.dict); break;
    case VALUE_NAMESPACE:
        writer_string(w, "<Namespace ");
        write_dict(w, v.dict);
        writer_string(w, ">");
        break;
    default: break;
    }
    run_leave(w->run);
}

void value_write_repr(struct writer *w, struct value v)
{
    switch (v.kind) {
    case VALUE_ABSENT: break;
    case VALUE_UNDEFINED: writer_string(w, "Undefined"); break;
    case VALUE_NONE: writer_string(w, "None"); break;
    case VALUE_BOOL: writer_string(w, v.truth ? "True" : "False"); break;
    case VALUE_INTEGER: writer_format(w, "%lld", (long long)v.integer); break;
    case VALUE_REAL: value_write_real(w, v.real); break;
    case VALUE_TEXT:
        if (v.markup)
            writer_string(w, "Markup(");
        write_quoted(w, v.text);
        if (v.markup)
            writer_string(w, ")");
        break;
    case VALUE_MACRO:
        writer_string(w, "<Macro ");
        write_quoted(w, v.macro->name);
        writer_string(w, ">");
        break;
    case VALUE_ITERATOR:
    case VALUE_LOOP:
    case VALUE_METHOD:
    case VALUE_FUNCTION: /* Python shows an address here, which nobody can mean */
        writer_format(w, "<%s>", value_kind_name(v));
        break;
    default: write_container(w, v);
    }
}

void value_write(struct writer *w, struct value v)
{
    if (v.kind == VALUE_TEXT)
        writer_text(w, v.text);
    else if (v.kind != VALUE_UNDEFINED)
        value_write_repr(w, v);
}

struct text value_to_text(struct run *run, struct value v)
{
    struct writer w;
    if (v.kind == VALUE_TEXT)
        return v.text;
    writer_init(&w, run);
    value_write(&w, v);
    return writer_view(&w);
}

void value_write_escaped(struct writer *w, struct text text)
{
    size_t done = 0;
    for (size_t i = 0; i < text.size; i++) {
        const char *escape = NULL;
        switch (text.bytes[i]) {
        case '&': escape = "&amp;"; break;
        case '<': escape = "&lt;"; break;
        case '>': escape = "&gt;"; break;
        case '\'': escape = "&#39;"; break;
        case '"': escape = "&#34;"; break;
        default: continue;
        }
        writer_bytes(w, text.bytes + done, i - done);
        writer_string(w, escape);
        done = i + 1;
    }
    writer_bytes(w, text.bytes + done, text.size - done);
}
