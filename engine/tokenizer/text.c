/* Growable text and spans, and UTF-8 by hand where a library call per character would cost more
 * than the work. Character classes come from utf8proc's categories. Any thread; no shared state. */
#include "engine/tokenizer/text.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define TEXT_BYTES_LIMIT ((size_t)UINT32_MAX)

void span_list_reset(struct span_list *list)
{
    free(list->at);
    *list = (struct span_list){0};
}

void text_reset(struct text *text)
{
    free(text->data);
    span_list_reset(&text->spans);
    *text = (struct text){0};
}

enum status text_reserve(struct text *text, size_t bytes)
{
    size_t most = text->bytes_max ? text->bytes_max : TEXT_BYTES_LIMIT;
    if (text->bytes > most || bytes > most - text->bytes)
        return STATUS_FULL;
    size_t need = text->bytes + bytes;
    if (need <= text->capacity)
        return STATUS_OK;
    size_t capacity = need < 64 ? 128 : need + need / 2;
    char *data = realloc(text->data, capacity);
    if (!data)
        return STATUS_NO_MEMORY;
    text->data = data;
    text->capacity = capacity;
    return STATUS_OK;
}

enum status text_append(struct text *text, const char *data, size_t bytes)
{
    enum status status = text_reserve(text, bytes);
    if (status == STATUS_OK && bytes) {
        memcpy(text->data + text->bytes, data, bytes);
        text->bytes += bytes;
    }
    return status;
}

enum status span_list_push(struct span_list *list, size_t begin, size_t end, bool matched)
{
    if (list->count == list->capacity) {
        if (list->capacity > UINT32_MAX / 2)
            return STATUS_NO_MEMORY;
        uint32_t capacity = list->capacity ? 2 * list->capacity : 64;
        struct span *at = realloc(list->at, capacity * sizeof *at);
        if (!at)
            return STATUS_NO_MEMORY;
        list->at = at;
        list->capacity = capacity;
    }
    list->at[list->count++] =
        (struct span){.begin = (uint32_t)begin, .end = (uint32_t)end, .matched = matched};
    return STATUS_OK;
}

/* Bytes of the well-formed character at p (before end), or 0. */
static unsigned valid_char_bytes(const unsigned char *p, const unsigned char *end)
{
    unsigned char low = 0x80, high = 0xBF; /* what the second byte may be */
    unsigned length;
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        length = 2;
    } else if (p[0] >= 0xE0 && p[0] <= 0xEF) {
        length = 3;
        low = p[0] == 0xE0 ? 0xA0 : low;   /* overlong */
        high = p[0] == 0xED ? 0x9F : high; /* surrogates */
    } else if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        length = 4;
        low = p[0] == 0xF0 ? 0x90 : low;   /* overlong */
        high = p[0] == 0xF4 ? 0x8F : high; /* beyond U+10FFFF */
    } else {
        return 0;
    }
    if ((size_t)(end - p) < length || p[1] < low || p[1] > high)
        return 0;
    for (unsigned i = 2; i < length; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

size_t text_valid_bytes(const char *data, size_t bytes)
{
    const unsigned char *p = (const unsigned char *)data, *end = p + bytes;
    while (p < end) {
        unsigned length = valid_char_bytes(p, end);
        if (!length)
            break;
        p += length;
    }
    return bytes - (size_t)(end - p);
}

uint32_t text_char(const char *data, unsigned *length)
{
    const unsigned char *p = (const unsigned char *)data;
    if (p[0] < 0x80) {
        *length = 1;
        return p[0];
    }
    if (p[0] < 0xE0) {
        *length = 2;
        return (uint32_t)(p[0] & 0x1F) << 6 | (p[1] & 0x3F);
    }
    if (p[0] < 0xF0) {
        *length = 3;
        return (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
    }
    *length = 4;
    return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3F) << 12 |
           (uint32_t)(p[2] & 0x3F) << 6 | (p[3] & 0x3F);
}

size_t text_last_char(const char *data, size_t bytes)
{
    size_t at = bytes - 1;
    while (at > 0 && ((unsigned char)data[at] & 0xC0) == 0x80)
        at--;
    return at;
}

unsigned text_put_char(char *out, uint32_t c)
{
    return (unsigned)utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)out);
}

bool text_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= '\t' && c <= '\r');
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return true;
    default:
        return c == 0x85; /* next line */
    }
}

bool text_is_number(uint32_t c)
{
    if (c < 0x80)
        return c >= '0' && c <= '9';
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

bool text_is_punctuation(uint32_t c)
{
    if (c < 0x80)
        return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
               (c >= '{' && c <= '~');
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool text_is_word(uint32_t c)
{
    if (c < 0x80)
        return c == '_' || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default: /* symbols that are alphabetic, and the two joiners */
        return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
               (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189) || c == 0x200C ||
               c == 0x200D;
    }
}
