/* JSON as this house lets it be written, in rules: what schemas are put together from.
 *
 * White space is what writers of JSON produce, so that no output is endless: none before a colon or
 * a comma and around the whole; none or one space behind a colon; behind an opening bracket or a
 * comma and before a closing bracket none, one space, or a new line indented by up to
 * JSON_RULES_INDENT spaces or half as many tabs. Numbers are within what a double and a 64-bit
 * integer hold: up to 18 digits before the point, 17 behind it, exponents of two digits. */
#ifndef MOERING_ENGINE_GRAMMAR_JSON_RULES_H
#define MOERING_ENGINE_GRAMMAR_JSON_RULES_H

#include <jansson.h>

#include "engine/grammar/rules.h"

#ifdef __cplusplus
extern "C" {
#endif

#define JSON_RULES_INDENT 40u

struct json_rules {
    struct rules *rules;
    uint32_t space; /* a rule: white space in brackets */
    uint32_t value; /* a rule: any value */
    uint32_t colon, open_object, close_object, open_array, close_array, comma; /* expressions */
};

/* Adds the rules. A failure shows in rules->status. */
void json_rules_open(struct json_rules *json, struct rules *rules);

/* Expressions. */
uint32_t json_rules_any(struct json_rules *json);
uint32_t json_rules_any_object(struct json_rules *json);
uint32_t json_rules_any_array(struct json_rules *json);
uint32_t json_rules_any_number(struct json_rules *json);
uint32_t json_rules_any_integer(struct json_rules *json);
uint32_t json_rules_any_boolean(struct json_rules *json);
/* "name": value, for a member of an object. */
uint32_t json_rules_member(struct json_rules *json, uint32_t name, uint32_t value);
uint32_t json_rules_string(struct json_rules *json, uint32_t min, uint32_t max);
/* A string with its quotes, characters escaped only where they must be. */
uint32_t json_rules_quoted(struct json_rules *json, const char *text, size_t bytes);
/* The name of a member that is none of `names`: as soon as it differs it may go on as any string
 * does, and before that without escapes. */
uint32_t json_rules_other_name(struct json_rules *json, const char *const *names, uint32_t count);
/* Exactly this value. Objects keep the order of their members. */
uint32_t json_rules_value(struct json_rules *json, const json_t *value);
/* Fills in open, separator, close and empty. */
void json_rules_brackets(const struct json_rules *json, bool object, struct rules_list *list);

#ifdef __cplusplus
}
#endif
#endif
