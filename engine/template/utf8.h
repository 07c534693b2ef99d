/* Texts as bytes, counted in characters: templates index and slice as Python does, by code point.
 *
 * A text is UTF-8 (templates are checked at open, JSON by its parser); a stray byte in one is a
 * character of its own, never an overread. Pure functions; none allocates. */
#ifndef MOERING_ENGINE_TEMPLATE_UTF8_H
#define MOERING_ENGINE_TEMPLATE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct text {
    const char *bytes;
    size_t size;
};

static inline struct text text_of(const char *bytes, size_t size)
{
    struct text text = {bytes, size};
    return text;
}

bool text_is(struct text a, const char *word);
bool text_equal(struct text a, struct text b);
/* < 0, 0, > 0: the order of code points, which is that of UTF-8 bytes. */
int text_order(struct text a, struct text b);
/* Where `part` begins in `whole` at or behind byte `from`; SIZE_MAX: nowhere. */
size_t text_find(struct text whole, struct text part, size_t from);
size_t text_find_last(struct text whole, struct text part);

bool utf8_valid(struct text text);
/* The character at *at, which moves behind it; *at < end. */
uint32_t utf8_next(const char **at, const char *end);
/* Bytes written, 1 to 4. */
size_t utf8_encode(uint32_t c, char *out);
/* Characters in a text. */
size_t utf8_count(struct text text);
/* The byte at which character `index` begins, or the text's size. */
size_t utf8_offset(struct text text, size_t index);
/* Bytes of the character that begins at byte `at` (< size). */
size_t utf8_width(struct text text, size_t at);

/* str.isspace, str.isalpha, str.isdigit, (roughly) str.isnumeric and str.isprintable for one
 * character. */
bool utf8_is_space(uint32_t c);
bool utf8_is_letter(uint32_t c);
bool utf8_is_digit(uint32_t c);
bool utf8_is_number(uint32_t c);
bool utf8_is_printable(uint32_t c);

/* Without the characters of `chars` (white space if chars.bytes is NULL) at its ends. */
struct text text_strip(struct text text, struct text chars, bool left, bool right);

#ifdef __cplusplus
}
#endif
#endif
