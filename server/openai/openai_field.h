/* Typed reading of a JSON object's fields. The first that is wrong is remembered with its name
 * and a sentence; from then on every reading is without effect, so a decoder reads all its
 * fields and looks once.
 *
 * A field that is absent or null leaves `out` alone and answers false: clients send null for
 * "default". Numbers without a fraction may be written as 16 or 16.0; a bool is no number. Pure
 * apart from memory. */
#ifndef MOERING_SERVER_OPENAI_OPENAI_FIELD_H
#define MOERING_SERVER_OPENAI_OPENAI_FIELD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "memory/base/status.h"
#include "server/http/http_error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define OPENAI_PARAM_BYTES 128

/* Why a body is refused. Zero-initialise it. */
struct openai_refusal {
    bool refused;
    enum http_problem problem;
    char param[OPENAI_PARAM_BYTES]; /* the field; "": none */
    struct error why;
};
/* Fills it, unless it is filled: the first cause is the one worth reading. `param` may be NULL.
 * Returns false, so that a decoder refuses in one line. */
bool openai_refuse(struct openai_refusal *refusal, enum http_problem problem, const char *param,
                   const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The same for a failure that has its sentence already. */
bool openai_refuse_status(struct openai_refusal *refusal, enum status status, const char *param,
                          const struct error *error);

/* One object of a body; `path` is put before its fields' names ("stream_options."). */
struct openai_fields {
    const json_t *object;
    const char *path;
    struct openai_refusal *refusal;
};

/* NULL: absent, null, or something was refused already. */
const json_t *openai_field(const struct openai_fields *f, const char *name);
bool openai_field_bool(const struct openai_fields *f, const char *name, bool *out);
bool openai_field_int(const struct openai_fields *f, const char *name, int64_t low, int64_t high,
                      int64_t *out);
bool openai_field_u32(const struct openai_fields *f, const char *name, uint32_t low, uint32_t high,
                      uint32_t *out);
/* low <= value <= high. */
bool openai_field_float(const struct openai_fields *f, const char *name, double low, double high,
                        float *out);
/* NULL, or the text and its bytes; it may hold NUL. */
const char *openai_field_text(const struct openai_fields *f, const char *name, size_t *bytes);
/* NULL, or a value of this type. */
const json_t *openai_field_array(const struct openai_fields *f, const char *name);
const json_t *openai_field_object(const struct openai_fields *f, const char *name);
/* Refuses with this field's name. Returns false. */
bool openai_field_refuse(const struct openai_fields *f, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* What `value` is in words of JSON: "a string". */
const char *openai_json_kind(const json_t *value);
/* The same list or object once more, `deep`: with everything in it. NULL: out of memory. (jansson's
 * own functions leave out what they have no memory for, and say nothing.) */
json_t *openai_json_copy(const json_t *value, bool deep);
/* A whole number as 16 or 16.0 within [low, high]. */
bool openai_json_int(const json_t *value, int64_t low, int64_t high, int64_t *out);
/* A list of token ids below `vocab`, malloc'ed, at least room for one; NULL: refused, naming
 * `name`[i]. */
uint32_t *openai_token_ids(const json_t *list, const char *name, uint32_t vocab, uint32_t *count,
                           struct openai_refusal *refusal);

/* The object of a request's body, to be given back with json_decref; NULL: refused. Duplicate
 * keys, text that is not UTF-8, numbers beyond 64 bits and nesting beyond 2048 are. */
json_t *openai_body(const uint8_t *bytes, size_t size, struct openai_refusal *refusal);
/* Writes the names of fields nobody has heard of to the log, at debug level. `known` ends with
 * NULL; there may be two lists. */
void openai_log_unknown(const json_t *body, const char *const *known, const char *const *more);
/* Refuses the first field of `names` (ended by NULL) that is there and asks for something: not
 * null, false, 0, "" or an empty list or object. */
bool openai_refuse_unsupported(const struct openai_fields *f, const char *const *names);

#ifdef __cplusplus
}
#endif
#endif
