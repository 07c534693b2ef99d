/* The tree that a template is compiled to: what the parser makes and the renderer walks.
 * Read-only after the parse, in the template's arena; it points at nothing outside. */
#ifndef MOERING_ENGINE_TEMPLATE_NODE_H
#define MOERING_ENGINE_TEMPLATE_NODE_H

#include "engine/template/value.h"

#ifdef __cplusplus
extern "C" {
#endif

enum node_kind {
    /* expressions */
    NODE_CONSTANT,  /* constant */
    NODE_NAME,      /* symbol */
    NODE_LIST,      /* items */
    NODE_TUPLE,     /* items; as a target too */
    NODE_DICT,      /* items: key, value, key, value ... */
    NODE_ATTRIBUTE, /* left . name */
    NODE_ITEM,      /* left [ right ] */
    NODE_SLICE,     /* left [ items: begin, end, step, each may be NULL ] */
    NODE_CALL,      /* left ( arguments ) */
    NODE_FILTER,    /* left | filter ( arguments ) */
    NODE_TEST,      /* left is test ( arguments ) */
    NODE_NOT,       /* left */
    NODE_NEGATE,
    NODE_POSITIVE,
    NODE_AND, /* left, right */
    NODE_OR,
    NODE_BINARY,  /* left operator right */
    NODE_CONCAT,  /* items joined by ~ */
    NODE_COMPARE, /* items[0] operators[0] items[1] operators[1] ... */
    NODE_CHOICE,  /* left if condition else right (NULL: undefined) */
    NODE_NO_FILTER, /* left, through a filter `name` that is outside the subset */
    NODE_NO_TEST,
    NODE_CAPTURED, /* the text that a filter block or a set block has caught */
    /* targets of `set` */
    NODE_MEMBER, /* symbol . name */
    /* statements */
    NODE_TEXT,         /* constant */
    NODE_PRINT,        /* left */
    NODE_IF,           /* items: condition, body, condition, body ...; right: else, or NULL */
    NODE_FOR,          /* target in left, condition or NULL; body; right: else, or NULL */
    NODE_SET,          /* target = left */
    NODE_SET_BLOCK,    /* target = body, through the filters of left (NULL: none) */
    NODE_FILTER_BLOCK, /* body through left */
    NODE_MACRO,        /* symbol; parameters, items: their defaults or NULL; body */
    NODE_SCOPE,        /* body, with names of its own */
    NODE_DO,           /* left */
    NODE_BREAK,
    NODE_CONTINUE,
    NODE_BODY, /* items, one after the other */
};

enum node_operator {
    OPERATOR_ADD,
    OPERATOR_SUBTRACT,
    OPERATOR_MULTIPLY,
    OPERATOR_DIVIDE,
    OPERATOR_FLOOR_DIVIDE,
    OPERATOR_REMAINDER,
    OPERATOR_POWER,
    OPERATOR_EQUAL,
    OPERATOR_NOT_EQUAL,
    OPERATOR_LESS,
    OPERATOR_LESS_EQUAL,
    OPERATOR_GREATER,
    OPERATOR_GREATER_EQUAL,
    OPERATOR_IN,
    OPERATOR_NOT_IN,
};

struct filter; /* filters.h */
struct check;  /* checks.h */

struct named_node {
    struct text name;
    struct node *node;
};

struct node_arguments {
    struct node **positional;
    struct named_node *named;
    uint32_t positional_count, named_count;
};

struct node {
    enum node_kind kind;
    uint32_t line;
    uint32_t symbol;
    uint32_t count;                   /* of items */
    enum node_operator operation;
    struct node *left, *right;
    struct node *condition;
    struct node *target, *body;
    struct node **items;
    struct node_arguments *arguments; /* NULL: none were written */
    union {
        enum node_operator *operators;
        uint32_t *parameters;         /* symbols, count of them */
        const struct filter *filter;
        const struct check *test;
        struct text name;
        struct value constant;
    };
};

#ifdef __cplusplus
}
#endif
#endif
