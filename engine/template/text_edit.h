/* Cutting and joining texts: what string methods and filters share. Results lie in the arena or
 * in `text`. */
#ifndef MOERING_ENGINE_TEMPLATE_TEXT_EDIT_H
#define MOERING_ENGINE_TEMPLATE_TEXT_EDIT_H

#include "engine/template/value.h"
#include "engine/template/writer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* str.replace; max < 0: all. An empty `old` stands between all characters. */
struct text text_edit_replace(struct run *run, struct text text, struct text old,
                              struct text new_text, int64_t max);
/* str.split(separator, max) as texts; max < 0: no limit. An absent separator (bytes NULL): any
 * white space. */
struct list *text_edit_split(struct run *run, struct text text, struct text separator, int64_t max);
/* str.rsplit: counts `max` from the right. */
struct list *text_edit_split_right(struct run *run, struct text text, struct text separator,
                                   int64_t max);
/* str.splitlines. */
struct list *text_edit_lines(struct run *run, struct text text, bool keep_ends);
/* Non-overlapping places of `part`. */
int64_t text_edit_count(struct run *run, struct text text, struct text part);
bool text_edit_begins(struct text text, struct text part);
bool text_edit_ends(struct text text, struct text part);

/* int(text, base) and float(text); false: Python would raise ValueError. int fails the run past
 * 63 bits. */
bool text_edit_integer(struct run *run, struct text text, int64_t base, int64_t *out);
bool text_edit_real(struct text text, double *out);

#ifdef __cplusplus
}
#endif
#endif
