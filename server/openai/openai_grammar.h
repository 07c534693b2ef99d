/* Structured output as clients ask for it (response_format, structured_outputs) to a compiled
 * grammar.
 *
 * Reading names what is asked for and refuses what cannot be; compiling is apart and done
 * once: the choices of an answer share what came of it. What a schema may hold is the grammar's
 * business (engine/grammar/README.md): a keyword outside of it is refused by name. */
#ifndef MOERING_SERVER_OPENAI_OPENAI_GRAMMAR_H
#define MOERING_SERVER_OPENAI_OPENAI_GRAMMAR_H

#include "engine/grammar/grammar.h"
#include "server/openai/openai_field.h"

#ifdef __cplusplus
extern "C" {
#endif

enum openai_grammar_kind {
    OPENAI_GRAMMAR_NONE,
    OPENAI_GRAMMAR_OBJECT, /* any JSON object */
    OPENAI_GRAMMAR_SCHEMA,
    OPENAI_GRAMMAR_REGEX,
    OPENAI_GRAMMAR_CHOICE,
    OPENAI_GRAMMAR_GBNF
};

struct openai_grammar {
    enum openai_grammar_kind kind;
    const char *param;   /* which field asked for it */
    const json_t *value; /* schema, string or list of strings; borrowed from the body */
    json_t *parsed;      /* owned: a schema that came as a string, or was made */
    struct grammar *compiled; /* owned; NULL: not yet */
};

/* False: refused. Of response_format and structured_outputs at most one may ask for anything. */
bool openai_grammar_read(struct openai_grammar *out, const struct openai_fields *f);
/* The same for a schema that the server has made, which is taken over; `param`: the field it was
 * made of. */
void openai_grammar_take(struct openai_grammar *out, const char *param, json_t *schema);
/* *out stays NULL for NONE. False: refused. Compiled once; each further call gives the same to one
 * more holder. */
bool openai_grammar_compile(struct openai_grammar *g, struct grammar **out,
                            struct openai_refusal *refusal);
void openai_grammar_reset(struct openai_grammar *g); /* accepts a zeroed one */

#ifdef __cplusplus
}
#endif
#endif
