/* What may stand inside a JSON string, byte by byte: UTF-8 without control characters, and escapes,
 * of which surrogates must come in pairs (RFC 8259; a lone one is no character). One character of
 * the value counts as one, however it is written. Pure. */
#ifndef MOERING_ENGINE_GRAMMAR_JSON_STRING_H
#define MOERING_ENGINE_GRAMMAR_JSON_STRING_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum json_string_state {
    JSON_STRING_BETWEEN, /* between two characters: the only state where the string may end */
    JSON_STRING_ESCAPE,  /* behind a backslash */
    JSON_STRING_HEX_4,   /* behind \u */
    JSON_STRING_HEX_3,   /* and so many hex digits are still to come */
    JSON_STRING_HEX_2,
    JSON_STRING_HEX_1,
    JSON_STRING_HEX_D,  /* behind \uD: 0-7 a character, 8-B the first half of a pair */
    JSON_STRING_HIGH_2, /* the last digits of a first half */
    JSON_STRING_HIGH_1,
    JSON_STRING_LOW_ESCAPE, /* the second half must follow: \uDC00 to \uDFFF */
    JSON_STRING_LOW_U,
    JSON_STRING_LOW_D,
    JSON_STRING_LOW_C,
    JSON_STRING_MORE_1, /* so many bytes of a character are still to come */
    JSON_STRING_MORE_2,
    JSON_STRING_MORE_3,
    JSON_STRING_MORE_2_LOW,  /* behind E0: A0-BF first, or it would be written too long */
    JSON_STRING_MORE_2_HIGH, /* behind ED: 80-9F first, or it would be a surrogate */
    JSON_STRING_MORE_3_LOW,  /* behind F0: 90-BF first */
    JSON_STRING_MORE_3_HIGH, /* behind F4: 80-8F first, nothing lies beyond 10FFFF */
    JSON_STRING_STATES,      /* how many there are */
    JSON_STRING_END = JSON_STRING_STATES, /* behind the closing quote */
    JSON_STRING_WRONG,
};

/* The state behind `byte`. A character is complete when this is BETWEEN. */
enum json_string_state json_string_step(enum json_string_state state, uint8_t byte);
/* Whether a character must be escaped: quote, backslash, control characters. */
bool json_string_is_escaped(uint32_t character);
/* Writes a character as it stands in a string, escaped only if it must be; 1 to 6 bytes. */
unsigned json_string_write(uint32_t character, uint8_t out[6]);

#ifdef __cplusplus
}
#endif
#endif
