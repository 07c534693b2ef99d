/* Operators on values, as Python has them. */
#ifndef MOERING_ENGINE_TEMPLATE_ARITHMETIC_H
#define MOERING_ENGINE_TEMPLATE_ARITHMETIC_H

#include "engine/template/node.h"

#ifdef __cplusplus
extern "C" {
#endif

/* + - * / // % **. Integers are of 64 bits: more fails the run. */
struct value arithmetic_apply(struct run *run, enum node_operator operation, struct value a,
                              struct value b);
/* == != < <= > >= in, not in. */
bool arithmetic_compare(struct run *run, enum node_operator operation, struct value a,
                        struct value b);
struct value arithmetic_negate(struct run *run, struct value v);
struct value arithmetic_positive(struct run *run, struct value v);

#ifdef __cplusplus
}
#endif
#endif
