/* What stands behind `is` (Jinja calls it a test; here that word is taken). */
#ifndef MOERING_ENGINE_TEMPLATE_CHECKS_H
#define MOERING_ENGINE_TEMPLATE_CHECKS_H

#include "engine/template/arguments.h"

#ifdef __cplusplus
extern "C" {
#endif

struct check {
    const char *name;
    bool (*holds)(struct run *run, struct value v, struct value other);
    bool binary; /* `other` is its one argument */
};

/* NULL: outside the subset. */
const struct check *check_find(struct text name);
bool check_holds(struct run *run, const struct check *check, struct value v,
                 const struct arguments *arguments);

#ifdef __cplusplus
}
#endif
#endif
