/* One state for each thing that may come next. A number has no last byte of its own: the byte
 * behind it ends it and is then read as what follows a value. */
#include "server/openai/openai_scan.h"

#include <stdbool.h>
#include <string.h>

enum state {
    BEFORE,         /* the outermost brace */
    FIRST_NAME,     /* a name, or the end of an empty object */
    NEXT_NAME,      /* behind a comma */
    COLON,
    VALUE,
    FIRST_ITEM,     /* a value, or the end of an empty list */
    AFTER,          /* a comma, or the end of what is open */
    NAME, NAME_ESCAPE, NAME_HEX,
    STRING, STRING_ESCAPE, STRING_HEX,
    WORD,
    MINUS, ZERO, WHOLE, POINT, FRACTION, EXPONENT, EXPONENT_SIGN, EXPONENT_DIGITS
};

void openai_scan_init(struct openai_scan *s)
{
    *s = (struct openai_scan){.state = BEFORE};
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_hex(char byte)
{
    return is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

static bool in_list(const struct openai_scan *s)
{
    return s->lists[s->depth / 64] >> s->depth % 64 & 1;
}

static enum openai_scan_step open_one(struct openai_scan *s, bool list)
{
    if (s->depth + 1 >= OPENAI_SCAN_DEPTH_MAX)
        return OPENAI_SCAN_BROKEN;
    bool member = s->depth == 1;
    uint64_t bit = UINT64_C(1) << ++s->depth % 64;
    s->lists[s->depth / 64] = list ? s->lists[s->depth / 64] | bit : s->lists[s->depth / 64] & ~bit;
    s->state = list ? FIRST_ITEM : FIRST_NAME;
    return member ? OPENAI_SCAN_VALUE_BEGINS : OPENAI_SCAN_MORE;
}

static enum openai_scan_step close_one(struct openai_scan *s)
{
    s->depth--;
    s->state = AFTER;
    return s->depth == 0   ? OPENAI_SCAN_ENDS
           : s->depth == 1 ? OPENAI_SCAN_VALUE_ENDS
                           : OPENAI_SCAN_MORE;
}

static enum openai_scan_step begin_value(struct openai_scan *s, char byte)
{
    if (byte == '{' || byte == '[')
        return open_one(s, byte == '[');
    s->word = byte == 't' ? "rue" : byte == 'f' ? "alse" : byte == 'n' ? "ull" : NULL;
    if (s->word)
        s->state = WORD;
    else if (byte == '"')
        s->state = STRING;
    else if (byte == '-')
        s->state = MINUS;
    else if (is_digit(byte))
        s->state = byte == '0' ? ZERO : WHOLE;
    else
        return OPENAI_SCAN_BROKEN;
    return s->depth == 1 ? OPENAI_SCAN_VALUE_BEGINS : OPENAI_SCAN_MORE;
}

/* Between values. */
static enum openai_scan_step push_structure(struct openai_scan *s, char byte)
{
    if (s->state == BEFORE)
        return byte == '{' ? open_one(s, false) : OPENAI_SCAN_BROKEN;
    if (is_space(byte))
        return OPENAI_SCAN_MORE;
    bool ends = byte == (in_list(s) ? ']' : '}');
    if (ends && (s->state == AFTER || s->state == FIRST_NAME || s->state == FIRST_ITEM))
        return close_one(s);
    switch (s->state) {
    case FIRST_NAME:
    case NEXT_NAME:
        if (byte != '"')
            return OPENAI_SCAN_BROKEN;
        s->state = NAME;
        return s->depth == 1 ? OPENAI_SCAN_NAME_BEGINS : OPENAI_SCAN_MORE;
    case COLON:
        s->state = VALUE;
        return byte == ':' ? OPENAI_SCAN_MORE : OPENAI_SCAN_BROKEN;
    case AFTER:
        s->state = in_list(s) ? VALUE : NEXT_NAME;
        return byte == ',' ? OPENAI_SCAN_MORE : OPENAI_SCAN_BROKEN;
    default:
        return begin_value(s, byte);
    }
}

/* In a string or a name: the states of a name are those of a string, moved. */
static enum openai_scan_step push_text(struct openai_scan *s, char byte)
{
    bool name = s->state < STRING;
    uint32_t base = name ? NAME : STRING, escape = base + 1, hex = base + 2;
    if (s->state == hex) {
        s->state = --s->digits ? hex : base;
        return is_hex(byte) ? OPENAI_SCAN_MORE : OPENAI_SCAN_BROKEN;
    }
    if (s->state == escape) {
        s->state = byte == 'u' ? hex : base;
        s->digits = 4;
        return byte && strchr("\"\\/bfnrtu", byte) ? OPENAI_SCAN_MORE : OPENAI_SCAN_BROKEN;
    }
    if (byte == '\\')
        s->state = escape;
    if (byte != '"')
        return (unsigned char)byte < 0x20 ? OPENAI_SCAN_BROKEN : OPENAI_SCAN_MORE;
    s->state = name ? COLON : AFTER;
    if (s->depth != 1)
        return OPENAI_SCAN_MORE;
    return name ? OPENAI_SCAN_NAME_ENDS : OPENAI_SCAN_VALUE_ENDS;
}

static enum openai_scan_step push_word(struct openai_scan *s, char byte)
{
    if (byte != *s->word)
        return OPENAI_SCAN_BROKEN;
    s->word++;
    s->state = *s->word ? WORD : AFTER;
    return OPENAI_SCAN_MORE;
}

static enum openai_scan_step push_number(struct openai_scan *s, char byte)
{
    bool complete = s->state == ZERO || s->state == WHOLE || s->state == FRACTION ||
                    s->state == EXPONENT_DIGITS;
    bool exponent = (byte == 'e' || byte == 'E') && complete && s->state != EXPONENT_DIGITS;
    if (exponent) {
        s->state = EXPONENT;
    } else if (byte == '.' && (s->state == ZERO || s->state == WHOLE)) {
        s->state = POINT;
    } else if ((byte == '+' || byte == '-') && s->state == EXPONENT) {
        s->state = EXPONENT_SIGN;
    } else if (is_digit(byte) && s->state != ZERO) {
        s->state = s->state == MINUS ? (byte == '0' ? ZERO : WHOLE)
                   : s->state == POINT ? FRACTION
                   : s->state == EXPONENT || s->state == EXPONENT_SIGN ? EXPONENT_DIGITS
                                                                       : s->state;
    } else if (complete) {
        s->state = AFTER;
        return push_structure(s, byte);
    } else {
        return OPENAI_SCAN_BROKEN;
    }
    return OPENAI_SCAN_MORE;
}

enum openai_scan_step openai_scan_push(struct openai_scan *s, char byte)
{
    if (s->state >= MINUS)
        return push_number(s, byte);
    if (s->state == WORD)
        return push_word(s, byte);
    return s->state >= NAME ? push_text(s, byte) : push_structure(s, byte);
}
