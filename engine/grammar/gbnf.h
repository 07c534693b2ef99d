/* Rules in GBNF's notation, the grammar format of GGML's programs, into rules.
 *
 *     root  ::= "yes" | "no" [.!]? other{2,3}   # comment
 *
 * A name is letters, digits and hyphens. A rule ends where the next begins. Literals "..." and
 * classes [a-z], [^...] know the escapes \n \r \t \\ \" \[ \] \^ \- \xHH \uHHHH \UHHHHHHHH; `.` is
 * any character; groups ( ), repetitions * + ? {m} {m,} {m,n}; an empty alternative is the empty
 * text. */
#ifndef MOERING_ENGINE_GRAMMAR_GBNF_H
#define MOERING_ENGINE_GRAMMAR_GBNF_H

#include "engine/grammar/rules.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *root: the number of the rule `root`. INVALID: malformed, with the line; a rule twice or never
 * defined; no root. NO_MEMORY: too large. */
enum status gbnf_read(struct rules *rules, const char *text, size_t bytes, uint32_t *root,
                      struct error *error);

#ifdef __cplusplus
}
#endif
#endif
