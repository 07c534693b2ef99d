/* The functions that every template has: range, dict, namespace, raise_exception, strftime_now. */
#ifndef MOERING_ENGINE_TEMPLATE_FUNCTIONS_H
#define MOERING_ENGINE_TEMPLATE_FUNCTIONS_H

#include "engine/template/arguments.h"

#ifdef __cplusplus
extern "C" {
#endif

struct function {
    const char *name;
    struct value (*call)(struct run *run, const struct arguments *arguments);
};

/* NULL: there is none of that name. */
const struct function *function_find(struct text name);

#ifdef __cplusplus
}
#endif
#endif
