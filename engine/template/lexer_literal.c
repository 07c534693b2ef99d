/* Literals as Python writes them: digits may be parted by single underscores, integers have bases
 * 2, 8, 10 and 16, strings either kind of quote and escapes. */
#include "engine/template/lexer_literal.h"

#include <stdlib.h>
#include <string.h>

#include "engine/template/writer.h"

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
}

static bool digit_at(struct text text, size_t at, int base)
{
    return at < text.size && digit_of(text.bytes[at]) < base;
}

/* Behind the digits of `base` at `at`, single underscores between them. */
static size_t skip_digits(struct text text, size_t at, int base)
{
    while (digit_at(text, at, base) ||
           (at < text.size && text.bytes[at] == '_' && digit_at(text, at + 1, base)))
        at++;
    return at;
}

size_t lexer_real(struct text rest, bool behind_dot, double *real)
{
    size_t end = skip_digits(rest, 0, 10);
    bool is_real = false;
    if (behind_dot)
        return 0;
    if (end < rest.size && rest.bytes[end] == '.' && digit_at(rest, end + 1, 10)) {
        end = skip_digits(rest, end + 1, 10);
        is_real = true;
    }
    if (end < rest.size && (rest.bytes[end] == 'e' || rest.bytes[end] == 'E')) {
        size_t digits = end + 1;
        digits += digits < rest.size && (rest.bytes[digits] == '+' || rest.bytes[digits] == '-');
        if (digit_at(rest, digits, 10)) {
            end = skip_digits(rest, digits, 10);
            is_real = true;
        }
    }
    if (!is_real)
        return 0;
    char plain[400]; /* more digits than that change no double */
    size_t n = 0;
    for (size_t i = 0; i < end; i++) {
        if (rest.bytes[i] != '_' && n < sizeof plain - 1)
            plain[n++] = rest.bytes[i];
    }
    plain[n] = 0;
    *real = strtod(plain, NULL);
    return end;
}

size_t lexer_integer(struct run *run, struct text rest, int64_t *integer)
{
    char letter = rest.size > 1 && rest.bytes[0] == '0' ? rest.bytes[1] | 0x20 : 0;
    int base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 10;
    size_t at = base == 10 ? 0 : 2;
    size_t first = at + (base != 10 && at < rest.size && rest.bytes[at] == '_');
    if (!digit_at(rest, first, base)) { /* "0x" without digits: a zero and a name */
        base = 10;
        at = first = 0;
    }
    size_t end = skip_digits(rest, first, base);
    if (base == 10 && rest.bytes[0] == '0') { /* zeros only: 0123 is 0 and 123 */
        for (end = 1; end < rest.size; end++) {
            bool parted =
                rest.bytes[end] == '_' && end + 1 < rest.size && rest.bytes[end + 1] == '0';
            if (rest.bytes[end] != '0' && !parted)
                break;
        }
    }
    int64_t value = 0;
    for (; at < end; at++) {
        if (rest.bytes[at] == '_')
            continue;
        if (__builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, digit_of(rest.bytes[at]), &value))
            run_fail(run, STATUS_INVALID, "integer larger than 63 bits");
    }
    *integer = value;
    return end;
}

/* \xhh, \uhhhh, \Uhhhhhhhh with the digits at `at`. */
static size_t read_hex(struct writer *w, struct text text, size_t at, size_t digits)
{
    uint32_t c = 0;
    for (size_t i = 0; i < digits; i++) {
        if (!digit_at(text, at + i, 16))
            run_fail(w->run, STATUS_INVALID, "an escape of a string lacks digits");
        c = c << 4 | (uint32_t)digit_of(text.bytes[at + i]);
    }
    if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000))
        run_fail(w->run, STATUS_INVALID, "an escape of a string names no character");
    writer_point(w, c);
    return at + digits;
}

static size_t read_octal(struct writer *w, struct text text, size_t at)
{
    uint32_t c = 0;
    size_t end = at;
    for (; end < at + 3 && digit_at(text, end, 8); end++)
        c = c << 3 | (uint32_t)digit_of(text.bytes[end]);
    writer_point(w, c);
    return end;
}

/* The escape whose letter is at `at`; returns the byte behind it. */
static size_t read_escape(struct writer *w, struct text text, size_t at)
{
    static const char letters[] = "abfnrtv\\'\"", meant[] = "\a\b\f\n\r\t\v\\'\"";
    char c = text.bytes[at];
    const char *known = c ? strchr(letters, c) : NULL;
    if (known) {
        writer_bytes(w, &meant[known - letters], 1);
        return at + 1;
    }
    if (digit_of(c) < 8)
        return read_octal(w, text, at);
    switch (c) {
    case 'x': return read_hex(w, text, at + 1, 2);
    case 'u': return read_hex(w, text, at + 1, 4);
    case 'U': return read_hex(w, text, at + 1, 8);
    case '\n': return at + 1;
    case 'N': run_fail(w->run, STATUS_UNSUPPORTED, "the escape \\N in a string");
    default: writer_string(w, "\\"); return at; /* Python keeps what it does not know */
    }
}

struct text lexer_string(struct run *run, struct text rest, size_t *size)
{
    struct writer w;
    size_t end = 1;
    while (end < rest.size && rest.bytes[end] != rest.bytes[0])
        end += rest.bytes[end] == '\\' ? 2 : 1;
    if (end >= rest.size)
        run_fail(run, STATUS_INVALID, "a string has no end");
    struct text inside = text_of(rest.bytes, end);
    writer_init(&w, run);
    for (size_t at = 1; at < inside.size;) {
        size_t plain = at;
        while (at < inside.size && inside.bytes[at] != '\\')
            at++;
        writer_bytes(&w, inside.bytes + plain, at - plain);
        if (at < inside.size)
            at = read_escape(&w, inside, at + 1);
    }
    *size = end + 1;
    return writer_view(&w);
}
