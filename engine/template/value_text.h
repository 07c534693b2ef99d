/* Values as text, the way Python's str() and repr() write them. */
#ifndef MOERING_ENGINE_TEMPLATE_VALUE_TEXT_H
#define MOERING_ENGINE_TEMPLATE_VALUE_TEXT_H

#include "engine/template/value.h"
#include "engine/template/writer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* str(v) behind what `w` holds: an undefined value is empty, a text is itself. */
void value_write(struct writer *w, struct value v);
/* repr(v): a text in quotes. */
void value_write_repr(struct writer *w, struct value v);
/* str(v) as a text of the run (v's own text if it is one). */
struct text value_to_text(struct run *run, struct value v);
/* The shortest digits that read back as `real`, as Python writes them: 1.0, 1e+16, inf, nan. */
void value_write_real(struct writer *w, double real);
/* & < > ' " as MarkupSafe escapes them. */
void value_write_escaped(struct writer *w, struct text text);

#ifdef __cplusplus
}
#endif
#endif
