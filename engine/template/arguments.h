/* What a call hands over, and how it meets the parameters of what is called. */
#ifndef MOERING_ENGINE_TEMPLATE_ARGUMENTS_H
#define MOERING_ENGINE_TEMPLATE_ARGUMENTS_H

#include "engine/template/value.h"

#ifdef __cplusplus
extern "C" {
#endif

struct named_value {
    struct text name;
    struct value value;
};

struct arguments {
    const struct value *positional;
    const struct named_value *named;
    size_t positional_count, named_count;
};

/* Fills bound[i] for each of `parameters` ("name", ..., NULL); absent ones have kind
 * VALUE_ABSENT. Fails, naming `what`, for too many, unknown or doubled arguments and if one of
 * the first `required` is missing. */
void arguments_bind(struct run *run, const char *what, const struct arguments *arguments,
                    const char *const *parameters, size_t required, struct value *bound);
/* No arguments at all. */
void arguments_none(struct run *run, const char *what, const struct arguments *arguments);

/* An argument that must be an integer or bool (or is absent: fallback); a text; any value's
 * truth. */
int64_t argument_integer(struct run *run, const char *what, struct value v, int64_t fallback);
struct text argument_text(struct run *run, const char *what, struct value v);
bool argument_truth(struct value v, bool fallback);

#ifdef __cplusplus
}
#endif
#endif
