/* JSON Schema into rules: the subset that README.md lists, everything else refused by keyword and
 * place. */
#ifndef MOERING_ENGINE_GRAMMAR_SCHEMA_H
#define MOERING_ENGINE_GRAMMAR_SCHEMA_H

#include <jansson.h>

#include "engine/grammar/rules.h"

#ifdef __cplusplus
extern "C" {
#endif

/* *root: a rule for texts that are values under `schema`, which is only read. INVALID: malformed or
 * contradictory; UNSUPPORTED: outside the subset; the sentence begins with the place
 * ("$.items.pattern"). NO_MEMORY. */
enum status schema_read(struct rules *rules, const json_t *schema, uint32_t *root,
                        struct error *error);

#ifdef __cplusplus
}
#endif
#endif
