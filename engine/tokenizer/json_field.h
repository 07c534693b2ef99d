/* A JSON value that knows where it stands, so that a complaint about it names file and field:
 * `tokenizer.json: pre_tokenizer.pretokenizers[1].type "Foo" is not supported`.
 *
 * Fields live on the stack of the function that reads them and point at their parents. */
#ifndef MOERING_ENGINE_TOKENIZER_JSON_FIELD_H
#define MOERING_ENGINE_TOKENIZER_JSON_FIELD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct json_field {
    const struct json_field *parent; /* NULL: the whole document */
    const char *name;                /* the file's name for the document */
    size_t index;                    /* of an array element; its name is NULL */
    json_t *value;                   /* NULL: not there */
    struct error *error;
};

/* Parses a document. The field's value is the caller's to json_decref. INVALID, with the line. */
enum status json_field_parse(struct json_field *out, const char *file, const char *json,
                             size_t json_bytes, struct error *error);
struct json_field json_field_get(const struct json_field *parent, const char *name);
struct json_field json_field_at(const struct json_field *parent, size_t index);

/* Fills the error with "file: path sentence" and returns `status`. */
enum status json_field_error(const struct json_field *field, enum status status,
                             const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Missing or null. */
bool json_field_absent(const struct json_field *field);
/* Each leaves `out` alone and answers INVALID, naming the field, when the kind is wrong. */
enum status json_field_string(const struct json_field *field, const char **out, size_t *bytes);
enum status json_field_uint(const struct json_field *field, uint32_t below, uint32_t *out);
enum status json_field_object(const struct json_field *field);
enum status json_field_array(const struct json_field *field);
/* An absent field leaves `out` alone and is OK; a default is what the caller put there. */
enum status json_field_bool(const struct json_field *field, bool *out);

#ifdef __cplusplus
}
#endif
#endif
