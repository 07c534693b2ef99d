/* A chain of short arrays: a template has some dozen names, a scope a handful. */
#include "engine/template/scope.h"

#include <string.h>

struct scope *scope_new(struct run *run, struct scope *outer)
{
    struct scope *scope = run_alloc(run, 1, sizeof *scope);
    *scope = (struct scope){.outer = outer, .bindings = NULL};
    return scope;
}

void scope_set(struct run *run, struct scope *scope, uint32_t symbol, struct value value)
{
    for (uint32_t i = 0; i < scope->count; i++) {
        if (scope->bindings[i].symbol == symbol) {
            scope->bindings[i].value = value;
            return;
        }
    }
    if (scope->count == scope->room) {
        uint32_t room = scope->room ? 2 * scope->room : 4;
        struct binding *bindings = run_alloc(run, room, sizeof *bindings);
        if (scope->count)
            memcpy(bindings, scope->bindings, scope->count * sizeof *bindings);
        scope->bindings = bindings;
        scope->room = room;
    }
    run_charge(run, 1 + scope->count / 8);
    scope->bindings[scope->count++] = (struct binding){symbol, value};
}

const struct value *scope_get(const struct scope *scope, uint32_t symbol)
{
    for (; scope; scope = scope->outer) {
        for (uint32_t i = 0; i < scope->count; i++) {
            if (scope->bindings[i].symbol == symbol)
                return &scope->bindings[i].value;
        }
    }
    return NULL;
}
