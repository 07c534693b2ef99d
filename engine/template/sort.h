/* A stable sort whose comparison may fail the run. */
#ifndef MOERING_ENGINE_TEMPLATE_SORT_H
#define MOERING_ENGINE_TEMPLATE_SORT_H

#include "engine/template/value.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef int sort_compare(struct run *run, const struct value *a, const struct value *b,
                         void *context);

/* order[0 .. count): the indices of `keys`, smallest first (greatest first with `reverse`; equal
 * ones stay in their order either way). */
void sort_order(struct run *run, const struct value *keys, size_t count, bool reverse,
                sort_compare *compare, void *context, uint32_t *order);

#ifdef __cplusplus
}
#endif
#endif
