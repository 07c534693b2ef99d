/* A template's source cut into tokens, with Jinja's rules for white space already applied. */
#ifndef MOERING_ENGINE_TEMPLATE_LEXER_H
#define MOERING_ENGINE_TEMPLATE_LEXER_H

#include "engine/template/run.h"
#include "engine/template/utf8.h"

#ifdef __cplusplus
extern "C" {
#endif

enum token_kind {
    TOKEN_END, /* of the template */
    TOKEN_DATA,
    TOKEN_PRINT_BEGIN, /* {{ */
    TOKEN_PRINT_END,
    TOKEN_TAG_BEGIN, /* {% */
    TOKEN_TAG_END,
    TOKEN_NAME,
    TOKEN_TEXT,
    TOKEN_INTEGER,
    TOKEN_REAL,
    TOKEN_OPERATOR, /* text: itself */
};

struct token {
    enum token_kind kind;
    uint32_t line;
    struct text text; /* of a literal: its value, escapes resolved */
    union {
        int64_t integer;
        double real;
    };
};

struct token_list {
    struct token *tokens; /* the last is TOKEN_END */
    size_t count, room;
};

/* All in the arena of `run`, and nothing of it points into `source`. Fails with INVALID, at its
 * line. */
struct token_list lexer_read(struct run *run, struct text source);

#ifdef __cplusplus
}
#endif
#endif
