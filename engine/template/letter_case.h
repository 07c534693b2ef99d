/* Upper, lower and title case of texts by Unicode's full mappings (one letter may become three),
 * as Python's string methods apply them. */
#ifndef MOERING_ENGINE_TEMPLATE_LETTER_CASE_H
#define MOERING_ENGINE_TEMPLATE_LETTER_CASE_H

#include "engine/template/writer.h"

#ifdef __cplusplus
extern "C" {
#endif

struct text letter_case_upper(struct run *run, struct text text);
struct text letter_case_lower(struct run *run, struct text text);
/* str.capitalize: the first letter in title case, the others lower. */
struct text letter_case_capitalize(struct run *run, struct text text);
/* str.title: so the first of every run of cased letters. */
struct text letter_case_title(struct run *run, struct text text);
/* Jinja's filter `title`: the first letter upper and the others lower of what stands between
 * spaces and - ( { [ <. */
struct text letter_case_headline(struct run *run, struct text text);
/* str.isupper, str.islower. */
bool letter_case_is_upper(struct text text);
bool letter_case_is_lower(struct text text);

#ifdef __cplusplus
}
#endif
#endif
