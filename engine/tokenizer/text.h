/* The text that flows through one encode call: bytes, and the spans they are cut into.
 *
 * Owns two growable arrays that keep their room from one use to the next, and the few questions
 * about UTF-8 and Unicode that more than one stage asks. Text is always valid UTF-8 here: the
 * entrance (tokenizer_encode) has checked it, and every stage keeps it so. Offsets are 32 bits
 * wide, so a text is smaller than 4 GiB whatever its stages add. */
#ifndef MOERING_ENGINE_TOKENIZER_TEXT_H
#define MOERING_ENGINE_TOKENIZER_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes [begin, end) of a text. */
struct span {
    uint32_t begin, end;
    bool matched; /* a pattern found it; false for what lies between two finds */
};

struct span_list {
    struct span *at;
    uint32_t count;
    uint32_t capacity;
};

struct text {
    char *data; /* not NUL-terminated */
    size_t bytes;
    size_t capacity;
    size_t bytes_max; /* growing beyond answers FULL; 0 means the 4 GiB of an offset */
    struct span_list spans;
};

/* Zero-initialise both; reset frees and zeroes. */
void text_reset(struct text *text);
void span_list_reset(struct span_list *list);

/* OK, NO_MEMORY, or FULL beyond bytes_max. Unchanged on failure. */
enum status text_append(struct text *text, const char *data, size_t bytes);
/* Makes the room that `bytes` more will need. Errors as text_append. */
enum status text_reserve(struct text *text, size_t bytes);
/* OK or NO_MEMORY. */
enum status span_list_push(struct span_list *list, size_t begin, size_t end, bool matched);

/* The number of leading bytes that are well-formed UTF-8; `bytes` when all are. */
size_t text_valid_bytes(const char *data, size_t bytes);
/* The character at `data`, which is valid UTF-8 and not empty; `*length` gets its bytes. */
uint32_t text_char(const char *data, unsigned *length);
/* Where the last character of the non-empty valid text [data, data + bytes) begins. */
size_t text_last_char(const char *data, size_t bytes);
/* Writes 1 to 4 bytes, returns how many. `c` is a Unicode scalar value. */
unsigned text_put_char(char *out, uint32_t c);

/* The White_Space property. */
bool text_is_space(uint32_t c);
/* General category N*: digits, letter numbers, other numbers. */
bool text_is_number(uint32_t c);
/* ASCII punctuation or general category P*. */
bool text_is_punctuation(uint32_t c);
/* Letters, marks, decimal digits, connectors and joiners: \w of Unicode's regex annex. */
bool text_is_word(uint32_t c);

#ifdef __cplusplus
}
#endif
#endif
