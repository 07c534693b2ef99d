/* Rules of a grammar as they were written, before they become an automaton.
 *
 * Schemas, regular expressions, choices and GBNF all build this one form: a few kinds of
 * expressions over characters, in flat arrays, named by number. Owns its arrays. Nothing is checked
 * here but room: building functions never fail by themselves, they give RULES_NOTHING and remember
 * the failure in `status`, so that a parser asks once, at its end. One thread. */
#ifndef MOERING_ENGINE_GRAMMAR_RULES_H
#define MOERING_ENGINE_GRAMMAR_RULES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/grammar/characters.h"
#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RULES_ENDLESS UINT32_MAX /* no upper bound of a repetition */
#define RULES_EXPRESSIONS_MAX (1u << 18)
#define RULES_BYTES_MAX (1u << 22) /* of literals */
#define RULES_COUNT_MAX (1u << 14) /* rules */

enum expression_kind {
    EXPRESSION_NOTHING,     /* no text at all */
    EXPRESSION_LITERAL,     /* bytes[a .. a+b); b may be 0 */
    EXPRESSION_CLASS,       /* one character of ranges[a .. a+b) */
    EXPRESSION_SEQUENCE,    /* children[a .. a+b), one after the other */
    EXPRESSION_CHOICE,      /* one of children[a .. a+b) */
    EXPRESSION_REPEAT,      /* expression a, b to c times */
    EXPRESSION_REFERENCE,   /* rule a */
    EXPRESSION_JSON_STRING, /* the rest of a JSON string behind b to c characters, and its quote */
    EXPRESSION_MEMBERS,     /* children[a..]: open, separator, close, empty, more, then b pairs
                               of item and optional; see rules_list */
    EXPRESSION_ELEMENTS,    /* children[a..]: the same five, min, max, then b items */
};

struct expression {
    enum expression_kind kind;
    uint32_t a, b, c;
};

struct rules_rule {
    char *name; /* owned; for error sentences */
    uint32_t expression;
    bool defined;
};

struct rules {
    struct expression *expressions;
    uint32_t expression_count, expression_capacity;
    uint32_t *children;
    uint32_t child_count, child_capacity;
    uint8_t *bytes;
    uint32_t byte_count, byte_capacity;
    struct character_range *ranges;
    uint32_t range_count, range_capacity;
    struct rules_rule *rules;
    uint32_t rule_count, rule_capacity;
    enum status status; /* of the first thing that found no room */
};

#define RULES_NOTHING 0u /* the expression that matches no text; there from the start */

/* `status` is NO_MEMORY if even the first expression found no room. */
void rules_open(struct rules *rules);
void rules_close(struct rules *rules); /* accepts NULL and zeroed */

/* Numbers of expressions. */
uint32_t rules_literal(struct rules *rules, const void *bytes, size_t count);
uint32_t rules_text(struct rules *rules, const char *text); /* a literal of a C string */
uint32_t rules_class(struct rules *rules, const struct characters *set);
uint32_t rules_sequence(struct rules *rules, const uint32_t *items, uint32_t count);
uint32_t rules_choice(struct rules *rules, const uint32_t *items, uint32_t count);
/* max RULES_ENDLESS: no bound. min <= max. */
uint32_t rules_repeat(struct rules *rules, uint32_t item, uint32_t min, uint32_t max);
uint32_t rules_optional(struct rules *rules, uint32_t item);
uint32_t rules_reference(struct rules *rules, uint32_t rule);
/* Characters of a JSON string up to and including the quote that ends it. */
uint32_t rules_json_string(struct rules *rules, uint32_t min, uint32_t max);

/* A JSON array or object: open, items with separators between them, close; or `empty` if it may be.
 */
struct rules_list {
    uint32_t open, separator, close, empty;
    const uint32_t *items;
    const bool *optional; /* [count] of members: may be left out, each for itself */
    uint32_t count;
    uint32_t min;  /* of elements: at least so many */
    uint32_t more; /* of elements: an item that may follow the others, or RULES_NOTHING */
    uint32_t max;  /* of elements: at most so many; RULES_ENDLESS */
};
/* Items in order, those that are optional may be missing. `more` may follow, any number of times.
 */
uint32_t rules_members(struct rules *rules, const struct rules_list *list);
/* The first n items for some n from `min`, and then `more`; together at most `max`. */
uint32_t rules_elements(struct rules *rules, const struct rules_list *list);

/* Numbers of expressions that are being collected. Zero-initialise; reset frees. */
struct rules_items {
    uint32_t *items;
    uint32_t count, capacity;
};
void rules_items_add(struct rules_items *items, struct rules *rules, uint32_t expression);
void rules_items_reset(struct rules_items *items);

/* A new rule, not yet defined; its number. `bytes` of `name` are copied. */
uint32_t rules_add(struct rules *rules, const char *name, size_t bytes);
void rules_define(struct rules *rules, uint32_t rule, uint32_t expression);

#ifdef __cplusplus
}
#endif
#endif
