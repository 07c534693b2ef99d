/* What the files that read a schema share: the reader, its place, and how sub-schemas are read. */
#ifndef MOERING_ENGINE_GRAMMAR_SCHEMA_PARTS_H
#define MOERING_ENGINE_GRAMMAR_SCHEMA_PARTS_H

#include "engine/grammar/json_rules.h"
#include "engine/grammar/schema.h"

#ifdef __cplusplus
extern "C" {
#endif

#define SCHEMA_PATH_BYTES 300u
#define SCHEMA_DEPTH_MAX 64u
#define SCHEMA_VISITS_MAX 20000u /* of schemas, each as often as it is used */

struct schema_reference {
    const json_t *target;
    uint32_t rule;
};

struct schema {
    struct rules *rules;
    struct json_rules json;
    const json_t *root;
    json_t *made; /* an array: schemas that were put together from others */
    struct schema_reference *references;
    uint32_t reference_count, reference_capacity;
    uint32_t depth, visits;
    struct error *error;
    char path[SCHEMA_PATH_BYTES]; /* "$.properties.age" */
    size_t path_bytes;
};

/* Goes down to a member or an element; the answer is for schema_leave. */
size_t schema_enter(struct schema *s, const char *key);
size_t schema_enter_index(struct schema *s, size_t index);
void schema_leave(struct schema *s, size_t mark);
/* error_set with the place, and the keyword if it is not NULL, in front. */
enum status schema_refuse(struct schema *s, enum status status, const char *keyword,
                          const char *what);

/* Any schema: *out is an expression. */
enum status schema_any(struct schema *s, const json_t *schema, uint32_t *out);
/* Values of one type under a schema that has no references and combinations left. schema_types.c */
enum status schema_string(struct schema *s, const json_t *schema, uint32_t *out);
enum status schema_array(struct schema *s, const json_t *schema, uint32_t *out);
enum status schema_object(struct schema *s, const json_t *schema, uint32_t *out);
/* schema_number.c */
enum status schema_number(struct schema *s, const json_t *schema, bool whole, uint32_t *out);
/* schema_merge.c. A schema that is under both; owned by `s`. NULL: refused, *status says why. */
const json_t *schema_merge(struct schema *s, const json_t *a, const json_t *b, enum status *status);
/* The schema without a keyword; owned by `s`; NULL: no memory. */
const json_t *schema_without(struct schema *s, const json_t *schema, const char *keyword);
/* schema_keywords.c. Whether it only tells people something; whether the subset has it. */
bool schema_is_annotation(const char *keyword);
bool schema_is_known(const char *keyword);
bool schema_has_constraints(const json_t *schema); /* anything but annotations */
/* A count (minLength...): *out stays as it is if the keyword is absent. */
enum status schema_count(struct schema *s, const json_t *schema, const char *keyword,
                         uint32_t *out);

#ifdef __cplusplus
}
#endif
#endif
