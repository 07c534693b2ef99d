/* Escapes and classes. \d, \w and \s are those of ECMA-262 without flags: ASCII digits, ASCII
 * letters, digits and the underscore, and all white space and line ends of Unicode. */
#include "engine/grammar/regex_class.h"

#include <string.h>

enum status regex_invalid(struct regex_text *text, const char *what)
{
    return error_set(text->error, STATUS_INVALID, "regular expression: %s at byte %zu", what,
                     text->at);
}

enum status regex_unsupported(struct regex_text *text, const char *what)
{
    return error_set(text->error, STATUS_UNSUPPORTED,
                     "regular expression: %s (at byte %zu) is not supported", what, text->at);
}

static void add_spaces(struct characters *set)
{
    static const uint32_t ranges[][2] = {
        {0x09, 0x0D},     {0x20, 0x20},     {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
        {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        characters_add(set, ranges[i][0], ranges[i][1]);
}

/* Adds \d, \w, \s or, in capitals, everything else. */
static void add_kind(struct characters *set, char kind)
{
    struct characters found = {0};
    switch (kind | 0x20) {
    case 'w':
        characters_add(&found, 'a', 'z');
        characters_add(&found, 'A', 'Z');
        characters_add(&found, '_', '_');
        characters_add(&found, '0', '9');
        break;
    case 's':
        add_spaces(&found);
        break;
    default:
        characters_add(&found, '0', '9');
    }
    if (kind < 'a')
        characters_invert(&found);
    characters_add_set(set, &found);
    characters_reset(&found);
}

void regex_dot(struct characters *set)
{
    characters_add(set, '\n', '\n');
    characters_add(set, '\r', '\r');
    characters_add(set, 0x2028, 0x2029);
    characters_invert(set);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Exactly `count` hex digits. */
static bool read_hex(struct regex_text *text, unsigned count, uint32_t *out)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < count; i++) {
        int digit = hex_value(regex_peek(text, i));
        if (digit < 0)
            return false;
        value = value * 16 + (uint32_t)digit;
    }
    text->at += count;
    *out = value;
    return true;
}

static bool read_braced(struct regex_text *text, uint32_t *out)
{
    uint32_t value = 0;
    unsigned digits = 0;
    text->at++; /* the brace */
    for (int digit; (digit = hex_value(regex_peek(text, 0))) >= 0 && digits < 6; digits++) {
        value = value * 16 + (uint32_t)digit;
        text->at++;
    }
    if (digits == 0 || regex_peek(text, 0) != '}' || value > CHARACTER_MAX)
        return false;
    text->at++;
    *out = value;
    return true;
}

/* Behind \u: four digits, perhaps with the second half of a pair, or any number in braces. */
static enum status read_unicode(struct regex_text *text, uint32_t *out)
{
    uint32_t low;
    bool is_good = regex_peek(text, 0) == '{' ? read_braced(text, out) : read_hex(text, 4, out);
    if (!is_good)
        return regex_invalid(text, "\\u needs four hexadecimal digits or a number in braces");
    size_t behind = text->at;
    if (*out >= 0xD800 && *out <= 0xDBFF && regex_peek(text, 0) == '\\' &&
        regex_peek(text, 1) == 'u') {
        text->at += 2;
        if (read_hex(text, 4, &low) && low >= 0xDC00 && low <= 0xDFFF)
            *out = 0x10000 + ((*out - 0xD800) << 10) + (low - 0xDC00);
        else
            text->at = behind;
    }
    if (*out >= 0xD800 && *out <= 0xDFFF)
        return regex_invalid(text, "half of a surrogate pair is no character");
    return STATUS_OK;
}

static enum status read_single(struct regex_text *text, char c, bool in_class, uint32_t *out)
{
    static const char letters[] = "tnvfr", values[] = "\t\n\v\f\r";
    const char *found = strchr(letters, c);
    char next = regex_peek(text, 0);
    *out = (uint8_t)c;
    if (c && found) {
        *out = (uint8_t)values[found - letters];
    } else if (c == '0' && !(next >= '0' && next <= '9')) {
        *out = 0;
    } else if (c == 'b' && in_class) {
        *out = '\b';
    } else if (c == 'c' && ((next | 0x20) >= 'a' && (next | 0x20) <= 'z')) {
        *out = (uint8_t)next & 31;
        text->at++;
    } else if (c == 'x') {
        if (!read_hex(text, 2, out))
            return regex_invalid(text, "\\x needs two hexadecimal digits");
    } else if (c == 'u') {
        return read_unicode(text, out);
    } else if (c == 'b' || c == 'B') {
        return regex_unsupported(text, "a word boundary");
    } else if (c == 'p' || c == 'P') {
        return regex_unsupported(text, "a Unicode property \\p");
    } else if ((c >= '0' && c <= '9') || c == 'k') {
        return regex_unsupported(text, "a back-reference");
    } else if (((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c & 0x80) || !c) {
        return regex_invalid(text, "an escape that is not known");
    }
    return STATUS_OK;
}

enum status regex_escape(struct regex_text *text, bool in_class, struct characters *set,
                         uint32_t *single)
{
    char c = regex_peek(text, 0);
    *single = UINT32_MAX;
    if (text->at == text->bytes)
        return regex_invalid(text, "nothing behind a backslash");
    text->at++;
    if (c && strchr("dDwWsS", c)) {
        add_kind(set, c);
        return STATUS_OK;
    }
    enum status status = read_single(text, c, in_class, single);
    if (status == STATUS_OK)
        characters_add(set, *single, *single);
    return status;
}

/* One member of a class: *single as for escapes. */
static enum status read_member(struct regex_text *text, struct characters *set, uint32_t *single)
{
    if (regex_peek(text, 0) == '\\') {
        text->at++;
        return regex_escape(text, true, set, single);
    }
    if (!characters_read(text->pattern, text->bytes, &text->at, single))
        return regex_invalid(text, text->at < text->bytes ? "not UTF-8" : "a class is not closed");
    characters_add(set, *single, *single);
    return STATUS_OK;
}

enum status regex_class(struct regex_text *text, struct characters *set)
{
    bool inverted = regex_peek(text, 0) == '^';
    enum status status = STATUS_OK;
    text->at += inverted;
    while (status == STATUS_OK && regex_peek(text, 0) != ']') {
        uint32_t first, last;
        status = read_member(text, set, &first);
        if (status != STATUS_OK || regex_peek(text, 0) != '-' || regex_peek(text, 1) == ']')
            continue;
        text->at++;
        status = read_member(text, set, &last);
        if (status != STATUS_OK)
            break;
        if (first == UINT32_MAX || last == UINT32_MAX)
            characters_add(set, '-', '-'); /* [\w-x]: as written, not a range */
        else if (first > last)
            return regex_invalid(text, "a range of a class ends before it begins");
        else
            characters_add(set, first, last);
    }
    if (status != STATUS_OK)
        return status;
    text->at++;
    if (inverted)
        characters_invert(set);
    else
        characters_normalize(set);
    return STATUS_OK;
}
