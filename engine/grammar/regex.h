/* Regular expressions in ECMAScript's syntax, as JSON Schema and clients write them, into rules.
 *
 * Known: alternatives, groups (capturing, named or not: they only group), classes, . \d \D \w \W \s
 * \S, escapes \t \n \v \f \r \0 \cX \xHH \uHHHH \u{H}, quantifiers * + ? {m} {m,} {m,n} (lazy ones
 * say nothing about which texts match), ^ and $ at the ends of the whole or of its alternatives.
 * Refused by name (UNSUPPORTED): look-around, back-references, \b, \B, \p, anchors elsewhere. */
#ifndef MOERING_ENGINE_GRAMMAR_REGEX_H
#define MOERING_ENGINE_GRAMMAR_REGEX_H

#include "engine/grammar/rules.h"

#ifdef __cplusplus
extern "C" {
#endif

enum regex_use {
    REGEX_WHOLE_TEXT,  /* the text matches from its beginning to its end */
    REGEX_JSON_SEARCH, /* some part of a JSON string's value matches; up to and with its closing
                          quote */
};

/* *out: an expression. INVALID: malformed, the sentence says at which byte. UNSUPPORTED. NO_MEMORY.
 */
enum status regex_read(struct rules *rules, const char *pattern, size_t bytes, enum regex_use use,
                       uint32_t *out, struct error *error);

#ifdef __cplusplus
}
#endif
#endif
