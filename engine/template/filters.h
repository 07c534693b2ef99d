/* Filters: value | name(arguments). */
#ifndef MOERING_ENGINE_TEMPLATE_FILTERS_H
#define MOERING_ENGINE_TEMPLATE_FILTERS_H

#include "engine/template/arguments.h"

#ifdef __cplusplus
extern "C" {
#endif

struct filter {
    const char *name;
    struct value (*apply)(struct run *run, struct value input, const struct arguments *arguments);
};

/* NULL: outside the subset. */
const struct filter *filter_find(struct text name);

/* The tables that filter_find looks into, each up to one whose name is NULL. */
const struct filter *filters_of_text(void);
const struct filter *filters_of_number(void);
const struct filter *filters_of_sequence(void);
const struct filter *filters_of_selection(void);

#ifdef __cplusplus
}
#endif
#endif
