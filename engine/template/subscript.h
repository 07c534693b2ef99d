/* What a value has inside: attributes, items, slices. */
#ifndef MOERING_ENGINE_TEMPLATE_SUBSCRIPT_H
#define MOERING_ENGINE_TEMPLATE_SUBSCRIPT_H

#include "engine/template/value.h"

#ifdef __cplusplus
extern "C" {
#endif

/* v.name: a method of v's kind comes before a key of the same name, as in Jinja. Undefined if
 * there is neither; fails the run only if v itself is undefined. */
struct value subscript_attribute(struct run *run, struct value v, struct text name);
/* v[key]: a key comes before a method. */
struct value subscript_item(struct run *run, struct value v, struct value key);
/* v[begin:end:step], any of them absent or none. Fails for what has no slices. */
struct value subscript_slice(struct run *run, struct value v, struct value begin, struct value end,
                             struct value step);
/* "a.b.0" step by step with subscript_item (what attribute= of filters means), or one integer. */
struct value subscript_path(struct run *run, struct value v, struct value path);

#ifdef __cplusplus
}
#endif
#endif
