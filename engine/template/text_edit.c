/* Python's string operations on UTF-8. Searching works on bytes: no character's bytes appear
 * inside another's. */
#include "engine/template/text_edit.h"

#include <stdlib.h>
#include <string.h>

struct text text_edit_replace(struct run *run, struct text text, struct text old,
                              struct text new_text, int64_t max)
{
    struct writer w;
    size_t done = 0;
    writer_init(&w, run);
    run_charge_bytes(run, text.size);
    for (size_t at = 0; max != 0 && (at = text_find(text, old, at)) != SIZE_MAX; max--) {
        run_charge(run, 1);
        writer_bytes(&w, text.bytes + done, at - done);
        writer_text(&w, new_text);
        done = at + old.size;
        if (old.size) {
            at = done;
        } else if (at < text.size) { /* on to the next character */
            at += utf8_width(text, at);
        } else {
            break;
        }
    }
    writer_bytes(&w, text.bytes + done, text.size - done);
    return writer_view(&w);
}

static void add_part(struct run *run, struct list *list, struct text text, size_t begin, size_t end)
{
    list_append(run, list, value_text(text_of(text.bytes + begin, end - begin)));
}

static size_t skip_space(struct text text, size_t at, bool spaces)
{
    const char *p = text.bytes + at, *end = text.bytes + text.size;
    while (p < end) {
        const char *next = p;
        if (utf8_is_space(utf8_next(&next, end)) != spaces)
            break;
        p = next;
    }
    return (size_t)(p - text.bytes);
}

static struct list *split_space(struct run *run, struct text text, int64_t max)
{
    struct list *parts = list_new(run, 0);
    for (size_t at = skip_space(text, 0, true); at < text.size; max--) {
        if (max == 0) {
            add_part(run, parts, text, at, text.size);
            break;
        }
        size_t end = skip_space(text, at, false);
        add_part(run, parts, text, at, end);
        at = skip_space(text, end, true);
    }
    return parts;
}

struct list *text_edit_split(struct run *run, struct text text, struct text separator, int64_t max)
{
    run_charge_bytes(run, text.size);
    if (!separator.bytes)
        return split_space(run, text, max);
    if (!separator.size)
        run_fail(run, STATUS_INVALID, "an empty separator");
    struct list *parts = list_new(run, 0);
    size_t begin = 0, at;
    for (; max != 0 && (at = text_find(text, separator, begin)) != SIZE_MAX; max--) {
        add_part(run, parts, text, begin, at);
        begin = at + separator.size;
    }
    add_part(run, parts, text, begin, text.size);
    return parts;
}

/* The words of a text from its end; what is left of `max` of them is the last. */
static void split_space_right(struct run *run, struct list *parts, struct text text, int64_t max)
{
    const struct text space = text_of(NULL, 0);
    for (text = text_strip(text, space, false, true); text.size; max--) {
        if (max == 0) {
            add_part(run, parts, text, 0, text.size);
            return;
        }
        size_t begin = text.size;
        while (begin > 0) {
            size_t width = 1;
            while (width < begin && ((unsigned char)text.bytes[begin - width] & 0xC0) == 0x80)
                width++;
            const char *at = text.bytes + begin - width;
            if (utf8_is_space(utf8_next(&at, text.bytes + text.size)))
                break;
            begin -= width;
        }
        add_part(run, parts, text, begin, text.size);
        text = text_strip(text_of(text.bytes, begin), space, false, true);
    }
}

struct list *text_edit_split_right(struct run *run, struct text text, struct text separator,
                                   int64_t max)
{
    struct list *parts = list_new(run, 0);
    run_charge_bytes(run, text.size);
    if (!separator.bytes) {
        split_space_right(run, parts, text, max);
    } else {
        if (!separator.size)
            run_fail(run, STATUS_INVALID, "an empty separator");
        size_t at;
        run_charge_search(run, text.size, separator.size);
        for (; max != 0 && (at = text_find_last(text, separator)) != SIZE_MAX; max--) {
            add_part(run, parts, text, at + separator.size, text.size);
            text.size = at;
        }
        add_part(run, parts, text, 0, text.size);
    }
    for (size_t i = 0; i < parts->count / 2; i++) {
        struct value swap = parts->items[i];
        parts->items[i] = parts->items[parts->count - 1 - i];
        parts->items[parts->count - 1 - i] = swap;
    }
    return parts;
}

static bool ends_line(uint32_t c)
{
    return (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
}

struct list *text_edit_lines(struct run *run, struct text text, bool keep_ends)
{
    struct list *lines = list_new(run, 0);
    const char *at = text.bytes, *end = text.bytes + text.size, *begin = at;
    run_charge_bytes(run, text.size);
    while (at < end) {
        const char *here = at;
        uint32_t c = utf8_next(&at, end);
        if (!ends_line(c))
            continue;
        if (c == '\r' && at < end && *at == '\n')
            at++;
        size_t stop = (size_t)((keep_ends ? at : here) - text.bytes);
        add_part(run, lines, text, (size_t)(begin - text.bytes), stop);
        begin = at;
    }
    if (begin < end)
        add_part(run, lines, text, (size_t)(begin - text.bytes), text.size);
    return lines;
}

int64_t text_edit_count(struct run *run, struct text text, struct text part)
{
    int64_t count = 0;
    run_charge_bytes(run, text.size);
    if (!part.size)
        return (int64_t)utf8_count(text) + 1;
    for (size_t at = 0; (at = text_find(text, part, at)) != SIZE_MAX; at += part.size)
        count++;
    return count;
}

bool text_edit_begins(struct text text, struct text part)
{
    return part.size <= text.size && text_equal(text_of(text.bytes, part.size), part);
}

bool text_edit_ends(struct text text, struct text part)
{
    return part.size <= text.size &&
           text_equal(text_of(text.bytes + text.size - part.size, part.size), part);
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'z' ? c - 'a' + 10 : 99;
}

/* 0x, 0o, 0b if `base` is that or 0 (which then becomes it). */
static size_t skip_prefix(struct text digits, int64_t *base)
{
    char letter = digits.size > 1 && digits.bytes[0] == '0' ? digits.bytes[1] | 0x20 : 0;
    int64_t named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (named && (*base == 0 || *base == named)) {
        *base = named;
        return 2 + (digits.size > 2 && digits.bytes[2] == '_');
    }
    if (*base == 0)
        *base = 10;
    return 0;
}

bool text_edit_integer(struct run *run, struct text text, int64_t base, int64_t *out)
{
    text = text_strip(text, text_of(NULL, 0), true, true);
    bool negative = text.size && text.bytes[0] == '-', any_base = base == 0;
    size_t sign = text.size && (negative || text.bytes[0] == '+');
    struct text digits = text_of(text.bytes + sign, text.size - sign);
    size_t at = skip_prefix(digits, &base), begin = at;
    if (base < 2 || base > 36 || at >= digits.size)
        return false;
    int64_t value = 0;
    bool over = false;
    for (; at < digits.size; at++) {
        bool parted = digits.bytes[at] == '_' && at > begin && digits.bytes[at - 1] != '_' &&
                      at + 1 < digits.size;
        if (parted)
            continue;
        if (digit_of(digits.bytes[at]) >= base)
            return false;
        over = over || __builtin_mul_overflow(value, base, &value) ||
               __builtin_sub_overflow(value, digit_of(digits.bytes[at]), &value);
    }
    if (any_base && base == 10 && digits.bytes[0] == '0' && value != 0)
        return false; /* int("012", 0) */
    if (over || (!negative && value == INT64_MIN))
        run_fail(run, STATUS_INVALID, "an integer larger than 63 bits");
    *out = negative ? value : -value;
    return true;
}

bool text_edit_real(struct text text, double *out)
{
    char plain[400];
    size_t n = 0;
    text = text_strip(text, text_of(NULL, 0), true, true);
    if (!text.size || text.size >= sizeof plain)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.bytes[i];
        bool digits_beside = i > 0 && i + 1 < text.size && digit_of(text.bytes[i - 1]) < 10 &&
                             digit_of(text.bytes[i + 1]) < 10;
        if (c == '_' && digits_beside)
            continue;
        if (!c || !strchr("0123456789+-.eEinfatyINFATY", c))
            return false; /* also keeps strtod from hexadecimal */
        plain[n++] = c;
    }
    plain[n] = 0;
    char *end;
    *out = strtod(plain, &end);
    return *end == 0 && end != plain;
}
