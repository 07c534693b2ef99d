/* An automaton over bytes with a stack: what every grammar becomes.
 *
 * A node either takes one byte, or takes none and goes on somewhere, or calls: puts the node to
 * come back to on the stack and enters another. Non-deterministic: whoever runs it holds a set of
 * threads (threads.h). Rules that do not recur and are small are laid out where they are used, so
 * the stack is for recursion and for large parts used more than once.
 *
 * Immutable after automaton_open, which guarantees that (a) from every node that can be reached
 * some text leads to the end, so no thread is ever stuck, and (b) no node comes back to itself
 * through a call without taking a byte, so following nodes ends. */
#ifndef MOERING_ENGINE_GRAMMAR_AUTOMATON_H
#define MOERING_ENGINE_GRAMMAR_AUTOMATON_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/grammar/rules.h"
#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define AUTOMATON_NODES_MAX (1u << 18)
#define AUTOMATON_EDGES_MAX (1u << 20)
#define AUTOMATON_STRING_MAX (1u << 26) /* longest JSON string that is counted */

enum automaton_kind {
    AUTOMATON_RETURN, /* the end of a rule: go on where the stack says */
    AUTOMATON_EDGES,  /* take a byte: edges[a .. a+b), in order and disjoint; 0: dead */
    AUTOMATON_SPLIT,  /* go on at a and at b */
    AUTOMATON_CALL,   /* enter a and come back to b */
    AUTOMATON_STRING, /* the rest of a JSON string by strings[a], then b */
};

struct automaton_node {
    uint32_t kind, a, b;
};

struct automaton_edge {
    uint32_t to;
    uint8_t first, last;
};

struct automaton_string {
    uint32_t min, max; /* max RULES_ENDLESS: no bound */
};

struct automaton {
    struct automaton_node *nodes; /* the first is the only RETURN */
    uint32_t node_count, node_capacity;
    struct automaton_edge *edges;
    uint32_t edge_count, edge_capacity;
    struct automaton_string *strings;
    uint32_t string_count, string_capacity;
    uint32_t root;         /* the node at which a text begins */
    uint8_t class_of[256]; /* bytes of one class are treated alike everywhere */
    uint32_t class_count;  /* 1 .. 256 */
};

/* INVALID: a rule is not defined, left-recursive, or no text matches. NO_MEMORY, also when the
 * automaton would grow beyond its bounds. The rules may go afterwards. */
enum status automaton_open(struct automaton **out, const struct rules *rules, uint32_t root,
                           struct error *error);
void automaton_close(struct automaton *automaton); /* accepts NULL */

/* The steps of automaton_open, in their files.
 * automaton_compile.c: nodes and edges; entries[rule]: its first node or UINT32_MAX, for sentences.
 */
enum status automaton_compile(struct automaton *automaton, const struct rules *rules, uint32_t root,
                              uint32_t *entries, struct error *error);
/* automaton_class.c: a node that takes one character of the ranges and goes on at `next`;
 * UINT32_MAX: no room. */
uint32_t automaton_class(struct automaton *automaton, const struct character_range *ranges,
                         uint32_t count, uint32_t next);
/* automaton_check.c: cuts off what leads nowhere; then (a) and (b) above hold or it is refused. */
enum status automaton_check(struct automaton *automaton, const struct rules *rules,
                            const uint32_t *entries, struct error *error);

/* Adds a node, or edges of one node; UINT32_MAX: no room. */
uint32_t automaton_add(struct automaton *automaton, enum automaton_kind kind, uint32_t a,
                       uint32_t b);
uint32_t automaton_add_edges(struct automaton *automaton, const struct automaton_edge *edges,
                             uint32_t count);

#ifdef __cplusplus
}
#endif
#endif
