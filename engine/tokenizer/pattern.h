/* What a tokenizer file may search a text for: a literal string or a regular expression.
 *
 * The expressions are written for Oniguruma's Ruby syntax; PCRE2 runs them. Where the two languages
 * read the same characters differently, the expression is rewritten, or refused when no rewriting
 * is exact (README.md, rule 4). PCRE2 is seen by pattern.c alone. */
#ifndef MOERING_ENGINE_TOKENIZER_PATTERN_H
#define MOERING_ENGINE_TOKENIZER_PATTERN_H

#include "engine/tokenizer/text.h"

#ifdef __cplusplus
extern "C" {
#endif

struct pattern {
    void *code;    /* compiled expression; NULL for a literal */
    char *literal; /* [literal_bytes]; NULL for an expression */
    size_t literal_bytes;
};

/* What one call of one thread needs while matching. Zero-initialise; reset frees. */
struct pattern_scratch {
    void *match_context, *match_data, *jit_stack;
};

/* INVALID: not an expression; UNSUPPORTED: one whose meaning cannot be kept; NO_MEMORY. The error
 * is a clause without the name of the field ("has a character class inside another ..."). */
enum status pattern_open_regex(struct pattern *pattern, const char *regex, size_t bytes,
                               struct error *error);
/* `literal` is not empty. NO_MEMORY. */
enum status pattern_open_literal(struct pattern *pattern, const char *literal, size_t bytes);
void pattern_close(struct pattern *pattern);

/* Appends the span of every find, left to right, without overlap. An empty find counts unless it
 * touches the end of the find before it. `text` is valid UTF-8 and is all that the expression sees.
 * INVALID: the expression needs more steps than the text's length allows; NO_MEMORY. */
enum status pattern_find_all(const struct pattern *pattern, struct pattern_scratch *scratch,
                             const char *text, size_t bytes, struct span_list *finds,
                             struct error *error);
void pattern_scratch_reset(struct pattern_scratch *scratch);

/* Rewrites an Oniguruma expression for PCRE2 into `out`. Errors as pattern_open_regex. */
enum status pattern_translate(const char *regex, size_t bytes, struct text *out,
                              struct error *error);

#ifdef __cplusplus
}
#endif
#endif
