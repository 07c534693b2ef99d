/* Methods of strings, mappings, lists and loops. */
#ifndef MOERING_ENGINE_TEMPLATE_METHODS_H
#define MOERING_ENGINE_TEMPLATE_METHODS_H

#include "engine/template/arguments.h"

#ifdef __cplusplus
extern "C" {
#endif

struct method_rule {
    const char *name;
    /* NULL: Python has it, the subset has not. */
    struct value (*call)(struct run *run, struct value self, const struct arguments *arguments);
    bool hidden; /* it would change its object: undefined, as in Jinja's immutable sandbox */
};

struct method {
    const struct method_rule *rule;
    struct value self;
};

/* False: values of this kind have no such method. Else *out is the method (or undefined: hidden).
 */
bool method_of(struct run *run, struct value self, struct text name, struct value *out);
struct value method_call(struct run *run, const struct method *method,
                         const struct arguments *arguments);

/* The rules of strings, up to one whose name is NULL (methods_text.c). */
const struct method_rule *methods_of_text(void);

#ifdef __cplusplus
}
#endif
#endif
