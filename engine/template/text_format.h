/* str.format with plain fields: {} {0} {name} {{ }}, and !s and !r. */
#ifndef MOERING_ENGINE_TEMPLATE_TEXT_FORMAT_H
#define MOERING_ENGINE_TEMPLATE_TEXT_FORMAT_H

#include "engine/template/arguments.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fails the run for a format that is not well formed, for a field without argument, and for
 * specifications ({:>4}) and subscripts ({a.b}), which are outside the subset. */
struct text text_format(struct run *run, struct text format, const struct arguments *arguments);

#ifdef __cplusplus
}
#endif
#endif
