/* Plain text goes in by runs; only what must be escaped or replaced is looked at byte by byte. */
#include "server/jsonw.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "memory/base/check.h"

static bool make_room(struct jsonw *w, size_t bytes)
{
    if (w->failed)
        return false;
    if (bytes <= w->capacity - w->bytes)
        return true;
    size_t capacity = w->capacity ? w->capacity : 512;
    while (capacity - w->bytes < bytes) {
        if (capacity > SIZE_MAX / 2) {
            w->failed = true;
            return false;
        }
        capacity *= 2;
    }
    char *grown = realloc(w->data, capacity);
    if (!grown) {
        w->failed = true;
        return false;
    }
    w->data = grown;
    w->capacity = capacity;
    return true;
}

void jsonw_reset(struct jsonw *w)
{
    w->bytes = 0;
    w->comma = w->failed = false;
}

void jsonw_close(struct jsonw *w)
{
    free(w->data);
    *w = (struct jsonw){0};
}

void jsonw_plain(struct jsonw *w, const char *text, size_t bytes)
{
    if (!bytes || !make_room(w, bytes))
        return;
    memcpy(w->data + w->bytes, text, bytes);
    w->bytes += bytes;
}

static void put(struct jsonw *w, char c)
{
    if (make_room(w, 1))
        w->data[w->bytes++] = c;
}

static void before_value(struct jsonw *w)
{
    if (w->comma)
        put(w, ',');
    w->comma = true;
}

static void open_with(struct jsonw *w, char bracket)
{
    before_value(w);
    put(w, bracket);
    w->comma = false;
}

static void end_with(struct jsonw *w, char bracket)
{
    put(w, bracket);
    w->comma = true;
}

void jsonw_object_open(struct jsonw *w) { open_with(w, '{'); }
void jsonw_object_end(struct jsonw *w) { end_with(w, '}'); }
void jsonw_array_open(struct jsonw *w) { open_with(w, '['); }
void jsonw_array_end(struct jsonw *w) { end_with(w, ']'); }

/* ---- strings ---- */

/* The table of well-formed byte sequences of the Unicode standard (chapter 3.9). */
size_t jsonw_utf8_length(const char *text, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)text;
    if (!bytes)
        return 0;
    if (p[0] < 0x80)
        return 1;
    size_t length = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || bytes < length)
        return 0;
    unsigned char low = 0x80, high = 0xbf; /* of the second byte */
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f; /* surrogates */
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if (p[i] < 0x80 || p[i] > 0xbf)
            return 0;
    return length;
}

static void put_escape(struct jsonw *w, unsigned char c)
{
    static const char names[] = "btn?fr"; /* of 8 to 13 */
    char text[8];
    if (c == '"' || c == '\\')
        snprintf(text, sizeof text, "\\%c", c);
    else if (c >= 8 && c <= 13 && c != 11)
        snprintf(text, sizeof text, "\\%c", names[c - 8]);
    else
        snprintf(text, sizeof text, "\\u%04x", c);
    jsonw_plain(w, text, strlen(text));
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void put_string(struct jsonw *w, const char *text, size_t bytes)
{
    put(w, '"');
    for (size_t at = 0; at < bytes;) {
        size_t run = at;
        while (run < bytes && is_plain((unsigned char)text[run]))
            run++;
        jsonw_plain(w, text + at, run - at);
        at = run;
        if (at == bytes)
            break;
        unsigned char c = (unsigned char)text[at];
        size_t length = jsonw_utf8_length(text + at, bytes - at);
        if (length > 1)
            jsonw_plain(w, text + at, length);
        else if (length == 1)
            put_escape(w, c); /* DEL too: it is a control character on a terminal */
        else
            jsonw_plain(w, "\xef\xbf\xbd", 3);
        at += length ? length : 1;
    }
    put(w, '"');
}

void jsonw_bytes(struct jsonw *w, const char *text, size_t bytes)
{
    before_value(w);
    put_string(w, text, bytes);
}

void jsonw_text(struct jsonw *w, const char *text)
{
    if (text)
        jsonw_bytes(w, text, strlen(text));
    else
        jsonw_null(w);
}

void jsonw_key(struct jsonw *w, const char *name)
{
    size_t bytes = strlen(name);
    before_value(w);
    put(w, '"');
    jsonw_plain(w, name, bytes);
    jsonw_plain(w, "\":", 2);
    w->comma = false;
}

void jsonw_key_bytes(struct jsonw *w, const char *name, size_t bytes)
{
    jsonw_bytes(w, name, bytes);
    put(w, ':');
    w->comma = false;
}

/* ---- the rest ---- */

static void put_word(struct jsonw *w, const char *word)
{
    before_value(w);
    jsonw_plain(w, word, strlen(word));
}

void jsonw_uint(struct jsonw *w, uint64_t value)
{
    char digits[20], *p = digits + sizeof digits;
    do
        *--p = (char)('0' + value % 10);
    while (value /= 10);
    before_value(w);
    jsonw_plain(w, p, (size_t)(digits + sizeof digits - p));
}

void jsonw_int(struct jsonw *w, int64_t value)
{
    if (value >= 0) {
        jsonw_uint(w, (uint64_t)value);
        return;
    }
    before_value(w);
    put(w, '-');
    w->comma = false;
    jsonw_uint(w, 0 - (uint64_t)value);
}

void jsonw_float(struct jsonw *w, float value, float otherwise)
{
    char text[32];
    DCHECK(isfinite(otherwise));
    snprintf(text, sizeof text, "%.9g", (double)(isfinite(value) ? value : otherwise));
    put_word(w, text);
}

void jsonw_fixed(struct jsonw *w, double value)
{
    char text[64];
    snprintf(text, sizeof text, "%.3f", fabs(value) < 1e15 ? value : 0.0); /* false for NaN */
    put_word(w, text);
}

void jsonw_bool(struct jsonw *w, bool value) { put_word(w, value ? "true" : "false"); }
void jsonw_null(struct jsonw *w) { put_word(w, "null"); }

void jsonw_value(struct jsonw *w, const char *json, size_t bytes)
{
    before_value(w);
    jsonw_plain(w, json, bytes);
}
