/* Names and what they stand for while a template runs, and what closes over them. */
#ifndef MOERING_ENGINE_TEMPLATE_SCOPE_H
#define MOERING_ENGINE_TEMPLATE_SCOPE_H

#include "engine/template/value.h"

#ifdef __cplusplus
extern "C" {
#endif

struct node;

struct binding {
    uint32_t symbol;
    struct value value;
};

/* The template's body, each loop, macro call and caught block has one; an `if` has none. In the
 * arena, so that a macro may keep the scope it was defined in. */
struct scope {
    struct scope *outer; /* NULL: behind it are the request's variables */
    struct binding *bindings;
    uint32_t count, room;
};

struct macro {
    struct text name;
    const struct node *definition;
    struct scope *scope; /* where it was defined */
};

/* A loop that runs: what `loop` stands for inside. */
struct loop {
    const struct list *items;
    size_t index;
    struct value changed; /* what loop.changed() saw last; absent: nothing yet */
};

struct scope *scope_new(struct run *run, struct scope *outer);
/* In this scope, whatever the outer ones have. */
void scope_set(struct run *run, struct scope *scope, uint32_t symbol, struct value value);
/* The innermost binding, NULL: none. */
const struct value *scope_get(const struct scope *scope, uint32_t symbol);

#ifdef __cplusplus
}
#endif
#endif
