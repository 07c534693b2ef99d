/* From source to tree. */
#ifndef MOERING_ENGINE_TEMPLATE_PARSER_H
#define MOERING_ENGINE_TEMPLATE_PARSER_H

#include "engine/template/lexer.h"
#include "engine/template/node.h"
#include "engine/template/symbols.h"

#ifdef __cplusplus
extern "C" {
#endif

struct parser {
    struct run *run;
    const struct token *tokens; /* the next is tokens[0]; the last is TOKEN_END */
    struct symbols symbols;
    uint32_t loops;             /* around the present statement, in the same macro */
    bool soft;                  /* inside an `if`: what is unknown fails only when reached */
    const struct node *missing; /* the first one elsewhere; NULL: none */
};

/* The body of a template. Fails the run with INVALID (syntax) or UNSUPPORTED (outside the
 * subset). */
struct node *parser_read(struct parser *parser, struct run *run, struct text source);

/* An unknown filter ("the filter") or test fails at open unless a condition guards it, as in
 * Jinja: templates of the wild name filters of other interpreters behind conditions that ask for
 * other input.
 *
 * For the two files of the parser. The present token, of whose line the run is told. */
const struct token *parser_peek(struct parser *parser);
const struct token *parser_next(struct parser *parser);
bool parser_at(struct parser *parser, enum token_kind kind, const char *text);
bool parser_skip(struct parser *parser, enum token_kind kind, const char *text);
void parser_expect(struct parser *parser, enum token_kind kind, const char *text);
__attribute__((noreturn)) void parser_unexpected(struct parser *parser, const char *wanted);
struct text parser_name(struct parser *parser);
struct node *parser_node(struct parser *parser, enum node_kind kind);

/* A growing array of nodes. */
struct node_list {
    struct node **nodes;
    uint32_t count, room;
};
void node_list_add(struct run *run, struct node_list *list, struct node *node);

/* Expressions (parse_expression.c). A tuple needs no brackets; where `choice` is false a
 * conditional expression would be ambiguous and is not read. */
struct node *parse_expression(struct parser *parser);
struct node *parse_tuple(struct parser *parser, bool choice);
/* `name`, `a, b`, `(a, (b, c))`; with `member` also `name.attribute`. */
struct node *parse_target(struct parser *parser, bool member);
/* Filters behind `input` (NULL if there is none: then one must follow where `first` is set,
 * without its |). */
struct node *parse_filters(struct parser *parser, struct node *input, bool first);

#ifdef __cplusplus
}
#endif
#endif
