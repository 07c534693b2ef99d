/* Code points, and what Python says of single ones. White space is the set of Python's
 * str.isspace (bidirectional type WS, B or S, or category Zs); digits are those with a Digit or
 * Decimal property, of which utf8proc knows the decimal ones and the table below the others. */
#include "engine/template/utf8.h"

#include <string.h>
#include <utf8proc.h>

bool text_is(struct text a, const char *word)
{
    return a.size == strlen(word) && memcmp(a.bytes, word, a.size) == 0;
}

bool text_equal(struct text a, struct text b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.bytes, b.bytes, a.size) == 0);
}

int text_order(struct text a, struct text b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common ? memcmp(a.bytes, b.bytes, common) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

size_t text_find(struct text whole, struct text part, size_t from)
{
    if (from > whole.size || part.size > whole.size - from)
        return SIZE_MAX;
    if (part.size == 0)
        return from;
    const char *at = memmem(whole.bytes + from, whole.size - from, part.bytes, part.size);
    return at ? (size_t)(at - whole.bytes) : SIZE_MAX;
}

size_t text_find_last(struct text whole, struct text part)
{
    if (part.size > whole.size)
        return SIZE_MAX;
    for (size_t at = whole.size - part.size;; at--) {
        if (part.size == 0 || memcmp(whole.bytes + at, part.bytes, part.size) == 0)
            return at;
        if (at == 0)
            return SIZE_MAX;
    }
}

bool utf8_valid(struct text text)
{
    const utf8proc_uint8_t *at = (const utf8proc_uint8_t *)text.bytes;
    for (size_t left = text.size; left > 0;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate(at, (utf8proc_ssize_t)left, &c);
        if (n <= 0)
            return false;
        at += n;
        left -= (size_t)n;
    }
    return true;
}

uint32_t utf8_next(const char **at, const char *end)
{
    if ((unsigned char)**at < 0x80)
        return (unsigned char)*(*at)++;
    utf8proc_int32_t c;
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)*at, end - *at, &c);
    if (n <= 0) {
        (*at)++;
        return 0xFFFD;
    }
    *at += n;
    return (uint32_t)c;
}

size_t utf8_encode(uint32_t c, char *out)
{
    return (size_t)utf8proc_encode_char((utf8proc_int32_t)c, (utf8proc_uint8_t *)out);
}

static bool continues(char byte)
{
    return ((unsigned char)byte & 0xC0) == 0x80;
}

size_t utf8_count(struct text text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.size; i++)
        count += !continues(text.bytes[i]);
    return count;
}

size_t utf8_offset(struct text text, size_t index)
{
    size_t at = 0;
    for (; at < text.size; at++) {
        if (!continues(text.bytes[at]) && index-- == 0)
            break;
    }
    return at;
}

size_t utf8_width(struct text text, size_t at)
{
    size_t end = at + 1;
    while (end < text.size && continues(text.bytes[end]))
        end++;
    return end - at;
}

bool utf8_is_space(uint32_t c)
{
    if (c < 0x80)
        return (c >= 9 && c <= 13) || (c >= 28 && c <= 32);
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool utf8_is_letter(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

bool utf8_is_digit(uint32_t c)
{
    static const uint32_t others[][2] = {
        {0xB2, 0xB3},       {0xB9, 0xB9},       {0x1369, 0x1371},   {0x19DA, 0x19DA},
        {0x2070, 0x2070},   {0x2074, 0x2079},   {0x2080, 0x2089},   {0x2460, 0x2468},
        {0x2474, 0x247C},   {0x2488, 0x2490},   {0x24EA, 0x24EA},   {0x24F5, 0x24FD},
        {0x24FF, 0x24FF},   {0x2776, 0x277E},   {0x2780, 0x2788},   {0x278A, 0x2792},
        {0x10A40, 0x10A43}, {0x10E60, 0x10E68}, {0x11052, 0x1105A}, {0x1F100, 0x1F10A},
    };
    if (c < 0x80)
        return c >= '0' && c <= '9';
    if (utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND)
        return true;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (c >= others[i][0] && c <= others[i][1])
            return true;
    }
    return false;
}

bool utf8_is_number(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

bool utf8_is_printable(uint32_t c)
{
    if (c < 0x80)
        return c >= 0x20 && c < 0x7F;
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category != UTF8PROC_CATEGORY_CN && category < UTF8PROC_CATEGORY_ZS;
}

static bool among(struct text one, struct text chars)
{
    if (chars.bytes)
        return text_find(chars, one, 0) != SIZE_MAX;
    const char *at = one.bytes;
    return utf8_is_space(utf8_next(&at, one.bytes + one.size));
}

struct text text_strip(struct text text, struct text chars, bool left, bool right)
{
    while (left && text.size > 0) {
        size_t width = utf8_width(text, 0);
        if (!among(text_of(text.bytes, width), chars))
            break;
        text.bytes += width;
        text.size -= width;
    }
    while (right && text.size > 0) {
        size_t at = text.size - 1;
        while (at > 0 && continues(text.bytes[at]))
            at--;
        if (!among(text_of(text.bytes + at, text.size - at), chars))
            break;
        text.size = at;
    }
    return text;
}
