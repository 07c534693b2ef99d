/* Numbers and strings of a template's source. */
#ifndef MOERING_ENGINE_TEMPLATE_LEXER_LITERAL_H
#define MOERING_ENGINE_TEMPLATE_LEXER_LITERAL_H

#include "engine/template/run.h"
#include "engine/template/utf8.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Each looks at the beginning of `rest` and returns the bytes it took.
 * lexer_real: 0 if no real stands there (behind a dot there is none: a.1.5 is two subscripts). */
size_t lexer_real(struct text rest, bool behind_dot, double *real);
/* rest begins with a digit. Fails for more than 63 bits. */
size_t lexer_integer(struct run *run, struct text rest, int64_t *integer);
/* rest begins with a quote; Python's escapes, but for names of characters (\N). */
struct text lexer_string(struct run *run, struct text rest, size_t *size);

#ifdef __cplusplus
}
#endif
#endif
