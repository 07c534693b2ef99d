/* Running a template's tree. */
#ifndef MOERING_ENGINE_TEMPLATE_RENDER_H
#define MOERING_ENGINE_TEMPLATE_RENDER_H

#include "engine/template/node.h"
#include "engine/template/scope.h"
#include "engine/template/symbols.h"
#include "engine/template/writer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the parser made of a source. */
struct program {
    const struct node *body;
    struct symbols symbols;
    uint32_t loop; /* the number of the name `loop` */
};

struct render {
    struct run *run;
    const struct program *program;
    struct value *globals; /* by symbol: the request's variables, else functions, else undefined */
    struct text captured;  /* what a block has caught, for the first filter behind it */
};

/* What a statement does to the loop around it. */
enum flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE };

/* The whole text, in the arena of `run`. */
struct text render_program(struct run *run, const struct program *program, const json_t *variables);

/* One statement, or a body of them, behind what `out` holds (render.c). */
enum flow render_statement(struct render *r, struct scope *scope, const struct node *node,
                           struct writer *out);
/* One expression (evaluate.c). */
struct value evaluate(struct render *r, struct scope *scope, const struct node *node);

#ifdef __cplusplus
}
#endif
#endif
